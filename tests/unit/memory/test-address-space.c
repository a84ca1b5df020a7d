/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory/address-space.h"
#include "memory/dirty-log.h"
#include "util/lock.h"

typedef struct {
    uint64_t last_value;
    hwaddr last_addr;
    unsigned last_size, reads, writes;
    bool unlocked; /* a callback ran without the big lock */
} FakeDevice;

static MemTxResult fake_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    FakeDevice *d = opaque;

    d->unlocked |= !bql_locked();
    d->reads++;
    d->last_addr = addr;
    d->last_size = size;
    *value = UINT64_C(0x8877665544332211) >> (8 * (addr & 7));
    if (size < 8) {
        *value &= (UINT64_C(1) << (8 * size)) - 1;
    }
    return addr == 0x40 ? MEMTX_ERROR : MEMTX_OK;
}

static MemTxResult fake_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    FakeDevice *d = opaque;

    d->unlocked |= !bql_locked();
    d->writes++;
    d->last_addr = addr;
    d->last_size = size;
    d->last_value = value;
    return MEMTX_OK;
}

static const MemoryRegionOps any_ops = {fake_read, fake_write, .sizes = 15};
static const MemoryRegionOps word_ops = {fake_read, fake_write, .sizes = 4};
static const MemoryRegionOps split_ops = {fake_read, fake_write, .sizes = 4, .split = true};
static const MemoryRegionOps be_ops = {fake_read, fake_write, .sizes = 15, .big_endian = true};

typedef struct {
    RAMList *list;
    AddressSpace *as;
    RAMBlock *ram, *rom, *flash;
    MemoryRegion ram_mr, rom_mr, flash_mr;
} Fixture;

static void set_up(Fixture *fx, gconstpointer data)
{
    fx->list = ram_list_new();
    fx->as = address_space_new(fx->list);
    fx->ram = ram_block_new_anon(fx->list, "ram", 1 * MiB, 0, NULL);
    fx->rom = ram_block_new_anon(fx->list, "rom", 64 * KiB, RAM_READONLY, NULL);
    fx->flash = ram_block_new_anon(fx->list, "flash", 128 * KiB, 0, NULL);
    memory_region_init_ram(&fx->ram_mr, "ram", fx->ram);
    memory_region_init_rom(&fx->rom_mr, "rom", fx->rom);
    bql_lock();
    address_space_add(fx->as, &fx->ram_mr, 0x80000000, 0);
    address_space_add(fx->as, &fx->rom_mr, 0x1000, 0);
    bql_unlock();
}

static void tear_down(Fixture *fx, gconstpointer data)
{
    address_space_free(fx->as);
    ram_block_free(fx->ram);
    ram_block_free(fx->rom);
    ram_block_free(fx->flash);
    ram_list_free(fx->list);
}

static void test_ram_rom(Fixture *fx, gconstpointer data)
{
    uint8_t buf[16] = "0123456789abcde";
    uint64_t v, len = 1 * GiB;
    uint8_t *p;

    g_assert_cmpuint(fx->ram->gpa, ==, 0x80000000);
    g_assert_cmpint(address_space_store(fx->as, 0x80000011, 4, 0x11223344), ==, MEMTX_OK);
    g_assert_cmpint(address_space_load(fx->as, 0x80000010, 8, &v), ==, MEMTX_OK);
    g_assert_cmphex(v, ==, UINT64_C(0x1122334400));
    g_assert_cmpint(address_space_load(fx->as, 0x80000012, 1, &v), ==, MEMTX_OK);
    g_assert_cmphex(v, ==, 0x33);
    g_assert_cmpint(address_space_load(fx->as, 0x7fffffff, 1, &v), ==, MEMTX_DECODE_ERROR);
    g_assert_cmpint(address_space_store(fx->as, 0x80100000, 1, 0), ==, MEMTX_DECODE_ERROR);
    /* Across the end of RAM. */
    g_assert_cmpint(address_space_load(fx->as, 0x800ffffc, 8, &v), ==, MEMTX_DECODE_ERROR);

    g_assert_cmpint(address_space_store(fx->as, 0x1000, 8, 5), ==, MEMTX_OK);
    g_assert_cmpuint(fx->rom->host[0], ==, 0);
    g_assert_cmpint(address_space_write(fx->as, 0x1000, buf, 16), ==, MEMTX_OK);
    g_assert_cmpuint(fx->rom->host[0], ==, 0);
    g_assert_cmpint(address_space_write_rom(fx->as, 0x1000, buf, 16), ==, MEMTX_OK);
    g_assert_cmpmem(fx->rom->host, 16, buf, 16);
    g_assert_cmpint(address_space_read(fx->as, 0x1000, buf, 8), ==, MEMTX_OK);

    p = address_space_map(fx->as, 0x80080000, &len, true);
    g_assert_true(p == fx->ram->host + 0x80000);
    g_assert_cmpuint(len, ==, 0x80000);
    g_assert_null(address_space_map(fx->as, 0x1000, &len, true));
    g_assert_nonnull(address_space_map(fx->as, 0x1000, &len, false));
    g_assert_null(address_space_map(fx->as, 0x5000000, &len, false));
}

static void test_marks_dirty(Fixture *fx, gconstpointer data)
{
    g_autofree unsigned long *map = bitmap_new(256);
    uint8_t buf[3 * 4096] = {1};
    uint64_t len = 4096;

    g_assert_true(dirty_log_start(fx->list, DIRTY_CLIENT_MIGRATION, NULL));
    address_space_store(fx->as, 0x80001000, 1, 1);
    address_space_store(fx->as, 0x80003ffe, 4, 1);             /* pages 3 and 4 */
    address_space_write(fx->as, 0x80010800, buf, sizeof(buf)); /* 0x10 to 0x13 */
    address_space_unmap(fx->as, address_space_map(fx->as, 0x80020000, &len, true), 1, true);
    address_space_unmap(fx->as, address_space_map(fx->as, 0x80030000, &len, false), 1, false);
    g_assert_cmpuint(dirty_log_sync_block(fx->ram, DIRTY_CLIENT_MIGRATION, map), ==, 8);
    g_assert_true(test_bit(1, map) && test_bit(3, map) && test_bit(4, map) && test_bit(0x20, map));
    g_assert_cmpuint(bitmap_count(map, 0x10, 4), ==, 4);
    address_space_write_rom(fx->as, 0x1000, buf, 4);
    bitmap_clear(map, 0, 256);
    g_assert_cmpuint(dirty_log_sync_block(fx->rom, DIRTY_CLIENT_MIGRATION, map), ==, 1);
    dirty_log_stop(fx->list, DIRTY_CLIENT_MIGRATION);
}

static void test_devices(Fixture *fx, gconstpointer data)
{
    FakeDevice d = {0};
    MemoryRegion any, word, split, be;
    uint8_t buf[24];
    uint64_t v;

    memory_region_init_io(&any, "any", 0x100, &any_ops, &d);
    memory_region_init_io(&word, "word", 0x100, &word_ops, &d);
    memory_region_init_io(&split, "split", 0x100, &split_ops, &d);
    memory_region_init_io(&be, "be", 0x100, &be_ops, &d);
    bql_lock();
    address_space_add(fx->as, &any, 0x10000000, 0);
    address_space_add(fx->as, &word, 0x10000100, 0);
    address_space_add(fx->as, &split, 0x10000200, 0);
    address_space_add(fx->as, &be, 0x10000300, 0);
    /* The caller may hold the big lock or not. */
    g_assert_cmpint(address_space_load(fx->as, 0x10000000, 8, &v), ==, MEMTX_OK);
    bql_unlock();
    g_assert_cmphex(v, ==, UINT64_C(0x8877665544332211));
    g_assert_cmpint(address_space_load(fx->as, 0x10000004, 2, &v), ==, MEMTX_OK);
    g_assert_cmphex(v, ==, 0x6655);
    g_assert_cmpuint(d.last_addr, ==, 4);
    g_assert_false(bql_locked());
    g_assert_false(d.unlocked);
    g_assert_cmpint(address_space_load(fx->as, 0x10000040, 4, &v), ==, MEMTX_ERROR);
    g_assert_cmpint(address_space_load(fx->as, 0x10000001, 2, &v), ==, MEMTX_DECODE_ERROR);
    g_assert_cmpint(address_space_load(fx->as, 0x10000100, 8, &v), ==, MEMTX_DECODE_ERROR);
    g_assert_cmpint(address_space_store(fx->as, 0x10000101, 1, 0), ==, MEMTX_DECODE_ERROR);

    d.reads = d.writes = 0;
    g_assert_cmpint(address_space_load(fx->as, 0x10000200, 8, &v), ==, MEMTX_OK);
    g_assert_cmphex(v, ==, UINT64_C(0x8877665544332211));
    g_assert_cmpuint(d.reads, ==, 2);
    g_assert_cmpint(address_space_store(fx->as, 0x10000208, 8, UINT64_C(0xaabbccdd00112233)), ==,
                    MEMTX_OK);
    g_assert_cmpuint(d.writes, ==, 2);
    g_assert_cmphex(d.last_value, ==, 0xaabbccdd);
    g_assert_cmphex(d.last_addr, ==, 0xc);

    g_assert_cmpint(address_space_store(fx->as, 0x10000300, 4, 0x11223344), ==, MEMTX_OK);
    g_assert_cmphex(d.last_value, ==, 0x44332211);
    g_assert_cmpint(address_space_load(fx->as, 0x10000300, 2, &v), ==, MEMTX_OK);
    g_assert_cmphex(v, ==, 0x1122);

    /* A long read uses accesses the device takes. */
    d.reads = 0;
    g_assert_cmpint(address_space_read(fx->as, 0x10000100, buf, 24), ==, MEMTX_OK);
    g_assert_cmpuint(d.reads, ==, 6);
    g_assert_cmpuint(d.last_size, ==, 4);
    g_assert_cmpuint(buf[0], ==, 0x11);
    g_assert_cmpuint(buf[23], ==, 0x88);
    g_assert_false(d.unlocked);
}

static void test_romd(Fixture *fx, gconstpointer data)
{
    FakeDevice d = {0};
    uint64_t v;

    fx->flash->host[0] = 0x5a;
    memory_region_init_romd(&fx->flash_mr, "flash", fx->flash, &any_ops, &d);
    bql_lock();
    address_space_add(fx->as, &fx->flash_mr, 0x20000000, 0);
    g_assert_cmpint(address_space_load(fx->as, 0x20000000, 1, &v), ==, MEMTX_OK);
    g_assert_cmphex(v, ==, 0x5a);
    g_assert_cmpuint(d.reads, ==, 0);
    g_assert_cmpint(address_space_store(fx->as, 0x20000000, 1, 0x90), ==, MEMTX_OK);
    g_assert_cmpuint(d.writes, ==, 1);
    g_assert_cmphex(fx->flash->host[0], ==, 0x5a);
    memory_region_set_romd(&fx->flash_mr, false);
    g_assert_cmpint(address_space_load(fx->as, 0x20000000, 1, &v), ==, MEMTX_OK);
    g_assert_cmphex(v, ==, 0x11);
    memory_region_set_romd(&fx->flash_mr, true);
    g_assert_cmpint(address_space_load(fx->as, 0x20000000, 1, &v), ==, MEMTX_OK);
    g_assert_cmphex(v, ==, 0x5a);
    bql_unlock();
}

/* ---- the flat view against a page-by-page model ---- */

typedef struct {
    MemoryListener l;
    const char *owner[64]; /* by page */
    unsigned commits;
} Mirror;

static void mirror_set(Mirror *m, hwaddr addr, uint64_t len, const char *from, const char *to)
{
    for (hwaddr p = addr >> 12; p < (addr + len) >> 12; p++) {
        g_assert_true(m->owner[p] == from);
        m->owner[p] = to;
    }
}

static void mirror_add(MemoryListener *l, MemoryRegion *mr, hwaddr addr, uint64_t len, hwaddr off)
{
    g_assert_cmphex(addr - mr->addr, ==, off);
    mirror_set((Mirror *)l, addr, len, NULL, mr->name);
}

static void mirror_del(MemoryListener *l, MemoryRegion *mr, hwaddr addr, uint64_t len, hwaddr off)
{
    mirror_set((Mirror *)l, addr, len, mr->name, NULL);
}

static void mirror_commit(MemoryListener *l)
{
    ((Mirror *)l)->commits++;
}

static void test_flat_view_model(Fixture *fx, gconstpointer data)
{
    AddressSpace *as = address_space_new(fx->list);
    static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    MemoryRegion mr[8] = {0};
    unsigned added_at[8] = {0}, clock = 0;
    Mirror m = {.l = {mirror_add, mirror_del, mirror_commit}};
    GRand *rng = g_rand_new_with_seed(42);

    bql_lock();
    memory_listener_register(as, &m.l);
    for (int step = 0; step < 3000; step++) {
        unsigned i = g_rand_int_range(rng, 0, 8);

        if (mr[i].as) {
            address_space_del(as, &mr[i]);
        } else {
            unsigned start = g_rand_int_range(rng, 0, 63);

            memory_region_init_io(&mr[i], names[i],
                                  (uint64_t)g_rand_int_range(rng, 1, 65 - start) << 12, &any_ops,
                                  NULL);
            address_space_add(as, &mr[i], (hwaddr)start << 12, g_rand_int_range(rng, -1, 2));
            added_at[i] = ++clock;
        }
        g_assert_cmpuint(m.commits, ==, step + 2);
        for (unsigned p = 0; p < 64; p++) {
            MemoryRegion *best = NULL;
            unsigned best_at = 0;
            MemoryTranslation t;

            for (unsigned k = 0; k < 8; k++) {
                hwaddr a = (hwaddr)p << 12;

                if (mr[k].as && a >= mr[k].addr && a < mr[k].addr + mr[k].size &&
                    (!best || mr[k].priority > best->priority ||
                     (mr[k].priority == best->priority && added_at[k] > best_at))) {
                    best = &mr[k];
                    best_at = added_at[k];
                }
            }
            address_space_translate(as, ((hwaddr)p << 12) + 8, &t);
            g_assert_true(t.mr == best);
            g_assert_true(m.owner[p] == (best ? best->name : NULL));
            if (best) {
                g_assert_cmphex(t.offset, ==, ((hwaddr)p << 12) + 8 - best->addr);
            }
        }
    }
    memory_listener_unregister(as, &m.l);
    bql_unlock();
    address_space_free(as);
    g_rand_free(rng);
}

static void test_top_of_space(Fixture *fx, gconstpointer data)
{
    MemoryRegion top;
    MemoryTranslation t;
    FakeDevice d = {0};
    uint64_t v;

    memory_region_init_io(&top, "top", 0x1000, &any_ops, &d);
    bql_lock();
    address_space_add(fx->as, &top, UINT64_MAX - 0xfff, 0);
    bql_unlock();
    address_space_translate(fx->as, UINT64_MAX, &t);
    g_assert_true(t.mr == &top);
    g_assert_cmpuint(t.len, ==, 1);
    g_assert_cmpint(address_space_load(fx->as, UINT64_MAX - 7, 8, &v), ==, MEMTX_OK);
    address_space_translate(fx->as, UINT64_MAX - 0x1000, &t);
    g_assert_null(t.mr);
    g_assert_cmpuint(t.len, ==, 1);
}

/* Readers run through view changes; what they see is always one of the two maps. */
typedef struct {
    Fixture *fx;
    unsigned stop;
    uint64_t lookups;
} Reader;

static gpointer reader_thread(gpointer data)
{
    Reader *r = data;

    while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
        MemoryTranslation t;

        address_space_translate(r->fx->as, 0x80001000, &t);
        g_assert_true(t.host == r->fx->ram->host + 0x1000);
        address_space_translate(r->fx->as, 0x30000000, &t);
        g_assert_true(t.mr == NULL || t.offset == 0);
        r->lookups++;
    }
    return NULL;
}

static void test_readers_while_changing(Fixture *fx, gconstpointer data)
{
    Reader r[2] = {{.fx = fx}, {.fx = fx}};
    GThread *threads[2];
    MemoryRegion io;

    for (int i = 0; i < 2; i++) {
        threads[i] = g_thread_new("reader", reader_thread, &r[i]);
    }
    for (int i = 0; i < 2000; i++) {
        bql_lock();
        memory_region_init_io(&io, "io", 0x1000, &any_ops, NULL);
        address_space_add(fx->as, &io, 0x30000000, 0);
        address_space_del(fx->as, &io);
        bql_unlock();
    }
    for (int i = 0; i < 2; i++) {
        __atomic_store_n(&r[i].stop, 1, __ATOMIC_RELAXED);
        g_thread_join(threads[i]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/address-space/" name, Fixture, NULL, set_up, fn, tear_down)
    ADD("ram-rom", test_ram_rom);
    ADD("marks-dirty", test_marks_dirty);
    ADD("devices", test_devices);
    ADD("romd", test_romd);
    ADD("flat-view-model", test_flat_view_model);
    ADD("top-of-space", test_top_of_space);
    ADD("readers-while-changing", test_readers_while_changing);
    return g_test_run();
}
