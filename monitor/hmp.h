/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The human monitor, for the files that make it up (spec 71 section 4).
 *
 * A command is a row of a table; its handler prints into c->out and talks to the VM through QMP
 * commands wherever one exists, so that rules and error texts live in one place.
 */
#ifndef MONITOR_HMP_H
#define MONITOR_HMP_H

#include "monitor/internal.h"
#include "target/riscv-cpu.h"

#define HMP_MAX_ARGS 4

typedef struct HmpCommand HmpCommand;

typedef struct {
    MonitorHub *hub;
    HmpMonitor *mon; /* NULL: human-monitor-command */
    GString *out;    /* lines ending in LF */
    unsigned cpu;
    HmpMemoryFormat *format;
    const HmpCommand *command;
    /* Parsed as the row says; absent optional ones are NULL / 0. */
    char *arg[HMP_MAX_ARGS];
    int64_t number[HMP_MAX_ARGS];
    uint32_t flags; /* bit (letter - 'a') */
} HmpContext;

struct HmpCommand {
    const char *name;
    const char *alias; /* or NULL */
    const char *flags; /* letters, or NULL */
    /* One letter per argument: s word, S rest of the line, b on/off, i expression, '/' format of x
     * and xp. Those after
     * '?' are optional. */
    const char *args;
    const char *params; /* for help */
    const char *help;
    void (*run)(HmpContext *c);
};

extern const HmpCommand hmp_commands[]; /* end with a NULL name */
extern const HmpCommand hmp_info_items[];

static inline bool hmp_flag(const HmpContext *c, char letter)
{
    return c->flags >> (letter - 'a') & 1;
}

/* ---- hmp-parse.c ---- */

/* Run one line; prints errors too. */
void hmp_run_line(HmpContext *c, const char *line);
/* Evaluate an expression at *p and advance past it. */
bool hmp_eval(HmpContext *c, const char **p, int64_t *value, GError **errp);
/* The description shown by help. */
void hmp_print_help(HmpContext *c, const HmpCommand *table, const char *prefix, const char *name);

/* ---- helpers of hmp-commands.c ---- */

/* Run a QMP command; prints "Error: ..." and returns NULL on failure. @args is taken. */
JsonNode *hmp_call(HmpContext *c, const char *command, JsonObject *args);
/* The same when the result does not matter. @args is taken. */
bool hmp_do(HmpContext *c, const char *command, JsonObject *args);
/* Print "Error: ..." and free. */
void hmp_error(HmpContext *c, GError *err);
/* The object a query returned, or NULL. */
JsonObject *hmp_object(JsonNode *node);
/* Call @cb for each object of a list that a query returned. */
void hmp_foreach(JsonNode *list, void (*cb)(HmpContext *c, JsonObject *obj), HmpContext *c);

/* Run @fn on the thread of CPU @index, where its registers hold still; false: there is no such CPU.
 */
bool hmp_on_cpu(HmpContext *c, unsigned index, void (*fn)(RISCVCPU *cpu, void *opaque),
                void *opaque);

/* ---- hmp-memory.c ---- */

void hmp_x(HmpContext *c);
void hmp_xp(HmpContext *c);
void hmp_print(HmpContext *c);
void hmp_sum(HmpContext *c);

/* ---- hmp-migration.c ---- */

void hmp_migrate(HmpContext *c);
void hmp_migrate_incoming(HmpContext *c);
void hmp_migrate_recover(HmpContext *c);
void hmp_migrate_continue(HmpContext *c);
void hmp_migrate_set_capability(HmpContext *c);
void hmp_migrate_set_parameter(HmpContext *c);
void hmp_info_migrate(HmpContext *c);
void hmp_info_migrate_capabilities(HmpContext *c);
void hmp_info_migrate_parameters(HmpContext *c);
/* "176 MiB": three significant digits; free with g_free(). */
char *hmp_size(uint64_t bytes);
/* The bar shown while `migrate` waits; free with g_free(). */
char *hmp_progress_line(const JsonObject *info, unsigned spin);

/* ---- hmp-snapshots.c ---- */

void hmp_savevm(HmpContext *c);
void hmp_loadvm(HmpContext *c);
void hmp_delvm(HmpContext *c);
void hmp_info_snapshots(HmpContext *c);

/* ---- hmp-dirty-rate.c ---- */

void hmp_calc_dirty_rate(HmpContext *c);
void hmp_info_dirty_rate(HmpContext *c);
void hmp_set_vcpu_dirty_limit(HmpContext *c);
void hmp_cancel_vcpu_dirty_limit(HmpContext *c);
void hmp_info_vcpu_dirty_limit(HmpContext *c);

/* ---- hmp.c ---- */

/* Hold back the prompt of @mon until @poll returns true; it is called every 250 ms and prints by
 * itself.
 * @interrupt: Ctrl-C. False: this monitor cannot wait. */
typedef struct {
    bool (*poll)(HmpMonitor *mon, void *opaque);
    void (*interrupt)(HmpMonitor *mon, void *opaque);
    void (*destroy)(void *opaque);
    void *opaque;
} HmpWait;
bool hmp_wait(HmpMonitor *mon, const HmpWait *wait);
/* Print at once, outside a command. */
void hmp_monitor_write(HmpMonitor *mon, const char *text);
MonitorHub *hmp_monitor_hub(HmpMonitor *mon);
/* `cpu N` */
void hmp_monitor_set_cpu(HmpMonitor *mon, unsigned cpu);

#endif
