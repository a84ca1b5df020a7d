/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Postcopy between two VMs in one process with connections beside the main one
 * (x-postcopy-channels, postcopy-preempt), over lines that break or stall. */
#include "fake-vm.h"
#include "migration/incoming-state.h"
#include "migration/wire/postcopy.h"
#include "relay.h"
#include "util/lock.h"
#include "util/userfaultfd.h"

#define CHANNELS 4 /* with the main one, which comes first */
/* Bytes per second, of all: a page per window and channel. The main channel alone would take half a
 * minute, so none can be forgotten. */
#define SLOW 100000
/* What a channel has passed that carries pages. */
#define PAGES_BYTES (POSTCOPY_CHANNEL_BYTES + 2 * 4096)

typedef struct {
    FakeVM *src, *dst;
    MigrationState *s;
    unsigned channels;
    char *dir, *near, *far; /* where the relay listens, and the destination */
    Relay *relay;
} Pair;

static void set_params(Pair *p, uint64_t bandwidth)
{
    MigrationParameters params = {
        .has_max_bandwidth = true,
        .max_bandwidth = bandwidth,
        .has_max_postcopy_bandwidth = true,
        .max_postcopy_bandwidth = bandwidth,
        .has_x_postcopy_channels = true,
        .x_postcopy_channels = p->channels,
    };

    g_assert_true(options_set_params(&p->src->m->options, &params, NULL));
}

static MigrationTransport *unix_address(const char *path, FakeVM *vm)
{
    g_autofree char *uri = g_strdup_printf("unix:%s", path);
    MigrationTransport *t = transport_parse_uri(uri, NULL);

    g_assert_nonnull(t);
    transport_set_options(t, &vm->m->options);
    return t;
}

static Pair *pair_new(unsigned channels)
{
    Pair *p = g_new0(Pair, 1);
    g_autoptr(MigrationTransport) t = NULL;

    p->channels = channels;
    p->dir = g_dir_make_tmp("godwit-XXXXXX", NULL);
    p->near = g_build_filename(p->dir, "near", NULL);
    p->far = g_build_filename(p->dir, "far", NULL);
    p->src = fake_vm_new(false);
    p->dst = fake_vm_new(true);
    fake_vm_populate(p->src, 7);
    for (unsigned at = 0; at < FAKE_RAM_SIZE; at += 4096) {
        p->src->block->host[at] = 1 + at / 4096 % 255; /* pages of zeroes would be gone at once */
    }
    fake_vm_set_cap(p->src, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    fake_vm_set_cap(p->dst, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    set_params(p, SLOW);
    t = unix_address(p->far, p->dst);
    g_assert_true(incoming_listen(p->dst->m->incoming, t, false, NULL));
    p->relay = relay_new(p->near, p->far);
    return p;
}

static void pair_free(Pair *p)
{
    relay_free(p->relay);
    fake_vm_free(p->src);
    fake_vm_free(p->dst);
    unlink(p->far);
    rmdir(p->dir);
    g_free(p->dir);
    g_free(p->near);
    g_free(p->far);
    g_free(p);
}

static void switch_over(Pair *p)
{
    g_autoptr(MigrationTransport) t = unix_address(p->near, p->src);

    p->s = outgoing_new(p->src->m);
    g_assert_true(outgoing_start(p->s, t, NULL));
    fake_vm_wait_status(p->src, MIGRATION_STATUS_ACTIVE);
    g_assert_true(postcopy_source_start(p->s, NULL));
    fake_vm_wait_status(p->src, MIGRATION_STATUS_POSTCOPY_ACTIVE);
}

/* How many channels beside the main one have passed so much. After a recovery there may be others,
 * of the line before, which came late. */
static unsigned count_busy(Pair *p, uint64_t bytes)
{
    unsigned n = 0;

    for (unsigned i = 1; i < relay_connections(p->relay); i++) {
        n += relay_passed(p->relay, i) >= bytes;
    }
    return n;
}

static void wait_until_all_carry(Pair *p)
{
    while (count_busy(p, PAGES_BYTES) < CHANNELS - 1) {
        g_assert_cmpint(outgoing_status(p->s), ==, MIGRATION_STATUS_POSTCOPY_ACTIVE);
        fake_vm_turn();
    }
}

static void finish(Pair *p)
{
    set_params(p, 0);
    fake_vm_wait_end(p->src, p->dst);
    g_assert_cmpint(fake_vm_status(p->src), ==, MIGRATION_STATUS_COMPLETED);
    g_assert_true(fake_vm_running(p->dst));
    g_assert_true(fake_vm_same_state(p->src, p->dst));
}

static void test_whole(void)
{
    Pair *p = pair_new(CHANNELS);

    switch_over(p);
    wait_until_all_carry(p);
    finish(p);
    pair_free(p);
}

/* The destination does not come to accepting what has connected: no page waits for that. */
static void test_never_accepted(void)
{
    Pair *p = pair_new(CHANNELS);

    for (unsigned i = 1; i < CHANNELS; i++) {
        relay_stall(p->relay, i, i == 1 ? 0 : POSTCOPY_CHANNEL_BYTES - 1);
    }
    switch_over(p);
    while (relay_connections(p->relay) < CHANNELS) {
        fake_vm_turn();
    }
    finish(p);
    pair_free(p);
}

/* One that breaks before it is known is one less. */
static void test_break_unknown(void)
{
    Pair *p = pair_new(CHANNELS);

    relay_break(p->relay, 1, 0);
    relay_break(p->relay, 2, POSTCOPY_CHANNEL_BYTES - 1);
    switch_over(p);
    while (relay_connections(p->relay) < CHANNELS) {
        fake_vm_turn();
    }
    finish(p);
    pair_free(p);
}

static void wait_until_paused(Pair *p)
{
    while (outgoing_status(p->s) != MIGRATION_STATUS_POSTCOPY_PAUSED ||
           incoming_status(p->dst->m->incoming) != MIGRATION_STATUS_POSTCOPY_PAUSED) {
        g_assert_true(outgoing_is_running(p->s));
        fake_vm_turn();
    }
}

static void mend(Pair *p)
{
    g_autoptr(MigrationTransport) to = unix_address(p->far, p->dst);
    g_autoptr(MigrationTransport) t = unix_address(p->near, p->src);

    relay_free(p->relay);
    p->relay = relay_new(p->near, p->far);
    g_assert_true(postcopy_incoming_recover(p->dst->m->incoming, to, NULL));
    g_assert_true(postcopy_source_resume(p->s, t, NULL));
}

/* One that breaks later breaks the line; the next one has all of them again. */
static void test_break(gconstpointer data)
{
    unsigned bytes = GPOINTER_TO_UINT(data);
    Pair *p = pair_new(CHANNELS);

    relay_break(p->relay, 1 + bytes % (CHANNELS - 1), bytes);
    switch_over(p);
    wait_until_paused(p);
    mend(p);
    fake_vm_wait_status(p->src, MIGRATION_STATUS_POSTCOPY_ACTIVE);
    wait_until_all_carry(p);
    finish(p);
    pair_free(p);
}

/* ---- postcopy-preempt ---- */

/* As a vCPU, of what the push would send last. */
static gpointer touch_last(gpointer opaque)
{
    FakeVM *vm = opaque;

    return GUINT_TO_POINTER(*(volatile uint8_t *)(vm->block->host + FAKE_RAM_SIZE - 4096));
}

/* A page that is asked for comes while the main loop stands still, as it does when it waits for a
 * vCPU that waits for that page; before and after a recovery. */
static void test_no_main_loop(gconstpointer recovered)
{
    Pair *p = pair_new(1);
    GThread *vcpu;

    fake_vm_set_cap(p->src, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT);
    fake_vm_set_cap(p->dst, MIGRATION_CAPABILITY_POSTCOPY_PREEMPT);
    switch_over(p);
    if (recovered) {
        relay_cut(p->relay);
        wait_until_paused(p);
        mend(p);
        fake_vm_wait_status(p->src, MIGRATION_STATUS_POSTCOPY_ACTIVE);
    }
    vcpu = g_thread_new("vcpu", touch_last, p->dst);
    g_assert_cmpuint(GPOINTER_TO_UINT(g_thread_join(vcpu)), ==,
                     p->src->block->host[FAKE_RAM_SIZE - 4096]);
    finish(p);
    pair_free(p);
}

int main(int argc, char **argv)
{
    static const unsigned at[] = {0, 1, 9, 40, 4096, 5001, 12000};
    unsigned features;
    GError *err = NULL;

    g_test_init(&argc, &argv, NULL);
    if (!uffd_probe(&features, &err)) {
        printf("1..0 # SKIP %s\n", err->message);
        g_error_free(err);
        return 0;
    }
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    g_test_add_func("/postcopy-channels/whole", test_whole);
    g_test_add_func("/postcopy-channels/never-accepted", test_never_accepted);
    g_test_add_func("/postcopy-channels/break-unknown", test_break_unknown);
    g_test_add_data_func("/postcopy-channels/no-main-loop/first", NULL, test_no_main_loop);
    g_test_add_data_func("/postcopy-channels/no-main-loop/recovered", "", test_no_main_loop);
    for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
        unsigned bytes = POSTCOPY_CHANNEL_BYTES + at[i];
        g_autofree char *path = g_strdup_printf("/postcopy-channels/break/%u", bytes);

        g_test_add_data_func(path, GUINT_TO_POINTER(bytes), test_break);
    }
    return g_test_run();
}
