/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a stream: item after item until EOF. Section bodies have no length, so a body that is not
 * understood to its last byte derails everything behind it; the footer behind each body is where
 * that shows.
 */
#include "migration/loadvm.h"
#include "migration/configuration.h"
#include "migration/wire/stream.h"
#include "util/lock.h"

static bool read_item(QEMUFile *f, StreamItem *item, GError **errp)
{
    uint64_t offset = qemu_file_offset(f);
    size_t need = 1;

    for (;;) {
        const uint8_t *bytes;
        size_t got = qemu_peek_buffer(f, &bytes, need);
        DecodeResult result;

        if (got < need) {
            if (qemu_file_check(f, errp)) {
                error_setg(errp, "Unexpected end of stream at offset %" PRIu64, offset + got);
            }
            return false;
        }
        result = stream_decode_item(bytes, got, item, &need, errp);
        if (result == DECODE_OK) {
            qemu_file_skip(f, need);
            return true;
        }
        if (result == DECODE_INVALID) {
            g_prefix_error(errp, "At offset %" PRIu64 ": ", offset);
            return false;
        }
    }
}

/* ---- header ---- */

static bool read_header(const LoadContext *c, GError **errp)
{
    uint8_t header[STREAM_HEADER_SIZE];
    StreamItem item;

    qemu_get_buffer(c->f, header, sizeof(header));
    if (!qemu_file_check(c->f, errp) || !stream_decode_header(header, errp)) {
        return false;
    }
    if (!options_switch(&c->m->options, SWITCH_SEND_CONFIGURATION)) {
        return true;
    }
    if (!read_item(c->f, &item, errp)) {
        return false;
    }
    if (item.type != STREAM_CONFIGURATION) {
        error_setg(
            errp,
            "Configuration is missing at offset %d: %s instead; is send-configuration off on "
            "the source?",
            STREAM_HEADER_SIZE, stream_item_name(item.type));
        return false;
    }
    return configuration_load(c->f, c->m, errp);
}

static bool setup_handlers(const LoadContext *c, GError **errp)
{
    BQL_LOCK_GUARD();
    SAVEVM_FOREACH(se, c->m->savevm)
    {
        se->remote_id = SECTION_ID_UNSET;
        se->has_come = false;
        se->load_open = false;
        if (savevm_is_live(se) && se->ops->load_setup &&
            !se->ops->load_setup(c->f, se->opaque, errp)) {
            g_prefix_error(errp, "Preparing section '%s': ", se->idstr);
            return false;
        }
    }
    return true;
}

bool loadvm_begin(const LoadContext *c, GError **errp)
{
    const SaveStateEntry *blocked = savevm_unmigratable(c->m->savevm);

    if (blocked) {
        error_setg(errp, "State blocked by non-migratable device '%s'", blocked->idstr);
        return false;
    }
    c->m->global_state.received = false;
    return read_header(c, errp) && setup_handlers(c, errp);
}

void loadvm_cleanup(Migration *m)
{
    SAVEVM_FOREACH(se, m->savevm)
    {
        if (se->ops && se->ops->load_cleanup) {
            se->ops->load_cleanup(se->opaque);
        }
    }
}

/* ---- sections ---- */

static bool read_footer(const LoadContext *c, uint32_t section_id, GError **errp)
{
    uint64_t offset = qemu_file_offset(c->f);
    StreamItem item;

    if (!options_switch(&c->m->options, SWITCH_SEND_SECTION_FOOTER)) {
        return true;
    }
    if (!read_item(c->f, &item, errp)) {
        g_prefix_error(errp, "Reading the section footer: ");
        return false;
    }
    if (item.type != STREAM_SECTION_FOOTER) {
        error_setg(errp, "missing section footer at offset %" PRIu64 " (%s instead)", offset,
                   stream_item_name(item.type));
        return false;
    }
    if (item.section_id != section_id) {
        error_setg(errp, "mismatched section footer at offset %" PRIu64 ": section id %u, not %u",
                   offset, item.section_id, section_id);
        return false;
    }
    return true;
}

static bool load_body(const LoadContext *c, SaveStateEntry *se, GError **errp)
{
    if (se->vmsd) {
        BQL_LOCK_GUARD();
        return vmstate_load_state(c->f, se->vmsd, se->opaque, se->remote_version, errp);
    }
    if (!se->ops->load_state) {
        error_setg(errp, "cannot be loaded");
        return false;
    }
    return se->ops->load_state(c->f, se->opaque, se->remote_version, errp);
}

/* A section that the source left out although it sent one of the same kind before, or NULL. */
static const SaveStateEntry *missing_instance(const SaveStateList *list)
{
    SAVEVM_FOREACH(se, list)
    {
        SAVEVM_FOREACH(before, list)
        {
            if (!se->has_come && before->has_come && g_str_equal(se->idstr, before->idstr) &&
                before->instance_id + 1 == se->instance_id) {
                return se;
            }
        }
    }
    return NULL;
}

/* Bodies have no length: what does not fit may only show far behind its cause. */
static void add_hint(const LoadContext *c, GError **errp)
{
    const SaveStateEntry *missing = missing_instance(c->m->savevm);

    if (missing && errp) {
        g_autofree char *text = g_steal_pointer(&(*errp)->message);

        (*errp)->message =
            g_strdup_printf("%s. Section '%s' (instance %u) has not come either: the "
                            "source has fewer of them (for 'cpu' see -smp)",
                            text, missing->idstr, missing->instance_id);
    }
}

static bool load_section(const LoadContext *c, SaveStateEntry *se, uint32_t section_id,
                         uint64_t offset, GError **errp)
{
    if (!load_body(c, se, errp) || !qemu_file_check(c->f, errp) ||
        !read_footer(c, section_id, errp)) {
        g_prefix_error(errp,
                       "Loading section '%s' (instance %u), which begins at offset %" PRIu64 ": ",
                       se->idstr, se->instance_id, offset);
        add_hint(c, errp);
        return false;
    }
    return true;
}

static bool load_named(const LoadContext *c, const StreamItem *item, uint64_t offset, GError **errp)
{
    SaveStateEntry *se = savevm_find(c->m->savevm, item->idstr, item->instance_id);

    if (!se) {
        error_setg(errp,
                   "Section '%s' (instance %u) at offset %" PRIu64
                   " is not known here; start with the same devices as the source",
                   item->idstr, item->instance_id, offset);
        return false;
    }
    if (item->version_id > (uint32_t)se->version_id) {
        error_setg(errp,
                   "Section '%s' (instance %u) at offset %" PRIu64
                   " has version %u, %d is the newest understood here",
                   item->idstr, item->instance_id, offset, item->version_id, se->version_id);
        return false;
    }
    if (se->ops) {
        se->remote_id = item->section_id;
        se->load_open = item->type == STREAM_SECTION_START;
    }
    se->remote_version = item->version_id;
    se->has_come = true;
    return load_section(c, se, item->section_id, offset, errp);
}

static bool load_continued(const LoadContext *c, const StreamItem *item, uint64_t offset,
                           GError **errp)
{
    SaveStateEntry *se = savevm_find_remote(c->m->savevm, item->section_id);

    if (!se || !se->ops) {
        error_setg(errp, "At offset %" PRIu64 ": %s of section id %u, which has not begun", offset,
                   stream_item_name(item->type), item->section_id);
        return false;
    }
    if (item->type == STREAM_SECTION_END) {
        se->load_open = false;
    }
    return load_section(c, se, item->section_id, offset, errp);
}

/*
 * EOF is a zero byte, so a flipped bit makes one out of most items. Believe it only
 * behind the global state, which is always last; where that was not sent, no live section may be
 * left open (in a background snapshot they are), and the description or nothing must be next.
 */
static bool end_is_credible(const LoadContext *c, uint64_t offset, GError **errp)
{
    const MigrationHostOps *ops = c->m->host->ops;
    const uint8_t *next;

    SAVEVM_FOREACH(se, c->m->savevm)
    {
        if (se->load_open && !c->m->global_state.received) {
            error_setg(errp,
                       "The stream ends at offset %" PRIu64
                       " before section '%s' has ended: it is damaged",
                       offset, se->idstr);
            return false;
        }
    }
    if (c->awaits_answer && c->awaits_answer(c->opaque)) {
        return true; /* and what it says next will tell */
    }
    if (c->m->global_state.received || (ops->suppress_vmdesc && ops->suppress_vmdesc(c->m->host))) {
        return true;
    }
    if (qemu_peek_buffer(c->f, &next, 1) == 1 && next[0] != STREAM_VMDESCRIPTION) {
        error_setg(errp,
                   "More bytes follow the end of the stream at offset %" PRIu64 ": it is damaged",
                   offset);
        return false;
    }
    return qemu_file_check(c->f, errp);
}

/* ---- commands ---- */

static bool obey_postcopy(const LoadContext *c, const StreamItem *item, bool *leave, GError **errp)
{
    g_autofree uint8_t *args = g_malloc(item->command_len + 1);

    return (qemu_get_buffer(c->f, args, item->command_len) || qemu_file_check(c->f, errp)) &&
           c->postcopy(c, item->command, args, item->command_len, leave, c->opaque, errp);
}

static bool obey(const LoadContext *c, const StreamItem *item, bool *leave, GError **errp)
{
    *leave = false;
    if (!stream_command_check(item->command, item->command_len, errp)) {
        return false;
    }
    if (item->command == STREAM_CMD_OPEN_RETURN_PATH && c->open_return_path) {
        return c->open_return_path(c->opaque, errp);
    }
    if (item->command == STREAM_CMD_PING && c->ping) {
        uint32_t cookie = qemu_get_be32(c->f);

        return qemu_file_check(c->f, errp) && c->ping(c->opaque, cookie, errp);
    }
    if (item->command >= STREAM_CMD_POSTCOPY_ADVISE && item->command <= STREAM_CMD_RECV_BITMAP &&
        item->command != STREAM_CMD_ENABLE_COLO && c->postcopy) {
        return obey_postcopy(c, item, leave, errp);
    }
    error_setg(errp, "Command '%s' is not supported here", stream_command_name(item->command));
    return false;
}

static bool load_command(const LoadContext *c, const StreamItem *item, uint64_t offset, bool *leave,
                         GError **errp)
{
    if (!obey(c, item, leave, errp)) {
        g_prefix_error(errp, "At offset %" PRIu64 ": ", offset);
        return false;
    }
    return true;
}

bool loadvm_command(const LoadContext *c, GError **errp)
{
    uint64_t offset = qemu_file_offset(c->f);
    StreamItem item;
    bool leave;

    if (!read_item(c->f, &item, errp)) {
        return false;
    }
    if (item.type != STREAM_COMMAND) {
        error_setg(errp, "Misplaced item type 0x%02x (%s) at offset %" PRIu64, item.type,
                   stream_item_name(item.type), offset);
        return false;
    }
    return load_command(c, &item, offset, &leave, errp);
}

/* ---- the loop ---- */

/* For the recorder: how fast it comes, and when nothing came. */
#define SAMPLE_US RATE_WINDOW_US
#define STALL_US  500000

typedef struct {
    int64_t time_us;
    uint64_t bytes;
} LoadPace;

static void note_pace(const LoadContext *c, LoadPace *last, int64_t item_us, int64_t window_us)
{
    Recorder *r = c->m->destination_record;
    int64_t now = g_get_monotonic_time();
    uint64_t bytes = qemu_file_offset(c->f);

    if (now - item_us >= STALL_US) {
        recorder_stall(r, bytes, now - item_us);
    }
    if (now - last->time_us >= window_us) {
        recorder_sample(r, bytes, RECORDER_UNKNOWN,
                        (bytes - last->bytes) * 8.0 / (now - last->time_us));
        *last = (LoadPace){now, bytes};
    }
}

bool loadvm_items(const LoadContext *c, GError **errp)
{
    LoadPace pace = {g_get_monotonic_time(), qemu_file_offset(c->f)};

    for (;;) {
        uint64_t offset = qemu_file_offset(c->f);
        int64_t start = g_get_monotonic_time();
        StreamItem item;
        bool ok, leave = false;

        if (!read_item(c->f, &item, errp)) {
            return false;
        }
        switch (item.type) {
        case STREAM_EOF:
            note_pace(c, &pace, start, 1); /* what the last window has seen so far */
            return (!c->eof || c->eof(c->opaque, errp)) && end_is_credible(c, offset, errp);
        case STREAM_SECTION_START:
        case STREAM_SECTION_FULL:
            ok = load_named(c, &item, offset, errp);
            break;
        case STREAM_SECTION_PART:
        case STREAM_SECTION_END:
            ok = load_continued(c, &item, offset, errp);
            break;
        case STREAM_COMMAND:
            ok = load_command(c, &item, offset, &leave, errp);
            break;
        default:
            error_setg(errp, "Misplaced item type 0x%02x (%s) at offset %" PRIu64, item.type,
                       stream_item_name(item.type), offset);
            ok = false;
            break;
        }
        if (!ok || leave) {
            return ok;
        }
        note_pace(c, &pace, start, SAMPLE_US);
    }
}

void loadvm_trailer(const LoadContext *c)
{
    const uint8_t *byte;

    if (qemu_peek_buffer(c->f, &byte, 1) == 1 && byte[0] == STREAM_VMDESCRIPTION) {
        qemu_file_skip(c->f, 1);
        qemu_file_skip(c->f, qemu_get_be32(c->f));
    }
}
