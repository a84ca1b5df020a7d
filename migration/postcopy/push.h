/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which page goes next, once the guest runs at the destination.
 *
 *   background    walks what is left, from behind the last page somebody asked for (walk.c);
 *                 more of them on channels of their own, if there are (push-out.c)
 *   requested     a vCPU over there sleeps: before everything else
 *
 * What is left is the dirty map of precopy, after its last sync. A page is sent by whoever clears
 * its bit: background and urgent sender agree by that one atomic operation and by nothing else, so
 * a request never waits for a lock that the background stream holds. Of a host page larger than
 * 4 KiB the first bit decides.
 *
 * With an urgent channel the thread that reads requests sends the page itself; if the destination
 * lets it even when the background was faster, for there are megabytes in front of what that has
 * sent. Without one the request is queued and the migration thread serves it before it goes on.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_PUSH_H
#define GODWIT_MIGRATION_POSTCOPY_PUSH_H

#include "migration/ram/zero.h"
#include "migration/ram-sink.h"
#include "migration/register.h"
#include "migration/stats.h"

typedef struct PostcopyPush PostcopyPush;
typedef struct PostcopyWalk PostcopyWalk;

/* Background pages go out so many bytes at a time: while a system call copies them, whoever serves
 * a request waits for that CPU, for kernels of servers do not interrupt it. */
#define POSTCOPY_BITE_BYTES (128 * KiB)

/*
 * Take over @dirty (synced for the last time, guest stopped) and @zero; both outlive it. Host pages
 * that are partly dirty become dirty. @wake is called when a request was queued. Migration thread.
 */
PostcopyPush *postcopy_push_new(DirtyMap *dirty, RamZero *zero, MigrationCounters *counters,
                                void (*wake)(void *opaque), void *opaque);
void postcopy_push_free(PostcopyPush *p);
/* Pages shall be given back as soon as they were sent. Before anything else; migration thread. */
void postcopy_push_plan_release(PostcopyPush *p);
/* The guest runs at the destination: do so from now on, if that was planned. Migration thread. */
void postcopy_push_begin_release(PostcopyPush *p);
/* Commands discard for all that is left. Migration thread. */
void postcopy_push_discards(PostcopyPush *p, QEMUFile *f);
/* Pages not claimed yet. Any thread. */
uint64_t postcopy_push_left(const PostcopyPush *p);
/* Does a request wait for the migration thread? Any thread. */
bool postcopy_push_urgent(const PostcopyPush *p);
/*
 * The body of a PART section: requests, then background pages until the window is used up, some
 * time has passed or nothing is left; EOS. With @all until nothing is left. Migration thread.
 */
IterateResult postcopy_push_section(PostcopyPush *p, QEMUFile *f, bool all, GError **errp);

/*
 * Requests go out on @f (NULL: on the main channel). @again: also pages that the background has
 * sent already, but which are still queued behind others on the main channel (not together with
 * release). No request is being served.
 */
void postcopy_push_set_urgent_file(PostcopyPush *p, QEMUFile *f, bool again);
/* Everything is sent: say so on the urgent channel, if there is one. Migration thread. */
void postcopy_push_end_urgent(PostcopyPush *p);
/*
 * Somebody waits for @length bytes at @offset of @block (NULL: the block of the last request).
 * False and *errp: no such pages. The thread that reads requests.
 */
bool postcopy_push_request(PostcopyPush *p, const char *block, uint64_t offset, uint64_t length,
                           GError **errp);

/* ---- more channels; one thread each ---- */

/* A walk through what is left that starts behind @part of @parts of all memory and goes round. Any
 * thread; freed before @p. */
PostcopyWalk *postcopy_walk_new(PostcopyPush *p, unsigned part, unsigned parts);
void postcopy_walk_free(PostcopyWalk *w);
/* How many pages to go on by, so that the window of @f is not exceeded by much. */
unsigned postcopy_walk_step(QEMUFile *f);
/* Claim the next few pages that are left, @most of them or a huge one, put them on @f. *sent is
 * false when nothing is left. False and *errp: @f has failed. */
bool postcopy_walk_on(PostcopyWalk *w, QEMUFile *f, unsigned most, bool *sent, GError **errp);

/* ---- recovery; nothing else runs ---- */

/* Requests so far are void, the other side repeats them; names go out again. */
void postcopy_push_restart(PostcopyPush *p);
/* What has arrived of @block, as host words; all else is left to be sent. @bits as
 * postcopy_push_block_bits() says. False and *errp: no such block. */
bool postcopy_push_set_received(PostcopyPush *p, const char *block, const unsigned long *received,
                                GError **errp);
/* Size of the map of block @i in bits, its name; false: no more blocks. */
bool postcopy_push_block(const PostcopyPush *p, unsigned i, const char **name, uint64_t *bits);

#endif
