/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which way of coding pages is the fastest on this line, right now: the judgement behind
 * multifd-compression=x-adaptive, one per channel. No I/O and no clock; who works and who sends
 * tells it how long that took.
 *
 *   a page byte takes   max(coding + writing what comes out, what comes out / rate of the line)
 *
 * Coding is measured for each step when it is used, the line while it keeps us waiting. A line that
 * does not is believed to be faster than it was seen, a little more each time, until it does. Steps
 * that lie beside the chosen one are tried now and then, for at most 1/PROBE_SHARE of the time. All
 * that is a model: what gets through before and after a change has the last word.
 */
#ifndef GODWIT_MIGRATION_MULTIFD_CHOICE_H
#define GODWIT_MIGRATION_MULTIFD_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

/* Step 0 is plain bytes, the others are levels of zstd. */
#define CODEC_STEPS 6
extern const int codec_step_level[CODEC_STEPS];

typedef struct {
    double us;    /* to code a byte */
    double ratio; /* bytes that come out of one */
} CodecStep;

typedef struct {
    CodecStep step[CODEC_STEPS];
    unsigned now;    /* the step in use */
    double line;     /* bytes per us; 0: not known */
    double write_us; /* what writing a byte takes when nothing has to be waited for; 0: not known */
    double limit;    /* bytes per us that we may send; 0: any */
    double coded, wrote; /* us spent since the last judgement */
    double pages, sent;  /* bytes since then: of pages, and what became of them, */
    unsigned writes;     /* in so many pieces */
    double busy, probed; /* us in all, and of them for trying other steps */
    unsigned probes;     /* so far */
    unsigned doubts;     /* judgements in a row against plain bytes */
    double rate;         /* page bytes per us with the step in use */
    unsigned trial;     /* > 0: the step is new, and so many judgements are left to prove that it */
    unsigned before;    /* gets more through than this one, */
    double rate_before; /* which had so much */
    unsigned hold, next_hold; /* no change for so many judgements; after the next failure */
} CodecChoice;

void codec_choice_init(CodecChoice *c);
/* The step for the next packet. */
unsigned codec_choice_next(CodecChoice *c);
/* @in bytes were coded at @step to @out bytes in @us. */
void codec_choice_coded(CodecChoice *c, unsigned step, uint64_t in, uint64_t out, double us);
/* @pages bytes of pages, coded or not to @bytes, were written in @us. @limit: bytes per second that
 * this channel may send, 0: any. */
void codec_choice_sent(CodecChoice *c, uint64_t pages, uint64_t bytes, double us, uint64_t limit);

#endif
