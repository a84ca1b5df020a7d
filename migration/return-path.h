/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages from the destination to the source, over the reverse direction of the main channel
 * (spec 10 section 9).
 *
 *   source:       ReturnPathReader, a thread of its own
 *   destination:  ReturnPathWriter, used by the incoming thread
 */
#ifndef GODWIT_MIGRATION_RETURN_PATH_H
#define GODWIT_MIGRATION_RETURN_PATH_H

#include "migration/qemu-file.h"
#include "migration/wire/stream.h"

/* ---- source ---- */

typedef struct ReturnPathReader ReturnPathReader;

typedef enum {
    VERDICT_NONE,     /* the line ended without a word, or with one that makes no sense */
    VERDICT_ACCEPTED, /* SHUT 0: the guest is the destination's */
    VERDICT_REFUSED,  /* the destination has said that it failed: it will not run the guest */
} ReturnPathVerdict;

typedef struct {
    void (*pong)(void *opaque, uint32_t cookie);
    /* The destination waits for our commit. */
    void (*loaded)(void *opaque);
    /* Postcopy; NULL: not expected. False and *errp: the message makes no sense, reading ends.
     * @block NULL: the same as in the last request. */
    bool (*request)(void *opaque, const char *block, uint64_t offset, uint64_t length,
                    GError **errp);
    /* RECV_BITMAP: what follows it is next in @f. */
    bool (*bitmap)(void *opaque, const char *block, QEMUFile *f, GError **errp);
    bool (*resume_ack)(void *opaque, uint32_t value, GError **errp);
    /* Channel @value of multifd is lost, or RP_CHANNELS_CHECKED. As for request. */
    bool (*lost_channel)(void *opaque, uint32_t value, GError **errp);
    /* switchover-ack: the guest may stop. As for request. */
    bool (*switchover_ack)(void *opaque, GError **errp);
    /* Nothing more will come. Unless accepted, @err (callee frees) says why; @explained: in the
     * destination's own words. Called exactly once. */
    void (*done)(void *opaque, ReturnPathVerdict verdict, GError *err, bool explained);
} ReturnPathEvents;

/* Reads until SHUT, an error, or the channel is shut down; events come from the reader's thread.
 * NULL: there can be no such thread, the channel is closed, *errp is set. */
ReturnPathReader *return_path_reader_start(QIOChannel *ioc, const ReturnPathEvents *events,
                                           void *opaque, GError **errp);
/* Wait for the end (shut the channel down first) and free. */
void return_path_reader_join(ReturnPathReader *r);

/* ---- destination; any thread, whole messages ---- */

typedef struct ReturnPathWriter ReturnPathWriter;

ReturnPathWriter *return_path_writer_new(QIOChannel *ioc);
void return_path_writer_free(ReturnPathWriter *w);
/* The channel broke: nothing is sent until there is another. */
void return_path_writer_detach(ReturnPathWriter *w);
/* Go on on @ioc. Page requests stay shut until return_path_writer_open_requests(). */
void return_path_writer_attach(ReturnPathWriter *w, QIOChannel *ioc);
void return_path_writer_open_requests(ReturnPathWriter *w);
/* PONG; a Godwit's hello is answered with @features (PeerFeatures). */
bool return_path_pong(ReturnPathWriter *w, uint32_t cookie, uint32_t features, GError **errp);
/* Channel @number is lost, or RP_CHANNELS_CHECKED. */
bool return_path_lost_channel(ReturnPathWriter *w, uint32_t number, GError **errp);
/* The guest may stop, as far as one more, or all, of its devices are concerned. */
bool return_path_switchover_ack(ReturnPathWriter *w, GError **errp);
/* "All is loaded: say that I may have the guest." */
bool return_path_loaded(ReturnPathWriter *w, GError **errp);
/* Pages somebody waits for: @length bytes at @offset of a block. */
typedef struct {
    const char *block;
    uint64_t offset;
    uint32_t length;
} ReturnPathRequest;

#define RETURN_PATH_BATCH 64
/* At most RETURN_PATH_BATCH at once, in one go. Shut or without channel: nothing is sent, and that
 * is no error. An error shuts the channel down, so that its reader notices. */
bool return_path_request_pages(ReturnPathWriter *w, const ReturnPathRequest *requests, unsigned n,
                               GError **errp);
/* Which pages of @block are here: @bytes of @bitmap in wire order (spec 40 section 12). */
bool return_path_send_bitmap(ReturnPathWriter *w, const char *block, const void *bitmap,
                             uint64_t bytes, GError **errp);
bool return_path_resume_ack(ReturnPathWriter *w, GError **errp);
/* "The guest is mine." False: the source may not have heard it, do not run the guest. */
bool return_path_accept(ReturnPathWriter *w, GError **errp);
/* "I failed", with the reason if the source understands it. Best effort. */
void return_path_refuse(ReturnPathWriter *w, const char *reason);

#endif
