/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPU threads: atomics between harts, waking, pausing, throttling, and the dirty log's write
 * barrier under fire. */
#include <time.h>
#include "asm.h"
#include "harness.h"
#include "memory/dirty-log.h"
#include "memory/dirty-meter.h"
#include "util/lock.h"

#define DATA (HARNESS_RAM + 0x10000)

#define CSR_MIE   0x304
#define CSR_MTVEC 0x305

/* t0 = DATA; 0x80010000 would be sign-extended by lui alone. */
#define LOAD_DATA_BASE LUI(t0, 0x80010), SLLI(t0, t0, 32), I_TYPE(32, t0, 5, t0, 0x13)

/* Both harts run the loop @count times; the last word of @body jumps back. Hart 0 waits for hart 1,
 * then finishes. */
static void run_on_two_harts(const uint32_t *body, unsigned n, unsigned count, Harness *h)
{
    uint32_t code[64];
    unsigned i = 0;

    code[i++] = LUI(t0, 0x80010);
    code[i++] = SLLI(t0, t0, 32);
    code[i++] = I_TYPE(32, t0, 5, t0, 0x13);
    code[i++] = LUI(s0, count >> 12);
    code[i++] = ADDI(s1, zero, 1);
    unsigned loop = i;
    for (unsigned k = 0; k < n; k++) {
        code[i++] = body[k];
    }
    code[i++] = ADDI(s0, s0, -1);
    code[i] = BNE(s0, zero, ((int)loop - (int)i) * 4);
    i++;
    /* Count finished harts at DATA + 64. */
    code[i++] = ADDI(t1, t0, 64);
    code[i++] = AMO(0, s1, t1, 8, zero);
    code[i++] = BNE(a0, zero, 24); /* hart 1: park */
    code[i++] = ADDI(a2, zero, 2);
    code[i++] = LD(a1, t1, 0);
    code[i++] = BNE(a1, a2, -4);
    code[i++] = LUI(t2, 0x100);
    code[i++] = SW(a2, t2, 0);
    code[i++] = JAL(zero, 0);
    harness_code(h, HARNESS_RAM, code, i);
    harness_run(h);
}

#define COUNT (100u << 12)

static void test_lr_sc(void)
{
    static const uint32_t body[] = {
        LR_D(a1, t0),
        ADDI(a1, a1, 1),
        SC_D(a2, a1, t0),
        BNE(a2, zero, -12),
        /* and a word, with other code between */
        ADDI(t1, t0, 8),
        LR_W(a1, t1),
        ADDI(a3, a1, 3),
        SC_W(a2, a3, t1),
        BNE(a2, zero, -12),
    };
    Harness *h = harness_new(1 * MiB, 2);
    uint64_t *data = harness_ptr(h, DATA);

    run_on_two_harts(body, ARRAY_SIZE(body), COUNT, h);
    g_assert_cmpuint(data[0], ==, 2 * COUNT);
    g_assert_cmpuint(data[1], ==, 6 * COUNT);
    harness_free(h);
}

static void test_amo(void)
{
    static const uint32_t body[] = {
        AMO(0x00, s1, t0, 8, zero),                /* amoadd.d */
        ADDI(t1, t0, 8), AMO(0x00, s1, t1, 4, a3), /* amoadd.w */
        /* Spin lock at +16 by amoswap; the counter at +24 is touched by plain accesses inside it.
         */
        ADDI(t1, t0, 16), AMO(0x01, s1, t1, 4, a2), BNE(a2, zero, -4), LD(a3, t0, 24),
        ADDI(a3, a3, 1), SD(a3, t0, 24), FENCE, AMO(0x01, zero, t1, 4, zero),
        /* Maximum of all values seen. */
        ADDI(t1, t0, 32), AMO(0x1c, a3, t1, 8, zero), /* amomaxu.d */
    };
    Harness *h = harness_new(1 * MiB, 2);
    uint64_t *data = harness_ptr(h, DATA);

    run_on_two_harts(body, ARRAY_SIZE(body), COUNT, h);
    g_assert_cmpuint(data[0], ==, 2 * COUNT);
    g_assert_cmpuint(data[1], ==, 2 * COUNT);
    g_assert_cmpuint(data[2], ==, 0);
    g_assert_cmpuint(data[3], ==, 2 * COUNT);
    g_assert_cmpuint(data[4], ==, 2 * COUNT);
    harness_free(h);
}

static void note_halted(RISCVCPU *cpu, void *opaque)
{
    *(uint32_t *)opaque = cpu->env.halted;
}

/* Finish n times, each time after a WFI that a software interrupt ends. */
static void test_wfi(void)
{
    static const uint32_t code[] = {
        LOAD_DATA_BASE,
        ADDI(a1, zero, 8),
        CSRRW(zero, CSR_MIE, a1), /* MSIE; mstatus.MIE stays off, so WFI just returns */
        ADDI(a3, zero, 0),
        LUI(t1, 0x100),
        /* loop: */
        SD(a3, t0, 0),
        WFI,
        ADDI(a3, a3, 1),
        SW(a3, t1, 0),
        LD(a4, t0, 8), /* wait until the interrupt is taken back */
        BNE(a4, a3, -4),
        JAL(zero, -24),
    };
    Harness *h = harness_new(1 * MiB, 1);
    uint64_t *data = harness_ptr(h, DATA);
    RISCVCPU *cpu = harness_cpu(h, 0);
    uint32_t halted;

    harness_code(h, HARNESS_RAM, code, ARRAY_SIZE(code));
    h->accel->ops->resume_all(h->accel);
    bql_unlock();
    for (uint64_t n = 1; n <= 2000; n++) {
        if (n % 3 == 0) {
            g_usleep(50); /* sometimes it sleeps already, sometimes not */
        }
        riscv_cpu_set_irq(cpu, 3, true);
        while (__atomic_load_n(&h->finished, __ATOMIC_SEQ_CST) != n) {
            g_thread_yield();
        }
        riscv_cpu_set_irq(cpu, 3, false);
        __atomic_store_n(&data[1], n, __ATOMIC_SEQ_CST);
    }
    bql_lock();
    /* With the interrupt gone it goes to sleep in the end, and sleeping harts stop like any other.
     */
    do {
        accel_run_on_vcpu(h->accel, 0, note_halted, &halted);
    } while (!halted);
    h->accel->ops->pause_all(h->accel);
    g_assert_cmpuint(cpu->env.halted, ==, 1);
    harness_free(h);
}

/* An interrupt gets into the tightest loop there is. */
static void test_interrupt(void)
{
    static const uint32_t code[] = {
        AUIPC(t1, 0),
        ADDI(t1, t1, 32),
        CSRRW(zero, CSR_MTVEC, t1),
        ADDI(a1, zero, 8),
        CSRRW(zero, CSR_MIE, a1),
        CSRRSI(zero, 0x300, 8), /* mstatus.MIE */
        JAL(zero, 0),
        0xffffffff,
        CSRRS(a2, 0x342, zero), /* handler */
        CSRRS(a3, 0x341, zero),
        FINISH(t1, a1),
        JAL(zero, 0),
    };
    Harness *h = harness_new(1 * MiB, 1);
    const uint64_t *gpr = harness_cpu(h, 0)->env.gpr;

    harness_code(h, HARNESS_RAM, code, ARRAY_SIZE(code));
    h->accel->ops->resume_all(h->accel);
    g_usleep(1000);
    riscv_cpu_set_irq(harness_cpu(h, 0), 3, true);
    g_assert_cmpuint(harness_run(h), ==, 8);
    g_assert_cmphex(gpr[a2], ==, UINT64_C(1) << 63 | 3);
    g_assert_cmphex(gpr[a3], ==, HARNESS_RAM + 24);
    harness_free(h);
}

/* for (;;) data[0]++ on each hart, hart i at DATA + 8 i */
static const uint32_t counting[] = {
    LOAD_DATA_BASE, SLLI(a1, a0, 3), ADD(t0, t0, a1), ADDI(a2, a2, 1), SD(a2, t0, 0), JAL(zero, -8),
};

static void test_pause_resume(void)
{
    Harness *h = harness_new(1 * MiB, 2);
    uint64_t *data = harness_ptr(h, DATA);

    harness_code(h, HARNESS_RAM, counting, ARRAY_SIZE(counting));
    for (unsigned round = 0; round < 300; round++) {
        uint64_t seen[2];

        h->accel->ops->resume_all(h->accel);
        if (round % 4 == 0) {
            seen[0] = __atomic_load_n(&data[0], __ATOMIC_RELAXED);
            seen[1] = __atomic_load_n(&data[1], __ATOMIC_RELAXED);
            while (__atomic_load_n(&data[0], __ATOMIC_RELAXED) == seen[0] ||
                   __atomic_load_n(&data[1], __ATOMIC_RELAXED) == seen[1]) {
                g_thread_yield();
            }
        }
        h->accel->ops->pause_all(h->accel);
        seen[0] = data[0];
        seen[1] = data[1];
        g_thread_yield();
        g_assert_cmpuint(data[0], ==, seen[0]);
        g_assert_cmpuint(data[1], ==, seen[1]);
        /* The state is the architecture's: registers match what was stored, at most one store
         * behind. */
        g_assert_cmpuint(harness_cpu(h, 0)->env.gpr[a2] - data[0], <=, 1);
    }
    harness_free(h);
}

typedef struct {
    RISCVCPU *cpu;
    int tid;
} Seen;

static void note_thread(RISCVCPU *cpu, void *opaque)
{
    Seen *s = opaque;

    s->cpu = cpu;
    s->tid = gettid();
}

static void test_run_on_vcpu(void)
{
    Harness *h = harness_new(1 * MiB, 2);
    Seen s = {0};

    harness_code(h, HARNESS_RAM, counting, ARRAY_SIZE(counting));
    for (unsigned running = 0; running < 2; running++) {
        for (unsigned i = 0; i < 2; i++) {
            accel_run_on_vcpu(h->accel, i, note_thread, &s);
            g_assert_true(s.cpu == harness_cpu(h, i));
            g_assert_cmpint(s.tid, ==, accel_vcpu_thread_id(h->accel, i));
            g_assert_cmpint(s.tid, !=, gettid());
        }
        h->accel->ops->resume_all(h->accel);
    }
    h->accel->ops->pause_all(h->accel);
    harness_free(h);
}

/* CPU time of thread @tid, ns; the kernel's encoding of a per-thread clock. */
static int64_t thread_cpu_ns(int tid)
{
    struct timespec ts;

    g_assert_cmpint(clock_gettime((clockid_t)(~(unsigned)tid << 3 | 6), &ts), ==, 0);
    return ts.tv_sec * NANOSECONDS_PER_SECOND + ts.tv_nsec;
}

static void test_throttle(void)
{
    Harness *h = harness_new(1 * MiB, 1);
    uint64_t *data = harness_ptr(h, DATA);
    int64_t wall, cpu_ns;
    uint64_t seen;
    int tid = accel_vcpu_thread_id(h->accel, 0);

    harness_code(h, HARNESS_RAM, counting, ARRAY_SIZE(counting));
    h->accel->ops->set_throttle(h->accel, 90);
    h->accel->ops->resume_all(h->accel);
    g_usleep(20000);
    cpu_ns = thread_cpu_ns(tid);
    wall = g_get_monotonic_time();
    g_usleep(400000);
    cpu_ns = thread_cpu_ns(tid) - cpu_ns;
    wall = g_get_monotonic_time() - wall;
    /* A busy host can only make it less. */
    g_assert_cmpint(cpu_ns / 1000, <, wall / 2);
    seen = __atomic_load_n(&data[0], __ATOMIC_RELAXED);
    h->accel->ops->set_throttle(h->accel, 0);
    while (__atomic_load_n(&data[0], __ATOMIC_RELAXED) == seen) {
        g_thread_yield();
    }
    h->accel->ops->pause_all(h->accel);
    harness_free(h);
}

/*
 * Write a running number to one word in each page of a slice per hart, in an order that jumps
 * about, for ever; every 256 stores a byte to the serial port, so that the vCPU keeps meeting the
 * big lock.
 */
static const uint32_t writing[] = {
    LOAD_DATA_BASE,
    SLLI(a1, a0, 19), /* 128 pages each */
    ADD(t0, t0, a1),
    LUI(t2, 0x10000),
    ADDI(a4, zero, 0x7f),
    /* loop: a3 = next page */
    ADDI(a3, a3, 53),
    R_TYPE(0, a4, a3, 7, a5, 0x33), /* and a5, a3, a4 */
    SLLI(a5, a5, 12),
    ADD(a5, a5, t0),
    ADDI(a2, a2, 1),
    SD(a2, a5, 8),
    SW(a2, a5, 0x7fd), /* misaligned: the slow path too */
    AMO(0, a2, a5, 8, zero),
    I_TYPE(0xff, a2, 7, a6, 0x13),
    BNE(a6, zero, -36),
    SB(zero, t2, 0),
    JAL(zero, -44),
};

typedef struct {
    Harness *h;
    unsigned long *dirty;
    uint8_t *shadow;
} Shadow;

/* As migration does: collect, barrier, then read the pages that were written. */
static void sync_and_copy(Shadow *s)
{
    RAMBlock *ram = s->h->ram;
    uint64_t pages = ram_block_pages(ram);

    dirty_log_sync_block(ram, DIRTY_CLIENT_MIGRATION, s->dirty);
    dirty_log_barrier(s->h->ram_list);
    for (uint64_t p = find_next_bit(s->dirty, pages, 0); p < pages;
         p = find_next_bit(s->dirty, pages, p + 1)) {
        const uint64_t *from = (const uint64_t *)(ram->host + p * TARGET_PAGE_SIZE);
        uint64_t *to = (uint64_t *)(s->shadow + p * TARGET_PAGE_SIZE);

        clear_bit(p, s->dirty);
        for (unsigned i = 0; i < TARGET_PAGE_SIZE / 8; i++) {
            to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
        }
    }
}

/* Let the guest write pages for @ms, which are called in again and again; how many it made dirty.
 * *most: as many as a limit of 1000 a second can have let pass, however long it really was. */
static uint64_t pages_dirtied(Harness *h, unsigned long *scratch, int ms, uint64_t *most)
{
    DirtyMeter *meter = dirty_meter_at(h->ram_list, 0);
    int64_t begin = g_get_monotonic_time(), end = begin + ms * 1000;
    uint64_t before = dirty_meter_pages(meter), pages;

    do {
        dirty_log_sync_block(h->ram, DIRTY_CLIENT_MIGRATION, scratch);
        dirty_log_barrier(h->ram_list);
        g_usleep(1000);
    } while (g_get_monotonic_time() < end);
    pages = dirty_meter_pages(meter) - before;
    /* Slices of 10 ms with 10 pages, and what a block writes after the last of them. */
    *most = 2 * ((g_get_monotonic_time() - begin) / 1000 + 20);
    return pages;
}

/* A vCPU that may make 1000 pages dirty a second does so, whatever it writes, and is free again
 * afterwards. */
static void test_dirty_limit(void)
{
    Harness *h = harness_new(2 * MiB, 1);
    g_autofree unsigned long *scratch = bitmap_new(ram_block_pages(h->ram));
    GError *err = NULL;
    uint64_t pages = 0, most;

    harness_code(h, HARNESS_RAM, writing, ARRAY_SIZE(writing));
    g_assert_cmpuint(dirty_meter_count(h->ram_list), ==, 1);
    g_assert_true(dirty_log_start(h->ram_list, DIRTY_CLIENT_MIGRATION, &err));
    dirty_meter_set_limit(dirty_meter_at(h->ram_list, 0), 1000);
    h->accel->ops->resume_all(h->accel);
    bql_unlock();    /* the guest uses its serial port */
    while (!pages) { /* it may take a while until the hart has its turn */
        pages = pages_dirtied(h, scratch, 400, &most);
        g_assert_cmpuint(pages, <=, most);
    }
    dirty_meter_set_limit(dirty_meter_at(h->ram_list, 0), 0);
    /* All 128 in no time, as soon as it gets some. */
    while (pages_dirtied(h, scratch, 1, &most) <= most) {
    }
    bql_lock();
    h->accel->ops->pause_all(h->accel);
    dirty_log_stop(h->ram_list, DIRTY_CLIENT_MIGRATION);
    harness_free(h);
}

/* Both harts, paused, are past a few visits to the serial port. */
static bool both_wrote(Harness *h)
{
    return harness_cpu(h, 0)->env.gpr[a2] > 1000 && harness_cpu(h, 1)->env.gpr[a2] > 1000;
}

static void test_write_barrier(void)
{
    Harness *h = harness_new(2 * MiB, 2);
    Shadow s = {h, bitmap_new(ram_block_pages(h->ram)), g_malloc0(2 * MiB)};
    GError *err = NULL;

    harness_code(h, HARNESS_RAM, writing, ARRAY_SIZE(writing));
    h->accel->ops->resume_all(h->accel);
    g_assert_true(dirty_log_start(h->ram_list, DIRTY_CLIENT_MIGRATION, &err));
    g_assert_no_error(err);
    memcpy(s.shadow, h->ram->host, 0x10000); /* the program; nobody writes it */
    bitmap_set(s.dirty, 0, ram_block_pages(h->ram));
    /* On a busy host a hundred rounds may be over before a hart has had its turn. */
    for (unsigned round = 0; round < 100 || !both_wrote(h); round++) {
        if (round > 0) {
            h->accel->ops->resume_all(h->accel);
        }
        for (unsigned i = 0; i < 20; i++) {
            /* With and without the big lock: a vCPU may be waiting for it on its way to the serial
             * port. */
            if (i & 1) {
                bql_unlock();
            }
            sync_and_copy(&s);
            if (i & 1) {
                bql_lock();
            }
        }
        h->accel->ops->pause_all(h->accel);
        sync_and_copy(&s);
        g_assert_cmpmem(s.shadow, 2 * MiB, h->ram->host, 2 * MiB);
    }
    dirty_log_stop(h->ram_list, DIRTY_CLIENT_MIGRATION);
    g_free(s.dirty);
    g_free(s.shadow);
    harness_free(h);
}

/* Let vCPUs that wait for the big lock go on. */
static void breathe(void)
{
    bql_unlock();
    g_usleep(100);
    bql_lock();
}

/* The memory map changes under running harts that keep using one of the regions, and a device. */
static void test_map_change(void)
{
    Harness *h = harness_new(2 * MiB, 2);
    GError *err = NULL;
    RAMBlock *extra = ram_block_new_anon(h->ram_list, "extra", 0x10000, 0, &err);
    MemoryRegion over;

    g_assert_no_error(err);
    memory_region_init_ram(&over, "over", extra);
    harness_code(h, HARNESS_RAM, writing, ARRAY_SIZE(writing));
    h->accel->ops->resume_all(h->accel);
    for (unsigned round = 0; round < 200; round++) {
        const uint64_t *hidden = harness_ptr(h, DATA), *shown = (const uint64_t *)extra->host;
        uint64_t before;

        address_space_add(h->as, &over, DATA, 1);
        before = __atomic_load_n(&hidden[1], __ATOMIC_RELAXED);
        breathe();
        g_assert_cmpuint(__atomic_load_n(&hidden[1], __ATOMIC_RELAXED), ==, before);
        address_space_del(h->as, &over);
        before = __atomic_load_n(&shown[1], __ATOMIC_RELAXED);
        breathe();
        g_assert_cmpuint(__atomic_load_n(&shown[1], __ATOMIC_RELAXED), ==, before);
    }
    h->accel->ops->pause_all(h->accel);
    ram_block_free(extra);
    harness_free(h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/accel/vcpu/lr-sc", test_lr_sc);
    g_test_add_func("/accel/vcpu/amo", test_amo);
    g_test_add_func("/accel/vcpu/wfi", test_wfi);
    g_test_add_func("/accel/vcpu/interrupt", test_interrupt);
    g_test_add_func("/accel/vcpu/pause-resume", test_pause_resume);
    g_test_add_func("/accel/vcpu/run-on-vcpu", test_run_on_vcpu);
    g_test_add_func("/accel/vcpu/throttle", test_throttle);
    g_test_add_func("/accel/vcpu/dirty-limit", test_dirty_limit);
    g_test_add_func("/accel/vcpu/write-barrier", test_write_barrier);
    g_test_add_func("/accel/vcpu/map-change", test_map_change);
    return g_test_run();
}
