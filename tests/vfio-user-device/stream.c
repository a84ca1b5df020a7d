/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's state as a stream of records, little-endian:
 *
 *   'B'  u64 offset, u32 length, u32 CRC-32 (0 with --no-check), bytes of the inner state
 *   'R'  the registers
 *   'E'  the end
 *
 * Bytes go between the socket and the inner state without a stop in between.
 */
#include <zlib.h>
#include "device.h"

static bool test_bit(const uint64_t *map, uint64_t n)
{
    return map[n / 64] >> n % 64 & 1;
}

/* ---- out ---- */

void outbox_fill(Device *d)
{
    Outbox *o = &d->out;
    uint64_t *dirty = o->dirty ? o->dirty : g_new(uint64_t, d->n_blocks / 64 + 1);

    *o = (Outbox){.dirty = dirty, .blocks_left = d->n_blocks, .block = NO_BLOCK};
    memset(dirty, 0, (d->n_blocks / 64 + 1) * sizeof(*dirty));
    for (uint64_t n = 0; n < d->n_blocks; n++) {
        dirty[n / 64] |= UINT64_C(1) << n % 64;
    }
    o->initial_left = MIN(BLOCK, outbox_left(d));
}

void outbox_touch(Device *d, uint64_t block)
{
    Outbox *o = &d->out;

    if (device_is_saving(d->state) && !test_bit(o->dirty, block)) {
        o->dirty[block / 64] |= UINT64_C(1) << block % 64;
        o->blocks_left++;
    }
}

uint64_t outbox_left(const Device *d)
{
    const Outbox *o = &d->out;

    return o->head_len + o->body_len - o->pos + o->blocks_left * (RECORD_HEAD + BLOCK) +
           (o->regs_sent ? 0 : 1 + REGS_SIZE) + !o->end_sent;
}

static void begin_record(Outbox *o, char letter, const void *body, size_t len)
{
    o->head[0] = letter;
    o->head_len = 1;
    o->body = body;
    o->body_len = len;
    o->pos = 0;
}

static void begin_block(Device *d)
{
    Outbox *o = &d->out;
    uint64_t at;
    uint32_t len = GUINT32_TO_LE(BLOCK), crc;

    while (!test_bit(o->dirty, o->next)) {
        o->next = (o->next + 1) % d->n_blocks;
    }
    o->dirty[o->next / 64] &= ~(UINT64_C(1) << o->next % 64);
    o->blocks_left--;
    o->block = o->next;
    begin_record(o, 'B', d->bulk + o->block * BLOCK, BLOCK);
    at = GUINT64_TO_LE(o->block * BLOCK);
    crc = GUINT32_TO_LE(d->opt->checks ? crc32(0, o->body, BLOCK) : 0);
    memcpy(o->head + 1, &at, 8);
    memcpy(o->head + 9, &len, 4);
    memcpy(o->head + 13, &crc, 4);
    o->head_len = RECORD_HEAD;
}

static bool next_record(Device *d)
{
    Outbox *o = &d->out;

    o->block = NO_BLOCK;
    if (o->blocks_left) {
        begin_block(d);
    } else if (d->state != VFIO_DEVICE_STATE_STOP_COPY || o->end_sent) {
        o->head_len = o->body_len = o->pos = 0;
        return false;
    } else if (!o->regs_sent) {
        begin_record(o, 'R', d->regs, REGS_SIZE);
        o->regs_sent = true;
    } else {
        begin_record(o, 'E', NULL, 0);
        o->end_sent = true;
    }
    return true;
}

size_t outbox_read(Device *d, struct iovec *iov, unsigned *n, size_t size)
{
    Outbox *o = &d->out;
    size_t done = 0;

    *n = 0;
    while (done < size && *n + 2 <= MAX_PIECES &&
           (o->pos < o->head_len + o->body_len || next_record(d))) {
        size_t here;

        if (o->pos < o->head_len) {
            here = MIN(size - done, o->head_len - o->pos);
            memcpy(o->heads[*n], o->head + o->pos, here);
            iov[*n] = (struct iovec){o->heads[*n], here};
        } else {
            here = MIN(size - done, o->head_len + o->body_len - o->pos);
            iov[*n] = (struct iovec){(void *)(o->body + (o->pos - o->head_len)), here};
        }
        ++*n;
        o->pos += here;
        done += here;
    }
    o->initial_left -= MIN(o->initial_left, done);
    return done;
}

/* ---- in ---- */

void inbox_begin(Device *d)
{
    d->in = (Inbox){0};
}

static size_t head_size(const Inbox *in)
{
    return in->head_len && in->head[0] == 'B' ? RECORD_HEAD : 1;
}

void *inbox_want(Device *d, size_t *len)
{
    Inbox *in = &d->in;

    if (in->body_left) {
        *len = in->body_left;
        return in->body;
    }
    *len = head_size(in) - in->head_len;
    return in->head + in->head_len;
}

static int begin_body(Device *d)
{
    Inbox *in = &d->in;
    uint64_t at;
    uint32_t len;

    switch (in->head[0]) {
    case 'B':
        memcpy(&at, in->head + 1, 8);
        memcpy(&len, in->head + 9, 4);
        memcpy(&in->crc, in->head + 13, 4);
        in->block_at = GUINT64_FROM_LE(at);
        in->block_len = GUINT32_FROM_LE(len);
        in->crc = GUINT32_FROM_LE(in->crc);
        if (in->block_at > d->opt->state_size ||
            in->block_len > d->opt->state_size - in->block_at) {
            return EINVAL;
        }
        in->body = d->bulk + in->block_at;
        in->body_left = in->block_len;
        break;
    case 'R':
        in->body = d->regs;
        in->body_left = REGS_SIZE;
        break;
    case 'E':
        in->complete = true;
        break;
    default:
        return EINVAL;
    }
    return 0;
}

static int end_record(Device *d)
{
    Inbox *in = &d->in;
    bool block = in->head[0] == 'B';

    in->head_len = 0;
    return block && d->opt->checks && crc32(0, d->bulk + in->block_at, in->block_len) != in->crc
               ? EINVAL
               : 0;
}

int inbox_got(Device *d, size_t n)
{
    Inbox *in = &d->in;
    int error = 0;

    if (in->complete) {
        return EINVAL;
    }
    if (in->body_left) {
        in->body += n;
        in->body_left -= n;
    } else {
        in->head_len += n;
        if (in->head_len < head_size(in)) {
            return 0;
        }
        error = begin_body(d);
    }
    return error || in->body_left ? error : end_record(d);
}
