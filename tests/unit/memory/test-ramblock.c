/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <sys/mman.h>
#include "memory/host-memory.h"
#include "memory/ramblock.h"
#include "memory/untouched.h"

static RAMBlock *anon(RAMList *list, const char *name, uint64_t size, uint32_t flags)
{
    g_autoptr(GError) err = NULL;
    RAMBlock *block = ram_block_new_anon(list, name, size, flags, &err);

    g_assert_no_error(err);
    return block;
}

static void test_order_and_names(void)
{
    RAMList *list = ram_list_new();
    unsigned version = ram_list_version(list);
    g_autoptr(GError) err = NULL;
    ram_addr_t offset;
    RAMBlock *rom = anon(list, "rom", 0xF000, RAM_MIGRATABLE | RAM_READONLY);
    RAMBlock *f0 = anon(list, "flash0", 32 * MiB, RAM_MIGRATABLE);
    RAMBlock *ram = anon(list, "ram", 128 * MiB, RAM_MIGRATABLE);
    RAMBlock *f1 = anon(list, "flash1", 32 * MiB, 0);
    RAMBlock *expect[] = {ram, f0, f1, rom};
    unsigned i = 0;

    RAMBLOCK_FOREACH (block, list) {
        g_assert_true(block == expect[i++]);
    }
    g_assert_cmpuint(i, ==, 4);
    g_assert_cmpuint(ram_list_version(list), !=, version);
    g_assert_true(ram_block_by_name(list, "flash1") == f1);
    g_assert_null(ram_block_by_name(list, "flash"));
    g_assert_true(ram_block_from_host(list, f0->host + 12345, &offset) == f0);
    g_assert_cmpuint(offset, ==, 12345);
    g_assert_null(ram_block_from_host(list, f0->host + 32 * MiB, &offset));
    g_assert_cmpuint((uintptr_t)ram->host % (2 * MiB), ==, 0);

    g_assert_null(ram_block_new_anon(list, "ram", 4096, 0, &err));
    g_assert_nonnull(strstr(err->message, "'ram' exists already"));
    g_clear_error(&err);
    g_assert_null(ram_block_new_anon(list, "odd", 4097, 0, &err));
    g_assert_nonnull(strstr(err->message, "not a multiple"));
    for (i = 0; i < ARRAY_SIZE(expect); i++) {
        ram_block_free(expect[i]);
    }
    ram_list_free(list);
}

static void test_guard_page(void)
{
    if (g_test_subprocess()) {
        RAMList *list = ram_list_new();
        RAMBlock *b = anon(list, "b", 8 * KiB, 0);

        *(volatile uint8_t *)(b->host + 8 * KiB) = 1;
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

static void test_resize(void)
{
    RAMList *list = ram_list_new();
    g_autoptr(GError) err = NULL;
    RAMBlock *fixed = anon(list, "fixed", 8 * KiB, 0);
    RAMBlock *flex = anon(list, "flex", 64 * KiB, RAM_RESIZEABLE);

    g_assert_true(ram_block_resize(fixed, 8 * KiB, &err));
    g_assert_false(ram_block_resize(fixed, 4 * KiB, &err));
    g_assert_cmpstr(err->message, ==, "Size mismatch: fixed: 0x1000 != 0x2000");
    g_clear_error(&err);
    memset(flex->host, 1, 64 * KiB);
    g_assert_true(ram_block_resize(flex, 16 * KiB, &err));
    g_assert_cmpuint(flex->used_length, ==, 16 * KiB);
    g_assert_false(ram_block_resize(flex, 68 * KiB, &err));
    g_assert_true(ram_block_resize(flex, 64 * KiB, NULL));
    g_assert_cmpuint(flex->host[16 * KiB - 1], ==, 1);
    g_assert_cmpuint(flex->host[16 * KiB], ==, 0);
    ram_block_free(fixed);
    ram_block_free(flex);
    ram_list_free(list);
}

#define PAGES 4096u /* 16 MiB: more than one read of pagemap, more than one vector of regions */

static void expect_untouched(const unsigned long *map, const unsigned long *touched, uint64_t first,
                             uint64_t n, bool exact)
{
    for (uint64_t i = 0; i < n; i++) {
        if (test_bit(first + i, touched)) {
            g_assert_false(test_bit(i, map));
        } else if (exact) {
            g_assert_true(test_bit(i, map));
        }
    }
}

static void test_untouched_anon(void)
{
    RAMList *list = ram_list_new();
    RAMBlock *b = anon(list, "b", PAGES * 4096, 0);
    g_autofree unsigned long *touched = bitmap_new(PAGES);
    g_autofree unsigned long *map = bitmap_new(PAGES);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    volatile uint8_t sum = 0;

    g_assert_cmpint(pagemap, >=, 0);
    ram_block_find_untouched(b, 0, PAGES, map);
    g_assert_cmpuint(bitmap_count(map, 0, PAGES), ==, PAGES);

    /* Without huge pages the answer is exact. */
    madvise(b->host, PAGES * 4096, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < PAGES; i += 3) {
        b->host[i * 4096 + i % 4096] = 1;
        set_bit(i, touched);
    }
    for (unsigned i = 1; i < PAGES; i += 3) {
        sum +=
            b->host[i * 4096]; /* maps the shared zero page: still known to be zero by the scan */
    }
    memset(map, 0xff, PAGES / 8);
    ram_block_find_untouched(b, 0, PAGES, map);
    expect_untouched(map, touched, 0, PAGES, true);
    bitmap_clear(map, 0, PAGES);
    g_assert_true(untouched_by_scan(pagemap, b->host, PAGES, map));
    expect_untouched(map, touched, 0, PAGES, true);
    bitmap_clear(map, 0, PAGES);
    g_assert_true(untouched_by_pagemap(pagemap, b->host, PAGES, map));
    expect_untouched(map, touched, 0, PAGES, false);
    g_assert_true(test_bit(2, map)); /* neither read nor written */
    ram_block_find_untouched(b, 1001, 77, map);
    expect_untouched(map, touched, 1001, 77, true);

    close(pagemap);
    ram_block_free(b);
    ram_list_free(list);
}

/* A touched page is never reported, whatever huge pages do around it. */
static void test_untouched_huge(void)
{
    RAMList *list = ram_list_new();
    RAMBlock *b = anon(list, "b", PAGES * 4096, 0);
    g_autofree unsigned long *touched = bitmap_new(PAGES);
    g_autofree unsigned long *map = bitmap_new(PAGES);

    for (unsigned i = 700; i < PAGES; i += 1100) {
        b->host[i * 4096] = 1;
        set_bit(i, touched);
    }
    ram_block_find_untouched(b, 0, PAGES, map);
    expect_untouched(map, touched, 0, PAGES, false);
    g_assert_true(test_bit(100, map));
    ram_block_free(b);
    ram_list_free(list);
}

/* Memory another mapping wrote is not "untouched" because this process has no page table entry. */
static void test_untouched_memfd(bool shared)
{
    RAMList *list = ram_list_new();
    int fd = memfd_create("test", MFD_CLOEXEC);
    HostMemoryRequest req = {PAGES * 4096, 4096, 0, fd, 8192, shared, false, false};
    g_autofree unsigned long *touched = bitmap_new(PAGES);
    g_autofree unsigned long *map = bitmap_new(PAGES);
    uint8_t *host;
    RAMBlock *b;

    g_assert_cmpint(ftruncate(fd, PAGES * 4096 + 8192), ==, 0);
    host = host_memory_map(&req, NULL);
    b = ram_block_new_host(list, "b", host, PAGES * 4096, 4096, shared ? RAM_SHARED : 0, fd, 8192,
                           NULL);
    for (unsigned i = 5; i < PAGES; i += 7) {
        g_assert_cmpint(pwrite(fd, "x", 1, 8192 + i * 4096), ==, 1);
        set_bit(i, touched);
    }
    for (unsigned i = 6; i < PAGES; i += 70) {
        host[i * 4096] = 1;
        set_bit(i, touched);
    }
    if (!shared) {
        /* The private copy outlives its page in the file. */
        g_assert_cmpint(
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192 + 76 * 4096, 4096), ==,
            0);
        g_assert_cmpuint(host[76 * 4096], ==, 1);
    }
    ram_block_find_untouched(b, 0, PAGES, map);
    expect_untouched(map, touched, 0, PAGES, true);
    ram_block_find_untouched(b, 33, 1000, map);
    expect_untouched(map, touched, 33, 1000, true);
    ram_block_free(b);
    host_memory_unmap(host, PAGES * 4096);
    close(fd);
    ram_list_free(list);
}

static void test_untouched_memfd_shared(void)
{
    test_untouched_memfd(true);
}

static void test_untouched_memfd_private(void)
{
    test_untouched_memfd(false);
}

static void test_discard(void)
{
    RAMList *list = ram_list_new();
    g_autoptr(GError) err = NULL;
    RAMBlock *b = anon(list, "b", 64 * KiB, 0);

    memset(b->host, 7, 64 * KiB);
    g_assert_true(ram_block_discard(b, 4096, 8192, &err));
    g_assert_cmpuint(b->host[4095], ==, 7);
    g_assert_cmpuint(b->host[4096], ==, 0);
    g_assert_cmpuint(b->host[3 * 4096 - 1], ==, 0);
    g_assert_cmpuint(b->host[3 * 4096], ==, 7);
    g_assert_false(ram_block_discard(b, 60 * KiB, 8 * KiB, &err));
    ram_block_free(b);
    ram_list_free(list);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ramblock/order-and-names", test_order_and_names);
    g_test_add_func("/ramblock/guard-page", test_guard_page);
    g_test_add_func("/ramblock/resize", test_resize);
    g_test_add_func("/ramblock/untouched/anon", test_untouched_anon);
    g_test_add_func("/ramblock/untouched/huge", test_untouched_huge);
    g_test_add_func("/ramblock/untouched/memfd-shared", test_untouched_memfd_shared);
    g_test_add_func("/ramblock/untouched/memfd-private", test_untouched_memfd_private);
    g_test_add_func("/ramblock/discard", test_discard);
    return g_test_run();
}
