/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/multifd/choice.h"
#include "util/error.h"

/* Judge after so much work: long enough to see whether the line keeps us waiting. */
#define JUDGE_US 50000
/* Or, if it is a limit that keeps us idle, after so many bytes of pages. */
#define JUDGE_BYTES (2.0 * MiB)
/* Another step has to promise so much to be worth the change. */
#define WORTH_IT 0.92
/* The line keeps us waiting: writing took more than so many times what it takes by itself, and that
 * share of the time. */
#define SLOW_WRITE    2.0
#define WAITING_SHARE 0.2
/* ... nor what any write may take. */
#define WRITE_CALL_US 20.0
/* A line that does not keep us waiting is believed to be faster by this. */
#define BELIEF 1.12
/* A line that keeps us waiting is not believed to be faster than it was just now, but for this. */
#define SURPRISE 1.2
/* So many judgements in a row are needed to turn from plain bytes: a receiver that was not given a
 * processor for a moment looks like a slow line, and coding would only take more of them. */
#define PLAIN_PATIENCE 3
/* A change has to prove itself: judgements until the verdict, the share of what got through before
 * that has to get through, and judgements for which the next has to wait when it has failed. */
#define TRIAL       3
#define NOT_WORSE   0.97
#define HOLD_MIN    8
#define HOLD_MAX    256
#define PROBE_SHARE 50
/* The weight of a new measurement. */
#define NEWS 0.25

const int codec_step_level[CODEC_STEPS] = {0, -5, 1, 3, 6, 9};

void codec_choice_init(CodecChoice *c)
{
    /* Of programs and their data on an ordinary core, until it is known better. */
    static const CodecStep guess[CODEC_STEPS] = {
        {0, 1}, {0.0014, 0.60}, {0.0026, 0.45}, {0.0045, 0.42}, {0.015, 0.39}, {0.030, 0.38},
    };

    *c = (CodecChoice){.next_hold = HOLD_MIN};
    memcpy(c->step, guess, sizeof(guess));
}

/* us that a byte of pages takes at @step. */
static double cost(const CodecChoice *c, unsigned step)
{
    const CodecStep *s = &c->step[step];
    double work = s->us + s->ratio * c->write_us;
    double line = c->line;

    if (c->limit && (!line || c->limit < line)) {
        line = c->limit;
    }
    return line ? MAX(work, s->ratio / line) : work;
}

static void learn(double *value, double news, double weight)
{
    *value += (news - *value) * weight;
}

/* The step in use was new: is it better, whatever was expected? If not, back. */
static void end_trial(CodecChoice *c)
{
    if (c->rate < c->rate_before * NOT_WORSE) {
        c->now = c->before;
        c->rate = c->rate_before;
        c->hold = c->next_hold;
        c->next_hold = MIN(2 * c->next_hold, HOLD_MAX);
    } else {
        c->next_hold = HOLD_MIN;
    }
}

static void change(CodecChoice *c, unsigned step)
{
    c->before = c->now;
    c->rate_before = c->rate;
    c->rate = 0;
    c->now = step;
    c->doubts = 0;
    c->trial = TRIAL;
}

/* @rate: page bytes per us since the last time. */
static void judge(CodecChoice *c, double rate)
{
    unsigned best = c->now;

    if (c->trial == TRIAL) {
        c->trial--; /* buffers still have to get used to it */
        return;
    }
    learn(&c->rate, rate, c->rate ? 0.5 : 1);
    if (c->trial) {
        if (--c->trial == 0) {
            end_trial(c);
        }
        return;
    }
    if (c->hold) {
        c->hold--;
        return;
    }
    for (unsigned i = 0; i < CODEC_STEPS; i++) {
        if (cost(c, i) < cost(c, best)) {
            best = i;
        }
    }
    if (cost(c, best) >= cost(c, c->now) * WORTH_IT) {
        c->doubts = 0;
    } else if (c->now != 0 || ++c->doubts == PLAIN_PATIENCE) {
        change(c, best);
    }
}

/* The line, from what was sent since the last time. */
static void measure_line(CodecChoice *c)
{
    double time = c->coded + c->wrote;
    double rate = c->sent / time;
    double waited = c->wrote - SLOW_WRITE * c->write_us * c->sent - WRITE_CALL_US * c->writes;

    if (waited > WAITING_SHARE * time) {
        /* What a buffer swallows at first makes it too much, never too little. */
        c->line = c->line ? MIN((c->line + rate) / 2, rate * SURPRISE) : rate;
    } else {
        c->line = MAX(c->line * BELIEF, rate);
    }
}

void codec_choice_coded(CodecChoice *c, unsigned step, uint64_t in, uint64_t out, double us)
{
    learn(&c->step[step].us, us / in, NEWS);
    learn(&c->step[step].ratio, (double)out / in, NEWS);
    c->coded += us;
    if (step != c->now) {
        c->probed += us;
    }
}

void codec_choice_sent(CodecChoice *c, uint64_t pages, uint64_t bytes, double us, uint64_t limit)
{
    double write_us = us / bytes, time;

    if (!c->write_us || write_us < c->write_us) {
        c->write_us = write_us;
    }
    c->limit = limit / 1e6;
    c->wrote += us;
    c->sent += bytes;
    c->pages += pages;
    c->writes++;
    time = c->coded + c->wrote;
    if (time >= JUDGE_US || (limit && c->pages >= JUDGE_BYTES)) {
        measure_line(c);
        judge(c, c->pages / (limit ? MAX(time, c->sent / c->limit) : time));
        c->busy += time;
        c->coded = c->wrote = c->sent = c->pages = 0;
        c->writes = 0;
    }
}

unsigned codec_choice_next(CodecChoice *c)
{
    bool up = c->probes % 2;
    unsigned other = up ? c->now + 1 : c->now - 1;

    if (c->probed * PROBE_SHARE > c->busy || !c->line) {
        return c->now;
    }
    c->probes++;
    /* Plain bytes need no trial. */
    return other >= 1 && other < CODEC_STEPS ? other : c->now;
}
