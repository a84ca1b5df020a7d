/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include "io/channel-file.h"
#include "io/pipe-end.h"
#include "util/error.h"

struct _QIOChannelFile {
    QIOChannel parent;
    PipeEnd end;        /* a file has one position, so both directions are one end */
    GError *open_error; /* kept for the first use: new_fd() has no way to fail */
    char *target;       /* the name to take in publish(); NULL: it has its name */
    char *temporary;    /* the name until then; NULL: none */
    bool direct;        /* past the page cache */
};

G_DEFINE_TYPE(QIOChannelFile, io_channel_file, TYPE_IO_CHANNEL)

QIOChannelFile *io_channel_file_new_fd(int fd)
{
    QIOChannelFile *f = g_object_new(TYPE_IO_CHANNEL_FILE, NULL);
    g_autofree char *name = g_strdup_printf("file descriptor %d", fd);
    struct stat st;

    io_channel_set_name(IO_CHANNEL(f), name);
    if (!pipe_end_open(&f->end, fd, &f->open_error)) {
        f->end.fd = fd; /* ours all the same: closed with us */
        f->end.shut = true;
        return f;
    }
    if (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
        lseek(fd, 0, SEEK_CUR) >= 0) {
        io_channel_set_feature(IO_CHANNEL(f), IO_FEATURE_SEEKABLE);
        io_channel_set_feature(IO_CHANNEL(f), IO_FEATURE_STORED);
    }
    return f;
}

QIOChannelFile *io_channel_file_new_path(const char *path, int flags, mode_t mode, GError **errp)
{
    QIOChannelFile *f;
    int fd;

    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Unable to open %s", path);
        return NULL;
    }
    f = io_channel_file_new_fd(fd);
    io_channel_set_name(IO_CHANNEL(f), path);
    return f;
}

/* ---- taking the place of another file ---- */

/* May @path be replaced by a new file, and how does that look? @st->st_nlink 0: nothing is there.
 */
static bool replaceable(const char *path, struct stat *st)
{
    if (stat(path, st) < 0) {
        st->st_nlink = 0;
        return errno == ENOENT;
    }
    return S_ISREG(st->st_mode) && st->st_nlink == 1 && access(path, W_OK) == 0;
}

static char *sibling_name(const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);

    return g_strdup_printf("%s/.godwit-%08x%08x", dir, g_random_int(), g_random_int());
}

/* A file without a name where the file system can, else one with a name of its own. */
static int open_unnamed(const char *path, mode_t mode, char **temporary)
{
    g_autofree char *dir = g_path_get_dirname(path);
    int fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);

    for (unsigned tries = 0; fd < 0 && tries < 8; tries++) {
        g_free(*temporary);
        *temporary = sibling_name(path);
        fd = open(*temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST) {
            break;
        }
    }
    return fd;
}

QIOChannelFile *io_channel_file_new_replacing(const char *path, mode_t mode)
{
    g_autofree char *real = realpath(path, NULL);
    g_autofree char *temporary = NULL;
    QIOChannelFile *f;
    struct stat st;
    int fd;

    if (!replaceable(path, &st)) {
        return NULL;
    }
    fd = open_unnamed(real ? real : path, mode, &temporary);
    if (fd < 0) {
        return NULL;
    }
    if (st.st_nlink && (fchown(fd, st.st_uid, st.st_gid) < 0 || fchmod(fd, st.st_mode) < 0)) {
        close(fd);
        if (temporary) {
            unlink(temporary);
        }
        return NULL;
    }
    f = io_channel_file_new_fd(fd);
    io_channel_set_name(IO_CHANNEL(f), path);
    f->target = g_strdup(real ? real : path);
    f->temporary = g_steal_pointer(&temporary);
    return f;
}

static bool link_as(QIOChannelFile *f, const char *name)
{
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", f->end.fd);

    return linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
}

/* Where nothing is to be replaced there is no second name that a kill could leave behind. */
static bool take_name(QIOChannelFile *f)
{
    if (!f->temporary && link_as(f, f->target)) {
        return true;
    }
    for (unsigned tries = 0; !f->temporary && tries < 8; tries++) {
        g_autofree char *name = sibling_name(f->target);

        if (link_as(f, name)) {
            f->temporary = g_steal_pointer(&name);
        } else if (errno != EEXIST) {
            break;
        }
    }
    return f->temporary && rename(f->temporary, f->target) == 0;
}

static bool file_publish(QIOChannel *ioc, GError **errp)
{
    QIOChannelFile *f = IO_CHANNEL_FILE(ioc);

    if (f->direct && fdatasync(f->end.fd) < 0) {
        error_setg_errno(errp, errno, "Unable to write to file");
        return false;
    }
    if (!f->target) {
        return true;
    }
    if (!take_name(f)) {
        error_setg_errno(errp, errno, "Unable to replace '%s' by what was written", f->target);
        return false;
    }
    g_clear_pointer(&f->temporary, g_free);
    g_clear_pointer(&f->target, g_free);
    return true;
}

QIOChannelFile *io_channel_file_dup(QIOChannelFile *f, GError **errp)
{
    int fd = fcntl(f->end.fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Unable to duplicate a descriptor");
        return NULL;
    }
    return io_channel_file_new_fd(fd);
}

QIOChannelFile *io_channel_file_reopen(QIOChannelFile *f, int flags, GError **errp)
{
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", f->end.fd);
    QIOChannelFile *other = io_channel_file_new_path(self, flags, 0, errp);

    if (other) {
        io_channel_set_name(IO_CHANNEL(other), io_channel_name(IO_CHANNEL(f)));
        f->direct |= (flags & O_DIRECT) != 0;
    }
    return other;
}

/* ---- transfers ---- */

static bool usable(QIOChannelFile *f, GError **errp)
{
    if (f->open_error) {
        if (errp) {
            *errp = g_error_copy(f->open_error);
        }
        return false;
    }
    return true;
}

static ssize_t file_readv(QIOChannel *ioc, const struct iovec *iov, unsigned n, int **fds,
                          size_t *nfds, GError **errp)
{
    QIOChannelFile *f = IO_CHANNEL_FILE(ioc);

    return usable(f, errp) ? pipe_end_readv(&f->end, iov, n, errp) : IO_CHANNEL_ERR;
}

static ssize_t file_writev(QIOChannel *ioc, const struct iovec *iov, unsigned n, const int *fds,
                           size_t nfds, int flags, GError **errp)
{
    QIOChannelFile *f = IO_CHANNEL_FILE(ioc);

    return usable(f, errp) ? pipe_end_writev(&f->end, iov, n, errp) : IO_CHANNEL_ERR;
}

/* Positioned calls never block for long, so shutdown only has to stop the next one. */
static ssize_t file_positioned(QIOChannelFile *f, const struct iovec *iov, unsigned n, off_t off,
                               bool writing, GError **errp)
{
    const char *verb = writing ? "write to" : "read from";
    ssize_t done;

    if (__atomic_load_n(&f->end.shut, __ATOMIC_ACQUIRE)) {
        error_setg_errno(errp, EPIPE, "Unable to %s file", verb);
        return IO_CHANNEL_ERR;
    }
    do {
        done = writing ? pwritev(f->end.fd, iov, n, off) : preadv(f->end.fd, iov, n, off);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        error_setg_errno(errp, errno, "Unable to %s file at offset %jd", verb, (intmax_t)off);
        return IO_CHANNEL_ERR;
    }
    return done;
}

static ssize_t file_preadv(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                           GError **errp)
{
    return file_positioned(IO_CHANNEL_FILE(ioc), iov, n, off, false, errp);
}

static ssize_t file_pwritev(QIOChannel *ioc, const struct iovec *iov, unsigned n, off_t off,
                            GError **errp)
{
    return file_positioned(IO_CHANNEL_FILE(ioc), iov, n, off, true, errp);
}

static off_t file_seek(QIOChannel *ioc, off_t off, int whence, GError **errp)
{
    off_t pos = lseek(IO_CHANNEL_FILE(ioc)->end.fd, off, whence);

    if (pos < 0) {
        error_setg_errno(errp, errno, "Unable to seek to offset %jd in file", (intmax_t)off);
    }
    return pos;
}

static bool file_set_blocking(QIOChannel *ioc, bool blocking, GError **errp)
{
    IO_CHANNEL_FILE(ioc)->end.blocking = blocking;
    return true;
}

static void file_shutdown(QIOChannel *ioc, IOShutdown how)
{
    pipe_end_shutdown(&IO_CHANNEL_FILE(ioc)->end);
}

static bool file_close(QIOChannel *ioc, GError **errp)
{
    QIOChannelFile *f = IO_CHANNEL_FILE(ioc);

    if (f->temporary) {
        unlink(f->temporary);
        g_clear_pointer(&f->temporary, g_free);
    }
    return pipe_end_close(&f->end, errp);
}

static bool file_wait(QIOChannel *ioc, GIOCondition cond, int timeout_ms)
{
    return pipe_end_wait(&IO_CHANNEL_FILE(ioc)->end, cond, timeout_ms);
}

static GSource *file_create_watch(QIOChannel *ioc, GIOCondition cond)
{
    FdWatch w[2];

    pipe_end_watches(&IO_CHANNEL_FILE(ioc)->end, cond, w);
    return io_fd_watch_new(ioc, cond, w, 2);
}

static void io_channel_file_finalize(GObject *obj)
{
    QIOChannelFile *f = IO_CHANNEL_FILE(obj);

    if (f->temporary) {
        unlink(f->temporary);
    }
    g_free(f->temporary);
    g_free(f->target);
    pipe_end_destroy(&f->end);
    g_clear_error(&f->open_error);
    G_OBJECT_CLASS(io_channel_file_parent_class)->finalize(obj);
}

static void io_channel_file_class_init(QIOChannelFileClass *klass)
{
    QIOChannelClass *k = IO_CHANNEL_CLASS(klass);

    G_OBJECT_CLASS(klass)->finalize = io_channel_file_finalize;
    k->readv = file_readv;
    k->writev = file_writev;
    k->preadv = file_preadv;
    k->pwritev = file_pwritev;
    k->seek = file_seek;
    k->set_blocking = file_set_blocking;
    k->shutdown = file_shutdown;
    k->close = file_close;
    k->publish = file_publish;
    k->wait = file_wait;
    k->create_watch = file_create_watch;
    /* A reader that went away is an error of the writer, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
}

static void io_channel_file_init(QIOChannelFile *f)
{
    pipe_end_init(&f->end, "file");
}
