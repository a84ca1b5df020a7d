/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flash with a drive behind it: contents at start, write-through, read-only, write-back after a
 * migration. */
#include <glib/gstdio.h>
#include "board-fixture.h"
#include "migration/savevm.h"
#include "util/lock.h"
#include "../migration/vmstate-helper.h"

#define FLASH     UINT64_C(0x20000000)
#define BANK_SIZE (32 * MiB)

typedef struct {
    BoardFixture board;
    BlockList *blocks;
    char *path;
} Fixture;

static BlockBackend *open_drive(Fixture *f, bool read_only, bool incoming)
{
    g_autoptr(JsonObject) options = json_object_new();
    GError *err = NULL;
    BlockBackend *blk;

    json_object_set_string_member(options, "id", "pflash0");
    json_object_set_string_member(options, "file", f->path);
    json_object_set_string_member(options, "format", "raw");
    json_object_set_string_member(options, "if", "none");
    json_object_set_string_member(options, "readonly", read_only ? "on" : "off");
    blk = block_drive_add(f->blocks, options, incoming, &err);
    g_assert_no_error(err);
    return blk;
}

static void prepare(Fixture *f, uint64_t size, bool read_only, bool incoming)
{
    int fd = g_file_open_tmp("godwit-pflash-XXXXXX", &f->path, NULL);

    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    g_assert_cmpint(pwrite(fd, "flash contents", 14, 0x1000), ==, 14);
    close(fd);
    board_new(&f->board);
    f->board.m->incoming = incoming;
    f->board.m->savevm = savevm_list_new();
    f->blocks = block_list_new();
    f->board.m->pflash[0] = open_drive(f, read_only, incoming);
}

static void finish(Fixture *f)
{
    SaveStateList *list = f->board.m->savevm;

    board_free(&f->board);
    savevm_list_free(list);
    block_list_free(f->blocks);
    g_unlink(f->path);
    g_free(f->path);
}

static uint32_t file_word(Fixture *f, off_t offset)
{
    g_autofree uint32_t *word = g_new0(uint32_t, 1);
    FILE *file = fopen(f->path, "r");

    g_assert_nonnull(file);
    g_assert_cmpint(fseek(file, offset, SEEK_SET), ==, 0);
    g_assert_cmpuint(fread(word, 4, 1, file), ==, 1);
    fclose(file);
    return *word;
}

static void program_word(Fixture *f, hwaddr addr, uint32_t value)
{
    board_write(&f->board, 4, addr, 0x40);
    board_write(&f->board, 4, addr, value);
}

static void test_write_through(void)
{
    Fixture f;

    prepare(&f, BANK_SIZE, false, false);
    board_start(&f.board);
    g_assert_cmphex(board_read(&f.board, 8, 0x1018), ==, FLASH); /* boots from it */
    g_assert_cmphex(board_read(&f.board, 4, FLASH + 0x1000), ==, 0x73616C66);
    program_word(&f, FLASH + 0x1FFFFFC, 0xCAFEF00D);
    g_assert_cmphex(board_read(&f.board, 4, FLASH + 0x1FFFFFC), ==, 0x00800080); /* status */
    board_write(&f.board, 4, FLASH, 0xFF);
    g_assert_cmphex(board_read(&f.board, 4, FLASH + 0x1FFFFFC), ==, 0xCAFEF00D);
    g_assert_cmphex(file_word(&f, 0x1FFFFFC), ==, 0xCAFEF00D);
    g_assert_cmphex(file_word(&f, 0x1000), ==, 0x73616C66);
    finish(&f);
}

static void test_read_only(void)
{
    Fixture f;

    prepare(&f, BANK_SIZE, true, false);
    board_start(&f.board);
    program_word(&f, FLASH + 0x1000, 0);
    g_assert_cmphex(board_read(&f.board, 4, FLASH), ==, 0x00900090); /* program error */
    board_write(&f.board, 4, FLASH, 0x20);
    board_write(&f.board, 4, FLASH, 0xD0);
    board_write(&f.board, 4, FLASH, 0xFF);
    g_assert_cmphex(board_read(&f.board, 4, FLASH + 0x1000), ==, 0x73616C66);
    g_assert_cmphex(file_word(&f, 0x1000), ==, 0x73616C66);
    finish(&f);
}

static void test_wrong_size(void)
{
    Fixture f;
    g_autoptr(GError) err = NULL;

    prepare(&f, BANK_SIZE - 512, false, false);
    f.board.m->ram =
        ram_block_new_anon(f.board.m->ram_list, "ram", f.board.m->ram_size, RAM_MIGRATABLE, NULL);
    g_assert_false(f.board.m->cls->init(f.board.m, &err));
    g_assert_cmpstr(err->message, ==,
                    "pflash unit 0: device requires 33554432 bytes, block backend provides "
                    "33553920 bytes");
    finish(&f);
}

/* The array came with the stream: the drive gets all of it once this side owns the guest. */
static void test_write_back(void)
{
    Fixture f;
    GError *err = NULL;

    prepare(&f, BANK_SIZE, false, true);
    board_start(&f.board);
    RAMBlock *block = ram_block_by_name(f.board.m->ram_list, "virt.flash0");
    g_assert_cmphex(board_read(&f.board, 4, FLASH + 0x1000), ==, 0);
    memcpy(block->host + 0x1000, "FROM", 4);

    const SaveStateEntry *se = savevm_find(f.board.m->savevm, "pflash_cfi01", 0);
    load_hex(se->vmsd, se->opaque, 1, "0000800000000000000000", &err);
    g_assert_no_error(err);
    g_assert_cmphex(file_word(&f, 0x1000), ==, 0x73616C66);
    block_activate_all(f.blocks, &err);
    g_assert_no_error(err);
    devices_vm_state(f.board.m, true);
    g_assert_cmphex(file_word(&f, 0x1000), ==, 0x4D4F5246);
    finish(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/pflash/write-through", test_write_through);
    g_test_add_func("/hw/pflash/read-only", test_read_only);
    g_test_add_func("/hw/pflash/wrong-size", test_wrong_size);
    g_test_add_func("/hw/pflash/write-back", test_write_back);
    return g_test_run();
}
