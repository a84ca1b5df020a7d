/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The states of a device that migrates: which lead to which, and what happens on the way. */
#include "device.h"

#define N_STATES 8u

#define STOP         VFIO_DEVICE_STATE_STOP
#define RUNNING      VFIO_DEVICE_STATE_RUNNING
#define STOP_COPY    VFIO_DEVICE_STATE_STOP_COPY
#define RESUMING     VFIO_DEVICE_STATE_RESUMING
#define RUNNING_P2P  VFIO_DEVICE_STATE_RUNNING_P2P
#define PRE_COPY     VFIO_DEVICE_STATE_PRE_COPY
#define PRE_COPY_P2P VFIO_DEVICE_STATE_PRE_COPY_P2P

/* With these of the flags, and without those. */
static const struct {
    uint8_t from, to, with, without;
} arcs[] = {
    {STOP, STOP_COPY},
    {STOP_COPY, STOP},
    {STOP, RESUMING},
    {RESUMING, STOP},
    {RUNNING, STOP, 0, VFIO_MIGRATION_P2P},
    {STOP, RUNNING, 0, VFIO_MIGRATION_P2P},
    {RUNNING, RUNNING_P2P, VFIO_MIGRATION_P2P},
    {RUNNING_P2P, RUNNING, VFIO_MIGRATION_P2P},
    {RUNNING_P2P, STOP, VFIO_MIGRATION_P2P},
    {STOP, RUNNING_P2P, VFIO_MIGRATION_P2P},
    {RUNNING, PRE_COPY, VFIO_MIGRATION_PRE_COPY},
    {PRE_COPY, RUNNING, VFIO_MIGRATION_PRE_COPY},
    {PRE_COPY, STOP_COPY, VFIO_MIGRATION_PRE_COPY},
    {RUNNING_P2P, PRE_COPY_P2P, VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY},
    {PRE_COPY_P2P, RUNNING_P2P, VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY},
    {PRE_COPY, PRE_COPY_P2P, VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY},
    {PRE_COPY_P2P, PRE_COPY, VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY},
    {PRE_COPY_P2P, STOP_COPY, VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY},
};

bool device_is_saving(unsigned state)
{
    return state == STOP_COPY || state == PRE_COPY || state == PRE_COPY_P2P;
}

bool device_runs(const Device *d)
{
    return d->state == RUNNING || d->state == PRE_COPY;
}

static bool leads(const Device *d, unsigned arc)
{
    uint64_t flags = d->opt->flags;

    return (flags & arcs[arc].with) == arcs[arc].with && !(flags & arcs[arc].without);
}

/* The states from d->state (not included) to @end on the shortest way, which never leads through
 * one that saves. How many; 0: there is no way. */
static unsigned find_path(const Device *d, unsigned end, uint8_t *path)
{
    uint8_t queue[N_STATES] = {end}, toward[N_STATES] = {0};
    unsigned head = 0, tail = 1, n = 0;

    toward[end] = end;
    while (head < tail && !toward[d->state]) { /* backward from the end */
        unsigned to = queue[head++];

        if (to != end && device_is_saving(to)) {
            continue;
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(arcs); i++) {
            if (arcs[i].to == to && leads(d, i) && !toward[arcs[i].from]) {
                toward[arcs[i].from] = to;
                queue[tail++] = arcs[i].from;
            }
        }
    }
    for (unsigned s = d->state; toward[d->state] && s != end; n++) {
        path[n] = s = toward[s];
    }
    return n;
}

static int go(Device *d, unsigned state)
{
    if (d->state == RESUMING && !d->in.complete) {
        return EINVAL;
    }
    if (device_is_saving(state) && !device_is_saving(d->state)) {
        outbox_fill(d);
    }
    if (state == RESUMING) {
        inbox_begin(d);
    }
    d->state = state;
    return 0;
}

int device_set_state(Device *d, unsigned state)
{
    uint8_t path[N_STATES];
    unsigned n;
    int error = 0;

    if (state == d->state) {
        return 0;
    }
    n = state && state < N_STATES ? find_path(d, state, path) : 0;
    for (unsigned i = 0; i < n && !error; i++) {
        error = go(d, path[i]);
    }
    return n ? error : EINVAL;
}
