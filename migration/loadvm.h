/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The load side of a stream (spec 10 sections 1, 2.4, 10). Incoming thread, big lock not held.
 */
#ifndef GODWIT_MIGRATION_LOADVM_H
#define GODWIT_MIGRATION_LOADVM_H

#include "migration/core.h"

typedef struct LoadContext LoadContext;
struct LoadContext {
    Migration *m;
    QEMUFile *f;
    bool package; /* @f is not the channel, but a package that came over it */
    /* COMMAND items this reader obeys; NULL: none (snapshots). */
    bool (*open_return_path)(void *opaque, GError **errp);
    bool (*ping)(void *opaque, uint32_t cookie, GError **errp);
    /* Will the source be silent behind EOF until it has heard from us? */
    bool (*awaits_answer)(void *opaque);
    /* Commands of postcopy and packages. Sets *leave to end loadvm_items() behind this one. */
    bool (*postcopy)(const LoadContext *c, uint16_t command, const uint8_t *args, uint16_t len,
                     bool *leave, void *opaque, GError **errp);
    /* EOF was read, before anything is concluded from it. Optional. */
    bool (*eof)(void *opaque, GError **errp);
    void *opaque;
};

/* Header and configuration, then load_setup of the live handlers. */
bool loadvm_begin(const LoadContext *c, GError **errp);
/* Items up to and including EOF, or a command that says to leave. Errors name section and offset.
 */
bool loadvm_items(const LoadContext *c, GError **errp);
/* One item, which must be a command. */
bool loadvm_command(const LoadContext *c, GError **errp);
/* What follows EOF: read and forget. Never fails: the guest is ours already. */
void loadvm_trailer(const LoadContext *c);
/* load_cleanup of the live handlers; main thread, big lock. */
void loadvm_cleanup(Migration *m);

#endif
