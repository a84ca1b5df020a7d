/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events on their way out: the time stamp, and for chatty ones at most one per second, keeping the
 * last (spec 70 section 5). The first goes out at once and opens a window; what comes inside it
 * replaces what waits; when the window closes the last one goes out and opens the next.
 */
#include "util/osdep.h"
#include "util/timer.h"
#include "monitor/internal.h"

#define WINDOW_NS NANOSECONDS_PER_SECOND

/* Events limited to one per window, each value of @member (if any) by itself. */
static const struct {
    const char *event;
    const char *member;
} limited[] = {
    {"BALLOON_CHANGE", NULL},
    {"BLOCK_IO_ERROR", NULL},
    {"MEMORY_DEVICE_SIZE_CHANGE", NULL},
    {"QUORUM_FAILURE", "reference"},
    {"QUORUM_REPORT_BAD", "node-name"},
    {"RTC_CHANGE", NULL},
    {"VSERPORT_CHANGE", "id"},
    {"WATCHDOG", NULL},
};

typedef struct {
    EventLimiter *limiter;
    JsonNode *waiting; /* or NULL */
    QEMUTimer *timer;  /* armed while the window is open */
} Window;

struct EventLimiter {
    Clock *clock;
    EventDeliver *deliver;
    void *opaque;
    GMutex lock;
    GHashTable *windows; /* "EVENT/key" -> Window */
};

static void window_free(void *data)
{
    Window *w = data;

    timer_free(w->timer);
    g_clear_pointer(&w->waiting, json_node_unref);
    g_free(w);
}

EventLimiter *event_limiter_new(Clock *clock, EventDeliver *deliver, void *opaque)
{
    EventLimiter *l = g_new0(EventLimiter, 1);

    l->clock = clock;
    l->deliver = deliver;
    l->opaque = opaque;
    g_mutex_init(&l->lock);
    l->windows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, window_free);
    return l;
}

void event_limiter_free(EventLimiter *l)
{
    if (l) {
        g_hash_table_unref(l->windows);
        g_mutex_clear(&l->lock);
        g_free(l);
    }
}

void event_limiter_set_clock(EventLimiter *l, Clock *clock)
{
    g_autoptr(GPtrArray) waiting = g_ptr_array_new_with_free_func((GDestroyNotify)json_node_unref);
    GHashTableIter iter;
    void *value;

    g_mutex_lock(&l->lock);
    g_hash_table_iter_init(&iter, l->windows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Window *w = value;

        if (w->waiting) {
            g_ptr_array_add(waiting, g_steal_pointer(&w->waiting));
        }
    }
    g_hash_table_remove_all(l->windows);
    l->clock = clock;
    g_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < waiting->len; i++) {
        l->deliver(l->opaque, waiting->pdata[i]);
    }
}

static JsonNode *make_event(const char *event, JsonObject *data)
{
    int64_t now = g_get_real_time();
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *obj = json_object_new();
    JsonObject *stamp = json_object_new();

    json_object_set_int_member(stamp, "seconds", now / G_USEC_PER_SEC);
    json_object_set_int_member(stamp, "microseconds", now % G_USEC_PER_SEC);
    json_object_set_object_member(obj, "timestamp", stamp);
    json_object_set_string_member(obj, "event", event);
    if (data) {
        json_object_set_object_member(obj, "data", data);
    }
    json_node_take_object(node, obj);
    return node;
}

/* The window an event falls into; free with g_free(). NULL: it is not limited. */
static char *window_key(const char *event, JsonObject *data)
{
    for (unsigned i = 0; i < ARRAY_SIZE(limited); i++) {
        if (strcmp(limited[i].event, event) != 0) {
            continue;
        }
        if (strcmp(event, "BLOCK_IO_ERROR") == 0 && data &&
            g_strcmp0(json_object_get_string_member_with_default(data, "action", NULL), "stop") ==
                0) {
            return NULL;
        }
        return g_strconcat(event, "/",
                           data && limited[i].member ? json_object_get_string_member_with_default(
                                                           data, limited[i].member, "")
                                                     : "",
                           NULL);
    }
    return NULL;
}

static void window_closed(void *opaque)
{
    Window *w = opaque;
    EventLimiter *l = w->limiter;

    g_mutex_lock(&l->lock);
    g_autoptr(JsonNode) event = g_steal_pointer(&w->waiting);

    if (event) {
        timer_mod_ns(w->timer, clock_get_ns(l->clock) + WINDOW_NS);
    }
    g_mutex_unlock(&l->lock);
    if (event) {
        l->deliver(l->opaque, event);
    }
}

/* Let @event pass (true), or keep it (taken) for the end of the window. */
static bool window_pass(EventLimiter *l, const char *key, JsonNode *event)
{
    g_mutex_lock(&l->lock);
    Window *w = g_hash_table_lookup(l->windows, key);

    if (!w) {
        w = g_new0(Window, 1);
        w->limiter = l;
        w->timer = timer_new_ns(l->clock, window_closed, w);
        g_hash_table_insert(l->windows, g_strdup(key), w);
    }
    bool pass = !timer_pending(w->timer);

    if (pass) {
        timer_mod_ns(w->timer, clock_get_ns(l->clock) + WINDOW_NS);
    } else {
        g_clear_pointer(&w->waiting, json_node_unref);
        w->waiting = event;
    }
    g_mutex_unlock(&l->lock);
    return pass;
}

void event_limiter_emit(EventLimiter *l, const char *event, JsonObject *data)
{
    g_autofree char *key = window_key(event, data);
    JsonNode *node = make_event(event, data);

    if (!key || window_pass(l, key, node)) {
        l->deliver(l->opaque, node);
        json_node_unref(node);
    }
}
