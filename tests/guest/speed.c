/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integer speed of a software CPU: each kernel runs a fixed amount of work and reports it with the
 * time it took by the time CSR and a checksum of its result, which must be the same on every
 * machine. Ends by powering off. "scale=N" on the command line multiplies the work (default 1,
 * about a second on a fast translator).
 */
#include "guest.h"

#define SIEVE_SIZE  (1u << 18)
#define SORT_COUNT  (1u << 15)
#define MATRIX_SIZE 64
#define CRC_SIZE    (1u << 16)
#define NODES       (1u << 14)

static uint8_t bytes[SIEVE_SIZE];
static uint32_t numbers[SORT_COUNT];
static uint64_t a[MATRIX_SIZE][MATRIX_SIZE], b[MATRIX_SIZE][MATRIX_SIZE],
    c[MATRIX_SIZE][MATRIX_SIZE];
static uint32_t crc_table[256];
static struct Node {
    struct Node *next;
    uint64_t value;
} nodes[NODES];
static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t sieve(void)
{
    uint64_t primes = 0;

    memset(bytes, 1, sizeof(bytes));
    for (uint32_t i = 2; i < SIEVE_SIZE; i++) {
        if (bytes[i]) {
            primes++;
            for (uint64_t j = (uint64_t)i * i; j < SIEVE_SIZE; j += i) {
                bytes[j] = 0;
            }
        }
    }
    return primes;
}

static uint64_t crc(void)
{
    uint32_t crc = ~0u;

    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;

        for (int k = 0; k < 8; k++) {
            v = v & 1 ? v >> 1 ^ 0xedb88320u : v >> 1;
        }
        crc_table[i] = v;
    }
    for (uint32_t i = 0; i < CRC_SIZE; i++) {
        bytes[i] = next_random();
    }
    for (int round = 0; round < 16; round++) {
        for (uint32_t i = 0; i < CRC_SIZE; i++) {
            crc = crc >> 8 ^ crc_table[(crc ^ bytes[i]) & 0xff];
        }
    }
    return crc;
}

static void quicksort(uint32_t *v, long lo, long hi)
{
    while (lo < hi) {
        uint32_t pivot = v[(lo + hi) / 2];
        long i = lo, j = hi;

        while (i <= j) {
            while (v[i] < pivot) {
                i++;
            }
            while (v[j] > pivot) {
                j--;
            }
            if (i <= j) {
                uint32_t t = v[i];

                v[i++] = v[j];
                v[j--] = t;
            }
        }
        quicksort(v, lo, j);
        lo = i;
    }
}

static uint64_t sort(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < SORT_COUNT; i++) {
        numbers[i] = next_random();
    }
    quicksort(numbers, 0, SORT_COUNT - 1);
    for (uint32_t i = 0; i < SORT_COUNT; i++) {
        sum = sum * 31 + numbers[i];
    }
    return sum;
}

static uint64_t matrix(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < MATRIX_SIZE; i++) {
        for (int j = 0; j < MATRIX_SIZE; j++) {
            a[i][j] = next_random();
            b[i][j] = next_random();
        }
    }
    for (int i = 0; i < MATRIX_SIZE; i++) {
        for (int j = 0; j < MATRIX_SIZE; j++) {
            uint64_t s = 0;

            for (int k = 0; k < MATRIX_SIZE; k++) {
                s += a[i][k] * b[k][j];
            }
            c[i][j] = s;
            sum ^= s;
        }
    }
    return sum;
}

static uint64_t chase(void)
{
    struct Node *n = nodes;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < NODES; i++) {
        nodes[i].next = &nodes[(i * 7919 + 1) % NODES];
        nodes[i].value = next_random();
    }
    for (uint32_t i = 0; i < 32 * NODES; i++) {
        sum += n->value ^ i;
        n = n->next;
    }
    return sum;
}

static uint64_t fibonacci(unsigned n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static uint64_t calls(void)
{
    return fibonacci(24);
}

static const struct {
    const char *name;
    uint64_t (*run)(void);
    unsigned rounds;
} kernels[] = {
    {"sieve", sieve, 30},   {"crc", crc, 30},     {"sort", sort, 20},
    {"matrix", matrix, 60}, {"chase", chase, 60}, {"calls", calls, 60},
};

void guest_main(unsigned long hart, const void *fdt)
{
    uint64_t scale, begin, total = 0;

    if (hart) {
        return;
    }
    scale = arg_u64(fdt_bootargs(fdt), "scale", 1);
    for (unsigned k = 0; k < sizeof(kernels) / sizeof(kernels[0]); k++) {
        uint64_t sum = 0, rounds = kernels[k].rounds * scale, us;

        random_state = 88172645463325252ul;
        begin = guest_time();
        for (uint64_t r = 0; r < rounds; r++) {
            sum += kernels[k].run();
        }
        us = (guest_time() - begin) / TICKS_PER_US;
        total += us;
        guest_printf("godwit-speed: %s work=%u us=%u sum=%x\n", kernels[k].name, rounds, us, sum);
    }
    guest_printf("godwit-speed: total us=%u\n", total);
    guest_power_off();
}
