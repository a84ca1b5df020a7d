/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages of a channel into memory that is watched, and the books about them. */
#include <sys/mman.h>
#include "io/channel-buffer.h"
#include "migration/postcopy/place.h"
#include "migration/wire/ram.h"
#include "util/userfaultfd.h"

#define PAGES 600

typedef struct {
    RAMList *list;
    RAMBlock *ram, *rom;
    PostcopyPlace place;
    PostcopyLoader *loader;
    GByteArray *bytes;
    void *huge;
} Guest;

static unsigned features;

static Guest *guest_new(uint64_t page_size)
{
    Guest *g = g_new0(Guest, 1);

    g->list = ram_list_new();
    if (page_size == TARGET_PAGE_SIZE) {
        g->ram =
            ram_block_new_anon(g->list, "ram", PAGES << TARGET_PAGE_BITS, RAM_MIGRATABLE, NULL);
    } else {
        g->huge = mmap(NULL, 2 * page_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
        if (g->huge == MAP_FAILED) {
            ram_list_free(g->list);
            g_free(g);
            g_test_skip("the host has no free huge pages");
            return NULL;
        }
        g->ram = ram_block_new_host(g->list, "ram", g->huge, 2 * page_size, page_size,
                                    RAM_MIGRATABLE, -1, 0, NULL);
    }
    g->rom = ram_block_new_anon(g->list, "rom", 4 << TARGET_PAGE_BITS, RAM_MIGRATABLE, NULL);
    g_assert_true(postcopy_pages_init(&g->place.pages, g->list, NULL));
    g->place.largest_page = page_size;
    g->place.zeroes = g_malloc0(page_size);
    g->place.uffd = uffd_open(features & UFFD_CAN_HUGETLB, NULL);
    for (unsigned i = 0; i < g->place.pages.n; i++) {
        PostcopyBlock *pb = &g->place.pages.blocks[i];

        postcopy_pages_drop(&g->place.pages, pb, 0, pb->length >> TARGET_PAGE_BITS);
        g_assert_true(
            uffd_register(g->place.uffd, pb->block->host, pb->length, UFFD_MISSING, NULL));
        pb->has_zero = uffd_range_has_zero(g->place.uffd, pb->block->host, pb->length);
    }
    g->loader = postcopy_loader_new(&g->place, true, NULL);
    g->bytes = g_byte_array_new();
    return g;
}

static void guest_free(Guest *g)
{
    postcopy_loader_free(g->loader);
    close(g->place.uffd);
    postcopy_pages_clear(&g->place.pages);
    g_free(g->place.zeroes);
    if (g->huge) {
        munmap(g->huge, g->ram->max_length);
    }
    ram_block_free(g->ram);
    ram_block_free(g->rom);
    ram_list_free(g->list);
    g_byte_array_unref(g->bytes);
    g_free(g);
}

/* ---- what the source sends ---- */

static void put(Guest *g, uint64_t page, unsigned flags, const char *name)
{
    uint8_t head[RAM_HEAD_MAX];

    g_byte_array_append(g->bytes, head, ram_put_head(head, page << TARGET_PAGE_BITS, flags, name));
}

static void put_page(Guest *g, uint64_t page, const char *name, uint8_t fill)
{
    uint8_t bytes[TARGET_PAGE_SIZE];

    memset(bytes, fill, sizeof(bytes));
    put(g, page, RAM_FLAG_PAGE, name);
    g_byte_array_append(g->bytes, bytes, sizeof(bytes));
}

static void put_zero(Guest *g, uint64_t page, const char *name, uint8_t fill)
{
    put(g, page, RAM_FLAG_ZERO, name);
    g_byte_array_append(g->bytes, &fill, 1);
}

static bool load(Guest *g, GError **errp)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f;
    bool ok;

    g_byte_array_append(io_channel_buffer_bytes(ioc), g->bytes->data, g->bytes->len);
    g_byte_array_set_size(g->bytes, 0);
    f = qemu_file_new_input(IO_CHANNEL(ioc));
    ok = postcopy_loader_run(g->loader, f, errp);
    qemu_fclose(f, NULL);
    return ok;
}

static void load_ok(Guest *g)
{
    g_autoptr(GError) err = NULL;
    uint8_t eos[RAM_WORD_BYTES];

    ram_put_word(eos, RAM_FLAG_EOS);
    g_byte_array_append(g->bytes, eos, sizeof(eos));
    g_assert_true(load(g, &err));
    g_assert_no_error(err);
}

static void load_bad(Guest *g, const char *text)
{
    g_autoptr(GError) err = NULL;

    g_assert_false(load(g, &err));
    g_assert_nonnull(strstr(err->message, text));
    postcopy_loader_reset(g->loader);
}

/* ---- tests ---- */

static void test_small(void)
{
    Guest *g = guest_new(TARGET_PAGE_SIZE);
    PostcopyBlock *ram = postcopy_block_by_name(&g->place.pages, "ram");

    /* More than one run and one buffer; zeroes in between; another block; back again. */
    put_page(g, 0, "ram", 1);
    for (unsigned i = 1; i < 200; i++) {
        put_page(g, i, NULL, i);
    }
    for (unsigned i = 200; i < 400; i++) {
        put_zero(g, i, NULL, 0);
    }
    put_zero(g, 500, NULL, 9);
    put_page(g, 3, "rom", 77);
    load_ok(g);
    put_page(g, 0, "ram", 55); /* there already: stays */
    put_page(g, PAGES - 1, NULL, 44);
    load_ok(g);
    g_assert_cmpuint(g->ram->host[0], ==, 1);
    for (unsigned i = 1; i < 200; i++) {
        g_assert_cmpuint(g->ram->host[(i + 1) * TARGET_PAGE_SIZE - 1], ==, i);
    }
    g_assert_cmpuint(g->ram->host[300 * TARGET_PAGE_SIZE], ==, 0);
    g_assert_cmpuint(g->ram->host[500 * TARGET_PAGE_SIZE + 8], ==, 9);
    g_assert_cmpuint(g->ram->host[(PAGES - 1) * TARGET_PAGE_SIZE], ==, 44);
    g_assert_cmpuint(g->rom->host[3 * TARGET_PAGE_SIZE], ==, 77);
    g_assert_cmpuint(bitmap_count(ram->received, 0, PAGES), ==, 402);
    g_assert_cmpuint(postcopy_pages_missing(&g->place.pages), ==, PAGES + 4 - 403);
    g_assert_false(postcopy_page_received(ram, 400));
    guest_free(g);
}

static void test_huge(void)
{
    Guest *g = guest_new(2 * MiB);
    PostcopyBlock *ram;

    if (!g) {
        return;
    }
    ram = postcopy_block_by_name(&g->place.pages, "ram");
    put_page(g, 512, "ram", 8);
    for (unsigned i = 513; i < 700; i++) {
        put_page(g, i, NULL, 9);
    }
    load_ok(g);
    g_assert_false(postcopy_page_received(ram, 512));
    for (unsigned i = 700; i < 1024; i++) {
        put_zero(g, i, NULL, 0);
    }
    load_ok(g);
    g_assert_true(postcopy_page_received(ram, 512) && postcopy_page_received(ram, 1023));
    g_assert_cmpuint(g->ram->host[512 * TARGET_PAGE_SIZE], ==, 8);
    g_assert_cmpuint(g->ram->host[699 * TARGET_PAGE_SIZE], ==, 9);
    g_assert_cmpuint(g->ram->host[1023 * TARGET_PAGE_SIZE], ==, 0);
    /* All zero. */
    put_zero(g, 0, "ram", 0);
    for (unsigned i = 1; i < 512; i++) {
        put_zero(g, i, NULL, 0);
    }
    load_ok(g);
    g_assert_cmpuint(g->ram->host[511 * TARGET_PAGE_SIZE], ==, 0);
    guest_free(g);
}

static void test_huge_hostile(void)
{
    Guest *g = guest_new(2 * MiB);

    if (!g) {
        return;
    }
    put_page(g, 1, "ram", 1); /* not the first piece */
    load_bad(g, "in the middle of a huge page");
    put_page(g, 0, "ram", 1);
    put_page(g, 2, NULL, 1); /* a gap */
    load_bad(g, "in the middle of a huge page");
    put_page(g, 0, "ram", 1);
    put_page(g, 512, NULL, 1); /* another one */
    load_bad(g, "in the middle of a huge page");
    guest_free(g);
}

static void test_hostile(void)
{
    Guest *g = guest_new(TARGET_PAGE_SIZE);

    put_page(g, 0, NULL, 1);
    load_bad(g, "none was named before");
    put_page(g, 0, "nobody", 1);
    load_bad(g, "unknown here");
    put_page(g, PAGES, "ram", 1);
    load_bad(g, "Illegal RAM offset");
    put(g, 0, RAM_FLAG_XBZRLE, "ram");
    load_bad(g, "postcopy mode");
    put(g, 0, RAM_FLAG_PAGE, "ram");
    load_bad(g, "end of stream");
    guest_free(g);
}

static void test_books(void)
{
    Guest *g = guest_new(TARGET_PAGE_SIZE);
    PostcopyPages *pages = &g->place.pages;
    PostcopyBlock *ram = postcopy_block_by_name(pages, "ram"), *found;
    uint64_t page;

    found = postcopy_block_by_address(&g->place.pages, (uintptr_t)g->rom->host + 4097, &page);
    g_assert_true(found->block == g->rom && page == 1);
    g_assert_null(postcopy_block_by_address(&g->place.pages,
                                            (uintptr_t)g->rom->host + g->rom->max_length, &page));
    g_assert_cmpuint(postcopy_next_requested(ram, 0), ==, UINT64_MAX);
    g_assert_false(postcopy_pages_wanted(pages));
    g_assert_true(postcopy_page_request(pages, ram, 130));
    g_assert_false(postcopy_page_request(pages, ram, 130)); /* on its way */
    g_assert_true(postcopy_page_request(pages, ram, PAGES - 1));
    g_assert_cmpuint(postcopy_next_requested(ram, 0), ==, 130);
    g_assert_cmpuint(postcopy_next_requested(ram, 131), ==, PAGES - 1);
    g_assert_true(postcopy_place(&g->place, ram, 128, 8, NULL, NULL));
    g_assert_cmpuint(postcopy_next_requested(ram, 0), ==, PAGES - 1);
    g_assert_false(postcopy_page_request(pages, ram, 130)); /* here */
    g_assert_true(postcopy_pages_wanted(pages));
    g_assert_true(postcopy_place(&g->place, ram, PAGES - 1, 1, NULL, NULL));
    g_assert_false(postcopy_pages_wanted(pages));
    guest_free(g);
}

int main(int argc, char **argv)
{
    GError *err = NULL;

    g_test_init(&argc, &argv, NULL);
    if (!uffd_probe(&features, &err)) {
        printf("1..0 # SKIP %s\n", err->message);
        g_error_free(err);
        return 0;
    }
    g_test_add_func("/postcopy-place/small", test_small);
    g_test_add_func("/postcopy-place/huge", test_huge);
    g_test_add_func("/postcopy-place/huge-hostile", test_huge_hostile);
    g_test_add_func("/postcopy-place/hostile", test_hostile);
    g_test_add_func("/postcopy-place/books", test_books);
    return g_test_run();
}
