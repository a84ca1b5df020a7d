/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x-auto-postcopy: the switch to postcopy without anybody asking for it. It is made when the
 * forecast has said for a while, and not only once, that precopy will not come to an end, and when
 * nothing is left that could still slow the guest down.
 */
#include "migration/outgoing.h"
#include "migration/postcopy/source.h"

#define ASK_EVERY_US RATE_WINDOW_US
/* Verdicts waver while rates are new. */
#define PATIENCE_US (2 * G_USEC_PER_SEC)

/* All memory has been sent once, and the guest is as slow as it gets. */
static bool has_had_its_chance(const MigrationState *s)
{
    const MigrationCounters *c = &s->m->counters;
    const MigrationOptions *o = &s->m->options;

    return stat_get(&c->dirty_sync_count) > 1 &&
           (!options_cap(o, MIGRATION_CAPABILITY_AUTO_CONVERGE) ||
            stat_get(&c->throttle_percent) >= options_param(o, PARAM_MAX_CPU_THROTTLE));
}

static bool is_hopeless(MigrationState *s)
{
    g_autoptr(MigrationForecast) f = stats_forecast(s);

    return f && f->verdict == MIGRATION_VERDICT_WILL_NOT_CONVERGE && has_had_its_chance(s);
}

void postcopy_auto_consider(MigrationState *s)
{
    PostcopySource *p = &s->postcopy;
    int64_t now = g_get_monotonic_time();
    g_autoptr(GError) err = NULL;

    if (now < p->ask_us || !options_cap(&s->m->options, MIGRATION_CAPABILITY_X_AUTO_POSTCOPY) ||
        __atomic_load_n(&p->wanted, __ATOMIC_RELAXED)) {
        return;
    }
    p->ask_us = now + ASK_EVERY_US;
    if (!is_hopeless(s)) {
        p->hopeless_us = 0;
        return;
    }
    p->hopeless_us = p->hopeless_us ? p->hopeless_us : now;
    if (now - p->hopeless_us < PATIENCE_US) {
        return;
    }
    recorder_note(s->m->source_record, "precopy will not come to an end: postcopy");
    if (!postcopy_source_start(s, &err)) {
        recorder_error(s->m->source_record, err->message);
        p->ask_us = INT64_MAX;
    }
}
