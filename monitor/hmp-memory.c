/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking at guest memory: x, xp, sum; and print, which shares the formats. */
#include "util/osdep.h"
#include "memory/address-space.h"
#include "monitor/hmp.h"

static uint64_t load_le(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < size; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }
    return v;
}

static int64_t sign_extend(uint64_t v, unsigned size)
{
    unsigned shift = 64 - 8 * size;

    return (int64_t)(v << shift) >> shift;
}

static void print_char(GString *out, uint8_t v)
{
    static const char from[] = "\n\r\t\\'", to[] = "nrt\\'";
    const char *known = v ? strchr(from, v) : NULL;

    if (known) {
        g_string_append_printf(out, "'\\%c'", to[known - from]);
    } else if (v >= 0x20 && v < 0x7f) {
        g_string_append_printf(out, "'%c'", v);
    } else {
        g_string_append_printf(out, "'\\x%02x'", v);
    }
}

/* Digits of the widest value, for columns that line up. */
static int column_width(char format, unsigned size)
{
    static const int octal[] = {3, 6, 11, 22}, decimal[] = {3, 5, 10, 20};
    int i = __builtin_ctz(size);

    return format == 'o' ? octal[i] : format == 'x' ? (int)size * 2 : decimal[i];
}

static void print_value(GString *out, char format, unsigned size, uint64_t v)
{
    int width = column_width(format, size);

    switch (format) {
    case 'o':
        g_string_append_printf(out, "%#*" PRIo64, width, v);
        break;
    case 'x':
        g_string_append_printf(out, "0x%0*" PRIx64, width, v);
        break;
    case 'u':
        g_string_append_printf(out, "%*" PRIu64, width, v);
        break;
    case 'd':
        g_string_append_printf(out, "%*" PRId64, width, sign_extend(v, size));
        break;
    default:
        print_char(out, (uint8_t)v);
    }
}

typedef struct {
    uint64_t vaddr;
    hwaddr paddr;
    bool ok;
} Translation;

static void translate(RISCVCPU *cpu, void *opaque)
{
    Translation *t = opaque;

    t->ok = riscv_debug_translate(cpu, t->vaddr, &t->paddr);
}

static bool read_memory(HmpContext *c, uint64_t addr, uint8_t *buf, unsigned len, bool is_virtual)
{
    for (unsigned done = 0, n; done < len; done += n) {
        Translation t = {addr + done, addr + done, true};

        n = MIN(len - done, TARGET_PAGE_SIZE - ((addr + done) & ~TARGET_PAGE_MASK));
        if (is_virtual) {
            hmp_on_cpu(c, c->cpu, translate, &t); /* without a CPU virtual is physical */
        }
        if (!t.ok || address_space_read(c->hub->machine->as, t.paddr, buf + done, n) != MEMTX_OK) {
            return false;
        }
    }
    return true;
}

static void dump(HmpContext *c, bool is_virtual)
{
    HmpMemoryFormat f = *c->format;
    uint64_t addr = (uint64_t)c->number[1];
    unsigned line = f.size == 1 && f.format != 'c' ? 8 : 16;
    uint64_t left = (uint64_t)f.count * f.size;

    if (!c->hub->machine || !c->hub->machine->as) {
        g_string_append(c->out, "No machine\n");
        return;
    }
    while (left) {
        uint8_t buf[16];
        unsigned n = (unsigned)MIN(left, line);

        g_string_append_printf(c->out, "%016" PRIx64 ":", addr);
        if (!read_memory(c, addr, buf, n, is_virtual)) {
            g_string_append(c->out, " Cannot access memory\n");
            return;
        }
        for (unsigned i = 0; i < n; i += f.size) {
            g_string_append_c(c->out, ' ');
            print_value(c->out, f.format, f.size, load_le(buf + i, f.size));
        }
        g_string_append_c(c->out, '\n');
        addr += n;
        left -= n;
    }
}

void hmp_x(HmpContext *c)
{
    dump(c, true);
}

void hmp_xp(HmpContext *c)
{
    dump(c, false);
}

void hmp_print(HmpContext *c)
{
    uint64_t v = (uint64_t)c->number[1];

    switch (c->format->format) {
    case 'o':
        g_string_append_printf(c->out, "%#" PRIo64, v);
        break;
    case 'x':
        g_string_append_printf(c->out, "%#" PRIx64, v);
        break;
    case 'u':
        g_string_append_printf(c->out, "%" PRIu64, v);
        break;
    case 'c':
        print_char(c->out, (uint8_t)v);
        break;
    default:
        g_string_append_printf(c->out, "%" PRId64, (int64_t)v);
    }
    g_string_append_c(c->out, '\n');
}

/* The BSD checksum, 16 bits. */
void hmp_sum(HmpContext *c)
{
    uint64_t addr = (uint64_t)c->number[0], left = (uint64_t)c->number[1];
    uint16_t sum = 0;
    uint8_t buf[4096];

    if (!c->hub->machine || !c->hub->machine->as) {
        g_string_append(c->out, "No machine\n");
        return;
    }
    /* The big lock is held: a mistyped size must not stop the VM for minutes. */
    if (left > 1 * GiB) {
        g_string_append(c->out, "sum: at most 1 GiB\n");
        return;
    }
    while (left) {
        unsigned n = (unsigned)MIN(left, sizeof(buf));

        if (!read_memory(c, addr, buf, n, false)) {
            g_string_append(c->out, "Cannot access memory\n");
            return;
        }
        for (unsigned i = 0; i < n; i++) {
            sum = (uint16_t)((sum >> 1 | sum << 15) + buf[i]);
        }
        addr += n;
        left -= n;
    }
    g_string_append_printf(c->out, "%05d\n", sum);
}
