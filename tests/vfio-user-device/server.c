/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One client: reads a command, has it done, answers (docs/interop/vfio-user.md). */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "server.h"

#define MAX_FDS  8
#define ARGUMENT 64u /* more than any command has in front of data */

typedef struct {
    Device *d;
    int fd;
    VfioUserHeader h;
    uint32_t left; /* bytes of its payload that have not been read */
    int fds[MAX_FDS];
    unsigned n_fds;
} Message;

/* ---- bytes ---- */

static bool read_all(int fd, void *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = recv(fd, (char *)buf + done, len - done, MSG_WAITALL);

        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
        done += MAX(n, 0);
    }
    return true;
}

static bool write_all(int fd, struct iovec *iov, unsigned n)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};

    while (msg.msg_iovlen) {
        ssize_t done = sendmsg(fd, &msg, MSG_NOSIGNAL);

        if (done < 0 && errno != EINTR) {
            return false;
        }
        done = MAX(done, 0);
        while (msg.msg_iovlen && (size_t)done >= msg.msg_iov->iov_len) {
            done -= msg.msg_iov++->iov_len;
            msg.msg_iovlen--;
        }
        if (msg.msg_iovlen) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + done;
            msg.msg_iov->iov_len -= done;
        }
    }
    return true;
}

/* A header, and the descriptors that come with its first byte. */
static bool read_header(Message *m)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov = {&m->h, sizeof(m->h)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(m->fd, &msg, MSG_CMSG_CLOEXEC);

    if (n <= 0) {
        return false;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            m->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(m->fds, CMSG_DATA(c), m->n_fds * sizeof(int));
        }
    }
    if (!read_all(m->fd, (char *)&m->h + n, sizeof(m->h) - n) || m->h.size < sizeof(m->h) ||
        m->h.size > sizeof(m->h) + ARGUMENT + MAX_TRANSFER) {
        return false;
    }
    m->left = m->h.size - sizeof(m->h);
    return true;
}

static bool take(Message *m, void *buf, size_t len)
{
    if (!read_all(m->fd, buf, len)) {
        return false;
    }
    m->left -= len;
    return true;
}

static bool discard(Message *m)
{
    uint8_t nowhere[4096];
    bool ok = true;

    while (ok && m->left) {
        ok = take(m, nowhere, MIN(m->left, sizeof(nowhere)));
    }
    return ok;
}

/* The answer; @iov[0] is for the header. */
static bool answer(Message *m, struct iovec *iov, unsigned n)
{
    VfioUserHeader h = {.id = m->h.id, .command = m->h.command, .flags = VFIO_USER_REPLY};

    iov[0] = (struct iovec){&h, sizeof(h)};
    for (unsigned i = 0; i < n; i++) {
        h.size += iov[i].iov_len;
    }
    return (m->h.flags & VFIO_USER_NO_REPLY) || write_all(m->fd, iov, n);
}

static bool answer_with(Message *m, const void *payload, size_t len)
{
    struct iovec iov[2] = {{0}, {(void *)payload, len}};

    return answer(m, iov, 2);
}

static bool refuse(Message *m, int error)
{
    VfioUserHeader h = {.id = m->h.id,
                        .command = m->h.command,
                        .size = sizeof(h),
                        .flags = VFIO_USER_REPLY | VFIO_USER_ERROR,
                        .error = error};
    struct iovec iov = {&h, sizeof(h)};

    return discard(m) && ((m->h.flags & VFIO_USER_NO_REPLY) || write_all(m->fd, &iov, 1));
}

/* The whole argument of a command, which has no data behind it; or it is refused. */
static bool argument(Message *m, void *arg, size_t len, bool *ok)
{
    if (m->left != len) {
        *ok = refuse(m, EINVAL);
        return false;
    }
    return *ok = take(m, arg, len);
}

/* ---- commands: false ends the connection ---- */

static bool serve_version(Message *m)
{
    VfioUserVersion v;
    g_autofree char *caps =
        g_strdup_printf("{\"capabilities\":{\"max_msg_fds\":%d,\"max_data_xfer_size\":%u,"
                        "\"x_vmtd\":{\"precopy_info\":%s,\"data_size\":%s,\"large_writes\":true}}}",
                        MAX_FDS, MAX_TRANSFER, m->d->opt->tells_sizes ? "true" : "false",
                        m->d->opt->tells_sizes ? "true" : "false");
    struct iovec iov[3] = {{0}, {&v, sizeof(v)}, {caps, strlen(caps) + 1}};

    if (m->left < sizeof(v) || !take(m, &v, sizeof(v)) || v.major != 0 || !discard(m)) {
        return false;
    }
    v.minor = 0;
    return answer(m, iov, 3);
}

static bool serve_info(Message *m)
{
    VfioUserDeviceInfo info;
    bool ok;

    if (!argument(m, &info, sizeof(info), &ok)) {
        return ok;
    }
    info = (VfioUserDeviceInfo){sizeof(info), VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
                                VFIO_PCI_NUM_REGIONS, VFIO_PCI_NUM_IRQS};
    return answer_with(m, &info, sizeof(info));
}

static bool serve_region_info(Message *m)
{
    VfioUserRegionInfo info;
    bool ok;

    if (!argument(m, &info, sizeof(info), &ok)) {
        return ok;
    }
    info = (VfioUserRegionInfo){.argsz = sizeof(info), .index = info.index};
    if (info.index == VFIO_PCI_CONFIG_REGION_INDEX) {
        info.size = CONFIG_SIZE;
    } else if (info.index == VFIO_PCI_BAR0_REGION_INDEX ||
               info.index == VFIO_PCI_BAR4_REGION_INDEX) {
        info.size = REGS_SIZE;
    }
    info.flags = info.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
    return answer_with(m, &info, sizeof(info));
}

static bool serve_irq_info(Message *m)
{
    VfioUserIrqInfo info;
    bool ok;

    if (!argument(m, &info, sizeof(info), &ok)) {
        return ok;
    }
    info = (VfioUserIrqInfo){sizeof(info), VFIO_IRQ_INFO_EVENTFD, info.index, 0};
    if (info.index == VFIO_PCI_INTX_IRQ_INDEX) {
        info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
        info.count = 1;
    } else if (info.index == VFIO_PCI_MSIX_IRQ_INDEX) {
        info.count = VECTORS;
    }
    return answer_with(m, &info, sizeof(info));
}

static bool finish(Message *m, int error, const void *payload, size_t len)
{
    return error ? refuse(m, error) : answer_with(m, payload, len);
}

static bool serve_irqs(Message *m)
{
    VfioUserSetIrqs set;
    bool ok;

    return argument(m, &set, sizeof(set), &ok)
               ? finish(m, device_set_irqs(m->d, &set, m->fds, m->n_fds), NULL, 0)
               : ok;
}

static bool serve_map(Message *m)
{
    VfioUserDmaMap map;
    bool ok;

    return argument(m, &map, sizeof(map), &ok)
               ? finish(m, device_map(m->d, &map, m->n_fds ? m->fds[0] : -1), NULL, 0)
               : ok;
}

static bool serve_unmap(Message *m)
{
    VfioUserDmaUnmap unmap;
    bool ok;

    return argument(m, &unmap, sizeof(unmap), &ok)
               ? finish(m, device_unmap(m->d, &unmap), &unmap, sizeof(unmap))
               : ok;
}

static bool serve_region(Message *m, bool is_write)
{
    VfioUserRegionAccess a;
    uint8_t data[REGS_SIZE];
    struct iovec iov[3] = {{0}, {&a, sizeof(a)}, {data, 0}};
    int error;

    if (m->left < sizeof(a)) {
        return refuse(m, EINVAL);
    }
    if (!take(m, &a, sizeof(a))) {
        return false;
    }
    if (a.count > sizeof(data) || m->left != (is_write ? a.count : 0)) {
        return refuse(m, EINVAL);
    }
    if (!take(m, data, m->left)) {
        return false;
    }
    error = device_region(m->d, &a, data, is_write);
    if (error) {
        return refuse(m, error);
    }
    iov[2].iov_len = a.count;
    return answer(m, iov, is_write ? 2 : 3);
}

/* Which pages of one whole mapped range were written. */
static bool serve_report(Message *m, VfioUserFeature *f)
{
    struct {
        uint64_t base, size, page_size;
    } range;
    struct iovec iov[4] = {{0}, {f, sizeof(*f)}, {&range, sizeof(range)}};
    DmaMap *map;
    bool ok;

    if (!argument(m, &range, sizeof(range), &ok)) {
        return ok;
    }
    map = device_find_map(m->d, range.base, range.size);
    if (!m->d->logging || !map || map->base != range.base || map->size != range.size ||
        range.page_size != PAGE) {
        return refuse(m, EINVAL);
    }
    iov[3] = (struct iovec){map->dirty, (map->size / PAGE + 63) / 64 * 8};
    ok = answer(m, iov, 4);
    memset(map->dirty, 0, (map->size / PAGE + 63) / 64 * 8);
    return ok;
}

static bool serve_state(Message *m, VfioUserFeature *f)
{
    struct vfio_device_feature_mig_state state;
    struct iovec iov[3] = {{0}, {f, sizeof(*f)}, {&state, sizeof(state)}};
    bool set = f->flags & VFIO_DEVICE_FEATURE_SET, ok = true;
    int error = 0;

    if (set && !argument(m, &state, sizeof(state), &ok)) {
        return ok;
    }
    if (set) {
        error = device_set_state(m->d, state.device_state);
    } else {
        state = (struct vfio_device_feature_mig_state){m->d->state, -1};
    }
    return error ? refuse(m, error) : answer(m, iov, 3);
}

static bool serve_log(Message *m, VfioUserFeature *f, bool on)
{
    uint8_t range[16] = {0};
    struct iovec iov[3] = {{0}, {f, sizeof(*f)}, {range, m->left}};

    if (m->left > sizeof(range) || !m->d->opt->logs) {
        return refuse(m, EINVAL);
    }
    if (!take(m, range, m->left)) {
        return false;
    }
    if (!(f->flags & VFIO_DEVICE_FEATURE_PROBE)) {
        m->d->logging = on;
        for (unsigned i = 0; i < m->d->n_maps; i++) {
            memset(m->d->maps[i].dirty, 0, (m->d->maps[i].size / PAGE + 63) / 64 * 8);
        }
    }
    return answer(m, iov, 3);
}

static bool serve_sizes(Message *m, VfioUserFeature *f)
{
    Device *d = m->d;
    uint64_t all = device_is_saving(d->state)
                       ? outbox_left(d)
                       : d->n_blocks * (RECORD_HEAD + BLOCK) + 1 + REGS_SIZE + 1;
    VfioUserPrecopyInfo info = {.initial_bytes = d->out.initial_left};
    bool precopy = (f->flags & VFIO_DEVICE_FEATURE_MASK) == VFIO_USER_FEATURE_PRECOPY_INFO;
    struct iovec iov[3] = {{0}, {f, sizeof(*f)}, {&all, sizeof(all)}};

    if (!d->opt->tells_sizes ||
        (precopy && (!device_is_saving(d->state) || d->state == VFIO_DEVICE_STATE_STOP_COPY))) {
        return refuse(m, EINVAL);
    }
    if (precopy) {
        uint64_t ready = all - (1 + REGS_SIZE + 1);

        info.initial_bytes = MIN(info.initial_bytes, ready);
        info.dirty_bytes = ready - info.initial_bytes;
        iov[2] = (struct iovec){&info, sizeof(info)};
    }
    return answer(m, iov, 3);
}

static bool serve_feature(Message *m)
{
    uint64_t flags = m->d->opt->flags;
    VfioUserFeature f;
    struct iovec iov[3] = {{0}, {&f, sizeof(f)}, {&flags, sizeof(flags)}};

    if (!flags || m->left < sizeof(f)) {
        return refuse(m, EINVAL);
    }
    if (!take(m, &f, sizeof(f))) {
        return false;
    }
    switch (f.flags & VFIO_DEVICE_FEATURE_MASK) {
    case VFIO_DEVICE_FEATURE_MIGRATION:
        return answer(m, iov, 3);
    case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
        return serve_state(m, &f);
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
        return serve_log(m, &f, true);
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
        return serve_log(m, &f, false);
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
        return serve_report(m, &f);
    case VFIO_USER_FEATURE_DATA_SIZE:
    case VFIO_USER_FEATURE_PRECOPY_INFO:
        return serve_sizes(m, &f);
    default:
        return refuse(m, EINVAL);
    }
}

static bool serve_mig_read(Message *m)
{
    VfioUserMigData data;
    struct iovec iov[2 + MAX_PIECES] = {{0}, {&data, sizeof(data)}};
    unsigned n;
    bool ok;

    if (!argument(m, &data, sizeof(data), &ok)) {
        return ok;
    }
    if (!device_is_saving(m->d->state)) {
        return refuse(m, EINVAL);
    }
    data.size = outbox_read(m->d, iov + 2, &n, MIN(data.size, MAX_TRANSFER));
    data.argsz = sizeof(data) + data.size;
    return answer(m, iov, 2 + n);
}

/* From the socket to where it belongs. */
static bool serve_mig_write(Message *m)
{
    VfioUserMigData data;
    int error = 0;

    if (m->left < sizeof(data)) {
        return refuse(m, EINVAL);
    }
    if (!take(m, &data, sizeof(data))) {
        return false;
    }
    if (m->d->state != VFIO_DEVICE_STATE_RESUMING || data.size != m->left) {
        return refuse(m, EINVAL);
    }
    while (m->left && !error) {
        size_t len;
        void *to = inbox_want(m->d, &len);

        len = MIN(len, m->left);
        if (!take(m, to, len)) {
            return false;
        }
        error = inbox_got(m->d, len);
    }
    return finish(m, error, NULL, 0);
}

static bool serve_reset(Message *m)
{
    device_reset(m->d);
    return answer_with(m, NULL, 0);
}

static bool serve(Message *m)
{
    switch (m->h.command) {
    case VFIO_USER_VERSION:
        return serve_version(m);
    case VFIO_USER_DMA_MAP:
        return serve_map(m);
    case VFIO_USER_DMA_UNMAP:
        return serve_unmap(m);
    case VFIO_USER_DEVICE_GET_INFO:
        return serve_info(m);
    case VFIO_USER_DEVICE_GET_REGION_INFO:
        return serve_region_info(m);
    case VFIO_USER_DEVICE_GET_IRQ_INFO:
        return serve_irq_info(m);
    case VFIO_USER_DEVICE_SET_IRQS:
        return serve_irqs(m);
    case VFIO_USER_REGION_READ:
    case VFIO_USER_REGION_WRITE:
        return serve_region(m, m->h.command == VFIO_USER_REGION_WRITE);
    case VFIO_USER_DEVICE_RESET:
        return serve_reset(m);
    case VFIO_USER_DEVICE_FEATURE:
        return serve_feature(m);
    case VFIO_USER_MIG_DATA_READ:
        return serve_mig_read(m);
    case VFIO_USER_MIG_DATA_WRITE:
        return serve_mig_write(m);
    default:
        return refuse(m, EINVAL);
    }
}

/* The device's own thread stands still while a command is obeyed. */
static bool serve_one(Device *d, int fd)
{
    Message m = {.d = d, .fd = fd};
    bool ok = read_header(&m) && (m.h.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_COMMAND;

    if (ok) {
        g_mutex_lock(&d->lock);
        ok = serve(&m);
        g_mutex_unlock(&d->lock);
    }
    for (unsigned i = 0; i < m.n_fds; i++) {
        if (m.fds[i] >= 0) {
            close(m.fds[i]);
        }
    }
    return ok;
}

void serve_client(Device *d, int fd)
{
    while (serve_one(d, fd)) {
    }
    g_mutex_lock(&d->lock);
    device_disconnect(d);
    g_mutex_unlock(&d->lock);
    close(fd);
}
