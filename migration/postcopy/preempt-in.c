/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The destination's half of preempt.h. */
#include "migration/postcopy/preempt.h"
#include "util/thread.h"

struct PreemptReceiver {
    PostcopyLoader *loader;
    QEMUFile *f;
    void (*ended)(GError *err, void *opaque);
    void *opaque;
    GThread *thread;
};

static gpointer receiver_thread(gpointer opaque)
{
    PreemptReceiver *r = opaque;
    GError *err = NULL;

    thread_prompt();
    if (!postcopy_loader_run(r->loader, r->f, &err)) {
        g_prefix_error(&err, "On the channel for urgent pages: ");
    }
    r->ended(err, r->opaque);
    return NULL;
}

static void receiver_free(PreemptReceiver *r)
{
    postcopy_loader_free(r->loader);
    qemu_fclose(r->f, NULL);
    g_free(r);
}

PreemptReceiver *preempt_receiver_start(PostcopyDestination *d, QIOChannel *ioc,
                                        void (*ended)(GError *err, void *opaque), void *opaque,
                                        GError **errp)
{
    PreemptReceiver *r = g_new0(PreemptReceiver, 1);

    io_channel_set_blocking(ioc, true, NULL);
    r->f = qemu_file_new_input(ioc);
    r->ended = ended;
    r->opaque = opaque;
    r->loader = postcopy_destination_new_loader(d, false, errp);
    r->thread = r->loader ? g_thread_try_new("preempt", receiver_thread, r, errp) : NULL;
    if (!r->thread) {
        receiver_free(r);
        return NULL;
    }
    return r;
}

void preempt_receiver_stop(PreemptReceiver *r)
{
    if (r) {
        qemu_file_shutdown(r->f);
        g_thread_join(r->thread);
        receiver_free(r);
    }
}
