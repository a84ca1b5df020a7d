/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What save.c, load.c and register.c share. */
#ifndef GODWIT_MIGRATION_RAM_STATE_H
#define GODWIT_MIGRATION_RAM_STATE_H

#include "migration/ram/ram.h"

typedef struct RamSave RamSave;
typedef struct RamLoad RamLoad;
typedef struct RamBackground RamBackground;

struct RamState {
    RamEnv env;
    RamHints *hints;
    RamSave *save;             /* from save_setup to save_cleanup */
    RamLoad *load;             /* from load_setup to load_cleanup */
    RamBackground *background; /* in place of save, for a background snapshot */
};

/* The callbacks of SaveVMHandlers; opaque = RamState. */
bool ram_save_setup(QEMUFile *f, void *opaque, GError **errp);
IterateResult ram_save_iterate(QEMUFile *f, void *opaque, GError **errp);
void ram_save_query_pending(void *opaque, MigPendingData *pending, bool exact);
bool ram_save_complete(QEMUFile *f, void *opaque, GError **errp);
void ram_save_cleanup(void *opaque);
bool ram_save_has_postcopy(void *opaque);
bool ram_load_setup(QEMUFile *f, void *opaque, GError **errp);
bool ram_load_state(QEMUFile *f, void *opaque, int version_id, GError **errp);
void ram_load_cleanup(void *opaque);

/* The list of all blocks that @list has, with whatever @sink adds to their entries. */
bool ram_put_block_list(QEMUFile *f, RAMList *list, RamSink *sink, bool ignore_shared,
                        bool postcopy, GError **errp);

/* ---- background.c: the same callbacks for a background snapshot ---- */
bool ram_background_setup(QEMUFile *f, RamState *rs, GError **errp);
IterateResult ram_background_iterate(QEMUFile *f, RamState *rs, GError **errp);
void ram_background_cleanup(RamState *rs);

#endif
