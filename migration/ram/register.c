/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/state.h"
#include "migration/wire/ram.h"

/* ---- two ways to save: round after round, or as it was at one moment ---- */

static bool save_setup(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;

    return rs->env.background(rs->env.opaque) ? ram_background_setup(f, rs, errp)
                                              : ram_save_setup(f, rs, errp);
}

static IterateResult save_iterate(QEMUFile *f, void *opaque, GError **errp)
{
    RamState *rs = opaque;

    return rs->background ? ram_background_iterate(f, rs, errp) : ram_save_iterate(f, rs, errp);
}

static void save_cleanup(void *opaque)
{
    ram_background_cleanup(opaque);
    ram_save_cleanup(opaque);
}

static const SaveVMHandlers ram_handlers = {
    .save_setup = save_setup,
    .save_live_iterate = save_iterate,
    .save_query_pending = ram_save_query_pending,
    .save_complete = ram_save_complete,
    .save_cleanup = save_cleanup,
    .has_postcopy = ram_save_has_postcopy,
    .load_setup = ram_load_setup,
    .load_state = ram_load_state,
    .load_cleanup = ram_load_cleanup,
};

RamState *ram_state_new(const RamEnv *env)
{
    RamState *rs = g_new0(RamState, 1);

    rs->env = *env;
    rs->hints = ram_hints_new();
    return rs;
}

RamHints *ram_state_hints(RamState *rs)
{
    return rs->hints;
}

void ram_state_free(RamState *rs)
{
    if (rs) {
        g_assert(!rs->save && !rs->load && !rs->background);
        ram_hints_free(rs->hints);
        g_free(rs);
    }
}

SaveStateEntry *ram_register(SaveStateList *list, RamState *rs)
{
    return savevm_register_live(list, "ram", 0, RAM_SECTION_VERSION, &ram_handlers, rs);
}
