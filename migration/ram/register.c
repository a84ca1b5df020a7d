/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/ram/state.h"
#include "migration/wire/ram.h"

static const SaveVMHandlers ram_handlers = {
    .save_setup = ram_save_setup,
    .save_live_iterate = ram_save_iterate,
    .save_query_pending = ram_save_query_pending,
    .save_complete = ram_save_complete,
    .save_cleanup = ram_save_cleanup,
    .load_setup = ram_load_setup,
    .load_state = ram_load_state,
    .load_cleanup = ram_load_cleanup,
};

RamState *ram_state_new(const RamEnv *env)
{
    RamState *rs = g_new0(RamState, 1);

    rs->env = *env;
    return rs;
}

void ram_state_free(RamState *rs)
{
    if (rs) {
        g_assert(!rs->save && !rs->load);
        g_free(rs);
    }
}

SaveStateEntry *ram_register(SaveStateList *list, RamState *rs)
{
    return savevm_register_live(list, "ram", 0, RAM_SECTION_VERSION, &ram_handlers, rs);
}
