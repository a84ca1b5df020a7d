/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which page goes next, and what a destination may ask for. */
#include "io/channel-buffer.h"
#include "migration/postcopy/push.h"
#include "migration/wire/postcopy.h"
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"

#define PAGES 300

typedef struct {
    RAMList *list;
    RAMBlock *ram, *rom;
    DirtyMap dirty;
    RamZero zero;
    MigrationCounters counters;
    PostcopyPush *push;
    unsigned woken;
    QIOChannelBuffer *ioc;
    QEMUFile *f;
} Source;

static void wake(void *opaque)
{
    ((Source *)opaque)->woken++;
}

/* Everything dirty, page i of ram holds byte i + 1; what @clean says has been sent already. */
static Source *source_new(const unsigned long *clean)
{
    Source *s = g_new0(Source, 1);

    s->list = ram_list_new();
    s->ram = ram_block_new_anon(s->list, "ram", PAGES << TARGET_PAGE_BITS, RAM_MIGRATABLE, NULL);
    s->rom = ram_block_new_anon(s->list, "rom", 2 << TARGET_PAGE_BITS, RAM_MIGRATABLE, NULL);
    for (unsigned i = 0; i < PAGES; i++) {
        memset(s->ram->host + i * TARGET_PAGE_SIZE, i + 1, TARGET_PAGE_SIZE);
    }
    g_assert_true(dirty_map_start(&s->dirty, s->list, false, NULL));
    for (unsigned i = 0; clean && i < PAGES; i++) {
        if (test_bit(i, clean)) {
            clear_bit(i, s->dirty.blocks[0].map);
            s->dirty.dirty_pages--;
        }
    }
    s->push = postcopy_push_new(&s->dirty, &s->zero, &s->counters, wake, s);
    s->ioc = io_channel_buffer_new();
    s->f = qemu_file_new_output(IO_CHANNEL(s->ioc));
    return s;
}

static void source_free(Source *s)
{
    qemu_fclose(s->f, NULL);
    g_object_unref(s->ioc);
    postcopy_push_free(s->push);
    ram_zero_clear(&s->zero);
    dirty_map_stop(&s->dirty);
    ram_block_free(s->ram);
    ram_block_free(s->rom);
    ram_list_free(s->list);
    g_free(s);
}

/* The pages in @ioc in their order, each as "BLOCK:PAGE "; empties it. */
static char *sent(QIOChannelBuffer *ioc, char block[256])
{
    GByteArray *bytes = io_channel_buffer_bytes(ioc);
    GString *out = g_string_new(NULL);
    size_t at = 0;

    while (at < bytes->len) {
        RamRecord rec;
        size_t used;

        g_assert_cmpint(ram_decode_record(bytes->data + at, bytes->len - at, &rec, &used), ==,
                        RAM_DECODE_OK);
        at += used;
        if (rec.flags == RAM_FLAG_EOS) {
            continue;
        }
        if (rec.named) {
            g_strlcpy(block, rec.name, 256);
        }
        if (rec.flags == RAM_FLAG_PAGE) {
            g_assert_cmpuint(bytes->data[at], ==, (uint8_t)((rec.offset >> TARGET_PAGE_BITS) + 1));
            at += TARGET_PAGE_SIZE;
        }
        g_string_append_printf(out, "%s:%u ", block, (unsigned)(rec.offset >> TARGET_PAGE_BITS));
    }
    g_byte_array_set_size(bytes, 0);
    return g_string_free(out, FALSE);
}

static char *section(Source *s)
{
    static __thread char block[256];
    g_autoptr(GError) err = NULL;

    g_assert_cmpint(postcopy_push_section(s->push, s->f, true, &err), ==, ITERATE_DONE);
    qemu_fflush(s->f);
    return sent(s->ioc, block);
}

static void ask(Source *s, const char *block, uint64_t page)
{
    g_autoptr(GError) err = NULL;

    g_assert_true(
        postcopy_push_request(s->push, block, page << TARGET_PAGE_BITS, TARGET_PAGE_SIZE, &err));
}

static void refuse(Source *s, const char *block, uint64_t offset, uint64_t length, const char *text)
{
    g_autoptr(GError) err = NULL;

    g_assert_false(postcopy_push_request(s->push, block, offset, length, &err));
    g_assert_nonnull(strstr(err->message, text));
}

static void test_order(void)
{
    Source *s = source_new(NULL);
    g_autofree char *order = NULL, *again = NULL;

    ask(s, "ram", 200);
    ask(s, NULL, 100);
    ask(s, "rom", 1);
    g_assert_cmpuint(s->woken, ==, 3);
    g_assert_true(postcopy_push_urgent(s->push));
    order = section(s);
    /* What was asked for, from behind the last of it (rom: nothing), then round from the start. */
    g_assert_true(g_str_has_prefix(order, "ram:200 ram:100 rom:1 ram:0 ram:1 "));
    g_assert_true(g_str_has_suffix(order, "ram:299 rom:0 "));
    g_assert_null(strstr(order + 20, "ram:200 "));
    g_assert_cmpuint(postcopy_push_left(s->push), ==, 0);
    ask(s, "ram", 7); /* sent: on its way */
    again = section(s);
    g_assert_cmpstr(again, ==, "");
    g_assert_cmpuint(s->counters.postcopy_requests, ==, 4);
    g_assert_cmpuint(s->counters.normal_pages + s->counters.zero_pages, ==, PAGES + 2);
    source_free(s);
}

static void test_follow(void)
{
    Source *s = source_new(NULL);
    g_autofree char *order = NULL;

    ask(s, "ram", 150);
    order = section(s);
    g_assert_true(g_str_has_prefix(order, "ram:150 ram:151 ram:152 "));
    source_free(s);
}

static void test_urgent_channel(gconstpointer again)
{
    Source *s = source_new(NULL);
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *urgent = qemu_file_new_output(IO_CHANNEL(ioc));
    g_autofree char *order = NULL, *rest = NULL, *late = NULL, *end = NULL;
    char block[256] = "";

    postcopy_push_set_urgent_file(s->push, urgent, again);
    ask(s, "ram", 5);
    ask(s, NULL, 6);
    ask(s, NULL, 5);
    ask(s, "rom", 0);
    g_assert_cmpuint(s->woken, ==, 0);
    order = sent(ioc, block);
    g_assert_cmpstr(order, ==, again ? "ram:5 ram:6 ram:5 rom:0 " : "ram:5 ram:6 rom:0 ");
    rest = section(s);
    g_assert_null(strstr(rest, "ram:5 "));
    g_assert_cmpuint(postcopy_push_left(s->push), ==, 0);
    ask(s, "ram", 7); /* the background has sent it, but it may be on its way for long */
    late = sent(ioc, block);
    g_assert_cmpstr(late, ==, again ? "ram:7 " : "");
    postcopy_push_end_urgent(s->push);
    ask(s, "ram", 8);
    end = sent(ioc, block);
    g_assert_cmpstr(end, ==, "");
    qemu_fclose(urgent, NULL);
    source_free(s);
}

/* Pages in @order that are not in @seen yet; none twice. */
static unsigned note_pages(const char *order, unsigned long *seen)
{
    g_auto(GStrv) pages = g_strsplit(order, " ", -1);
    unsigned n = 0;

    for (; pages[n] && *pages[n]; n++) {
        uint64_t page = g_ascii_strtoull(strchr(pages[n], ':') + 1, NULL, 10);

        page += g_str_has_prefix(pages[n], "rom") ? PAGES : 0;
        g_assert_false(test_bit(page, seen));
        set_bit(page, seen);
    }
    return n;
}

/* Three walks in turn, a few pages at a time: each page goes once, each walk has its own start. */
static void test_walks(void)
{
    Source *s = source_new(NULL);
    g_autofree unsigned long *seen = bitmap_new(PAGES + 2);
    static const char *const starts[] = {"ram:0 ", "ram:100 ", "ram:200 "};
    QIOChannelBuffer *ioc[3];
    QEMUFile *f[3];
    PostcopyWalk *walk[3];
    unsigned total = 0;
    bool sent_some = true;

    for (unsigned i = 0; i < 3; i++) {
        ioc[i] = io_channel_buffer_new();
        f[i] = qemu_file_new_output(IO_CHANNEL(ioc[i]));
        walk[i] = postcopy_walk_new(s->push, i, 3);
    }
    while (sent_some) {
        sent_some = false;
        for (unsigned i = 0; i < 3; i++) {
            bool more;

            g_assert_true(postcopy_walk_on(walk[i], f[i], 7, &more, NULL));
            sent_some |= more;
        }
    }
    g_assert_cmpuint(postcopy_push_left(s->push), ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *order = NULL;
        char block[256] = "";

        qemu_fflush(f[i]);
        order = sent(ioc[i], block);
        g_assert_true(g_str_has_prefix(order, starts[i]));
        total += note_pages(order, seen);
        postcopy_walk_free(walk[i]);
        qemu_fclose(f[i], NULL);
        g_object_unref(ioc[i]);
    }
    g_assert_cmpuint(total, ==, PAGES + 2);
    source_free(s);
}

/* A window that is nearly used up is not exceeded by much. */
static void test_step(void)
{
    Source *s = source_new(NULL);

    g_assert_cmpuint(postcopy_walk_step(s->f), ==, 64);
    qemu_file_set_rate_limit(s->f, 5 * TARGET_PAGE_SIZE);
    g_assert_cmpuint(postcopy_walk_step(s->f), ==, 5);
    qemu_file_account(s->f, 6 * TARGET_PAGE_SIZE);
    g_assert_cmpuint(postcopy_walk_step(s->f), ==, 1);
    source_free(s);
}

static void test_hostile(void)
{
    Source *s = source_new(NULL);

    refuse(s, NULL, 0, 4096, "without naming a RAM block");
    refuse(s, "nobody", 0, 4096, "'nobody'");
    refuse(s, "ram", PAGES << TARGET_PAGE_BITS, 4096, "pages of 0x1000");
    refuse(s, "ram", 0, (PAGES + 1) << TARGET_PAGE_BITS, "pages of 0x1000");
    refuse(s, "ram", UINT64_MAX - 4095, 4096, "pages of 0x1000");
    refuse(s, "ram", 17, 4096, "pages of 0x1000");
    refuse(s, "ram", 0, 17, "pages of 0x1000");
    refuse(s, "ram", 0, 0, "pages of 0x1000");
    g_assert_true(postcopy_push_request(s->push, "ram", 0, PAGES << TARGET_PAGE_BITS, NULL));
    source_free(s);
}

/* A destination that asks for the same pages without end does not cost memory without end. */
static void test_flood(void)
{
    Source *s = source_new(NULL);
    g_autoptr(GError) err = NULL;
    unsigned n = 0;

    while (postcopy_push_request(s->push, "ram", 0, PAGES << TARGET_PAGE_BITS, &err)) {
        g_assert_cmpuint(n++, <, 1000);
    }
    g_assert_nonnull(strstr(err->message, "without end"));
    source_free(s);
}

static void test_discards(void)
{
    g_autofree unsigned long *clean = bitmap_new(PAGES);
    const GByteArray *bytes;
    Source *s;
    unsigned ranges = 0;
    size_t at = 0;
    uint64_t pages = 0;

    for (unsigned i = 0; i < PAGES / 2; i += 3) {
        set_bit(i, clean);
    }
    s = source_new(clean);
    postcopy_push_discards(s->push, s->f);
    qemu_fflush(s->f);
    bytes = io_channel_buffer_bytes(s->ioc);
    while (at < bytes->len) {
        StreamItem item;
        PostcopyDiscard d;
        size_t used;

        g_assert_cmpint(stream_decode_item(bytes->data + at, bytes->len - at, &item, &used, NULL),
                        ==, DECODE_OK);
        g_assert_cmpint(item.command, ==, STREAM_CMD_POSTCOPY_RAM_DISCARD);
        at += used;
        g_assert_true(postcopy_decode_discard(bytes->data + at, item.command_len, &d, NULL));
        g_assert_cmpuint(d.n, <=, POSTCOPY_RANGES_MAX);
        at += item.command_len;
        for (unsigned i = 0; i < d.n; i++) {
            pages += postcopy_discard_range(&d, i).length >> TARGET_PAGE_BITS;
        }
        ranges += d.n;
    }
    g_assert_cmpuint(ranges, ==, 50 + 1); /* the last of ram reaches to its end; and rom */
    g_assert_cmpuint(pages, ==, PAGES - 50 + 2);
    source_free(s);
}

static void test_restart(void)
{
    Source *s = source_new(NULL);
    g_autofree unsigned long *received = bitmap_new(PAGES);
    g_autofree char *all = section(s), *order = NULL;
    const char *name;
    uint64_t bits;

    g_assert_true(postcopy_push_block(s->push, 0, &name, &bits));
    g_assert_true(g_str_equal(name, "ram") && bits == PAGES);
    g_assert_true(postcopy_push_block(s->push, 1, &name, &bits));
    g_assert_false(postcopy_push_block(s->push, 2, &name, &bits));
    bitmap_set(received, 0, PAGES);
    clear_bit(3, received);
    clear_bit(PAGES - 1, received);
    g_assert_true(postcopy_push_set_received(s->push, "ram", received, NULL));
    g_assert_false(postcopy_push_set_received(s->push, "nobody", received, NULL));
    postcopy_push_restart(s->push);
    g_assert_cmpuint(postcopy_push_left(s->push), ==, 2);
    refuse(s, NULL, 0, 4096, "without naming a RAM block");
    order = section(s);
    g_assert_cmpstr(order, ==, "ram:3 ram:299 ");
    source_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/postcopy-push/order", test_order);
    g_test_add_func("/postcopy-push/follow", test_follow);
    g_test_add_data_func("/postcopy-push/urgent-channel/once", NULL, test_urgent_channel);
    g_test_add_data_func("/postcopy-push/urgent-channel/again", "again", test_urgent_channel);
    g_test_add_func("/postcopy-push/walks", test_walks);
    g_test_add_func("/postcopy-push/step", test_step);
    g_test_add_func("/postcopy-push/hostile", test_hostile);
    g_test_add_func("/postcopy-push/flood", test_flood);
    g_test_add_func("/postcopy-push/discards", test_discards);
    g_test_add_func("/postcopy-push/restart", test_restart);
    return g_test_run();
}
