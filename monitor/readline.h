/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line editor for terminals behind a chardev: keys in, echo and lines out. Pure. */
#ifndef MONITOR_READLINE_H
#define MONITOR_READLINE_H

#include "util/osdep.h"

typedef struct Readline Readline;
typedef struct {
    void (*write)(void *opaque, const char *text);
    /* Enter was pressed; may call readline_start(). */
    void (*line)(void *opaque, const char *line);
    /* Words that complete @prefix, the first word of the line: strings, free function set.
     * Optional. */
    GPtrArray *(*complete)(void *opaque, const char *prefix);
    void *opaque;
} ReadlineOps;

Readline *readline_new(const ReadlineOps *ops, const char *prompt);
void readline_free(Readline *rl);
/* Show the prompt and edit a new line. */
void readline_start(Readline *rl);
void readline_feed(Readline *rl, uint8_t key);

#endif
