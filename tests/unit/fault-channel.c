/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fault-channel.h"
#include "util/error.h"
#include "util/iov.h"

typedef struct {
    FaultPlan plan;
    uint64_t pos;
    bool shut;
} Direction;

#define TYPE_FAULT_CHANNEL (fault_channel_get_type())
G_DECLARE_FINAL_TYPE(FaultChannel, fault_channel, FAULT, CHANNEL, QIOChannel)

struct _FaultChannel {
    QIOChannel parent;
    QIOChannel *base;
    GMutex lock; /* everything below */
    GCond changed;
    Direction read, write;
    bool resumed, cut, blocking;
    bool faulted; /* some transfer got to a stall or cut */
};

G_DEFINE_TYPE(FaultChannel, fault_channel, TYPE_IO_CHANNEL)

QIOChannel *fault_channel_new(QIOChannel *base, const FaultPlan *read, const FaultPlan *write)
{
    static const IOFeature passed_on[] = {IO_FEATURE_BIDIRECTIONAL, IO_FEATURE_READ_PEEK};
    FaultChannel *f = g_object_new(TYPE_FAULT_CHANNEL, NULL);

    f->base = g_object_ref(base);
    f->read.plan = read ? *read : FAULT_PLAN_NONE;
    f->write.plan = write ? *write : FAULT_PLAN_NONE;
    for (unsigned i = 0; i < G_N_ELEMENTS(passed_on); i++) {
        if (io_channel_has_feature(base, passed_on[i])) {
            io_channel_set_feature(IO_CHANNEL(f), passed_on[i]);
        }
    }
    io_channel_set_name(IO_CHANNEL(f), io_channel_name(base));
    return IO_CHANNEL(f);
}

static bool is_stalled(const FaultChannel *f, const Direction *d)
{
    return d->pos >= d->plan.stall_at && !f->resumed && !d->shut;
}

static void report_fault(FaultChannel *f)
{
    f->faulted = true;
    g_cond_broadcast(&f->changed);
}

/* How many bytes may pass at the current position before something happens; waits out a stall.
 * 0: the line is cut. WOULD_BLOCK: stalled and the caller does not wait. */
static ssize_t allowance(FaultChannel *f, Direction *d)
{
    const FaultPlan *p = &d->plan;
    ssize_t allow = SSIZE_MAX;
    bool cut;

    g_mutex_lock(&f->lock);
    if (is_stalled(f, d)) {
        report_fault(f);
        while (f->blocking && is_stalled(f, d)) {
            g_cond_wait(&f->changed, &f->lock);
        }
        if (is_stalled(f, d)) {
            allow = IO_CHANNEL_WOULD_BLOCK;
        }
    }
    if (d->pos >= p->cut_at) {
        f->cut = true;
        report_fault(f);
    }
    cut = f->cut;
    if (d->shut || cut) {
        allow = 0;
    } else if (allow > 0) {
        allow = MIN((uint64_t)allow, p->cut_at - d->pos);
        if (!f->resumed) {
            allow = MIN((uint64_t)allow, p->stall_at - d->pos);
        }
        if (d->pos < p->swallow_at) {
            allow = MIN((uint64_t)allow, p->swallow_at - d->pos);
        }
        if (p->segment) {
            allow = MIN((size_t)allow, p->segment);
        }
    }
    g_mutex_unlock(&f->lock);
    if (cut) {
        io_channel_shutdown(f->base, IO_SHUTDOWN_BOTH);
    }
    return allow;
}

/* The front of @iov, at most @max bytes; returns the number of elements. */
static unsigned clip(struct iovec *out, const struct iovec *iov, unsigned n, size_t max)
{
    unsigned count = 0;

    while (count < n && max) {
        out[count] = iov[count];
        out[count].iov_len = MIN(out[count].iov_len, max);
        max -= out[count].iov_len;
        count++;
    }
    return count;
}

static void passed(FaultChannel *f, Direction *d, size_t bytes)
{
    g_mutex_lock(&f->lock);
    d->pos += bytes;
    g_mutex_unlock(&f->lock);
}

/* The byte of @iov at which @d corrupts, or NULL. */
static uint8_t *corrupt_byte(const Direction *d, const struct iovec *iov, unsigned n, size_t bytes)
{
    uint64_t skip = d->plan.corrupt_at - d->pos;

    if (d->plan.corrupt_at < d->pos || skip >= bytes) {
        return NULL;
    }
    for (unsigned i = 0; i < n; i++) {
        if (skip < iov[i].iov_len) {
            return (uint8_t *)iov[i].iov_base + skip;
        }
        skip -= iov[i].iov_len;
    }
    return NULL;
}

static ssize_t fault_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                           size_t *nfds, GError **errp)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);
    ssize_t ret = allowance(f, &f->read);
    g_autofree struct iovec *part = g_new(struct iovec, n);
    uint8_t *bad;

    if (ret <= 0) {
        return ret;
    }
    n = clip(part, iov, n, ret);
    ret = io_channel_readv(f->base, part, n, errp);
    if (ret > 0) {
        bad = corrupt_byte(&f->read, part, n, ret);
        if (bad) {
            *bad ^= f->read.plan.corrupt_xor;
        }
        passed(f, &f->read, ret);
    }
    return ret;
}

static ssize_t fault_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                            size_t nfds, int flags, GError **errp)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);
    ssize_t ret = allowance(f, &f->write);
    g_autofree struct iovec *part = g_new(struct iovec, n);
    uint8_t *bad;

    if (ret == 0) {
        error_setg_errno(errp, EPIPE, "Unable to write to socket");
        return IO_CHANNEL_ERR;
    }
    if (ret < 0) {
        return ret;
    }
    n = clip(part, iov, n, ret);
    bad = corrupt_byte(&f->write, part, n, ret);
    if (f->write.pos >= f->write.plan.swallow_at) {
        ret = iov_size(part, n);
    } else if (bad) {
        /* The caller's memory must stay right: only the byte itself is replaced, on its own. */
        uint64_t before = f->write.plan.corrupt_at - f->write.pos;
        uint8_t wrong = *bad ^ f->write.plan.corrupt_xor;
        struct iovec one = {&wrong, 1};

        if (before) {
            n = clip(part, iov, n, before);
            ret = io_channel_writev(f->base, part, n, errp);
        } else {
            ret = io_channel_writev(f->base, &one, 1, errp);
        }
    } else {
        ret = io_channel_writev(f->base, part, n, errp);
    }
    if (ret > 0) {
        passed(f, &f->write, ret);
    }
    return ret;
}

static ssize_t fault_peek(QIOChannel *ioc, void *buf, size_t len, GError **errp)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);
    ssize_t ret = allowance(f, &f->read);
    struct iovec iov = {buf, len};
    uint8_t *bad;

    if (ret <= 0) {
        return ret;
    }
    ret = io_channel_peek(f->base, buf, MIN(len, (size_t)ret), errp);
    bad = ret > 0 ? corrupt_byte(&f->read, &iov, 1, ret) : NULL;
    if (bad) {
        *bad ^= f->read.plan.corrupt_xor;
    }
    return ret;
}

static bool fault_set_blocking(QIOChannel *ioc, bool blocking, GError **errp)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);

    g_mutex_lock(&f->lock);
    f->blocking = blocking;
    g_mutex_unlock(&f->lock);
    return io_channel_set_blocking(f->base, blocking, errp);
}

static void fault_shutdown(QIOChannel *ioc, IOShutdown how)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);

    g_mutex_lock(&f->lock);
    f->read.shut |= (how & IO_SHUTDOWN_READ) != 0;
    f->write.shut |= (how & IO_SHUTDOWN_WRITE) != 0;
    g_cond_broadcast(&f->changed);
    g_mutex_unlock(&f->lock);
    io_channel_shutdown(f->base, how);
}

static bool fault_close(QIOChannel *ioc, GError **errp)
{
    return io_channel_close(FAULT_CHANNEL(ioc)->base, errp);
}

static bool fault_wait(QIOChannel *ioc, GIOCondition cond, int timeout_ms)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);
    const Direction *d = (cond & G_IO_IN) ? &f->read : &f->write;
    int64_t end = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
    bool stalled;

    g_mutex_lock(&f->lock);
    while ((stalled = is_stalled(f, d))) {
        if (timeout_ms < 0) {
            g_cond_wait(&f->changed, &f->lock);
        } else if (!g_cond_wait_until(&f->changed, &f->lock, end)) {
            break;
        }
    }
    g_mutex_unlock(&f->lock);
    return !stalled && io_channel_wait(f->base, cond, timeout_ms);
}

static GSource *fault_create_watch(QIOChannel *ioc, GIOCondition cond)
{
    return io_channel_create_watch(FAULT_CHANNEL(ioc)->base, cond);
}

void fault_channel_arm(QIOChannel *ioc, const FaultPlan *write)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);

    g_mutex_lock(&f->lock);
    f->write.plan = *write;
    f->write.pos = 0;
    g_mutex_unlock(&f->lock);
}

uint64_t fault_channel_read_position(QIOChannel *ioc)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);
    uint64_t pos;

    g_mutex_lock(&f->lock);
    pos = f->read.pos;
    g_mutex_unlock(&f->lock);
    return pos;
}

uint64_t fault_channel_write_position(QIOChannel *ioc)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);
    uint64_t pos;

    g_mutex_lock(&f->lock);
    pos = f->write.pos;
    g_mutex_unlock(&f->lock);
    return pos;
}

void fault_channel_wait_fault(QIOChannel *ioc)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);

    g_mutex_lock(&f->lock);
    while (!f->faulted) {
        g_cond_wait(&f->changed, &f->lock);
    }
    g_mutex_unlock(&f->lock);
}

void fault_channel_resume(QIOChannel *ioc)
{
    FaultChannel *f = FAULT_CHANNEL(ioc);

    g_mutex_lock(&f->lock);
    f->resumed = true;
    g_cond_broadcast(&f->changed);
    g_mutex_unlock(&f->lock);
}

static void fault_channel_finalize(GObject *obj)
{
    FaultChannel *f = FAULT_CHANNEL(obj);

    g_object_unref(f->base);
    g_mutex_clear(&f->lock);
    g_cond_clear(&f->changed);
    G_OBJECT_CLASS(fault_channel_parent_class)->finalize(obj);
}

static void fault_channel_class_init(FaultChannelClass *klass)
{
    QIOChannelClass *k = IO_CHANNEL_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = fault_channel_finalize;
    k->readv = fault_readv;
    k->writev = fault_writev;
    k->peek = fault_peek;
    k->set_blocking = fault_set_blocking;
    k->shutdown = fault_shutdown;
    k->close = fault_close;
    k->wait = fault_wait;
    k->create_watch = fault_create_watch;
}

static void fault_channel_init(FaultChannel *f)
{
    f->blocking = true;
    g_mutex_init(&f->lock);
    g_cond_init(&f->changed);
}
