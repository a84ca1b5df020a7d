/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encoding and decoding of the stream's frame and of return-path messages. */
#include "migration/wire/stream.h"

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint64_t get64(const uint8_t *p)
{
    return (uint64_t)get32(p) << 32 | get32(p + 4);
}

static uint8_t *put16(uint8_t *p, uint16_t v)
{
    p[0] = v >> 8;
    p[1] = v;
    return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    return put16(put16(p, v >> 16), v);
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
    return put32(put32(p, v >> 32), v);
}

static uint8_t *put_str8(uint8_t *p, const char *s)
{
    size_t len = strnlen(s, UINT8_MAX);

    *p++ = len;
    memcpy(p, s, len);
    return p + len;
}

/* ---- header ---- */

void stream_encode_header(uint8_t out[STREAM_HEADER_SIZE])
{
    put32(put32(out, STREAM_MAGIC), STREAM_VERSION);
}

bool stream_decode_header(const uint8_t in[STREAM_HEADER_SIZE], GError **errp)
{
    uint32_t version = get32(in + 4);

    if (get32(in) != STREAM_MAGIC) {
        error_setg(errp, "Not a migration stream");
        return false;
    }
    if (version != STREAM_VERSION) {
        error_setg(errp, "Migration stream version %u is %s, version %u is expected", version,
                   version == 2 ? "obsolete" : "not supported", STREAM_VERSION);
        return false;
    }
    return true;
}

/* ---- items ---- */

static const char *const item_names[] = {
    [STREAM_EOF] = "end of stream",
    [STREAM_SECTION_START] = "section start",
    [STREAM_SECTION_PART] = "section part",
    [STREAM_SECTION_END] = "section end",
    [STREAM_SECTION_FULL] = "full section",
    [STREAM_SUBSECTION] = "subsection",
    [STREAM_VMDESCRIPTION] = "vm description",
    [STREAM_CONFIGURATION] = "configuration",
    [STREAM_COMMAND] = "command",
    [STREAM_SECTION_FOOTER] = "section footer",
};

const char *stream_item_name(StreamItemType type)
{
    return (unsigned)type < ARRAY_SIZE(item_names) && item_names[type] ? item_names[type]
                                                                       : "unknown item";
}

size_t stream_encode_item(const StreamItem *item, uint8_t out[STREAM_ITEM_MAX])
{
    uint8_t *p = out;

    *p++ = item->type;
    switch (item->type) {
    case STREAM_SECTION_START:
    case STREAM_SECTION_FULL:
        p = put32(p, item->section_id);
        p = put_str8(p, item->idstr);
        p = put32(p, item->instance_id);
        p = put32(p, item->version_id);
        break;
    case STREAM_SECTION_PART:
    case STREAM_SECTION_END:
    case STREAM_SECTION_FOOTER:
        p = put32(p, item->section_id);
        break;
    case STREAM_COMMAND:
        p = put16(p, item->command);
        p = put16(p, item->command_len);
        break;
    default:
        break;
    }
    return p - out;
}

static DecodeResult enough(size_t len, size_t wanted, size_t *need)
{
    *need = wanted;
    return len < wanted ? DECODE_MORE : DECODE_OK;
}

static DecodeResult decode_named_section(const uint8_t *in, size_t len, StreamItem *item,
                                         size_t *need, GError **errp)
{
    size_t name_len;

    if (enough(len, 1 + 4 + 1, need) != DECODE_OK) {
        return DECODE_MORE;
    }
    item->section_id = get32(in + 1);
    name_len = in[5];
    if (enough(len, 6 + name_len + 8, need) != DECODE_OK) {
        return DECODE_MORE;
    }
    memcpy(item->idstr, in + 6, name_len);
    item->idstr[name_len] = '\0';
    if (strlen(item->idstr) != name_len) {
        error_setg(errp, "Section name with a NUL byte in it");
        return DECODE_INVALID;
    }
    item->instance_id = get32(in + 6 + name_len);
    item->version_id = get32(in + 10 + name_len);
    return DECODE_OK;
}

DecodeResult stream_decode_item(const uint8_t *in, size_t len, StreamItem *item, size_t *need,
                                GError **errp)
{
    if (enough(len, 1, need) != DECODE_OK) {
        return DECODE_MORE;
    }
    item->type = in[0];
    switch (item->type) {
    case STREAM_SECTION_START:
    case STREAM_SECTION_FULL:
        return decode_named_section(in, len, item, need, errp);
    case STREAM_SECTION_PART:
    case STREAM_SECTION_END:
    case STREAM_SECTION_FOOTER:
        if (enough(len, 1 + 4, need) != DECODE_OK) {
            return DECODE_MORE;
        }
        item->section_id = get32(in + 1);
        return DECODE_OK;
    case STREAM_COMMAND:
        if (enough(len, 1 + 4, need) != DECODE_OK) {
            return DECODE_MORE;
        }
        item->command = get16(in + 1);
        item->command_len = get16(in + 3);
        return DECODE_OK;
    case STREAM_EOF:
    case STREAM_VMDESCRIPTION:
    case STREAM_CONFIGURATION:
        return DECODE_OK;
    default:
        error_setg(errp, "Unknown item type 0x%02x", in[0]);
        return DECODE_INVALID;
    }
}

/* ---- commands ---- */

#define ANY_LENGTH (-1)

static const struct {
    const char *name;
    int len;
    int other_len;
} commands[STREAM_CMD__MAX] = {
    [STREAM_CMD_INVALID] = {"invalid", ANY_LENGTH},
    [STREAM_CMD_OPEN_RETURN_PATH] = {"open-return-path", 0},
    [STREAM_CMD_PING] = {"ping", 4, 4},
    [STREAM_CMD_POSTCOPY_ADVISE] = {"postcopy-advise", 0, 16},
    [STREAM_CMD_POSTCOPY_LISTEN] = {"postcopy-listen", 0},
    [STREAM_CMD_POSTCOPY_RUN] = {"postcopy-run", 0},
    [STREAM_CMD_POSTCOPY_RAM_DISCARD] = {"postcopy-ram-discard", ANY_LENGTH},
    [STREAM_CMD_PACKAGED] = {"packaged", 4, 4},
    [STREAM_CMD_ENABLE_COLO] = {"enable-colo", ANY_LENGTH},
    [STREAM_CMD_POSTCOPY_RESUME] = {"postcopy-resume", 0},
    [STREAM_CMD_RECV_BITMAP] = {"recv-bitmap", ANY_LENGTH},
    [STREAM_CMD_SWITCHOVER_START] = {"switchover-start", 0},
};

const char *stream_command_name(uint16_t command)
{
    return command < STREAM_CMD__MAX ? commands[command].name : "unknown";
}

bool stream_command_check(uint16_t command, uint16_t len, GError **errp)
{
    if (command == STREAM_CMD_INVALID || command >= STREAM_CMD__MAX) {
        error_setg(errp, "Unknown command 0x%x", command);
        return false;
    }
    if (commands[command].len != ANY_LENGTH && len != commands[command].len &&
        len != commands[command].other_len) {
        error_setg(errp, "Command '%s' with %u bytes of arguments, %d are expected",
                   commands[command].name, len, commands[command].len);
        return false;
    }
    return true;
}

/* ---- return path ---- */

size_t rp_encode(const ReturnPathMessage *msg, uint8_t out[RP_HEADER_SIZE + RP_PAYLOAD_MAX])
{
    uint8_t *payload = out + RP_HEADER_SIZE, *p = payload;
    size_t len;

    switch (msg->type) {
    case RP_SHUT:
    case RP_PONG:
    case RP_RESUME_ACK:
    case RP_LOST_CHANNEL:
        p = put32(p, msg->value);
        break;
    case RP_REQ_PAGES_ID:
    case RP_REQ_PAGES:
        p = put64(p, msg->offset);
        p = put32(p, msg->length);
        if (msg->type == RP_REQ_PAGES_ID) {
            p = put_str8(p, msg->name);
        }
        break;
    case RP_RECV_BITMAP:
        p = put_str8(p, msg->name);
        break;
    case RP_FAILURE_TEXT:
        len = strnlen(msg->text, RP_PAYLOAD_MAX);
        memcpy(p, msg->text, len);
        p += len;
        break;
    case RP_SWITCHOVER_ACK:
    case RP_LOADED:
    case RP_INVALID:
        break;
    }
    put16(put16(out, msg->type), p - payload);
    return p - out;
}

/* A counted string that ends exactly with the payload. */
static bool decode_name(const uint8_t *p, size_t len, char name[256])
{
    if (len < 1 || p[0] != len - 1) {
        return false;
    }
    memcpy(name, p + 1, p[0]);
    name[p[0]] = '\0';
    return strlen(name) == p[0];
}

static bool decode_payload(const uint8_t *p, size_t len, ReturnPathMessage *msg)
{
    switch (msg->type) {
    case RP_SHUT:
    case RP_PONG:
    case RP_RESUME_ACK:
    case RP_LOST_CHANNEL:
        if (len != 4) {
            return false;
        }
        msg->value = get32(p);
        return true;
    case RP_REQ_PAGES:
    case RP_REQ_PAGES_ID:
        if (len < 12 || (msg->type == RP_REQ_PAGES && len != 12)) {
            return false;
        }
        msg->offset = get64(p);
        msg->length = get32(p + 8);
        return msg->type == RP_REQ_PAGES || decode_name(p + 12, len - 12, msg->name);
    case RP_RECV_BITMAP:
        return decode_name(p, len, msg->name);
    case RP_SWITCHOVER_ACK:
    case RP_LOADED:
        return len == 0;
    case RP_FAILURE_TEXT:
        memcpy(msg->text, p, len);
        msg->text[len] = '\0';
        return g_utf8_validate(msg->text, len, NULL);
    case RP_INVALID:
        break;
    }
    return false;
}

static bool known_type(uint16_t type)
{
    return (type > RP_INVALID && type <= RP_SWITCHOVER_ACK) || type == RP_FAILURE_TEXT ||
           type == RP_LOADED || type == RP_LOST_CHANNEL;
}

DecodeResult rp_decode(const uint8_t *in, size_t len, ReturnPathMessage *msg, size_t *need,
                       GError **errp)
{
    uint16_t type, payload_len;

    if (enough(len, RP_HEADER_SIZE, need) != DECODE_OK) {
        return DECODE_MORE;
    }
    type = get16(in);
    payload_len = get16(in + 2);
    if (!known_type(type) || payload_len > RP_PAYLOAD_MAX) {
        error_setg(errp, "Return-path message of unknown type 0x%04x and %u bytes", type,
                   payload_len);
        return DECODE_INVALID;
    }
    if (enough(len, RP_HEADER_SIZE + payload_len, need) != DECODE_OK) {
        return DECODE_MORE;
    }
    memset(msg, 0, sizeof(*msg));
    msg->type = type;
    if (!decode_payload(in + RP_HEADER_SIZE, payload_len, msg)) {
        error_setg(errp, "Return-path message of type %u with bad contents (%u bytes)", type,
                   payload_len);
        return DECODE_INVALID;
    }
    return DECODE_OK;
}
