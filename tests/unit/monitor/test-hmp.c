/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor: command lines and their text, and the interactive side (spec 71 section 4). */
#include "fixture.h"
#include "monitor/hmp.h"
#include "qapi/json-stream.h"

/* Commands of other rooms: recorded, and answered with what the test laid out. */
static GString *calls;
static const char *migrate_status;

static bool record(const char *name, JsonObject *args, const char *answer, JsonNode **ret)
{
    g_string_append(calls, name);
    if (args) {
        g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);

        json_node_set_object(node, args);
        qapi_json_write(calls, node, false);
    }
    g_string_append_c(calls, ';');
    *ret = qapi_json_parse(answer, strlen(answer), NULL);
    return true;
}

#define RECORDED(ident, name, answer)                                                           \
    static bool marshal_##ident(QmpCall *call, JsonObject *args, JsonNode **ret, GError **errp) \
    {                                                                                           \
        return record(name, args, answer, ret);                                                 \
    }

RECORDED(stop, "stop", "{}")
RECORDED(migrate, "migrate", "{}")
RECORDED(cancel, "migrate_cancel", "{}")
RECORDED(incoming, "migrate-incoming", "{}")
RECORDED(continue, "migrate-continue", "{}")
RECORDED(set_cap, "migrate-set-capabilities", "{}")
RECORDED(set_par, "migrate-set-parameters", "{}")
RECORDED(get_cap, "query-migrate-capabilities",
         "[{'capability':'events','state':true},{'capability':'return-path','state':false}]")
RECORDED(get_par, "query-migrate-parameters",
         "{'announce-initial':50,'announce-rounds':5,'max-bandwidth':18446744073709551615,"
         "'downtime-limit':300,'zero-page-detection':'legacy'}")
RECORDED(status, "query-status", "{'running':false,'status':'postmigrate'}")
RECORDED(timeline, "x-query-migration-record",
         "[{'time-us':1500,'side':'source','kind':'phase','name':'setup'},"
         "{'time-us':2000000,'side':'source','kind':'round','round':2,'bytes':1048576,"
         "'dirty':4096,'mbps':84.5}]")

static bool marshal_query(QmpCall *call, JsonObject *args, JsonNode **ret, GError **errp)
{
    g_autofree char *answer = g_strdup_printf(
        "{'status':'%s','total-time':1203,'setup-time':1,'expected-downtime':300,'downtime':7,"
        "'remaining':184549376,'error-desc':'out of luck','ram':{'transferred':13631488,"
        "'remaining':50331648,'total':201326592,'duplicate':7,'normal':3328,"
        "'normal-bytes':13631488,'dirty-pages-rate':2560,'mbps':838.8608,'dirty-sync-count':2,"
        "'postcopy-requests':0,'page-size':4096,'multifd-bytes':0,'pages-per-second':25600,"
        "'precopy-bytes':13631488,'downtime-bytes':0,'postcopy-bytes':0,"
        "'dirty-sync-missed-zero-copy':0}}",
        migrate_status);

    *ret = qapi_json_parse(answer, strlen(answer), NULL);
    return true;
}

static const QmpCommandDef fakes[] = {
    {"stop", false, false, marshal_stop},
    {"migrate", false, false, marshal_migrate},
    {"migrate_cancel", false, false, marshal_cancel},
    {"migrate-incoming", false, false, marshal_incoming},
    {"migrate-continue", false, false, marshal_continue},
    {"migrate-set-capabilities", false, false, marshal_set_cap},
    {"migrate-set-parameters", false, false, marshal_set_par},
    {"query-migrate-capabilities", false, false, marshal_get_cap},
    {"query-migrate-parameters", false, false, marshal_get_par},
    {"query-migrate", false, false, marshal_query},
    {"query-status", false, false, marshal_status},
    {"x-query-migration-record", false, false, marshal_timeline},
};

static void init(MonitorFixture *f)
{
    monitor_fixture_init(f);
    calls = g_string_new(NULL);
    migrate_status = "active";
    qmp_command_table_add(monitor_hub_commands(f->hub), fakes, ARRAY_SIZE(fakes), NULL);
}

static void cleanup(MonitorFixture *f)
{
    monitor_fixture_free(f);
    g_string_free(calls, TRUE);
}

/* Lines, the text they give (LF for CR LF), the QMP commands they run. */
static const struct {
    const char *line, *text, *calls;
} cases[] = {
    {"", "", ""},
    {"nope", "unknown command: 'nope'\n", ""},
    {"sto", "unknown command: 'sto'\n", ""},
    {"s", "", "stop;"},
    {"stop 1",
     "stop|s: extraneous characters at the end of line\n"
     "Try \"help stop\" for more information\n",
     ""},
    {"help stop", "stop|s  -- stop emulation\n", ""},
    {"? nope", "unknown command: 'nope'\n", ""},
    {"info nope", "unknown command: 'info nope'\n", ""},
    {"help info status", "info status  -- show the current VM status (running|paused)\n", ""},
    {"info status", "VM status: paused (postmigrate)\n", "query-status;"},
    {"info uuid", "00000000-0000-0000-0000-000000000000\n", ""},
    {"info name", "", ""},
    {"info kvm", "kvm support: not compiled\n", ""},
    {"cont", "Error: The command cont has not been found\n", ""},
    {"closefd x", "Error: File descriptor named 'x' not found\n", ""},
    {"closefd \"a b\\\"\"", "Error: File descriptor named 'a b\"' not found\n", ""},
    {"closefd \"a", "unterminated string\nTry \"help closefd\" for more information\n", ""},
    {"device_add", "Error: Parameter 'driver' is missing\n", ""},
    {"device_add nope", "Error: 'nope' is not a valid device model name\n", ""},
    {"device_del nope", "Error: Device 'nope' not found\n", ""},
    {"object_del x", "Error: object 'x' not found\n", ""},
    {"object_add memory-backend-ram,id=m0,size=1M", "", ""},
    {"qom-get /objects/m0 size", "1048576\n", ""},
    {"object_del m0", "", ""},
    {"qom-list /", "type (string)\nobjects (child<container>)\nmachine (child<none-machine>)\n",
     ""},
    {"chardev-remove x", "Error: Chardev 'x' not found\n", ""},
    /* migration */
    {"migrate", "migrate: string expected\nTry \"help migrate\" for more information\n", ""},
    {"migrate -d tcp:h:1", "", "migrate{\"uri\": \"tcp:h:1\"};"},
    {"migrate -z tcp:h:1", "unsupported option -z\nTry \"help migrate\" for more information\n",
     ""},
    {"migrate tcp:h:1",
     "This monitor cannot wait: the migration continues detached, see \"info migrate\"\n",
     "migrate{\"uri\": \"tcp:h:1\"};"},
    {"migrate_incoming tcp:h:1", "",
     "migrate-incoming{\"uri\": \"tcp:h:1\", \"exit-on-error\": false};"},
    {"migrate_continue pre-switchover", "", "migrate-continue{\"state\": \"pre-switchover\"};"},
    {"migrate_continue x", "Error: invalid parameter value: x\n", ""},
    {"migrate_set_capability events on", "",
     "migrate-set-capabilities{\"capabilities\": [{\"capability\": \"events\", \"state\": "
     "true}]};"},
    {"migrate_set_capability events x",
     "Expected 'on' or 'off'\nTry \"help migrate_set_capability\" for more information\n", ""},
    {"migrate_set_capability x on", "Error: invalid parameter value: x\n", ""},
    {"migrate_set_parameter max-bandwidth 10", "",
     "migrate-set-parameters{\"max-bandwidth\": 10485760};"},
    {"migrate_set_parameter max-bandwidth 1G", "",
     "migrate-set-parameters{\"max-bandwidth\": 1073741824};"},
    {"migrate_set_parameter max-bandwidth x", "Error: Invalid size x\n", ""},
    {"migrate_set_parameter downtime-limit 5", "",
     "migrate-set-parameters{\"downtime-limit\": 5};"},
    {"migrate_set_parameter downtime-limit 5M",
     "Error: Parameter 'downtime-limit' expects a number\n", ""},
    {"migrate_set_parameter zero-page-detection none", "",
     "migrate-set-parameters{\"zero-page-detection\": \"none\"};"},
    {"migrate_set_parameter x 1", "Error: invalid parameter value: x\n", ""},
    {"info migrate_capabilities", "events: on\nreturn-path: off\n", "query-migrate-capabilities;"},
    {"info migrate_parameters",
     "announce-initial: 50 ms\nannounce-rounds: 5\n"
     "max-bandwidth: 18446744073709551615 bytes/second\ndowntime-limit: 300 ms\n"
     "zero-page-detection: legacy\n",
     "query-migrate-parameters;"},
    /* memory: RAM holds 0x00, 0x11, 0x22, ... */
    {"xp/4xb 0x80000000", "0000000080000000: 0x00 0x11 0x22 0x33\n", ""},
    {"xp/9xb 0x80000000",
     "0000000080000000: 0x00 0x11 0x22 0x33 0x44 0x55 0x66 0x77\n"
     "0000000080000008: 0x88\n",
     ""},
    {"xp/2xh 0x80000000", "0000000080000000: 0x1100 0x3322\n", ""},
    {"xp/1xg 0x80000000+8*1", "0000000080000008: 0xffeeddccbbaa9988\n", ""},
    {"xp/1dg (0x80000000|8)", "0000000080000008:    -4822678189205112\n", ""},
    {"xp/3uh 0x80000000", "0000000080000000:  4352 13090 21828\n", ""},
    {"xp/2oh 0x80000000", "0000000080000000: 010400 031442\n", ""},
    {"xp/3cb 0x80000001", "0000000080000001: '\\x11' '\"' '3'\n", ""},
    {"xp/1xw 0x80000000", "0000000080000000: 0x33221100\n", ""},
    {"xp 0x80000004", "0000000080000004: 0x77665544\n", ""},
    {"xp/2xw 0x0", "0000000000000000: Cannot access memory\n", ""},
    {"xp/1z 0", "invalid char in format: 'z'\nTry \"help xp\" for more information\n", ""},
    {"xp/1xw foo", "invalid char 'f' in expression\nTry \"help xp\" for more information\n", ""},
    {"xp/1xw", "unexpected end of expression\nTry \"help xp\" for more information\n", ""},
    {"xp/1xw (1", "')' expected\nTry \"help xp\" for more information\n", ""},
    {"xp/1xw (1+(2", "')' expected\nTry \"help xp\" for more information\n", ""},
    {"xp/1xw 1/0", "division by zero\nTry \"help xp\" for more information\n", ""},
    {"xp/1xw 0 0",
     "xp: extraneous characters at the end of line\n"
     "Try \"help xp\" for more information\n",
     ""},
    {"print/d 2+3*4-1", "13\n", ""},
    {"p/x ~0 & 'A'", "0x41\n", ""},
    {"p/d -9223372036854775808 / -1", "-9223372036854775808\n", ""},
    {"p/x $nope", "unknown register\nTry \"help print\" for more information\n", ""},
    {"sum 0x80000000 0", "00000\n", ""},
    {"sum 0 1", "Cannot access memory\n", ""},
};

static void test_lines(void)
{
    MonitorFixture f;

    init(&f);
    for (unsigned i = 0; i < 16; i++) {
        f.machine->ram->host[i] = (uint8_t)(i * 0x11);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_string_truncate(calls, 0);
        g_autofree char *text = monitor_hmp_execute(f.hub, cases[i].line);
        g_autoptr(GString) unix_text = g_string_new(text);

        g_string_replace(unix_text, "\r\n", "\n", 0);
        g_assert_cmpstr(unix_text->str, ==, cases[i].text);
        g_assert_cmpstr(calls->str, ==, cases[i].calls);
    }
    cleanup(&f);
}

static void test_info_migrate(void)
{
    MonitorFixture f;

    init(&f);
    migrate_status = "failed";
    g_autofree char *text = monitor_hmp_execute(f.hub, "info migrate -a");

    g_assert_cmpstr(
        text, ==,
        "Status: \t\tfailed (out of luck)\r\n"
        "Time (ms): \t\ttotal=1203, setup=1, exp_down=300, down=7\r\n"
        "Remaining: \t\t176 MiB\r\n"
        "RAM info:\r\n"
        "  Throughput (Mbps): \t838.86\r\n"
        "  Sizes: \t\tpagesize=4 KiB, total=192 MiB\r\n"
        "  Transfers: \t\ttransferred=13 MiB, remain=48 MiB\r\n"
        "    Channels: \t\tprecopy=13 MiB, multifd=0 B, postcopy=0 B\r\n"
        "    Page Types: \tnormal=3328, zero=7\r\n"
        "  Page Rates (pps): \ttransfer=25600, dirty=2560\r\n"
        "  Others: \t\tdirty_syncs=2\r\n"
        "Timeline (seconds since this side began):\r\n"
        "    0.001500  source      phase      setup\r\n"
        "    2.000000  source      round      #2  moved=1 MiB  dirtied=4 KiB  84.50 Mbps\r\n");
    cleanup(&f);
}

/* Deep or odd input never gets far. */
static void test_noise(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(72);
    MonitorFixture f;

    init(&f);
    g_autofree char *deep = g_strnfill(100000, '(');
    g_autofree char *line = g_strconcat("p ", deep, NULL);
    g_autofree char *text = monitor_hmp_execute(f.hub, line);

    g_assert_true(g_str_has_prefix(text, "expression is nested too deeply"));
    for (unsigned i = 0; i < 20000; i++) {
        static const char *const starts[] = {"xp", "p", "sum ", "qom-list ", "info ", "closefd "};
        static const char alphabet[] = "0123456789xX/+-*%()&|^~$'\" bhwgodxuc\\\n";
        GString *s = g_string_new(starts[g_rand_int_range(rand, 0, ARRAY_SIZE(starts))]);

        for (int n = g_rand_int_range(rand, 0, 20); n > 0; n--) {
            g_string_append_c(s, alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)]);
        }
        g_free(monitor_hmp_execute(f.hub, s->str));
        g_string_free(s, TRUE);
        g_string_truncate(calls, 0);
    }
    cleanup(&f);
}

static void expect(MonitorFixture *f, const char *text)
{
    g_autofree char *got = monitor_fixture_wait(f, text);
}

static void test_interactive(void)
{
    MonitorFixture f;

    init(&f);
    monitor_fixture_connect(&f);
    g_assert_true(monitor_add_hmp(f.hub, f.chr, true, NULL));
    expect(&f, " monitor - type 'help' for more information\r\n(qemu) ");
    monitor_fixture_send(&f, "info kvm\r");
    expect(&f, "\r\nkvm support: not compiled\r\n(qemu) ");

    /* migrate holds the prompt back and shows a bar; what is typed meanwhile waits. */
    monitor_fixture_send(&f, "migrate tcp:h:1\r");
    expect(&f, "[######################-       ]  75%  100 MiB/s  dirty 10 MiB/s  0.5 s left");
    monitor_fixture_send(&f, "info uuid\r");
    expect(&f, "/       ]  75%");
    migrate_status = "completed";
    expect(&f, "migrated in 1203 ms, downtime 7 ms\r\n(qemu) ");
    expect(&f, "\r\n00000000-0000-0000-0000-000000000000\r\n(qemu) ");

    /* Ctrl-C cancels. */
    migrate_status = "active";
    monitor_fixture_send(&f, "migrate tcp:h:1\r");
    expect(&f, " 75%");
    g_string_truncate(calls, 0);
    monitor_fixture_send(&f, "\003");
    expect(&f, "\r");
    for (int64_t start = g_get_monotonic_time(); !calls->len;) {
        g_assert_cmpint(g_get_monotonic_time() - start, <, 120 * G_USEC_PER_SEC);
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpstr(calls->str, ==, "migrate_cancel;");
    migrate_status = "cancelled";
    expect(&f, "migration cancelled\r\n(qemu) ");

    migrate_status = "failed";
    monitor_fixture_send(&f, "migrate tcp:h:1\r");
    expect(&f, "Error: out of luck\r\n(qemu) ");
    cleanup(&f);
}

static void test_plain(void)
{
    MonitorFixture f;

    init(&f);
    monitor_fixture_connect(&f);
    g_assert_true(monitor_add_hmp(f.hub, f.chr, false, NULL));
    monitor_fixture_send(&f, "info kvm\r\nmigrate tcp:h:1\n");
    g_autofree char *got = monitor_fixture_wait(&f, "see \"info migrate\"\r\n");

    g_assert_cmpstr(got, ==,
                    "kvm support: not compiled\r\nThis monitor cannot wait: the migration "
                    "continues detached, see \"info migrate\"\r\n");
    cleanup(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/monitor/hmp/lines", test_lines);
    g_test_add_func("/monitor/hmp/info-migrate", test_info_migrate);
    g_test_add_func("/monitor/hmp/noise", test_noise);
    g_test_add_func("/monitor/hmp/interactive", test_interactive);
    g_test_add_func("/monitor/hmp/plain", test_plain);
    return g_test_run();
}
