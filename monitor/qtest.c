/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qtest server: a test pokes at guest memory and the virtual clock over a chardev (spec 71
 * section 6).
 *
 * One request per line, one reply per request. Interrupt interception is not provided, so those
 * commands are unknown.
 */
#include "util/osdep.h"
#include "accel/accel.h"
#include "memory/address-space.h"
#include "monitor/monitor.h"
#include "util/error.h"

#define READ_CHUNK   65536
#define TRANSFER_MAX (64 * MiB)
#define LINE_MAX_LEN (2 * TRANSFER_MAX + 256)

struct QtestServer {
    Machine *machine;
    Chardev *chr;
    FILE *log; /* NULL: none */
    int64_t start_us;
    GString *in;
    bool overlong; /* the line is too long: ignore to its end */
};

typedef struct {
    QtestServer *q;
    char **word; /* of the request; word[0] is the command */
    unsigned n;
} Request;

static double seconds(QtestServer *q)
{
    return (double)(g_get_monotonic_time() - q->start_us) / G_USEC_PER_SEC;
}

static void write_log(QtestServer *q, const char *mark, const char *text)
{
    if (q->log) {
        fprintf(q->log, "[%s +%.6f] %s\n", mark, seconds(q), text);
        fflush(q->log);
    }
}

static void reply(QtestServer *q, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void reply(QtestServer *q, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);

    write_log(q, "S", text);
    chardev_write_all(q->chr, text, strlen(text));
    chardev_write_all(q->chr, "\n", 1);
}

/* Argument @i as a C number; replies and returns false when it is none. */
static bool number(const Request *r, unsigned i, uint64_t *out)
{
    char *end = NULL;

    errno = 0;
    *out = i < r->n ? g_ascii_strtoull(r->word[i], &end, 0) : 0;
    if (i >= r->n || end == r->word[i] || *end || errno) {
        reply(r->q, "FAIL %s: argument %u must be a number", r->word[0], i);
        return false;
    }
    return true;
}

static bool transfer_length(const Request *r, unsigned i, uint64_t *len)
{
    if (!number(r, i, len)) {
        return false;
    }
    if (*len > TRANSFER_MAX) {
        reply(r->q, "FAIL %s: more than %u bytes", r->word[0], (unsigned)TRANSFER_MAX);
        return false;
    }
    return true;
}

static void read_guest(QtestServer *q, uint64_t addr, void *buf, uint64_t len)
{
    memset(buf, 0, len);
    if (q->machine->as) {
        address_space_read(q->machine->as, addr, buf, len);
    }
}

static void write_guest(QtestServer *q, uint64_t addr, const void *buf, uint64_t len)
{
    if (q->machine->as && len) {
        address_space_write(q->machine->as, addr, buf, len);
    }
}

/* The size letter at the end of readb, writel, inw, ... */
static unsigned access_size(const Request *r)
{
    static const char letters[] = "bwlq";
    const char *last = r->word[0] + strlen(r->word[0]) - 1;

    return 1u << (strchr(letters, *last) - letters);
}

static void cmd_load(const Request *r)
{
    uint64_t addr, value = 0;

    if (!number(r, 1, &addr)) {
        return;
    }
    if (!r->q->machine->as ||
        address_space_load(r->q->machine->as, addr, access_size(r), &value) != MEMTX_OK) {
        value = 0;
    }
    reply(r->q, "OK 0x%016" PRIx64, value);
}

static void cmd_store(const Request *r)
{
    uint64_t addr, value;

    if (!number(r, 1, &addr) || !number(r, 2, &value)) {
        return;
    }
    if (r->q->machine->as) {
        address_space_store(r->q->machine->as, addr, access_size(r), value);
    }
    reply(r->q, "OK");
}

static void cmd_read(const Request *r)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t addr, len;

    if (!number(r, 1, &addr) || !transfer_length(r, 2, &len)) {
        return;
    }
    if (len == 0) {
        reply(r->q, "ERR invalid argument size");
        return;
    }
    g_autofree uint8_t *buf = g_malloc(len);
    g_autofree char *hex = g_malloc(2 * len + 1);

    read_guest(r->q, addr, buf, len);
    for (uint64_t i = 0; i < len; i++) {
        hex[2 * i] = digits[buf[i] >> 4];
        hex[2 * i + 1] = digits[buf[i] & 15];
    }
    hex[2 * len] = '\0';
    reply(r->q, "OK 0x%s", hex);
}

static void cmd_write(const Request *r)
{
    uint64_t addr, len;

    if (!number(r, 1, &addr) || !transfer_length(r, 2, &len)) {
        return;
    }
    const char *hex = r->n > 3 ? r->word[3] : "";

    if (len == 0 || !g_str_has_prefix(hex, "0x")) {
        reply(r->q, "ERR invalid argument size");
        return;
    }
    g_autofree uint8_t *buf = g_malloc0(len);

    hex += 2;
    for (uint64_t i = 0; i < len && g_ascii_isxdigit(hex[0]) && g_ascii_isxdigit(hex[1]); i++) {
        buf[i] = (uint8_t)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));
        hex += 2;
    }
    write_guest(r->q, addr, buf, len);
    reply(r->q, "OK");
}

static void cmd_b64read(const Request *r)
{
    uint64_t addr, len;

    if (!number(r, 1, &addr) || !transfer_length(r, 2, &len)) {
        return;
    }
    g_autofree uint8_t *buf = g_malloc(len + 1);

    read_guest(r->q, addr, buf, len);
    g_autofree char *text = g_base64_encode(buf, len);

    reply(r->q, "OK %s", text);
}

static void cmd_b64write(const Request *r)
{
    uint64_t addr, len;
    size_t given;

    if (!number(r, 1, &addr) || !transfer_length(r, 2, &len)) {
        return;
    }
    g_autofree uint8_t *buf = g_base64_decode(r->n > 3 ? r->word[3] : "", &given);

    write_guest(r->q, addr, buf, MIN(len, given));
    reply(r->q, "OK");
}

static void cmd_memset(const Request *r)
{
    uint64_t addr, len, value;

    if (!number(r, 1, &addr) || !number(r, 2, &len) || !number(r, 3, &value)) {
        return;
    }
    uint8_t buf[4096];

    memset(buf, (int)value, sizeof(buf));
    while (len && r->q->machine->as) {
        uint64_t n = MIN(len, sizeof(buf));

        if (address_space_write(r->q->machine->as, addr, buf, n) != MEMTX_OK) {
            break; /* an absurd length must not keep the main loop busy */
        }
        addr += n;
        len -= n;
    }
    reply(r->q, "OK");
}

/* No device has ports; the space reads as all ones. */
static void cmd_in(const Request *r)
{
    uint64_t port;

    if (number(r, 1, &port)) {
        reply(r->q, "OK 0x%04" PRIx64, UINT64_MAX >> (64 - 8 * access_size(r)));
    }
}

static void cmd_out(const Request *r)
{
    uint64_t port, value;

    if (number(r, 1, &port) && number(r, 2, &value)) {
        reply(r->q, "OK");
    }
}

static void cmd_endianness(const Request *r)
{
    reply(r->q, "OK little");
}

static void cmd_clock_step(const Request *r)
{
    Clock *clock = r->q->machine->vclock;
    int64_t now = clock_get_ns(clock), target = clock_deadline_ns(clock);
    uint64_t step;

    if (r->n > 1) {
        if (!number(r, 1, &step)) {
            return;
        }
        target = (int64_t)MIN((uint64_t)now + MIN(step, (uint64_t)INT64_MAX), (uint64_t)INT64_MAX);
    } else if (target < 0) {
        reply(r->q, "FAIL clock_step: no timer is armed");
        return;
    }
    reply(r->q, "OK %" PRId64, clock_virtual_step_to(clock, target));
}

static void cmd_clock_set(const Request *r)
{
    uint64_t ns;

    if (!number(r, 1, &ns)) {
        return;
    }
    int64_t reached =
        clock_virtual_step_to(r->q->machine->vclock, (int64_t)MIN(ns, (uint64_t)INT64_MAX));

    reply(r->q, "%s %" PRId64, reached == (int64_t)ns ? "OK" : "FAIL", reached);
}

static const struct {
    const char *name;
    void (*run)(const Request *r);
    bool needs_clock; /* exists only with -accel qtest */
} commands[] = {
    {"endianness", cmd_endianness},
    {"readb", cmd_load},
    {"readw", cmd_load},
    {"readl", cmd_load},
    {"readq", cmd_load},
    {"writeb", cmd_store},
    {"writew", cmd_store},
    {"writel", cmd_store},
    {"writeq", cmd_store},
    {"read", cmd_read},
    {"write", cmd_write},
    {"b64read", cmd_b64read},
    {"b64write", cmd_b64write},
    {"memset", cmd_memset},
    {"inb", cmd_in},
    {"inw", cmd_in},
    {"inl", cmd_in},
    {"outb", cmd_out},
    {"outw", cmd_out},
    {"outl", cmd_out},
    {"clock_step", cmd_clock_step, true},
    {"clock_set", cmd_clock_set, true},
};

static bool has_test_clock(QtestServer *q)
{
    return q->machine->vclock && q->machine->accel &&
           strcmp(q->machine->accel->ops->name, "qtest") == 0;
}

static void run_request(QtestServer *q, char *line)
{
    g_autofree char **word = g_new0(char *, strlen(line) / 2 + 2);
    Request r = {q, word, 0};

    g_strchomp(line);
    if (!*line || *line == '#') {
        return;
    }
    write_log(q, "R", line);
    for (char *save = NULL, *w = strtok_r(line, " \t", &save); w;
         w = strtok_r(NULL, " \t", &save)) {
        word[r.n++] = w;
    }
    for (unsigned i = 0; r.n && i < ARRAY_SIZE(commands); i++) {
        if (strcmp(commands[i].name, word[0]) == 0 &&
            (!commands[i].needs_clock || has_test_clock(q))) {
            commands[i].run(&r);
            return;
        }
    }
    if (r.n) {
        reply(q, "FAIL Unknown command '%s'", word[0]);
    }
}

static void server_read(void *opaque, const uint8_t *buf, size_t len)
{
    QtestServer *q = opaque;

    while (len) {
        const uint8_t *end = memchr(buf, '\n', len);
        size_t n = end ? (size_t)(end - buf) : len;

        if (q->in->len + n > LINE_MAX_LEN) {
            q->overlong = true;
        }
        if (!q->overlong) {
            g_string_append_len(q->in, (const char *)buf, (gssize)n);
        }
        if (end) {
            if (q->overlong) {
                reply(q, "FAIL request too long");
            } else {
                run_request(q, q->in->str);
            }
            q->overlong = false;
            g_string_truncate(q->in, 0);
            n++;
        }
        buf += n;
        len -= n;
    }
}

static size_t server_can_read(void *opaque)
{
    return READ_CHUNK;
}

static void server_event(void *opaque, ChrEvent event)
{
    QtestServer *q = opaque;

    if (event == CHR_EVENT_OPENED) {
        q->start_us = g_get_monotonic_time();
        g_string_truncate(q->in, 0);
        q->overlong = false;
        write_log(q, "I", "OPENED");
    } else if (event == CHR_EVENT_CLOSED) {
        write_log(q, "I", "CLOSED");
    }
}

static const ChardevFrontend server_frontend = {
    .can_read = server_can_read,
    .read = server_read,
    .event = server_event,
};

QtestServer *qtest_server_start(Machine *machine, Chardev *chr, const char *log, GError **errp)
{
    g_autoptr(QtestServer) q = g_new0(QtestServer, 1);

    q->machine = machine;
    q->in = g_string_new(NULL);
    q->start_us = g_get_monotonic_time();
    if (!log) {
        q->log = stderr;
    } else if (strcmp(log, "none") != 0) {
        q->log = fopen(log, "we");
        if (!q->log) {
            error_setg_errno(errp, errno, "-qtest-log %s", log);
            return NULL;
        }
    }
    q->chr = chr;
    if (!chardev_attach(chr, &server_frontend, q, errp)) {
        q->chr = NULL;
        return NULL;
    }
    return g_steal_pointer(&q);
}

void qtest_server_free(QtestServer *q)
{
    if (!q) {
        return;
    }
    if (q->chr) {
        chardev_detach(q->chr);
    }
    if (q->log && q->log != stderr) {
        fclose(q->log);
    }
    g_string_free(q->in, TRUE);
    g_free(q);
}
