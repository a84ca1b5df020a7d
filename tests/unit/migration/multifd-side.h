/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Migrations over several channels between two fake VMs, one of them as bad as a test wants it. */
#ifndef GODWIT_TESTS_MULTIFD_SIDE_H
#define GODWIT_TESTS_MULTIFD_SIDE_H

#include "fake-vm.h"
#include "migration/multifd/multifd.h"

typedef struct {
    const char *name;
    unsigned channels;
    MultiFDCompression method;
    ZeroPageDetection zero;
    bool per_pass, return_path;
    uint64_t bandwidth;    /* 0: no limit */
    const char *addresses; /* x-multifd-addresses, which the test does not connect to; NULL: none */
    unsigned patience_ms;  /* 0: as it is */
    bool tls;              /* with a key both know; faults are of the bytes behind the handshake */
} MultifdSetup;

/* A running VM with runs of all lengths in its memory, compressible and not. */
FakeVM *multifd_side_source(void);
/* Begin; channel @bad (0: main) behaves as @plan says. Returns that one. */
QIOChannel *multifd_side_begin(FakeVM *src, FakeVM *dst, const MultifdSetup *setup, unsigned bad,
                               const FaultPlan *plan);
/* The destination is set up as @dst_setup. */
QIOChannel *multifd_side_begin_unlike(FakeVM *src, FakeVM *dst, const MultifdSetup *setup,
                                      const MultifdSetup *dst_setup, unsigned bad,
                                      const FaultPlan *plan);
/* The migration was completed, the destination has all. */
void multifd_side_assert_moved(FakeVM *src, FakeVM *dst);
/* How often notes of @src's flight recorder have @text. */
unsigned multifd_side_notes(FakeVM *src, const char *text);
/* What channel @bad carries, in bytes, when nothing happens. */
uint64_t multifd_side_length(const MultifdSetup *setup, unsigned bad);
/* @src can migrate now, to a fresh destination. */
void multifd_side_assert_migrates(FakeVM *src, const MultifdSetup *setup);

#endif
