/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor: bytes go through the line editor, complete lines run on a machine with one
 * hart and a little memory. No QMP command is registered and files cannot be named, so nothing
 * outside is touched.
 */
#include "fixture.h"
#include "fuzz.h"
#include "monitor/hmp.h"
#include "monitor/readline.h"

typedef struct {
    MonitorHub *hub;
    Readline *rl;
} Term;

static MonitorFixture fixture;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    Machine *m;
    RISCVCPU *cpu;

    monitor_fixture_init(&fixture);
    m = fixture.machine;
    cpu = riscv_cpu_new("rv64", NULL, 0, m->as, m->vclock, NULL);
    g_ptr_array_add(m->cpus, cpu);
    return 0;
}

static void write_nothing(void *opaque, const char *text)
{
    g_assert_true(g_utf8_validate(text, -1, NULL) || strlen(text) > 0);
}

/* "log" changes what the process prints, "logfile" where to. */
static bool is_harmless(const char *line)
{
    return !strstr(line, "log");
}

static void run_line(void *opaque, const char *line)
{
    Term *t = opaque;

    if (is_harmless(line)) {
        g_autofree char *text = hmp_execute(t->hub, 0, line);

        g_assert_nonnull(text);
    }
    readline_start(t->rl);
}

static GPtrArray *complete(void *opaque, const char *prefix)
{
    GPtrArray *found = g_ptr_array_new_with_free_func(g_free);

    for (const HmpCommand *c = hmp_commands; c->name; c++) {
        if (g_str_has_prefix(c->name, prefix)) {
            g_ptr_array_add(found, g_strdup(c->name));
        }
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MonitorHub *hub = monitor_hub_new();
    Term t = {.hub = hub};
    ReadlineOps ops = {write_nothing, run_line, complete, &t};

    monitor_hub_set_machine(hub, fixture.machine);
    t.rl = readline_new(&ops, "(godwit) ");
    readline_start(t.rl);
    for (size_t i = 0; i < size; i++) {
        readline_feed(t.rl, data[i]);
    }
    readline_feed(t.rl, '\r');
    readline_free(t.rl);
    monitor_hub_free(hub);
    return 0;
}
