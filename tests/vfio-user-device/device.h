/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PCI device that lives in a process of its own, for tests and measurements: the device of
 * tests/lib/vfiouser.py, as fast as it can be and with as much state as is asked for. (That one
 * misbehaves on request, this one does not.)
 *
 *   BAR 0   00 scratch   04 signal vector N   08/0c source   10/14 destination   18 length
 *           1c command: 1 copy, 2 raise the pin, 3 lower the pin   20 result   24 commands done
 *           40/44 ring in guest memory   48 its pages, 0: stop writing   50/54 records written
 *           60/64 hash of the inner state
 *   BAR 4   MSI-X table and pending bits (the client's own)
 *
 *   main.c     options
 *   server.c   connection and messages
 *   device.c   registers, interrupts, guest memory, the ring
 *   states.c   migration states, and what may be asked in which
 *   stream.c   the state as bytes, out and in
 *
 * Two threads: the one that serves the client, and the device's own (device_work()). The lock of
 * the device is held by whoever looks at it.
 */
#ifndef GODWIT_TESTS_VFIO_USER_DEVICE_H
#define GODWIT_TESTS_VFIO_USER_DEVICE_H

#include <errno.h>
#include <glib.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <string.h>
#include <sys/uio.h>
#include "backends/vfio-user-protocol.h"

/* Younger than the headers of Linux 6.1. */
#ifndef VFIO_MIGRATION_PRE_COPY
#define VFIO_MIGRATION_PRE_COPY        (1 << 2)
#define VFIO_DEVICE_STATE_PRE_COPY     6
#define VFIO_DEVICE_STATE_PRE_COPY_P2P 7
#endif

#define BLOCK        65536u /* the inner state is sent, and becomes dirty, in blocks */
#define PAGE         4096u
#define REGS_SIZE    0x1000u
#define CONFIG_SIZE  256u
#define VECTORS      4u
#define MAX_MAPS     64u
#define MAX_TRANSFER (1u << 20) /* data bytes of a message */
#define RECORD_HEAD  17u        /* the longest: letter, u64 offset, u32 length, u32 CRC */
/* Pieces of one MAX_TRANSFER: each record is a head and a body. */
#define MAX_PIECES (2 * (MAX_TRANSFER / BLOCK + 4))

typedef struct {
    char *socket;
    uint64_t state_size; /* of the inner state; a multiple of BLOCK */
    uint64_t dirty_rate; /* bytes of it that change in a second */
    uint64_t seed;       /* of its first content; 0: zeroes */
    uint64_t flags;      /* VFIO_MIGRATION_* */
    gboolean logs;       /* the pages it writes */
    gboolean tells_sizes;
    gboolean checks; /* there is a CRC in the stream */
} Options;

typedef struct {
    uint64_t base, size;
    uint8_t *host;   /* NULL: came without a descriptor, out of reach */
    uint64_t *dirty; /* a bit a page */
} DmaMap;

/* What of the state is still to be read. */
typedef struct {
    uint64_t *dirty; /* a bit a block */
    uint64_t blocks_left, next;
    bool regs_sent, end_sent;
    /* The record under way: its head, then its body. */
    uint8_t head[RECORD_HEAD];
    size_t head_len, body_len, pos;
    const uint8_t *body;
    uint64_t block; /* whose record it is, no other thread may change it meanwhile; or NO_BLOCK */
    uint8_t heads[MAX_PIECES][RECORD_HEAD]; /* what an iovec points to */
    uint64_t initial_left;
} Outbox;
#define NO_BLOCK UINT64_MAX

/* And of what is being loaded. */
typedef struct {
    uint8_t head[RECORD_HEAD];
    size_t head_len;  /* bytes of it that came */
    uint8_t *body;    /* where the rest of the body goes, */
    size_t body_left; /* and how long that is */
    uint64_t block_at, block_len;
    uint32_t crc;
    bool complete;
} Inbox;

typedef struct {
    const Options *opt;
    GMutex lock; /* protects everything below */
    bool closing;
    uint8_t config[CONFIG_SIZE], regs[REGS_SIZE];
    uint8_t *bulk; /* the inner state */
    uint64_t n_blocks;
    DmaMap maps[MAX_MAPS];
    unsigned n_maps;
    bool logging;
    int intx, msix[VECTORS]; /* eventfds, or -1 */
    bool pin, masked;
    unsigned state; /* VFIO_DEVICE_STATE_* */
    Outbox out;
    Inbox in;
} Device;

/* ---- device.c; results are 0 or an errno ---- */

void device_init(Device *d, const Options *opt);
/* The client is gone: so are its memory and eventfds. */
void device_disconnect(Device *d);
int device_map(Device *d, const VfioUserDmaMap *map, int fd);
int device_unmap(Device *d, const VfioUserDmaUnmap *unmap);
DmaMap *device_find_map(Device *d, uint64_t base, uint64_t size);
/* Takes the descriptors it keeps out of @fds (-1 is left behind). */
int device_set_irqs(Device *d, const VfioUserSetIrqs *set, int *fds, unsigned n_fds);
int device_region(Device *d, const VfioUserRegionAccess *a, void *data, bool is_write);
void device_reset(Device *d);
/* The device's own thread: the ring and the inner state. */
gpointer device_work(gpointer device);

/* ---- states.c ---- */

int device_set_state(Device *d, unsigned state);
bool device_runs(const Device *d);
bool device_is_saving(unsigned state);

/* ---- stream.c ---- */

void outbox_fill(Device *d);                  /* everything is to be read */
void outbox_touch(Device *d, uint64_t block); /* has changed */
uint64_t outbox_left(const Device *d);        /* bytes, as if the device stopped now */
/* The next bytes, @size at most, as @iov of MAX_PIECES; valid until the next call. */
size_t outbox_read(Device *d, struct iovec *iov, unsigned *n, size_t size);
void inbox_begin(Device *d);
/* Where the next bytes go, *len at most (more than 0). */
void *inbox_want(Device *d, size_t *len);
/* @n bytes are there. */
int inbox_got(Device *d, size_t n);

#endif
