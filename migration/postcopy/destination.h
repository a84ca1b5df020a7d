/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Postcopy on the destination: the commands of the source in their order (spec 40 section 4).
 *
 *   advise --> discard ... --> listening --> running --> end
 *
 * advise     source and destination agree on page sizes
 * discard    memory that is stale goes; nothing may be loaded or populated until
 * listening  memory is watched, faults are asked for; devices are loaded meanwhile
 * running    the guest runs here and nowhere else: a broken channel pauses, it never fails
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_DESTINATION_H
#define GODWIT_MIGRATION_POSTCOPY_DESTINATION_H

#include "migration/postcopy/faults.h"

typedef enum {
    POSTCOPY_ADVISED = 1,
    POSTCOPY_DISCARDING,
    POSTCOPY_LISTENING,
    POSTCOPY_RUNNING,
    POSTCOPY_ENDED,
} PostcopyState;

typedef struct PostcopyDestination PostcopyDestination;

/* Can pages of this memory be missing, on this host? Error: what is in the way. Big lock. */
bool postcopy_host_check(RAMList *list, GError **errp);

/* Command advise, @len bytes of argument; NULL and *errp: not like this. Incoming thread. */
PostcopyDestination *postcopy_destination_new(RAMList *list, const uint8_t *args, size_t len,
                                              GError **errp);
/* Memory that is still watched is released as it is. No other thread is in here. */
void postcopy_destination_free(PostcopyDestination *d);
/* Any thread. */
PostcopyState postcopy_destination_state(const PostcopyDestination *d);

/* Before the first discard and before listening: drop who may still write or populate. */
typedef bool PostcopyPrepare(void *opaque, GError **errp);

/* Each is the command of its name; false and *errp, also in a wrong state. Incoming thread. */
bool postcopy_destination_discard(PostcopyDestination *d, const uint8_t *args, size_t len,
                                  PostcopyPrepare *prepare, void *opaque, GError **errp);
/* @rp outlives @d. */
bool postcopy_destination_listen(PostcopyDestination *d, ReturnPathWriter *rp,
                                 PostcopyPrepare *prepare, void *opaque, GError **errp);
bool postcopy_destination_run(PostcopyDestination *d, GError **errp);
/* The loader of one more channel, @background as in postcopy_loader_new(); after listen. */
PostcopyLoader *postcopy_destination_new_loader(PostcopyDestination *d, bool background,
                                                GError **errp);
/* Count in @b how long threads wait from now on; before listen. Takes @b. */
void postcopy_destination_measure(PostcopyDestination *d, PostcopyBlocktime *b);
/* Hand over what was measured, or NULL; nobody waits any more. */
PostcopyBlocktime *postcopy_destination_take_measured(PostcopyDestination *d);
/* Is there a block so large? After listen. */
bool postcopy_destination_has_offset(const PostcopyDestination *d, uint64_t offset);
/* Target pages that have not come. @complete of the last one: any thread. */
uint64_t postcopy_destination_missing(const PostcopyDestination *d);
void postcopy_destination_on_complete(PostcopyDestination *d, void (*complete)(void *opaque),
                                      void *opaque);
/* The channel broke: what was half received is void. */
void postcopy_destination_reset(PostcopyDestination *d);
/* Answer command recv-bitmap: tell the source what is here of the block. */
bool postcopy_destination_send_bitmap(PostcopyDestination *d, const uint8_t *args, size_t len,
                                      ReturnPathWriter *rp, GError **errp);
/* Ask again for what was asked for and has not come. */
bool postcopy_destination_ask_again(PostcopyDestination *d, GError **errp);
/* Everything is here: stop watching. */
void postcopy_destination_end(PostcopyDestination *d);

/* The loader of a ram section on the main channel, after listen; RamSectionLoader. */
bool postcopy_destination_load(QEMUFile *f, void *opaque, GError **errp);

#endif
