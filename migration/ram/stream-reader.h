/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading runs of PAGE records so that most bytes land in place with one system call per MiB. */
#ifndef GODWIT_MIGRATION_RAM_STREAM_READER_H
#define GODWIT_MIGRATION_RAM_STREAM_READER_H

#include "migration/ram-sink.h"
#include "migration/wire/ram.h"

#define READER_MAX_PAGES 256

typedef struct {
    /* How many pages to guess ahead; 0: not worth it at the moment. */
    unsigned window;
    unsigned poor;   /* scattered reads in a row that brought nothing ahead */
    unsigned streak; /* pages in a row that came as guessed, without guessing */
    uint8_t heads[READER_MAX_PAGES][RAM_WORD_BYTES];
    struct iovec iov[1 + 2 * READER_MAX_PAGES];
} RamReader;

void ram_reader_init(RamReader *r);
/*
 * The payload of PAGE record @page of @block is next in @f. Read it and the records right behind it
 * that continue with the following pages. False and *errp on failure; else @f stands at a record
 * that is something else.
 */
bool ram_reader_run(RamReader *r, QEMUFile *f, RamPlacer *placer, RAMBlock *block, uint64_t page,
                    GError **errp);

#endif
