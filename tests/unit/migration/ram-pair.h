/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source and destination of the ram section in one process, a buffer between them. */
#ifndef GODWIT_TESTS_RAM_PAIR_H
#define GODWIT_TESTS_RAM_PAIR_H

#include "ram-side.h"

typedef struct {
    RamSide src, dst;
    QIOChannelBuffer *pipe;
    QEMUFile *out;
} RamPair;

static inline void set_up(RamPair *fx, gconstpointer data)
{
    side_init(&fx->src);
    side_init(&fx->dst);
    fx->pipe = io_channel_buffer_new();
    fx->out = qemu_file_new_output(IO_CHANNEL(fx->pipe));
}

static inline void tear_down(RamPair *fx, gconstpointer data)
{
    qemu_fclose(fx->out, NULL);
    g_object_unref(fx->pipe);
    side_clear(&fx->src);
    side_clear(&fx->dst);
}

static inline void setup(RamPair *fx)
{
    g_autoptr(GError) err = NULL;

    g_assert_true(ram_save_setup(fx->out, fx->src.rs, &err));
    g_assert_no_error(err);
}

/* A whole migration of what is there: START, one PART, END. */
static inline void save_all(RamPair *fx)
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
static inline void send_all_dirty(RamPair *fx)
{
    while (ram_save_iterate(fx->out, fx->src.rs, NULL) == ITERATE_MORE ||
           fx->src.counters.ram_remaining) {
    }
}

/* Load sections from @ioc until its end; the error of the last one. */
static inline GError *load_from(RamSide *dst, QIOChannel *ioc)
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

static inline void load_all(RamPair *fx)
{
    g_autoptr(GError) err = load_from(&fx->dst, IO_CHANNEL(fx->pipe));

    g_assert_no_error(err);
}

static inline void assert_same_memory(RamPair *fx)
{
    RAMBLOCK_FOREACH (block, fx->src.list) {
        RAMBlock *copy = ram_block_by_name(fx->dst.list, block->idstr);

        g_assert_true(memcmp(block->host, copy->host, block->used_length) == 0);
    }
}

/* Runs of data, zeros and untouched memory of all lengths. */
static inline void scribble(RAMBlock *b, GRand *rng, unsigned longest)
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

#endif
