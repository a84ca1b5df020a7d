/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels that may break (x-multifd-addresses): any one of them cut, stalled or swallowing at any
 * byte, and the guest arrives all the same, with all its memory. All of them: it stays.
 */
#include "migration/wire/ram.h"
#include "migration/wire/stream.h"
#include "multifd-side.h"
#include "util/lock.h"

static const char path[] = "tcp:127.0.0.1:1"; /* the test opens the channels itself */

typedef enum {
    CUT,
    STALL,
    SWALLOW,
} Kind;

typedef struct {
    const char *name;
    MultifdSetup setup;
    Kind kind;
} Row;

static FaultPlan plan_of(Kind kind, uint64_t at)
{
    FaultPlan plan = FAULT_PLAN_NONE;

    *(kind == CUT ? &plan.cut_at : kind == STALL ? &plan.stall_at : &plan.swallow_at) = at;
    return plan;
}

static void one_loss(const Row *row, unsigned bad, uint64_t at, bool busy)
{
    FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);
    FaultPlan plan = plan_of(row->kind, at);
    g_autoptr(QIOChannel) ioc = NULL;

    g_test_message("channel %u at %" PRIu64, bad, at);
    if (busy) {
        fake_vm_start_guest(src);
    }
    ioc = multifd_side_begin(src, dst, &row->setup, bad, &plan);
    fake_vm_wait_end(src, dst);
    multifd_side_assert_moved(src, dst);
    if (!busy && at < MULTIFD_INIT_SIZE + MULTIFD_HEADER_SIZE) {
        g_assert_cmpuint(multifd_side_notes(src, "lost"), >, 0); /* the first sync is on it */
    }
    fake_vm_free(src);
    fake_vm_free(dst);
}

static void test_losses(gconstpointer opaque)
{
    const Row *row = opaque;
    bool slow = row->kind != CUT; /* each waits for somebody's patience to end */
    unsigned samples = g_getenv("GODWIT_TEST_LONG") ? 150 : slow ? 1 : 12;

    for (unsigned bad = 1; bad <= 2; bad++) {
        uint64_t length = multifd_side_length(&row->setup, bad);

        for (unsigned n = 0; n < samples; n++) {
            uint64_t limit = (n + bad) % 2 ? length : MIN(length, 64 + 2 * 1344);
            uint64_t at =
                MULTIFD_INIT_SIZE + (uint32_t)g_test_rand_int() % (limit - MULTIFD_INIT_SIZE);

            one_loss(row, bad, at, slow ? bad == 2 : n % 4 >= 2);
        }
    }
}

/* The only one left breaks too: a clear failure, and the guest is where it was. */
static void test_all(gconstpointer opaque)
{
    MultifdSetup setup = *(const MultifdSetup *)opaque;
    FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);
    FaultPlan plan = plan_of(CUT, MULTIFD_INIT_SIZE + 3 * MULTIFD_HEADER_SIZE);
    g_autofree char *error = NULL;

    setup.channels = 1;
    g_object_unref(multifd_side_begin(src, dst, &setup, 1, &plan));
    fake_vm_wait_end(src, dst);
    error = fake_vm_source_error(src);
    g_assert_cmpint(fake_vm_status(src), ==, MIGRATION_STATUS_FAILED);
    g_assert_nonnull(strstr(error, "multifd channel 0"));
    g_assert_true(fake_vm_running(src));
    fake_vm_free(dst);
    setup.channels = 2;
    multifd_side_assert_migrates(src, &setup);
    fake_vm_free(src);
}

/* A destination that cannot do without is asked nothing, and a loss is a failure. */
static void test_not_asked(gconstpointer opaque)
{
    MultifdSetup setup = *(const MultifdSetup *)opaque;
    FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);
    FaultPlan plan = plan_of(CUT, MULTIFD_INIT_SIZE + MULTIFD_HEADER_SIZE + 10);

    setup.return_path = false;
    g_object_unref(multifd_side_begin(src, dst, &setup, 1, &plan));
    fake_vm_wait_end(src, dst);
    g_assert_cmpint(fake_vm_status(src), ==, MIGRATION_STATUS_FAILED);
    g_assert_true(fake_vm_running(src));
    fake_vm_free(dst);
    multifd_side_assert_migrates(src, &setup);
    fake_vm_free(src);
}

/* ---- one side alone ---- */

static void no_failure(GError *err, void *opaque)
{
    g_error_free(err);
}

static void no_loss(unsigned id, const GError *err, void *opaque)
{
    g_assert_not_reached();
}

/* Nobody is believed who speaks of channels that are not there. */
static void test_nonsense(void)
{
    const MultifdSendConfig out = {.failed = no_failure, .lost = no_loss};
    const MultifdRecvConfig in = {.channels = 2, .failed = no_failure, .lost = no_loss};
    MultifdSend *s = multifd_send_new(&out, g_ptr_array_new(), NULL);
    MultifdRecv *r = multifd_recv_new(&in);
    static const uint32_t values[] = {0, 2, 255, RP_CHANNELS_CHECKED, UINT32_MAX};

    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        g_autoptr(GError) here = NULL, there = NULL;

        g_assert_false(multifd_send_peer_lost(s, values[i], &here));
        g_assert_false(multifd_recv_given_up(r, values[i], &there));
        g_assert_nonnull(here);
        g_assert_nonnull(there);
    }
    multifd_recv_may_break(r);
    g_assert_false(multifd_recv_given_up(r, 2, NULL));
    multifd_send_free(s);
    multifd_recv_free(r);
}

int main(int argc, char **argv)
{
    /* Patience: long where nothing stalls, so that a slow machine is not taken for a dead line. */
    static const Row rows[] = {
        {"cut", {"", 2, .return_path = true, .addresses = path}, CUT},
        {"cut-zstd",
         {"", 2, MULTI_FD_COMPRESSION_ZSTD, ZERO_PAGE_DETECTION_MULTIFD, true, true,
          .addresses = path},
         CUT},
        {"stall", {"", 3, .return_path = true, .addresses = path, .patience_ms = 1500}, STALL},
        {"swallow", {"", 3, .return_path = true, .addresses = path, .patience_ms = 1500}, SWALLOW},
    };

    g_test_init(&argc, &argv, NULL);
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *name = g_strdup_printf("/multifd-paths/%s", rows[i].name);

        g_test_add_data_func(name, &rows[i], test_losses);
    }
    g_test_add_data_func("/multifd-paths/all", &rows[0].setup, test_all);
    g_test_add_data_func("/multifd-paths/not-asked", &rows[0].setup, test_not_asked);
    g_test_add_func("/multifd-paths/nonsense", test_nonsense);
    return g_test_run();
}
