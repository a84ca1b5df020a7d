/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole migrations in one process: states, events, cancel, failures and what remains of the guest.
 */
#include "fake-vm.h"
#include "io/channel-buffer.h"
#include "io/channel-socket.h"
#include "qapi-commands-migration.h"
#include "util/lock.h"

typedef struct {
    FakeVM *src, *dst;
} Pair;

static Pair pair_new(uint32_t seed)
{
    Pair p = {fake_vm_new(false), fake_vm_new(true)};

    fake_vm_populate(p.src, seed);
    return p;
}

static void pair_free(Pair *p)
{
    fake_vm_free(p->src);
    fake_vm_free(p->dst);
}

/* The guest is at the destination, complete, and the source knows. */
static void assert_moved(Pair *p)
{
    g_autofree char *error = fake_vm_source_error(p->src);

    g_assert_cmpstr(error, ==, NULL);
    g_assert_cmpint(fake_vm_status(p->src), ==, MIGRATION_STATUS_COMPLETED);
    g_assert_cmpint(p->src->state, ==, RUN_STATE_POSTMIGRATE);
    g_assert_true(fake_vm_running(p->dst));
    g_assert_false(p->src->images_open);
    g_assert_true(p->dst->images_open);
}

/* The guest is where it was. */
static void assert_stayed(Pair *p, MigrationStatus status)
{
    g_assert_cmpint(fake_vm_status(p->src), ==, status);
    g_assert_true(fake_vm_running(p->src));
    g_assert_true(p->src->images_open);
    g_assert_false(fake_vm_running(p->dst));
}

/* A second migration of the same source works whatever happened before. */
static void assert_can_migrate_again(FakeVM *src)
{
    Pair again = {src, fake_vm_new(true)};

    fake_vm_connect(again.src, again.dst, NULL, NULL, NULL);
    fake_vm_wait_end(again.src, again.dst);
    assert_moved(&again);
    g_assert_true(fake_vm_same_state(again.src, again.dst));
    fake_vm_free(again.dst);
}

static bool has_record(FakeVM *vm, MigrationRecordKind kind)
{
    QmpCall call = {.opaque = vm->m};
    g_autoptr(GPtrArray) list = qmp_x_query_migration_record(&call, NULL);

    for (unsigned i = 0; i < list->len; i++) {
        if (((MigrationRecord *)g_ptr_array_index(list, i))->kind == kind) {
            return true;
        }
    }
    return false;
}

/* ---- success ---- */

static void test_plain(void)
{
    Pair p = pair_new(1);

    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_moved(&p);
    g_assert_true(fake_vm_same_state(p.src, p.dst));
    g_assert_true(g_str_has_prefix(p.src->events->str, "setup "));
    g_assert_nonnull(strstr(p.src->events->str, "STOP device "));
    g_assert_true(g_str_has_suffix(p.src->events->str, "completed "));
    g_assert_cmpstr(p.dst->events->str, ==, "active RESUME completed ");
    pair_free(&p);
}

static void test_return_path(void)
{
    Pair p = pair_new(2);

    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_RETURN_PATH);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_moved(&p);
    g_assert_true(fake_vm_same_state(p.src, p.dst));
    g_assert_cmpuint(p.src->m->outgoing->peer_features, ==,
                     PEER_FAILURE_TEXT | PEER_COMMIT | PEER_ZERO_RUN | PEER_PAGE_TWICE |
                         PEER_LOST_CHANNEL);
    pair_free(&p);
}

static void test_busy_guest(void)
{
    Pair p = pair_new(3);

    fake_vm_start_guest(p.src);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_moved(&p);
    g_assert_cmpuint(p.src->guest_writes, >, 0);
    g_assert_true(fake_vm_same_state(p.src, p.dst));
    pair_free(&p);
}

/* A window of 100 ms lets 2000 bytes pass, and the page that goes beyond; with its section. */
#define SLOW_BANDWIDTH    20000
#define SLOW_WINDOW_BYTES (2000 + TARGET_PAGE_SIZE + 500)

/* Low bandwidth and no downtime allowed: rounds go on until the limit is lifted. */
static void test_converges_when_allowed(void)
{
    Pair p = pair_new(4);
    MigrationParameters slow = {.has_downtime_limit = true,
                                .downtime_limit = 0,
                                .has_max_bandwidth = true,
                                .max_bandwidth = SLOW_BANDWIDTH};
    MigrationParameters fast = {.has_downtime_limit = true,
                                .downtime_limit = 300,
                                .has_max_bandwidth = true,
                                .max_bandwidth = 0};
    int64_t begin;
    uint64_t bytes;

    g_assert_true(options_set_params(&p.src->m->options, &slow, NULL));
    for (unsigned page = 0; page < FAKE_RAM_SIZE / TARGET_PAGE_SIZE; page++) {
        p.src->block->host[page * TARGET_PAGE_SIZE] = 1;
    }
    fake_vm_start_guest(p.src);
    begin = g_get_monotonic_time();
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_status(p.src, MIGRATION_STATUS_ACTIVE);
    while ((bytes = qemu_file_transferred(p.src->m->outgoing->file)) < 4 * TARGET_PAGE_SIZE) {
        fake_vm_turn();
    }
    /* However long that took: so many windows there can have been. */
    g_assert_cmpuint(bytes, <, SLOW_WINDOW_BYTES * ((g_get_monotonic_time() - begin) / 100000 + 2));
    g_assert_cmpint(fake_vm_status(p.src), ==, MIGRATION_STATUS_ACTIVE);
    g_assert_true(options_set_params(&p.src->m->options, &fast, NULL));
    fake_vm_wait_end(p.src, p.dst);
    assert_moved(&p);
    g_assert_true(fake_vm_same_state(p.src, p.dst));
    g_assert_true(has_record(p.src, MIGRATION_RECORD_KIND_SAMPLE));
    g_assert_true(has_record(p.dst, MIGRATION_RECORD_KIND_SAMPLE));
    pair_free(&p);
}

static void test_segmented(gconstpointer opaque)
{
    Pair p = pair_new(5);
    FaultPlan plan = FAULT_PLAN_NONE;

    plan.segment = GPOINTER_TO_SIZE(opaque);
    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_RETURN_PATH);
    fake_vm_connect(p.src, p.dst, &plan, &plan, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_moved(&p);
    g_assert_true(fake_vm_same_state(p.src, p.dst));
    pair_free(&p);
}

static void test_stopped_guest_stays_stopped(void)
{
    Pair p = pair_new(6);

    p.src->state = RUN_STATE_PAUSED;
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    g_assert_cmpint(p.dst->state, ==, RUN_STATE_PAUSED);
    g_assert_cmpint(p.src->state, ==, RUN_STATE_POSTMIGRATE);
    g_assert_null(strstr(p.src->events->str, "STOP"));
    pair_free(&p);
}

static void test_no_autostart(void)
{
    Pair p = pair_new(7);

    p.dst->autostart = false;
    fake_vm_set_cap(p.dst, MIGRATION_CAPABILITY_LATE_BLOCK_ACTIVATE);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    g_assert_cmpint(p.dst->state, ==, RUN_STATE_PAUSED);
    g_assert_false(p.dst->images_open);
    pair_free(&p);
}

static void test_pause_before_switchover(void)
{
    Pair p = pair_new(8);
    QmpCall call = {.opaque = p.src->m};
    QmpArgs_migrate_continue args = {.state = MIGRATION_STATUS_ACTIVE};
    g_autoptr(GError) err = NULL;

    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_status(p.src, MIGRATION_STATUS_PRE_SWITCHOVER);
    g_assert_cmpint(p.src->host.ops->runstate(&p.src->host), ==, RUN_STATE_FINISH_MIGRATE);
    qmp_migrate_continue(&call, &args, &err);
    g_assert_cmpstr(err->message, ==, "Migration not in expected state: pre-switchover");
    args.state = MIGRATION_STATUS_PRE_SWITCHOVER;
    qmp_migrate_continue(&call, &args, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_moved(&p);
    g_assert_nonnull(strstr(p.src->events->str, "STOP pre-switchover device"));
    pair_free(&p);
}

/* ---- cancel ---- */

/* Stall the stream at @offset of the source's output, cancel there. */
static void cancel_when_stalled(Pair *p, uint64_t offset)
{
    FaultPlan plan = FAULT_PLAN_NONE;
    g_autoptr(QIOChannel) ioc = NULL;

    plan.stall_at = offset;
    fake_vm_connect(p->src, p->dst, &plan, NULL, &ioc);
    bql_unlock();
    fault_channel_wait_fault(ioc);
    bql_lock();
    outgoing_cancel(p->src->m->outgoing);
    fake_vm_wait_end(p->src, p->dst);
    assert_stayed(p, MIGRATION_STATUS_CANCELLED);
    g_assert_nonnull(strstr(p->src->events->str, "cancelling "));
    g_assert_true(g_str_has_suffix(p->src->events->str, "cancelled "));
    assert_can_migrate_again(p->src);
}

static void test_cancel_in_setup(void)
{
    Pair p = pair_new(10);

    cancel_when_stalled(&p, 3);
    pair_free(&p);
}

static void test_cancel_while_active(void)
{
    Pair p = pair_new(11);

    cancel_when_stalled(&p, 2000);
    pair_free(&p);
}

/* The migration thread holds the big lock here when it can; the main loop gets it all the same. */
static void test_cancel_while_devices_are_sent(void)
{
    Pair p = pair_new(15);

    cancel_when_stalled(&p, 14760);
    g_assert_nonnull(strstr(p.src->events->str, "STOP device PASS3 cancelling RESUME cancelled"));
    pair_free(&p);
}

static void test_cancel_in_pre_switchover(void)
{
    Pair p = pair_new(12);

    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_status(p.src, MIGRATION_STATUS_PRE_SWITCHOVER);
    outgoing_cancel(p.src->m->outgoing);
    fake_vm_wait_end(p.src, p.dst);
    assert_stayed(&p, MIGRATION_STATUS_CANCELLED);
    g_assert_nonnull(strstr(p.src->events->str, "pre-switchover cancelling RESUME cancelled "));
    p.src->m->options.caps[MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER] = false;
    assert_can_migrate_again(p.src);
    pair_free(&p);
}

/* The destination has confirmed that it waits, but does not read the end of the stream: nothing
 * more is heard from it. */
static void test_cancel_while_waiting_for_the_verdict(void)
{
    Pair p = pair_new(13);
    FaultPlan plan = FAULT_PLAN_NONE;

    plan.stall_at = 12600;
    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_RETURN_PATH);
    fake_vm_connect(p.src, p.dst, NULL, &plan, NULL);
    fake_vm_wait_status(p.src, MIGRATION_STATUS_DEVICE);
    outgoing_cancel(p.src->m->outgoing);
    fake_vm_wait_end(p.src, NULL);
    incoming_shutdown(p.dst->m->incoming);
    assert_stayed(&p, MIGRATION_STATUS_CANCELLED);
    assert_can_migrate_again(p.src);
    pair_free(&p);
}

/* Before the connection is there: no thread has started yet. */
static void test_cancel_while_connecting(void)
{
    Pair p = pair_new(16);
    QmpCall call = {.opaque = p.src->m};
    QmpArgs_migrate args = {.uri = (char *)"tcp:127.0.0.1:1"};

    qmp_migrate(&call, &args, NULL);
    qmp_migrate_cancel(&call, NULL);
    assert_stayed(&p, MIGRATION_STATUS_CANCELLED);
    g_assert_cmpstr(p.src->events->str, ==, "setup cancelling cancelled ");
    assert_can_migrate_again(p.src);
    pair_free(&p);
}

static void test_cancel_after_the_end_is_harmless(void)
{
    Pair p = pair_new(14);
    QmpCall call = {.opaque = p.src->m};
    g_autoptr(GError) err = NULL;

    qmp_migrate_cancel(&call, &err);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    qmp_migrate_cancel(&call, &err);
    g_assert_no_error(err);
    assert_moved(&p);
    pair_free(&p);
}

/* ---- failures ---- */

static void assert_error_contains(char *error, const char *text)
{
    g_assert_nonnull(error);
    if (!strstr(error, text)) {
        g_test_message("error is: %s", error);
    }
    g_assert_nonnull(strstr(error, text));
    g_free(error);
}

static void test_stop_fails(void)
{
    Pair p = pair_new(20);

    p.src->fail_stop = true;
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_stayed(&p, MIGRATION_STATUS_FAILED);
    assert_error_contains(fake_vm_source_error(p.src), "a vCPU does not stop");
    g_assert_nonnull(strstr(p.src->events->str, "STOP failing RESUME failed "));
    g_assert_cmpuint(p.dst->exits, ==, 0); /* run_on: no exit-on-error */
    p.src->fail_stop = false;
    assert_can_migrate_again(p.src);
    pair_free(&p);
}

static void test_images_do_not_let_go(void)
{
    Pair p = pair_new(21);

    p.src->fail_inactivate = true;
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_stayed(&p, MIGRATION_STATUS_FAILED);
    assert_error_contains(fake_vm_source_error(p.src), "an image is busy");
    p.src->fail_inactivate = false;
    assert_can_migrate_again(p.src);
    pair_free(&p);
}

/* With a return path the destination's reason is the source's error. */
static void test_destination_refuses(void)
{
    Pair p = pair_new(22);

    p.dst->disk.refuse_load = true;
    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_RETURN_PATH);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_stayed(&p, MIGRATION_STATUS_FAILED);
    assert_error_contains(fake_vm_destination_error(p.dst),
                          "Loading section 'bus@0/slot1/fake-disk' (instance 0)");
    assert_error_contains(fake_vm_source_error(p.src), "Destination: Loading section");
    assert_error_contains(fake_vm_source_error(p.src), "this disk does not want to be loaded");
    assert_can_migrate_again(p.src);
    pair_free(&p);
}

static void test_save_fails(void)
{
    Pair p = pair_new(23);

    p.src->disk.n = 9;
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_stayed(&p, MIGRATION_STATUS_FAILED);
    assert_error_contains(fake_vm_source_error(p.src), "Saving section 'bus@0/slot1/fake-disk'");
    p.src->disk.n = 2;
    assert_can_migrate_again(p.src);
    pair_free(&p);
}

static void test_other_ram_size(void)
{
    Pair p = pair_new(24);

    p.dst->block->used_length = FAKE_RAM_SIZE / 2;
    p.dst->block->max_length = FAKE_RAM_SIZE / 2;
    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_RETURN_PATH);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_stayed(&p, MIGRATION_STATUS_FAILED);
    assert_error_contains(fake_vm_destination_error(p.dst), "Size mismatch: fake.ram");
    assert_error_contains(fake_vm_source_error(p.src), "Size mismatch: fake.ram");
    p.dst->block->used_length = p.dst->block->max_length = FAKE_RAM_SIZE;
    pair_free(&p);
}

static void test_capabilities_must_agree(void)
{
    Pair p = pair_new(25);

    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_X_IGNORE_SHARED);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    g_assert_false(fake_vm_running(p.dst));
    assert_error_contains(fake_vm_destination_error(p.dst),
                          "Capability 'x-ignore-shared' is on on the source and off here");
    pair_free(&p);
}

/* ---- commands ---- */

static void test_command_errors(void)
{
    Pair p = pair_new(30);
    QmpCall call = {.opaque = p.src->m}, in_call = {.opaque = p.dst->m};
    QmpArgs_migrate args = {.uri = (char *)"tcp:127.0.0.1:1"};
    QmpArgs_migrate_incoming in_args = {.uri = (char *)"tcp:127.0.0.1:0"};
    MigrationBlocker *blocker;
    g_autoptr(MigrationInfo) info = qmp_query_migrate(&call, NULL);
    GError *err = NULL;

    g_assert_false(info->has_status);
    qmp_migrate(&in_call, &args, &err);
    g_assert_cmpstr(err->message, ==, "Guest is waiting for an incoming migration");
    g_clear_error(&err);
    qmp_migrate_incoming(&call, &in_args, &err);
    g_assert_cmpstr(err->message, ==, "'-incoming' was not specified on the command line");
    g_clear_error(&err);
    blocker = migration_add_blocker(p.src->m, "the moon is full", NULL);
    qmp_migrate(&call, &args, &err);
    g_assert_cmpstr(err->message, ==, "the moon is full");
    g_clear_error(&err);
    migration_del_blocker(p.src->m, blocker);
    p.src->state = RUN_STATE_POSTMIGRATE;
    qmp_migrate(&call, &args, &err);
    g_assert_cmpstr(err->message, ==,
                    "Can't migrate the vm that was paused due to previous migration");
    g_clear_error(&err);
    p.src->state = RUN_STATE_RUNNING;
    fake_vm_set_cap(p.src, MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER);
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    qmp_migrate(&call, &args, &err);
    g_assert_cmpstr(err->message, ==, "There's a migration process in progress");
    g_clear_error(&err);
    outgoing_cancel(p.src->m->outgoing);
    fake_vm_wait_end(p.src, p.dst);
    pair_free(&p);
}

/* Nobody listens: the command succeeds, the migration fails. */
static void test_connect_refused(void)
{
    Pair p = pair_new(31);
    QmpCall call = {.opaque = p.src->m};
    QmpArgs_migrate args = {.uri = (char *)"tcp:127.0.0.1:1"};
    GError *err = NULL;

    qmp_migrate(&call, &args, &err);
    g_assert_no_error(err);
    fake_vm_wait_end(p.src, NULL);
    assert_stayed(&p, MIGRATION_STATUS_FAILED);
    g_assert_cmpstr(p.src->events->str, ==, "setup failing failed ");
    assert_error_contains(fake_vm_source_error(p.src), "127.0.0.1:1");
    assert_can_migrate_again(p.src);
    pair_free(&p);
}

/* A stranger first, then the right source, all over tcp. */
static void test_strangers_do_not_matter(void)
{
    Pair p = pair_new(32);
    QmpCall call = {.opaque = p.src->m}, in_call = {.opaque = p.dst->m};
    QmpArgs_migrate_incoming in_args = {.uri = (char *)"tcp:127.0.0.1:0"};
    g_autoptr(MigrationInfo) info = NULL;
    g_autoptr(QIOChannelSocket) stranger = NULL, scanner = NULL;
    g_autofree char *uri = NULL;
    QmpArgs_migrate args = {0};
    const SocketAddress *addr;
    GError *err = NULL;

    qmp_migrate_incoming(&in_call, &in_args, &err);
    g_assert_no_error(err);
    g_assert_cmpstr(p.dst->events->str, ==, "setup ");
    qmp_migrate_incoming(&in_call, &in_args, &err);
    g_assert_cmpstr(err->message, ==, "The incoming migration has already been started");
    g_clear_error(&err);
    info = qmp_query_migrate(&in_call, NULL);
    g_assert_cmpint(info->status, ==, MIGRATION_STATUS_SETUP);
    addr = g_ptr_array_index(info->socket_address, 0);
    scanner = io_channel_socket_connect_sync(addr, &err);
    g_assert_no_error(err);
    io_channel_close(IO_CHANNEL(scanner), NULL);
    stranger = io_channel_socket_connect_sync(addr, &err);
    g_assert_true(io_channel_write_all(IO_CHANNEL(stranger), "GET / HTTP/1.0\r\n\r\n", 18, NULL));
    args.uri = uri = g_strdup_printf("tcp:127.0.0.1:%s", addr->u.inet->port);
    qmp_migrate(&call, &args, &err);
    g_assert_no_error(err);
    fake_vm_wait_end(p.src, p.dst);
    assert_moved(&p);
    g_assert_true(fake_vm_same_state(p.src, p.dst));
    pair_free(&p);
}

static void test_query(void)
{
    Pair p = pair_new(33);
    QmpCall call = {.opaque = p.src->m};
    g_autoptr(MigrationInfo) info = NULL;
    g_autoptr(GPtrArray) record = NULL;

    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    info = qmp_query_migrate(&call, NULL);
    g_assert_cmpint(info->status, ==, MIGRATION_STATUS_COMPLETED);
    g_assert_cmpuint(info->ram->total, ==, FAKE_RAM_SIZE);
    g_assert_cmpuint(info->ram->normal, ==, 3);
    g_assert_cmpuint(info->ram->duplicate, ==, FAKE_RAM_SIZE / TARGET_PAGE_SIZE - 3);
    g_assert_cmpuint(info->ram->remaining, ==, 0);
    g_assert_cmpuint(info->ram->transferred, >, 3 * TARGET_PAGE_SIZE);
    g_assert_true(info->has_downtime);
    record = qmp_x_query_migration_record(&call, NULL);
    g_assert_cmpuint(record->len, >, 5);
    pair_free(&p);
}

/* ---- snapshots ---- */

static void test_snapshot(void)
{
    FakeVM *a = fake_vm_new(false), *b = fake_vm_new(false);
    g_autoptr(QIOChannelBuffer) file = io_channel_buffer_new();
    GError *err = NULL;

    fake_vm_populate(a, 41);
    g_assert_true(migration_save_snapshot(a->m, IO_CHANNEL(file), &err));
    g_assert_no_error(err);
    g_assert_true(fake_vm_running(a));
    g_assert_true(a->images_open);
    g_assert_cmpstr(a->events->str, ==, "STOP setup PASS1 PASS2 completed RESUME ");
    b->state = RUN_STATE_PAUSED;
    g_assert_true(migration_load_snapshot(b->m, IO_CHANNEL(file), &err));
    g_assert_true(fake_vm_same_state(a, b));
    g_assert_cmpint(b->state, ==, RUN_STATE_PAUSED);
    fake_vm_free(a);
    fake_vm_free(b);
}

static void test_snapshot_fails(void)
{
    FakeVM *vm = fake_vm_new(false);
    g_autoptr(QIOChannelBuffer) file = io_channel_buffer_new();
    g_autoptr(GError) err = NULL;

    vm->disk.n = 77;
    g_assert_false(migration_save_snapshot(vm->m, IO_CHANNEL(file), &err));
    g_assert_nonnull(strstr(err->message, "fake-disk"));
    g_assert_true(fake_vm_running(vm));
    g_clear_error(&err);
    vm->state = RUN_STATE_PAUSED;
    g_assert_false(migration_load_snapshot(vm->m, IO_CHANNEL(file), &err));
    g_assert_cmpint(vm->state, ==, RUN_STATE_RESTORE_VM);
    fake_vm_free(vm);
}

/* All fits into the downtime from the start, but nobody writes: what is sent before the stop is not
 * sent after it. A window of the limit carries an eighth of it. */
static void test_idle_guest_runs_on(void)
{
    Pair p = pair_new(11);
    MigrationParameters params = {.has_downtime_limit = true,
                                  .downtime_limit = 60000,
                                  .has_max_bandwidth = true,
                                  .max_bandwidth = 12 * FAKE_RAM_SIZE};

    g_assert_true(options_set_params(&p.src->m->options, &params, NULL));
    for (unsigned page = 0; page < FAKE_RAM_SIZE / TARGET_PAGE_SIZE; page++) {
        p.src->block->host[page * TARGET_PAGE_SIZE] = 1;
    }
    fake_vm_connect(p.src, p.dst, NULL, NULL, NULL);
    fake_vm_wait_end(p.src, p.dst);
    assert_moved(&p);
    g_assert_cmpuint(p.src->m->counters.downtime_bytes, <, FAKE_RAM_SIZE / 3);
    pair_free(&p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    g_test_add_func("/migration/plain", test_plain);
    g_test_add_func("/migration/return-path", test_return_path);
    g_test_add_func("/migration/busy-guest", test_busy_guest);
    g_test_add_func("/migration/converges-when-allowed", test_converges_when_allowed);
    g_test_add_func("/migration/idle-guest-runs-on", test_idle_guest_runs_on);
    g_test_add_data_func("/migration/segments-of-1", GSIZE_TO_POINTER(1), test_segmented);
    g_test_add_data_func("/migration/segments-of-7", GSIZE_TO_POINTER(7), test_segmented);
    g_test_add_data_func("/migration/segments-of-4097", GSIZE_TO_POINTER(4097), test_segmented);
    g_test_add_func("/migration/stopped-guest-stays-stopped", test_stopped_guest_stays_stopped);
    g_test_add_func("/migration/no-autostart", test_no_autostart);
    g_test_add_func("/migration/pause-before-switchover", test_pause_before_switchover);
    g_test_add_func("/migration/cancel/setup", test_cancel_in_setup);
    g_test_add_func("/migration/cancel/active", test_cancel_while_active);
    g_test_add_func("/migration/cancel/devices", test_cancel_while_devices_are_sent);
    g_test_add_func("/migration/cancel/pre-switchover", test_cancel_in_pre_switchover);
    g_test_add_func("/migration/cancel/verdict", test_cancel_while_waiting_for_the_verdict);
    g_test_add_func("/migration/cancel/connecting", test_cancel_while_connecting);
    g_test_add_func("/migration/cancel/after-the-end", test_cancel_after_the_end_is_harmless);
    g_test_add_func("/migration/fail/stop", test_stop_fails);
    g_test_add_func("/migration/fail/images", test_images_do_not_let_go);
    g_test_add_func("/migration/fail/destination-refuses", test_destination_refuses);
    g_test_add_func("/migration/fail/save", test_save_fails);
    g_test_add_func("/migration/fail/other-ram-size", test_other_ram_size);
    g_test_add_func("/migration/fail/capabilities", test_capabilities_must_agree);
    g_test_add_func("/migration/commands/errors", test_command_errors);
    g_test_add_func("/migration/commands/connect-refused", test_connect_refused);
    g_test_add_func("/migration/commands/strangers", test_strangers_do_not_matter);
    g_test_add_func("/migration/commands/query", test_query);
    g_test_add_func("/migration/snapshot/save-and-load", test_snapshot);
    g_test_add_func("/migration/snapshot/fails", test_snapshot_fails);
    return g_test_run();
}
