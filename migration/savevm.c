/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The save side of sections:
 *
 *     START of each live handler, early descriptions   (setup)
 *     PART  of each live handler, again and again      (iterate)
 *     END   of each live handler                       (VM stopped)
 *     FULL  of each description that is needed         (VM stopped)
 */
#include "migration/savevm.h"
#include "migration/wire/stream.h"

static void put_item(QEMUFile *f, const StreamItem *item)
{
    uint8_t bytes[STREAM_ITEM_MAX];

    qemu_put_buffer(f, bytes, stream_encode_item(item, bytes));
}

void savevm_put_command(QEMUFile *f, uint16_t command, const void *args, uint16_t len)
{
    put_item(f, &(StreamItem){.type = STREAM_COMMAND, .command = command, .command_len = len});
    qemu_put_buffer(f, args, len);
}

static bool in_phase(const SaveContext *c, const SaveStateEntry *se)
{
    bool postcopy = se->ops->has_postcopy && se->ops->has_postcopy(se->opaque);

    return c->phase == SAVE_PRECOPY || postcopy == (c->phase == SAVE_POSTCOPY);
}

static void begin_section(const SaveContext *c, const SaveStateEntry *se, StreamItemType type)
{
    StreamItem item = {
        .type = type,
        .section_id = se->section_id,
        .instance_id = se->instance_id,
        .version_id = se->version_id,
    };

    g_strlcpy(item.idstr, se->idstr, sizeof(item.idstr));
    put_item(c->f, &item);
}

/* The footer is written even after a failure: the peer then fails at a place it can name. */
static bool end_section(const SaveContext *c, const SaveStateEntry *se, bool ok, GError **errp)
{
    if (c->footers) {
        put_item(c->f, &(StreamItem){.type = STREAM_SECTION_FOOTER, .section_id = se->section_id});
    }
    ok = ok && qemu_file_check(c->f, errp);
    if (!ok) {
        g_prefix_error(errp, "Saving section '%s' at offset %" PRIu64 ": ", se->idstr,
                       qemu_file_transferred(c->f));
    }
    return ok;
}

bool savevm_prepare(const SaveStateList *list, GError **errp)
{
    SAVEVM_FOREACH(se, list)
    {
        if (savevm_is_live(se) && se->ops->save_prepare &&
            !se->ops->save_prepare(se->opaque, errp)) {
            return false;
        }
    }
    return true;
}

static bool save_device(const SaveContext *c, const SaveStateEntry *se, VMDescWriter *desc,
                        GError **errp)
{
    bool ok;

    if (!vmstate_section_needed(se->vmsd, se->opaque)) {
        return true;
    }
    vmdesc_device(desc, se->idstr, se->instance_id);
    begin_section(c, se, STREAM_SECTION_FULL);
    ok = vmstate_save_state(c->f, se->vmsd, se->opaque, desc, errp);
    vmdesc_device_end(desc);
    return end_section(c, se, ok, errp);
}

bool savevm_setup(const SaveContext *c, GError **errp)
{
    SAVEVM_FOREACH(se, c->list)
    {
        if (se->vmsd && se->vmsd->early_setup) {
            if (!save_device(c, se, NULL, errp)) {
                return false;
            }
        } else if (savevm_is_live(se) && se->ops->save_setup) {
            bool ok;

            begin_section(c, se, STREAM_SECTION_START);
            ok = se->ops->save_setup(c->f, se->opaque, errp);
            if (!end_section(c, se, ok, errp)) {
                return false;
            }
        }
    }
    return true;
}

IterateResult savevm_iterate(const SaveContext *c, GError **errp)
{
    IterateResult all = ITERATE_DONE;

    SAVEVM_FOREACH(se, c->list)
    {
        IterateResult one;

        if (!savevm_is_live(se) || !se->ops->save_live_iterate || !in_phase(c, se) ||
            (se->ops->is_active_iterate && !se->ops->is_active_iterate(se->opaque))) {
            continue;
        }
        if (c->phase != SAVE_POSTCOPY && qemu_file_rate_exceeded(c->f)) {
            return qemu_file_check(c->f, errp) ? ITERATE_MORE : ITERATE_ERROR;
        }
        begin_section(c, se, STREAM_SECTION_PART);
        one = se->ops->save_live_iterate(c->f, se->opaque, errp);
        if (!end_section(c, se, one != ITERATE_ERROR, errp)) {
            return ITERATE_ERROR;
        }
        if (one == ITERATE_MORE) {
            all = ITERATE_MORE;
        }
    }
    return all;
}

unsigned savevm_acks_needed(const SaveStateList *list)
{
    unsigned n = 0;

    SAVEVM_FOREACH(se, list)
    {
        n += savevm_is_live(se) && se->ops->switchover_ack_needed &&
             se->ops->switchover_ack_needed(se->opaque);
    }
    return n;
}

MigPendingData savevm_pending(const SaveStateList *list, bool exact)
{
    MigPendingData pending = {0};

    SAVEVM_FOREACH(se, list)
    {
        if (savevm_is_live(se) && se->ops->save_query_pending) {
            se->ops->save_query_pending(se->opaque, &pending, exact);
        }
    }
    return pending;
}

bool savevm_complete_live(const SaveContext *c, GError **errp)
{
    SAVEVM_FOREACH(se, c->list)
    {
        bool ok;

        if (!savevm_is_live(se) || !se->ops->save_complete || !in_phase(c, se)) {
            continue;
        }
        begin_section(c, se, STREAM_SECTION_END);
        ok = se->ops->save_complete(c->f, se->opaque, errp);
        if (!end_section(c, se, ok, errp)) {
            return false;
        }
    }
    return true;
}

static bool save_live_state(const SaveContext *c, const SaveStateEntry *se, VMDescWriter *desc,
                            GError **errp)
{
    bool ok;

    vmdesc_device(desc, se->idstr, se->instance_id);
    begin_section(c, se, STREAM_SECTION_FULL);
    ok = se->ops->save_state(c->f, se->opaque, errp);
    vmdesc_device_end(desc);
    return end_section(c, se, ok, errp);
}

bool savevm_complete_devices(const SaveContext *c, VMDescWriter *desc, GError **errp)
{
    SAVEVM_FOREACH(se, c->list)
    {
        if (savevm_is_live(se) && se->ops->save_state && !save_live_state(c, se, desc, errp)) {
            return false;
        }
        if (se->vmsd && !se->vmsd->early_setup && !save_device(c, se, desc, errp)) {
            return false;
        }
    }
    return true;
}

void savevm_cleanup(const SaveStateList *list)
{
    SAVEVM_FOREACH(se, list)
    {
        if (se->ops && se->ops->save_cleanup) {
            se->ops->save_cleanup(se->opaque);
        }
    }
}
