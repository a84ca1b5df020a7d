/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the monitor room share. */
#ifndef MONITOR_INTERNAL_H
#define MONITOR_INTERNAL_H

#include "monitor/jobs.h"

/* ---- qmp-dispatch.c: pure ---- */

typedef enum {
    QMP_NEGOTIATING = 1 << 0, /* only qmp_capabilities exists */
    QMP_OOB_ENABLED = 1 << 1, /* "exec-oob" is a known member */
} QmpDispatchFlags;

/*
 * Check @request (any JSON value) and run it; the reply, never NULL. NULL @table members that are
 * absent simply do not exist. Whether the request is out-of-band: qmp_request_is_oob().
 */
JsonNode *qmp_dispatch(QmpCommandTable *table, QmpSession *session, JsonNode *request,
                       unsigned flags);
/* Does it carry "exec-oob"? */
bool qmp_request_is_oob(JsonNode *request);
/* The reply to something that is no request; takes @err. @id may be NULL and is copied. */
JsonNode *qmp_error_reply(GError *err, JsonNode *id);

/* ---- events.c ---- */

/* Rate limits for events. Any thread. */
typedef struct EventLimiter EventLimiter;
typedef void EventDeliver(void *opaque, JsonNode *event);

/* @deliver gets (and must not keep) each event that may go out now. */
EventLimiter *event_limiter_new(Clock *clock, EventDeliver *deliver, void *opaque);
/* Drops what waits. Main thread. */
void event_limiter_free(EventLimiter *l);
/* From now on windows are measured on @clock; what waits goes out now. Main thread. */
void event_limiter_set_clock(EventLimiter *l, Clock *clock);
/* Takes @data (may be NULL). */
void event_limiter_emit(EventLimiter *l, const char *event, JsonObject *data);

/* ---- fds.c ---- */

/* Named descriptors and fd-sets of one VM. Any thread. */
typedef struct FdStore FdStore;
typedef struct {
    int64_t id;
    int fd;
    const char *opaque; /* valid during the call */
} FdsetMember;

FdStore *fd_store_new(void);
void fd_store_free(FdStore *s);
/* Takes @fd, also on failure; an older one of that name is closed. */
bool fd_store_put(FdStore *s, const char *name, int fd, GError **errp);
int fd_store_take(FdStore *s, const char *name, GError **errp);
/* Takes @fd, also on failure. @id -1: the lowest free one; the id used, or -1. */
int64_t fd_store_set_add(FdStore *s, int64_t id, int fd, const char *opaque, GError **errp);
/* @fd -1: all of the set. */
bool fd_store_set_remove(FdStore *s, int64_t id, int fd, GError **errp);
int fd_store_set_open(FdStore *s, int64_t id, int flags, GError **errp);
void fd_store_foreach(FdStore *s, void (*cb)(const FdsetMember *m, void *opaque), void *opaque);

/* ---- qmp.c ---- */

QmpSession *qmp_session_new(MonitorHub *hub, Chardev *chr, bool pretty, GError **errp);
/* Stop listening to the chardev. Main thread; the I/O thread has ended. */
void qmp_session_detach(QmpSession *s);
/* No callback may run any more. */
void qmp_session_free(QmpSession *s);
/* Send @event if the session is past negotiation. Any thread. */
void qmp_session_send_event(QmpSession *s, JsonNode *event);
/* Run the oldest queued request, if any. Main thread. */
bool qmp_session_run_one(QmpSession *s);
/* A descriptor that came with the request being run, or -1. */
int qmp_session_take_fd(QmpSession *s);
/* The end of a successful qmp_capabilities: from its reply on, the session is in command mode. */
void qmp_session_negotiated(QmpSession *s, bool oob);

/* What `x` and `xp` remember from one command to the next. */
typedef struct {
    char format;   /* o x d u c */
    unsigned size; /* bytes: 1 2 4 8 */
    unsigned count;
} HmpMemoryFormat;

/* ---- hub.c ---- */

struct MonitorHub {
    QmpCommandTable *commands;
    Machine *machine; /* NULL before it exists */
    FdStore *fds;
    EventLimiter *limiter;
    JobList *jobs;
    GMutex lock;                /* sessions */
    GPtrArray *sessions;        /* QmpSession; appended by the main thread, all freed at the end */
    unsigned next;              /* whose turn it is */
    GPtrArray *hmps;            /* HmpMonitor; main thread */
    HmpMemoryFormat hmp_format; /* of human-monitor-command */
    GSource *dispatch;          /* main loop: runs queued requests */
    /* The thread that reads from QMP chardevs, so that out-of-band requests never wait. */
    GThread *io_thread;
    GMainContext *io_context;
    GMainLoop *io_loop;
};

/* There is a queued request. Any thread. */
void monitor_hub_wake(MonitorHub *hub);
/* The machine, or an error for commands that need one (spec 70 section 3). */
Machine *monitor_hub_machine(MonitorHub *hub, GError **errp);

/* Run a QMP command by name, arguments as JSON (taken, may be NULL); big lock. NULL and error. */
JsonNode *monitor_hub_call(MonitorHub *hub, const char *command, JsonObject *args, GError **errp);

/* ---- hmp.c ---- */

typedef struct HmpMonitor HmpMonitor;
HmpMonitor *hmp_monitor_new(MonitorHub *hub, Chardev *chr, bool readline, GError **errp);
void hmp_monitor_free(HmpMonitor *mon);
/* Run one line as if typed, @cpu being the current one; its text, lines ending CR LF. Free with
 * g_free(). */
char *hmp_execute(MonitorHub *hub, unsigned cpu, const char *line);

#endif
