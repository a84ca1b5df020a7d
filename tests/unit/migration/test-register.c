/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registry of sections, the tables of options, the flight recorder. */
#include "fake-vm.h"
#include "util/lock.h"

static const VMStateDescription vmsd_plain = {
    .name = "plain",
    .version_id = 2,
    .fields = (const VMStateField[]){VMSTATE_END_OF_LIST()},
};
static const VMStateDescription vmsd_bridge = {
    .name = "bridge",
    .priority = MIG_PRI_PCI_BUS,
    .fields = (const VMStateField[]){VMSTATE_END_OF_LIST()},
};
static const VMStateDescription vmsd_stuck = {
    .name = "stuck",
    .unmigratable = true,
    .fields = (const VMStateField[]){VMSTATE_END_OF_LIST()},
};

static SaveStateEntry *add(SaveStateList *list, const char *path, uint32_t instance,
                           const VMStateDescription *vmsd)
{
    return vmstate_register(list, path, instance, vmsd, NULL, -1, NULL);
}

static void test_instances_and_names(void)
{
    SaveStateList *list = savevm_list_new();
    SaveStateEntry *a = add(list, NULL, INSTANCE_ID_ANY, &vmsd_plain);
    SaveStateEntry *b = add(list, NULL, 7, &vmsd_plain);
    SaveStateEntry *c = add(list, NULL, INSTANCE_ID_ANY, &vmsd_plain);
    SaveStateEntry *d = add(list, "bus@0", INSTANCE_ID_ANY, &vmsd_plain);
    SaveStateEntry *e = add(list, "bus@1", INSTANCE_ID_ANY, &vmsd_plain);

    g_assert_cmpuint(a->instance_id, ==, 0);
    g_assert_cmpuint(b->instance_id, ==, 7);
    g_assert_cmpuint(c->instance_id, ==, 8);
    g_assert_cmpstr(d->idstr, ==, "bus@0/plain");
    g_assert_true(savevm_find(list, "plain", 8) == c);
    g_assert_true(savevm_find(list, "bus@1/plain", 0) == e);
    g_assert_null(savevm_find(list, "bus@1/plain", 1));
    g_assert_null(savevm_find(list, "plai", 0));
    savevm_unregister(list, a);
    /* A section from before the device had a path. */
    g_assert_true(savevm_find(list, "plain", 0) == d);
    g_assert_true(savevm_find(list, "plain", 1) == e);
    savevm_list_free(list);
}

static void test_registration_errors(void)
{
    SaveStateList *list = savevm_list_new();
    g_autofree char *path = g_strnfill(252, 'p');
    GError *err = NULL;

    g_assert_nonnull(add(list, "bus@0", INSTANCE_ID_ANY, &vmsd_plain));
    g_assert_null(vmstate_register(list, "bus@0", 0, &vmsd_plain, NULL, -1, &err));
    g_assert_cmpstr(err->message, ==, "Section 'bus@0/plain' is registered already");
    g_clear_error(&err);
    g_assert_null(vmstate_register(list, path, 0, &vmsd_plain, NULL, -1, &err));
    g_assert_nonnull(strstr(err->message, "too long"));
    g_clear_error(&err);
    g_assert_nonnull(add(list, NULL, 0, &vmsd_stuck));
    g_assert_cmpstr(savevm_unmigratable(list)->idstr, ==, "stuck");
    savevm_set_only_migratable(list, true);
    g_assert_null(vmstate_register(list, NULL, 1, &vmsd_stuck, NULL, -1, &err));
    g_assert_nonnull(strstr(err->message, "-only-migratable"));
    g_clear_error(&err);
    savevm_list_free(list);
}

static void test_order(void)
{
    SaveStateList *list = savevm_list_new();
    GlobalState gs;
    bool always = true;
    static const char *const expected[] = {"bridge", "plain", "b/plain", "globalstate"};

    globalstate_register(&gs, list, &always);
    add(list, NULL, 0, &vmsd_plain);
    add(list, NULL, 0, &vmsd_bridge);
    add(list, "b", 0, &vmsd_plain);
    for (unsigned i = 0; i < ARRAY_SIZE(expected); i++) {
        const SaveStateEntry *se = g_ptr_array_index(list->entries, i);

        g_assert_cmpstr(se->idstr, ==, expected[i]);
    }
    savevm_list_free(list);
}

/* ---- options ---- */

static void test_parameter_ranges(void)
{
    static const struct {
        MigrationParameters p;
        bool ok;
    } rows[] = {
        {{.has_downtime_limit = true, .downtime_limit = 2000000}, true},
        {{.has_downtime_limit = true, .downtime_limit = 2000001}, false},
        {{.has_announce_step = true, .announce_step = 0}, false},
        {{.has_announce_step = true, .announce_step = 10000}, true},
        {{.has_announce_rounds = true, .announce_rounds = 1001}, false},
        {{.has_max_bandwidth = true, .max_bandwidth = UINT64_MAX}, true},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        MigrationOptions o;
        g_autoptr(GError) err = NULL;

        migration_options_init(&o);
        g_assert_cmpint(options_set_params(&o, &rows[i].p, &err), ==, rows[i].ok);
        g_assert_cmpint(err == NULL, ==, rows[i].ok);
    }
}

/* One bad member and nothing is taken. */
static void test_parameters_are_all_or_nothing(void)
{
    MigrationParameters bad = {.has_max_bandwidth = true,
                               .max_bandwidth = 1,
                               .has_downtime_limit = true,
                               .downtime_limit = UINT64_MAX};
    g_autoptr(MigrationParameters) now = NULL;
    g_autoptr(GError) err = NULL;
    MigrationOptions o;

    migration_options_init(&o);
    g_assert_false(options_set_params(&o, &bad, &err));
    g_assert_cmpstr(err->message, ==,
                    "Parameter 'downtime-limit' expects a value between 0 and 2000000 ms, not "
                    "18446744073709551615");
    now = options_get_params(&o);
    g_assert_cmpuint(now->max_bandwidth, ==, 128 * MiB);
    g_assert_cmpuint(now->downtime_limit, ==, 300);
    g_assert_true(now->has_zero_page_detection);
}

/* Null and "" are the same, absent is not; reported is always text. */
static void test_texts(void)
{
    StrOrNull name = {.type = QAPI_ALT_STR, .u.s = (char *)"tls0"};
    StrOrNull none = {.type = QAPI_ALT_NULL}, empty = {.type = QAPI_ALT_STR, .u.s = (char *)""};
    MigrationParameters set = {.tls_creds = &name, .tls_hostname = &name};
    MigrationParameters clear = {.tls_creds = &none, .tls_authz = &empty};
    g_autoptr(MigrationParameters) now = NULL;
    MigrationOptions o;

    migration_options_init(&o);
    g_assert_cmpstr(options_text(&o, TEXT_TLS_CREDS), ==, "");
    g_assert_true(options_set_params(&o, &set, NULL));
    g_assert_true(options_set_params(&o, &set, NULL));
    g_assert_cmpstr(options_text(&o, TEXT_TLS_CREDS), ==, "tls0");
    g_assert_true(options_set_params(&o, &clear, NULL));
    now = options_get_params(&o);
    g_assert_cmpstr(now->tls_creds->u.s, ==, "");
    g_assert_cmpstr(now->tls_hostname->u.s, ==, "tls0");
    g_assert_cmpstr(now->tls_authz->u.s, ==, "");
    g_assert_true(options_set_global(&o, "tls-authz", "who", NULL));
    g_assert_cmpstr(options_text(&o, TEXT_TLS_AUTHZ), ==, "who");
    migration_options_clear(&o);
}

static void test_globals(void)
{
    MigrationOptions o;
    GError *err = NULL;

    migration_options_init(&o);
    g_assert_true(options_set_global(&o, "x-max-bandwidth", "1M", NULL));
    g_assert_cmpuint(options_param(&o, PARAM_MAX_BANDWIDTH), ==, MiB);
    g_assert_true(options_set_global(&o, "x-return-path", "on", NULL));
    g_assert_true(options_cap(&o, MIGRATION_CAPABILITY_RETURN_PATH));
    g_assert_true(options_switch(&o, SWITCH_SEND_CONFIGURATION));
    g_assert_true(options_set_global(&o, "send-configuration", "off", NULL));
    g_assert_false(options_switch(&o, SWITCH_SEND_CONFIGURATION));
    g_assert_true(options_set_global(&o, "zero-page-detection", "none", NULL));
    g_assert_false(options_set_global(&o, "no-such-thing", "on", &err));
    g_assert_cmpstr(err->message, ==, "Property 'migration.no-such-thing' not found");
    g_clear_error(&err);
    g_assert_false(options_set_global(&o, "x-downtime-limit", "3000000", &err));
    g_clear_error(&err);
    g_assert_false(options_set_global(&o, "send-configuration", "perhaps", &err));
    g_clear_error(&err);
}

/* Without configuration and footers both ends still understand each other; with different ideas
 * they do not. */
static void test_stream_switches(void)
{
    static const MigSwitch off[] = {SWITCH_SEND_CONFIGURATION, SWITCH_SEND_SECTION_FOOTER,
                                    SWITCH_STORE_GLOBAL_STATE};

    for (unsigned i = 0; i < ARRAY_SIZE(off); i++) {
        for (int both = 0; both < 2; both++) {
            FakeVM *src = fake_vm_new(false), *dst = fake_vm_new(true);

            fake_vm_populate(src, 1);
            src->m->options.switches[off[i]] = false;
            dst->m->options.switches[off[i]] = !both;
            fake_vm_connect(src, dst, NULL, NULL, NULL);
            fake_vm_wait_end(src, dst);
            g_assert_cmpint(fake_vm_running(dst), ==, both || off[i] == SWITCH_STORE_GLOBAL_STATE);
            fake_vm_free(src);
            fake_vm_free(dst);
        }
    }
}

/* ---- recorder ---- */

static void test_recorder_stays_bounded(void)
{
    Recorder *r = recorder_new(MIGRATION_SIDE_SOURCE);
    g_autoptr(GPtrArray) list = qapi_list_new_MigrationRecord();
    unsigned phases = 0;
    uint64_t last = 0;

    for (unsigned i = 0; i < 100000; i++) {
        recorder_sample(r, i, 0, 1);
        if (i % 10000 == 0) {
            recorder_phase(r, "active", i);
        }
    }
    recorder_error(r, "the end");
    recorder_read(r, list);
    g_assert_cmpuint(list->len, <=, 513);
    for (unsigned i = 1; i < list->len; i++) {
        const MigrationRecord *rec = g_ptr_array_index(list, i);

        phases += rec->kind == MIGRATION_RECORD_KIND_PHASE;
        g_assert_cmpuint(rec->time_us, >=, last);
        last = rec->time_us;
    }
    g_assert_cmpuint(phases, ==, 10);
    g_assert_cmpstr(((MigrationRecord *)g_ptr_array_index(list, list->len - 1))->text, ==,
                    "the end");
    g_assert_cmpint(((MigrationRecord *)g_ptr_array_index(list, 0))->kind, ==,
                    MIGRATION_RECORD_KIND_GAP);
    recorder_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    g_test_add_func("/register/instances-and-names", test_instances_and_names);
    g_test_add_func("/register/errors", test_registration_errors);
    g_test_add_func("/register/order", test_order);
    g_test_add_func("/options/parameter-ranges", test_parameter_ranges);
    g_test_add_func("/options/all-or-nothing", test_parameters_are_all_or_nothing);
    g_test_add_func("/options/texts", test_texts);
    g_test_add_func("/options/globals", test_globals);
    g_test_add_func("/options/stream-switches", test_stream_switches);
    g_test_add_func("/recorder/stays-bounded", test_recorder_stays_bounded);
    return g_test_run();
}
