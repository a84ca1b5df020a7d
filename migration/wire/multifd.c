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
