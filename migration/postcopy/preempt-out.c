/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source's half of preempt.h. */
#include "migration/outgoing.h"
#include "migration/postcopy/preempt.h"

static bool wanted(const Migration *m)
{
    return options_cap(&m->options, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT);
}

bool preempt_possible(const Migration *m, const MigrationTransport *t, GError **errp)
{
    if (wanted(m) && !(transport_flags(t) & TRANSPORT_MULTI_CHANNEL)) {
        error_setg(errp, "Postcopy preempt is not supported as current migration stream does not "
                         "support multi-channels.");
        return false;
    }
    return wanted(m);
}

static void opened(GPtrArray *channels, GError *err, void *opaque)
{
    MigrationState *s = opaque;
    PostcopySource *p = &s->postcopy;
    QEMUFile *urgent = NULL;

    p->opening = NULL;
    if (channels) {
        urgent = qemu_file_new_output(g_ptr_array_index(channels, 0));
        g_ptr_array_unref(channels);
    } else {
        g_prefix_error(&err, "Channel for urgent pages: ");
    }
    p->opened(s, g_steal_pointer(&p->main), urgent, err);
}

void preempt_open(MigrationState *s, const MigrationTransport *t, QIOChannel *main,
                  PreemptOpened *then)
{
    PostcopySource *p = &s->postcopy;
    g_autoptr(GPtrArray) to = g_ptr_array_new();
    GError *err = NULL;

    if (!preempt_possible(s->m, t, &err)) {
        then(s, main, NULL, err);
        return;
    }
    p->opened = then;
    p->main = main;
    g_ptr_array_add(to, (void *)t);
    p->opening = channels_open(to, s->host, 1, NULL, opened, s, &err);
    if (!p->opening) {
        then(s, g_steal_pointer(&p->main), NULL, err);
    }
}

bool preempt_open_cancel(MigrationState *s)
{
    bool opening = s->postcopy.opening;

    channels_open_cancel(g_steal_pointer(&s->postcopy.opening));
    g_clear_object(&s->postcopy.main);
    return opening;
}
