/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that comes from a file when it is touched: contents, zero pages, the end, a file that
 * fails. */
#include <fcntl.h>
#include "io/channel-file.h"
#include "migration/ram/lazy.h"
#include "util/userfaultfd.h"

#define PAGES 600 /* the last chunk is a part of one */
#define PAGE  4096
#define AT    8192

typedef struct {
    char *path;
    QIOChannelFile *file;
    RAMList *list;
    RAMBlock *block;
    RamLazy *lazy;
    unsigned stuck, unstuck;
    bool may_retry, complete;
    uint64_t bytes;
} Fixture;

static bool is_data(unsigned page)
{
    return page % 7 != 3 && (page < 100 || page >= 200);
}

static uint8_t content(unsigned page, unsigned offset)
{
    return is_data(page) ? (page * 31 + offset * 7) | 1 : 0;
}

static void on_stuck(void *opaque, uint32_t thread, GError *err)
{
    g_assert_nonnull(strstr(err->message, "file"));
    g_error_free(err);
    __atomic_fetch_add(&((Fixture *)opaque)->stuck, 1, __ATOMIC_SEQ_CST);
}

static bool on_retry(void *opaque)
{
    return __atomic_load_n(&((Fixture *)opaque)->may_retry, __ATOMIC_SEQ_CST);
}

static void on_unstuck(void *opaque, uint32_t thread)
{
    __atomic_fetch_add(&((Fixture *)opaque)->unstuck, 1, __ATOMIC_SEQ_CST);
}

static void on_complete(void *opaque, uint64_t bytes)
{
    Fixture *fx = opaque;

    fx->bytes = bytes;
    __atomic_store_n(&fx->complete, true, __ATOMIC_SEQ_CST);
}

static const RamLazyEvents events = {on_stuck, on_retry, on_unstuck, on_complete};

static void write_pages(Fixture *fx)
{
    for (unsigned p = 0; p < PAGES; p++) {
        uint8_t page[PAGE];
        struct iovec iov = {page, PAGE};

        for (unsigned i = 0; i < PAGE; i++) {
            page[i] = is_data(p) ? content(p, i) : 0xEE; /* not to be looked at */
        }
        g_assert_true(io_channel_pwritev_all(IO_CHANNEL(fx->file), &iov, 1, AT + p * PAGE, NULL));
    }
}

static bool fixture_init(Fixture *fx)
{
    unsigned long *map = bitmap_new(PAGES);
    g_autoptr(GError) err = NULL;
    unsigned features;

    memset(fx, 0, sizeof(*fx));
    if (!uffd_probe(&features, &err)) {
        g_test_skip(err->message);
        g_free(map);
        return false;
    }
    fx->path = g_strdup("/tmp/godwit-lazy-XXXXXX");
    fx->file = io_channel_file_new_fd(g_mkstemp(fx->path));
    write_pages(fx);
    fx->list = ram_list_new();
    fx->block = ram_block_new_anon(fx->list, "ram", PAGES * PAGE, RAM_MIGRATABLE, NULL);
    memset(fx->block->host, 0x55, 100 * PAGE); /* what was there before is gone */
    for (unsigned p = 0; p < PAGES; p++) {
        if (is_data(p)) {
            bitmap_set(map, p, 1);
        }
    }
    g_assert_true(ram_lazy_can(fx->block));
    fx->lazy = ram_lazy_new(IO_CHANNEL(fx->file), 1, &events, fx, NULL);
    g_assert_true(ram_lazy_add(fx->lazy, fx->block, map, AT, NULL));
    return true;
}

static void fixture_clear(Fixture *fx)
{
    ram_lazy_free(fx->lazy);
    ram_block_free(fx->block);
    ram_list_free(fx->list);
    g_object_unref(fx->file);
    unlink(fx->path);
    g_free(fx->path);
}

static void check_page(Fixture *fx, unsigned page)
{
    const uint8_t *host = fx->block->host + page * PAGE;

    for (unsigned i = 0; i < PAGE; i += 61) {
        g_assert_cmphex(host[i], ==, content(page, i));
    }
}

static void test_faults(void)
{
    Fixture fx;

    if (!fixture_init(&fx)) {
        return;
    }
    for (unsigned i = 0; i < PAGES; i++) {
        check_page(&fx, i * 277 % PAGES);
    }
    g_assert_false(fx.complete); /* nobody has said that this was all */
    fixture_clear(&fx);
}

static void wait_flag(bool *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_SEQ_CST)) {
        g_usleep(1000);
    }
}

static void test_prefetch(void)
{
    unsigned long untouched[PAGES / 64 + 1];
    unsigned data = 0;
    Fixture fx;

    if (!fixture_init(&fx)) {
        return;
    }
    fx.block->host[5 * PAGE] = 0x77; /* a write is a touch, too, and is kept */
    ram_lazy_prefetch(fx.lazy, 2);
    wait_flag(&fx.complete);
    g_assert_cmphex(fx.block->host[5 * PAGE], ==, 0x77);
    g_assert_cmphex(fx.block->host[5 * PAGE + 1], ==, content(5, 1));
    /* chunks without data stay untouched; they read as zero without us */
    bitmap_clear(untouched, 0, PAGES);
    ram_block_find_untouched(fx.block, 0, PAGES, untouched);
    g_assert_true(test_bit(150, untouched));
    for (unsigned p = 0; p < PAGES; p++) {
        data += is_data(p);
        if (p != 5) {
            check_page(&fx, p);
        }
    }
    g_assert_cmpuint(fx.bytes, >=, data * PAGE);
    fixture_clear(&fx);
}

typedef struct {
    Fixture *fx;
    bool done;
} Toucher;

static gpointer touch(gpointer opaque)
{
    Toucher *t = opaque;

    check_page(t->fx, PAGES - 1);
    __atomic_store_n(&t->done, true, __ATOMIC_SEQ_CST);
    return NULL;
}

/* The file loses its end: who touches it sleeps, is told of, and goes on when the bytes are back.
 */
static void test_unreadable(void)
{
    Toucher t = {0};
    GThread *thread;
    Fixture fx;

    if (!fixture_init(&fx)) {
        return;
    }
    t.fx = &fx;
    g_assert_cmpint(truncate(fx.path, AT + 300 * PAGE), ==, 0);
    ram_lazy_prefetch(fx.lazy, 1);
    thread = g_thread_new("touch", touch, &t);
    while (!__atomic_load_n(&fx.stuck, __ATOMIC_SEQ_CST)) {
        g_usleep(1000);
    }
    check_page(&fx, 10); /* the rest works on */
    g_assert_false(__atomic_load_n(&t.done, __ATOMIC_SEQ_CST));
    g_assert_false(__atomic_load_n(&fx.complete, __ATOMIC_SEQ_CST));
    g_assert_cmpuint(fx.unstuck, ==, 0);
    write_pages(&fx);
    __atomic_store_n(&fx.may_retry, true, __ATOMIC_SEQ_CST);
    g_thread_join(thread);
    g_assert_true(t.done);
    wait_flag(&fx.complete);
    g_assert_cmpuint(fx.unstuck, ==, 1);
    for (unsigned p = 0; p < PAGES; p++) {
        check_page(&fx, p);
    }
    fixture_clear(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lazy/faults", test_faults);
    g_test_add_func("/lazy/prefetch", test_prefetch);
    g_test_add_func("/lazy/unreadable", test_unreadable);
    return g_test_run();
}
