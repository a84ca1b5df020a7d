/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line between two VMs that breaks where a test wants it to: a unix socket whose connections are
 * passed on to another. Any thread. */
#ifndef GODWIT_TESTS_RELAY_H
#define GODWIT_TESTS_RELAY_H

#include <glib.h>
#include <stdint.h>

#define RELAY_CONNECTIONS 32

typedef struct Relay Relay;

/* Listen at @path (which must not exist), pass connections on to @target. */
Relay *relay_new(const char *path, const char *target);
/* Break all, wait for the threads. */
void relay_free(Relay *r);
/* When so many bytes have passed to the target, break connection @i (in the order of their coming)
 * or let no more pass. Before it comes. */
void relay_break(Relay *r, unsigned i, uint64_t bytes);
void relay_stall(Relay *r, unsigned i, uint64_t bytes);
/* Break all there are. */
void relay_cut(Relay *r);
/* How many have come. */
unsigned relay_connections(Relay *r);
/* Bytes that connection @i has passed to the target. */
uint64_t relay_passed(Relay *r, unsigned i);

#endif
