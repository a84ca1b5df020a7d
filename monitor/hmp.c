/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An interactive human monitor on a chardev: banner, prompt, and waiting for a command without
 * blocking. */
#include "util/osdep.h"
#include "config-host.h"
#include "util/timer.h"
#include "monitor/hmp.h"
#include "monitor/readline.h"

#define POLL_NS      (250 * SCALE_MS)
#define READ_CHUNK   1024
#define PENDING_MAX  4096
#define LINE_MAX_LEN 4096
#define CTRL_C       3

struct HmpMonitor {
    MonitorHub *hub;
    Chardev *chr;
    Readline *readline; /* NULL: plain lines, no echo, no prompt */
    GString *line;      /* without readline: the line so far */
    GString *pending;   /* typed while a command was waiting */
    unsigned cpu;
    HmpMemoryFormat format;
    bool waiting;
    HmpWait wait;
    QEMUTimer *timer;
};

MonitorHub *hmp_monitor_hub(HmpMonitor *mon)
{
    return mon->hub;
}

void hmp_monitor_set_cpu(HmpMonitor *mon, unsigned cpu)
{
    mon->cpu = cpu;
}

void hmp_monitor_write(HmpMonitor *mon, const char *text)
{
    chardev_write_all(mon->chr, text, strlen(text));
}

static void rl_write(void *opaque, const char *text)
{
    hmp_monitor_write(opaque, text);
}

/* LF -> CR LF */
static void write_lines(HmpMonitor *mon, const GString *text)
{
    g_autoptr(GString) out = g_string_new(text->str);

    g_string_replace(out, "\n", "\r\n", 0);
    hmp_monitor_write(mon, out->str);
}

static void run_line(HmpMonitor *mon, const char *line)
{
    g_autoptr(GString) out = g_string_new(NULL);
    HmpContext c = {
        .hub = mon->hub, .mon = mon, .out = out, .cpu = mon->cpu, .format = &mon->format};

    hmp_run_line(&c, line);
    write_lines(mon, out);
}

static void rl_line(void *opaque, const char *line)
{
    HmpMonitor *mon = opaque;

    run_line(mon, line);
    if (!mon->waiting) {
        readline_start(mon->readline);
    }
}

static GPtrArray *rl_complete(void *opaque, const char *prefix)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

    for (const HmpCommand *cmd = hmp_commands; cmd->name; cmd++) {
        if (g_str_has_prefix(cmd->name, prefix)) {
            g_ptr_array_add(words, g_strdup(cmd->name));
        }
    }
    return words;
}

static void feed_plain(HmpMonitor *mon, char c)
{
    if (c != '\n' && c != '\r') {
        if (mon->line->len < LINE_MAX_LEN) {
            g_string_append_c(mon->line, c);
        }
    } else if (mon->line->len) {
        g_autofree char *line = g_strdup(mon->line->str);

        g_string_truncate(mon->line, 0);
        run_line(mon, line);
    }
}

static void feed(HmpMonitor *mon, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (mon->waiting && bytes[i] == CTRL_C) {
            mon->wait.interrupt(mon, mon->wait.opaque);
        } else if (mon->waiting) {
            if (mon->pending->len < PENDING_MAX) {
                g_string_append_c(mon->pending, bytes[i]);
            }
        } else if (mon->readline) {
            readline_feed(mon->readline, (uint8_t)bytes[i]);
        } else {
            feed_plain(mon, bytes[i]);
        }
    }
}

static void stop_waiting(HmpMonitor *mon)
{
    timer_del(mon->timer);
    mon->waiting = false;
    if (mon->wait.destroy) {
        mon->wait.destroy(mon->wait.opaque);
    }
}

static void poll_wait(void *opaque)
{
    HmpMonitor *mon = opaque;

    if (!mon->wait.poll(mon, mon->wait.opaque)) {
        timer_mod_ns(mon->timer, clock_get_ns(clock_realtime()) + POLL_NS);
        return;
    }
    stop_waiting(mon);
    readline_start(mon->readline);

    g_autofree char *typed = g_strdup(mon->pending->str);

    g_string_truncate(mon->pending, 0);
    feed(mon, typed, strlen(typed));
}

bool hmp_wait(HmpMonitor *mon, const HmpWait *wait)
{
    if (!mon || !mon->readline || mon->waiting) {
        return false;
    }
    mon->wait = *wait;
    mon->waiting = true;
    timer_mod_ns(mon->timer, clock_get_ns(clock_realtime()));
    return true;
}

static size_t monitor_can_read(void *opaque)
{
    return READ_CHUNK;
}

static void monitor_read(void *opaque, const uint8_t *buf, size_t len)
{
    feed(opaque, (const char *)buf, len);
}

static void monitor_event(void *opaque, ChrEvent event)
{
    HmpMonitor *mon = opaque;

    if (event == CHR_EVENT_CLOSED && mon->waiting) {
        stop_waiting(mon);
    }
    if (event == CHR_EVENT_OPENED && mon->readline) {
        g_string_truncate(mon->pending, 0);
        hmp_monitor_write(mon, "Godwit " GODWIT_VERSION
                               " monitor - type 'help' for more information\r\n");
        readline_start(mon->readline);
    }
}

static const ChardevFrontend monitor_frontend = {
    .can_read = monitor_can_read,
    .read = monitor_read,
    .event = monitor_event,
};

HmpMonitor *hmp_monitor_new(MonitorHub *hub, Chardev *chr, bool readline, GError **errp)
{
    HmpMonitor *mon = g_new0(HmpMonitor, 1);
    ReadlineOps ops = {rl_write, rl_line, rl_complete, mon};

    mon->hub = hub;
    mon->chr = chr;
    mon->readline = readline ? readline_new(&ops, "(qemu) ") : NULL;
    mon->line = g_string_new(NULL);
    mon->pending = g_string_new(NULL);
    mon->format = (HmpMemoryFormat){'x', 4, 1};
    mon->timer = timer_new_ns(clock_realtime(), poll_wait, mon);
    if (!chardev_attach(chr, &monitor_frontend, mon, errp)) {
        mon->chr = NULL;
        hmp_monitor_free(mon);
        return NULL;
    }
    return mon;
}

void hmp_monitor_free(HmpMonitor *mon)
{
    if (mon->chr) {
        chardev_detach(mon->chr);
    }
    if (mon->waiting) {
        stop_waiting(mon);
    }
    timer_free(mon->timer);
    readline_free(mon->readline);
    g_string_free(mon->line, TRUE);
    g_string_free(mon->pending, TRUE);
    g_free(mon);
}

char *hmp_execute(MonitorHub *hub, unsigned cpu, const char *line)
{
    GString *out = g_string_new(NULL);
    HmpContext c = {.hub = hub, .out = out, .cpu = cpu, .format = &hub->hmp_format};

    hmp_run_line(&c, line);
    g_string_replace(out, "\n", "\r\n", 0);
    return g_string_free(out, FALSE);
}

char *monitor_hmp_execute(MonitorHub *hub, const char *line)
{
    return hmp_execute(hub, 0, line);
}
