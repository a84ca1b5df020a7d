/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VFIO device of a few lines behind the table of operations, and its migration. It keeps its
 * state in one array of bytes: what is in @outbox is read in sessions, what is written is collected
 * in @inbox. Its configuration is the word @config, which must match.
 */
#ifndef GODWIT_TESTS_FAKE_VFIO_H
#define GODWIT_TESTS_FAKE_VFIO_H

#include "hw/vfio/migration-internal.h"

typedef struct {
    VFIODevice parent;
    VFIOMigration *migration;
    uint64_t flags; /* VFIO_MIGRATION_* */
    uint32_t config;
    GByteArray *outbox, *inbox;
    uint32_t chunk; /* at most so many bytes at once */
    uint64_t stop_size;
    VFIOPrecopySizes sizes; /* of what is in the outbox: the initial and the dirty part */
    bool no_sizes;
    uint64_t refuse_write_at; /* bytes into the inbox; 0: never */
    unsigned refuse_state;    /* the next change to it; 0: none */
    unsigned resets, stops;
    GString *trace; /* "5 2 ", every state it was told */
} FakeVFIO;

/* In state RUNNING, with section "@path/vfio". Big lock. */
FakeVFIO *fake_vfio_new(Migration *m, const char *path, uint64_t flags);
void fake_vfio_free(FakeVFIO *f);

#endif
