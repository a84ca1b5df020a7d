/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine with a little RAM, a hub, and a socket to talk to a monitor or the qtest server. */
#ifndef TESTS_MONITOR_FIXTURE_H
#define TESTS_MONITOR_FIXTURE_H

#include "util/osdep.h"
#include "memory/address-space.h"
#include "monitor/monitor.h"

#define RAM_BASE UINT64_C(0x80000000)
#define RAM_SIZE (64 * KiB)

typedef struct {
    MonitorHub *hub;
    Machine *machine;
    MemoryRegion ram;
    Accel accel;
    AccelOps accel_ops;
    int fd; /* the client's end of @chr */
    Chardev *chr;
    GString *in; /* received, not consumed */
} MonitorFixture;

void monitor_fixture_init(MonitorFixture *f);
/* Monitors and servers must be gone, but for those of the hub. */
void monitor_fixture_free(MonitorFixture *f);
/* A chardev whose other end is f->fd. */
void monitor_fixture_connect(MonitorFixture *f);
void monitor_fixture_send(MonitorFixture *f, const char *text);
/* Run the main loop until @text has arrived; what came up to its end, free with g_free(). */
char *monitor_fixture_wait(MonitorFixture *f, const char *text);

#endif
