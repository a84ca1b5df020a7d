/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x-adaptive's judgement, in simulated time: a machine that codes so fast, a line that takes so
 * much behind a socket's buffer. Pages that get through are compared with the best fixed step.
 */
#include "migration/multifd/choice.h"
#include "util/error.h"

#define PACKET   (512.0 * 1024)
#define BATCH    2
#define BUFFER   (4.0 * 1024 * 1024)
#define WRITE_US 0.0003 /* to copy a byte into the buffer */

typedef struct {
    const char *name;
    CodecStep step[CODEC_STEPS]; /* what is true */
    double line;                 /* bytes per us */
    double later;                /* the line's rate after half of the time */
    uint64_t limit;
} World;

typedef struct {
    double now, buffered, seen; /* us, bytes in the buffer at time seen */
    double rate;
} Line;

static void drain(Line *l)
{
    l->buffered = MAX(l->buffered - (l->now - l->seen) * l->rate, 0);
    l->seen = l->now;
}

/* Time passes until all is in the buffer. */
static void write_out(Line *l, double bytes)
{
    double wait;

    l->now += bytes * WRITE_US;
    drain(l);
    l->buffered += bytes;
    wait = (l->buffered - BUFFER) / l->rate;
    if (wait > 0) {
        l->now += wait;
        drain(l);
    }
}

/* Bytes of pages per us over @us. @fixed: a step, -1: chosen. */
static double run(const World *w, int fixed, double us)
{
    /* From the middle on: how it starts is another matter. */
    double begin_pages = 0, begin_us = 0, pages = 0;
    double line = w->limit ? MIN(w->line, w->limit / 1e6) : w->line;
    Line l = {.rate = line};
    CodecChoice c;

    codec_choice_init(&c);
    while (l.now < us) {
        double out = 0, before;

        if (w->later && l.now > us / 4) {
            l.rate = w->later;
        }
        for (unsigned i = 0; i < BATCH; i++) {
            unsigned step = fixed < 0 ? codec_choice_next(&c) : (unsigned)fixed;
            const CodecStep *s = &w->step[step];

            l.now += PACKET * s->us;
            out += PACKET * s->ratio;
            if (step && fixed < 0) {
                codec_choice_coded(&c, step, PACKET, PACKET * s->ratio, PACKET * s->us);
            }
        }
        before = l.now;
        write_out(&l, out);
        if (fixed < 0) {
            codec_choice_sent(&c, BATCH * PACKET, out, l.now - before, w->limit);
        }
        pages += BATCH * PACKET;
        if (!begin_us && l.now > us / 2) {
            begin_us = l.now;
            begin_pages = pages;
        }
    }
    return (pages - begin_pages) / (l.now - begin_us);
}

#define FAST_CPU                                                                              \
    {                                                                                         \
        {0, 1}, {0.0010, 0.60}, {0.0025, 0.45}, {0.0040, 0.42}, {0.012, 0.39}, {0.025, 0.37}, \
    }
#define SLOW_CPU                                                                              \
    {                                                                                         \
        {0, 1}, {0.0080, 0.60}, {0.0180, 0.45}, {0.0300, 0.42}, {0.080, 0.39}, {0.160, 0.37}, \
    }
#define SMALL_GAIN                                                                            \
    {                                                                                         \
        {0, 1}, {0.0012, 0.93}, {0.0030, 0.90}, {0.0060, 0.88}, {0.014, 0.87}, {0.030, 0.86}, \
    }
#define EMPTY_PAGES                                                                           \
    {                                                                                         \
        {0, 1}, {0.0004, 0.03}, {0.0006, 0.02}, {0.0009, 0.02}, {0.002, 0.02}, {0.003, 0.02}, \
    }

static const World worlds[] = {
    {"slow-line", FAST_CPU, 5, 0, 0},
    {"100-mb/s", FAST_CPU, 100, 0, 0},
    {"300-mb/s", FAST_CPU, 300, 0, 0},
    {"1-gb/s", FAST_CPU, 1000, 0, 0},
    {"memory", FAST_CPU, 5000, 0, 0},
    {"slow-cpu/10-mb/s", SLOW_CPU, 10, 0, 0},
    {"slow-cpu/100-mb/s", SLOW_CPU, 100, 0, 0},
    {"slow-cpu/1-gb/s", SLOW_CPU, 1000, 0, 0},
    {"small-gain/50-mb/s", SMALL_GAIN, 50, 0, 0},
    {"small-gain/1-gb/s", SMALL_GAIN, 1000, 0, 0},
    {"empty/10-mb/s", EMPTY_PAGES, 10, 0, 0},
    {"empty/1-gb/s", EMPTY_PAGES, 1000, 0, 0},
    {"faster-later", FAST_CPU, 5, 2000, 0},
    {"slower-later", FAST_CPU, 2000, 5, 0},
    {"limited", FAST_CPU, 5000, 0, 20000000},
};

static void test_as_good_as_fixed(gconstpointer opaque)
{
    const World *w = opaque;
    double chosen = run(w, -1, 2e7), best = 0;

    for (int step = 0; step < CODEC_STEPS; step++) {
        best = MAX(best, run(w, step, 2e7));
    }
    g_test_message("chosen %.1f MB/s, best fixed %.1f", chosen, best);
    g_assert_cmpfloat(chosen, >, 0.88 * best);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(worlds); i++) {
        g_autofree char *path = g_strdup_printf("/multifd-choice/%s", worlds[i].name);

        g_test_add_data_func(path, &worlds[i], test_as_good_as_fixed);
    }
    return g_test_run();
}
