/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Client of the vfio-user protocol: connection, reader thread, calls.
 *
 *   caller        call_lock -> send -> wait for `replied` ---------------------> check
 *   reader thread              read header -> reply? whose? -> read it into the call, signal
 *                                          -> DMA command? callback -> answer
 */
#include <sys/socket.h>
#include "backends/vfio-user-internal.h"
#include "io/channel-socket.h"
#include "qapi/json.h"

#define DEFAULT_TIMEOUT_MS   5000
#define DEFAULT_MAX_TRANSFER (1u << 20)
#define MAX_TRANSFER_LIMIT   (64u << 20)
#define DEFAULT_MAX_FDS      1
#define OUR_MAX_FDS          16
#define MAX_FIXED            64 /* the longest payload in front of data */

struct VfioUserClient {
    QIOChannelSocket *ioc;
    GThread *reader;
    const VfioUserCallbacks *cb;
    void *opaque;
    uint64_t max_transfer; /* what either side may send at once */
    unsigned max_fds;      /* what the server takes in one message */
    bool tells_sizes, large_writes;
    unsigned timeout_ms;
    GMutex write_lock; /* one message at a time */
    GMutex call_lock;  /* one call at a time */
    uint16_t next_id;  /* call_lock */
    GMutex lock;       /* protects the block below */
    GCond replied;
    VfioUserCall *calls; /* under way; each stays there while the reader thread is at it */
    unsigned n_calls;
    char *broken;
};

/* ---- breaking ---- */

static void close_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        close(fds[i]);
    }
    g_free(fds);
}

/* Takes @err; the first reason stays. */
static void break_connection(VfioUserClient *c, GError *err)
{
    bool first;

    g_mutex_lock(&c->lock);
    first = !c->broken;
    if (first) {
        c->broken = g_strdup(err ? err->message : "the server closed the connection");
    }
    g_cond_broadcast(&c->replied);
    g_mutex_unlock(&c->lock);
    g_clear_error(&err);
    io_channel_shutdown(IO_CHANNEL(c->ioc), IO_SHUTDOWN_BOTH);
    if (first && c->cb->broken) {
        c->cb->broken(c->opaque, c->broken);
    }
}

char *vfio_user_broken(VfioUserClient *c)
{
    char *reason;

    g_mutex_lock(&c->lock);
    reason = g_strdup(c->broken);
    g_mutex_unlock(&c->lock);
    return reason;
}

/* ---- messages ---- */

static bool send_message(VfioUserClient *c, VfioUserHeader *h, const struct iovec *payload,
                         unsigned n, const int *fds, size_t n_fds, GError **errp)
{
    struct iovec iov[4] = {{h, sizeof(*h)}};
    ssize_t done;
    bool ok;

    g_assert(n < ARRAY_SIZE(iov));
    h->size = sizeof(*h);
    for (unsigned i = 0; i < n; i++) {
        iov[i + 1] = payload[i];
        h->size += payload[i].iov_len;
    }
    g_mutex_lock(&c->write_lock);
    /* Descriptors go with the first byte; what does not fit in the socket's buffer follows. */
    done = io_channel_writev_full(IO_CHANNEL(c->ioc), iov, n + 1, fds, n_fds, 0, errp);
    ok = done > 0;
    for (unsigned i = 0; ok && i <= n; i++) {
        size_t skip = MIN((size_t)done, iov[i].iov_len);

        done -= skip;
        ok = skip == iov[i].iov_len ||
             io_channel_write_all(IO_CHANNEL(c->ioc), (char *)iov[i].iov_base + skip,
                                  iov[i].iov_len - skip, errp);
    }
    g_mutex_unlock(&c->write_lock);
    return ok;
}

/* The rest of a message, @len bytes. */
static bool read_payload(VfioUserClient *c, GByteArray *into, uint32_t len, GError **errp)
{
    g_byte_array_set_size(into, len);
    return !len || io_channel_read_all(IO_CHANNEL(c->ioc), into->data, len, errp);
}

/* A header with the descriptors that came along. False at the end of the connection, too. */
static bool read_header(VfioUserClient *c, VfioUserHeader *h, int **fds, size_t *n_fds,
                        GError **errp)
{
    size_t got = 0;

    while (got < sizeof(*h)) {
        struct iovec iov = {(char *)h + got, sizeof(*h) - got};
        g_autofree int *more = NULL;
        size_t n_more = 0;
        ssize_t n = io_channel_readv_full(IO_CHANNEL(c->ioc), &iov, 1, &more, &n_more, errp);

        if (n_more) {
            *fds = g_renew(int, *fds, *n_fds + n_more);
            memcpy(*fds + *n_fds, more, n_more * sizeof(int));
            *n_fds += n_more;
        }
        if (n <= 0) {
            return false;
        }
        got += n;
    }
    if (h->size < sizeof(*h) || h->size > sizeof(*h) + MAX_FIXED + c->max_transfer) {
        error_setg(errp, "message of %u bytes; %zu to %" PRIu64 " are possible", h->size,
                   sizeof(*h), (uint64_t)sizeof(*h) + MAX_FIXED + c->max_transfer);
        return false;
    }
    return true;
}

/* ---- what the server asks ---- */

static bool answer(VfioUserClient *c, const VfioUserHeader *h, int error,
                   const struct iovec *payload, unsigned n, GError **errp)
{
    VfioUserHeader reply = {
        .id = h->id,
        .command = h->command,
        .flags = VFIO_USER_REPLY | (error ? VFIO_USER_ERROR : 0),
        .error = error,
    };

    return (h->flags & VFIO_USER_NO_REPLY) ||
           send_message(c, &reply, payload, error ? 0 : n, NULL, 0, errp);
}

static bool serve_dma(VfioUserClient *c, const VfioUserHeader *h, const GByteArray *data,
                      GError **errp)
{
    bool is_write = h->command == VFIO_USER_DMA_WRITE;
    VfioUserDmaAccess a;
    g_autofree uint8_t *buf = NULL;
    struct iovec iov[2] = {{&a, sizeof(a)}};

    if (data->len < sizeof(a)) {
        return answer(c, h, EINVAL, NULL, 0, errp);
    }
    memcpy(&a, data->data, sizeof(a));
    if (a.count > c->max_transfer) {
        return answer(c, h, E2BIG, NULL, 0, errp);
    }
    if (data->len != sizeof(a) + (is_write ? a.count : 0)) {
        return answer(c, h, EINVAL, NULL, 0, errp);
    }
    if (is_write) {
        return answer(
            c, h,
            c->cb->dma_write(c->opaque, a.address, data->data + sizeof(a), a.count) ? 0 : EFAULT,
            iov, 1, errp);
    }
    buf = g_malloc(MAX(a.count, 1));
    iov[1] = (struct iovec){buf, a.count};
    return answer(c, h, c->cb->dma_read(c->opaque, a.address, buf, a.count) ? 0 : EFAULT, iov, 2,
                  errp);
}

static bool serve(VfioUserClient *c, const VfioUserHeader *h, size_t n_fds, GByteArray *data,
                  GError **errp)
{
    bool dma = h->command == VFIO_USER_DMA_READ || h->command == VFIO_USER_DMA_WRITE;

    if (!read_payload(c, data, h->size - sizeof(*h), errp)) {
        return false;
    }
    if (n_fds || !dma) {
        return answer(c, h, dma ? EINVAL : ENOSYS, NULL, 0, errp);
    }
    return serve_dma(c, h, data, errp);
}

/* Whose reply is it? From now on the reader thread's, or NULL. Nobody waits on a broken connection:
 * what is over there stays so. */
static VfioUserCall *claim_call(VfioUserClient *c, const VfioUserHeader *h)
{
    VfioUserCall *found = NULL;

    g_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->n_calls && !found && !c->broken; i++) {
        VfioUserCall *call = &c->calls[i];

        if (call->progress == CALL_WAITS && call->id == h->id && call->command == h->command) {
            found = call;
            found->progress = CALL_ARRIVES;
        }
    }
    g_mutex_unlock(&c->lock);
    return found;
}

static void release_call(VfioUserClient *c, VfioUserCall *call, VfioUserProgress progress)
{
    g_mutex_lock(&c->lock);
    call->progress = progress;
    g_cond_broadcast(&c->replied);
    g_mutex_unlock(&c->lock);
}

/* Straight to where the caller wants it, unless that has another size in mind. */
static bool read_reply(VfioUserClient *c, VfioUserCall *call, const VfioUserHeader *h,
                       GByteArray *scratch, GError **errp)
{
    struct iovec iov[2] = {{call->reply, call->reply_size}, {call->data, 0}};

    call->came = h->size - sizeof(*h);
    if (h->flags & VFIO_USER_ERROR) {
        call->error = h->error ? (int)h->error : EIO;
    }
    if (call->error || call->came < call->reply_size ||
        call->came > call->reply_size + call->data_max) {
        return read_payload(c, scratch, call->came, errp);
    }
    call->data_len = iov[1].iov_len = call->came - call->reply_size;
    return !call->came || io_channel_readv_all(IO_CHANNEL(c->ioc), iov, 2, errp);
}

/* Takes @fds; the first of them is the caller's. */
static bool take_reply(VfioUserClient *c, const VfioUserHeader *h, int *fds, size_t n_fds,
                       GByteArray *scratch, GError **errp)
{
    VfioUserCall *call = claim_call(c, h);
    bool ok = false;

    if (!call) {
        error_setg(errp, "reply %u to command %u, which nobody asked for", h->id, h->command);
    } else {
        ok = read_reply(c, call, h, scratch, errp);
        if (ok && n_fds) {
            call->fd = fds[0];
            fds[0] = fds[--n_fds];
        }
        release_call(c, call, ok ? CALL_ANSWERED : CALL_WAITS);
    }
    close_fds(fds, n_fds);
    return ok;
}

static bool read_message(VfioUserClient *c, GByteArray *data, GError **errp)
{
    VfioUserHeader h;
    int *fds = NULL;
    size_t n_fds = 0;
    bool ok;

    if (!read_header(c, &h, &fds, &n_fds, errp)) {
        close_fds(fds, n_fds);
        return false;
    }
    switch (h.flags & VFIO_USER_TYPE_MASK) {
    case VFIO_USER_REPLY:
        return take_reply(c, &h, fds, n_fds, data, errp);
    case VFIO_USER_COMMAND:
        ok = serve(c, &h, n_fds, data, errp);
        close_fds(fds, n_fds);
        return ok;
    default:
        close_fds(fds, n_fds);
        error_setg(errp, "message of unknown type %u", h.flags & VFIO_USER_TYPE_MASK);
        return false;
    }
}

static gpointer reader_main(gpointer opaque)
{
    VfioUserClient *c = opaque;
    g_autoptr(GByteArray) data = g_byte_array_new();
    GError *err = NULL;

    while (read_message(c, data, &err)) {
    }
    break_connection(c, err);
    return NULL;
}

/* ---- calls ---- */

/* Until it is answered, or never will be. */
static void await_reply(VfioUserClient *c, VfioUserCall *call)
{
    int64_t ms = call->timeout_ms ? call->timeout_ms : c->timeout_ms;
    int64_t end = g_get_monotonic_time() + ms * 1000;
    bool in_time = true;

    g_mutex_lock(&c->lock);
    while (in_time && call->progress != CALL_ANSWERED && !c->broken) {
        in_time = g_cond_wait_until(&c->replied, &c->lock, end);
    }
    if (call->progress != CALL_ANSWERED && !c->broken) {
        GError *err = NULL;

        error_setg(&err, "no answer to command %u in time (x-msg-timeout, x-state-timeout)",
                   call->command);
        g_mutex_unlock(&c->lock);
        break_connection(c, err); /* the answer could come later, for another call */
        g_mutex_lock(&c->lock);
    }
    /* The connection has ended, and so does what the reader thread is doing. */
    while (call->progress == CALL_ARRIVES) {
        g_cond_wait(&c->replied, &c->lock);
    }
    g_mutex_unlock(&c->lock);
}

/* It is over. */
static bool check_reply(VfioUserClient *c, VfioUserCall *call, GError **errp)
{
    if (call->progress != CALL_ANSWERED) {
        g_autofree char *reason = vfio_user_broken(c);

        error_setg(errp, "vfio-user: %s", reason);
        return false;
    }
    if (call->error) {
        error_setg_errno(errp, call->error, "vfio-user: the server refuses command %u",
                         call->command);
        return false;
    }
    if (call->came < call->reply_size || call->came > call->reply_size + call->data_max) {
        error_setg(errp, "vfio-user: answer of %zu bytes to command %u; %zu to %zu were expected",
                   call->came, call->command, call->reply_size, call->reply_size + call->data_max);
        return false;
    }
    return true;
}

static void begin_calls(VfioUserClient *c, VfioUserCall *calls, unsigned n)
{
    g_mutex_lock(&c->lock);
    for (unsigned i = 0; i < n; i++) {
        VfioUserCall *call = &calls[i];

        call->fd = -1;
        call->error = 0;
        call->data_len = call->came = 0;
        call->id = ++c->next_id;
        call->progress = CALL_WAITS;
    }
    c->calls = calls;
    c->n_calls = n;
    g_mutex_unlock(&c->lock);
}

static void end_calls(VfioUserClient *c)
{
    g_mutex_lock(&c->lock);
    c->calls = NULL;
    c->n_calls = 0;
    g_mutex_unlock(&c->lock);
}

static void send_call(VfioUserClient *c, const VfioUserCall *call)
{
    VfioUserHeader h = {.id = call->id, .command = call->command};
    GError *err = NULL;

    if (!send_message(c, &h, call->request, call->n_request, call->fds, call->n_fds, &err)) {
        break_connection(c, err);
    }
}

bool vfio_user_calls(VfioUserClient *c, VfioUserCall *calls, unsigned n, GError **errp)
{
    bool ok = true;

    g_mutex_lock(&c->call_lock);
    begin_calls(c, calls, n);
    for (unsigned i = 0; i < n; i++) {
        send_call(c, &calls[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        await_reply(c, &calls[i]);
        ok = ok && check_reply(c, &calls[i], errp);
        if (!ok && calls[i].fd >= 0) {
            close(calls[i].fd);
            calls[i].fd = -1;
        }
    }
    end_calls(c);
    g_mutex_unlock(&c->call_lock);
    return ok;
}

bool vfio_user_call(VfioUserClient *c, VfioUserCall *call, GError **errp)
{
    return vfio_user_calls(c, call, 1, errp);
}

/* ---- version ---- */

static uint64_t limit_of(JsonObject *caps, const char *name, uint64_t defval, uint64_t max)
{
    gint64 value = caps && json_object_has_member(caps, name)
                       ? json_object_get_int_member_with_default(caps, name, -1)
                       : (gint64)defval;

    return value < 0 ? 0 : MIN((uint64_t)value, max);
}

/* Our own extension. */
static bool grants(JsonObject *caps, const char *what)
{
    JsonNode *node = caps ? json_object_get_member(caps, "x_vmtd") : NULL;
    JsonObject *ext = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;

    return ext && json_object_get_boolean_member_with_default(ext, what, FALSE);
}

/* Unknown members are fine; what we know must make sense. */
static bool parse_capabilities(VfioUserClient *c, char *text, size_t len, GError **errp)
{
    g_autoptr(JsonNode) node = NULL;
    JsonObject *caps = NULL;

    if (len && text[len - 1] != '\0') {
        error_setg(errp, "vfio-user: the server's capabilities do not end with NUL");
        return false;
    }
    if (len) {
        node = json_from_string(text, errp);
        if (!node || !JSON_NODE_HOLDS_OBJECT(node)) {
            g_clear_error(errp);
            error_setg(errp, "vfio-user: the server's capabilities are no JSON object");
            return false;
        }
        JsonNode *member = json_object_get_member(json_node_get_object(node), "capabilities");

        caps = member && JSON_NODE_HOLDS_OBJECT(member) ? json_node_get_object(member) : NULL;
    }
    c->max_transfer =
        limit_of(caps, "max_data_xfer_size", DEFAULT_MAX_TRANSFER, MAX_TRANSFER_LIMIT);
    c->max_fds = limit_of(caps, "max_msg_fds", DEFAULT_MAX_FDS, OUR_MAX_FDS);
    if (c->max_transfer < 4096 || !c->max_fds) {
        error_setg(errp,
                   "vfio-user: the server takes %" PRIu64 " bytes and %u descriptors in a "
                   "message; 4096 and 1 are the least",
                   c->max_transfer, c->max_fds);
        return false;
    }
    c->max_transfer = MIN(c->max_transfer, DEFAULT_MAX_TRANSFER);
    c->tells_sizes = grants(caps, "precopy_info") && grants(caps, "data_size");
    c->large_writes = grants(caps, "large_writes");
    return true;
}

static bool agree_on_version(VfioUserClient *c, GError **errp)
{
    static const char caps[] =
        "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
        "\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":268435456},"
        "\"x_vmtd\":{\"precopy_info\":true,\"data_size\":true,\"large_writes\":true}}}";
    VfioUserVersion mine = {0, 0}, theirs;
    char text[4096];
    VfioUserCall call = {
        .command = VFIO_USER_VERSION,
        .request = {{&mine, sizeof(mine)}, {(char *)caps, sizeof(caps)}},
        .n_request = 2,
        .reply = &theirs,
        .reply_size = sizeof(theirs),
        .data = text,
        .data_max = sizeof(text),
    };

    if (!vfio_user_call(c, &call, errp)) {
        return false;
    }
    if (call.fd >= 0) {
        close(call.fd);
    }
    if (theirs.major != mine.major || theirs.minor > mine.minor) {
        error_setg(errp, "vfio-user: the server speaks version %u.%u, not %u.%u", theirs.major,
                   theirs.minor, mine.major, mine.minor);
        return false;
    }
    return parse_capabilities(c, text, call.data_len, errp);
}

/* ---- life cycle ---- */

VfioUserClient *vfio_user_client_new(int fd, const VfioUserCallbacks *cb, void *opaque,
                                     GError **errp)
{
    QIOChannelSocket *ioc = io_channel_socket_new_fd(fd, errp);
    g_autoptr(VfioUserClient) c = NULL;

    if (!ioc) {
        return NULL;
    }
    c = g_new0(VfioUserClient, 1);
    c->ioc = ioc;
    c->cb = cb;
    c->opaque = opaque;
    c->max_transfer = DEFAULT_MAX_TRANSFER;
    c->max_fds = DEFAULT_MAX_FDS;
    c->timeout_ms = DEFAULT_TIMEOUT_MS;
    g_mutex_init(&c->write_lock);
    g_mutex_init(&c->call_lock);
    g_mutex_init(&c->lock);
    g_cond_init(&c->replied);
    c->reader = g_thread_new("vfio-user", reader_main, c);
    return agree_on_version(c, errp) ? g_steal_pointer(&c) : NULL;
}

VfioUserClient *vfio_user_connect(const char *path, const VfioUserCallbacks *cb, void *opaque,
                                  GError **errp)
{
    UnixSocketAddress where = {.path = (char *)path};
    SocketAddress addr = {.type = SOCKET_ADDRESS_TYPE_UNIX, .u.q_unix = &where};
    g_autoptr(QIOChannelSocket) ioc = io_channel_socket_connect_sync(&addr, errp);
    int fd;

    if (!ioc) {
        return NULL;
    }
    fd = dup(io_channel_socket_fd(ioc));
    if (fd < 0) {
        error_setg_errno(errp, errno, "vfio-user: cannot duplicate the socket");
        return NULL;
    }
    return vfio_user_client_new(fd, cb, opaque, errp);
}

void vfio_user_free(VfioUserClient *c)
{
    if (!c) {
        return;
    }
    io_channel_shutdown(IO_CHANNEL(c->ioc), IO_SHUTDOWN_BOTH);
    g_thread_join(c->reader);
    g_object_unref(c->ioc);
    g_mutex_clear(&c->write_lock);
    g_mutex_clear(&c->call_lock);
    g_mutex_clear(&c->lock);
    g_cond_clear(&c->replied);
    g_free(c->broken);
    g_free(c);
}

void vfio_user_set_timeout(VfioUserClient *c, unsigned ms)
{
    c->timeout_ms = ms ? ms : DEFAULT_TIMEOUT_MS;
}

uint64_t vfio_user_max_transfer(const VfioUserClient *c)
{
    return c->max_transfer;
}

bool vfio_user_tells_sizes(const VfioUserClient *c)
{
    return c->tells_sizes;
}

bool vfio_user_takes_large_writes(const VfioUserClient *c)
{
    return c->large_writes;
}

unsigned vfio_user_max_fds(const VfioUserClient *c)
{
    return c->max_fds;
}
