/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "multifd-side.h"
#include <glib/gstdio.h>
#include "io/channel-socket.h"
#include "migration/transport/tls.h"
#include "util/lock.h"
#include "util/object.h"

static void set_params(FakeVM *vm, const MultifdSetup *setup)
{
    MigrationParameters p = {
        .has_multifd_channels = true,
        .multifd_channels = setup->channels,
        .has_multifd_compression = true,
        .multifd_compression = setup->method,
        .has_zero_page_detection = true,
        .zero_page_detection = setup->zero,
        .has_max_bandwidth = true,
        .max_bandwidth = setup->bandwidth,
    };

    if (setup->addresses) {
        p.x_multifd_addresses = g_new0(StrOrNull, 1);
        p.x_multifd_addresses->type = QAPI_ALT_STR;
        p.x_multifd_addresses->u.s = (char *)setup->addresses;
    }
    if (setup->patience_ms) {
        p.has_x_multifd_patience = true;
        p.x_multifd_patience = setup->patience_ms;
    }
    g_assert_true(options_set_params(&vm->m->options, &p, NULL));
    g_free(p.x_multifd_addresses);
    fake_vm_set_cap(vm, MIGRATION_CAPABILITY_MULTIFD);
    if (setup->return_path) {
        fake_vm_set_cap(vm, MIGRATION_CAPABILITY_RETURN_PATH);
    }
    g_assert_true(migration_set_global(vm->m, "multifd-flush-after-each-section",
                                       setup->per_pass ? "off" : "on", NULL));
}

/* ---- TLS ---- */

static void write_key(const char *dir, bool remove)
{
    g_autofree char *path = g_build_filename(dir, "keys.psk", NULL);

    if (remove) {
        g_assert_cmpint(g_unlink(path), ==, 0);
    } else {
        g_assert_true(
            g_file_set_contents(path, "qemu:0123456789abcdef0123456789abcdef\n", -1, NULL));
    }
}

/* Both ends of every line; the registry lives as long as the program. */
static void use_tls(FakeVM *src, FakeVM *dst)
{
    static ObjectRegistry *registry;
    static const char *const endpoints[] = {"client", "server"};
    FakeVM *const vms[] = {src, dst};

    if (!registry) {
        g_autofree char *dir = g_dir_make_tmp("keys-XXXXXX", NULL);

        registry = object_registry_new();
        write_key(dir, false);
        for (unsigned i = 0; i < 2; i++) {
            g_autoptr(JsonObject) props = json_object_new();

            json_object_set_string_member(props, "endpoint", endpoints[i]);
            json_object_set_string_member(props, "dir", dir);
            g_assert_nonnull(
                object_registry_create(registry, "tls-creds-psk", endpoints[i], props, NULL));
        }
        write_key(dir, true);
        g_rmdir(dir);
    }
    for (unsigned i = 0; i < 2; i++) {
        StrOrNull id = {.type = QAPI_ALT_STR, .u.s = (char *)"tls0"};
        MigrationParameters p = {.tls_creds = &id};

        g_assert_true(options_set_params(&vms[i]->m->options, &p, NULL));
        vms[i]->creds = object_registry_find(registry, endpoints[i]);
    }
}

typedef struct {
    QIOChannel *ioc;
    bool done;
} Shaken;

static void shaken(QIOChannel *ioc, GError *err, void *opaque)
{
    Shaken *s = opaque;

    g_assert_no_error(err);
    s->ioc = ioc;
    s->done = true;
}

/* ---- connecting ---- */

/* A line to @dst that fails as @plan says; *faulty (owned by it) is the channel to ask. */
static QIOChannel *dial(FakeVM *src, FakeVM *dst, const FaultPlan *plan, QIOChannel **faulty)
{
    const FaultPlan none = FAULT_PLAN_NONE;
    g_autoptr(MigrationInfo) info = g_new0(MigrationInfo, 1);
    g_autoptr(QIOChannelSocket) ioc = NULL;
    Shaken s = {NULL};

    incoming_fill_info(dst->m->incoming, info);
    ioc = io_channel_socket_connect_sync(g_ptr_array_index(info->socket_address, 0), NULL);
    g_assert_nonnull(ioc);
    s.ioc = *faulty = fault_channel_new(IO_CHANNEL(ioc), NULL, NULL);
    if (src->creds) {
        io_channel_set_blocking(*faulty, false, NULL);
        g_assert_nonnull(transport_tls_start(*faulty, &src->m->options, &src->host, false, NULL,
                                             shaken, &s, NULL));
        while (!s.done) {
            g_main_context_iteration(NULL, TRUE);
        }
        io_channel_set_blocking(s.ioc, true, NULL);
    }
    fault_channel_arm(*faulty, plan ? plan : &none);
    return s.ioc;
}

/* What is said first is lost if the channel is cut there. */
static QIOChannel *dial_channel(FakeVM *src, FakeVM *dst, unsigned id, const FaultPlan *plan,
                                QIOChannel **faulty)
{
    QIOChannel *ioc = dial(src, dst, plan, faulty);
    uint8_t uuid[MULTIFD_UUID_SIZE] = {0}; /* without one */

    src->host.ops->uuid(&src->host, uuid);
    multifd_introduce(ioc, id, uuid, NULL);
    return ioc;
}

QIOChannel *multifd_side_begin_unlike(FakeVM *src, FakeVM *dst, const MultifdSetup *setup,
                                      const MultifdSetup *dst_setup, unsigned bad,
                                      const FaultPlan *plan)
{
    g_autoptr(MigrationTransport) t = transport_parse_uri("tcp:127.0.0.1:0", NULL);
    GPtrArray *extra = g_ptr_array_new_with_free_func(g_object_unref);
    MigrationState *s = outgoing_new(src->m);
    g_autoptr(QIOChannel) main = NULL;
    QIOChannel *chosen, *faulty;

    set_params(src, setup);
    set_params(dst, dst_setup);
    if (setup->tls) {
        use_tls(src, dst);
    }
    transport_set_options(t, &dst->m->options);
    g_assert_true(incoming_listen(dst->m->incoming, t, false, NULL));
    main = dial(src, dst, bad == 0 ? plan : NULL, &faulty);
    chosen = bad == 0 ? g_object_ref(faulty) : NULL;
    for (unsigned i = 0; i < setup->channels; i++) {
        bool this_one = bad == i + 1;

        g_ptr_array_add(extra, dial_channel(src, dst, i, this_one ? plan : NULL, &faulty));
        if (this_one) {
            chosen = g_object_ref(faulty);
        }
    }
    outgoing_set_status(s, MIGRATION_STATUS_NONE, MIGRATION_STATUS_SETUP);
    outgoing_run_on(s, main, extra);
    return chosen;
}

QIOChannel *multifd_side_begin(FakeVM *src, FakeVM *dst, const MultifdSetup *setup, unsigned bad,
                               const FaultPlan *plan)
{
    return multifd_side_begin_unlike(src, dst, setup, setup, bad, plan);
}

FakeVM *multifd_side_source(void)
{
    FakeVM *src = fake_vm_new(false);

    fake_vm_populate(src, 5);
    /* Runs of all lengths, compressible and not. */
    for (unsigned page = 60; page < 250; page++) {
        uint8_t *host = src->block->host + page * TARGET_PAGE_SIZE;

        if (page % 7) {
            memset(host, page, TARGET_PAGE_SIZE / (page % 5 + 1));
        }
    }
    return src;
}

void multifd_side_assert_moved(FakeVM *src, FakeVM *dst)
{
    g_autofree char *error = fake_vm_source_error(src);

    g_assert_cmpstr(error, ==, NULL);
    g_assert_cmpint(fake_vm_status(src), ==, MIGRATION_STATUS_COMPLETED);
    g_assert_true(fake_vm_running(dst));
    g_assert_true(fake_vm_same_state(src, dst));
}

unsigned multifd_side_notes(FakeVM *src, const char *text)
{
    g_autoptr(GPtrArray) records = qapi_list_new_MigrationRecord();
    unsigned n = 0;

    recorder_read(src->m->source_record, records);
    for (unsigned i = 0; i < records->len; i++) {
        const MigrationRecord *record = g_ptr_array_index(records, i);

        n += record->text && strstr(record->text, text);
    }
    return n;
}

uint64_t multifd_side_length(const MultifdSetup *setup, unsigned bad)
{
    FakeVM *src = multifd_side_source(), *dst = fake_vm_new(true);
    FaultPlan none = FAULT_PLAN_NONE;
    g_autoptr(QIOChannel) ioc = multifd_side_begin(src, dst, setup, bad, &none);
    uint64_t length;

    fake_vm_wait_end(src, dst);
    multifd_side_assert_moved(src, dst);
    g_assert_cmpuint(multifd_side_notes(src, "lost"), ==, 0);
    length = fault_channel_write_position(ioc);
    fake_vm_free(src);
    fake_vm_free(dst);
    return length;
}

void multifd_side_assert_migrates(FakeVM *src, const MultifdSetup *setup)
{
    FakeVM *dst = fake_vm_new(true);

    g_object_unref(multifd_side_begin(src, dst, setup, 0, NULL));
    fake_vm_wait_end(src, dst);
    multifd_side_assert_moved(src, dst);
    fake_vm_free(dst);
}
