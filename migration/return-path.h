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

#include "io/channel.h"
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

/* ---- destination; one thread ---- */

typedef struct ReturnPathWriter ReturnPathWriter;

ReturnPathWriter *return_path_writer_new(QIOChannel *ioc);
void return_path_writer_free(ReturnPathWriter *w);
/* PONG; a Godwit's hello is answered with our features. */
bool return_path_pong(ReturnPathWriter *w, uint32_t cookie, GError **errp);
/* "All is loaded: say that I may have the guest." */
bool return_path_loaded(ReturnPathWriter *w, GError **errp);
/* "The guest is mine." False: the source may not have heard it, do not run the guest. */
bool return_path_accept(ReturnPathWriter *w, GError **errp);
/* "I failed", with the reason if the source understands it. Best effort. */
void return_path_refuse(ReturnPathWriter *w, const char *reason);

#endif
