/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hub: what the monitors of one VM share, and the turn each session gets. */
#include "util/osdep.h"
#include "accel/accel.h"
#include "monitor/internal.h"

static gboolean dispatch_turn(void *opaque)
{
    MonitorHub *hub = opaque;

    /* A wake-up from now on is for the next turn. */
    g_source_set_ready_time(hub->dispatch, -1);
    for (unsigned i = 0; i < hub->sessions->len; i++) {
        QmpSession *s = hub->sessions->pdata[hub->next++ % hub->sessions->len];

        if (qmp_session_run_one(s)) {
            /* Others wait for the next turn, so that timers and devices get theirs in between. */
            g_source_set_ready_time(hub->dispatch, 0);
            break;
        }
    }
    return G_SOURCE_CONTINUE;
}

static gboolean ready_time_dispatch(GSource *source, GSourceFunc fn, void *data)
{
    return fn(data);
}

static GSourceFuncs dispatch_funcs = {.dispatch = ready_time_dispatch};

void monitor_hub_wake(MonitorHub *hub)
{
    g_source_set_ready_time(hub->dispatch, 0);
}

static void *io_thread(void *opaque)
{
    MonitorHub *hub = opaque;

    g_main_context_push_thread_default(hub->io_context);
    g_main_loop_run(hub->io_loop);
    g_main_context_pop_thread_default(hub->io_context);
    return NULL;
}

static void broadcast(void *opaque, JsonNode *event)
{
    MonitorHub *hub = opaque;

    g_mutex_lock(&hub->lock);
    for (unsigned i = 0; i < hub->sessions->len; i++) {
        qmp_session_send_event(hub->sessions->pdata[i], event);
    }
    g_mutex_unlock(&hub->lock);
}

MonitorHub *monitor_hub_new(void)
{
    MonitorHub *hub = g_new0(MonitorHub, 1);

    hub->commands = qmp_command_table_new();
    hub->fds = fd_store_new();
    hub->jobs = job_list_new(hub);
    hub->limiter = event_limiter_new(clock_realtime(), broadcast, hub);
    g_mutex_init(&hub->lock);
    hub->sessions = g_ptr_array_new();
    hub->hmps = g_ptr_array_new_with_free_func((GDestroyNotify)hmp_monitor_free);
    hub->hmp_format = (HmpMemoryFormat){'x', 4, 1};
    hub->dispatch = g_source_new(&dispatch_funcs, sizeof(GSource));
    g_source_set_callback(hub->dispatch, dispatch_turn, hub, NULL);
    g_source_attach(hub->dispatch, NULL);
    hub->io_context = g_main_context_new();
    hub->io_loop = g_main_loop_new(hub->io_context, FALSE);
    hub->io_thread = g_thread_new("monitor-io", io_thread, hub);
    return hub;
}

static gboolean quit_loop(void *opaque)
{
    g_main_loop_quit(opaque);
    return G_SOURCE_REMOVE;
}

void monitor_hub_free(MonitorHub *hub)
{
    if (!hub) {
        return;
    }
    /* From inside the loop, so that a thread which has not yet entered it does not miss it. */
    GSource *quit = g_idle_source_new();

    g_source_set_callback(quit, quit_loop, hub->io_loop, NULL);
    g_source_attach(quit, hub->io_context);
    g_source_unref(quit);
    g_thread_join(hub->io_thread);
    for (unsigned i = 0; i < hub->sessions->len; i++) {
        qmp_session_detach(hub->sessions->pdata[i]);
    }
    g_source_destroy(hub->dispatch);
    g_source_unref(hub->dispatch);
    job_list_free(hub->jobs);
    event_limiter_free(hub->limiter);
    g_ptr_array_set_free_func(hub->sessions, (GDestroyNotify)qmp_session_free);
    g_ptr_array_unref(hub->sessions);
    g_ptr_array_unref(hub->hmps);
    g_main_loop_unref(hub->io_loop);
    g_main_context_unref(hub->io_context);
    qmp_command_table_free(hub->commands);
    fd_store_free(hub->fds);
    g_mutex_clear(&hub->lock);
    g_free(hub);
}

QmpCommandTable *monitor_hub_commands(MonitorHub *hub)
{
    return hub->commands;
}

JobList *monitor_hub_jobs(MonitorHub *hub)
{
    return hub->jobs;
}

static void sink_emit(void *opaque, const char *event, JsonObject *data)
{
    MonitorHub *hub = opaque;

    event_limiter_emit(hub->limiter, event, data);
}

QapiEventSink monitor_hub_event_sink(MonitorHub *hub)
{
    return (QapiEventSink){sink_emit, hub};
}

void monitor_hub_set_machine(MonitorHub *hub, Machine *machine)
{
    Clock *clock = clock_realtime();

    hub->machine = machine;
    /* Tests make time pass by themselves, also for the event limits (spec 70 section 5). */
    if (machine && machine->accel && strcmp(machine->accel->ops->name, "qtest") == 0) {
        clock = machine->vclock;
    }
    event_limiter_set_clock(hub->limiter, clock);
}

Machine *monitor_hub_machine(MonitorHub *hub, GError **errp)
{
    if (!hub->machine) {
        error_setg(errp, "The command is not available before the machine has been built");
    }
    return hub->machine;
}

bool monitor_add_qmp(MonitorHub *hub, Chardev *chr, bool pretty, GError **errp)
{
    QmpSession *s = qmp_session_new(hub, chr, pretty, errp);

    if (!s) {
        return false;
    }
    g_mutex_lock(&hub->lock);
    g_ptr_array_add(hub->sessions, s);
    g_mutex_unlock(&hub->lock);
    return true;
}

bool monitor_add_hmp(MonitorHub *hub, Chardev *chr, bool readline, GError **errp)
{
    HmpMonitor *mon = hmp_monitor_new(hub, chr, readline, errp);

    if (mon) {
        g_ptr_array_add(hub->hmps, mon);
    }
    return mon != NULL;
}

JsonNode *monitor_hub_call(MonitorHub *hub, const char *command, JsonObject *args, GError **errp)
{
    QmpCall call = {0};
    const QmpCommandDef *def = qmp_command_table_find(hub->commands, command, &call.opaque);
    JsonNode *ret = NULL;

    if (def) {
        def->marshal(&call, args, &ret, errp);
    } else {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "The command %s has not been found",
                  command);
    }
    if (args) {
        json_object_unref(args);
    }
    return ret;
}

int monitor_take_fd(MonitorHub *hub, const char *name, GError **errp)
{
    return fd_store_take(hub->fds, name, errp);
}

bool monitor_fdset_add(MonitorHub *hub, int fd, int64_t set, const char *opaque, GError **errp)
{
    return fd_store_set_add(hub->fds, set, fd, opaque, errp) >= 0;
}

int monitor_fdset_open(MonitorHub *hub, const char *path, int flags, GError **errp)
{
    static const char prefix[] = "/dev/fdset/";
    uint64_t id;

    if (!g_str_has_prefix(path, prefix) ||
        !g_ascii_string_to_unsigned(path + strlen(prefix), 10, 0, INT64_MAX, &id, NULL)) {
        error_setg_errno(errp, EINVAL, "Could not open '%s'", path);
        return -1;
    }
    return fd_store_set_open(hub->fds, (int64_t)id, flags, errp);
}
