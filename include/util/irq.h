/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines.  A line has one receiver; raising it calls the receiver's handler in
 * the caller's thread.  Device code calls these with the big lock held.
 */
#ifndef GODWIT_UTIL_IRQ_H
#define GODWIT_UTIL_IRQ_H

#include "util/osdep.h"

typedef void IrqHandler(void *opaque, int n, int level);

/* One input of a receiver; embed or copy freely, it owns nothing. */
typedef struct {
    IrqHandler *handler; /* NULL: unconnected, notifications are dropped */
    void *opaque;
    int n;
} Irq;

static inline void irq_set(const Irq *irq, int level)
{
    if (irq->handler) {
        irq->handler(irq->opaque, irq->n, level);
    }
}

static inline void irq_raise(const Irq *irq)
{
    irq_set(irq, 1);
}

static inline void irq_lower(const Irq *irq)
{
    irq_set(irq, 0);
}

#endif
