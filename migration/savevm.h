/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sections: the registry's entries, and saving and loading them (spec 10 sections 1-3, 12).
 */
#ifndef GODWIT_MIGRATION_SAVEVM_H
#define GODWIT_MIGRATION_SAVEVM_H

#include "migration/register.h"
#include "migration/vmdesc.h"

#define SECTION_ID_UNSET UINT64_MAX

struct SaveStateEntry {
    char idstr[256];
    uint32_t instance_id;
    int alias_id; /* second accepted instance id, or -1 */
    /* What it was called before it had a device path; compat_name NULL: nothing. */
    const char *compat_name;
    uint32_t compat_instance_id;
    uint32_t section_id; /* ours, when sending */
    uint64_t remote_id;  /* the sender's, when loading; SECTION_ID_UNSET before its START */
    uint32_t remote_version;
    bool load_open; /* live: START was loaded, END was not */
    bool has_come;  /* when loading: the sender has it too */
    int version_id;
    const SaveVMHandlers *ops;      /* live handlers, */
    const VMStateDescription *vmsd; /* or a description: exactly one is set */
    void *opaque;
};

struct SaveStateList {
    GPtrArray *entries; /* SaveStateEntry, in stream order */
    uint32_t next_section_id;
    bool only_migratable;
};

#define SAVEVM_FOREACH(entry, list)                                                        \
    for (unsigned entry##_i = 0; entry##_i < (list)->entries->len; entry##_i++)            \
        for (SaveStateEntry *entry = g_ptr_array_index((list)->entries, entry##_i); entry; \
             entry = NULL)

/* Live handlers that take part in this migration. */
static inline bool savevm_is_live(const SaveStateEntry *se)
{
    return se->ops && (!se->ops->is_active || se->ops->is_active(se->opaque));
}

/* The entry that loads section (@idstr, @instance_id), or NULL. */
SaveStateEntry *savevm_find(const SaveStateList *list, const char *idstr, uint32_t instance_id);
/* The entry whose START carried @remote_id, or NULL. */
SaveStateEntry *savevm_find_remote(const SaveStateList *list, uint32_t remote_id);
/* Name of an entry that cannot migrate, or NULL. */
const SaveStateEntry *savevm_unmigratable(const SaveStateList *list);

/* ---- saving; migration thread ---- */
typedef enum {
    SAVE_PRECOPY,  /* all of them */
    SAVE_SWITCH,   /* to postcopy: those that cannot go on after it */
    SAVE_POSTCOPY, /* after it: those that can, beyond the rate limit if they are asked to */
} SavePhase;

typedef struct {
    QEMUFile *f;
    const SaveStateList *list;
    bool footers;    /* send-section-footer */
    SavePhase phase; /* which live handlers iterate and complete */
} SaveContext;

/* A COMMAND item with @len bytes of arguments, into the file's buffer. */
void savevm_put_command(QEMUFile *f, uint16_t command, const void *args, uint16_t len);

/* Each returns false with *errp naming the section. */
/* Main thread: may the migration begin? */
bool savevm_prepare(const SaveStateList *list, GError **errp);
/* START sections and early descriptions; big lock held. */
bool savevm_setup(const SaveContext *c, GError **errp);
/* One PART per live handler: ITERATE_DONE if all had nothing left, ITERATE_MORE if the rate limit
 * ended it. */
IterateResult savevm_iterate(const SaveContext *c, GError **errp);
/* Handlers that will call migration_approve_switchover(). */
unsigned savevm_acks_needed(const SaveStateList *list);
MigPendingData savevm_pending(const SaveStateList *list, bool exact);
/* END sections; VM stopped, big lock held unless after the switch to postcopy. */
bool savevm_complete_live(const SaveContext *c, GError **errp);
/* FULL sections; VM stopped, big lock held. @desc may be NULL. */
bool savevm_complete_devices(const SaveContext *c, VMDescWriter *desc, GError **errp);
/* Main thread, big lock: always, whatever happened. */
void savevm_cleanup(const SaveStateList *list);

#endif
