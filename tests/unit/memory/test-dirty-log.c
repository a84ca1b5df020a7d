/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <pthread.h>
#include "memory/dirty-log.h"
#include "memory/softtlb.h"
#include "util/lock.h"

#define PAGES 512u

typedef struct {
    RAMList *list;
    RAMBlock *block;
} Fixture;

static void set_up(Fixture *fx, gconstpointer data)
{
    fx->list = ram_list_new();
    fx->block = ram_block_new_anon(fx->list, "ram", PAGES * 4096, 0, NULL);
}

static void tear_down(Fixture *fx, gconstpointer data)
{
    ram_block_free(fx->block);
    ram_list_free(fx->list);
}

static void count_barrier(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_clients(Fixture *fx, gconstpointer data)
{
    g_autofree unsigned long *map = bitmap_new(PAGES);
    unsigned barriers = 0;
    RAMBlock *later;

    dirty_log_set_write_barrier(fx->list, count_barrier, &barriers);
    g_assert_false(dirty_log_active(fx->list));
    g_assert_true(dirty_log_page_is_dirty(fx->block, 3));
    dirty_log_mark(fx->block, 0, 4096); /* nobody listens */
    g_assert_true(dirty_log_start(fx->list, DIRTY_CLIENT_MIGRATION, NULL));
    g_assert_cmpuint(barriers, ==, 1);
    g_assert_true(dirty_log_active(fx->list));
    g_assert_false(dirty_log_page_is_dirty(fx->block, 0));

    dirty_log_mark(fx->block, 3 * 4096 + 4095, 2);
    g_assert_true(dirty_log_page_is_dirty(fx->block, 3));
    g_assert_true(dirty_log_page_is_dirty(fx->block, 4));
    g_assert_true(dirty_log_start(fx->list, DIRTY_CLIENT_RATE, NULL));
    g_assert_false(dirty_log_page_is_dirty(fx->block, 3)); /* not for the second client */
    dirty_log_mark(fx->block, 60 * 4096, 10 * 4096);
    set_bit(61, map);
    g_assert_cmpuint(dirty_log_sync_block(fx->block, DIRTY_CLIENT_MIGRATION, map), ==, 11);
    g_assert_cmpuint(bitmap_count(map, 0, PAGES), ==, 12);
    g_assert_cmpuint(dirty_log_sync_block(fx->block, DIRTY_CLIENT_MIGRATION, map), ==, 0);
    bitmap_clear(map, 0, PAGES);
    g_assert_cmpuint(dirty_log_sync_block(fx->block, DIRTY_CLIENT_RATE, map), ==, 10);

    later = ram_block_new_anon(fx->list, "later", 16 * KiB, 0, NULL);
    bitmap_clear(map, 0, PAGES);
    g_assert_cmpuint(dirty_log_sync_block(later, DIRTY_CLIENT_MIGRATION, map), ==, 4);
    ram_block_free(later);

    dirty_log_mark(fx->block, 0, 4096);
    dirty_log_stop(fx->list, DIRTY_CLIENT_MIGRATION);
    g_assert_true(dirty_log_active(fx->list));
    g_assert_cmpuint(dirty_log_sync_block(fx->block, DIRTY_CLIENT_MIGRATION, map), ==, 0);
    g_assert_true(dirty_log_start(fx->list, DIRTY_CLIENT_MIGRATION, NULL));
    bitmap_clear(map, 0, PAGES);
    g_assert_cmpuint(dirty_log_sync_block(fx->block, DIRTY_CLIENT_MIGRATION, map), ==, 0);
    dirty_log_stop(fx->list, DIRTY_CLIENT_MIGRATION);
    dirty_log_stop(fx->list, DIRTY_CLIENT_RATE);
    g_assert_false(dirty_log_active(fx->list));
}

/*
 * Writers count up a word in random pages the way a vCPU does: fast while they believe the page is
 * dirty, else mark. The reader syncs, runs the barrier, copies dirty pages. After the last round
 * the copy must equal memory: a store that neither showed in a copy nor left a mark would differ.
 */
#define WRITERS 3

typedef struct {
    Fixture *fx;
    pthread_mutex_t run; /* held while between two safe points */
    bool may_write[PAGES];
    unsigned index, stop;
} Writer;

static gpointer writer_thread(gpointer data)
{
    Writer *w = data;
    RAMBlock *b = w->fx->block;
    GRand *rng = g_rand_new_with_seed(w->index);

    while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
        pthread_mutex_lock(&w->run);
        for (int i = 0; i < 50; i++) {
            unsigned page = g_rand_int_range(rng, 0, PAGES);
            uint64_t *word = (uint64_t *)(b->host + page * 4096 + w->index * 8);

            __atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
            if (!w->may_write[page]) {
                dirty_log_mark(b, page * 4096, 8);
                w->may_write[page] = dirty_log_page_is_dirty(b, page);
            }
        }
        pthread_mutex_unlock(&w->run);
    }
    g_rand_free(rng);
    return NULL;
}

static void drop_permissions(void *opaque)
{
    Writer *w = opaque;

    for (int i = 0; i < WRITERS; i++) {
        pthread_mutex_lock(&w[i].run);
        memset(w[i].may_write, 0, sizeof(w[i].may_write));
        pthread_mutex_unlock(&w[i].run);
    }
}

static void copy_dirty(RAMBlock *b, unsigned long *map, uint8_t *copy)
{
    for (unsigned p = 0; p < PAGES; p++) {
        if (test_bit(p, map)) {
            clear_bit(p, map);
            for (unsigned i = 0; i < 4096; i += 8) {
                *(uint64_t *)(copy + p * 4096 + i) =
                    __atomic_load_n((uint64_t *)(b->host + p * 4096 + i), __ATOMIC_RELAXED);
            }
        }
    }
}

static void test_no_store_is_lost(Fixture *fx, gconstpointer data)
{
    g_autofree unsigned long *map = bitmap_new(PAGES);
    g_autofree uint8_t *copy = g_malloc0(PAGES * 4096);
    g_autofree Writer *w = g_new0(Writer, WRITERS);
    GThread *threads[WRITERS];

    dirty_log_set_write_barrier(fx->list, drop_permissions, w);
    for (int i = 0; i < WRITERS; i++) {
        w[i].fx = fx;
        w[i].index = i;
        pthread_mutex_init(&w[i].run, NULL);
        memset(w[i].may_write, 1, sizeof(w[i].may_write));
    }
    for (int i = 0; i < WRITERS; i++) {
        threads[i] = g_thread_new("writer", writer_thread, &w[i]);
    }
    g_assert_true(dirty_log_start(fx->list, DIRTY_CLIENT_MIGRATION, NULL));
    bitmap_set(map, 0, PAGES);
    for (int round = 0; round < 200; round++) {
        dirty_log_sync_block(fx->block, DIRTY_CLIENT_MIGRATION, map);
        dirty_log_barrier(fx->list);
        copy_dirty(fx->block, map, copy);
    }
    for (int i = 0; i < WRITERS; i++) {
        __atomic_store_n(&w[i].stop, 1, __ATOMIC_RELAXED);
        g_thread_join(threads[i]);
    }
    dirty_log_sync_block(fx->block, DIRTY_CLIENT_MIGRATION, map);
    copy_dirty(fx->block, map, copy);
    g_assert_cmpmem(copy, PAGES * 4096, fx->block->host, PAGES * 4096);
    dirty_log_stop(fx->list, DIRTY_CLIENT_MIGRATION);
}

static void test_softtlb(Fixture *fx, gconstpointer data)
{
    AddressSpace *as = address_space_new(fx->list);
    RAMBlock *rom_block = ram_block_new_anon(fx->list, "rom", 64 * KiB, RAM_READONLY, NULL);
    g_autofree SoftTLB *tlb = g_new(SoftTLB, 1);
    g_autofree unsigned long *map = bitmap_new(PAGES);
    const uint64_t va = UINT64_C(0xffffffff80003000);
    MemoryRegion ram, rom;
    SoftTLBEntry *e;

    bql_lock();
    memory_region_init_ram(&ram, "ram", fx->block);
    memory_region_init_rom(&rom, "rom", rom_block);
    address_space_add(as, &ram, 0x80000000, 0);
    address_space_add(as, &rom, 0x1000, 0);
    bql_unlock();
    softtlb_flush(tlb);
    e = softtlb_entry(tlb, va + 5);

    /* No log: a load makes the page writable too. */
    g_assert_true(softtlb_fill(tlb, as, va + 5, 0x80002005, true, true, false, false));
    g_assert_true(e->tag_read == va && e->tag_write == va && e->tag_exec == SOFTTLB_INVALID);
    g_assert_true((uint8_t *)(va + 5 + e->addend) == fx->block->host + 0x2005);
    g_assert_false(softtlb_fill(tlb, as, va, 0x10000000, true, true, true, false));

    g_assert_true(dirty_log_start(fx->list, DIRTY_CLIENT_MIGRATION, NULL));
    softtlb_flush_write(tlb);
    g_assert_true(e->tag_read == va && e->tag_write == SOFTTLB_INVALID);
    g_assert_true(softtlb_fill(tlb, as, va, 0x80002000, true, true, true, false));
    g_assert_true(e->tag_exec == va && e->tag_write == SOFTTLB_INVALID);
    g_assert_true(softtlb_fill(tlb, as, va, 0x80002000, true, true, false, true));
    g_assert_true(e->tag_write == va);
    g_assert_cmpuint(dirty_log_sync_block(fx->block, DIRTY_CLIENT_MIGRATION, map), ==, 1);
    g_assert_true(test_bit(2, map));

    g_assert_true(softtlb_fill(tlb, as, va, 0x1000, true, true, true, true));
    g_assert_true(e->tag_read == va && e->tag_write == SOFTTLB_INVALID);
    softtlb_flush_page(tlb, va + 4096 * SOFTTLB_SIZE); /* same slot, other page */
    g_assert_true(e->tag_read == va);
    softtlb_flush_page(tlb, va + 7);
    g_assert_true(e->tag_read == SOFTTLB_INVALID && e->tag_exec == SOFTTLB_INVALID);

    dirty_log_stop(fx->list, DIRTY_CLIENT_MIGRATION);
    address_space_del(as, &ram);
    address_space_del(as, &rom);
    address_space_free(as);
    ram_block_free(rom_block);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/dirty-log/clients", Fixture, NULL, set_up, test_clients, tear_down);
    g_test_add("/dirty-log/no-store-is-lost", Fixture, NULL, set_up, test_no_store_is_lost,
               tear_down);
    g_test_add("/dirty-log/softtlb", Fixture, NULL, set_up, test_softtlb, tear_down);
    return g_test_run();
}
