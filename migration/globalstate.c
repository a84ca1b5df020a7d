/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Run state on the wire. */
#include "migration/globalstate.h"

static bool globalstate_needed(void *opaque)
{
    GlobalState *gs = opaque;
    RunState state = RUN_STATE_RUNNING;

    RunState_parse((const char *)gs->runstate, &state);
    return *gs->always || (state != RUN_STATE_RUNNING && state != RUN_STATE_PAUSED);
}

static bool globalstate_pre_load(void *opaque, GError **errp)
{
    ((GlobalState *)opaque)->received = false;
    return true;
}

/* The states in between belong to an operation of the source; nothing here would ever end them. */
static bool is_transient(RunState state)
{
    switch (state) {
    case RUN_STATE_INMIGRATE:
    case RUN_STATE_FINISH_MIGRATE:
    case RUN_STATE_SAVE_VM:
    case RUN_STATE_RESTORE_VM:
    case RUN_STATE_COLO:
        return true;
    default:
        return false;
    }
}

static bool globalstate_post_load(void *opaque, int version_id, GError **errp)
{
    GlobalState *gs = opaque;

    /* The length is the peer's word; the text ends where the buffer ends at the latest. */
    gs->runstate[sizeof(gs->runstate) - 1] = '\0';
    if (!RunState_parse((const char *)gs->runstate, &gs->received_state)) {
        g_autofree char *shown = g_utf8_make_valid((const char *)gs->runstate, -1);

        error_setg(errp, "Unknown run state '%s'", shown);
        return false;
    }
    if (is_transient(gs->received_state)) {
        error_setg(errp, "A guest in run state '%s' cannot be taken over",
                   RunState_str(gs->received_state));
        return false;
    }
    gs->received = true;
    return true;
}

static const VMStateDescription vmsd_globalstate = {
    .name = "globalstate",
    .version_id = 1,
    .minimum_version_id = 1,
    .priority = MIG_PRI_LOW,
    .needed = globalstate_needed,
    .pre_load = globalstate_pre_load,
    .post_load = globalstate_post_load,
    .fields = (const VMStateField[]){VMSTATE_UINT32(size, GlobalState),
                                     VMSTATE_BUFFER(runstate, GlobalState), VMSTATE_END_OF_LIST()},
};

void globalstate_register(GlobalState *gs, SaveStateList *list, const bool *always)
{
    gs->always = always;
    vmstate_register(list, NULL, 0, &vmsd_globalstate, gs, -1, NULL);
}

void globalstate_store(GlobalState *gs, RunState state)
{
    const char *name = RunState_str(state);

    memset(gs->runstate, 0, sizeof(gs->runstate));
    gs->size = strlen(name) + 1;
    memcpy(gs->runstate, name, gs->size);
}
