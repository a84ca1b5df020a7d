/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which channel has carried each page last, so that what a lost one had can be sent again. A byte
 * per page; migration thread.
 */
#ifndef GODWIT_MIGRATION_MULTIFD_CARRIERS_H
#define GODWIT_MIGRATION_MULTIFD_CARRIERS_H

#include "migration/ram-sink.h"

typedef struct MultifdCarriers MultifdCarriers;

MultifdCarriers *multifd_carriers_new(unsigned channels);
/* NULL is fine. */
void multifd_carriers_free(MultifdCarriers *c);
/* The pages have gone to channel @id (< 255). */
void multifd_carriers_note(MultifdCarriers *c, RAMBlock *block, uint64_t first, uint64_t count,
                           unsigned id);
/* The pages have gone elsewhere. */
void multifd_carriers_forget(MultifdCarriers *c, RAMBlock *block, uint64_t first, uint64_t count);
/* Channel @id is lost: @again for all it carried last. False: nothing new. */
bool multifd_carriers_lose(MultifdCarriers *c, unsigned id, RamAgain *again, void *opaque);
/* A channel that was lost since the last call, or -1: no more. */
int multifd_carriers_untold(MultifdCarriers *c);

#endif
