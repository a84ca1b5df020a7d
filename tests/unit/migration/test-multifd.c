/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole migrations over several channels between two fake VMs, undisturbed and with any one channel
 * cut, stalled or corrupted. Whatever happens: one side has the guest, its memory is right, the
 * source can migrate again.
 */
#include <sys/socket.h>
#include "io/channel-socket.h"
#include "multifd-side.h"
#include "migration/postcopy/destination.h"
#include "util/lock.h"
#include "util/zero.h"

static void test_moves(gconstpointer opaque)
{
    const MultifdSetup *setup = opaque;
    FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);

    fake_vm_start_guest(src);
    g_object_unref(multifd_side_begin(src, dst, setup, 0, NULL));
    fake_vm_wait_end(src, dst);
    multifd_side_assert_moved(src, dst);
    g_assert_cmpuint(stat_get(&src->m->counters.multifd_bytes), >, 1344);
    fake_vm_free(src);
    fake_vm_free(dst);
}

/* The segments of one channel, 1 and 1343 bytes at a time. */
static void test_segments(void)
{
    static const MultifdSetup setup = {"", 2, .method = MULTI_FD_COMPRESSION_ZSTD};

    for (unsigned segment = 1; segment < 2000; segment += 1342) {
        FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);
        FaultPlan plan = FAULT_PLAN_NONE;

        plan.segment = segment;
        g_object_unref(multifd_side_begin(src, dst, &setup, 1, &plan));
        fake_vm_wait_end(src, dst);
        multifd_side_assert_moved(src, dst);
        fake_vm_free(src);
        fake_vm_free(dst);
    }
}

/* ---- faults ---- */

typedef enum {
    CUT,
    STALL,
    CORRUPT,
} Kind;

/* Until it has ended; a side that waits for bytes that will never come is cancelled as by a user.
 */
static void run_to_end(FakeVM *src, FakeVM *dst)
{
    int64_t patience = g_get_monotonic_time() + 1 * G_TIME_SPAN_SECOND;

    while (outgoing_is_running(src->m->outgoing)) {
        fake_vm_turn();
        if (g_get_monotonic_time() > patience) {
            outgoing_cancel(src->m->outgoing);
        }
    }
    if (incoming_status(dst->m->incoming) == MIGRATION_STATUS_SETUP) {
        incoming_shutdown(dst->m->incoming); /* no main channel was seen */
        return;
    }
    fake_vm_wait_end(NULL, dst);
}

static void one_fault(const MultifdSetup *setup, unsigned bad, Kind kind, uint64_t at)
{
    FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);
    FaultPlan plan = FAULT_PLAN_NONE;
    g_autoptr(QIOChannel) ioc = NULL;
    bool here, there;

    if (kind == CUT) {
        plan.cut_at = at;
    } else if (kind == STALL) {
        plan.stall_at = at;
    } else {
        plan.corrupt_at = at;
        plan.corrupt_xor = 1 << at % 8;
    }
    ioc = multifd_side_begin(src, dst, setup, bad, &plan);
    while (kind == STALL && fault_channel_write_position(ioc) < at &&
           outgoing_is_running(src->m->outgoing)) {
        fake_vm_turn();
    }
    if (kind == STALL) {
        outgoing_cancel(src->m->outgoing);
    }
    run_to_end(src, dst);
    here = fake_vm_running(src);
    there = fake_vm_running(dst);
    g_test_message("channel %u, kind %d at %" PRIu64 ": source %s, destination %s", bad, kind, at,
                   MigrationStatus_str(fake_vm_status(src)),
                   MigrationStatus_str(incoming_status(dst->m->incoming)));
    g_assert_cmpint(here, !=, there);
    /* A wrong byte of a page passes, unless somebody signs for it. */
    g_assert_true((kind == CORRUPT && !setup->tls) || !there || fake_vm_same_state(src, dst));
    if (here) {
        if (fake_vm_status(src) == MIGRATION_STATUS_FAILED) {
            g_autofree char *error = fake_vm_source_error(src);

            g_assert_nonnull(error);
        }
        multifd_side_assert_migrates(src, setup);
    }
    fake_vm_free(src);
    fake_vm_free(dst);
}

typedef struct {
    const char *name;
    MultifdSetup setup;
    unsigned samples; /* of each channel and kind */
} Faults;

static void test_faults(const Faults *f, Kind kind)
{
    unsigned samples = g_getenv("GODWIT_TEST_LONG") ? 300 : f->samples;

    for (unsigned bad = 1; bad <= f->setup.channels; bad++) {
        uint64_t length = multifd_side_length(&f->setup, bad);

        for (unsigned n = 0; n < samples; n++) {
            /* Half of them at the start, where introduction and first sync are. The former
             * always fits into the buffers of a socket, also with what TLS puts around it. */
            uint64_t first = kind != STALL ? 0 : MULTIFD_INIT_SIZE * (f->setup.tls ? 2 : 1);
            uint64_t limit = n % 2 ? length : MIN(length, 64 + 2 * 1344);

            one_fault(&f->setup, bad, kind, first + (uint32_t)g_test_rand_int() % (limit - first));
        }
    }
}

static void test_cut(gconstpointer opaque)
{
    test_faults(opaque, CUT);
}

static void test_stall(gconstpointer opaque)
{
    test_faults(opaque, STALL);
}

static void test_corrupt(gconstpointer opaque)
{
    test_faults(opaque, CORRUPT);
}

/* ---- cancel ---- */

static void test_cancel(void)
{
    static const MultifdSetup setup = {"", 4, .return_path = true};
    FakeVM *src = multifd_side_source();
    unsigned times = g_getenv("GODWIT_TEST_LONG") ? 200 : 20;

    fake_vm_start_guest(src);
    for (unsigned i = 0; i < times; i++) {
        FakeVM *dst = fake_vm_new(true);

        g_object_unref(multifd_side_begin(src, dst, &setup, 0, NULL));
        bql_unlock();
        g_usleep(g_test_rand_int_range(0, 3000));
        bql_lock();
        outgoing_cancel(src->m->outgoing);
        run_to_end(src, dst);
        g_assert_cmpint(fake_vm_running(src), !=, fake_vm_running(dst));
        if (fake_vm_running(dst)) {
            /* It came too late; the guest goes on there. */
            fake_vm_free(src);
            fake_vm_free(dst);
            src = multifd_side_source();
            fake_vm_start_guest(src);
        } else {
            fake_vm_free(dst);
        }
    }
    multifd_side_assert_migrates(src, &setup);
    fake_vm_free(src);
}

/* ---- postcopy afterwards ---- */

static void test_postcopy(gconstpointer opaque)
{
    MultifdSetup setup = *(const MultifdSetup *)opaque;
    FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);

    setup.bandwidth = 50000; /* most is still here at the switch */
    if (!postcopy_host_check(dst->ram, NULL)) {
        g_test_skip("no userfaultfd on this host");
    } else {
        for (unsigned page = 0; page < 250; page++) {
            src->block->host[page * TARGET_PAGE_SIZE] = page + 1;
        }
        fake_vm_set_cap(src, MIGRATION_CAPABILITY_POSTCOPY_RAM);
        fake_vm_set_cap(dst, MIGRATION_CAPABILITY_POSTCOPY_RAM);
        fake_vm_start_guest(src);
        g_object_unref(multifd_side_begin(src, dst, &setup, 0, NULL));
        fake_vm_wait_status(src, MIGRATION_STATUS_ACTIVE);
        g_assert_true(postcopy_source_start(src->m->outgoing, NULL));
        fake_vm_wait_end(src, dst);
        multifd_side_assert_moved(src, dst);
        g_assert_cmpuint(stat_get(&src->m->counters.multifd_bytes), >, 1344);
        g_assert_cmpuint(stat_get(&src->m->counters.postcopy_bytes), >, 0);
    }
    fake_vm_free(src);
    fake_vm_free(dst);
}

static void note_failure(GError *err, void *opaque)
{
    g_assert_nonnull(strstr(err->message, "pages after the switch"));
    g_error_free(err);
    __atomic_store_n((bool *)opaque, true, __ATOMIC_RELEASE);
}

static void wait_until(const bool *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
        g_usleep(1000);
    }
}

/* After the switch a channel may say SYNC and end, but a page would come too late. */
static void test_retired(gconstpointer late)
{
    bool failed = false;
    const MultifdRecvConfig config = {.channels = 1, .failed = note_failure, .opaque = &failed};
    MultifdPacket p = {.payload = TARGET_PAGE_SIZE, .block = "fake.ram", .pages = 1, .runs = 1};
    uint8_t sync[MULTIFD_HEADER_SIZE], page[MULTIFD_HEADER_SIZE + TARGET_PAGE_SIZE];
    FakeVM *dst = fake_vm_new(true);
    RamPlacer *placer = ram_placer_direct_new(dst->ram);
    MultifdRecv *r = multifd_recv_new(&config);
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    p.run[0] = (MultifdRun){3, 1};
    memset(page, 0x5a, sizeof(page));
    multifd_encode_packet(&p, page);
    multifd_encode_packet(&(MultifdPacket){.flags = MULTIFD_FLAG_SYNC}, sync);
    multifd_recv_bind(r, dst->ram, false, placer);
    multifd_recv_add(r, 0, IO_CHANNEL(io_channel_socket_new_fd(fds[1], NULL)));
    g_assert_cmpint(write(fds[0], sync, sizeof(sync)), ==, sizeof(sync));
    bql_unlock();
    g_assert_true(multifd_recv_marker(r, true, NULL));
    g_assert_true(multifd_recv_retire(r, NULL));
    bql_lock();
    placer->ops->cleanup(placer);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpint(write(fds[0], sync, sizeof(sync)), ==, sizeof(sync));
    }
    if (late) {
        g_assert_cmpint(write(fds[0], page, sizeof(page)), ==, sizeof(page));
        wait_until(&failed);
    }
    shutdown(fds[0], SHUT_WR);
    multifd_recv_free(r);
    g_assert_cmpint(failed, ==, !!late);
    g_assert_true(buffer_is_zero(dst->block->host + 3 * TARGET_PAGE_SIZE, TARGET_PAGE_SIZE));
    close(fds[0]);
    fake_vm_free(dst);
}

/* ---- the two sides do not agree ---- */

static void expect_both(FakeVM *src, FakeVM *dst, const char *text)
{
    g_autofree char *here = fake_vm_source_error(src), *there = fake_vm_destination_error(dst);

    if (!strstr(there, text) || !strstr(here, text)) {
        g_test_message("'%s' and '%s' instead of '...%s...'", here, there, text);
        g_test_fail();
    }
    g_assert_true(fake_vm_running(src));
}

static void test_unlike(void)
{
    static const MultifdSetup none = {"", 2, .return_path = true};
    static const struct {
        MultifdSetup src, dst;
        const char *text;
    } rows[] = {
        {{"", 2, MULTI_FD_COMPRESSION_ZSTD, .return_path = true},
         {"", 2},
         "flags received 4 flags expected 0"},
        {{"", 2, MULTI_FD_COMPRESSION_ZLIB, .return_path = true},
         {"", 2, MULTI_FD_COMPRESSION_ZSTD},
         "flags received 2 flags expected 4"},
        {{"", 3, .return_path = true}, {"", 2}, "received channel id 2"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);

        g_object_unref(multifd_side_begin_unlike(src, dst, &rows[i].src, &rows[i].dst, 0, NULL));
        fake_vm_wait_end(src, dst);
        expect_both(src, dst, rows[i].text);
        fake_vm_free(dst);
        multifd_side_assert_migrates(src, &none);
        fake_vm_free(src);
    }
}

int main(int argc, char **argv)
{
    static const MultifdSetup setups[] = {
        {"one", 1, .zero = ZERO_PAGE_DETECTION_LEGACY},
        {"two", 2, .zero = ZERO_PAGE_DETECTION_LEGACY},
        {"eight-return-path", 8, .return_path = true},
        {"zlib", 2, MULTI_FD_COMPRESSION_ZLIB},
        {"zstd", 2, MULTI_FD_COMPRESSION_ZSTD},
        {"no-detection", 2, .zero = ZERO_PAGE_DETECTION_NONE},
        {"zero-in-packets", 2, .zero = ZERO_PAGE_DETECTION_MULTIFD},
        {"per-pass", 2, .zero = ZERO_PAGE_DETECTION_LEGACY, .per_pass = true},
        {"as-9.0-zstd", 2, MULTI_FD_COMPRESSION_ZSTD, ZERO_PAGE_DETECTION_MULTIFD, true},
        {"adaptive", 2, MULTI_FD_COMPRESSION_X_ADAPTIVE, .return_path = true},
        {"adaptive-without-hello", 2, MULTI_FD_COMPRESSION_X_ADAPTIVE},
        {"tls", 4, .return_path = true, .tls = true},
        {"zero-runs", 2, .zero = ZERO_PAGE_DETECTION_LEGACY, .return_path = true},
        {"zero-runs-per-pass", 2, .zero = ZERO_PAGE_DETECTION_MULTIFD, .per_pass = true,
         .return_path = true},
    };

    static const Faults faults[] = {
        {"plain", {"", 2, .return_path = true}, 8},
        {"as-9.0-zstd",
         {"", 2, MULTI_FD_COMPRESSION_ZSTD, ZERO_PAGE_DETECTION_MULTIFD, true, true},
         8},
        {"adaptive", {"", 2, MULTI_FD_COMPRESSION_X_ADAPTIVE, .return_path = true}, 4},
        {"tls", {"", 2, .return_path = true, .tls = true}, 4},
    };

    g_test_init(&argc, &argv, NULL);
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    for (unsigned i = 0; i < ARRAY_SIZE(setups); i++) {
        g_autofree char *path = g_strdup_printf("/multifd/moves/%s", setups[i].name);

        g_test_add_data_func(path, &setups[i], test_moves);
    }
    g_test_add_func("/multifd/segments", test_segments);
    for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
        g_autofree char *cut = g_strdup_printf("/multifd/cut/%s", faults[i].name);
        g_autofree char *stall = g_strdup_printf("/multifd/stall/%s", faults[i].name);
        g_autofree char *corrupt = g_strdup_printf("/multifd/corrupt/%s", faults[i].name);

        g_test_add_data_func(cut, &faults[i], test_cut);
        g_test_add_data_func(stall, &faults[i], test_stall);
        g_test_add_data_func(corrupt, &faults[i], test_corrupt);
    }
    g_test_add_func("/multifd/cancel", test_cancel);
    g_test_add_data_func("/multifd/postcopy/per-section", &setups[1], test_postcopy);
    g_test_add_data_func("/multifd/postcopy/per-pass", &setups[7], test_postcopy);
    g_test_add_data_func("/multifd/postcopy/as-9.0-zstd", &setups[8], test_postcopy);
    g_test_add_data_func("/multifd/retired/quiet", NULL, test_retired);
    g_test_add_data_func("/multifd/retired/late", "late", test_retired);
    g_test_add_func("/multifd/unlike", test_unlike);
    return g_test_run();
}
