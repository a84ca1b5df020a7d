/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMUFile: the buffered, big-endian stream over a QIOChannel (spec 35 section 10).
 *
 * One thread uses a file at a time, except qemu_file_shutdown() and qemu_file_set_error(), which
 * any thread may call. The first error wins and sticks: later writes do nothing, later reads return
 * zero. Loops whose bound comes from the stream must test qemu_file_ok().
 *
 * A call that reads from or writes to the channel lets go of the big lock meanwhile if the caller
 * holds it: how long a transfer takes is up to the peer.
 *
 * Pages are referenced, not copied: qemu_put_buffer_ref() keeps a pointer until the next flush. Big
 * reads bypass the buffer: qemu_get_buffer_into() readv()s straight to the destination.
 */
#ifndef GODWIT_MIGRATION_QEMU_FILE_H
#define GODWIT_MIGRATION_QEMU_FILE_H

#include "io/channel.h"
#include "util/error.h"

typedef struct QEMUFile QEMUFile;

/* Take a reference of @ioc. */
QEMUFile *qemu_file_new_output(QIOChannel *ioc);
QEMUFile *qemu_file_new_input(QIOChannel *ioc);
/* Flush (output), close the channel, free; the sticky error is returned. NULL is fine. */
bool qemu_fclose(QEMUFile *f, GError **errp);
QIOChannel *qemu_file_channel(QEMUFile *f);

/* ---- errors ---- */
bool qemu_file_ok(QEMUFile *f);
/* Copy of the sticky error, or NULL. */
GError *qemu_file_get_error(QEMUFile *f);
/* Take @err as the sticky error unless there is one already (then it is freed). */
void qemu_file_set_error(QEMUFile *f, GError *err);
/* False and a copy of the error in *errp if the file failed. */
bool qemu_file_check(QEMUFile *f, GError **errp);
/* Make every user fail soon: sets a "shut down" error unless one is set, and shuts the channel
 * down. */
void qemu_file_shutdown(QEMUFile *f);

/* ---- writing ---- */
void qemu_put_byte(QEMUFile *f, uint8_t v);
void qemu_put_be16(QEMUFile *f, uint16_t v);
void qemu_put_be32(QEMUFile *f, uint32_t v);
void qemu_put_be64(QEMUFile *f, uint64_t v);
void qemu_put_buffer(QEMUFile *f, const void *buf, size_t len);
/* Counted string: u8 length, bytes; longer than 255 is an error of the file. */
void qemu_put_counted_string(QEMUFile *f, const char *s);
/*
 * For bytes that are made rather than copied: room for @len of them, until the next call on @f.
 * qemu_put_reserved() puts the first @len (>= 1) of it.
 */
#define QEMU_FILE_RESERVE_MAX (32 * KiB)
uint8_t *qemu_put_reserve(QEMUFile *f, size_t len);
void qemu_put_reserved(QEMUFile *f, size_t len);
/* Queue @len bytes at @buf by reference; valid until the next flush. Neighbours are merged. */
void qemu_put_buffer_ref(QEMUFile *f, const void *buf, size_t len);
/* Everything to the channel. True iff the channel has accepted every byte put so far: the commit of
 * a migration hangs on it, so a shutdown by another thread afterwards does not turn it into false.
 */
bool qemu_fflush(QEMUFile *f);
/* Flush as soon as @bytes are waiting, instead of 1 MiB: for who must not keep a CPU for long. */
void qemu_file_set_bite(QEMUFile *f, size_t bytes);
/* Bytes put so far, flushed or not. */
uint64_t qemu_file_transferred(QEMUFile *f);

/* ---- seekable channels (mapped-ram); both directions ---- */
/* Where in the file the next byte is put or read; output is flushed first. */
bool qemu_file_position(QEMUFile *f, uint64_t *position, GError **errp);
/* Go on at @position, which is not before the present one. What is skipped counts as read
 * (qemu_file_offset()), not as put. */
bool qemu_file_seek(QEMUFile *f, uint64_t position, GError **errp);

/* ---- rate limit (spec 10 section 15); any thread ---- */
/* Bytes per window, from this one on; 0 = unlimited. */
void qemu_file_set_rate_limit(QEMUFile *f, uint64_t bytes_per_window);
uint64_t qemu_file_rate_limit(const QEMUFile *f);
/* Count bytes that went elsewhere (multifd) against the window; negative: fewer than counted. */
void qemu_file_account(QEMUFile *f, int64_t bytes);
bool qemu_file_rate_exceeded(QEMUFile *f);
/* Bytes until the window is used up; UINT64_MAX without limit. */
uint64_t qemu_file_rate_left(QEMUFile *f);
/* Start a new window, @windows after the last: who comes late may send more. What was sent beyond
 * the last one is taken off, so that large pieces do not add up. Ten windows' worth at most, both
 * ways. */
void qemu_file_rate_next(QEMUFile *f, double windows);

/* ---- reading ---- */
uint8_t qemu_get_byte(QEMUFile *f);
uint16_t qemu_get_be16(QEMUFile *f);
uint32_t qemu_get_be32(QEMUFile *f);
uint64_t qemu_get_be64(QEMUFile *f);
/* Exactly @len bytes, or the file fails and the rest of @buf is zeroed. */
bool qemu_get_buffer(QEMUFile *f, void *buf, size_t len);
/* The same for large guest-memory destinations: buffered bytes are copied, the rest is read in
 * place. */
bool qemu_get_buffer_into(QEMUFile *f, void *host, size_t len);
/* u8 length and bytes into @s (256 bytes, always terminated); embedded NUL is an error of the file.
 */
bool qemu_get_counted_string(QEMUFile *f, char s[256]);
/* Look ahead without consuming: bytes available up to @len (short at end of stream, no error). */
size_t qemu_peek_buffer(QEMUFile *f, const uint8_t **buf, size_t len);
void qemu_file_skip(QEMUFile *f, size_t len);
/* All that is buffered, after reading until at least @min (<= 1024) bytes are there or the stream
 * has ended. */
size_t qemu_peek_available(QEMUFile *f, const uint8_t **buf, size_t min);
/*
 * One scattered read around the buffer, which must be empty: bytes read, or 0 when the file has
 * failed (end of stream is a failure). Readers that guess what comes next hand back what they
 * guessed wrongly with qemu_file_unread().
 */
size_t qemu_file_readv_some(QEMUFile *f, const struct iovec *iov, unsigned n);
/* @len bytes that were read last are to be read again; copied. */
void qemu_file_unread(QEMUFile *f, const void *buf, size_t len);
/* Stream offset of the next byte to be read: the "where" of every load error. */
uint64_t qemu_file_offset(QEMUFile *f);

#endif
