/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small migration cut, stalled or corrupted at a byte position. By default a seeded sample of
 * positions; GODWIT_TEST_LONG=1 takes all of them.
 *
 * What must hold: exactly one side can run the guest, its memory and devices are right, and whoever
 * failed says where. A corrupted byte may pass unnoticed where it is plain content.
 */
#include "fake-vm.h"
#include "util/lock.h"

#define SAMPLES 60
/* PING STREAM_COMMIT, right behind EOF. */
#define COMMIT_BYTES 9

typedef struct {
    const char *name;
    bool return_path;
    enum { CUT, STALL, CORRUPT } kind;
} Row;

/* Of a stream. How many sections it has depends on the time it took, so no two are sure to be
 * alike.
 */
typedef struct {
    uint64_t offered;   /* bytes up to and including EOF; UINT64_MAX: it did not come so far */
    uint64_t committed; /* of those up to which the guest is the source's */
} Length;

static void prepare(const Row *row, FakeVM **src, FakeVM **dst)
{
    *src = fake_vm_new(false);
    *dst = fake_vm_new(true);
    fake_vm_populate(*src, 3);
    if (row->return_path) {
        fake_vm_set_cap(*src, MIGRATION_CAPABILITY_RETURN_PATH);
    }
}

static Length length_of(FakeVM *src, const Row *row)
{
    g_autoptr(GPtrArray) records = qapi_list_new_MigrationRecord();
    Length len = {UINT64_MAX, UINT64_MAX};

    recorder_read(src->m->source_record, records);
    for (unsigned i = 0; i < records->len; i++) {
        const MigrationRecord *r = g_ptr_array_index(records, i);

        if (r->name && g_str_equal(r->name, "flush")) {
            len.offered = r->bytes;
            len.committed = r->bytes + (row->return_path ? COMMIT_BYTES : 0);
        }
    }
    return len;
}

/* How long is the stream when nothing happens? The description behind EOF is its last part. */
static Length measure(const Row *row, uint64_t *total)
{
    FakeVM *src, *dst;
    Length len;
    g_autoptr(QIOChannel) ioc = NULL;

    prepare(row, &src, &dst);
    fake_vm_connect(src, dst, NULL, NULL, &ioc);
    fake_vm_wait_end(src, dst);
    *total = fault_channel_write_position(ioc);
    len = length_of(src, row);
    g_assert_cmpuint(len.committed, >, COMMIT_BYTES);
    g_assert_cmpuint(len.committed, <, *total);
    fake_vm_free(src);
    fake_vm_free(dst);
    return len;
}

static void assert_says_where(char *error)
{
    g_assert_nonnull(error);
    if (!strstr(error, "offset") && !strstr(error, "Not a migration stream") &&
        !strstr(error, "Migration stream version") && !strstr(error, "ection '") &&
        !strstr(error, "configuration") && !strstr(error, "Answering the source")) {
        g_test_message("error without a place: %s", error);
        g_test_fail();
    }
    g_free(error);
}

static void one_position(const Row *row, uint64_t at, uint8_t flip)
{
    FaultPlan plan = FAULT_PLAN_NONE;
    g_autoptr(QIOChannel) ioc = NULL;
    FakeVM *src, *dst;
    bool here, there;

    prepare(row, &src, &dst);
    if (row->kind == CUT) {
        plan.cut_at = at;
    } else if (row->kind == STALL) {
        plan.stall_at = at;
    } else {
        plan.corrupt_at = at;
        plan.corrupt_xor = flip;
    }
    fake_vm_connect(src, dst, &plan, NULL, &ioc);
    if (row->kind == STALL) {
        bql_unlock();
        fault_channel_wait_fault(ioc);
        bql_lock();
        outgoing_cancel(src->m->outgoing);
    } else if (row->kind == CORRUPT) {
        /* A length that became too big lets the destination wait for more: the source ends or gives
         * up. */
        while (outgoing_is_running(src->m->outgoing)) {
            if (incoming_status(dst->m->incoming) == MIGRATION_STATUS_ACTIVE &&
                qemu_file_transferred(src->m->outgoing->file) >= length_of(src, row).offered) {
                outgoing_cancel(src->m->outgoing);
            }
            g_main_context_iteration(NULL, FALSE);
            bql_unlock();
            g_thread_yield();
            bql_lock();
        }
    }
    fake_vm_wait_end(src, dst);

    here = fake_vm_running(src);
    there = fake_vm_running(dst);
    g_test_message("%s at %" PRIu64 ": source %s, destination %s", row->name, at,
                   MigrationStatus_str(fake_vm_status(src)),
                   MigrationStatus_str(incoming_status(dst->m->incoming)));
    if (here) {
        g_assert_true(src->images_open);
        g_assert_cmpuint(src->uart.divisor, ==, 3);
        if (fake_vm_status(src) != MIGRATION_STATUS_CANCELLED) {
            assert_says_where(fake_vm_source_error(src));
        }
    }
    if (!there) {
        assert_says_where(fake_vm_destination_error(dst));
    }
    if (row->kind != CORRUPT) {
        g_assert_true(!there || fake_vm_same_state(src, dst));
        g_assert_cmpint(there, ==, at >= length_of(src, row).committed);
        g_assert_cmpint(here, !=, there);
    } else if (row->return_path) {
        g_assert_cmpint(here, !=, there);
    } else {
        g_assert_false(here && there);
    }
    fake_vm_free(src);
    fake_vm_free(dst);
}

static void test_row(gconstpointer opaque)
{
    const Row *row = opaque;
    uint64_t total;
    Length len = measure(row, &total);
    uint64_t positions = g_getenv("GODWIT_TEST_LONG") ? total : SAMPLES;

    for (uint64_t i = 0; i < positions; i++) {
        uint64_t at = i;

        if (positions < total) {
            /* Every third where the guest changes hands. */
            at = i % 3 ? (uint64_t)g_test_rand_int() % total
                       : len.committed - 2 * COMMIT_BYTES + i / 3;
        }

        one_position(row, at, 1 << g_test_rand_int_range(0, 8));
    }
}

/* The channel takes the commit, the destination never sees it: nobody can know, so nobody runs. */
static void test_commit_lost(void)
{
    static const Row row = {"commit lost", true, CUT};
    uint64_t total;
    Length len = measure(&row, &total);

    for (uint64_t at = len.offered; at < len.committed; at++) {
        FaultPlan plan = FAULT_PLAN_NONE;
        g_autofree char *error = NULL;
        FakeVM *src, *dst;
        Length own;

        prepare(&row, &src, &dst);
        plan.cut_at = at;
        fake_vm_connect(src, dst, NULL, &plan, NULL);
        fake_vm_wait_end(src, dst);
        own = length_of(src, &row);
        g_assert_cmpint(fake_vm_running(dst), ==, at >= own.committed);
        error = fake_vm_source_error(src);
        if (fake_vm_running(src)) {
            /* The cut was there before the commit: the source knows. */
            g_assert_cmpuint(at, <=, own.offered);
        } else if (at < own.committed) {
            g_assert_cmpint(fake_vm_status(src), ==, MIGRATION_STATUS_FAILED);
            g_assert_nonnull(strstr(error, "It may run there"));
            g_assert_cmpint(src->host.ops->runstate(&src->host), ==, RUN_STATE_PAUSED);
        }
        fake_vm_free(src);
        fake_vm_free(dst);
    }
}

int main(int argc, char **argv)
{
    static const Row rows[] = {
        {"cut", false, CUT},         {"cut with return path", true, CUT},
        {"stall", false, STALL},     {"stall with return path", true, STALL},
        {"corrupt", false, CORRUPT}, {"corrupt with return path", true, CORRUPT},
    };

    g_test_init(&argc, &argv, NULL);
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *path = g_strdup_printf("/migration-faults/%s", rows[i].name);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/migration-faults/commit-lost", test_commit_lost);
    return g_test_run();
}
