/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source and destination of the ram section in one process: what is sent, that it arrives, and what
 * is refused. */
#include <sys/mman.h>
#include "fault-channel.h"
#include "migration/ram/dirty.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"
#include "ram-reference.h"
#include "ram-side.h"

typedef struct {
    RamSide src, dst;
    QIOChannelBuffer *pipe;
    QEMUFile *out;
} Fixture;

static void set_up(Fixture *fx, gconstpointer data)
{
    side_init(&fx->src);
    side_init(&fx->dst);
    fx->pipe = io_channel_buffer_new();
    fx->out = qemu_file_new_output(IO_CHANNEL(fx->pipe));
}

static void tear_down(Fixture *fx, gconstpointer data)
{
    qemu_fclose(fx->out, NULL);
    g_object_unref(fx->pipe);
    side_clear(&fx->src);
    side_clear(&fx->dst);
}

static void setup(Fixture *fx)
{
    g_autoptr(GError) err = NULL;

    g_assert_true(ram_save_setup(fx->out, fx->src.rs, &err));
    g_assert_no_error(err);
}

/* A whole migration of what is there: START, one PART, END. */
static void save_all(Fixture *fx)
{
    g_autoptr(GError) err = NULL;

    setup(fx);
    while (ram_save_iterate(fx->out, fx->src.rs, &err) == ITERATE_MORE) {
    }
    g_assert_no_error(err);
    fx->src.phase = RAM_PHASE_DOWNTIME;
    g_assert_true(ram_save_complete(fx->out, fx->src.rs, &err));
    g_assert_true(qemu_fflush(fx->out));
}

/* Rounds until nothing is dirty: hot memory takes two. */
static void send_all_dirty(Fixture *fx)
{
    while (ram_save_iterate(fx->out, fx->src.rs, NULL) == ITERATE_MORE ||
           fx->src.counters.ram_remaining) {
    }
}

/* Load sections from @ioc until its end; the error of the last one. */
static GError *load_from(RamSide *dst, QIOChannel *ioc)
{
    QEMUFile *in = qemu_file_new_input(ioc);
    GError *err = NULL;
    const uint8_t *p;
    bool ok = ram_load_setup(in, dst->rs, &err);

    while (ok && qemu_peek_buffer(in, &p, 1)) {
        ok = ram_load_state(in, dst->rs, RAM_SECTION_VERSION, &err);
    }
    g_assert_true(ok == !err);
    ram_load_cleanup(dst->rs);
    qemu_fclose(in, NULL);
    return err;
}

static void load_all(Fixture *fx)
{
    g_autoptr(GError) err = load_from(&fx->dst, IO_CHANNEL(fx->pipe));

    g_assert_no_error(err);
}

static void assert_same_memory(Fixture *fx)
{
    RAMBLOCK_FOREACH (block, fx->src.list) {
        RAMBlock *copy = ram_block_by_name(fx->dst.list, block->idstr);

        g_assert_true(memcmp(block->host, copy->host, block->used_length) == 0);
    }
}

/* Runs of data, zeros and untouched memory of all lengths. */
static void scribble(RAMBlock *b, GRand *rng, unsigned longest)
{
    for (uint64_t p = 0; p < ram_block_pages(b);) {
        unsigned kind = g_rand_int_range(rng, 0, 4);
        uint64_t n = g_rand_int_range(rng, 1, g_rand_boolean(rng) ? 8 : longest);

        for (; n-- && p < ram_block_pages(b); p++) {
            uint32_t *w = (uint32_t *)(b->host + p * 4096);

            for (unsigned i = 0; kind < 2 && i < 1024; i++) {
                w[i] = g_rand_int(rng) | 1;
            }
            if (kind == 2) {
                memset(w, 0, 4096);
            }
        }
    }
}

static void test_golden_setup(Fixture *fx, gconstpointer data)
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
static void test_golden_pages(Fixture *fx, gconstpointer data)
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

static void test_round_trip(Fixture *fx, gconstpointer data)
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
static void test_any_segments(Fixture *fx, gconstpointer data)
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
 * pages that are never sent, pages that come again. What was not sent stays zero.
 */
static void test_wrong_guesses(Fixture *fx, gconstpointer data)
{
    RAMBlock *b = side_add(&fx->dst, "b", 8 * MiB, RAM_MIGRATABLE);
    g_autofree uint8_t *model = g_malloc0(8 * MiB);
    GRand *rng = g_rand_new_with_seed(5);
    uint64_t pages = ram_block_pages(b);
    const char *name = "b";
    uint8_t head[RAM_HEAD_MAX];
    g_autoptr(GError) err = NULL;

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
    g_assert_true(memcmp(b->host, model, 8 * MiB) == 0);
    g_rand_free(rng);
}

static void test_untouched_stays_untouched(Fixture *fx, gconstpointer data)
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
static void test_zero_runs(Fixture *fx, gconstpointer data)
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
static void test_zero_runs_later(Fixture *fx, gconstpointer data)
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
static void test_compress(Fixture *fx, gconstpointer data)
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
static void test_deltas(Fixture *fx, gconstpointer data)
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

static void test_dirty_rounds(Fixture *fx, gconstpointer data)
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
static void test_untouched_then_written(Fixture *fx, gconstpointer data)
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

static void test_rate_limit(Fixture *fx, gconstpointer data)
{
    RAMBlock *src = side_add(&fx->src, "ram", 4 * MiB, RAM_MIGRATABLE);
    GByteArray *bytes = io_channel_buffer_bytes(fx->pipe);
    size_t before;

    memset(src->host, 1, 4 * MiB);
    setup(fx);
    qemu_fflush(fx->out);
    before = bytes->len;
    qemu_file_rate_reset(fx->out);
    qemu_file_set_rate_limit(fx->out, 20000);
    g_assert_cmpint(ram_save_iterate(fx->out, fx->src.rs, NULL), ==, ITERATE_MORE);
    qemu_fflush(fx->out);
    /* At most a page over the budget. */
    g_assert_cmpuint(bytes->len - before, >, 20000);
    g_assert_cmpuint(bytes->len - before, <=, 20000 + 4096 + 64);
    before = bytes->len;
    g_assert_cmpint(ram_save_iterate(fx->out, fx->src.rs, NULL), ==, ITERATE_MORE);
    qemu_fflush(fx->out);
    g_assert_cmpuint(bytes->len - before, ==, 8); /* used up: only EOS */
}

static void add_shared(RamSide *s, const char *name, uint64_t size, hwaddr gpa)
{
    side_add(s, name, size, RAM_MIGRATABLE | RAM_SHARED)->gpa = gpa;
}

static void test_ignore_shared(Fixture *fx, gconstpointer data)
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

static void test_ignore_shared_other_gpa(Fixture *fx, gconstpointer data)
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

static void test_resize(Fixture *fx, gconstpointer data)
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

/* ---- refusals ---- */

#define W(off, flags) \
    0, 0, 0, 0, (off) >> 24 & 255, (off) >> 16 & 255, (off) >> 8 & 255, ((off)&255) | (flags)
#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static const struct {
    const char *what;
    const uint8_t *bytes;
    size_t len;
    const char *message;
} hostile[] = {
    {"unknown block", BYTES(0, 0, 0, 0, 0, 0, 0x10, 0x04, 1, 'x', W(0x1000, 0)),
     "Unknown ramblock \"x\", cannot accept migration"},
    {"list too short for its total",
     BYTES(0, 0, 0, 0, 0, 0, 0x30, 0x04, 1, 'a', W(0x2000, 0), 0, W(0, 0x10)),
     "Unknown ramblock \"\""},
    {"list longer than its total", BYTES(0, 0, 0, 0, 0, 0, 0x10, 0x04, 1, 'a', W(0x2000, 0)),
     "exceed the announced total by 0x1000"},
    {"other size", BYTES(0, 0, 0, 0, 0, 0, 0x30, 0x04, 1, 'a', W(0x3000, 0)),
     "Size mismatch: a: 0x3000 != 0x2000"},
    {"not migratable", BYTES(0, 0, 0, 0, 0, 0, 0x10, 0x04, 1, 'n', W(0x1000, 0)),
     "\"n\" does not migrate here"},
    {"continue without block", BYTES(W(0, 0x28)), "none was named before"},
    {"zero continues without block", BYTES(W(0, 0x22), 0), "none was named before"},
    {"page of unknown block", BYTES(W(0, 0x08), 1, 'x'), "\"x\", which is unknown here"},
    {"page of unmigratable block", BYTES(W(0, 0x02), 1, 'n', 0), "\"n\", which is not migrated"},
    {"offset at the end", BYTES(W(0x2000, 0x08), 1, 'a'), "Illegal RAM offset 2000"},
    {"zero offset at the end", BYTES(W(0x2000, 0x02), 1, 'a', 0), "Illegal RAM offset 2000"},
    {"huge offset", BYTES(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0x08, 1, 'a'),
     "Illegal RAM offset fffffffffffff000"},
    {"no flag", BYTES(W(0x1000, 0)), "Unknown combination of migration flags: 0x0"},
    {"only continue", BYTES(W(0x1000, 0x20)), "Unknown combination of migration flags: 0x20"},
    {"two flags", BYTES(W(0x1000, 0x0a)), "Unknown combination of migration flags: 0xa"},
    {"FULL", BYTES(W(0x1000, 0x01)), "Unknown combination of migration flags: 0x1"},
    {"high flag", BYTES(0, 0, 0, 0, 0, 0, 0x18, 0x00),
     "Unknown combination of migration flags: 0x800"},
    {"multifd flush", BYTES(0, 0, 0, 0, 0, 0, 0x02, 0x00), "no channels here"},
    {"delta cut in its head", BYTES(W(0, 0x40), 1, 'a', 1, 0), "Unexpected end of stream"},
    {"delta cut in its body", BYTES(W(0, 0x40), 1, 'a', 1, 0, 4, 0xC8, 1),
     "Unexpected end of stream"},
    {"delta of another encoding", BYTES(W(0, 0x40), 1, 'a', 2, 0, 0), "encoding 2 with 0 bytes"},
    {"delta longer than a page", BYTES(W(0, 0x40), 1, 'a', 1, 0x10, 1), "with 4097 bytes"},
    {"delta beyond the page", BYTES(W(0, 0x40), 1, 'a', 1, 0, 5, 0xFF, 0x1F, 2, 1, 1),
     "it is damaged"},
    {"delta of no block", BYTES(W(0, 0x60), 1, 0, 0), "continues a block, but none"},
    {"compressed page", BYTES(0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a'),
     "the capability 'compress' is off here"},
    {"zero run of nothing", BYTES(0, 0, 0, 0, 0, 0, 0x04, 0x00, 1, 'a', W(0, 0)),
     "Illegal run of 0 zero pages"},
    {"zero run past the end", BYTES(0, 0, 0, 0, 0, 0, 0x14, 0x00, 1, 'a', W(0, 2)),
     "Illegal run of 2 zero pages from page 0x1 in ramblock \"a\" of 2 pages"},
    {"endless zero run",
     BYTES(0, 0, 0, 0, 0, 0, 0x14, 0x00, 1, 'a', 255, 255, 255, 255, 255, 255, 255, 255),
     "Illegal run of 18446744073709551615 zero pages"},
    {"zero run without block", BYTES(0, 0, 0, 0, 0, 0, 0x04, 0x20, W(0, 1)),
     "continues a block, but none"},
    {"zero run from the end", BYTES(0, 0, 0, 0, 0, 0, 0x24, 0x00, 1, 'a', W(0, 1)),
     "Illegal RAM offset 2000"},
    {"end inside the count of a zero run", BYTES(0, 0, 0, 0, 0, 0, 0x04, 0x00, 1, 'a', 0, 0),
     "Unexpected end of stream"},
    {"RDMA hook", BYTES(W(0, 0x80)), "which is not RDMA"},
    {"NUL in a name", BYTES(W(0, 0x08), 2, 'a', 0), "NUL"},
    {"end inside a word", BYTES(0, 0, 0), "Unexpected end of stream"},
    {"end inside a name", BYTES(W(0, 0x08), 200, 'a'), "Unexpected end of stream"},
    {"end before the fill byte", BYTES(W(0, 0x02), 1, 'a'), "Unexpected end of stream"},
    {"end inside a page", BYTES(W(0, 0x08), 1, 'a', 1, 2, 3), "Unexpected end"},
    {"end inside the list", BYTES(0, 0, 0, 0, 0, 0, 0x20, 0x04, 1, 'a', 0, 0), "Unexpected end"},
    {"end without EOS", BYTES(W(0, 0x02), 1, 'a', 0), "Unexpected end of stream"},
};

static void test_hostile(Fixture *fx, gconstpointer data)
{
    side_add(&fx->dst, "a", 0x2000, RAM_MIGRATABLE);
    side_add(&fx->dst, "n", 0x1000, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(hostile); i++) {
        g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
        g_autoptr(GError) err = NULL;

        io_channel_write_all(IO_CHANNEL(ioc), hostile[i].bytes, hostile[i].len, NULL);
        err = load_from(&fx->dst, IO_CHANNEL(ioc));
        if (!err || !strstr(err->message, hostile[i].message)) {
            g_error("%s: %s", hostile[i].what, err ? err->message : "accepted");
        }
    }
    RAMBLOCK_FOREACH (block, fx->dst.list) {
        g_assert_true(block->host[block->used_length - 1] == 0);
    }
}

static void test_hostile_compressed(Fixture *fx, gconstpointer data)
{
    static const struct {
        uint8_t bytes[24];
        size_t len;
        const char *message;
    } rows[] = {
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0, 0, 0}, 14, "its length 0 is not between"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0, 0x10, 0x0f}, 14, "its length 4111 is not"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 255, 255, 255, 255}, 14, "its length 4294967295"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0}, 12, "Unexpected end of stream"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0, 0, 9, 0x78}, 15, "Unexpected end of stream"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x20, 0, 0, 0, 1, 0}, 13, "continues a block, but none"},
        {{0, 0, 0, 0, 0, 0, 0x21, 0x00, 1, 'a', 0, 0, 0, 1, 0}, 15, "Illegal RAM offset 2000"},
        /* no zlib stream */
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x10},
         23,
         "does not inflate to 4096 bytes"},
    };

    side_add(&fx->dst, "a", 0x2000, RAM_MIGRATABLE);
    fx->dst.options.decompress_threads = 2;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
        g_autoptr(GError) err = NULL;

        io_channel_write_all(IO_CHANNEL(ioc), rows[i].bytes, rows[i].len, NULL);
        err = load_from(&fx->dst, IO_CHANNEL(ioc));
        if (!err || !strstr(err->message, rows[i].message)) {
            g_error("row %u: %s", i, err ? err->message : "accepted");
        }
    }
}

static void test_versions(Fixture *fx, gconstpointer data)
{
    QEMUFile *in = qemu_file_new_input(IO_CHANNEL(fx->pipe));

    g_assert_true(ram_load_setup(in, fx->dst.rs, NULL));
    for (int version = 3; version <= 5; version += 2) {
        g_autoptr(GError) err = NULL;

        g_assert_false(ram_load_state(in, fx->dst.rs, version, &err));
        g_assert_nonnull(strstr(err->message, "only 4 is understood"));
    }
    qemu_fclose(in, NULL);
}

/* 7.2 fills with any byte. */
static void test_fill_byte(Fixture *fx, gconstpointer data)
{
    static const uint8_t bytes[] = {W(0x1000, 0x02), 1, 'a', 0x55, W(0, 0x10)};
    RAMBlock *a = side_add(&fx->dst, "a", 0x3000, RAM_MIGRATABLE);
    g_autoptr(GError) err = NULL;

    io_channel_write_all(IO_CHANNEL(fx->pipe), bytes, sizeof(bytes), NULL);
    err = load_from(&fx->dst, IO_CHANNEL(fx->pipe));
    g_assert_no_error(err);
    g_assert_cmphex(a->host[0xfff], ==, 0);
    g_assert_cmphex(a->host[0x1000], ==, 0x55);
    g_assert_cmphex(a->host[0x1fff], ==, 0x55);
    g_assert_cmphex(a->host[0x2000], ==, 0);
}

/* ---- random damage, against a parser too simple to be wrong ---- */

/*
 * Whatever is wrong with the stream and however it is cut into pieces, the outcome and every byte
 * of memory are those of the reference: no guess leaves a trace, no byte behind the damage is taken
 * for something.
 */
static void test_random_damage(Fixture *fx, gconstpointer data)
{
    static const size_t segments[] = {0, 0, 4104, 5000, 40000};
    const uint64_t size = 2 * MiB;
    GByteArray *stream = io_channel_buffer_bytes(fx->pipe);
    g_autofree uint8_t *model = g_malloc(size);
    GRand *rng = g_rand_new_with_seed(11);
    unsigned good = 0;

    side_add(&fx->src, "ram", size, RAM_MIGRATABLE);
    scribble(ram_list_first(fx->src.list), rng, 100);
    save_all(fx);
    g_assert_cmpuint(stream->len, >, size / 4);
    for (int i = 0; i < 300; i++) {
        g_autoptr(QIOChannelBuffer) copy = io_channel_buffer_new();
        g_autofree uint8_t *bytes = g_memdup2(stream->data, stream->len);
        FaultPlan plan = FAULT_PLAN_NONE;
        g_autoptr(QIOChannel) ioc = NULL;
        g_autoptr(GError) err = NULL;
        size_t len = stream->len;
        uint64_t cut;
        RAMBlock *b;
        bool ok;

        if (i % 3 == 0) {
            len = g_rand_int_range(rng, 0, len);
        }
        for (int k = g_rand_int_range(rng, 0, 3); k > 0; k--) {
            /* Heads are rare among the bytes: aim at one in every other case. */
            size_t at = g_rand_int_range(rng, 0, stream->len);

            if (k & 1) {
                static const uint8_t page_head[] = {RAM_FLAG_PAGE | RAM_FLAG_CONTINUE};
                const uint8_t *hit = memmem(bytes + at, stream->len - at, page_head, 1);

                at = hit ? (size_t)(hit - bytes) - g_rand_int_range(rng, 0, MIN(hit - bytes, 3) + 1)
                         : at;
            }
            bytes[at] ^= 1 << g_rand_int_range(rng, 0, 8);
        }
        plan.segment = segments[g_rand_int_range(rng, 0, ARRAY_SIZE(segments))];
        ioc = fault_channel_new(IO_CHANNEL(copy), &plan, NULL);
        io_channel_write_all(IO_CHANNEL(copy), bytes, len, NULL);
        b = side_add(&fx->dst, "ram", size, RAM_MIGRATABLE);
        memset(model, 0, size);
        ok = reference_load((Bytes){bytes, len}, model, size, &cut);
        err = load_from(&fx->dst, ioc);
        if (ok != !err) {
            g_error("round %d: %s", i, err ? err->message : "accepted");
        }
        if (cut != UINT64_MAX) {
            memcpy(model + cut, b->host + cut, 4096);
        }
        g_assert_true(memcmp(model, b->host, size) == 0);
        ram_block_free(b);
        good += ok;
    }
    g_assert_cmpuint(good, >, 30);
    g_assert_cmpuint(good, <, 270);
    g_rand_free(rng);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/ram/" name, Fixture, NULL, set_up, fn, tear_down)
    ADD("golden-setup", test_golden_setup);
    ADD("golden-pages", test_golden_pages);
    ADD("round-trip", test_round_trip);
    ADD("any-segments", test_any_segments);
    ADD("wrong-guesses", test_wrong_guesses);
    ADD("untouched-stays-untouched", test_untouched_stays_untouched);
    ADD("zero-runs", test_zero_runs);
    ADD("zero-runs/later", test_zero_runs_later);
    ADD("deltas", test_deltas);
    ADD("compress", test_compress);
    ADD("compress/hostile", test_hostile_compressed);
    ADD("dirty-rounds", test_dirty_rounds);
    ADD("untouched-then-written", test_untouched_then_written);
    ADD("rate-limit", test_rate_limit);
    ADD("ignore-shared", test_ignore_shared);
    ADD("ignore-shared-other-gpa", test_ignore_shared_other_gpa);
    ADD("resize", test_resize);
    ADD("hostile", test_hostile);
    ADD("versions", test_versions);
    ADD("fill-byte", test_fill_byte);
    ADD("random-damage", test_random_damage);
    return g_test_run();
}
