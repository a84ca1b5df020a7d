/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors handed over by clients: named ones (getfd) and fd-sets (add-fd); spec 70 section 14.
 */
#include "util/osdep.h"
#include <fcntl.h>
#include "monitor/internal.h"

typedef struct {
    int64_t id;
    int fd;
    char *opaque;
} Member;

struct FdStore {
    GMutex lock;
    GHashTable *named; /* name -> descriptor */
    GArray *members;   /* Member, by set id, then age. A set exists while it has members. */
};

static void close_value(void *value)
{
    close(GPOINTER_TO_INT(value));
}

static void member_clear(void *data)
{
    Member *m = data;

    close(m->fd);
    g_free(m->opaque);
}

FdStore *fd_store_new(void)
{
    FdStore *s = g_new0(FdStore, 1);

    g_mutex_init(&s->lock);
    s->named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_value);
    s->members = g_array_new(FALSE, FALSE, sizeof(Member));
    g_array_set_clear_func(s->members, member_clear);
    return s;
}

void fd_store_free(FdStore *s)
{
    if (s) {
        g_hash_table_unref(s->named);
        g_array_unref(s->members);
        g_mutex_clear(&s->lock);
        g_free(s);
    }
}

bool fd_store_put(FdStore *s, const char *name, int fd, GError **errp)
{
    if (g_ascii_isdigit(*name) || !*name) {
        close(fd);
        error_setg(errp, "Parameter 'fdname' expects a name not starting with a digit");
        return false;
    }
    g_mutex_lock(&s->lock);
    g_hash_table_replace(s->named, g_strdup(name), GINT_TO_POINTER(fd));
    g_mutex_unlock(&s->lock);
    return true;
}

int fd_store_take(FdStore *s, const char *name, GError **errp)
{
    g_autofree char *key = NULL;
    void *value = NULL;

    g_mutex_lock(&s->lock);
    bool found = g_hash_table_steal_extended(s->named, name, (void **)&key, &value);

    g_mutex_unlock(&s->lock);
    if (!found) {
        error_setg(errp, "File descriptor named '%s' has not been found", name);
        return -1;
    }
    return GPOINTER_TO_INT(value);
}

static int64_t free_set_id(FdStore *s)
{
    int64_t id = 0;

    for (unsigned i = 0; i < s->members->len; i++) {
        Member *m = &g_array_index(s->members, Member, i);

        if (m->id > id) {
            break;
        }
        id = m->id + 1;
    }
    return id;
}

int64_t fd_store_set_add(FdStore *s, int64_t id, int fd, const char *opaque, GError **errp)
{
    if (id < -1) {
        close(fd);
        error_setg(errp, "Parameter 'fdset-id' expects a non-negative value");
        return -1;
    }
    g_mutex_lock(&s->lock);
    Member m = {id < 0 ? free_set_id(s) : id, fd, g_strdup(opaque)};
    unsigned at = 0;

    while (at < s->members->len && g_array_index(s->members, Member, at).id <= m.id) {
        at++;
    }
    g_array_insert_val(s->members, at, m);
    g_mutex_unlock(&s->lock);
    return m.id;
}

bool fd_store_set_remove(FdStore *s, int64_t id, int fd, GError **errp)
{
    bool found = false;

    g_mutex_lock(&s->lock);
    for (unsigned i = s->members->len; i-- > 0;) {
        Member *m = &g_array_index(s->members, Member, i);

        if (m->id == id && (fd < 0 || m->fd == fd)) {
            g_array_remove_index(s->members, i);
            found = true;
        }
    }
    g_mutex_unlock(&s->lock);
    if (!found) {
        g_autofree char *which = fd < 0 ? g_strdup_printf("fdset-id:%" PRId64, id)
                                        : g_strdup_printf("fdset-id:%" PRId64 ", fd:%d", id, fd);

        error_setg(errp, "File descriptor named '%s' not found", which);
    }
    return found;
}

int fd_store_set_open(FdStore *s, int64_t id, int flags, GError **errp)
{
    const int wanted = O_ACCMODE | O_DIRECT;
    int error = ENOENT;
    int fd = -1;

    g_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->members->len && fd < 0; i++) {
        Member *m = &g_array_index(s->members, Member, i);
        int have = m->id == id ? fcntl(m->fd, F_GETFL) : -1;

        if (m->id != id) {
            continue;
        }
        error = EACCES;
        if (have >= 0 && (have & wanted) == (flags & wanted)) {
            fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
            error = errno;
        }
    }
    g_mutex_unlock(&s->lock);
    if (fd < 0) {
        error_setg_errno(errp, error, "Could not open '/dev/fdset/%" PRId64 "'", id);
    }
    return fd;
}

void fd_store_foreach(FdStore *s, void (*cb)(const FdsetMember *m, void *opaque), void *opaque)
{
    g_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->members->len; i++) {
        Member *m = &g_array_index(s->members, Member, i);
        FdsetMember view = {m->id, m->fd, m->opaque};

        cb(&view, opaque);
    }
    g_mutex_unlock(&s->lock);
}
