/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model. A pass that sends R bytes takes R / bandwidth, and in that time the guest dirties
 *
 *     R' = dirty * R / bandwidth        but no more than all, and of what is hot no more than there
 *                                       is of it
 *
 * which the next pass has to send. It ends when R' fits into the downtime limit. Rates are measured
 * and waver, so this is played twice: once with luck and once without.
 */
#include "migration/forecast.h"

/* By how much rates may be better or worse than measured. */
#define LUCK 1.3
/* Rates are of the last window; and the guest may be stopped while the rest is being sent. */
#define WINDOW_MS 100
/* A thread that computes so much of the time is what limits, not the line. */
#define BUSY_PERCENT 70
/* Nobody waits for more passes. */
#define MAX_PASSES 200

typedef struct {
    bool ends;
    double seconds, downtime;
} Outcome;

/* For memory, in bytes; less than none if devices alone take too long. */
static double budget(const ForecastInput *in, double bandwidth)
{
    return bandwidth * (double)in->downtime_limit_ms / 1000 - in->stopped;
}

/* What becomes dirty in @seconds; everything goes @luck times better than measured. */
static double dirtied(const ForecastInput *in, double seconds, double luck)
{
    double hot = (in->dirty - in->cold) / luck * seconds, cold = in->cold / luck * seconds;

    return MIN(in->hot > 0 ? MIN(hot, in->hot * MAX(1 / luck, 1)) + cold
                           : in->dirty / luck * seconds,
               in->total);
}

static Outcome play(const ForecastInput *in, double luck)
{
    double bandwidth = in->bandwidth * luck;
    double left = in->pending;
    Outcome o = {0};

    if (in->max_bandwidth) {
        bandwidth = MIN(bandwidth, (double)in->max_bandwidth);
    }
    for (unsigned pass = 0; pass < MAX_PASSES; pass++) {
        double seconds = left / bandwidth, next;

        if (left <= budget(in, bandwidth)) {
            o.ends = true;
            o.downtime = seconds + in->stopped / bandwidth;
            return o;
        }
        next = dirtied(in, seconds, luck);
        o.seconds += seconds;
        if (next >= left * 0.98 && pass > 1) {
            return o; /* no smaller than before: it stays like that */
        }
        left = next;
    }
    return o;
}

/* ---- what would help ---- */

static void advise(MigrationForecast *f, MigrationRemedy remedy, double value)
{
    MigrationAdvice *a = g_new0(MigrationAdvice, 1);

    a->remedy = remedy;
    a->value = (uint64_t)value + 1;
    g_ptr_array_add(f->remedies, a);
}

/* What is left however many passes there are. */
static double residue(const ForecastInput *in)
{
    if (in->hot > 0 && in->cold * LUCK < in->bandwidth) {
        return in->hot + in->cold;
    }
    return in->dirty * LUCK >= in->bandwidth ? in->total : in->dirty;
}

/* Each remedy alone, with some room: half of what is sent may be dirtied meanwhile. */
static void add_remedies(MigrationForecast *f, const ForecastInput *in)
{
    double stays = residue(in), last = stays + in->stopped;
    double limit = (double)in->downtime_limit_ms / 1000;
    double excess = in->dirty / (in->bandwidth / 2);

    if (in->max_bandwidth && in->bandwidth > 0.8 * (double)in->max_bandwidth) {
        double need = 2 * in->dirty;

        advise(f, MIGRATION_REMEDY_MAX_BANDWIDTH,
               in->stopped > 0 && limit > 0 ? MAX(need, LUCK * last / limit)
               : limit > 0                  ? MIN(need, LUCK * stays / limit)
                                            : need);
    }
    if (LUCK * last / in->bandwidth < 2000) {
        advise(f, MIGRATION_REMEDY_DOWNTIME_LIMIT, LUCK * last / in->bandwidth * 1000);
    }
    if (!in->auto_converge && excess > 1 && excess < 50) {
        advise(f, MIGRATION_REMEDY_AUTO_CONVERGE, 100 * (1 - 1 / excess));
    }
    if (!in->auto_converge && !in->dirty_limit && in->vcpus && excess > 1) {
        advise(f, MIGRATION_REMEDY_DIRTY_LIMIT, in->bandwidth / 2 / in->vcpus / MiB);
    }
    if (!in->multifd && in->busy_percent >= BUSY_PERCENT && excess > 1 && excess <= in->host_cpus) {
        advise(f, MIGRATION_REMEDY_MULTIFD, excess);
    }
    if (!in->postcopy && in->stopped <= 0) {
        advise(f, MIGRATION_REMEDY_POSTCOPY, in->total / in->bandwidth * 1000);
    }
    if (!in->xbzrle && excess > 1) {
        advise(f, MIGRATION_REMEDY_XBZRLE, excess);
    }
}

MigrationForecast *migration_forecast(const ForecastInput *in)
{
    MigrationForecast *f;
    Outcome good, bad;

    if (in->bandwidth < 1) {
        return NULL;
    }
    good = play(in, LUCK);
    bad = play(in, 1 / LUCK);
    f = g_new0(MigrationForecast, 1);
    f->verdict = bad.ends    ? MIGRATION_VERDICT_CONVERGING
                 : good.ends ? MIGRATION_VERDICT_BORDERLINE
                             : MIGRATION_VERDICT_WILL_NOT_CONVERGE;
    f->remedies = qapi_list_new_MigrationAdvice();
    if (good.ends) {
        f->has_time_left_min = true;
        f->time_left_min =
            (uint64_t)MAX(good.seconds * 1000 - in->downtime_limit_ms - WINDOW_MS, 0);
    }
    if (bad.ends) {
        f->has_time_left_max = true;
        f->time_left_max = (uint64_t)((bad.seconds + bad.downtime) * 1000) + WINDOW_MS;
        f->has_downtime = true;
        f->downtime = (uint64_t)(MAX(good.downtime, bad.downtime) * 1000) + 1;
    } else {
        add_remedies(f, in);
    }
    return f;
}
