/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include "backends/chardev-internal.h"
#include "util/cutils.h"
#include "util/keyval.h"

static const ChardevOps *const kinds[] = {
    &chardev_null_ops,  &chardev_vc_ops,   &chardev_ringbuf_ops,
    &chardev_file_ops,  &chardev_pipe_ops, &chardev_fd_ops,
    &chardev_stdio_ops, &chardev_pty_ops,  &chardev_socket_ops,
};

static const char *const common_options[] = {"backend", "id", "logfile", "logappend"};

/* ---- life ---- */

Chardev *chardev_ref(Chardev *chr)
{
    g_atomic_ref_count_inc(&chr->refs);
    return chr;
}

void chardev_unref(void *opaque)
{
    Chardev *chr = opaque;

    if (!g_atomic_ref_count_dec(&chr->refs)) {
        return;
    }
    for (unsigned i = 0; i < chr->fds->len; i++) {
        close(g_array_index(chr->fds, int, i));
    }
    g_array_unref(chr->fds);
    g_byte_array_unref(chr->queue);
    if (chr->log_fd >= 0) {
        close(chr->log_fd);
    }
    g_clear_pointer(&chr->context, g_main_context_unref);
    g_mutex_clear(&chr->lock);
    g_free(chr->state);
    g_free(chr->label);
    g_free(chr);
}

/* The list's reference goes; callbacks under way keep theirs. */
static void chardev_destroy(void *opaque)
{
    Chardev *chr = opaque;

    chardev_detach(chr);
    g_mutex_lock(&chr->lock);
    chr->dead = true;
    g_mutex_unlock(&chr->lock);
    if (chr->ops->close) {
        chr->ops->close(chr);
    }
    chardev_stream_disconnect(chr);
    chardev_unref(chr);
}

static Chardev *chardev_alloc(ChardevList *list, const ChardevOps *ops, const char *label)
{
    Chardev *chr = g_new0(Chardev, 1);

    chr->ops = ops;
    chr->list = list;
    chr->label = g_strdup(label);
    chr->state = g_malloc0(ops->state_size);
    g_atomic_ref_count_init(&chr->refs);
    g_mutex_init(&chr->lock);
    chr->queue = g_byte_array_new();
    chr->fds = g_array_new(FALSE, FALSE, sizeof(int));
    chr->log_fd = -1;
    return chr;
}

/* ---- list ---- */

static int plain_open(void *opaque, const char *path, int flags, int mode, GError **errp)
{
    int fd = open(path, flags | O_CLOEXEC, mode);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
    }
    return fd;
}

ChardevList *chardev_list_new(void)
{
    ChardevList *list = g_new0(ChardevList, 1);

    list->chardevs = g_ptr_array_new_with_free_func(chardev_destroy);
    list->open_file = plain_open;
    return list;
}

void chardev_list_free(ChardevList *list)
{
    g_ptr_array_unref(list->chardevs);
    g_free(list);
}

void chardev_list_set_open_file(ChardevList *list, ChardevOpenFile *fn, void *opaque)
{
    list->open_file = fn;
    list->open_opaque = opaque;
}

void chardev_list_set_quit(ChardevList *list, void (*fn)(void *opaque), void *opaque)
{
    list->quit = fn;
    list->quit_opaque = opaque;
}

Chardev *chardev_add(ChardevList *list, const ChardevOps *ops, const char *label)
{
    Chardev *chr = chardev_alloc(list, ops, label);

    g_ptr_array_add(list->chardevs, chr);
    return chr;
}

Chardev *chardev_find(ChardevList *list, const char *id)
{
    for (unsigned i = 0; i < list->chardevs->len; i++) {
        Chardev *chr = g_ptr_array_index(list->chardevs, i);

        if (strcmp(chr->label, id) == 0) {
            return chr;
        }
    }
    return NULL;
}

void chardev_foreach(ChardevList *list, void (*cb)(Chardev *chr, void *opaque), void *opaque)
{
    for (unsigned i = 0; i < list->chardevs->len; i++) {
        cb(g_ptr_array_index(list->chardevs, i), opaque);
    }
}

bool chardev_remove(ChardevList *list, const char *id, GError **errp)
{
    Chardev *chr = chardev_find(list, id);

    if (!chr) {
        error_setg(errp, "Chardev '%s' not found", id);
        return false;
    }
    if (chardev_has_frontend(chr)) {
        error_setg(errp, "Chardev '%s' is busy", id);
        return false;
    }
    g_ptr_array_remove(list->chardevs, chr);
    return true;
}

/* ---- creation ---- */

static const ChardevOps *find_kind(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

static bool check_id(ChardevList *list, const char *id, GError **errp)
{
    bool ok = id && g_ascii_isalpha(id[0]);

    for (const char *p = id; ok && *p; p++) {
        ok = g_ascii_isalnum(*p) || strchr("-._", *p);
    }
    if (!id) {
        error_setg(errp, "chardev: no id specified");
    } else if (!ok) {
        error_setg(errp, "Parameter 'id' expects an identifier: letters, digits, '-', '.', '_', "
                         "starting with a letter");
    } else if (chardev_find(list, id)) {
        error_setg(errp, "Duplicate ID '%s' for chardev", id);
        ok = false;
    }
    return ok;
}

static bool check_options(const ChardevOps *ops, JsonObject *options, GError **errp)
{
    const char *known[ARRAY_SIZE(common_options) + 32] = {NULL};
    unsigned n = 0;

    for (; n < ARRAY_SIZE(common_options); n++) {
        known[n] = common_options[n];
    }
    for (const char *const *o = ops->options; o && *o; o++) {
        g_assert(n + 1 < ARRAY_SIZE(known));
        known[n++] = *o;
    }
    return keyval_check_known(options, known, errp);
}

static bool open_log(Chardev *chr, JsonObject *options, GError **errp)
{
    const char *path = keyval_get_string(options, "logfile");
    bool append;

    if (!keyval_get_bool(options, "logappend", false, &append, errp)) {
        return false;
    }
    if (path) {
        chr->log_fd =
            chr->list->open_file(chr->list->open_opaque, path,
                                 O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), 0666, errp);
    }
    return !path || chr->log_fd >= 0;
}

Chardev *chardev_new(ChardevList *list, JsonObject *options, GError **errp)
{
    const char *backend = keyval_get_string(options, "backend");
    const char *id = keyval_get_string(options, "id");
    const ChardevOps *ops;
    Chardev *chr;

    if (!backend) {
        error_setg(errp, "chardev: no backend specified");
        return NULL;
    }
    ops = find_kind(backend);
    if (!ops) {
        error_setg(errp, "'%s' is not a valid char driver name", backend);
        return NULL;
    }
    if (!check_id(list, id, errp) || !check_options(ops, options, errp)) {
        return NULL;
    }
    chr = chardev_alloc(list, ops, id);
    if (!open_log(chr, options, errp) || !ops->open(chr, options, errp)) {
        chardev_destroy(chr);
        return NULL;
    }
    g_ptr_array_add(list->chardevs, chr);
    return chr;
}

static Chardev *new_shared(ChardevList *list, const char *label, const char *text, GError **errp)
{
    g_autofree char *base_label = g_strconcat(label, "-base", NULL);
    g_autoptr(JsonObject) options = chardev_parse_short(base_label, text, errp);
    Chardev *base, *chr;

    if (!options) {
        return NULL;
    }
    if (strcmp(text, "stdio") == 0) {
        json_object_set_string_member(options, "signal", "off"); /* Ctrl-C is the guest's */
    }
    base = chardev_new(list, options, errp);
    chr = base ? chardev_new_mux(base, label, errp) : NULL;
    if (base && !chr) {
        chardev_remove(list, base_label, NULL);
    }
    return chr;
}

Chardev *chardev_new_short(ChardevList *list, const char *label, const char *text, GError **errp)
{
    g_autoptr(JsonObject) options = NULL;
    Chardev *chr;

    if (strcmp(text, "none") == 0) {
        return NULL;
    }
    if (g_str_has_prefix(text, "chardev:")) {
        chr = chardev_find(list, text + strlen("chardev:"));
        if (!chr) {
            error_setg(errp, "chardev \"%s\" not found", text + strlen("chardev:"));
        }
        return chr;
    }
    if (g_str_has_prefix(text, "mon:")) {
        return new_shared(list, label, text + strlen("mon:"), errp);
    }
    options = chardev_parse_short(label, text, errp);
    return options ? chardev_new(list, options, errp) : NULL;
}

const char *chardev_need_option(JsonObject *options, const char *backend, const char *key,
                                GError **errp)
{
    const char *value = keyval_get_string(options, key);

    if (!value || !value[0]) {
        error_setg(errp, "chardev: %s: no %s given", backend, key);
        return NULL;
    }
    return value;
}

int chardev_inherited_fd(const char *text, GError **errp)
{
    uint64_t n;

    if (!g_ascii_isdigit(text[0]) || !parse_uint64(text, &n, NULL) || n > INT_MAX ||
        fcntl(n, F_SETFD, FD_CLOEXEC) < 0) {
        error_setg(errp, "Invalid file descriptor number '%s'", text);
        return -1;
    }
    return n;
}

/* ---- front end ---- */

const char *chardev_label(Chardev *chr)
{
    return chr->label;
}

char *chardev_filename(Chardev *chr)
{
    return chr->ops->filename ? chr->ops->filename(chr) : g_strdup(chr->ops->name);
}

ChardevFrontend chardev_frontend(Chardev *chr, void **opaque)
{
    ChardevFrontend fe;

    g_mutex_lock(&chr->lock);
    fe = chr->fe;
    *opaque = chr->fe_opaque;
    g_mutex_unlock(&chr->lock);
    return fe;
}

size_t chardev_front_room(Chardev *chr, ChardevFrontend *fe, void **opaque)
{
    bool ok;

    g_mutex_lock(&chr->lock);
    ok = chr->input_ok;
    *fe = chr->fe;
    *opaque = chr->fe_opaque;
    g_mutex_unlock(&chr->lock);
    if (!ok || !fe->read) {
        return 0;
    }
    return fe->can_read ? MIN(fe->can_read(*opaque), CHARDEV_READ_MAX) : CHARDEV_READ_MAX;
}

void chardev_tell_ready(Chardev *chr)
{
    void *opaque;
    ChardevFrontend fe = chardev_frontend(chr, &opaque);

    if (fe.write_ready) {
        fe.write_ready(opaque);
    }
}

void chardev_report_open(Chardev *chr)
{
    void (*event)(void *opaque, ChrEvent event) = NULL;
    void *opaque = NULL;
    bool tell;

    /* Attaching and connecting may happen at the same time in two threads: one of them tells. */
    g_mutex_lock(&chr->lock);
    tell = chr->open && chr->attached && !chr->told_open;
    if (tell) {
        chr->told_open = true;
        event = chr->fe.event;
        opaque = chr->fe_opaque;
    }
    g_mutex_unlock(&chr->lock);
    if (!tell) {
        return;
    }
    if (event) {
        event(opaque, CHR_EVENT_OPENED);
    }
    g_mutex_lock(&chr->lock);
    if (chr->told_open) {
        chr->input_ok = true;
        chr->paused = false;
        chardev_stream_rearm(chr);
    }
    g_mutex_unlock(&chr->lock);
}

bool chardev_attach(Chardev *chr, const ChardevFrontend *fe, void *opaque, GError **errp)
{
    bool taken;

    g_mutex_lock(&chr->lock);
    taken = chr->attached;
    if (!taken) {
        chr->attached = true;
        chr->fe = *fe;
        chr->fe_opaque = opaque;
    }
    g_mutex_unlock(&chr->lock);
    if (taken) {
        error_setg(errp, "Device '%s' is in use", chr->label);
        return false;
    }
    chardev_report_open(chr);
    return true;
}

void chardev_detach(Chardev *chr)
{
    g_mutex_lock(&chr->lock);
    chr->attached = chr->told_open = chr->input_ok = false;
    memset(&chr->fe, 0, sizeof(chr->fe));
    g_mutex_unlock(&chr->lock);
}

bool chardev_has_frontend(Chardev *chr)
{
    bool has;

    g_mutex_lock(&chr->lock);
    has = chr->attached;
    g_mutex_unlock(&chr->lock);
    return has;
}

bool chardev_is_open(Chardev *chr)
{
    bool open;

    g_mutex_lock(&chr->lock);
    open = chr->open;
    g_mutex_unlock(&chr->lock);
    return open;
}

void chardev_set_context(Chardev *chr, GMainContext *ctx)
{
    g_mutex_lock(&chr->lock);
    g_clear_pointer(&chr->context, g_main_context_unref);
    chr->context = ctx ? g_main_context_ref(ctx) : NULL;
    chardev_stream_rearm(chr);
    g_mutex_unlock(&chr->lock);
}

static void write_log(Chardev *chr, const uint8_t *buf, size_t len)
{
    while (chr->log_fd >= 0 && len) {
        ssize_t n = write(chr->log_fd, buf, len);

        if (n < 0 && errno != EINTR) {
            warn_report("chardev '%s': cannot write the log file: %s", chr->label,
                        g_strerror(errno));
            close(chr->log_fd);
            chr->log_fd = -1;
        } else if (n > 0) {
            buf += n;
            len -= n;
        }
    }
}

static size_t write_common(Chardev *chr, const void *buf, size_t len, bool queue_rest)
{
    g_mutex_lock(&chr->lock);
    if (chr->ops->write) {
        len = chr->ops->write(chr, buf, len, queue_rest);
    } else {
        len = chardev_stream_write(chr, buf, len, queue_rest);
    }
    write_log(chr, buf, len);
    g_mutex_unlock(&chr->lock);
    return len;
}

size_t chardev_write(Chardev *chr, const void *buf, size_t len)
{
    return write_common(chr, buf, len, false);
}

void chardev_write_all(Chardev *chr, const void *buf, size_t len)
{
    write_common(chr, buf, len, true);
}

void chardev_accept_input(Chardev *chr)
{
    g_mutex_lock(&chr->lock);
    if (chr->paused) {
        chr->paused = false;
        chardev_stream_rearm(chr);
    }
    g_mutex_unlock(&chr->lock);
    if (chr->ops->accept_input) {
        chr->ops->accept_input(chr);
    }
}

unsigned chardev_take_fds(Chardev *chr, int *fds, unsigned max)
{
    unsigned n;

    g_mutex_lock(&chr->lock);
    n = MIN(max, chr->fds->len);
    if (n) {
        memcpy(fds, chr->fds->data, n * sizeof(int));
        g_array_remove_range(chr->fds, 0, n);
    }
    g_mutex_unlock(&chr->lock);
    return n;
}

bool chardev_wait_connected(Chardev *chr, GError **errp)
{
    if (chardev_is_open(chr)) {
        return true;
    }
    if (!chr->ops->wait_connected) {
        error_setg(errp, "Chardev '%s' has nobody to wait for", chr->label);
        return false;
    }
    return chr->ops->wait_connected(chr, errp);
}
