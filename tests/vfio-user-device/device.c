/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers, interrupts, guest memory, and the work the device does by itself. */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include "device.h"

enum {
    REG_SIGNAL = 0x04,
    REG_SOURCE = 0x08,
    REG_DEST = 0x10,
    REG_LENGTH = 0x18,
    REG_COMMAND = 0x1C,
    REG_RESULT = 0x20,
    REG_DONE = 0x24,
    REG_RING = 0x40,
    REG_RING_PAGES = 0x48,
    REG_WRITTEN = 0x50,
    REG_HASH = 0x60,
};
enum { COMMAND_COPY = 1, COMMAND_RAISE, COMMAND_LOWER };

#define TICK_US          1000
#define RECORDS_PER_TICK 8

static const uint8_t config_head[] = {
    0xFE, 0xCA, 0x55, 0x4D, 0, 0, 0x10, 0, 1, 0, 0, 0xFF, /* ids, capabilities, class */
};
static const uint8_t config_capabilities[] = {
    0x11, 0x50, VECTORS - 1, 0,   4,   0,   0,   0,   4,
    8,    0,    0,                                  /* MSI-X: table and bits in BAR 4 */
    0,    0,    0,           0,   9,   0,   16,  0, /* ours, so that it is known by its
                                                       configuration */
    'V',  'F',  'I',         'O', '-', 'U', 'S', 'E', 'R',
    '-',  'T',  'S',
};

/* ---- registers ---- */

static uint32_t reg32(const Device *d, unsigned at)
{
    uint32_t value;

    memcpy(&value, d->regs + at, sizeof(value));
    return GUINT32_FROM_LE(value);
}

static uint64_t reg64(const Device *d, unsigned at)
{
    uint64_t value;

    memcpy(&value, d->regs + at, sizeof(value));
    return GUINT64_FROM_LE(value);
}

static void set_reg32(Device *d, unsigned at, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(d->regs + at, &value, sizeof(value));
}

static void set_reg64(Device *d, unsigned at, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(d->regs + at, &value, sizeof(value));
}

/* ---- interrupts ---- */

static void signal_fd(int fd)
{
    if (fd >= 0) {
        eventfd_write(fd, 1);
    }
}

static void update_pin(Device *d)
{
    if (d->pin && !d->masked) {
        d->masked = true; /* until the client unmasks it */
        signal_fd(d->intx);
    }
}

static void replace_fd(int *slot, int fd)
{
    if (*slot >= 0) {
        close(*slot);
    }
    *slot = fd;
}

static void drop_irqs(Device *d, unsigned index)
{
    if (index == VFIO_PCI_INTX_IRQ_INDEX) {
        replace_fd(&d->intx, -1);
    } else if (index == VFIO_PCI_MSIX_IRQ_INDEX) {
        for (unsigned v = 0; v < VECTORS; v++) {
            replace_fd(&d->msix[v], -1);
        }
    }
}

int device_set_irqs(Device *d, const VfioUserSetIrqs *set, int *fds, unsigned n_fds)
{
    bool msix = set->index == VFIO_PCI_MSIX_IRQ_INDEX;
    unsigned have = msix ? VECTORS : set->index == VFIO_PCI_INTX_IRQ_INDEX ? 1 : 0;

    if (set->flags & VFIO_IRQ_SET_ACTION_UNMASK) {
        d->masked = false;
        update_pin(d);
        return 0;
    }
    if (!set->count) {
        drop_irqs(d, set->index);
        return 0;
    }
    if (set->start > have || n_fds > have - set->start) {
        return EINVAL;
    }
    for (unsigned i = 0; i < n_fds; i++) {
        replace_fd(msix ? &d->msix[set->start + i] : &d->intx, fds[i]);
        fds[i] = -1;
    }
    return 0;
}

/* ---- guest memory ---- */

DmaMap *device_find_map(Device *d, uint64_t base, uint64_t size)
{
    for (unsigned i = 0; i < d->n_maps; i++) {
        DmaMap *m = &d->maps[i];

        if (base >= m->base && size <= m->size && base - m->base <= m->size - size) {
            return m;
        }
    }
    return NULL;
}

int device_map(Device *d, const VfioUserDmaMap *map, int fd)
{
    DmaMap m = {.base = map->address, .size = map->size};

    if (d->n_maps == MAX_MAPS) {
        return ENOSPC;
    }
    if (!m.size || m.size % PAGE || device_find_map(d, m.base, 1)) {
        return EINVAL;
    }
    if (fd >= 0) {
        m.host = mmap(NULL, m.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, map->offset);
        if (m.host == MAP_FAILED) {
            return errno;
        }
    }
    m.dirty = g_new0(uint64_t, m.size / PAGE / 64 + 1);
    d->maps[d->n_maps++] = m;
    return 0;
}

static void unmap(DmaMap *m)
{
    if (m->host) {
        munmap(m->host, m->size);
    }
    g_free(m->dirty);
}

int device_unmap(Device *d, const VfioUserDmaUnmap *range)
{
    DmaMap *m = device_find_map(d, range->address, range->size);

    if (!m || m->base != range->address || m->size != range->size) {
        return ENOENT;
    }
    unmap(m);
    *m = d->maps[--d->n_maps];
    return 0;
}

/* Guest memory from @addr on, that long, or NULL; if it is to be written, it becomes dirty. */
static void *reach(Device *d, uint64_t addr, uint64_t len, bool is_write)
{
    DmaMap *m = len ? device_find_map(d, addr, len) : NULL;
    uint64_t at;

    if (!m || !m->host) {
        return NULL;
    }
    at = addr - m->base;
    for (uint64_t p = at / PAGE; is_write && d->logging && p <= (at + len - 1) / PAGE; p++) {
        m->dirty[p / 64] |= UINT64_C(1) << p % 64;
    }
    return m->host + at;
}

static uint32_t copy(Device *d)
{
    uint32_t len = reg32(d, REG_LENGTH);
    void *from = reach(d, reg64(d, REG_SOURCE), len, false);
    void *to = reach(d, reg64(d, REG_DEST), len, true);

    if (!from || !to) {
        return EFAULT;
    }
    memmove(to, from, len);
    return 0;
}

/* ---- what the client does to it ---- */

static void register_written(Device *d, uint64_t at)
{
    uint32_t command;

    if (at == REG_SIGNAL && reg32(d, at) < VECTORS) {
        signal_fd(d->msix[reg32(d, at)]);
    }
    if (at != REG_COMMAND) {
        return;
    }
    command = reg32(d, REG_COMMAND);
    set_reg32(d, REG_RESULT, command == COMMAND_COPY ? copy(d) : 0);
    if (command == COMMAND_RAISE || command == COMMAND_LOWER) {
        d->pin = command == COMMAND_RAISE;
        update_pin(d);
    }
    set_reg32(d, REG_DONE, reg32(d, REG_DONE) + 1);
}

int device_region(Device *d, const VfioUserRegionAccess *a, void *data, bool is_write)
{
    bool config = a->region == VFIO_PCI_CONFIG_REGION_INDEX;
    uint8_t *space = config ? d->config : d->regs;
    uint64_t size = config ? CONFIG_SIZE : REGS_SIZE;

    if ((!config && a->region != VFIO_PCI_BAR0_REGION_INDEX) || a->offset > size ||
        a->count > size - a->offset) {
        return EINVAL;
    }
    if (!is_write) {
        if (!config && a->offset == REG_HASH) {
            set_reg64(d, REG_HASH, XXH3_64bits(d->bulk, d->opt->state_size));
        }
        memcpy(data, space + a->offset, a->count);
        return 0;
    }
    memcpy(space + a->offset, data, a->count);
    if (!config) {
        register_written(d, a->offset);
    }
    return 0;
}

void device_reset(Device *d)
{
    memset(d->regs, 0, sizeof(d->regs));
    d->pin = d->masked = false;
    if (d->state == VFIO_DEVICE_STATE_RESUMING) { /* half a state is none */
        d->state = VFIO_DEVICE_STATE_RUNNING;
    }
}

void device_disconnect(Device *d)
{
    while (d->n_maps) {
        unmap(&d->maps[--d->n_maps]);
    }
    drop_irqs(d, VFIO_PCI_INTX_IRQ_INDEX);
    drop_irqs(d, VFIO_PCI_MSIX_IRQ_INDEX);
    d->logging = false;
}

/* ---- what it does by itself ---- */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Record s is at page s modulo their number: s, and its complement. */
static void write_ring(Device *d)
{
    uint32_t pages = reg32(d, REG_RING_PAGES);

    for (unsigned i = 0; pages && i < RECORDS_PER_TICK; i++) {
        uint64_t seq = reg64(d, REG_WRITTEN), record[2] = {seq, ~seq};
        void *to = reach(d, reg64(d, REG_RING) + seq % pages * PAGE, sizeof(record), true);

        if (!to) {
            return;
        }
        memcpy(to, record, sizeof(record));
        set_reg64(d, REG_WRITTEN, seq + 1);
    }
}

static void change_blocks(Device *d, uint64_t n, uint64_t *seed)
{
    for (; n; n--) {
        uint64_t block = next_random(seed) % d->n_blocks;

        if (block != d->out.block || !device_is_saving(d->state)) {
            memcpy(d->bulk + block * BLOCK, seed, sizeof(*seed));
            outbox_touch(d, block);
        }
    }
}

gpointer device_work(gpointer device)
{
    Device *d = device;
    uint64_t seed = 88172645463325252, due = 0;
    int64_t last = g_get_monotonic_time();

    g_mutex_lock(&d->lock);
    while (!d->closing) {
        int64_t now = g_get_monotonic_time();

        if (device_runs(d)) {
            write_ring(d);
            /* Nothing is owed for the time it stood still. */
            due += d->opt->dirty_rate * MIN(now - last, 10 * TICK_US) / G_USEC_PER_SEC;
            change_blocks(d, due / BLOCK, &seed);
            due %= BLOCK;
        }
        last = now;
        g_mutex_unlock(&d->lock);
        g_usleep(TICK_US);
        g_mutex_lock(&d->lock);
    }
    g_mutex_unlock(&d->lock);
    return NULL;
}

void device_init(Device *d, const Options *opt)
{
    uint64_t seed = opt->seed;

    *d = (Device){.opt = opt, .state = VFIO_DEVICE_STATE_RUNNING, .intx = -1};
    g_mutex_init(&d->lock);
    memset(d->msix, -1, sizeof(d->msix));
    memcpy(d->config, config_head, sizeof(config_head));
    d->config[0x34] = 0x40;
    d->config[0x3D] = 1;
    memcpy(d->config + 0x40, config_capabilities, sizeof(config_capabilities));
    d->n_blocks = opt->state_size / BLOCK;
    d->out.block = NO_BLOCK;
    /* There before it is needed: loading is to be as fast as saving. */
    d->bulk = mmap(NULL, opt->state_size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (d->bulk == MAP_FAILED) {
        g_error("no memory for %" G_GUINT64_FORMAT " bytes of state", opt->state_size);
    }
    for (uint64_t i = 0; seed && i < opt->state_size; i += sizeof(seed)) {
        next_random(&seed);
        memcpy(d->bulk + i, &seed, sizeof(seed));
    }
}
