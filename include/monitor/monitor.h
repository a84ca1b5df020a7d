/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitors: QMP sessions, HMP, the qtest server (spec 70, 71). Main thread, big lock, unless
 * stated.
 */
#ifndef GODWIT_MONITOR_MONITOR_H
#define GODWIT_MONITOR_MONITOR_H

#include "backends/chardev.h"
#include "hw/machine.h"
#include "qapi/qapi.h"

/* The monitors of one VM: command table, sessions, event fan-out, named descriptors. */
typedef struct MonitorHub MonitorHub;
MonitorHub *monitor_hub_new(void);
void monitor_hub_free(MonitorHub *hub);
QmpCommandTable *monitor_hub_commands(MonitorHub *hub);
/* The sink every subsystem emits into; any thread. */
QapiEventSink monitor_hub_event_sink(MonitorHub *hub);
/*
 * The machine that commands act on; its vclock and accel are set. NULL takes it away again.
 * Commands that need a machine fail politely without one.
 */
void monitor_hub_set_machine(MonitorHub *hub, Machine *machine);

/* Emit DEVICE_DELETED for @dev, which is about to go. Any thread. */
void monitor_device_deleted(MonitorHub *hub, DeviceState *dev);

bool monitor_add_qmp(MonitorHub *hub, Chardev *chr, bool pretty, GError **errp);
bool monitor_add_hmp(MonitorHub *hub, Chardev *chr, bool readline, GError **errp);
/* Run one HMP line and return its text (human-monitor-command); free with g_free(). */
char *monitor_hmp_execute(MonitorHub *hub, const char *line);

/* getfd table: ownership moves to the caller; -1 and the text of spec 35 section 3. */
int monitor_take_fd(MonitorHub *hub, const char *name, GError **errp);
/* add-fd sets: a dup of the member of /dev/fdset/N whose access mode matches @flags; -1 and error.
 */
int monitor_fdset_open(MonitorHub *hub, const char *path, int flags, GError **errp);
/* -add-fd fd=N,set=S[,opaque=T] */
bool monitor_fdset_add(MonitorHub *hub, int fd, int64_t set, const char *opaque, GError **errp);

/* Registers qmp commands of qapi/misc.json, qapi/control.json, qapi/qom.json, ...: all that
 * monitor/ implements. */
void monitor_register_commands(MonitorHub *hub);

/*
 * -qtest: serve the protocol of spec 71 section 6 on @chr; @log: file name, "none", or NULL =
 * stderr. Free before the machine and the chardev.
 */
typedef struct QtestServer QtestServer;
QtestServer *qtest_server_start(Machine *machine, Chardev *chr, const char *log, GError **errp);
void qtest_server_free(QtestServer *q);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QtestServer, qtest_server_free)

#endif
