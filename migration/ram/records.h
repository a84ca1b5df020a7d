/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the records of the ram section from a file. */
#ifndef GODWIT_MIGRATION_RAM_RECORDS_H
#define GODWIT_MIGRATION_RAM_RECORDS_H

#include "migration/qemu-file.h"
#include "migration/wire/ram.h"

/* Decode the next record's head and step behind it; the error says where and what. */
bool ram_next_record(QEMUFile *f, RamRecord *rec, GError **errp);
/*
 * Page @page is zero by the record just read: how many pages from there on are, by the records
 * right behind it that say so and have arrived. Steps behind those; at most @max (>= 1).
 */
uint64_t ram_zero_records(QEMUFile *f, uint64_t page, uint64_t max);

/* The body of the delta whose head was just read: @len bytes at *@body, which the caller skips.
 */
bool ram_delta_body(QEMUFile *f, const uint8_t **body, size_t *len, GError **errp);

#endif
