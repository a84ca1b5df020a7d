/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ThreadSanitizer builds only.  The distribution's GLib is not instrumented and its GMutex, GCond
 * and once-initialisation are bare futexes, so the sanitizer sees neither the lock nor the order it
 * makes and reports every use as a race.  These wrappers stand in front of GLib's functions and
 * tell it.
 */
#include <dlfcn.h>
#include <glib-object.h>

void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
const char *__tsan_default_suppressions(void);

/* The function behind ours. */
#define NEXT(fn)                                                          \
    ({                                                                    \
        static __typeof__(&(fn)) next_;                                   \
        __typeof__(next_) n_ = __atomic_load_n(&next_, __ATOMIC_RELAXED); \
        if (!n_) {                                                        \
            n_ = (__typeof__(next_))dlsym(RTLD_NEXT, #fn);                \
            __atomic_store_n(&next_, n_, __ATOMIC_RELAXED);               \
        }                                                                 \
        n_;                                                               \
    })

void g_mutex_lock(GMutex *m)
{
    NEXT(g_mutex_lock)(m);
    __tsan_acquire(m);
}

gboolean g_mutex_trylock(GMutex *m)
{
    gboolean got = NEXT(g_mutex_trylock)(m);

    if (got) {
        __tsan_acquire(m);
    }
    return got;
}

void g_mutex_unlock(GMutex *m)
{
    __tsan_release(m);
    NEXT(g_mutex_unlock)(m);
}

void g_cond_wait(GCond *c, GMutex *m)
{
    __tsan_release(m);
    NEXT(g_cond_wait)(c, m);
    __tsan_acquire(m);
}

gboolean g_cond_wait_until(GCond *c, GMutex *m, gint64 end_time)
{
    gboolean woken;

    __tsan_release(m);
    woken = NEXT(g_cond_wait_until)(c, m, end_time);
    __tsan_acquire(m);
    return woken;
}

/* These two are pthread objects, but locked from within the library. */
void g_rec_mutex_lock(GRecMutex *m)
{
    NEXT(g_rec_mutex_lock)(m);
    __tsan_acquire(m);
}

void g_rec_mutex_unlock(GRecMutex *m)
{
    __tsan_release(m);
    NEXT(g_rec_mutex_unlock)(m);
}

void g_rw_lock_reader_lock(GRWLock *l)
{
    NEXT(g_rw_lock_reader_lock)(l);
    __tsan_acquire(l);
}

void g_rw_lock_reader_unlock(GRWLock *l)
{
    __tsan_release(l);
    NEXT(g_rw_lock_reader_unlock)(l);
}

void g_rw_lock_writer_lock(GRWLock *l)
{
    NEXT(g_rw_lock_writer_lock)(l);
    __tsan_acquire(l);
}

void g_rw_lock_writer_unlock(GRWLock *l)
{
    __tsan_release(l);
    NEXT(g_rw_lock_writer_unlock)(l);
}

#undef g_once_init_leave
void g_once_init_leave(volatile void *location, gsize result)
{
    __tsan_release((void *)location);
    NEXT(g_once_init_leave)(location, result);
}

/* Sources carry what their creator wrote to the thread that runs the context. */
static char handover;

guint g_source_attach(GSource *source, GMainContext *context)
{
    __tsan_release(&handover);
    return NEXT(g_source_attach)(source, context);
}

static gint tsan_poll(GPollFD *fds, guint n, gint timeout)
{
    gint ret = g_poll(fds, n, timeout);

    __tsan_acquire(&handover);
    return ret;
}

GMainContext *g_main_context_new(void)
{
    GMainContext *ctx = NEXT(g_main_context_new)();

    g_main_context_set_poll_func(ctx, tsan_poll);
    return ctx;
}

__attribute__((constructor)) static void watch_default_context(void)
{
    g_main_context_set_poll_func(NULL, tsan_poll);
}

/* A class is initialised by whoever makes the first object of it. */
static char classes;

gpointer g_object_new(GType type, const gchar *first, ...)
{
    va_list ap;
    gpointer obj;

    __tsan_acquire(&classes);
    va_start(ap, first);
    obj = g_object_new_valist(type, first, ap);
    va_end(ap);
    __tsan_release(&classes);
    return obj;
}

/* What GLib allocates in one thread and frees in another is ordered by locks of its own, which stay
 * invisible; GTask's worker threads likewise. read_same() of migration/ram/zero.c and
 * socket_writev() of io/channel-socket.c read guest memory that a device may be writing: whatever
 * they get of it is dirty afterwards, and sent again. */
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libglib-2.0.so\n"
           "race:libgio-2.0.so\n"
           "race:^read_same$\n"
           "race:^socket_writev$\n";
}
