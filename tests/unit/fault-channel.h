/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QIOChannel that passes everything to another one and, at a byte position of your choice,
 * misbehaves: cuts, stalls, corrupts, swallows, or chops the stream into small pieces.
 * Deterministic: positions are counted per direction from 0 at creation, time and chance play no
 * part.
 *
 *     FaultPlan out = FAULT_PLAN_NONE;
 *     out.cut_at = 4711;
 *     QIOChannel *ioc = fault_channel_new(base, NULL, &out);
 */
#ifndef GODWIT_TESTS_FAULT_CHANNEL_H
#define GODWIT_TESTS_FAULT_CHANNEL_H

#include "io/channel.h"

#define FAULT_NEVER UINT64_MAX

/* One direction. Positions are stream offsets; bytes before them pass untouched. */
typedef struct FaultPlan {
    /* Byte @cut_at and all later ones do not pass: the base is shut down in both directions, the
     * reader sees end of stream, the writer an error. */
    uint64_t cut_at;
    /* The transfer blocks in front of byte @stall_at until shutdown or fault_channel_resume(). */
    uint64_t stall_at;
    /* Byte @corrupt_at is XORed with @corrupt_xor. */
    uint64_t corrupt_at;
    uint8_t corrupt_xor;
    /* Writing only: byte @swallow_at and all later ones are taken and never arrive. */
    uint64_t swallow_at;
    /* At most so many bytes per transfer; 0 = no limit. */
    size_t segment;
} FaultPlan;

#define FAULT_PLAN_NONE                     \
    ((FaultPlan){.cut_at = FAULT_NEVER,     \
                 .stall_at = FAULT_NEVER,   \
                 .corrupt_at = FAULT_NEVER, \
                 .swallow_at = FAULT_NEVER})

/* Takes a reference of @base; a NULL plan is no fault. The plans are copied. */
QIOChannel *fault_channel_new(QIOChannel *base, const FaultPlan *read, const FaultPlan *write);
/* From now on @write holds for what is written, whose positions begin at 0 again. */
void fault_channel_arm(QIOChannel *ioc, const FaultPlan *write);
/* Bytes passed so far in one direction; any thread. */
uint64_t fault_channel_read_position(QIOChannel *ioc);
uint64_t fault_channel_write_position(QIOChannel *ioc);
/* Block until a transfer has reached a stall (of either direction) or a cut; any thread. */
void fault_channel_wait_fault(QIOChannel *ioc);
/* End the stalls, now and for ever; any thread. */
void fault_channel_resume(QIOChannel *ioc);

#endif
