/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source and destination of the ram section in one process: what is sent, and
 * that it arrives. */
#include <sys/mman.h>
#include "fault-channel.h"
#include "migration/ram/dirty.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"
#include "ram-pair.h"

static void test_golden_setup(RamPair *fx, gconstpointer data)
{
    static const char golden[] = "\0\0\0\0\x0C\0\xF0\x04"
                                 "\x14riscv_virt_board.ram\0\0\0\0\x08\0\0\0"
                                 "\x0Bvirt.flash0\0\0\0\0\x02\0\0\0"
                                 "\x0Bvirt.flash1\0\0\0\0\x02\0\0\0"
                                 "\x15riscv_virt_board.mrom\0\0\0\0\0\0\xF0\0"
                                 "\0\0\0\0\0\0\0\x10";
    GByteArray *bytes = io_channel_buffer_bytes(fx->pipe);

    side_add_virt(&fx->src, 128 * MiB);
    setup(fx);
    qemu_fflush(fx->out);
    g_assert_cmpmem(bytes->data, bytes->len, golden, sizeof(golden) - 1);
    g_assert_cmpuint(fx->src.passes, ==, 1);
    g_assert_cmpuint(fx->src.pass_bytes, ==, 0x0C00F000);
    g_assert_cmpuint(fx->src.counters.ram_total, ==, 0x0C00F000);
    g_assert_cmpuint(fx->src.counters.ram_bytes, ==, 0); /* START is not counted */
}

/* Every byte of a small migration, with all counters. */
static void test_golden_pages(RamPair *fx, gconstpointer data)
{
    RAMBlock *a = side_add(&fx->src, "a", 4 * 4096, RAM_MIGRATABLE);
    RAMBlock *b = side_add(&fx->src, "b", 4096, RAM_MIGRATABLE);
    g_autoptr(GByteArray) want = g_byte_array_new();
    GByteArray *got = io_channel_buffer_bytes(fx->pipe);
    MigrationCounters *c = &fx->src.counters;
    static const uint8_t start[] = {0, 0, 0,    0, 0,    0, 0x50, 0x04, 1, 'a', 0, 0,
                                    0, 0, 0,    0, 0x40, 0, 1,    'b',  0, 0,   0, 0,
                                    0, 0, 0x10, 0, 0,    0, 0,    0,    0, 0,   0, 0x10};
    static const uint8_t eos[] = {0, 0, 0, 0, 0, 0, 0, 0x10};

    memset(a->host + 4096, 0x11, 8192);
    b->host[4095] = 1;
    save_all(fx);
    g_byte_array_append(want, start, sizeof(start));
    g_byte_array_append(want,
                        (const uint8_t *)"\0\0\0\0\0\0\0\x02\x01"
                                         "a\0",
                        11);
    g_byte_array_append(want, (const uint8_t *)"\0\0\0\0\0\0\x10\x28", 8);
    g_byte_array_append(want, a->host + 4096, 4096);
    g_byte_array_append(want, (const uint8_t *)"\0\0\0\0\0\0\x20\x28", 8);
    g_byte_array_append(want, a->host + 8192, 4096);
    g_byte_array_append(want, (const uint8_t *)"\0\0\0\0\0\0\x30\x22\0", 9);
    g_byte_array_append(want,
                        (const uint8_t *)"\0\0\0\0\0\0\0\x08\x01"
                                         "b",
                        10);
    g_byte_array_append(want, b->host, 4096);
    g_byte_array_append(want, eos, 8);
    g_byte_array_append(want, eos, 8);
    g_assert_cmpmem(got->data, got->len, want->data, want->len);

    /* transferred = PART bodies + END body - 8 (spec 20, conformance check 2). */
    g_assert_cmpuint(c->ram_bytes, ==, want->len - sizeof(start) - 8);
    g_assert_cmpuint(c->precopy_bytes, ==, c->ram_bytes);
    g_assert_cmpuint(c->downtime_bytes, ==, 0);
    g_assert_cmpuint(c->normal_pages, ==, 3);
    g_assert_cmpuint(c->zero_pages, ==, 2);
    g_assert_cmpuint(c->ram_remaining, ==, 0);
    g_assert_cmpuint(fx->src.passes, ==, 2);
}

static void test_round_trip(RamPair *fx, gconstpointer data)
{
    GRand *rng = g_rand_new_with_seed(1);

    for (int i = 0; i < 2; i++) {
        RamSide *s = i ? &fx->dst : &fx->src;

        side_add(s, "ram", 24 * MiB, RAM_MIGRATABLE);
        side_add(s, "flash", 4 * MiB, RAM_MIGRATABLE);
        side_add(s, "rom", 0xF000, RAM_MIGRATABLE | RAM_READONLY);
    }
    RAMBLOCK_FOREACH (block, fx->src.list) {
        scribble(block, rng, 700);
    }
    /* What lies in the destination's memory before must not shine through. */
    memset(ram_block_by_name(fx->dst.list, "ram")->host + 1 * MiB, 0xEE, 3 * MiB);
    memset(ram_block_by_name(fx->dst.list, "rom")->host, 0xEE, 0xF000);
    save_all(fx);
    load_all(fx);
    assert_same_memory(fx);
    g_rand_free(rng);
}

/* The same however the channel cuts the bytes: guesses are finished, given back and taken up at
 * every place. */
static void test_any_segments(RamPair *fx, gconstpointer data)
{
    /* Around a quarter of a record: the reader gives up guessing with part of a head in hand. */
    static const size_t segments[] = {1,    13,   1024, 1025,  1026,  1027,   1028, 1029,
                                      4095, 4104, 4105, 10000, 65536, 300001, 0};
    GByteArray *stream = io_channel_buffer_bytes(fx->pipe);
    GRand *rng = g_rand_new_with_seed(2);

    side_add(&fx->src, "ram", 6 * MiB, RAM_MIGRATABLE);
    side_add(&fx->src, "aux", 128 * KiB, RAM_MIGRATABLE);
    RAMBLOCK_FOREACH (block, fx->src.list) {
        scribble(block, rng, 700);
    }
    save_all(fx);
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
        g_autoptr(QIOChannelBuffer) copy = io_channel_buffer_new();
        FaultPlan plan = FAULT_PLAN_NONE;
        g_autoptr(QIOChannel) ioc = NULL;
        g_autoptr(GError) err = NULL;

        plan.segment = segments[i];
        ioc = fault_channel_new(IO_CHANNEL(copy), &plan, NULL);
        io_channel_write_all(IO_CHANNEL(copy), stream->data, stream->len, NULL);
        side_add(&fx->dst, "ram", 6 * MiB, RAM_MIGRATABLE);
        side_add(&fx->dst, "aux", 128 * KiB, RAM_MIGRATABLE);
        err = load_from(&fx->dst, ioc);
        g_assert_no_error(err);
        assert_same_memory(fx);
        while (ram_list_first(fx->dst.list)) {
            ram_block_free(ram_list_first(fx->dst.list));
        }
    }
    g_rand_free(rng);
}

/*
 * A stream made to mislead the guessing reader: consecutive pages that turn into something else,
 * pages that are never sent, pages that come again. What was not sent stays zero, or may become it
 * if the memory was in use before.
 */
static void mislead(RamPair *fx, bool touched)
{
    RAMBlock *b = side_add(&fx->dst, "b", 8 * MiB, RAM_MIGRATABLE);
    g_autofree uint8_t *model = g_malloc0(8 * MiB);
    GRand *rng = g_rand_new_with_seed(5);
    uint64_t pages = ram_block_pages(b);
    g_autofree bool *sent = g_new0(bool, pages);
    const char *name = "b";
    uint8_t head[RAM_HEAD_MAX];
    g_autoptr(GError) err = NULL;

    memset(b->host, touched ? 0xEE : 0, touched ? 8 * MiB : 0);
    for (int run = 0; run < 400; run++) {
        uint64_t p = g_rand_int_range(rng, 0, pages);
        uint64_t n = g_rand_int_range(rng, 1, g_rand_boolean(rng) ? 6 : 200);
        bool zero = g_rand_int_range(rng, 0, 4) == 0;
        uint64_t step = g_rand_int_range(rng, 0, 5) ? 1 : 2;

        for (; n-- && p < pages; p += step) {
            uint8_t fill = g_rand_int_range(rng, 1, 256);

            qemu_put_buffer(
                fx->out, head,
                ram_put_head(head, p << 12, zero ? RAM_FLAG_ZERO : RAM_FLAG_PAGE, name));
            name = NULL;
            sent[p] = true;
            memset(model + p * 4096, zero ? 0 : fill, 4096);
            if (zero) {
                qemu_put_byte(fx->out, 0);
            } else {
                qemu_put_buffer(fx->out, model + p * 4096, 4096);
            }
        }
        if (g_rand_int_range(rng, 0, 10) == 0) {
            qemu_put_be64(fx->out, RAM_FLAG_EOS);
        }
    }
    qemu_put_be64(fx->out, RAM_FLAG_EOS);
    qemu_fflush(fx->out);
    err = load_from(&fx->dst, IO_CHANNEL(fx->pipe));
    g_assert_no_error(err);
    for (uint64_t p = 0; p < pages; p++) {
        g_assert_true((touched && !sent[p]) || !memcmp(b->host + p * 4096, model + p * 4096, 4096));
    }
    g_rand_free(rng);
}

static void test_wrong_guesses(RamPair *fx, gconstpointer data)
{
    mislead(fx, false);
}

static void test_wrong_guesses_touched(RamPair *fx, gconstpointer data)
{
    mislead(fx, true);
}

static void test_untouched_stays_untouched(RamPair *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "ram", 64 * MiB, RAM_MIGRATABLE);
    RAMBlock *dst = side_add(&fx->dst, "ram", 64 * MiB, RAM_MIGRATABLE);
    g_autofree unsigned char *resident = g_malloc(16384);

    src->host[40 * MiB] = 1;
    save_all(fx);
    load_all(fx);
    g_assert_cmpuint(dst->host[40 * MiB], ==, 1);
    for (int side = 0; side < 2; side++) {
        unsigned populated = 0;

        g_assert_cmpint(mincore(side ? dst->host : src->host, 64 * MiB, resident), ==, 0);
        for (int i = 0; i < 16384; i++) {
            populated += resident[i] & 1;
        }
        g_assert_cmpuint(populated, <=, 512);
    }
}

/* To a destination that understands, a run of zero pages is one record however long it is; what is
 * there in the way becomes zero. */
static void test_zero_runs(RamPair *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "ram", 512 * MiB, RAM_MIGRATABLE);
    RAMBlock *dst = side_add(&fx->dst, "ram", 512 * MiB, RAM_MIGRATABLE);

    side_add(&fx->src, "small", 1 * MiB, RAM_MIGRATABLE);
    side_add(&fx->dst, "small", 1 * MiB, RAM_MIGRATABLE);
    memset(src->host + 3 * MiB, 0, 2 * MiB); /* in use, but zero */
    memset(src->host + 300 * MiB, 0x5A, 3 * 4096);
    memset(dst->host + 1 * MiB, 0xEE, 4 * MiB);
    memset(dst->host + 511 * MiB, 0xEE, 1 * MiB);
    fx->src.peer_features = PEER_ZERO_RUN;
    save_all(fx);
    g_assert_cmpuint(fx->src.counters.zero_pages, ==, 513 * 256 - 3);
    g_assert_cmpuint(io_channel_buffer_bytes(fx->pipe)->len, <, 4 * 4096);
    load_all(fx);
    assert_same_memory(fx);
}

/* The answer to our hello may come in the middle of a round. */
static void test_zero_runs_later(RamPair *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "ram", 16 * MiB, RAM_MIGRATABLE);
    RAMBlock *dst = side_add(&fx->dst, "ram", 16 * MiB, RAM_MIGRATABLE);
    uint64_t plain;

    memset(src->host, 1, 4096);
    memset(dst->host, 0xEE, 16 * MiB);
    setup(fx);
    while (ram_save_iterate(fx->out, fx->src.rs, NULL) == ITERATE_MORE) {
    }
    plain = fx->src.counters.ram_bytes;
    g_assert_cmpuint(plain, >, 4095 * RAM_ZERO_RECORD_BYTES);
    memset(dst->host, 0xEE, 16 * MiB);
    fx->src.peer_features = PEER_ZERO_RUN;
    dirty_log_mark(src, 0, 16 * MiB);
    g_assert_true(ram_save_complete(fx->out, fx->src.rs, NULL));
    g_assert_cmpuint(fx->src.counters.ram_bytes - plain, <, 2 * 4096);
    g_assert_true(qemu_fflush(fx->out));
    load_all(fx);
    assert_same_memory(fx);
}

/* Compressed by threads, inflated by threads: blocks, zeros and data that does not shrink in
 * between.
 */
static void test_compress(RamPair *fx, gconstpointer data)
{
    MigrationCounters *c = &fx->src.counters;
    GRand *rng = g_rand_new_with_seed(5);
    RAMBlock *src;

    side_add_virt(&fx->src, 8 * MiB);
    side_add_virt(&fx->dst, 8 * MiB);
    src = ram_block_by_name(fx->src.list, "riscv_virt_board.ram");
    RAMBLOCK_FOREACH (block, fx->src.list) {
        scribble(block, rng, 50);
    }
    for (uint64_t page = 0; page < 1024; page++) {
        memset(src->host + page * 4096, page, 4096); /* every 256th is zero */
    }
    fx->src.compress_threads = 3;
    fx->dst.options.decompress_threads = 2;
    setup(fx);
    for (int round = 0; round < 3; round++) {
        while (ram_save_iterate(fx->out, fx->src.rs, NULL) == ITERATE_MORE) {
        }
        memset(src->host + 5 * 4096, 0xA0 + round, 700 * 4096);
        dirty_log_mark(src, 5 * 4096, 700 * 4096);
        ram_save_query_pending(fx->src.rs, &(MigPendingData){0}, true);
    }
    fx->src.phase = RAM_PHASE_DOWNTIME;
    g_assert_true(ram_save_complete(fx->out, fx->src.rs, NULL));
    g_assert_true(qemu_fflush(fx->out));
    g_assert_cmpuint(c->compress_pages, >, 3000);
    g_assert_cmpuint(c->compress_pages, <, c->normal_pages);
    g_assert_cmpuint(c->downtime_bytes, <, 700 * 64);
    load_all(fx);
    assert_same_memory(fx);
    g_rand_free(rng);
}

/* Small changes to the same pages: deltas from the second time on, judged by what they take; the
 * cache is resized on the way. */
static void test_deltas(RamPair *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "ram", 4 * MiB, RAM_MIGRATABLE);
    MigrationCounters *c = &fx->src.counters;
    MigPendingData pending;
    GRand *rng = g_rand_new_with_seed(9);

    side_add(&fx->dst, "ram", 4 * MiB, RAM_MIGRATABLE);
    scribble(src, rng, 100);
    fx->src.options.xbzrle = true;
    fx->src.live.xbzrle_cache_size = 2 * MiB;
    setup(fx);
    for (int round = 0; round < 12; round++) {
        send_all_dirty(fx);
        g_assert_true(round > 1 || c->xbzrle_pages == 0);
        for (uint64_t page = 0; page < 256; page++) {
            src->host[page * 4096 + g_rand_int_range(rng, 0, 4096)] ^= 1;
        }
        dirty_log_mark(src, 0, 1 * MiB);
        if (round == 7) {
            memset(src->host + 16 * 4096, 0, 5 * 4096);
            memset(src->host + 32 * 4096, 0xAA, 5 * 4096);
            fx->src.live.xbzrle_cache_size = 64 * MiB;
        }
        pending = (MigPendingData){0};
        ram_save_query_pending(fx->src.rs, &pending, true);
        g_assert_cmpuint(pending.precopy, ==, c->pending_bytes);
        if (round >= 2) {
            g_assert_cmpuint(pending.precopy, <, 64 * KiB);
        } else {
            g_assert_cmpuint(pending.precopy, ==, 1 * MiB);
        }
    }
    fx->src.phase = RAM_PHASE_DOWNTIME;
    g_assert_true(ram_save_complete(fx->out, fx->src.rs, NULL));
    g_assert_true(qemu_fflush(fx->out));
    load_all(fx);
    assert_same_memory(fx);
    g_assert_cmpuint(c->xbzrle_pages, >=, 256 * 10);
    g_assert_cmpuint(c->downtime_bytes, <, 64 * KiB);
    g_rand_free(rng);
}

static void test_dirty_rounds(RamPair *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "ram", 4 * MiB, RAM_MIGRATABLE);
    MigPendingData pending = {0};
    GRand *rng = g_rand_new_with_seed(9);

    side_add(&fx->dst, "ram", 4 * MiB, RAM_MIGRATABLE);
    scribble(src, rng, 100);
    setup(fx);
    ram_save_query_pending(fx->src.rs, &pending, false);
    g_assert_cmpuint(pending.precopy, ==, 4 * MiB);
    g_assert_cmpuint(fx->src.passes, ==, 1);
    for (int round = 0; round < 10; round++) {
        send_all_dirty(fx);
        pending = (MigPendingData){0};
        ram_save_query_pending(fx->src.rs, &pending, true);
        g_assert_cmpuint(pending.precopy, ==, 0);
        for (int i = 0; i < 20; i++) {
            uint64_t off = g_rand_int_range(rng, 0, 4 * MiB);

            src->host[off] = g_rand_int(rng);
            dirty_log_mark(src, off, 1);
        }
        memset(src->host + 1 * MiB, 0, 40000); /* data that becomes zero */
        dirty_log_mark(src, 1 * MiB, 40000);
        ram_save_query_pending(fx->src.rs, &pending, true);
        g_assert_cmpuint(pending.precopy, >, 0);
        g_assert_cmpuint(fx->src.pass_bytes, ==, pending.precopy);
    }
    fx->src.phase = RAM_PHASE_DOWNTIME;
    g_assert_true(ram_save_complete(fx->out, fx->src.rs, NULL));
    g_assert_cmpuint(fx->src.counters.downtime_bytes, >, 0);
    g_assert_cmpuint(fx->src.counters.ram_bytes, ==,
                     fx->src.counters.precopy_bytes + fx->src.counters.downtime_bytes);
    qemu_fflush(fx->out);
    load_all(fx);
    assert_same_memory(fx);
    g_rand_free(rng);
}

/* What is known of untouched memory does not outlive a sync (a page written in between has its bit
 * set). */
static void test_untouched_then_written(RamPair *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "ram", 16 * MiB, RAM_MIGRATABLE);
    MigPendingData pending = {0};

    side_add(&fx->dst, "ram", 16 * MiB, RAM_MIGRATABLE);
    setup(fx);
    qemu_file_set_rate_limit(fx->out, 100); /* a few zero pages, then the window is used up */
    g_assert_cmpint(ram_save_iterate(fx->out, fx->src.rs, NULL), ==, ITERATE_MORE);
    g_assert_cmpuint(fx->src.counters.zero_pages, <, 100);
    src->host[8 * MiB] = 0x42;
    dirty_log_mark(src, 8 * MiB, 1);
    ram_save_query_pending(fx->src.rs, &pending, true);
    qemu_file_set_rate_limit(fx->out, 0);
    g_assert_true(ram_save_complete(fx->out, fx->src.rs, NULL));
    qemu_fflush(fx->out);
    load_all(fx);
    assert_same_memory(fx);
}

static void test_rate_limit(RamPair *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "ram", 4 * MiB, RAM_MIGRATABLE);
    GByteArray *bytes = io_channel_buffer_bytes(fx->pipe);
    size_t before;
    unsigned sections = 0;

    memset(src->host, 1, 4 * MiB);
    setup(fx);
    qemu_fflush(fx->out);
    before = bytes->len;
    qemu_file_rate_next(fx->out, 1);
    qemu_file_set_rate_limit(fx->out, 20000);
    do { /* once, unless its slice of time is over before */
        g_assert_cmpint(ram_save_iterate(fx->out, fx->src.rs, NULL), ==, ITERATE_MORE);
        qemu_fflush(fx->out);
        sections++;
    } while (bytes->len - before <= 20000);
    /* At most a page over the budget. */
    g_assert_cmpuint(bytes->len - before, <=, 20000 + 4096 + 56 + 8 * sections);
    before = bytes->len;
    g_assert_cmpint(ram_save_iterate(fx->out, fx->src.rs, NULL), ==, ITERATE_MORE);
    qemu_fflush(fx->out);
    g_assert_cmpuint(bytes->len - before, ==, 8); /* used up: only EOS */
}

static void add_shared(RamSide *s, const char *name, uint64_t size, hwaddr gpa)
{
    side_add(s, name, size, RAM_MIGRATABLE | RAM_SHARED)->gpa = gpa;
}

static void test_ignore_shared(RamPair *fx, gconstpointer data)
{
    GByteArray *bytes = io_channel_buffer_bytes(fx->pipe);
    static const char start[] = "\0\0\0\0\0\x10\x10\x04"
                                "\x02m0\0\0\0\0\0\x10\0\0\0\0\0\0\x80\0\0\0"
                                "\x01r\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x10\0"
                                "\0\0\0\0\0\0\0\x10";

    for (int i = 0; i < 2; i++) {
        RamSide *s = i ? &fx->dst : &fx->src;

        s->options.ignore_shared = true;
        add_shared(s, "m0", 1 * MiB, 0x80000000);
        side_add(s, "r", 4096, RAM_MIGRATABLE)->gpa = 0x1000;
    }
    memset(ram_list_first(fx->src.list)->host, 7, 1 * MiB);
    memset(ram_block_by_name(fx->src.list, "r")->host, 8, 4096);
    save_all(fx);
    g_assert_cmpmem(bytes->data, sizeof(start) - 1, start, sizeof(start) - 1);
    g_assert_cmpuint(fx->src.counters.ram_total, ==, 4096);
    g_assert_cmpuint(fx->src.counters.normal_pages, ==, 1);
    load_all(fx);
    g_assert_cmpuint(ram_list_first(fx->dst.list)->host[0], ==, 0);
    g_assert_cmpuint(ram_block_by_name(fx->dst.list, "r")->host[5], ==, 8);
}

static void test_ignore_shared_other_gpa(RamPair *fx, gconstpointer data)
{
    g_autoptr(GError) err = NULL;

    fx->src.options.ignore_shared = fx->dst.options.ignore_shared = true;
    add_shared(&fx->src, "m0", 1 * MiB, 0x80000000);
    add_shared(&fx->dst, "m0", 1 * MiB, 0x40000000);
    save_all(fx);
    err = load_from(&fx->dst, IO_CHANNEL(fx->pipe));
    g_assert_nonnull(err);
    g_assert_nonnull(
        strstr(err->message, "Mismatched GPAs for block m0: 0x80000000 != 0x40000000"));
}

static void test_resize(RamPair *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "acpi", 64 * KiB, RAM_MIGRATABLE | RAM_RESIZEABLE);
    RAMBlock *dst = side_add(&fx->dst, "acpi", 64 * KiB, RAM_MIGRATABLE | RAM_RESIZEABLE);
    g_autoptr(GError) err = NULL;

    g_assert_true(ram_block_resize(src, 16 * KiB, NULL));
    memset(src->host, 3, 16 * KiB);
    save_all(fx);
    load_all(fx);
    g_assert_cmpuint(dst->used_length, ==, 16 * KiB);
    assert_same_memory(fx);
    /* While a migration runs it ends it. */
    g_assert_true(ram_block_resize(src, 32 * KiB, NULL));
    g_assert_cmpint(ram_save_iterate(fx->out, fx->src.rs, &err), ==, ITERATE_ERROR);
    g_assert_cmpstr(err->message, ==, "RAM block 'acpi' resized during precopy.");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/ram/" name, RamPair, NULL, set_up, fn, tear_down)
    ADD("golden-setup", test_golden_setup);
    ADD("golden-pages", test_golden_pages);
    ADD("round-trip", test_round_trip);
    ADD("any-segments", test_any_segments);
    ADD("wrong-guesses", test_wrong_guesses);
    ADD("wrong-guesses/touched", test_wrong_guesses_touched);
    ADD("untouched-stays-untouched", test_untouched_stays_untouched);
    ADD("zero-runs", test_zero_runs);
    ADD("zero-runs/later", test_zero_runs_later);
    ADD("deltas", test_deltas);
    ADD("compress", test_compress);
    ADD("dirty-rounds", test_dirty_rounds);
    ADD("untouched-then-written", test_untouched_then_written);
    ADD("rate-limit", test_rate_limit);
    ADD("ignore-shared", test_ignore_shared);
    ADD("ignore-shared-other-gpa", test_ignore_shared_other_gpa);
    ADD("resize", test_resize);
    return g_test_run();
}
