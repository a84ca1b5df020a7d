/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The self-checking guest: keeps a pattern in memory that any lost, stale or torn page breaks.
 *
 * Each hart owns a slice of the working set and walks it in passes. A page's 512 words are a
 * function of (page, generation, word number); the generation a page must have follows from the
 * walker's own position, which lives in registers and travels apart from the page. Each visit
 * checks every word against the expected generation and then writes the next one. So an old copy of
 * a page, a mixture of two copies and another page's content are each seen at the next visit. Boot
 * arguments, answers and addresses: see README.md.
 */
#include "guest.h"

#define PAGE_WORDS 512
#define BEAT_PAGE                                                                                 \
    0x801ff000ul /* word 0: hart 0 counts its loops; word 1: magic; word 2: time of the last beat \
                  */
#define BEAT_MAGIC 0x676f647769746221ul
#define MEM_BASE   0x80200000ul
#define PAGE_MIX   0x9e3779b97f4a7c15ul
#define GEN_MIX    0xd1342543de82ef95ul

typedef enum { MODE_PATTERN, MODE_ZERO, MODE_RANDOM, MODE_HOT, MODE_IDLE } Mode;

static struct {
    Mode mode;
    unsigned harts;
    uint64_t pages, hot_pages, touch_words, pages_per_second, report_ms;
    bool wfi;
} cfg;

typedef struct {
    volatile uint64_t pass, pages, gap, populated, reset_gap;
    uint64_t pad[3]; /* a cache line each */
} HartStatus;
static HartStatus status[MAX_HARTS];
static volatile uint64_t failed;

static uint64_t scramble(uint64_t x)
{
    x ^= x >> 32;
    x *= PAGE_MIX;
    return x ^ x >> 29;
}

static uint64_t page_seed(uint64_t page, uint64_t gen)
{
    return scramble((page + 1) * PAGE_MIX + gen * GEN_MIX);
}

/* The words of one run; linear and cheap, or (random mode) a generator no compressor sees through.
 */
static void fill(volatile uint64_t *w, uint64_t from, uint64_t to, uint64_t seed)
{
    if (cfg.mode == MODE_RANDOM) {
        for (uint64_t i = from; i < to; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            w[i] = seed;
        }
    } else {
        for (uint64_t i = from; i < to; i++, seed += PAGE_MIX) {
            w[i] = seed;
        }
    }
}

static void fail(uint64_t page, uint64_t word, uint64_t gen, uint64_t expected, uint64_t got)
{
    failed = 1;
    guest_printf("godwit-guest: FAIL page=%u word=%u generation=%u expected=%x got=%x\n", page,
                 word, gen, expected, got);
    for (;;) {
        __asm__ volatile("wfi");
    }
}

static void check(volatile uint64_t *w, uint64_t from, uint64_t to, uint64_t seed, uint64_t page,
                  uint64_t gen)
{
    if (cfg.mode == MODE_RANDOM) {
        for (uint64_t i = from; i < to; i++) {
            uint64_t got = w[i];

            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            if (got != seed) {
                fail(page, i, gen, seed, got);
            }
        }
    } else {
        for (uint64_t i = from; i < to; i++, seed += PAGE_MIX) {
            uint64_t got = w[i];

            if (got != seed) {
                fail(page, i, gen, seed, got);
            }
        }
    }
}

static volatile uint64_t *page_address(uint64_t page)
{
    return (volatile uint64_t *)(MEM_BASE + (page << 12));
}

/* Words [0, touch) carry the generation, the rest stay at generation 0 (small changes for delta
 * codecs). */
static void write_page(uint64_t page, uint64_t gen)
{
    volatile uint64_t *w = page_address(page);

    if (cfg.mode == MODE_ZERO) {
        for (unsigned i = 0; i < PAGE_WORDS; i++) {
            w[i] = 0;
        }
        return;
    }
    fill(w, 0, cfg.touch_words, page_seed(page, gen));
    if (!gen) {
        fill(w, cfg.touch_words, PAGE_WORDS, page_seed(page, 0) ^ GEN_MIX);
    }
}

static void check_page(uint64_t page, uint64_t gen)
{
    volatile uint64_t *w = page_address(page);

    if (cfg.mode == MODE_ZERO) {
        for (unsigned i = 0; i < PAGE_WORDS; i++) {
            uint64_t got = w[i];

            if (got) {
                fail(page, i, gen, 0, got);
            }
        }
        return;
    }
    check(w, 0, cfg.touch_words, page_seed(page, gen), page, gen);
    check(w, cfg.touch_words, PAGE_WORDS, page_seed(page, 0) ^ GEN_MIX, page, gen);
}

static void report(const char *what)
{
    uint64_t pass = UINT64_MAX, pages = 0, gap = 0;

    for (unsigned h = 0; h < cfg.harts; h++) {
        pass = status[h].pass < pass ? status[h].pass : pass;
        pages += status[h].pages;
        gap = status[h].gap > gap ? status[h].gap : gap;
    }
    guest_printf("godwit-guest: %s pass=%u gap_us=%u pages=%u time_us=%u\n", what, pass,
                 gap / TICKS_PER_US, pages, guest_time() / TICKS_PER_US);
}

static void answer_requests(void)
{
    int c = uart_getc();

    if (c < 0 || failed) {
        return;
    }
    report("ok");
    if (c == 'z') {
        for (unsigned h = 0; h < cfg.harts; h++) {
            status[h].reset_gap = 1;
        }
    } else if (c == 'q') {
        guest_power_off();
    }
}

/* Keep the clock honest after each step: the longest gap, the beat, the reports (hart 0). */
static uint64_t tick(unsigned hart, uint64_t last, uint64_t *next_poll, uint64_t *next_report)
{
    uint64_t now = guest_time();

    if (status[hart].reset_gap) {
        status[hart].reset_gap = 0;
        status[hart].gap = 0;
        last = now;
    }
    if (now - last > status[hart].gap) {
        status[hart].gap = now - last;
    }
    if (hart == 0) {
        volatile uint64_t *beat = (volatile uint64_t *)BEAT_PAGE;

        beat[0]++;
        beat[2] = now;
        if (now >= *next_poll) {
            *next_poll = now + 1000 * TICKS_PER_US;
            answer_requests();
        }
        if (cfg.report_ms && now >= *next_report) {
            *next_report = now + cfg.report_ms * 1000 * TICKS_PER_US;
            if (!failed) {
                report("ok");
            }
        }
    }
    return now;
}

/* Sleep for a millisecond: poll the clock, or halt until the timer fires. */
static void nap(unsigned hart)
{
    uint64_t until = guest_time() + 1000 * TICKS_PER_US;

    if (cfg.wfi) {
        *(volatile uint64_t *)(CLINT_MTIMECMP + 8 * hart) = until;
        __asm__ volatile("csrs mie, %0" : : "r"(1 << 7));
        __asm__ volatile("wfi");
        __asm__ volatile("csrc mie, %0" : : "r"(1 << 7));
        return;
    }
    while (guest_time() < until) {
        if (hart == 0) { /* observers outside time a pause by this counter */
            ((volatile uint64_t *)BEAT_PAGE)[0]++;
        }
    }
}

static void configure(const void *fdt)
{
    const char *args = fdt_bootargs(fdt);

    cfg.mode = arg_is(args, "mode", "zero")     ? MODE_ZERO
               : arg_is(args, "mode", "random") ? MODE_RANDOM
               : arg_is(args, "mode", "hot")    ? MODE_HOT
               : arg_is(args, "mode", "idle")   ? MODE_IDLE
                                                : MODE_PATTERN;
    cfg.harts = arg_u64(args, "harts", fdt_count_harts(fdt));
    cfg.harts = cfg.harts > MAX_HARTS ? MAX_HARTS : cfg.harts ? cfg.harts : 1;
    cfg.pages = arg_u64(args, "ws", 16ul << 20) >> 12;
    cfg.hot_pages = arg_u64(args, "hot", 4ul << 20) >> 12;
    cfg.touch_words = arg_u64(args, "touch", PAGE_WORDS);
    cfg.touch_words = cfg.touch_words > PAGE_WORDS ? PAGE_WORDS : cfg.touch_words;
    cfg.pages_per_second = arg_u64(args, "rate", 0) >> 12;
    cfg.report_ms = arg_u64(args, "report", 1000);
    cfg.wfi = arg_u64(args, "wfi", 0);
}

void guest_main(unsigned long hart, const void *fdt)
{
    uint64_t first, end, walk_end, now, started, next_poll = 0, next_report = 0;

    if (hart == 0) {
        configure(fdt); /* before the working set can overwrite the tree */
        ((volatile uint64_t *)BEAT_PAGE)[1] = BEAT_MAGIC;
        guest_release_harts();
    }
    if (hart >= cfg.harts) {
        return;
    }
    first = cfg.pages * hart / cfg.harts;
    end = cfg.pages * (hart + 1) / cfg.harts;
    for (uint64_t page = first; page < end; page++) {
        write_page(page, 0);
    }
    status[hart].populated = 1;
    if (hart == 0) {
        for (unsigned h = 0; h < cfg.harts; h++) {
            while (!status[h].populated) {
            }
        }
        report("ready");
    }
    walk_end = end;
    if (cfg.mode == MODE_HOT && cfg.hot_pages / cfg.harts < end - first) {
        walk_end = first + cfg.hot_pages / cfg.harts;
    }
    started = now = guest_time();
    next_report = now + cfg.report_ms * 1000 * TICKS_PER_US;

    uint64_t cold = walk_end, visited = 0;
    for (uint64_t gen = 0;; gen++) {
        for (uint64_t page = first; page < walk_end; page++) {
            check_page(page, cfg.mode == MODE_IDLE ? 0 : gen);
            if (cfg.mode == MODE_IDLE) {
                nap(hart);
            } else {
                write_page(page, gen + 1);
            }
            /* One page outside the hot set per 16 inside: what is never written must not change
             * either. */
            if (cold < end && (page & 15) == 0) {
                check_page(cold, 0);
                cold = cold + 1 < end ? cold + 1 : walk_end;
            }
            visited++;
            status[hart].pages = visited;
            do {
                now = tick(hart, now, &next_poll, &next_report);
            } while (cfg.pages_per_second &&
                     (now - started) / TICKS_PER_US * cfg.pages_per_second / cfg.harts <
                         visited * 1000000);
        }
        status[hart].pass = gen + 1;
        if (first == walk_end) {
            now = tick(hart, now, &next_poll, &next_report);
        }
    }
}
