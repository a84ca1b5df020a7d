/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/wire/multifd.h"

/* ---- big-endian pieces ---- */

static void put_be32(uint8_t *p, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static uint32_t get_be32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_BE(v);
}

static void put_be64(uint8_t *p, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static uint64_t get_be64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_BE(v);
}

/* ---- init packet ---- */

enum {
    INIT_MAGIC = 0,
    INIT_VERSION = 4,
    INIT_UUID = 8,
    INIT_ID = 24,
};

void multifd_encode_init(const MultifdInit *init, uint8_t buf[MULTIFD_INIT_SIZE])
{
    memset(buf, 0, MULTIFD_INIT_SIZE);
    put_be32(buf + INIT_MAGIC, MULTIFD_MAGIC);
    put_be32(buf + INIT_VERSION, MULTIFD_VERSION);
    memcpy(buf + INIT_UUID, init->uuid, MULTIFD_UUID_SIZE);
    buf[INIT_ID] = init->id;
}

bool multifd_decode_init(const uint8_t buf[MULTIFD_INIT_SIZE], MultifdInit *init, GError **errp)
{
    uint32_t magic = get_be32(buf + INIT_MAGIC), version = get_be32(buf + INIT_VERSION);

    if (magic != MULTIFD_MAGIC) {
        error_setg(errp, "multifd: received packet magic %x expected %x", magic, MULTIFD_MAGIC);
        return false;
    }
    if (version != MULTIFD_VERSION) {
        error_setg(errp, "multifd: received packet version %u expected %u", version,
                   MULTIFD_VERSION);
        return false;
    }
    memcpy(init->uuid, buf + INIT_UUID, MULTIFD_UUID_SIZE);
    init->id = buf[INIT_ID];
    return true;
}

/* ---- packets ---- */

enum {
    PACKET_MAGIC = 0,
    PACKET_VERSION = 4,
    PACKET_FLAGS = 8,
    PACKET_ALLOC = 12, /* capacity in pages */
    PACKET_PAGES = 16,
    PACKET_PAYLOAD = 20,
    PACKET_NUMBER = 24,
    PACKET_ZERO_PAGES = 32,
    PACKET_BLOCK = 64,
    PACKET_OFFSETS = 320,
};
#define BLOCK_NAME_SIZE 256

static uint8_t *put_offsets(uint8_t *p, const MultifdRun *run, unsigned runs)
{
    for (unsigned i = 0; i < runs; i++) {
        for (uint64_t k = 0; k < run[i].count; k++, p += 8) {
            put_be64(p, (run[i].first + k) << MULTIFD_PAGE_BITS);
        }
    }
    return p;
}

void multifd_encode_packet(const MultifdPacket *p, uint8_t buf[MULTIFD_HEADER_SIZE])
{
    uint8_t *end;

    g_assert(p->pages + p->zero_pages <= MULTIFD_PACKET_PAGES);
    memset(buf, 0, PACKET_OFFSETS);
    put_be32(buf + PACKET_MAGIC, MULTIFD_MAGIC);
    put_be32(buf + PACKET_VERSION, MULTIFD_VERSION);
    put_be32(buf + PACKET_FLAGS, p->flags);
    put_be32(buf + PACKET_ALLOC, MULTIFD_PACKET_PAGES);
    put_be32(buf + PACKET_PAGES, p->pages);
    put_be32(buf + PACKET_PAYLOAD, p->payload);
    put_be64(buf + PACKET_NUMBER, p->number);
    put_be32(buf + PACKET_ZERO_PAGES, p->zero_pages);
    if (p->block) {
        g_strlcpy((char *)buf + PACKET_BLOCK, p->block, BLOCK_NAME_SIZE);
    }
    end = put_offsets(buf + PACKET_OFFSETS, p->run, p->runs);
    end = put_offsets(end, p->zero, p->zero_runs);
    memset(end, 0, buf + MULTIFD_HEADER_SIZE - end);
}

static bool get_offsets(const uint8_t *p, unsigned pages, MultifdRun *run, unsigned *runs,
                        GError **errp)
{
    *runs = 0;
    for (unsigned i = 0; i < pages; i++, p += 8) {
        uint64_t offset = get_be64(p);

        if (offset % MULTIFD_PAGE_SIZE) {
            error_setg(errp, "multifd: offset 0x%" PRIx64 " is not that of a page", offset);
            return false;
        }
        multifd_add_pages(run, runs, offset >> MULTIFD_PAGE_BITS, 1);
    }
    return true;
}

static bool check_magic(const uint8_t *buf, GError **errp)
{
    uint32_t magic = get_be32(buf + PACKET_MAGIC), version = get_be32(buf + PACKET_VERSION);

    if (magic != MULTIFD_MAGIC) {
        error_setg(errp, "multifd: received packet magic %x and expected magic %x", magic,
                   MULTIFD_MAGIC);
        return false;
    }
    if (version != MULTIFD_VERSION) {
        error_setg(errp, "multifd: received packet version %u and expected version %u", version,
                   MULTIFD_VERSION);
        return false;
    }
    return true;
}

static bool check_counts(const MultifdPacket *p, uint32_t alloc, GError **errp)
{
    if (alloc > MULTIFD_PACKET_PAGES) {
        error_setg(errp, "multifd: received packet with size %u and expected a size of %u", alloc,
                   MULTIFD_PACKET_PAGES);
        return false;
    }
    if (p->pages > alloc) {
        error_setg(errp, "multifd: received packet with %u pages and expected maximum pages are %u",
                   p->pages, alloc);
        return false;
    }
    if (p->zero_pages > alloc - p->pages) {
        error_setg(errp, "multifd: received packet with %u zero pages besides %u, of %u at most",
                   p->zero_pages, p->pages, alloc);
        return false;
    }
    return true;
}

bool multifd_decode_packet(const uint8_t buf[MULTIFD_HEADER_SIZE], MultifdPacket *p, GError **errp)
{
    const uint8_t *offsets = buf + PACKET_OFFSETS;

    if (!check_magic(buf, errp)) {
        return false;
    }
    p->flags = get_be32(buf + PACKET_FLAGS);
    if (p->flags & MULTIFD_FLAG_DEVICE_STATE) {
        error_setg(errp, "multifd: device state on a channel, but no device here loads it");
        return false;
    }
    p->number = get_be64(buf + PACKET_NUMBER);
    p->pages = get_be32(buf + PACKET_PAGES);
    p->zero_pages = get_be32(buf + PACKET_ZERO_PAGES);
    if (!check_counts(p, get_be32(buf + PACKET_ALLOC), errp)) {
        return false;
    }
    p->payload = p->pages ? get_be32(buf + PACKET_PAYLOAD) : 0;
    p->block = NULL;
    p->runs = p->zero_runs = 0;
    if (!p->pages && !p->zero_pages) {
        return true;
    }
    p->block = (const char *)buf + PACKET_BLOCK;
    if (!memchr(p->block, '\0', BLOCK_NAME_SIZE)) {
        error_setg(errp, "multifd: name of a ram block without an end");
        return false;
    }
    return get_offsets(offsets, p->pages, p->run, &p->runs, errp) &&
           get_offsets(offsets + 8 * p->pages, p->zero_pages, p->zero, &p->zero_runs, errp);
}
