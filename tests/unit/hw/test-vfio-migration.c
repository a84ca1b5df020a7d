/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The records of a VFIO device in the stream, byte by byte (spec 60 section 2), what its sizes and
 * acknowledgements do to a switchover, and its states, over a fake device.
 */
#include "fake-vfio.h"
#include "fake-vm.h"
#include "hw/pci.h"
#include "io/channel-buffer.h"
#include "util/lock.h"

#define SECTION "0000:00:02.0/vfio"
#define ALL     (VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY)

#define EOS            "\xff\xff\xff\xff\xef\x10\x00\x01"
#define CONFIG         "\xff\xff\xff\xff\xef\x10\x00\x02"
#define SETUP          "\xff\xff\xff\xff\xef\x10\x00\x03"
#define DATA           "\xff\xff\xff\xff\xef\x10\x00\x04"
#define INIT_DATA_SENT "\xff\xff\xff\xff\xef\x10\x00\x05"
#define CONFIG_LOADED  "\xff\xff\xff\xff\xef\x10\x00\x06"

typedef struct {
    FakeVM *vm;
    FakeVFIO *dev;
    SaveStateEntry *se;
} Fixture;

static void set_up(Fixture *fx, uint64_t flags, bool incoming)
{
    fx->vm = fake_vm_new(incoming);
    fx->dev = fake_vfio_new(fx->vm->m, "0000:00:02.0", flags);
    fx->se = savevm_find(migration_savevm(fx->vm->m), SECTION, 0);
}

static void tear_down(Fixture *fx)
{
    fake_vfio_free(fx->dev);
    fake_vm_free(fx->vm);
}

static void give(FakeVFIO *dev, const char *text)
{
    g_byte_array_append(dev->outbox, (const uint8_t *)text, strlen(text));
}

/* ---- what is written ---- */

typedef enum { START, PART, END, FULL } Part;

static GByteArray *saved(Fixture *fx, Part part)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    const SaveVMHandlers *ops = fx->se->ops;
    void *v = fx->se->opaque;
    GError *err = NULL;
    GByteArray *bytes;

    g_assert_true(part == START  ? ops->save_setup(f, v, &err)
                  : part == PART ? ops->save_live_iterate(f, v, &err) != ITERATE_ERROR
                  : part == END  ? ops->save_complete(f, v, &err)
                                 : ops->save_state(f, v, &err));
    g_assert_no_error(err);
    g_assert_true(qemu_fflush(f));
    bytes = g_byte_array_ref(io_channel_buffer_bytes(ioc));
    qemu_fclose(f, NULL);
    return bytes;
}

static void check_bytes(GByteArray *got, const char *want, size_t len)
{
    g_assert_cmpmem(got->data, got->len, want, len);
    g_byte_array_unref(got);
}
#define assert_saved(fx, part, want) check_bytes(saved(fx, part), want, sizeof(want) - 1)

static void test_golden(void)
{
    Fixture fx;

    set_up(&fx, ALL, false);
    assert_saved(&fx, START, SETUP EOS);
    give(fx.dev, "hello");
    assert_saved(&fx, PART, DATA "\0\0\0\0\0\0\0\x05hello" EOS);
    assert_saved(&fx, PART, EOS);
    give(fx.dev, "good bye");
    fx.dev->chunk = 5;
    assert_saved(&fx, END,
                 DATA "\0\0\0\0\0\0\0\x05good " DATA "\0\0\0\0\0\0\0\x03"
                      "bye" EOS);
    assert_saved(&fx, END, EOS);
    assert_saved(&fx, FULL, CONFIG "\x00\xc0\xff\x33" EOS);
    fx.se->ops->save_cleanup(fx.se->opaque);
    g_assert_cmpstr(fx.dev->trace->str, ==, "6 3 1 ");
    tear_down(&fx);
}

static void test_golden_init_data_sent(void)
{
    Fixture fx;

    set_up(&fx, ALL, false);
    fake_vm_set_cap(fx.vm, MIGRATION_CAPABILITY_RETURN_PATH);
    fake_vm_set_cap(fx.vm, MIGRATION_CAPABILITY_SWITCHOVER_ACK);
    give(fx.dev, "initial");
    fx.dev->sizes.initial = 7;
    fx.dev->chunk = 4;
    assert_saved(&fx, START, SETUP EOS);
    assert_saved(&fx, PART, DATA "\0\0\0\0\0\0\0\x04init" EOS);
    assert_saved(&fx, PART, DATA "\0\0\0\0\0\0\0\x03ial" INIT_DATA_SENT);
    assert_saved(&fx, PART, EOS); /* once */
    fx.se->ops->save_cleanup(fx.se->opaque);
    tear_down(&fx);
}

/* What stands between CONFIG and the MSI-X table of a PCI function. */
static void test_golden_pci(void)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    GByteArray *out = io_channel_buffer_bytes(ioc);
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(ioc));
    uint8_t config[PCI_CONFIG_SIZE];
    PCIConfig cfg = {.config = config, .irq_state = {0, 1, 0, 0}, .config_size = sizeof(config)};
    static const uint8_t pins[] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0};

    for (unsigned i = 0; i < sizeof(config); i++) {
        config[i] = i;
    }
    g_assert_true(vmstate_save_state(f, &vmstate_pci_config, &cfg, NULL, NULL));
    g_assert_true(qemu_fflush(f));
    g_assert_cmpuint(out->len, ==, 4 + sizeof(config) + sizeof(pins));
    g_assert_cmpmem(out->data, 4, "\0\0\0\x02", 4);
    g_assert_cmpmem(out->data + 4, sizeof(config), config, sizeof(config));
    g_assert_cmpmem(out->data + 4 + sizeof(config), sizeof(pins), pins, sizeof(pins));
    qemu_fclose(f, NULL);
}

/* ---- what is read ---- */

static char *load(Fixture *fx, const char *bytes, size_t len)
{
    g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
    GError *err = NULL;
    char *text = NULL;
    QEMUFile *f;
    bool ok;

    g_byte_array_append(io_channel_buffer_bytes(ioc), (const uint8_t *)bytes, len);
    f = qemu_file_new_input(IO_CHANNEL(ioc));
    bql_unlock();
    ok = fx->se->ops->load_state(f, fx->se->opaque, 1, &err);
    bql_lock();
    g_assert_true(ok == !err);
    if (err) {
        text = g_strdup(err->message);
        g_error_free(err);
    }
    qemu_fclose(f, NULL);
    return text;
}
#define load_bytes(fx, bytes) load(fx, bytes, sizeof(bytes) - 1)

static void begin_load(Fixture *fx)
{
    set_up(fx, ALL, true);
    g_assert_true(fx->se->ops->load_setup(NULL, fx->se->opaque, NULL));
}

static void end_load(Fixture *fx)
{
    fx->se->ops->load_cleanup(fx->se->opaque);
    tear_down(fx);
}

static void test_load(void)
{
    g_autofree char *big = g_malloc0(16 + 3 * MiB + 8);
    Fixture fx;

    begin_load(&fx);
    g_assert_null(load_bytes(&fx, SETUP EOS));
    g_assert_null(load_bytes(&fx, EOS));
    g_assert_null(load_bytes(&fx, DATA "\0\0\0\0\0\0\0\x02xy" DATA "\0\0\0\0\0\0\0\0" DATA
                                       "\0\0\0\0\0\0\0\x01z" EOS));
    memcpy(big, DATA "\0\0\0\0\0\x30\0\0", 16);
    memcpy(big + 16 + 3 * MiB, EOS, 8);
    g_assert_null(load(&fx, big, 16 + 3 * MiB + 8));
    g_assert_cmpuint(fx.dev->inbox->len, ==, 3 + 3 * MiB);
    g_assert_cmpmem(fx.dev->inbox->data, 3, "xyz", 3);
    g_assert_null(load_bytes(&fx, CONFIG "\x00\xc0\xff\x33" EOS));
    vfio_migration_vm_prepare(fx.dev->migration, true);
    vfio_migration_vm_state(fx.dev->migration, true);
    g_assert_cmpstr(fx.dev->trace->str, ==, "4 1 5 2 ");
    end_load(&fx);
}

#define REFUSED(bytes, words)           \
    {                                   \
        bytes, sizeof(bytes) - 1, words \
    }

static void test_hostile(void)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *words;
    } table[] = {
        REFUSED("\0\0\0\0\0\0\0\0", "is no record of a VFIO device"),
        REFUSED("\xff\xff\xff\xff\xef\x10\x00\x07", "is no record of a VFIO device"),
        REFUSED(CONFIG_LOADED, "is no record of a VFIO device"),
        REFUSED(SETUP SETUP, "behind the setup"),
        REFUSED(INIT_DATA_SENT, "turn the capability 'switchover-ack' on"),
        REFUSED(CONFIG "\0\0\0\0" EOS, "configuration 0x0"),
        REFUSED(CONFIG "\x00\xc0\xff\x33" DATA, "behind the configuration"),
        REFUSED(CONFIG "\x00\xc0", "end of stream"),
        REFUSED(DATA "\x7f\xff\xff\xff\xff\xff\xff\xff"
                     "abc",
                "end of stream"),
        REFUSED(DATA "\0\0\0\0\0\0\0\x09", "end of stream"),
        REFUSED(DATA, "end of stream"),
        REFUSED("", "end of stream"),
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
        g_autofree char *text = NULL;
        Fixture fx;

        begin_load(&fx);
        text = load(&fx, table[i].bytes, table[i].len);
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, table[i].words));
        end_load(&fx);
    }
}

/* The configuration ends it; a device that refuses what came says so. */
static void test_load_ends(void)
{
    g_autofree char *twice = NULL, *refused = NULL;
    Fixture fx;

    begin_load(&fx);
    g_assert_null(load_bytes(&fx, CONFIG "\x00\xc0\xff\x33" EOS));
    twice = load_bytes(&fx, EOS);
    g_assert_nonnull(strstr(twice, "has come already"));
    end_load(&fx);

    begin_load(&fx);
    fx.dev->refuse_state = VFIO_DEVICE_STATE_STOP;
    refused = load_bytes(&fx, CONFIG "\x00\xc0\xff\x33" EOS);
    g_assert_nonnull(strstr(refused, "from state resuming to stop"));
    fx.se->ops->load_cleanup(fx.se->opaque);
    g_assert_cmpuint(fx.dev->resets, ==, 1); /* half a state is none */
    tear_down(&fx);
}

/* ---- sizes ---- */

static MigPendingData pending(Fixture *fx, bool exact)
{
    MigPendingData p = {0};

    fx->se->ops->save_query_pending(fx->se->opaque, &p, exact);
    return p;
}

static void assert_pending(Fixture *fx, bool exact, uint64_t precopy, uint64_t stopcopy)
{
    MigPendingData p = pending(fx, exact);

    g_assert_cmpuint(p.precopy, ==, precopy);
    g_assert_cmpuint(p.stopcopy, ==, stopcopy);
}

/* Between two exact questions the estimate goes down by what is read, and never below nothing. */
static void test_sizes(void)
{
    Fixture fx;

    set_up(&fx, ALL, false);
    give(fx.dev, "0123456789");
    fx.dev->stop_size = 1000;
    fx.dev->sizes = (VFIOPrecopySizes){4, 100, false};
    fx.dev->chunk = 6;
    g_byte_array_unref(saved(&fx, START));
    assert_pending(&fx, false, 104, 896);
    g_byte_array_unref(saved(&fx, PART));
    assert_pending(&fx, false, 98, 896);
    fx.dev->stop_size = 50;
    fx.dev->sizes = (VFIOPrecopySizes){0, 70, false};
    assert_pending(&fx, false, 98, 896);
    assert_pending(&fx, true, 70, 0);
    g_byte_array_unref(saved(&fx, PART));
    g_byte_array_unref(saved(&fx, PART)); /* nothing came: nothing is there */
    assert_pending(&fx, false, 0, 46);
    fx.dev->no_sizes = true;
    assert_pending(&fx, true, 0, 100 * GiB);
    fx.dev->no_sizes = false;
    fx.dev->stop_size = UINT64_MAX;
    assert_pending(&fx, true, 66, 100 * GiB - 66);
    fx.se->ops->save_cleanup(fx.se->opaque);
    assert_pending(&fx, false, 0, 0);
    tear_down(&fx);
}

/* ---- acknowledgements ---- */

static void test_ack_requests(void)
{
    Fixture fx;

    set_up(&fx, ALL, false);
    fake_vm_set_cap(fx.vm, MIGRATION_CAPABILITY_RETURN_PATH);
    fake_vm_set_cap(fx.vm, MIGRATION_CAPABILITY_SWITCHOVER_ACK);
    give(fx.dev, "initial");
    fx.dev->sizes.initial = 7;
    g_byte_array_unref(saved(&fx, START));
    g_assert_cmpuint(pending(&fx, false).ack_requests, ==, 1);
    fx.dev->sizes.reinit = true; /* before the first was sent: still the same one */
    g_assert_cmpuint(pending(&fx, true).ack_requests, ==, 0);
    g_byte_array_unref(saved(&fx, PART));
    g_assert_cmpuint(pending(&fx, true).ack_requests, ==, 0);
    fx.dev->sizes = (VFIOPrecopySizes){3, 0, true};
    give(fx.dev, "new");
    g_assert_cmpuint(pending(&fx, true).ack_requests, ==, 1);
    assert_saved(&fx, PART, DATA "\0\0\0\0\0\0\0\x03new" INIT_DATA_SENT);
    fx.se->ops->save_cleanup(fx.se->opaque);
    tear_down(&fx);
}

static MigrationHostOps stepping_ops;
static const MigrationHostOps *plain_ops;
static FakeVFIO *stepping_device;
static bool late_reinit, late_silence;

static bool stop_in_steps(MigrationHost *h, RunState state, GError **errp)
{
    bool ok = plain_ops->vm_stop(h, state, errp);

    stepping_device->sizes.reinit = late_reinit;
    stepping_device->no_sizes = late_silence;
    vfio_migration_vm_prepare(stepping_device->migration, false);
    vfio_migration_vm_state(stepping_device->migration, false);
    return ok;
}

static void start_in_steps(MigrationHost *h)
{
    vfio_migration_vm_prepare(stepping_device->migration, true);
    vfio_migration_vm_state(stepping_device->migration, true);
    plain_ops->vm_start(h);
}

typedef struct {
    Fixture src, dst;
} Pair;

static void pair_up(Pair *p, bool legacy, unsigned chunk)
{
    set_up(&p->src, ALL, false);
    set_up(&p->dst, ALL, true);
    for (unsigned i = 0; i < 2; i++) {
        Fixture *fx = i ? &p->dst : &p->src;

        fake_vm_set_cap(fx->vm, MIGRATION_CAPABILITY_RETURN_PATH);
        fake_vm_set_cap(fx->vm, MIGRATION_CAPABILITY_SWITCHOVER_ACK);
        g_assert_true(
            migration_set_global(fx->vm->m, "switchover-ack-legacy", legacy ? "on" : "off", NULL));
    }
    fake_vm_populate(p->src.vm, 9);
    plain_ops = p->src.vm->host.ops;
    stepping_ops = *plain_ops;
    stepping_ops.vm_stop = stop_in_steps;
    stepping_ops.vm_start = start_in_steps;
    stepping_device = p->src.dev;
    p->src.vm->host.ops = &stepping_ops;
    p->src.dev->chunk = chunk;
    for (unsigned i = 0; i < 100; i++) {
        give(p->src.dev, "some state ");
    }
    p->src.dev->sizes = (VFIOPrecopySizes){600, 500, false};
}

static void part(Pair *p)
{
    tear_down(&p->dst);
    tear_down(&p->src);
}

static void test_migrate_with_acks(void)
{
    for (unsigned legacy = 0; legacy < 2; legacy++) {
        Pair p;

        pair_up(&p, legacy, 100);
        late_reinit = legacy; /* which nobody asks for then */
        fake_vm_connect(p.src.vm, p.dst.vm, NULL, NULL, NULL);
        fake_vm_wait_end(p.src.vm, p.dst.vm);
        g_assert_cmpint(fake_vm_status(p.src.vm), ==, MIGRATION_STATUS_COMPLETED);
        g_assert_cmpuint(p.dst.dev->inbox->len, ==, 1100);
        g_assert_cmpstr(p.src.dev->trace->str, ==, "6 7 3 1 ");
        g_assert_cmpstr(p.dst.dev->trace->str, ==, "4 1 ");
        part(&p);
    }
}

/* One device of the destination says nothing, so the guest is never stopped. */
static void test_no_ack(void)
{
    FakeVFIO *silent;
    MigrationCounters *c;
    Pair p;

    pair_up(&p, true, 1000);
    late_reinit = false;
    silent = fake_vfio_new(p.dst.vm->m, "0000:00:03.0", ALL);
    fake_vm_connect(p.src.vm, p.dst.vm, NULL, NULL, NULL);
    c = migration_counters(p.src.vm->m);
    while (stat_get(&c->dirty_sync_count) < 5 && outgoing_is_running(p.src.vm->m->outgoing)) {
        bql_unlock();
        g_usleep(1000);
        bql_lock();
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpint(fake_vm_status(p.src.vm), ==, MIGRATION_STATUS_ACTIVE);
    outgoing_cancel(p.src.vm->m->outgoing);
    fake_vm_wait_end(p.src.vm, p.dst.vm);
    g_assert_cmpint(fake_vm_status(p.src.vm), ==, MIGRATION_STATUS_CANCELLED);
    g_assert_cmpstr(p.src.dev->trace->str, ==, "6 2 ");
    fake_vfio_free(silent);
    part(&p);
}

/* Initial data begin anew when the guest is being stopped, or may have: it goes on here. */
static void test_late_request(void)
{
    for (unsigned silent = 0; silent < 2; silent++) {
        g_autofree char *text = NULL;
        Pair p;

        pair_up(&p, false, 1000);
        late_reinit = !silent;
        late_silence = silent;
        fake_vm_connect(p.src.vm, p.dst.vm, NULL, NULL, NULL);
        fake_vm_wait_end(p.src.vm, p.dst.vm);
        g_assert_cmpint(fake_vm_status(p.src.vm), ==, MIGRATION_STATUS_FAILED);
        text = fake_vm_source_error(p.src.vm);
        g_assert_nonnull(strstr(text, "during the switchover"));
        g_assert_true(fake_vm_running(p.src.vm));
        g_assert_cmpstr(p.src.dev->trace->str, ==, "6 7 3 5 2 ");
        part(&p);
    }
    late_reinit = late_silence = false;
}

/* An acknowledgement that nobody asked for, because the sides do not mean the same by it. */
static void test_unlike_modes(void)
{
    g_autofree char *text = NULL;
    Pair p;

    pair_up(&p, false, 1000);
    late_reinit = false;
    g_assert_true(migration_set_global(p.dst.vm->m, "switchover-ack-legacy", "on", NULL));
    p.dst.dev->flags = VFIO_MIGRATION_STOP_COPY; /* so it acknowledges at once */
    fake_vm_connect(p.src.vm, p.dst.vm, NULL, NULL, NULL);
    fake_vm_wait_end(p.src.vm, p.dst.vm);
    g_assert_cmpint(fake_vm_status(p.src.vm), ==, MIGRATION_STATUS_FAILED);
    text = fake_vm_source_error(p.src.vm);
    g_assert_true(strstr(text, "more often than it was asked to") || strstr(text, "knows no PRE"));
    g_assert_true(fake_vm_running(p.src.vm));
    part(&p);
}

/* ---- states ---- */

static void test_states(void)
{
    Fixture fx;

    set_up(&fx, ALL, false);
    vfio_migration_vm_prepare(fx.dev->migration, false);
    vfio_migration_vm_state(fx.dev->migration, false);
    vfio_migration_vm_prepare(fx.dev->migration, true);
    vfio_migration_vm_state(fx.dev->migration, true);
    g_assert_cmpstr(fx.dev->trace->str, ==, "5 1 5 2 ");
    g_string_truncate(fx.dev->trace, 0);
    fx.dev->refuse_state = VFIO_DEVICE_STATE_RUNNING_P2P; /* and back to where it was */
    vfio_migration_vm_prepare(fx.dev->migration, false);
    g_assert_cmpstr(fx.dev->trace->str, ==, "2 ");
    vfio_migration_vm_state(fx.dev->migration, false);
    fx.dev->refuse_state = VFIO_DEVICE_STATE_RUNNING_P2P;
    vfio_migration_vm_prepare(fx.dev->migration, true);
    g_assert_cmpstr(fx.dev->trace->str, ==, "2 1 2 ");
    g_assert_cmpuint(fx.dev->resets, ==, 1);
    g_assert_cmpuint(fx.dev->stops, ==, 0); /* its guest has run here before */
    vfio_migration_vm_state(fx.dev->migration, true);
    tear_down(&fx);

    set_up(&fx, VFIO_MIGRATION_STOP_COPY, false); /* no states in between are known */
    vfio_migration_vm_prepare(fx.dev->migration, false);
    vfio_migration_vm_state(fx.dev->migration, false);
    g_assert_cmpstr(fx.dev->trace->str, ==, "1 ");
    tear_down(&fx);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    g_test_add_func("/vfio-migration/golden", test_golden);
    g_test_add_func("/vfio-migration/golden-init-data-sent", test_golden_init_data_sent);
    g_test_add_func("/vfio-migration/golden-pci", test_golden_pci);
    g_test_add_func("/vfio-migration/load", test_load);
    g_test_add_func("/vfio-migration/hostile", test_hostile);
    g_test_add_func("/vfio-migration/load-ends", test_load_ends);
    g_test_add_func("/vfio-migration/sizes", test_sizes);
    g_test_add_func("/vfio-migration/ack-requests", test_ack_requests);
    g_test_add_func("/vfio-migration/migrate-with-acks", test_migrate_with_acks);
    g_test_add_func("/vfio-migration/no-ack", test_no_ack);
    g_test_add_func("/vfio-migration/late-request", test_late_request);
    g_test_add_func("/vfio-migration/unlike-modes", test_unlike_modes);
    g_test_add_func("/vfio-migration/states", test_states);
    return g_test_run();
}
