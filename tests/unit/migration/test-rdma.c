/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole migrations over a fake RDMA fabric, and everything that can go wrong on one. */
#include <gio/gio.h>
#include "fake-fabric.h"
#include "fake-vm.h"
#include "migration/rdma/channel.h"
#include "util/lock.h"

#define BIG_SIZE (9 * MiB + 60 * KiB)
/* Does not come to its end before the test says so. */
#define SLOW_BANDWIDTH (256 * KiB)

/* A source, a destination and the fabric between them. */
typedef struct {
    FakeFabric *f;
    FakeVM *src, *dst;
    RAMBlock *big[2];
    RdmaListener *listener;
    GCancellable *cancel;
    unsigned patience_ms; /* connecting is cancelled after this; 0: never */
    bool cancel_half_way; /* connecting is cancelled once the first connection is there */
    RdmaWishes wishes;
    /* The connecting thread's result. */
    QIOChannel *ioc;
    GError *err;
    bool connected; /* atomic */
    GThread *thread;
} Pair;

static RAMBlock *add_big(FakeVM *vm)
{
    RAMBlock *b = ram_block_new_anon(vm->ram, "fake.big", BIG_SIZE, RAM_MIGRATABLE, NULL);

    g_assert_nonnull(b);
    return b;
}

static void set_param(FakeVM *vm, uint64_t max_bandwidth, uint64_t chunk)
{
    MigrationParameters p = {
        .has_max_bandwidth = true,
        .max_bandwidth = max_bandwidth,
        .has_x_rdma_chunk_size = true,
        .x_rdma_chunk_size = chunk,
    };

    g_assert_true(options_set_params(&vm->m->options, &p, NULL));
}

/* Runs of data, zeros that were written, and memory nobody touched. */
static void fill_big(RAMBlock *b)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(99);

    for (uint64_t page = 0; page < ram_block_pages(b); page++) {
        uint64_t *words = (uint64_t *)(b->host + (page << TARGET_PAGE_BITS));

        if (page % 97 < 60 && page < 1500) {
            for (unsigned i = 0; i < TARGET_PAGE_SIZE / 8; i++) {
                words[i] = g_rand_int(rand);
            }
        } else if (page % 97 < 80) {
            memset(words, 0, TARGET_PAGE_SIZE);
        }
    }
}

static Pair *pair_new(void)
{
    Pair *p = g_new0(Pair, 1);

    p->f = fake_fabric_new();
    p->src = fake_vm_new(false);
    p->dst = fake_vm_new(true);
    p->big[0] = add_big(p->src);
    p->big[1] = add_big(p->dst);
    p->cancel = g_cancellable_new();
    fake_vm_populate(p->src, 1234);
    fill_big(p->big[0]);
    /* Old contents that the migration has to replace. */
    memset(p->big[1]->host + 4 * MiB, 0x55, MiB);
    set_param(p->src, 0, 2 * MiB);
    set_param(p->dst, 0, 1 * MiB);
    return p;
}

static void pair_free(Pair *p)
{
    rdma_listener_free(p->listener);
    fake_vm_free(p->src);
    fake_vm_free(p->dst);
    g_object_unref(p->cancel);
    fake_fabric_free(p->f);
    g_free(p);
}

static void source_came(QIOChannel *ioc, void *opaque)
{
    Pair *p = opaque;

    incoming_run_on(p->dst->m->incoming, ioc);
    g_object_unref(ioc);
    if (p->cancel_half_way) {
        g_cancellable_cancel(p->cancel);
    }
}

static gpointer connect_thread(gpointer opaque)
{
    Pair *p = opaque;

    p->ioc = rdma_channel_connect(&p->f->base, "fake", "1", &p->wishes, p->cancel, &p->err);
    __atomic_store_n(&p->connected, true, __ATOMIC_RELEASE);
    g_main_context_wakeup(NULL);
    return NULL;
}

static gboolean lose_patience(gpointer opaque)
{
    g_cancellable_cancel(opaque);
    return G_SOURCE_REMOVE;
}

/* Listen and connect; true: p->ioc is there, else p->err. */
static bool pair_connect(Pair *p)
{
    unsigned timer = 0;

    p->wishes.pin_all = options_cap(&p->src->m->options, MIGRATION_CAPABILITY_RDMA_PIN_ALL);
    p->wishes.return_path = options_cap(&p->src->m->options, MIGRATION_CAPABILITY_RETURN_PATH) ||
                            options_cap(&p->src->m->options, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    p->listener = rdma_listener_new(&p->f->base, "fake", "1", source_came, p, NULL);
    p->thread = g_thread_new("connect", connect_thread, p);
    if (p->patience_ms) {
        timer = g_timeout_add(p->patience_ms, lose_patience, p->cancel);
    }
    while (!__atomic_load_n(&p->connected, __ATOMIC_ACQUIRE)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_thread_join(p->thread);
    if (timer && !g_cancellable_is_cancelled(p->cancel)) {
        g_source_remove(timer);
    }
    return p->ioc != NULL;
}

static void pair_start(Pair *p)
{
    MigrationState *s = outgoing_new(p->src->m);

    outgoing_set_status(s, MIGRATION_STATUS_NONE, MIGRATION_STATUS_SETUP);
    outgoing_run_on(s, p->ioc, NULL);
    g_object_unref(p->ioc);
}

static void check_same(Pair *p)
{
    g_assert_true(fake_vm_same_state(p->src, p->dst));
    g_assert_cmpmem(p->big[0]->host, BIG_SIZE, p->big[1]->host, BIG_SIZE);
}

static void pair_succeeds(Pair *p)
{
    g_autofree char *src_err = NULL, *dst_err = NULL;

    g_assert_true(pair_connect(p));
    pair_start(p);
    fake_vm_wait_end(p->src, p->dst);
    src_err = fake_vm_source_error(p->src);
    dst_err = fake_vm_destination_error(p->dst);
    g_assert_cmpstr(src_err, ==, NULL);
    g_assert_cmpstr(dst_err, ==, NULL);
    g_assert_cmpint(fake_vm_status(p->src), ==, MIGRATION_STATUS_COMPLETED);
    check_same(p);
    g_assert_true(fake_vm_running(p->dst));
    g_assert_cmpuint(p->f->not_ready, ==, 0);
}

/* ---- success ---- */

typedef struct {
    const char *name;
    bool pin_all, return_path, qemu, late, guest;
} Way;

static const Way ways[] = {
    {"plain"},
    {"pin-all", .pin_all = true},
    {"return-path", .return_path = true},
    {"pin-all-return-path", .pin_all = true, .return_path = true},
    {"like-qemu", .qemu = true},
    {"like-qemu-pin-all", .qemu = true, .pin_all = true},
    {"late-completions", .late = true, .return_path = true},
    {"writing-guest", .guest = true},
    {"writing-guest-like-qemu", .guest = true, .qemu = true},
    {"writing-guest-pin-all-late", .guest = true, .pin_all = true, .late = true},
};

static Pair *pair_of_way(const Way *w)
{
    Pair *p = pair_new();

    p->f->qemu = w->qemu;
    p->f->late = w->late;
    if (w->pin_all) {
        fake_vm_set_cap(p->src, MIGRATION_CAPABILITY_RDMA_PIN_ALL);
    }
    if (w->return_path) {
        fake_vm_set_cap(p->src, MIGRATION_CAPABILITY_RETURN_PATH);
    }
    if (w->guest) {
        fake_vm_start_guest(p->src);
    }
    return p;
}

static void test_way(const void *opaque)
{
    const Way *w = opaque;
    Pair *p = pair_of_way(w);
    int64_t start = g_get_monotonic_time();
    unsigned sections;

    pair_succeeds(p);
    /* The source ends a section after some time, every 50 ms in the long run; then what it has
     * gathered leaves. */
    sections = 10 + (g_get_monotonic_time() - start) / 50000;
    /* Joined and batched: far fewer messages than runs, and WRITEs than pages. */
    g_assert_cmpuint(p->f->writes[0], >, 10);
    if (!w->guest) {
        g_assert_cmpuint(p->f->writes[0], <, 80 + 2 * sections);
        g_assert_cmpuint(p->f->sends[0], <, (w->qemu ? 70 : 30) + 3 * sections);
    }
    if (w->pin_all) {
        g_assert_cmpuint(p->f->pinned_peak, >=, BIG_SIZE + FAKE_RAM_SIZE);
    }
    pair_free(p);
}

/* ---- postcopy ---- */

static void iterate_until(const bool *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
        bql_unlock();
        g_usleep(1000);
        bql_lock();
        g_main_context_iteration(NULL, FALSE);
    }
}

typedef struct {
    RAMBlock *block;
    bool done; /* atomic */
} Toucher;

/* Reads some pages, each of which has to be asked for or to come by itself. */
static gpointer touch(gpointer opaque)
{
    Toucher *t = opaque;
    unsigned sum = 0;

    for (uint64_t at = 0; at < BIG_SIZE; at += 64 * KiB) {
        sum += *(volatile uint8_t *)(t->block->host + at);
    }
    g_assert_cmpuint(sum, >, 0);
    __atomic_store_n(&t->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static void switch_to_postcopy(Pair *p)
{
    MigrationParameters slow = {
        .has_max_bandwidth = true,
        .max_bandwidth = SLOW_BANDWIDTH,
        .has_max_postcopy_bandwidth = true,
        .max_postcopy_bandwidth = SLOW_BANDWIDTH,
    };

    fake_vm_set_cap(p->src, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    fake_vm_set_cap(p->dst, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    g_assert_true(options_set_params(&p->src->m->options, &slow, NULL));
    g_assert_true(pair_connect(p));
    pair_start(p);
    fake_vm_wait_status(p->src, MIGRATION_STATUS_ACTIVE);
    g_assert_true(postcopy_source_start(p->src->m->outgoing, NULL));
    fake_vm_wait_status(p->src, MIGRATION_STATUS_POSTCOPY_ACTIVE);
}

/* The rest of memory comes in messages; what was registered for precopy is let go. */
static void test_postcopy(const void *opaque)
{
    const Way *w = opaque;
    Pair *p = pair_of_way(w);
    Toucher t = {.block = p->big[1]};
    GThread *thread;

    switch_to_postcopy(p);
    thread = g_thread_new("touch", touch, &t);
    iterate_until(&t.done);
    g_thread_join(thread);
    while (fake_fabric_regions(p->f) > 4) { /* the buffers of two connections */
        g_usleep(1000);
    }
    set_param(p->src, 0, 2 * MiB);
    fake_vm_wait_end(p->src, p->dst);
    g_assert_cmpint(fake_vm_status(p->src), ==, MIGRATION_STATUS_COMPLETED);
    g_assert_cmpint(incoming_status(p->dst->m->incoming), ==, MIGRATION_STATUS_COMPLETED);
    g_assert_cmpuint(p->src->m->counters.postcopy_requests, >, 0);
    g_assert_true(fake_vm_running(p->dst));
    check_same(p);
    pair_free(p);
}

/* ---- what is agreed ---- */

static void test_stranger(void)
{
    Pair *p = pair_new();

    p->f->cut_answers = 1; /* the source gives up, */
    g_assert_false(pair_connect(p));
    g_assert_nonnull(strstr(p->err->message, "3 bytes of private data"));
    g_clear_error(&p->err);
    fake_vm_wait_end(NULL, p->dst); /* and the destination hears of it */
    pair_free(p);
}

static void test_wrong_address(void)
{
    FakeFabric *f = fake_fabric_new();
    RdmaWishes wishes = {0};
    GError *err = NULL;

    g_assert_null(rdma_channel_connect(&f->base, "elsewhere", "1", &wishes, NULL, &err));
    g_assert_nonnull(strstr(err->message, "elsewhere"));
    g_clear_error(&err);
    g_assert_null(rdma_channel_connect(&f->base, "fake", "1", &wishes, NULL, &err));
    g_clear_error(&err);
    fake_fabric_free(f);
}

static void test_no_second_connection(void)
{
    Pair *p = pair_new();

    p->f->qemu = p->f->no_second = true;
    p->wishes.return_path = true;
    fake_vm_set_cap(p->src, MIGRATION_CAPABILITY_RETURN_PATH);
    g_assert_false(pair_connect(p));
    g_assert_nonnull(strstr(p->err->message, "turn the capability 'return-path' off"));
    g_clear_error(&p->err);
    fake_vm_wait_end(NULL, p->dst);
    pair_free(p);
}

static void test_cancel_connecting(void)
{
    Pair *p = pair_new();

    p->f->no_second = p->cancel_half_way = true;
    fake_vm_set_cap(p->src, MIGRATION_CAPABILITY_RETURN_PATH);
    g_assert_false(pair_connect(p));
    g_clear_error(&p->err);
    fake_vm_wait_end(NULL, p->dst);
    pair_free(p);
}

/* ---- failures ---- */

static void source_survives(Pair *p)
{
    g_assert_true(fake_vm_running(p->src));
    g_assert_true(p->src->images_open);
}

static void test_pin_limit(const void *opaque)
{
    bool pin_all = GPOINTER_TO_INT(opaque);
    g_autofree char *text = NULL;
    Pair *p = pair_new();

    p->f->pin_limit = 5 * MiB;
    if (pin_all) {
        fake_vm_set_cap(p->src, MIGRATION_CAPABILITY_RDMA_PIN_ALL);
    }
    g_assert_true(pair_connect(p));
    pair_start(p);
    fake_vm_wait_end(p->src, p->dst);
    g_assert_cmpint(fake_vm_status(p->src), ==, MIGRATION_STATUS_FAILED);
    source_survives(p);
    text = fake_vm_source_error(p->src);
    g_assert_true(strstr(text, "Cannot register") || strstr(text, "it has failed"));
    pair_free(p);
}

static void test_other_size(void)
{
    g_autofree char *text = NULL;
    Pair *p = pair_new();

    ram_block_free(p->big[1]);
    p->big[1] = ram_block_new_anon(p->dst->ram, "fake.big", BIG_SIZE + MiB, RAM_MIGRATABLE, NULL);
    g_assert_true(pair_connect(p));
    pair_start(p);
    fake_vm_wait_end(p->src, p->dst);
    g_assert_cmpint(fake_vm_status(p->src), ==, MIGRATION_STATUS_FAILED);
    text = fake_vm_destination_error(p->dst);
    g_assert_nonnull(strstr(text, "Size mismatch"));
    source_survives(p);
    pair_free(p);
}

/* After @ms without an end: cancel, and cut the destination off. */
static void wait_or_cancel(Pair *p, unsigned ms)
{
    int64_t limit = g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;
    bool src_done, dst_done;

    do {
        MigrationStatus dst = incoming_status(p->dst->m->incoming);

        src_done = !outgoing_is_running(p->src->m->outgoing);
        dst_done = dst == MIGRATION_STATUS_COMPLETED || dst == MIGRATION_STATUS_FAILED;
        if (g_get_monotonic_time() > limit) {
            if (!src_done) {
                outgoing_cancel(p->src->m->outgoing);
            }
            if (!dst_done) {
                io_channel_shutdown(incoming_channel(p->dst->m->incoming), IO_SHUTDOWN_BOTH);
            }
            fake_vm_wait_end(p->src, p->dst);
            return;
        }
        bql_unlock();
        g_usleep(200);
        bql_lock();
        g_main_context_iteration(NULL, FALSE);
    } while (!src_done || !dst_done);
}

/*
 * One fault at one place: both sides end, nothing crashes or hangs, and the guest is where the
 * statuses say. A fault that nobody notices must have done no harm.
 */
static void one_fault(const Way *w, unsigned side, FakePlan plan)
{
    Pair *p = pair_of_way(w);
    bool src_done, dst_done;

    p->f->plan[side] = plan;
    p->patience_ms = 200;
    if (!pair_connect(p)) {
        g_clear_error(&p->err);
        if (incoming_status(p->dst->m->incoming) == MIGRATION_STATUS_ACTIVE) {
            io_channel_shutdown(incoming_channel(p->dst->m->incoming), IO_SHUTDOWN_BOTH);
            fake_vm_wait_end(NULL, p->dst);
        }
        pair_free(p);
        return;
    }
    pair_start(p);
    wait_or_cancel(p, 100);
    src_done = fake_vm_status(p->src) == MIGRATION_STATUS_COMPLETED;
    dst_done = incoming_status(p->dst->m->incoming) == MIGRATION_STATUS_COMPLETED;
    if (!src_done && !fake_vm_running(p->src)) {
        /* Given away by the commit, and no answer: only a person knows who has it. */
        g_autofree char *text = fake_vm_source_error(p->src);

        g_assert_true(w->return_path);
        g_assert_nonnull(strstr(text, "cont"));
    }
    g_assert_false(w->return_path && fake_vm_running(p->src) && fake_vm_running(p->dst));
    if (src_done && dst_done && plan.fault != FAKE_CORRUPT && plan.fault != FAKE_SWALLOW) {
        check_same(p);
    }
    pair_free(p);
}

static void test_faults(const void *opaque)
{
    const Way *w = opaque;
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    unsigned posted[2], step = g_getenv("GODWIT_TEST_LONG") ? 1 : 41;
    Pair *p = pair_of_way(w);

    pair_succeeds(p);
    memcpy(posted, p->f->posted, sizeof(posted));
    pair_free(p);
    for (unsigned side = 0; side < 2; side++) {
        for (FakeFault fault = FAKE_FAIL; fault < FAKE__MAX; fault++) {
            for (unsigned at = g_rand_int_range(rand, 0, step); at < posted[side]; at += step) {
                one_fault(
                    w, side,
                    (FakePlan){.fault = fault, .at = at, .bit = g_rand_int_range(rand, 0, 96)});
            }
        }
    }
}

/* Every message of either side, damaged in every way a message can be. */
static void test_messages(const void *opaque)
{
    static const FakeFault damages[] = {FAKE_TRUNCATE, FAKE_CORRUPT, FAKE_DUPLICATE, FAKE_SWAP};
    const Way *w = opaque;
    unsigned sends[2];
    Pair *p = pair_of_way(w);

    pair_succeeds(p);
    memcpy(sends, p->f->sends, sizeof(sends));
    pair_free(p);
    for (unsigned side = 0; side < 2; side++) {
        for (unsigned at = 0; at < sends[side]; at++) {
            for (unsigned i = 0; i < ARRAY_SIZE(damages); i++) {
                one_fault(w, side,
                          (FakePlan){.fault = damages[i],
                                     .at = at,
                                     .messages = true,
                                     .bit = (at * 7 + i * 31) % 96});
            }
        }
    }
}

/* The peer's adapter is gone, no goodbye: noticed by probing, without anybody's help. */
static void test_silent_death(void)
{
    g_autofree char *text = NULL;
    Pair *p = pair_new();

    p->f->plan[1] = (FakePlan){.fault = FAKE_DIE, .at = 2};
    g_assert_true(pair_connect(p));
    pair_start(p);
    fake_vm_wait_end(p->src, NULL);
    g_assert_cmpint(fake_vm_status(p->src), ==, MIGRATION_STATUS_FAILED);
    text = fake_vm_source_error(p->src);
    g_assert_nonnull(strstr(text, "retry counter exceeded"));
    source_survives(p);
    io_channel_shutdown(incoming_channel(p->dst->m->incoming), IO_SHUTDOWN_BOTH);
    fake_vm_wait_end(NULL, p->dst);
    pair_free(p);
}

static void test_cancel_and_again(void)
{
    Pair *p = pair_new(), *again = pair_new();
    MigrationParameters slow = {.has_max_bandwidth = true, .max_bandwidth = SLOW_BANDWIDTH};

    options_set_params(&p->src->m->options, &slow, NULL);
    g_assert_true(pair_connect(p));
    pair_start(p);
    fake_vm_wait_status(p->src, MIGRATION_STATUS_ACTIVE);
    outgoing_cancel(p->src->m->outgoing);
    fake_vm_wait_end(p->src, p->dst);
    g_assert_cmpint(fake_vm_status(p->src), ==, MIGRATION_STATUS_CANCELLED);
    g_assert_cmpint(incoming_status(p->dst->m->incoming), ==, MIGRATION_STATUS_FAILED);
    source_survives(p);
    pair_free(p);
    pair_succeeds(again);
    pair_free(again);
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
        g_autofree char *path = g_strconcat("/rdma/moves/", ways[i].name, NULL);

        g_test_add_data_func(path, &ways[i], test_way);
    }
    g_test_add_data_func("/rdma/postcopy/plain", &ways[0], test_postcopy);
    g_test_add_data_func("/rdma/postcopy/pin-all", &ways[1], test_postcopy);
    g_test_add_data_func("/rdma/postcopy/like-qemu", &ways[4], test_postcopy);
    g_test_add_func("/rdma/stranger", test_stranger);
    g_test_add_func("/rdma/wrong-address", test_wrong_address);
    g_test_add_func("/rdma/no-second-connection", test_no_second_connection);
    g_test_add_func("/rdma/cancel-connecting", test_cancel_connecting);
    g_test_add_data_func("/rdma/pin-limit", GINT_TO_POINTER(false), test_pin_limit);
    g_test_add_data_func("/rdma/pin-limit-pin-all", GINT_TO_POINTER(true), test_pin_limit);
    g_test_add_func("/rdma/other-size", test_other_size);
    g_test_add_func("/rdma/cancel-and-again", test_cancel_and_again);
    g_test_add_func("/rdma/silent-death", test_silent_death);
    g_test_add_data_func("/rdma/messages/plain", &ways[0], test_messages);
    g_test_add_data_func("/rdma/messages/return-path", &ways[2], test_messages);
    g_test_add_data_func("/rdma/faults/plain", &ways[0], test_faults);
    g_test_add_data_func("/rdma/faults/return-path", &ways[2], test_faults);
    g_test_add_data_func("/rdma/faults/pin-all", &ways[1], test_faults);
    g_test_add_data_func("/rdma/faults/like-qemu", &ways[4], test_faults);
    status = g_test_run();
    bql_unlock();
    return status;
}
