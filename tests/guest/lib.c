/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Console, boot arguments and the few C library functions the compiler may call. */
#include "guest.h"

#define FDT_BEGIN_NODE 1
#define FDT_END_NODE   2
#define FDT_PROP       3
#define FDT_NOP        4

extern volatile uint64_t guest_go;
static volatile int console_lock;

void guest_release_harts(void)
{
    __atomic_store_n(&guest_go, 1, __ATOMIC_SEQ_CST);
}

void uart_putc(char c)
{
    volatile uint8_t *uart = (volatile uint8_t *)UART0;

    while (!(uart[5] & 0x20)) {
    }
    uart[0] = c;
}

int uart_getc(void)
{
    volatile uint8_t *uart = (volatile uint8_t *)UART0;

    return uart[5] & 1 ? uart[0] : -1;
}

static void put_number(unsigned long v, unsigned base)
{
    char digits[24];
    int n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    while (n) {
        uart_putc(digits[--n]);
    }
}

void guest_printf(const char *fmt, ...)
{
    va_list ap;

    while (__atomic_exchange_n(&console_lock, 1, __ATOMIC_ACQUIRE)) {
    }
    va_start(ap, fmt);
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            uart_putc(*fmt);
            continue;
        }
        switch (*++fmt) {
        case 's':
            for (const char *s = va_arg(ap, const char *); *s; s++) {
                uart_putc(*s);
            }
            break;
        case 'u':
            put_number(va_arg(ap, unsigned long), 10);
            break;
        default:
            put_number(va_arg(ap, unsigned long), 16);
            break;
        }
    }
    va_end(ap);
    __atomic_store_n(&console_lock, 0, __ATOMIC_RELEASE);
}

void guest_trap(unsigned long cause, unsigned long epc, unsigned long tval)
{
    /* The trap may have hit the lock's holder: whole lines matter less than being heard. */
    console_lock = 0;
    guest_printf("godwit-guest: FAIL trap cause=%x epc=%x tval=%x\n", cause, epc, tval);
}

void guest_power_off(void)
{
    *(volatile uint32_t *)FINISHER = 0x5555;
    for (;;) {
        __asm__ volatile("wfi");
    }
}

static uint32_t be32(const void *p)
{
    const uint8_t *b = p;

    return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

static bool starts_with(const char *s, const char *prefix)
{
    while (*prefix) {
        if (*s++ != *prefix++) {
            return false;
        }
    }
    return true;
}

static bool equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* One walk serves both questions: the boot arguments are returned, cpu nodes are counted. */
static const char *fdt_walk(const void *fdt, unsigned *harts)
{
    const uint8_t *base = fdt;
    const uint8_t *p, *end;
    const char *strings, *args = "", *node = "";

    *harts = 0;
    if (!fdt || be32(base) != 0xd00dfeed) {
        return args;
    }
    p = base + be32(base + 8);
    end = p + be32(base + 36);
    strings = (const char *)base + be32(base + 12);
    while (p < end) {
        uint32_t token = be32(p);

        p += 4;
        if (token == FDT_BEGIN_NODE) {
            node = (const char *)p;
            *harts += starts_with(node, "cpu@");
            while (*p++) {
            }
            p = (const uint8_t *)(((uintptr_t)p + 3) & ~3ul);
        } else if (token == FDT_PROP) {
            uint32_t len = be32(p);

            if (equal(node, "chosen") && equal(strings + be32(p + 4), "bootargs")) {
                args = (const char *)p + 8;
            }
            p += 8 + ((len + 3) & ~3u);
        } else if (token != FDT_END_NODE && token != FDT_NOP) {
            break;
        }
    }
    return args;
}

const char *fdt_bootargs(const void *fdt)
{
    unsigned harts;

    return fdt_walk(fdt, &harts);
}

unsigned fdt_count_harts(const void *fdt)
{
    unsigned harts;

    fdt_walk(fdt, &harts);
    return harts ? harts : 1;
}

/* Start of the value of @key, or NULL. */
static const char *arg_find(const char *args, const char *key)
{
    while (*args) {
        const char *k = key;

        while (*args == ' ') {
            args++;
        }
        while (*k && *args == *k) {
            args++;
            k++;
        }
        if (!*k && *args == '=') {
            return args + 1;
        }
        while (*args && *args != ' ') {
            args++;
        }
    }
    return NULL;
}

uint64_t arg_u64(const char *args, const char *key, uint64_t fallback)
{
    const char *s = arg_find(args, key);
    uint64_t v = 0;

    if (!s || *s < '0' || *s > '9') {
        return fallback;
    }
    while (*s >= '0' && *s <= '9') {
        v = v * 10 + (*s++ - '0');
    }
    return v << (*s == 'K' ? 10 : *s == 'M' ? 20 : *s == 'G' ? 30 : 0);
}

bool arg_is(const char *args, const char *key, const char *value)
{
    const char *s = arg_find(args, key);

    if (!s || !starts_with(s, value)) {
        return false;
    }
    while (*value++) {
        s++;
    }
    return !*s || *s == ' ';
}

void *memset(void *dst, int c, size_t n)
{
    for (uint8_t *d = dst; n--; d++) {
        *d = c;
    }
    return dst;
}

void *memcpy(void *dst, const void *src, size_t n)
{
    const uint8_t *s = src;

    for (uint8_t *d = dst; n--;) {
        *d++ = *s++;
    }
    return dst;
}
