/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A whole virt board without vCPU threads, in a test process. */
#ifndef GODWIT_TESTS_BOARD_FIXTURE_H
#define GODWIT_TESTS_BOARD_FIXTURE_H

#include "hw/device.h"

typedef struct {
    Machine *m;
    unsigned resets;
    int exit_code; /* -1: no shutdown asked for */
    bool panic;
} BoardFixture;

/* Created, not yet initialised: change m's members, then board_start(). Holds the big lock. */
void board_new(BoardFixture *f);
/* init, done and the first reset; the virtual clock moves only by hand. */
void board_start(BoardFixture *f);
void board_free(BoardFixture *f);

/* One guest access; a refused one fails the test. */
uint64_t board_read(BoardFixture *f, unsigned size, hwaddr addr);
void board_write(BoardFixture *f, unsigned size, hwaddr addr, uint64_t value);
/* Is the load refused (access fault)? */
bool board_read_faults(BoardFixture *f, unsigned size, hwaddr addr);
bool board_write_faults(BoardFixture *f, unsigned size, hwaddr addr);

/* A file beside the tests' sources. */
char *board_test_file(const char *name);

#endif
