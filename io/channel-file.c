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
    return pipe_end_close(&IO_CHANNEL_FILE(ioc)->end, errp);
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
    k->wait = file_wait;
    k->create_watch = file_create_watch;
    /* A reader that went away is an error of the writer, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
}

static void io_channel_file_init(QIOChannelFile *f)
{
    pipe_end_init(&f->end, "file");
}
