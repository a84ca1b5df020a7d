/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The buffered stream over a channel.
 *
 * Writing gathers: small values are copied into one staging buffer, pages are only referenced, and
 * both become elements of one vector that leaves in a single system call once a bite (1 MiB) is
 * waiting. The staging buffer is never reused before a flush, so vector elements may point into it.
 *
 * Reading keeps one buffer; what a caller wants in place goes around it.
 */
#include "migration/qemu-file.h"
#include <limits.h>
#include "util/lock.h"

#define BITE_BYTES   (1 * MiB)
#define STAGE_BYTES  (64 * KiB)
#define READ_BYTES   (64 * KiB)
#define IOV_ELEMENTS 1024 /* IOV_MAX on Linux */

struct QEMUFile {
    QIOChannel *ioc;
    bool output;

    GMutex err_lock; /* protects err */
    GError *err;
    bool failed; /* atomic: err is set */

    /* output */
    uint8_t *stage;
    size_t staged;
    struct iovec *iov;
    unsigned niov;
    size_t queued; /* bytes in iov */
    size_t bite;   /* so many leave */
    bool lost;     /* some bytes put did not reach the channel */
    uint64_t put;  /* atomic: bytes put so far */

    /* rate limit, all atomic */
    int64_t window_limit;
    int64_t window_budget; /* of this window */
    uint64_t window_start; /* put at the start of the window */
    uint64_t window_other; /* bytes of this window that went elsewhere */

    /* input */
    uint8_t *buf;
    size_t cap; /* READ_BYTES, more after a long qemu_file_unread() */
    size_t pos, end;
    uint64_t consumed; /* atomic: bytes got so far */
};

static QEMUFile *file_new(QIOChannel *ioc, bool output)
{
    QEMUFile *f = g_new0(QEMUFile, 1);

    f->ioc = g_object_ref(ioc);
    f->output = output;
    g_mutex_init(&f->err_lock);
    if (output) {
        f->bite = BITE_BYTES;
        f->stage = g_malloc(STAGE_BYTES);
        f->iov = g_new(struct iovec, IOV_ELEMENTS);
    } else {
        f->buf = g_malloc(READ_BYTES);
        f->cap = READ_BYTES;
    }
    return f;
}

QEMUFile *qemu_file_new_output(QIOChannel *ioc)
{
    return file_new(ioc, true);
}

QEMUFile *qemu_file_new_input(QIOChannel *ioc)
{
    return file_new(ioc, false);
}

bool qemu_fclose(QEMUFile *f, GError **errp)
{
    GError *close_err = NULL;
    bool ok;

    if (!f) {
        return true;
    }
    if (f->output) {
        qemu_fflush(f);
    }
    if (!io_channel_close(f->ioc, &close_err)) {
        qemu_file_set_error(f, close_err);
    }
    ok = qemu_file_check(f, errp);
    g_object_unref(f->ioc);
    g_clear_error(&f->err);
    g_mutex_clear(&f->err_lock);
    g_free(f->stage);
    g_free(f->iov);
    g_free(f->buf);
    g_free(f);
    return ok;
}

QIOChannel *qemu_file_channel(QEMUFile *f)
{
    return f->ioc;
}

/* ---- errors ---- */

bool qemu_file_ok(QEMUFile *f)
{
    return !__atomic_load_n(&f->failed, __ATOMIC_ACQUIRE);
}

GError *qemu_file_get_error(QEMUFile *f)
{
    GError *copy;

    g_mutex_lock(&f->err_lock);
    copy = f->err ? g_error_copy(f->err) : NULL;
    g_mutex_unlock(&f->err_lock);
    return copy;
}

void qemu_file_set_error(QEMUFile *f, GError *err)
{
    g_mutex_lock(&f->err_lock);
    if (f->err) {
        g_error_free(err);
    } else {
        f->err = err;
        __atomic_store_n(&f->failed, true, __ATOMIC_RELEASE);
    }
    g_mutex_unlock(&f->err_lock);
}

bool qemu_file_check(QEMUFile *f, GError **errp)
{
    if (qemu_file_ok(f)) {
        return true;
    }
    g_propagate_error(errp, qemu_file_get_error(f));
    return false;
}

void qemu_file_shutdown(QEMUFile *f)
{
    GError *err = NULL;

    error_setg(&err, "Channel '%s' was shut down", io_channel_name(f->ioc));
    qemu_file_set_error(f, err);
    io_channel_shutdown(f->ioc, IO_SHUTDOWN_BOTH);
}

/* ---- writing ---- */

static inline void count_put(QEMUFile *f, size_t len)
{
    /* One writer: a plain read of its own counter is enough, readers elsewhere see whole values. */
    __atomic_store_n(&f->put, f->put + len, __ATOMIC_RELAXED);
}

/* As above; @len may be "negative": bytes given back. */
static inline void count_got(QEMUFile *f, size_t len)
{
    __atomic_store_n(&f->consumed, f->consumed + len, __ATOMIC_RELAXED);
}

/* The peer decides how long a transfer takes: nobody shall wait for the big lock meanwhile. */
static bool pause_big_lock(void)
{
    bool locked = bql_locked();

    if (locked) {
        bql_unlock();
    }
    return locked;
}

static void resume_big_lock(bool locked)
{
    if (locked) {
        bql_lock();
    }
}

bool qemu_fflush(QEMUFile *f)
{
    if (f->niov) {
        bool locked = pause_big_lock();
        GError *err = NULL;

        if (!qemu_file_ok(f)) {
            f->lost = true;
        } else if (!io_channel_writev_all(f->ioc, f->iov, f->niov, &err)) {
            f->lost = true;
            qemu_file_set_error(f, err);
        }
        resume_big_lock(locked);
        f->niov = 0;
        f->queued = 0;
        f->staged = 0;
    }
    return !f->lost;
}

static inline void queue_piece(QEMUFile *f, const void *base, size_t len)
{
    struct iovec *last = f->iov + f->niov - 1;

    if (f->niov && (const uint8_t *)last->iov_base + last->iov_len == base) {
        last->iov_len += len;
    } else {
        f->iov[f->niov++] = (struct iovec){(void *)base, len};
    }
    f->queued += len;
    count_put(f, len);
    if (f->queued >= f->bite || f->niov == IOV_ELEMENTS) {
        qemu_fflush(f);
    }
}

/* Room for @len bytes (<= STAGE_BYTES) that queue_staged() will queue. */
static inline uint8_t *stage_room(QEMUFile *f, size_t len)
{
    if (STAGE_BYTES - f->staged < len) {
        qemu_fflush(f);
    }
    return f->stage + f->staged;
}

static inline void queue_staged(QEMUFile *f, size_t len)
{
    uint8_t *base = f->stage + f->staged;

    f->staged += len;
    queue_piece(f, base, len);
}

void qemu_put_byte(QEMUFile *f, uint8_t v)
{
    *stage_room(f, 1) = v;
    queue_staged(f, 1);
}

void qemu_put_be16(QEMUFile *f, uint16_t v)
{
    v = GUINT16_TO_BE(v);
    memcpy(stage_room(f, sizeof(v)), &v, sizeof(v));
    queue_staged(f, sizeof(v));
}

void qemu_put_be32(QEMUFile *f, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    memcpy(stage_room(f, sizeof(v)), &v, sizeof(v));
    queue_staged(f, sizeof(v));
}

void qemu_put_be64(QEMUFile *f, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    memcpy(stage_room(f, sizeof(v)), &v, sizeof(v));
    queue_staged(f, sizeof(v));
}

void qemu_put_buffer(QEMUFile *f, const void *buf, size_t len)
{
    if (!len) {
        return;
    }
    if (len > STAGE_BYTES / 2) {
        /* Too big to be worth a copy, and the caller's memory is only good until we return. */
        qemu_put_buffer_ref(f, buf, len);
        qemu_fflush(f);
        return;
    }
    memcpy(stage_room(f, len), buf, len);
    queue_staged(f, len);
}

uint8_t *qemu_put_reserve(QEMUFile *f, size_t len)
{
    g_assert(len <= QEMU_FILE_RESERVE_MAX);
    return stage_room(f, len);
}

void qemu_put_reserved(QEMUFile *f, size_t len)
{
    queue_staged(f, len);
}

void qemu_put_counted_string(QEMUFile *f, const char *s)
{
    size_t len = strlen(s);

    if (len > UINT8_MAX) {
        GError *err = NULL;

        error_setg(&err, "Name '%.32s...' is longer than the 255 bytes the stream allows", s);
        qemu_file_set_error(f, err);
        return;
    }
    qemu_put_byte(f, len);
    qemu_put_buffer(f, s, len);
}

void qemu_put_buffer_ref(QEMUFile *f, const void *buf, size_t len)
{
    if (len) {
        queue_piece(f, buf, len);
    }
}

void qemu_file_set_bite(QEMUFile *f, size_t bytes)
{
    f->bite = bytes;
}

uint64_t qemu_file_transferred(QEMUFile *f)
{
    return __atomic_load_n(&f->put, __ATOMIC_RELAXED);
}

/* ---- positions ---- */

bool qemu_file_position(QEMUFile *f, uint64_t *position, GError **errp)
{
    off_t at;

    if (!qemu_file_check(f, errp)) {
        return false;
    }
    if (f->output && !qemu_fflush(f)) {
        return qemu_file_check(f, errp);
    }
    at = io_channel_seek(f->ioc, 0, SEEK_CUR, errp);
    *position = at - (f->end - f->pos);
    return at >= 0;
}

bool qemu_file_seek(QEMUFile *f, uint64_t position, GError **errp)
{
    uint64_t from;

    if (!qemu_file_position(f, &from, errp)) {
        return false;
    }
    g_assert(position >= from);
    if (!f->output) {
        count_got(f, position - from);
        f->pos = f->end = 0;
    }
    return io_channel_seek(f->ioc, position, SEEK_SET, errp) >= 0;
}

/* ---- rate limit ---- */

/* What was sent too much is paid for in so many windows at most, and what the clock granted in as
 * many may be sent at once. */
#define MAX_WINDOWS 10

static void begin_window(QEMUFile *f, int64_t budget)
{
    __atomic_store_n(&f->window_budget, budget, __ATOMIC_RELAXED);
    __atomic_store_n(&f->window_start, qemu_file_transferred(f), __ATOMIC_RELAXED);
    __atomic_store_n(&f->window_other, 0, __ATOMIC_RELAXED);
}

void qemu_file_set_rate_limit(QEMUFile *f, uint64_t bytes_per_window)
{
    int64_t limit = MIN(bytes_per_window, INT64_MAX / (2 * MAX_WINDOWS));
    int64_t before = __atomic_exchange_n(&f->window_limit, limit, __ATOMIC_RELAXED);

    if (!before) {
        begin_window(f, limit);
    } else if (limit != before) {
        __atomic_fetch_add(&f->window_budget, limit - before, __ATOMIC_RELAXED);
    }
}

uint64_t qemu_file_rate_limit(const QEMUFile *f)
{
    return (uint64_t)__atomic_load_n(&f->window_limit, __ATOMIC_RELAXED);
}

void qemu_file_account(QEMUFile *f, int64_t bytes)
{
    __atomic_fetch_add(&f->window_other, bytes, __ATOMIC_RELAXED);
}

/* Negative: more than that was sent. */
static int64_t window_left(QEMUFile *f)
{
    int64_t used = qemu_file_transferred(f) - __atomic_load_n(&f->window_start, __ATOMIC_RELAXED) +
                   __atomic_load_n(&f->window_other, __ATOMIC_RELAXED);

    return __atomic_load_n(&f->window_budget, __ATOMIC_RELAXED) - MAX(used, 0);
}

bool qemu_file_rate_exceeded(QEMUFile *f)
{
    if (!qemu_file_ok(f)) {
        return true; /* whoever loops until the window is used up must end */
    }
    return qemu_file_rate_limit(f) && window_left(f) < 0;
}

uint64_t qemu_file_rate_left(QEMUFile *f)
{
    return qemu_file_rate_limit(f) ? (uint64_t)MAX(window_left(f), 0) : UINT64_MAX;
}

void qemu_file_rate_next(QEMUFile *f, double windows)
{
    int64_t limit = (int64_t)qemu_file_rate_limit(f);
    int64_t left = CLAMP(window_left(f), -limit * MAX_WINDOWS, 0);

    begin_window(f, left + (int64_t)(limit * CLAMP(windows, 1, MAX_WINDOWS)));
}

/* ---- reading ---- */

static void fail_eof(QEMUFile *f)
{
    GError *err = NULL;

    error_setg(&err, "Unexpected end of stream at offset %" PRIu64,
               f->consumed + (f->end - f->pos));
    qemu_file_set_error(f, err);
}

/* Blocks until something comes, also on non-blocking channels; results as io_channel_readv(). */
static ssize_t read_channel(QEMUFile *f, const struct iovec *iov, unsigned n, GError **errp)
{
    bool locked = pause_big_lock();
    ssize_t got;

    while ((got = io_channel_readv(f->ioc, iov, n, errp)) == IO_CHANNEL_WOULD_BLOCK &&
           qemu_file_ok(f)) {
        io_channel_wait(f->ioc, G_IO_IN, -1);
    }
    resume_big_lock(locked);
    return got;
}

/* One read into @iov; bytes, or 0 when the file has failed or (with @eof_ok) the stream has ended.
 */
static size_t read_some(QEMUFile *f, const struct iovec *iov, unsigned n, bool eof_ok)
{
    GError *err = NULL;
    ssize_t got;

    if (!qemu_file_ok(f)) {
        return 0;
    }
    got = read_channel(f, iov, n, &err);
    if (got > 0) {
        return got;
    }
    if (err) {
        g_prefix_error(&err, "At stream offset %" PRIu64 ": ", f->consumed);
        qemu_file_set_error(f, err);
    } else if (!eof_ok) {
        fail_eof(f);
    }
    return 0;
}

/* More bytes behind the pending ones. */
static bool refill(QEMUFile *f, bool eof_ok)
{
    struct iovec iov;
    size_t got;

    if (f->pos) {
        memmove(f->buf, f->buf + f->pos, f->end - f->pos);
        f->end -= f->pos;
        f->pos = 0;
    }
    iov = (struct iovec){f->buf + f->end, MIN(f->cap - f->end, READ_BYTES)};
    got = read_some(f, &iov, 1, eof_ok);
    f->end += got;
    return got != 0;
}

/* @len (small) contiguous bytes, or NULL when the file has failed. */
static const uint8_t *take(QEMUFile *f, size_t len)
{
    const uint8_t *p;

    while (f->end - f->pos < len) {
        if (!refill(f, false)) {
            return NULL;
        }
    }
    if (!qemu_file_ok(f)) {
        return NULL;
    }
    p = f->buf + f->pos;
    f->pos += len;
    count_got(f, len);
    return p;
}

uint8_t qemu_get_byte(QEMUFile *f)
{
    const uint8_t *p = take(f, 1);

    return p ? *p : 0;
}

uint16_t qemu_get_be16(QEMUFile *f)
{
    const uint8_t *p = take(f, 2);
    uint16_t v = 0;

    if (p) {
        memcpy(&v, p, sizeof(v));
    }
    return GUINT16_FROM_BE(v);
}

uint32_t qemu_get_be32(QEMUFile *f)
{
    const uint8_t *p = take(f, 4);
    uint32_t v = 0;

    if (p) {
        memcpy(&v, p, sizeof(v));
    }
    return GUINT32_FROM_BE(v);
}

uint64_t qemu_get_be64(QEMUFile *f)
{
    const uint8_t *p = take(f, 8);
    uint64_t v = 0;

    if (p) {
        memcpy(&v, p, sizeof(v));
    }
    return GUINT64_FROM_BE(v);
}

static size_t take_buffered(QEMUFile *f, void *dest, size_t len)
{
    size_t n = MIN(len, f->end - f->pos);

    memcpy(dest, f->buf + f->pos, n);
    f->pos += n;
    count_got(f, n);
    return n;
}

bool qemu_get_buffer(QEMUFile *f, void *buf, size_t len)
{
    uint8_t *dest = buf;

    if (len >= READ_BYTES / 2) {
        return qemu_get_buffer_into(f, buf, len);
    }
    while (len && qemu_file_ok(f)) {
        size_t n = take_buffered(f, dest, len);

        dest += n;
        len -= n;
        if (len && !refill(f, false)) {
            break;
        }
    }
    if (len) {
        memset(dest, 0, len);
    }
    return qemu_file_ok(f);
}

bool qemu_get_buffer_into(QEMUFile *f, void *host, size_t len)
{
    uint8_t *dest = host;

    if (qemu_file_ok(f)) {
        size_t n = take_buffered(f, dest, len);

        dest += n;
        len -= n;
    }
    while (len) {
        /* The buffer is empty: what comes behind the payload lands in it with the same call. */
        struct iovec iov[2] = {{dest, len}, {f->buf, READ_BYTES}};
        size_t got = read_some(f, iov, 2, false);
        size_t n = MIN(got, len);

        if (!got) {
            break;
        }
        dest += n;
        len -= n;
        count_got(f, n);
        f->pos = 0;
        f->end = got - n;
    }
    if (len) {
        memset(dest, 0, len);
    }
    return qemu_file_ok(f);
}

bool qemu_get_counted_string(QEMUFile *f, char s[256])
{
    uint8_t len = qemu_get_byte(f);
    bool ok = qemu_get_buffer(f, s, len);

    s[len] = '\0';
    if (ok && memchr(s, '\0', len)) {
        GError *err = NULL;

        error_setg(&err, "Name with a NUL byte at stream offset %" PRIu64, f->consumed - len);
        qemu_file_set_error(f, err);
        ok = false;
    }
    if (!ok) {
        s[0] = '\0';
    }
    return ok;
}

size_t qemu_peek_buffer(QEMUFile *f, const uint8_t **buf, size_t len)
{
    len = MIN(len, READ_BYTES);
    while (f->end - f->pos < len && refill(f, true)) {
    }
    *buf = f->buf + f->pos;
    return qemu_file_ok(f) ? MIN(len, f->end - f->pos) : 0;
}

void qemu_file_skip(QEMUFile *f, size_t len)
{
    while (len) {
        size_t n = MIN(len, f->end - f->pos);

        f->pos += n;
        count_got(f, n);
        len -= n;
        if (len && !refill(f, false)) {
            return;
        }
    }
}

size_t qemu_peek_available(QEMUFile *f, const uint8_t **buf, size_t min)
{
    while (f->end - f->pos < min && refill(f, true)) {
    }
    *buf = f->buf + f->pos;
    return qemu_file_ok(f) ? f->end - f->pos : 0;
}

size_t qemu_file_readv_some(QEMUFile *f, const struct iovec *iov, unsigned n)
{
    size_t got;

    g_assert(f->pos == f->end);
    got = read_some(f, iov, n, false);
    count_got(f, got);
    return got;
}

void qemu_file_unread(QEMUFile *f, const void *buf, size_t len)
{
    size_t pending = f->end - f->pos;

    if (len > f->pos) {
        if (len + pending > f->cap) {
            f->cap = len + pending;
            f->buf = g_realloc(f->buf, f->cap);
        }
        memmove(f->buf + len, f->buf + f->pos, pending);
        f->pos = len;
        f->end = len + pending;
    }
    f->pos -= len;
    memcpy(f->buf + f->pos, buf, len);
    count_got(f, -len);
}

uint64_t qemu_file_offset(QEMUFile *f)
{
    return __atomic_load_n(&f->consumed, __ATOMIC_RELAXED);
}
