/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The "globalstate" section: in which run state the guest was (spec 10 section 6). Big lock. */
#ifndef GODWIT_MIGRATION_GLOBALSTATE_H
#define GODWIT_MIGRATION_GLOBALSTATE_H

#include "migration/register.h"
#include "qapi-types-run-state.h"

typedef struct {
    /* The section. */
    uint32_t size;
    uint8_t runstate[100];
    /* What it means. */
    bool received;
    RunState received_state;
    const bool *always; /* the store-global-state switch */
} GlobalState;

/* @gs outlives @list's entry, which stays behind all others. */
void globalstate_register(GlobalState *gs, SaveStateList *list, const bool *always);
/* Remember the state before the switchover stop. */
void globalstate_store(GlobalState *gs, RunState state);

#endif
