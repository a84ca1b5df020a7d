/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An RDMA fabric inside one process: connections between threads, registered memory whose bounds
 * and keys are checked, and on request one thing that goes wrong.
 */
#ifndef GODWIT_TESTS_FAKE_FABRIC_H
#define GODWIT_TESTS_FAKE_FABRIC_H

#include "migration/rdma/verbs.h"

typedef enum {
    FAKE_FINE,
    FAKE_FAIL,       /* the request's completion reports an error */
    FAKE_LOSE,       /* it is carried out, its completion never comes */
    FAKE_SWALLOW,    /* it completes, and nothing arrived */
    FAKE_TRUNCATE,   /* half of the message arrives */
    FAKE_CORRUPT,    /* a bit of its header has flipped; WRITE: the remote address has */
    FAKE_DUPLICATE,  /* it arrives twice */
    FAKE_SWAP,       /* it arrives behind the next one */
    FAKE_DISCONNECT, /* the connection ends instead */
    FAKE_DIE,        /* this side's adapter falls silent for ever: no goodbye */
    FAKE_DEVICE,     /* this side's device fails */
    FAKE__MAX,
} FakeFault;

/* What befalls the @at-th SEND or WRITE (from 0) of one side, whatever connection it is on. */
typedef struct {
    FakeFault fault;
    unsigned at;
    bool messages; /* only SENDs are counted */
    unsigned bit;  /* FAKE_CORRUPT: which */
} FakePlan;

typedef struct {
    RdmaFabric base;
    FakePlan plan[2];     /* [0] of the source, [1] of the destination */
    bool late;            /* completions come one by one, each only after a sleep */
    uint64_t pin_limit;   /* bytes one endpoint can register; 0: any */
    bool qemu;            /* the private data of both sides is cut to what QEMU sends */
    bool no_second;       /* the destination answers no second request, like a QEMU 7.2 */
    unsigned cut_answers; /* the next so many answers lose their private data */

    /* Seen: */
    unsigned posted[2]; /* SENDs and WRITEs */
    unsigned sends[2], writes[2];
    unsigned endpoints, regions; /* alive */
    unsigned not_ready;          /* SENDs that found no receive, and waited for one */
    uint64_t pinned_peak;

    GMutex lock; /* protects all above once threads run, and everything of the endpoints */
    GPtrArray *listening;
    uint32_t next_key;
} FakeFabric;

FakeFabric *fake_fabric_new(void);
/* All endpoints must be closed, all regions gone: checked. */
void fake_fabric_free(FakeFabric *f);
/* Two connected endpoints, the source's and the destination's. */
void fake_fabric_join(FakeFabric *f, RdmaEndpoint *ends[2]);
/* How many regions are alive now. */
unsigned fake_fabric_regions(FakeFabric *f);

#endif
