/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * make-seeds DIR: valid inputs to start from. DIR/incoming has whole streams of our own save side,
 * DIR/wire-* their first bytes, DIR/board-load every section of the board, DIR/boot-image an ELF
 * file and a uImage.
 */
#include <elf.h>
#include <glib/gstdio.h>
#include "every-kind.h"
#include "fake-vm.h"
#include "full-board.h"
#include "io/channel-buffer.h"
#include "util/lock.h"

static void write_seed(const char *dir, const char *target, const char *name, const void *head,
                       size_t head_len, const GByteArray *body)
{
    g_autofree char *file = g_strdelimit(g_strdup(name), "/:@", '-');
    g_autofree char *parent = g_build_filename(dir, target, NULL);
    g_autofree char *path = g_build_filename(parent, file, NULL);
    g_autoptr(GByteArray) all = g_byte_array_new();
    g_autoptr(GError) err = NULL;

    g_byte_array_append(all, head, head_len);
    g_byte_array_append(all, body->data, body->len);
    g_mkdir_with_parents(parent, 0777);
    if (!g_file_set_contents(path, (const char *)all->data, all->len, &err)) {
        g_error("%s", err->message);
    }
}

static void whole_streams(const char *dir)
{
    for (uint8_t way = 0; way < 8; way++) {
        g_autofree char *name = g_strdup_printf("stream-%u", way);
        g_autoptr(QIOChannelBuffer) out = io_channel_buffer_new();
        FakeVM *vm = fake_vm_new(false);
        EveryKind *every = every_kind_new(migration_savevm(vm->m));

        if (way & 2) {
            migration_set_global(vm->m, "send-configuration", "off", NULL);
        }
        if (way & 4) {
            migration_set_global(vm->m, "send-section-footer", "off", NULL);
        }
        if (way & 1) {
            fake_vm_populate(vm, 3);
        }
        g_assert_true(migration_save_snapshot(vm->m, IO_CHANNEL(out), NULL));
        write_seed(dir, "incoming", name, &way, 1, io_channel_buffer_bytes(out));
        g_byte_array_set_size(io_channel_buffer_bytes(out), 400);
        write_seed(dir, "wire-ram", name, NULL, 0, io_channel_buffer_bytes(out));
        write_seed(dir, "wire-stream", name, "", 1, io_channel_buffer_bytes(out));
        every_kind_free(every, migration_savevm(vm->m));
        fake_vm_free(vm);
    }
}

static void board_sections(const char *dir, bool modern)
{
    FullBoard *b = full_board_new(modern);

    for (unsigned i = 0; i < b->f.m->savevm->entries->len; i++) {
        const SaveStateEntry *se = b->f.m->savevm->entries->pdata[i];
        g_autoptr(QIOChannelBuffer) out = io_channel_buffer_new();
        QEMUFile *f = qemu_file_new_output(IO_CHANNEL(out));
        uint8_t head[] = {modern, full_board_tag(se)};
        g_autofree char *name =
            g_strdup_printf("%s-%u-%d", se->idstr, se->instance_id, (int)modern);

        g_assert_true(full_board_section(b, head[1]) == se);
        if (se->vmsd && vmstate_save_state(f, se->vmsd, se->opaque, NULL, NULL)) {
            qemu_fflush(f);
            write_seed(dir, "board-load", name, head, sizeof(head), io_channel_buffer_bytes(out));
        }
        qemu_fclose(f, NULL);
    }
}

static void boot_images(const char *dir)
{
    static const uint8_t uimage[72] = {0x27, 0x05,        0x19, 0x56,     [15] = 8, [16] = 0x80,
                                       0x05, [20] = 0x80, 0x05, [30] = 2, [64] = 1};
    struct {
        Elf64_Ehdr eh;
        Elf64_Phdr ph[2];
        uint8_t text[16];
    } elf = {
        .eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
               .e_type = ET_EXEC,
               .e_machine = GUINT16_TO_LE(EM_RISCV),
               .e_entry = GUINT64_TO_LE(0x80000000),
               .e_phoff = GUINT64_TO_LE(sizeof(Elf64_Ehdr)),
               .e_phentsize = GUINT16_TO_LE(sizeof(Elf64_Phdr)),
               .e_phnum = GUINT16_TO_LE(2)},
    };
    g_autoptr(GByteArray) none = g_byte_array_new();

    for (unsigned i = 0; i < 2; i++) {
        elf.ph[i] = (Elf64_Phdr){.p_type = GUINT32_TO_LE(PT_LOAD),
                                 .p_offset = GUINT64_TO_LE(offsetof(typeof(elf), text)),
                                 .p_paddr = GUINT64_TO_LE(0x80000000 + i * 0x1000),
                                 .p_filesz = GUINT64_TO_LE(sizeof(elf.text)),
                                 .p_memsz = GUINT64_TO_LE(64)};
    }
    write_seed(dir, "boot-image", "elf", &elf, sizeof(elf), none);
    write_seed(dir, "boot-image", "uimage", uimage, sizeof(uimage), none);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        g_printerr("usage: make-seeds DIR\n");
        return 2;
    }
    boot_images(argv[1]);
    board_sections(argv[1], false);
    board_sections(argv[1], true);
    whole_streams(argv[1]);
    return 0;
}
