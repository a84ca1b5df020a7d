/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Door 2b: how state joins the stream. RAM, VFIO and every device come in through here; the core
 * knows none of them by name. The contract of each callback (when, how often, thread, lock) is spec
 * 10 section 12.
 *
 * SaveStateList is the registry of one VM, in the order of spec 10 section 2.6. Big lock for
 * changes; the migration thread walks it while no device can be added (hot plug is refused during
 * migration).
 */
#ifndef GODWIT_MIGRATION_REGISTER_H
#define GODWIT_MIGRATION_REGISTER_H

#include "migration/vmstate.h"

typedef struct Migration Migration;

/* What is still to be sent, in bytes; handlers add to the members. */
typedef struct {
    uint64_t precopy;  /* must be sent before the stop or during it */
    uint64_t postcopy; /* can also be sent after the switch */
    uint64_t stopcopy; /* only available once the VM is stopped (estimate) */
    /* Handlers that since they were asked last began to wait for a word of the destination, without
     * which the guest must not stop (spec 60 section 5). */
    unsigned ack_requests;
} MigPendingData;

typedef enum {
    ITERATE_ERROR = -1, /* *errp set */
    ITERATE_MORE = 0,   /* the rate limit or time slice ended the pass */
    ITERATE_DONE = 1,   /* nothing left right now */
} IterateResult;

typedef struct SaveVMHandlers {
    /* ---- source ---- */
    /* In migrate/savevm before status setup; main thread, BQL. May refuse. */
    bool (*save_prepare)(void *opaque, GError **errp);
    /* Once, inside START; migration thread, BQL. */
    bool (*save_setup)(QEMUFile *f, void *opaque, GError **errp);
    /* Each loop turn, inside PART; migration thread, no BQL. */
    IterateResult (*save_live_iterate)(QEMUFile *f, void *opaque, GError **errp);
    /* Every loop turn; @exact: may sync dirty logs. Migration thread, no BQL. */
    void (*save_query_pending)(void *opaque, MigPendingData *pending, bool exact);
    /* VM stopped, inside END; migration thread, BQL. */
    bool (*save_complete)(QEMUFile *f, void *opaque, GError **errp);
    /* VM stopped, all ENDs sent: one more section (FULL) among those of the devices; the body goes
     * to load_state. Migration thread, BQL. */
    bool (*save_state)(QEMUFile *f, void *opaque, GError **errp);
    /* Always at the end, also if setup never ran; main thread, BQL. */
    void (*save_cleanup)(void *opaque);
    /* At postcopy recovery; migration thread, no BQL. */
    bool (*resume_prepare)(void *opaque, GError **errp);
    /* Is this handler part of this migration? Filter before every callback but the cleanups. NULL:
     * yes. */
    bool (*is_active)(void *opaque);
    bool (*is_active_iterate)(void *opaque);
    bool (*has_postcopy)(void *opaque);

    /* ---- destination; incoming thread ---- */
    /* Before the first item, after the configuration; BQL. */
    bool (*load_setup)(QEMUFile *f, void *opaque, GError **errp);
    /* Body of START, PART, END or FULL; @version of the section. BQL is NOT held: take it where
     * devices are touched. */
    bool (*load_state)(QEMUFile *f, void *opaque, int version_id, GError **errp);
    /* At incoming teardown, also if setup never ran; BQL. */
    void (*load_cleanup)(void *opaque);
    /* Behind load_setup: will it call migration_approve_switchover()? */
    bool (*switchover_ack_needed)(void *opaque);
} SaveVMHandlers;

typedef struct SaveStateList SaveStateList;
typedef struct SaveStateEntry SaveStateEntry;

#define INSTANCE_ID_ANY UINT32_MAX

SaveStateList *savevm_list_new(void);
void savevm_list_free(SaveStateList *list);

/*
 * Register live handlers. @idstr <= 255 bytes; @instance_id INSTANCE_ID_ANY picks the next free
 * one.
 * @ops and @opaque must outlive the entry. Unregister with savevm_unregister().
 */
SaveStateEntry *savevm_register_live(SaveStateList *list, const char *idstr, uint32_t instance_id,
                                     int version_id, const SaveVMHandlers *ops, void *opaque);
/*
 * Register a description. @dev_path: the device's path ("virtio-mmio@0000000010008000") or NULL:
 * rules of spec 10 section 2.2-2.3, including the compat alias. @alias_id: second accepted
 * instance, or -1. NULL and error when the name is too long or (with -only-migratable) the
 * description is unmigratable.
 */
SaveStateEntry *vmstate_register(SaveStateList *list, const char *dev_path, uint32_t instance_id,
                                 const VMStateDescription *vmsd, void *opaque, int alias_id,
                                 GError **errp);
void savevm_unregister(SaveStateList *list, SaveStateEntry *entry);
/* -only-migratable: from now on unmigratable descriptions and blockers are refused. */
void savevm_set_only_migratable(SaveStateList *list, bool on);

#endif
