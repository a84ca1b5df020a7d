/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kinds without a host end: null and vc (nobody listens), ringbuf (the last bytes are kept). */
#include "backends/chardev-internal.h"
#include "util/keyval.h"

static void set_open(Chardev *chr)
{
    g_mutex_lock(&chr->lock);
    chr->open = true;
    g_mutex_unlock(&chr->lock);
}

/* ---- null, vc ---- */

static bool null_open(Chardev *chr, JsonObject *options, GError **errp)
{
    set_open(chr);
    return true;
}

static size_t null_write(Chardev *chr, const uint8_t *buf, size_t len, bool queue_rest)
{
    return len;
}

const ChardevOps chardev_null_ops = {.name = "null", .open = null_open, .write = null_write};
const ChardevOps chardev_vc_ops = {.name = "vc", .open = null_open, .write = null_write};

/* ---- ringbuf ---- */

#define RINGBUF_DEFAULT (64 * KiB)
#define RINGBUF_MAX     (1 * GiB)

typedef struct {
    uint8_t *data;
    uint64_t size;           /* power of two */
    uint64_t written, taken; /* totals; at most @size apart */
} Ringbuf;

static bool ringbuf_open(Chardev *chr, JsonObject *options, GError **errp)
{
    Ringbuf *r = chr->state;

    if (!keyval_get_size(options, "size", 1, RINGBUF_DEFAULT, &r->size, errp)) {
        return false;
    }
    if (!r->size || (r->size & (r->size - 1))) {
        error_setg(errp, "size of ringbuf chardev must be power of two");
        return false;
    }
    if (r->size > RINGBUF_MAX) {
        error_setg(errp, "size of ringbuf chardev must not exceed 1 GiB");
        return false;
    }
    r->data = g_malloc(r->size);
    set_open(chr);
    return true;
}

static void ringbuf_close(Chardev *chr)
{
    g_clear_pointer(&((Ringbuf *)chr->state)->data, g_free);
}

static size_t ringbuf_write(Chardev *chr, const uint8_t *buf, size_t len, bool queue_rest)
{
    Ringbuf *r = chr->state;

    for (size_t i = 0; i < len; i++) {
        r->data[r->written++ & (r->size - 1)] = buf[i];
    }
    r->taken = MAX(r->taken, r->written - MIN(r->written, r->size));
    return len;
}

size_t chardev_ringbuf_read(Chardev *chr, void *buf, size_t len)
{
    Ringbuf *r = chr->state;
    size_t n = 0;

    if (chr->ops != &chardev_ringbuf_ops) {
        return 0;
    }
    g_mutex_lock(&chr->lock);
    for (; n < len && r->taken < r->written; n++) {
        ((uint8_t *)buf)[n] = r->data[r->taken++ & (r->size - 1)];
    }
    g_mutex_unlock(&chr->lock);
    return n;
}

static const char *const ringbuf_options[] = {"size", NULL};

const ChardevOps chardev_ringbuf_ops = {
    .name = "ringbuf",
    .options = ringbuf_options,
    .state_size = sizeof(Ringbuf),
    .open = ringbuf_open,
    .close = ringbuf_close,
    .write = ringbuf_write,
};
