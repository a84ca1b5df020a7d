/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mapped-ram: the header's bytes, what is refused, pages to a file and back by several threads. */
#include <fcntl.h>
#include "io/channel-file.h"
#include "migration/ram/page-io.h"
#include "migration/wire/mapped.h"

/* A block of 128 MiB whose entry ends at 0x55 (spec 20 section 12). */
#define AT    UINT64_C(0x55)
#define PAGES UINT64_C(0x8000)

static const uint8_t golden[MAPPED_HEADER_BYTES] = {
    0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0x71, 0, 0, 0, 0, 0, 0x10, 0, 0,
};

static void test_header(void)
{
    MappedLayout l = mapped_layout(AT, PAGES), back;
    uint8_t bytes[MAPPED_HEADER_BYTES];

    g_assert_cmphex(l.bitmap_offset, ==, 0x71);
    g_assert_cmphex(l.pages_offset, ==, 0x100000);
    mapped_put_header(bytes, &l);
    g_assert_cmpmem(bytes, sizeof(bytes), golden, sizeof(golden));
    g_assert_true(mapped_get_header(golden, AT, PAGES, &back, NULL));
    g_assert_cmpmem(&back, sizeof(back), &l, sizeof(l));
    /* a bitmap that ends on a boundary, and one that goes just beyond it */
    l = mapped_layout(MAPPED_PAGES_ALIGN - MAPPED_HEADER_BYTES - 8, 64);
    g_assert_cmphex(l.pages_offset, ==, MAPPED_PAGES_ALIGN);
    l = mapped_layout(MAPPED_PAGES_ALIGN - MAPPED_HEADER_BYTES - 8, 65);
    g_assert_cmphex(l.pages_offset, ==, 2 * MAPPED_PAGES_ALIGN);
}

static void test_bad_headers(void)
{
    static const struct {
        unsigned byte;
        uint8_t value;
        const char *text;
    } rows[] = {
        {3, 2, "has version 2, not 1"},
        {10, 0x20, "has pages of 8192 bytes"},
        {19, 0x72, "instead of right behind it"},
        {27, 1, "not aligned"},
        {25, 0, "inside the bitmap"},
        {20, 0x80, "beyond any file"},
        {20, 0x7f, "beyond any file"},
    };
    MappedLayout l;

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(GError) err = NULL;
        uint8_t bytes[MAPPED_HEADER_BYTES];

        memcpy(bytes, golden, sizeof(bytes));
        bytes[rows[i].byte] = rows[i].value;
        if (rows[i].byte == 20 && rows[i].value == 0x7f) {
            memset(bytes + 21, 0xff, 5);
            bytes[26] = 0xf0;
            bytes[27] = 0;
        }
        g_assert_false(mapped_get_header(bytes, AT, PAGES, &l, &err));
        g_assert_nonnull(strstr(err->message, rows[i].text));
        g_assert_nonnull(strstr(err->message, "offset 85"));
    }
}

static void test_bitmap(void)
{
    unsigned long map[2] = {~0UL, 1UL << 6};

    g_assert_true(mapped_check_bitmap(map, 128, NULL));
    g_assert_true(mapped_check_bitmap(map, 71, NULL));
    g_assert_false(mapped_check_bitmap(map, 70, NULL));
    g_assert_true(mapped_check_bitmap(map, 64, NULL));
}

#define FILE_PAGES 1024
#define PAGE       4096

/* Every second page, so that nothing merges; then all of them in one drain interval. */
static void test_page_io(void)
{
    g_autofree char *path = g_strdup("/tmp/godwit-mapped-XXXXXX");
    QIOChannelFile *f = io_channel_file_new_fd(g_mkstemp(path));
    g_autofree uint8_t *out = g_malloc(FILE_PAGES * PAGE);
    uint8_t *in = g_aligned_alloc0(FILE_PAGES, PAGE, PAGE);
    g_autoptr(GError) err = NULL;
    PageIO *io = page_io_new(IO_CHANNEL(f), PAGE_IO_WRITE, 3, NULL);

    for (unsigned i = 0; i < FILE_PAGES * PAGE; i++) {
        out[i] = i * 2654435761u >> 13;
    }
    for (unsigned odd = 0; odd < 2; odd++) {
        for (unsigned i = odd; i < FILE_PAGES; i += 2) {
            g_assert_true(page_io_queue(io, out + i * PAGE, PAGE, 100 * PAGE + i * PAGE, NULL));
        }
        g_assert_true(page_io_drain(io, NULL));
    }
    page_io_free(io);
    io = page_io_new(IO_CHANNEL(f), PAGE_IO_READ, 99, NULL);
    g_assert_true(page_io_queue(io, in, FILE_PAGES * PAGE / 2, 100 * PAGE, NULL));
    g_assert_true(page_io_queue(io, in + FILE_PAGES * PAGE / 2, FILE_PAGES * PAGE / 2,
                                100 * PAGE + FILE_PAGES * PAGE / 2, NULL));
    g_assert_true(page_io_drain(io, NULL));
    g_assert_cmpmem(in, FILE_PAGES * PAGE, out, FILE_PAGES * PAGE);
    /* behind the end of the file: one error, which stays */
    page_io_queue(io, in, PAGE, (100 + FILE_PAGES) * PAGE, NULL);
    g_assert_false(page_io_drain(io, &err));
    g_assert_nonnull(strstr(err->message, "Guest memory at file offset 4603904: "));
    g_assert_false(page_io_drain(io, NULL));
    page_io_free(io);
    io_channel_close(IO_CHANNEL(f), NULL);
    g_object_unref(f);
    g_aligned_free(in);
    unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mapped/header", test_header);
    g_test_add_func("/mapped/bad-headers", test_bad_headers);
    g_test_add_func("/mapped/bitmap", test_bitmap);
    g_test_add_func("/mapped/page-io", test_page_io);
    return g_test_run();
}
