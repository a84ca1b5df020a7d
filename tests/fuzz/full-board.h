/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virt board with every kind of virtio device, no vCPU threads, back ends that go nowhere. */
#ifndef GODWIT_TESTS_FULL_BOARD_H
#define GODWIT_TESTS_FULL_BOARD_H

#include "board-fixture.h"
#include "migration/savevm.h"

typedef struct {
    BoardFixture f;
    int net_peer; /* the other end of the wire */
} FullBoard;

/* Lives as long as the process. Big lock held by the caller from the first call on. */
FullBoard *full_board_new(bool modern);
/* The guest runs: let pending work happen, and throw away what left the machine. */
void full_board_run(FullBoard *b);
/* Stop, reset, and forget guest memory that the last input may have left behind. */
void full_board_reset(FullBoard *b);
/* The section with this tag, which depends on its name and instance only; NULL: there is none. */
SaveStateEntry *full_board_section(FullBoard *b, uint8_t tag);
uint8_t full_board_tag(const SaveStateEntry *se);

#endif
