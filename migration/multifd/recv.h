/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What recv.c and recv-sync.c share. */
#ifndef GODWIT_MIGRATION_MULTIFD_RECV_H
#define GODWIT_MIGRATION_MULTIFD_RECV_H

#include "migration/multifd/multifd.h"

typedef struct MultifdRecvChannel {
    MultifdRecv *r;
    unsigned id;
    QIOChannel *ioc;
    GThread *thread;
    MultifdDecoder *decoder; /* NULL: plain bytes */
    uint8_t *coded;          /* MULTIFD_PAYLOAD_MAX, with a decoder */
    RAMBlock *block;         /* of the last packet with pages */
    uint8_t header[MULTIFD_HEADER_SIZE];
    size_t ahead; /* bytes of the next header that came with the last payload */
    MultifdPacket packet;
    struct iovec iov[MULTIFD_PACKET_PAGES + 1];
    uint64_t bytes, packets, pages; /* received so far; atomic, written by the thread */
    bool placing;                   /* atomic: the thread is at a page */
    bool late;                      /* the thread's: there was one although all were retired */
    bool broken;                    /* the thread's: it was the line that failed */

    /* With MultifdRecv.lock. */
    uint64_t syncs; /* SYNC packets that came, all before them is in place */
    bool lost;      /* nothing more comes: closed between two packets, or broken and that is fine */
    GError *error;  /* why it broke */
    bool ended;     /* lost, and the source has been told if it is interested */
    bool given_up;  /* the source has lost it, and sends again what was on it */
    bool silent;    /* we have, because others had to wait for it */
    uint64_t seen_bytes; /* while the loader waits at a marker: where it was, */
    int64_t seen_us;     /* and since when; 0: not looked yet */
} MultifdRecvChannel;

struct MultifdRecv {
    MultifdRecvConfig config;
    const MultifdCodec *codec;
    /* Set before the first marker, used by channels after it. */
    RAMList *list;
    bool ignore_shared;
    RamPlacer *placer;
    bool retired; /* atomic: no more pages */

    GMutex lock;   /* protects all below */
    GCond arrived; /* a channel is at its SYNC, or will never be */
    GCond released;
    uint64_t markers; /* channels may go on behind so many SYNCs */
    bool mode_known, per_pass;
    bool may_break; /* the loss of a channel is no failure while another is left */
    unsigned lost;
    bool cut;
    GError *error;

    MultifdRecvChannel *channels[]; /* by number; NULL: not there yet */
};

static inline bool multifd_recv_is_retired(const MultifdRecv *r)
{
    return __atomic_load_n(&r->retired, __ATOMIC_SEQ_CST);
}

/* ---- recv-sync.c; the thread of @c ---- */

/* All before this SYNC is in place: wait for its marker. False: it will not come. */
bool multifd_recv_await_marker(MultifdRecvChannel *c);
/*
 * The line is gone: closed between two packets (@err NULL), or broken. False: that ends the
 * migration now. Otherwise @err is taken; who waits for a SYNC on it hears that none will come,
 * and if that is fine, the source hears it first.
 */
bool multifd_recv_lose(MultifdRecvChannel *c, GError *err);

#endif
