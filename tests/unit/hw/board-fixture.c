/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "board-fixture.h"
#include "util/lock.h"

static void on_reset(void *opaque)
{
    ((BoardFixture *)opaque)->resets++;
}

static void on_shutdown(void *opaque, bool panic, int exit_code)
{
    BoardFixture *f = opaque;

    f->panic = panic;
    f->exit_code = exit_code;
}

void board_new(BoardFixture *f)
{
    Machine *m = machine_new(machine_class_find("virt"));

    bql_lock();
    *f = (BoardFixture){.m = m, .exit_code = -1};
    m->firmware = g_strdup("none");
    m->ram_list = ram_list_new();
    m->as = address_space_new(m->ram_list);
    m->vclock = clock_virtual_new();
    clock_virtual_set_manual(m->vclock);
    m->requests =
        (MachineRequests){.reset_request = on_reset, .shutdown_request = on_shutdown, .opaque = f};
}

void board_start(BoardFixture *f)
{
    Machine *m = f->m;
    GError *err = NULL;

    m->ram =
        ram_block_new_anon(m->ram_list, m->cls->default_ram_id, m->ram_size, RAM_MIGRATABLE, &err);
    g_assert_no_error(err);
    m->cls->init(m, &err);
    g_assert_no_error(err);
    m->cls->done(m, &err);
    g_assert_no_error(err);
    m->cls->reset(m);
}

void board_free(BoardFixture *f)
{
    Machine parts = *f->m;

    machine_free(f->m);
    if (parts.ram) {
        ram_block_free(parts.ram);
    }
    address_space_free(parts.as);
    ram_list_free(parts.ram_list);
    clock_free(parts.vclock);
    bql_unlock();
}

uint64_t board_read(BoardFixture *f, unsigned size, hwaddr addr)
{
    uint64_t value = 0;

    g_assert_cmpint(address_space_load(f->m->as, addr, size, &value), ==, MEMTX_OK);
    return value;
}

void board_write(BoardFixture *f, unsigned size, hwaddr addr, uint64_t value)
{
    g_assert_cmpint(address_space_store(f->m->as, addr, size, value), ==, MEMTX_OK);
}

bool board_read_faults(BoardFixture *f, unsigned size, hwaddr addr)
{
    uint64_t value;

    return address_space_load(f->m->as, addr, size, &value) != MEMTX_OK;
}

bool board_write_faults(BoardFixture *f, unsigned size, hwaddr addr)
{
    return address_space_store(f->m->as, addr, size, 0) != MEMTX_OK;
}

char *board_test_file(const char *name)
{
    return g_build_filename(TEST_SOURCE_DIR, name, NULL);
}
