/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between state.c and migration.c. */
#ifndef GODWIT_HW_VFIO_MIGRATION_INTERNAL_H
#define GODWIT_HW_VFIO_MIGRATION_INTERNAL_H

#include "hw/vfio/migration.h"

#define VFIO_CHUNK (1u << 20)
/* So much is read at once of a device that stands still. */
#define VFIO_BUFFER (4 * VFIO_CHUNK)
/* For a device that does not say how much state it has: more than any downtime allows. */
#define VFIO_SIZE_UNKNOWN (100 * GiB)

struct VFIOMigration {
    VFIOMigrationOwner owner;
    SaveStateEntry *section;
    unsigned state; /* atomic: what the device was told last */
    bool saving;    /* a session was opened by save_setup; big lock */
    bool loaded;    /* the device has validated what came; incoming thread */
    bool never_run; /* with what came; big lock */
    GMutex lock;
    GError *error; /* lock: what ended the session where nobody could be told */
    uint8_t *buf;  /* VFIO_BUFFER bytes; migration or incoming thread */
    /* What is left to send; atomic, written by the migration thread. */
    uint64_t initial, dirty; /* in PRE_COPY */
    uint64_t stop_copy;      /* all, if the device stopped now; VFIO_SIZE_UNKNOWN: nobody knows */
    bool ack_due;            /* INIT_DATA_SENT is to be sent; migration thread, and the next: */
    unsigned ack_requests;   /* nobody has been told of yet */
    bool told_unknown;       /* and the operator has heard so; migration thread */
    /* Of the last migration; atomic. */
    uint64_t sent, sent_us, loaded_bytes, loaded_us;
};

static inline VFIODevice *vfio_migration_device(const VFIOMigration *v)
{
    return v->owner.dev;
}

/* ---- state.c ---- */

unsigned vfio_migration_state(const VFIOMigration *v);
/* A session while the guest runs. */
bool vfio_migration_is_precopying(const VFIOMigration *v);
/* VFIO_MIGRATION_* */
bool vfio_migration_offers(const VFIOMigration *v, uint64_t flag);
/* Nothing if it is in @state already. False: *errp, and nobody knows what state it is in. */
bool vfio_migration_set_state(VFIOMigration *v, unsigned state, GError **errp);
/*
 * The same; after a failure the device is told to go to @recover, and if it refuses that, too, or
 * if that is VFIO_DEVICE_STATE_ERROR, it is reset, which makes it run.
 */
bool vfio_migration_set_state_or(VFIOMigration *v, unsigned state, unsigned recover, GError **errp);
/* Reset it, so that it runs. */
void vfio_migration_recover(VFIOMigration *v);

/* The device is about to stop: has its initial data begun anew? Big lock. (migration.c) */
void vfio_migration_look_again(VFIOMigration *v);

/* Takes @err; the first one fails the migration that runs. */
void vfio_migration_note_error(VFIOMigration *v, GError *err);
/* The noted one, now the caller's, or NULL. */
GError *vfio_migration_take_error(VFIOMigration *v);

#endif
