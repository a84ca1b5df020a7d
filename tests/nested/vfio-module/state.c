// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Migration states, and the log of pages the device wrote. The kernel's own table of arcs knows no
 * PRE_COPY, so there is one here.
 */
#include <linux/interval_tree.h>
#include "device.h"

#define STOP      VFIO_DEVICE_STATE_STOP
#define RUNNING   VFIO_DEVICE_STATE_RUNNING
#define STOP_COPY VFIO_DEVICE_STATE_STOP_COPY
#define RESUMING  VFIO_DEVICE_STATE_RESUMING
#define P2P       VFIO_DEVICE_STATE_RUNNING_P2P

/* ---- states ---- */

void gw_note_state(struct gw_device *gw, unsigned int state)
{
    size_t n = strlen(gw->states);

    gw->state = state;
    if (n + 1 < sizeof(gw->states)) {
        gw->states[n] = '0' + state;
        gw->states[n + 1] = 0;
    }
}

/* Bit n: state n. */
static unsigned int known_states(const struct gw_device *gw)
{
    unsigned int known = BIT(STOP) | BIT(RUNNING) | BIT(STOP_COPY) | BIT(RESUMING);

    if (gw->vdev.migration_flags & VFIO_MIGRATION_P2P) {
        known |= BIT(P2P);
    }
    if (gw->vdev.migration_flags & GW_FLAG_PRE_COPY) {
        known |= BIT(GW_PRE_COPY);
        known |= known & BIT(P2P) ? BIT(GW_PRE_COPY_P2P) : 0;
    }
    return known;
}

/* States one step away from @state. */
static unsigned int arcs(const struct gw_device *gw, unsigned int state)
{
    static const unsigned int table[GW_STATES] = {
        [STOP] = BIT(P2P) | BIT(STOP_COPY) | BIT(RESUMING),
        [RUNNING] = BIT(P2P) | BIT(GW_PRE_COPY),
        [STOP_COPY] = BIT(STOP),
        [RESUMING] = BIT(STOP),
        [P2P] = BIT(STOP) | BIT(RUNNING) | BIT(GW_PRE_COPY_P2P),
        [GW_PRE_COPY] = BIT(RUNNING) | BIT(GW_PRE_COPY_P2P) | BIT(STOP_COPY),
        [GW_PRE_COPY_P2P] = BIT(P2P) | BIT(GW_PRE_COPY) | BIT(STOP_COPY),
    };
    unsigned int known = known_states(gw), to = table[state] & known;

    if (!(known & BIT(P2P)) && (state == STOP || state == RUNNING)) {
        to |= state == STOP ? BIT(RUNNING) : BIT(STOP);
    }
    return to;
}

/* The first step of the shortest way; no saving or resuming state lies on it. 0: there is none. */
static unsigned int next_step(const struct gw_device *gw, unsigned int to)
{
    unsigned int reached = BIT(to), state;

    if (!(known_states(gw) & BIT(to))) {
        return 0;
    }
    /* Backwards from the aim until a neighbour of where we are is found. */
    for (;;) {
        unsigned int hit = arcs(gw, gw->state) & reached, more = 0;

        if (hit) {
            return __ffs(hit);
        }
        for (state = 1; state < GW_STATES; state++) {
            if (!gw_is_saving(state) && state != RESUMING && (arcs(gw, state) & reached)) {
                more |= BIT(state);
            }
        }
        if (!(more & ~reached)) {
            return 0;
        }
        reached |= more;
    }
}

static bool shall_fail(struct gw_device *gw, unsigned int to)
{
    if (gw->fail_state != to || !gw->fail_times) {
        return false;
    }
    gw->fail_times--;
    if (gw->fail_fatal) {
        gw_session_end(gw);
        gw_note_state(gw, VFIO_DEVICE_STATE_ERROR);
    }
    return true;
}

/* One arc. A file when it opens a session. */
static struct file *take_arc(struct gw_device *gw, unsigned int to)
{
    bool was_saving = gw_is_saving(gw->state), from_resuming = gw->state == RESUMING;
    struct file *file = NULL;

    if (shall_fail(gw, to)) {
        return ERR_PTR(-EIO);
    }
    if (from_resuming && !gw->loaded) {
        gw_session_end(gw);
        gw_note_state(gw, VFIO_DEVICE_STATE_ERROR);
        return ERR_PTR(-EINVAL);
    }
    if (from_resuming || (was_saving && !gw_is_saving(to))) {
        gw_session_end(gw);
    }
    if (to == RESUMING || (!was_saving && gw_is_saving(to))) {
        file = gw_session_open(gw, to != RESUMING);
        if (IS_ERR(file)) {
            return file;
        }
    }
    gw_note_state(gw, to);
    if (to == STOP_COPY) {
        gw_session_finish(gw);
    }
    gw_update_pin(gw);
    return file;
}

static struct file *set_state(struct vfio_device *vdev, enum vfio_device_mig_state state)
{
    struct gw_device *gw = gw_of(vdev);
    struct file *file = NULL;

    mutex_lock(&gw->lock);
    while (gw->state != state) {
        unsigned int step = gw->state && state < GW_STATES ? next_step(gw, state) : 0;
        struct file *opened = step ? take_arc(gw, step) : ERR_PTR(-EINVAL);

        if (IS_ERR(opened)) {
            file = opened;
            break;
        }
        file = opened;
    }
    mutex_unlock(&gw->lock);
    return file;
}

static int get_state(struct vfio_device *vdev, enum vfio_device_mig_state *state)
{
    struct gw_device *gw = gw_of(vdev);

    mutex_lock(&gw->lock);
    *state = gw->state;
    mutex_unlock(&gw->lock);
    return 0;
}

const struct vfio_migration_ops gw_migration_ops = {
    .migration_set_state = set_state,
    .migration_get_state = get_state,
};

/* ---- the log ---- */

void gw_log_drop(struct gw_device *gw)
{
    xa_destroy(&gw->log);
    gw->logging = false;
    gw->n_ranges = 0;
}

static bool is_logged(const struct gw_device *gw, u64 iova)
{
    unsigned int i;

    for (i = 0; i < gw->n_ranges; i++) {
        if (iova >= gw->ranges[i].first && iova <= gw->ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* What lies outside the ranges is written all the same, and lost: the caller asked for it. */
void gw_log_write(struct gw_device *gw, u64 iova, size_t len)
{
    u64 page;

    for (page = iova >> PAGE_SHIFT; gw->logging && page <= (iova + len - 1) >> PAGE_SHIFT; page++) {
        if (is_logged(gw, page << PAGE_SHIFT)) {
            WARN_ON(xa_is_err(xa_store(&gw->log, page, xa_mk_value(1), GFP_KERNEL)));
        }
    }
}

static int log_start(struct vfio_device *vdev, struct rb_root_cached *ranges, u32 nnodes,
                     u64 *page_size)
{
    struct gw_device *gw = gw_of(vdev);
    struct interval_tree_node *node;
    int ret = 0;

    mutex_lock(&gw->lock);
    if (gw->fail_log) {
        gw->fail_log--;
        ret = -EIO;
    } else if (gw->logging || !nnodes) {
        ret = -EINVAL;
    } else if (nnodes > GW_MAX_RANGES) {
        ret = -E2BIG;
    } else {
        for (node = interval_tree_iter_first(ranges, 0, ULONG_MAX); node;
             node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
            gw->ranges[gw->n_ranges].first = node->start;
            gw->ranges[gw->n_ranges++].last = node->last;
        }
        gw->logging = true;
        *page_size = PAGE_SIZE;
    }
    mutex_unlock(&gw->lock);
    return ret;
}

static int log_stop(struct vfio_device *vdev)
{
    struct gw_device *gw = gw_of(vdev);

    mutex_lock(&gw->lock);
    gw_log_drop(gw);
    mutex_unlock(&gw->lock);
    return 0;
}

static int log_read(struct vfio_device *vdev, unsigned long iova, unsigned long length,
                    struct iova_bitmap *dirty)
{
    struct gw_device *gw = gw_of(vdev);
    unsigned long page, last = (iova + length - 1) >> PAGE_SHIFT;
    void *entry;
    int ret = 0;

    mutex_lock(&gw->lock);
    if (!gw->logging) {
        ret = -EINVAL;
    } else {
        xa_for_each_range(&gw->log, page, entry, iova >> PAGE_SHIFT, last)
        {
            xa_erase(&gw->log, page);
            if (!gw->drop || page % gw->drop) {
                iova_bitmap_set(dirty, page << PAGE_SHIFT, PAGE_SIZE);
            }
        }
        page = gw_ring(gw) >> PAGE_SHIFT;
        if (gw->endless && page >= iova >> PAGE_SHIFT && page <= last) {
            iova_bitmap_set(dirty, page << PAGE_SHIFT, PAGE_SIZE);
        }
    }
    mutex_unlock(&gw->lock);
    return ret;
}

const struct vfio_log_ops gw_log_ops = {
    .log_start = log_start,
    .log_stop = log_stop,
    .log_read_and_clear = log_read,
};
