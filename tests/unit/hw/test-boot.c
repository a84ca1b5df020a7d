/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the board starts with: device trees equal to stock QEMU's (fdt/capture.py), images and their
 * places, hostile images (spec 80 sections 12 to 14, checks 1 and 2 of section 16).
 */
#include <elf.h>
#include <libfdt.h>
#include <glib/gstdio.h>
#include "board-fixture.h"

#define MROM_START    0x1018
#define MROM_FDT      0x1020
#define MROM_NEXT     0x1038
#define KERNEL_LENGTH 5000
#define INITRD_LENGTH 7000

static char *tmp_dir;

/* ---- device tree ---- */

static int by_text(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void describe_node(GPtrArray *out, const void *fdt, int node, const char *path)
{
    int prop, child;

    g_ptr_array_add(out, g_strdup(*path ? path : "/"));
    fdt_for_each_property_offset(prop, fdt, node)
    {
        const char *name;
        int len;
        const uint8_t *data = fdt_getprop_by_offset(fdt, prop, &name, &len);

        if (strcmp(name, "rng-seed") == 0) {
            continue;
        }

        GString *line = g_string_new(NULL);
        g_string_printf(line, "%s %s%s", *path ? path : "/", name, len ? " " : "");
        for (int i = 0; i < len; i++) {
            g_string_append_printf(line, "%02x", data[i]);
        }
        g_ptr_array_add(out, g_string_free(line, FALSE));
    }
    fdt_for_each_subnode(child, fdt, node)
    {
        g_autofree char *sub = g_strdup_printf("%s/%s", path, fdt_get_name(fdt, child, NULL));

        describe_node(out, fdt, child, sub);
    }
}

/* The tree in guest memory, where the mask ROM points. */
static char *describe_tree(BoardFixture *f)
{
    g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(g_free);
    g_autofree uint8_t *fdt = g_malloc0(MiB);
    GString *text = g_string_new(NULL);

    address_space_read(f->m->as, board_read(f, 8, MROM_FDT), fdt, MiB);
    g_assert_cmpint(fdt_check_full(fdt, MiB), ==, 0);
    describe_node(out, fdt, 0, "");
    g_ptr_array_sort(out, by_text);
    for (guint i = 0; i < out->len; i++) {
        g_string_append_printf(text, "%s\n", (char *)out->pdata[i]);
    }
    return g_string_free(text, FALSE);
}

static void compare_tree(BoardFixture *f, const char *name)
{
    g_autofree char *file = g_strdup_printf("fdt/%s.txt", name);
    g_autofree char *path = board_test_file(file);
    g_autofree char *want_text = NULL;
    g_autofree char *got_text = describe_tree(f);
    g_auto(GStrv) got = g_strsplit(got_text, "\n", -1);
    GError *err = NULL;

    g_file_get_contents(path, &want_text, NULL, &err);
    g_assert_no_error(err);
    g_auto(GStrv) want = g_strsplit(want_text, "\n", -1);
    for (unsigned i = 0; got[i] && want[i]; i++) {
        if (strcmp(got[i], want[i]) != 0) {
            g_test_message("%s line %u\nwant %s\ngot  %s", name, i + 1, want[i], got[i]);
            g_test_fail();
            return;
        }
    }
    g_assert_cmpuint(g_strv_length(got), ==, g_strv_length(want));
}

static char *make_file(const char *name, const void *data, size_t len)
{
    char *path = g_build_filename(tmp_dir, name, NULL);
    GError *err = NULL;

    g_file_set_contents(path, data, len, &err);
    g_assert_no_error(err);
    return path;
}

static char *make_code(const char *name, size_t len)
{
    g_autofree uint32_t *code = g_malloc(len);

    for (size_t i = 0; i < len / 4; i++) {
        code[i] = 0x13;
    }
    return make_file(name, code, len);
}

static void test_tree(gconstpointer name)
{
    BoardFixture f;
    bool known;

    board_new(&f);
    if (g_str_has_prefix(name, "smp")) {
        f.m->smp_cpus = atoi((const char *)name + 3);
    } else if (strcmp(name, "m4g") == 0) {
        f.m->ram_size = 4 * GiB;
    } else if (strcmp(name, "aclint") == 0) {
        f.m->smp_cpus = 2;
        g_assert_true(f.m->cls->set_property(f.m, "aclint", "on", &known, NULL) && known);
    } else {
        f.m->kernel = make_code("KERNEL", KERNEL_LENGTH);
        f.m->initrd = make_code("INITRD", INITRD_LENGTH);
        f.m->append = g_strdup("root=/dev/vda quiet");
    }
    board_start(&f);
    compare_tree(&f, name);
    board_free(&f);
}

static void test_tree_place(void)
{
    static const struct {
        uint64_t ram;
        hwaddr fdt;
    } cases[] = {{16 * MiB, 0x80E00000},
                 {128 * MiB, 0x87E00000},
                 {512 * MiB, 0x9FE00000},
                 {1 * GiB, 0xBFE00000},
                 {3 * GiB, 0xBFE00000}};
    BoardFixture f;

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        board_new(&f);
        f.m->ram_size = cases[i].ram;
        board_start(&f);
        g_assert_cmphex(board_read(&f, 8, MROM_FDT), ==, cases[i].fdt);
        g_assert_cmphex(board_read(&f, 4, cases[i].fdt), ==, 0xEDFE0DD0);
        board_free(&f);
    }
}

/* A reset brings images back, gives a new seed and leaves other memory alone. */
static void test_reset(void)
{
    const hwaddr elsewhere = 0x81000000;
    BoardFixture f;
    uint8_t before[4096], after[4096];

    board_new(&f);
    f.m->firmware = (g_free(f.m->firmware), make_code("FIRMWARE", 64));
    board_start(&f);

    hwaddr fdt = board_read(&f, 8, MROM_FDT);
    address_space_read(f.m->as, fdt, before, sizeof(before));
    board_write(&f, 4, 0x80000000, 0xDEADBEEF);
    board_write(&f, 4, elsewhere, 0xDEADBEEF);
    board_write(&f, 4, fdt, 0);
    f.m->cls->reset(f.m);
    g_assert_cmphex(board_read(&f, 4, 0x80000000), ==, 0x13);
    g_assert_cmphex(board_read(&f, 4, elsewhere), ==, 0xDEADBEEF);
    g_assert_cmphex(board_read(&f, 4, fdt), ==, 0xEDFE0DD0);
    address_space_read(f.m->as, fdt, after, sizeof(after));
    g_assert_cmpint(memcmp(before, after, sizeof(after)), !=, 0);
    board_free(&f);
}

/* Waiting for a migration, memory is not touched until the guest reboots. */
static void test_incoming(void)
{
    BoardFixture f;

    board_new(&f);
    f.m->incoming = true;
    board_start(&f);
    g_assert_cmphex(board_read(&f, 8, MROM_START), ==, 0);
    f.m->cls->reset(f.m);
    g_assert_cmphex(board_read(&f, 8, MROM_START), ==, 0x80000000);
    board_free(&f);
}

static void test_raw_kernel(void)
{
    BoardFixture f;

    board_new(&f);
    f.m->firmware = (g_free(f.m->firmware), make_code("FIRMWARE", 100000));
    f.m->kernel = make_code("KERNEL", KERNEL_LENGTH);
    board_start(&f);
    g_assert_cmphex(board_read(&f, 8, MROM_NEXT), ==, 0x80200000);
    g_assert_cmphex(board_read(&f, 4, 0x80000000), ==, 0x13);
    g_assert_cmphex(board_read(&f, 4, 0x80200000), ==, 0x13);
    g_assert_cmphex(board_read(&f, 4, 0x80200000 + KERNEL_LENGTH), ==, 0);
    board_free(&f);
}

/* ---- ELF ---- */

typedef struct {
    Elf64_Ehdr eh;
    Elf64_Phdr ph[2];
    uint8_t text[64];
} TestElf;

static TestElf good_elf(void)
{
    TestElf elf = {
        .eh = {.e_ident = {0x7F, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
               .e_type = ET_EXEC,
               .e_machine = 243,
               .e_entry = 0x80400010,
               .e_phoff = sizeof(Elf64_Ehdr),
               .e_phentsize = sizeof(Elf64_Phdr),
               .e_phnum = 2},
        .ph = {{.p_type = PT_LOAD,
                .p_offset = offsetof(TestElf, text),
                .p_paddr = 0x80400000,
                .p_filesz = 64,
                .p_memsz = 128},
               {.p_type = PT_NOTE, .p_offset = UINT64_MAX, .p_filesz = UINT64_MAX}},
    };

    memset(elf.text, 0x5A, sizeof(elf.text));
    return elf;
}

static void test_elf(void)
{
    TestElf elf = good_elf();
    BoardFixture f;

    board_new(&f);
    f.m->kernel = make_file("ELF", &elf, sizeof(elf));
    board_start(&f);
    g_assert_cmphex(board_read(&f, 8, MROM_NEXT), ==, 0x80400000); /* not the entry */
    g_assert_cmphex(board_read(&f, 8, 0x80400038), ==, 0x5A5A5A5A5A5A5A5A);
    board_write(&f, 8, 0x80400040, 1); /* behind the file part: zeroed at reset */
    f.m->cls->reset(f.m);
    g_assert_cmphex(board_read(&f, 8, 0x80400040), ==, 0);
    board_free(&f);
}

/* Initialise a machine with @data as its kernel; the error must contain @text. */
static void expect_refused(const void *data, size_t len, const char *text)
{
    BoardFixture f;
    g_autoptr(GError) err = NULL;

    board_new(&f);
    f.m->kernel = make_file("BAD", data, len);
    f.m->ram = ram_block_new_anon(f.m->ram_list, "ram", f.m->ram_size, RAM_MIGRATABLE, NULL);
    g_assert_true(f.m->cls->init(f.m, NULL));
    g_assert_false(f.m->cls->done(f.m, &err));
    g_assert_nonnull(err);
    if (!strstr(err->message, text)) {
        g_test_message("'%s' does not contain '%s'", err->message, text);
        g_test_fail();
    }
    board_free(&f);
}

static void test_hostile_elf(void)
{
    TestElf elf = good_elf();

    expect_refused(&elf, 20, "truncated ELF header");
    elf.eh.e_machine = EM_X86_64;
    expect_refused(&elf, sizeof(elf), "not a 64-bit little-endian RISC-V");
    elf = good_elf();
    elf.eh.e_phoff = UINT64_MAX - 8;
    expect_refused(&elf, sizeof(elf), "program headers are outside");
    elf = good_elf();
    elf.eh.e_phnum = 0xFFFF;
    expect_refused(&elf, sizeof(elf), "program headers are outside");
    elf = good_elf();
    elf.eh.e_phentsize = 1;
    expect_refused(&elf, sizeof(elf), "program headers are outside");
    elf = good_elf();
    elf.ph[0].p_offset = UINT64_MAX - 16;
    expect_refused(&elf, sizeof(elf), "segment 0 is outside the file");
    elf = good_elf();
    elf.ph[0].p_filesz = elf.ph[0].p_memsz = 1 << 20;
    expect_refused(&elf, sizeof(elf), "segment 0 is outside the file");
    elf = good_elf();
    elf.ph[0].p_memsz = 32;
    expect_refused(&elf, sizeof(elf), "segment 0 is outside the file");
    elf = good_elf();
    elf.ph[0].p_memsz = UINT64_MAX - 100;
    expect_refused(&elf, sizeof(elf), "without a segment in guest memory");
    elf = good_elf();
    elf.ph[0].p_paddr = 0x10000000;
    expect_refused(&elf, sizeof(elf), "without a segment in guest memory");
    elf = good_elf();
    elf.ph[1] = elf.ph[0];
    expect_refused(&elf, sizeof(elf), "overlaps");
    elf = good_elf();
    elf.eh.e_phnum = 0;
    expect_refused(&elf, sizeof(elf), "without a segment in guest memory");
}

static void test_uimage(void)
{
    uint8_t image[64 + 8] = {[0] = 0x27,  0x05, 0x19, 0x56, [15] = 8, [16] = 0x80, 0x50,
                             [20] = 0x80, 0x50, 0,    4,    [30] = 2, [64] = 1};
    BoardFixture f;

    board_new(&f);
    f.m->kernel = make_file("UIMAGE", image, sizeof(image));
    board_start(&f);
    g_assert_cmphex(board_read(&f, 8, MROM_NEXT), ==, 0x80500004);
    g_assert_cmphex(board_read(&f, 4, 0x80500000), ==, 1);
    board_free(&f);
    image[31] = 1;
    expect_refused(image, sizeof(image), "uncompressed kernel uImage");
    image[31] = image[15] = 0;
    expect_refused(image, sizeof(image), "is empty");
    image[31] = 0;
    image[12] = 0xFF;
    expect_refused(image, sizeof(image), "truncated");
}

static void test_missing_firmware(void)
{
    BoardFixture f;
    g_autoptr(GError) err = NULL;

    board_new(&f);
    f.m->firmware = (g_free(f.m->firmware), g_strdup("no-such-firmware"));
    f.m->ram = ram_block_new_anon(f.m->ram_list, "ram", f.m->ram_size, RAM_MIGRATABLE, NULL);
    g_assert_true(f.m->cls->init(f.m, NULL));
    g_assert_false(f.m->cls->done(f.m, &err));
    g_assert_nonnull(strstr(err->message, "Unable to find the RISC-V BIOS \"no-such-firmware\""));
    board_free(&f);
}

int main(int argc, char **argv)
{
    static const char *const trees[] = {"smp1", "smp2", "smp5", "m4g", "aclint", "kernel"};
    static const char *const files[] = {"KERNEL", "INITRD", "FIRMWARE", "ELF", "BAD", "UIMAGE"};
    int ret;

    g_test_init(&argc, &argv, NULL);
    tmp_dir = g_dir_make_tmp("godwit-boot-XXXXXX", NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(trees); i++) {
        g_autofree char *path = g_strdup_printf("/hw/boot/tree/%s", trees[i]);

        g_test_add_data_func(path, trees[i], test_tree);
    }
    g_test_add_func("/hw/boot/tree-place", test_tree_place);
    g_test_add_func("/hw/boot/reset", test_reset);
    g_test_add_func("/hw/boot/incoming", test_incoming);
    g_test_add_func("/hw/boot/raw-kernel", test_raw_kernel);
    g_test_add_func("/hw/boot/elf", test_elf);
    g_test_add_func("/hw/boot/hostile-elf", test_hostile_elf);
    g_test_add_func("/hw/boot/uimage", test_uimage);
    g_test_add_func("/hw/boot/missing-firmware", test_missing_firmware);
    ret = g_test_run();
    for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(tmp_dir, files[i], NULL);

        g_unlink(path);
    }
    g_rmdir(tmp_dir);
    g_free(tmp_dir);
    return ret;
}
