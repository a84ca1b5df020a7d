/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Armed timers of a clock hang in a list sorted by expiry. One GSource per clock, on the default
 * main context, wakes the main loop at the earliest one; arming an earlier timer from another
 * thread moves the source's ready time, which wakes the poll.
 *
 * Whether a virtual clock runs and where it started are read by vCPU threads on every access to the
 * time CSR, so these two words are published with a sequence counter instead of a lock.
 */
#include <time.h>
#include "util/timer.h"

typedef enum { CLOCK_KIND_MONOTONIC, CLOCK_KIND_WALL, CLOCK_KIND_VIRTUAL } ClockKind;

struct QEMUTimer {
    Clock *clock;
    QEMUTimerCB *cb;
    void *opaque;
    int64_t expire;
    bool armed;
    QEMUTimer *next;
};

struct Clock {
    ClockKind kind;
    GMutex lock; /* timers, and writers of the fields below */
    QEMUTimer *timers;
    GSource *source;
    /* Virtual: now = running && !manual ? monotonic + offset : frozen. */
    uint32_t seq;
    bool running;
    bool manual;
    int64_t offset;
    int64_t frozen;
};

typedef struct {
    GSource base;
    Clock *clock;
} ClockSource;

static int64_t host_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

int64_t clock_get_ns(const Clock *clock)
{
    uint32_t seq;
    int64_t now;

    if (clock->kind != CLOCK_KIND_VIRTUAL) {
        return host_ns(clock->kind == CLOCK_KIND_WALL ? CLOCK_REALTIME : CLOCK_MONOTONIC);
    }
    do {
        seq = __atomic_load_n(&clock->seq, __ATOMIC_ACQUIRE);
        if (__atomic_load_n(&clock->running, __ATOMIC_RELAXED) &&
            !__atomic_load_n(&clock->manual, __ATOMIC_RELAXED)) {
            now = host_ns(CLOCK_MONOTONIC) + __atomic_load_n(&clock->offset, __ATOMIC_RELAXED);
        } else {
            now = __atomic_load_n(&clock->frozen, __ATOMIC_RELAXED);
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while ((seq & 1) || seq != __atomic_load_n(&clock->seq, __ATOMIC_RELAXED));
    return now;
}

/* Change the virtual clock's words; clock->lock held. */
static void clock_publish(Clock *clock, bool running, int64_t offset, int64_t frozen)
{
    __atomic_store_n(&clock->seq, clock->seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&clock->running, running, __ATOMIC_RELAXED);
    __atomic_store_n(&clock->offset, offset, __ATOMIC_RELAXED);
    __atomic_store_n(&clock->frozen, frozen, __ATOMIC_RELAXED);
    __atomic_store_n(&clock->seq, clock->seq + 1, __ATOMIC_RELEASE);
}

/* Can timers fire by themselves? */
static bool clock_ticks(const Clock *clock)
{
    return clock->kind != CLOCK_KIND_VIRTUAL || (clock->running && !clock->manual);
}

/* Let the main loop wake at the first timer; clock->lock held. */
static void clock_rearm(Clock *clock)
{
    int64_t ready = -1;

    if (clock->timers && clock_ticks(clock)) {
        int64_t wait = clock->timers->expire - clock_get_ns(clock);

        ready = wait <= 0 ? 0 : g_get_monotonic_time() + DIV_ROUND_UP(wait, SCALE_US);
    }
    g_source_set_ready_time(clock->source, ready);
}

/* Take the first timer that expired at or before @now off the list. */
static QEMUTimer *clock_pop(Clock *clock, int64_t now)
{
    QEMUTimer *t;

    g_mutex_lock(&clock->lock);
    t = clock->timers;
    if (t && t->expire <= now) {
        clock->timers = t->next;
        t->armed = false;
    } else {
        t = NULL;
    }
    g_mutex_unlock(&clock->lock);
    return t;
}

static gboolean clock_dispatch(GSource *source, GSourceFunc fn, gpointer data)
{
    Clock *clock = ((ClockSource *)source)->clock;
    int64_t now = clock_get_ns(clock);
    QEMUTimer *t;

    while (clock_ticks(clock) && (t = clock_pop(clock, now))) {
        t->cb(t->opaque);
    }
    g_mutex_lock(&clock->lock);
    clock_rearm(clock);
    g_mutex_unlock(&clock->lock);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs clock_source_funcs = {.dispatch = clock_dispatch};

static Clock *clock_new(ClockKind kind)
{
    Clock *clock = g_new0(Clock, 1);

    clock->kind = kind;
    g_mutex_init(&clock->lock);
    clock->source = g_source_new(&clock_source_funcs, sizeof(ClockSource));
    ((ClockSource *)clock->source)->clock = clock;
    g_source_set_priority(clock->source, G_PRIORITY_HIGH);
    g_source_set_static_name(clock->source, "timers");
    g_source_attach(clock->source, NULL);
    return clock;
}

static Clock *clock_shared(Clock **slot, ClockKind kind)
{
    if (g_once_init_enter(slot)) {
        g_once_init_leave(slot, clock_new(kind));
    }
    return *slot;
}

Clock *clock_realtime(void)
{
    static Clock *clock;

    return clock_shared(&clock, CLOCK_KIND_MONOTONIC);
}

Clock *clock_host(void)
{
    static Clock *clock;

    return clock_shared(&clock, CLOCK_KIND_WALL);
}

Clock *clock_virtual_new(void)
{
    return clock_new(CLOCK_KIND_VIRTUAL);
}

void clock_free(Clock *clock)
{
    if (clock) {
        g_source_destroy(clock->source);
        g_source_unref(clock->source);
        g_mutex_clear(&clock->lock);
        g_free(clock);
    }
}

void clock_virtual_start(Clock *clock)
{
    g_mutex_lock(&clock->lock);
    if (!clock->running) {
        clock_publish(clock, true, clock->frozen - host_ns(CLOCK_MONOTONIC), clock->frozen);
        clock_rearm(clock);
    }
    g_mutex_unlock(&clock->lock);
}

void clock_virtual_stop(Clock *clock)
{
    g_mutex_lock(&clock->lock);
    if (clock->running) {
        clock_publish(clock, false, 0, clock_get_ns(clock));
        clock_rearm(clock);
    }
    g_mutex_unlock(&clock->lock);
}

bool clock_virtual_is_running(const Clock *clock)
{
    return __atomic_load_n(&clock->running, __ATOMIC_RELAXED);
}

void clock_virtual_set_ns(Clock *clock, int64_t ns)
{
    g_mutex_lock(&clock->lock);
    clock_publish(clock, clock->running, ns - host_ns(CLOCK_MONOTONIC), ns);
    clock_rearm(clock);
    g_mutex_unlock(&clock->lock);
}

void clock_virtual_set_manual(Clock *clock)
{
    g_mutex_lock(&clock->lock);
    clock->frozen = clock_get_ns(clock);
    __atomic_store_n(&clock->manual, true, __ATOMIC_RELAXED);
    clock_rearm(clock);
    g_mutex_unlock(&clock->lock);
}

int64_t clock_virtual_step_to(Clock *clock, int64_t ns)
{
    QEMUTimer *t;

    while ((t = clock_pop(clock, ns))) {
        if (t->expire > clock_get_ns(clock)) {
            clock_virtual_set_ns(clock, t->expire);
        }
        t->cb(t->opaque);
    }
    if (ns > clock_get_ns(clock)) {
        clock_virtual_set_ns(clock, ns);
    }
    return clock_get_ns(clock);
}

int64_t clock_deadline_ns(const Clock *clock)
{
    Clock *c = (Clock *)clock;
    int64_t deadline;

    g_mutex_lock(&c->lock);
    deadline = c->timers ? c->timers->expire : -1;
    g_mutex_unlock(&c->lock);
    return deadline;
}

QEMUTimer *timer_new_ns(Clock *clock, QEMUTimerCB *cb, void *opaque)
{
    QEMUTimer *t = g_new0(QEMUTimer, 1);

    t->clock = clock;
    t->cb = cb;
    t->opaque = opaque;
    return t;
}

/* Take @t off the list; clock->lock held. */
static void timer_unlink(QEMUTimer *t)
{
    QEMUTimer **p = &t->clock->timers;

    if (t->armed) {
        while (*p != t) {
            p = &(*p)->next;
        }
        *p = t->next;
        t->armed = false;
    }
}

void timer_free(QEMUTimer *t)
{
    if (t) {
        timer_del(t);
        g_free(t);
    }
}

void timer_mod_ns(QEMUTimer *t, int64_t expire_ns)
{
    Clock *clock = t->clock;
    QEMUTimer **p = &clock->timers;

    g_mutex_lock(&clock->lock);
    timer_unlink(t);
    t->expire = MAX(expire_ns, 0);
    while (*p && (*p)->expire <= t->expire) {
        p = &(*p)->next;
    }
    t->next = *p;
    *p = t;
    t->armed = true;
    if (clock->timers == t) {
        clock_rearm(clock);
    }
    g_mutex_unlock(&clock->lock);
}

void timer_del(QEMUTimer *t)
{
    g_mutex_lock(&t->clock->lock);
    timer_unlink(t);
    g_mutex_unlock(&t->clock->lock);
}

bool timer_pending(const QEMUTimer *t)
{
    return timer_expire_time_ns(t) != UINT64_MAX;
}

uint64_t timer_expire_time_ns(const QEMUTimer *t)
{
    uint64_t expire;

    g_mutex_lock(&t->clock->lock);
    expire = t->armed ? (uint64_t)t->expire : UINT64_MAX;
    g_mutex_unlock(&t->clock->lock);
    return expire;
}

Clock *timer_clock(const QEMUTimer *t)
{
    return t->clock;
}
