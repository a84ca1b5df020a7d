/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory as it was at one moment, under writers that do not wait. */
#include "migration/ram/guard.h"
#include "memory/softtlb.h"

#define PAGES 1000
#define PAGE  4096

typedef struct {
    RAMList *list;
    RAMBlock *block;
    RamGuard *guard;
    uint8_t *copy; /* what the sender has seen */
    bool *seen;
    bool stop;
} Fixture;

static bool fixture_init(Fixture *fx)
{
    g_autoptr(GError) err = NULL;

    memset(fx, 0, sizeof(*fx));
    if (!ram_guard_possible(&err)) {
        g_test_skip(err->message);
        return false;
    }
    fx->list = ram_list_new();
    fx->block = ram_block_new_anon(fx->list, "ram", PAGES * PAGE, RAM_MIGRATABLE, NULL);
    fx->copy = g_malloc0(PAGES * PAGE);
    fx->seen = g_new0(bool, PAGES);
    for (unsigned p = 0; p < PAGES; p++) {
        if (p < 300 || p >= 500) { /* the others stay untouched */
            memset(fx->block->host + p * PAGE, p % 251 + 1, PAGE);
        }
    }
    fx->guard = ram_guard_new(fx->list, false, &err);
    g_assert_no_error(err);
    return true;
}

static void fixture_clear(Fixture *fx)
{
    ram_guard_free(fx->guard);
    ram_block_free(fx->block);
    ram_list_free(fx->list);
    g_free(fx->copy);
    g_free(fx->seen);
}

static void see(Fixture *fx, uint64_t first, uint64_t count, const uint8_t *bytes)
{
    while (count) {
        bool untouched;
        uint64_t n = ram_guard_same(fx->guard, fx->block, first, count, &untouched);

        if (!untouched) {
            memcpy(fx->copy + first * PAGE, bytes, n * PAGE);
        }
        for (uint64_t i = 0; i < n; i++) {
            g_assert_false(fx->seen[first + i]); /* every page once */
            fx->seen[first + i] = true;
        }
        first += n;
        count -= n;
        bytes += n * PAGE;
    }
}

static void send_all(Fixture *fx, unsigned pause_us)
{
    uint64_t page = 0;
    GuardCopy c;

    for (;;) {
        while (ram_guard_next_copy(fx->guard, &c)) {
            see(fx, c.first, c.count, c.bytes);
        }
        ram_guard_copies_left(fx->guard);
        if (page < PAGES) {
            uint64_t n = ram_guard_claim(fx->guard, fx->block, page, MIN(64, PAGES - page));

            see(fx, page, n, fx->block->host + page * PAGE);
            g_usleep(pause_us);
            g_assert_true(ram_guard_release(fx->guard, NULL));
            page += n ? n : GUARD_CHUNK_PAGES;
        } else if (ram_guard_quiet(fx->guard)) {
            break;
        }
    }
    for (unsigned p = 0; p < PAGES; p++) {
        bool was_touched = p < 300 || p >= 500;

        g_assert_true(fx->seen[p]);
        g_assert_cmphex(fx->copy[p * PAGE], ==, was_touched ? p % 251 + 1 : 0);
        g_assert_cmphex(fx->copy[p * PAGE + 4095], ==, was_touched ? p % 251 + 1 : 0);
    }
}

static void test_still(void)
{
    Fixture fx;

    if (fixture_init(&fx)) {
        g_assert_true(ram_guard_protect(fx.guard, NULL));
        send_all(&fx, 0);
        fixture_clear(&fx);
    }
}

/* As a vCPU does: the kernel holds writers back, which ThreadSanitizer cannot see. */
GUEST_ACCESS static __attribute__((noinline)) void guest_write(Fixture *fx, unsigned at,
                                                               uint8_t value)
{
    fx->block->host[at] = value;
}

/* Who writes one chunk after the other is expected in the next. */
static void test_ahead(void)
{
    const unsigned chunk = GUARD_CHUNK_PAGES * PAGE, last = PAGES / GUARD_CHUNK_PAGES;
    uint64_t first;
    Fixture fx;

    if (!fixture_init(&fx)) {
        return;
    }
    g_assert_true(ram_guard_protect(fx.guard, NULL));
    g_assert_null(ram_guard_ahead(fx.guard, &first));
    guest_write(&fx, 10 * chunk, 1); /* the one before is guarded */
    g_assert_null(ram_guard_ahead(fx.guard, &first));
    guest_write(&fx, 11 * chunk + PAGE, 1);
    g_assert_true(ram_guard_ahead(fx.guard, &first) == fx.block);
    g_assert_cmpuint(first, ==, 12 * GUARD_CHUNK_PAGES);
    g_assert_null(ram_guard_ahead(fx.guard, &first)); /* told once */
    guest_write(&fx, (last - 1) * chunk, 1);
    guest_write(&fx, last * chunk, 1); /* a short one, the end */
    g_assert_null(ram_guard_ahead(fx.guard, &first));
    send_all(&fx, 0);
    fixture_clear(&fx);
}

static gpointer scribble(gpointer opaque)
{
    Fixture *fx = opaque;
    unsigned seed = 1;

    while (!__atomic_load_n(&fx->stop, __ATOMIC_SEQ_CST)) {
        seed = seed * 1103515245 + 12345;
        guest_write(fx, (seed >> 8) % (PAGES * PAGE), seed);
    }
    return NULL;
}

static void test_writers(void)
{
    GThread *threads[3];
    Fixture fx;

    if (!fixture_init(&fx)) {
        return;
    }
    g_assert_true(ram_guard_protect(fx.guard, NULL));
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
        threads[i] = g_thread_new("scribble", scribble, &fx);
    }
    send_all(&fx, 2000);
    __atomic_store_n(&fx.stop, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
        g_thread_join(threads[i]);
    }
    fixture_clear(&fx);
}

/* Given up in the middle: writers go on. */
static void test_abandoned(void)
{
    Fixture fx;

    if (!fixture_init(&fx)) {
        return;
    }
    g_assert_true(ram_guard_protect(fx.guard, NULL));
    g_assert_cmpuint(ram_guard_claim(fx.guard, fx.block, 0, 64), ==, 64);
    guest_write(&fx, 700 * PAGE, 0);
    g_clear_pointer(&fx.guard, ram_guard_free);
    guest_write(&fx, 10 * PAGE, 0);
    fixture_clear(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guard/still", test_still);
    g_test_add_func("/guard/ahead", test_ahead);
    g_test_add_func("/guard/writers", test_writers);
    g_test_add_func("/guard/abandoned", test_abandoned);
    return g_test_run();
}
