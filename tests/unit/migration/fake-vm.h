/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole VM for migration tests: a fake host with some memory, two devices and, on request, a
 * "guest" thread that writes memory while the VM runs. Several live in one process.
 */
#ifndef GODWIT_TESTS_FAKE_VM_H
#define GODWIT_TESTS_FAKE_VM_H

#include "fault-channel.h"
#include "migration/incoming.h"
#include "migration/outgoing.h"

#define FAKE_RAM_SIZE (1 * MiB)

/* Something with a subsection and something with a path. */
typedef struct {
    uint32_t divisor;
    uint8_t regs[8];
    uint64_t extra;
} FakeUart;

typedef struct {
    uint32_t n;
    uint64_t queue[4];
    bool refuse_load;
} FakeDisk;

typedef struct FakeVM {
    MigrationHost host;
    Migration *m;
    RAMList *ram;
    RAMBlock *block;
    FakeUart uart;
    FakeDisk disk;

    GMutex lock; /* protects state, events, quit; held by the guest while it writes */
    GCond changed;
    RunState state;
    GString *events; /* "setup active ... " with STOP, RESUME, PASS */
    bool quit;

    GObject *creds; /* which every id names; NULL: there are no objects */
    bool autostart, images_open, fail_stop, fail_inactivate;
    unsigned exits;
    GThread *guest;
    uint64_t guest_writes;
} FakeVM;

/* A running VM, or one that waits for an incoming migration. */
FakeVM *fake_vm_new(bool incoming);
void fake_vm_free(FakeVM *vm);
/* Fill memory and devices with something recognisable. */
void fake_vm_populate(FakeVM *vm, uint32_t seed);
/* Let a thread write memory whenever the VM runs. */
void fake_vm_start_guest(FakeVM *vm);
bool fake_vm_same_state(FakeVM *a, FakeVM *b);
bool fake_vm_running(FakeVM *vm);
void fake_vm_set_cap(FakeVM *vm, MigrationCapability cap);

/* Join @src and @dst by a socket pair, the source's end seen through a fault channel. @ioc, if not
 * NULL, gets a reference of that. */
void fake_vm_connect(FakeVM *src, FakeVM *dst, const FaultPlan *write, const FaultPlan *dst_read,
                     QIOChannel **ioc);
/* One turn of the main loop, others have the big lock meanwhile. */
void fake_vm_turn(void);
/* Run the main loop until the outgoing side has the status, or has ended. */
void fake_vm_wait_status(FakeVM *src, MigrationStatus status);
/* Run the main loop until both sides have ended. */
void fake_vm_wait_end(FakeVM *src, FakeVM *dst);
/* Until @dst has ended, or waits for another line. */
void fake_vm_wait_incoming(FakeVM *dst);
MigrationStatus fake_vm_status(FakeVM *src);
char *fake_vm_source_error(FakeVM *src);
char *fake_vm_destination_error(FakeVM *dst);

#endif
