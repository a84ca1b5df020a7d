/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the virt board starts with: firmware, kernel, initrd, device tree, mask ROM (spec 80
 * sections 12 and 13). */
#include <libfdt.h>
#include "config-host.h"
#include "hw/nvram/fw-cfg.h"
#include "hw/riscv/virt.h"

#define DEFAULT_FIRMWARE        "opensbi-riscv64-generic-fw_dynamic.bin"
#define DEBIAN_OPENSBI_FIRMWARE "fw_dynamic.bin"
#define KERNEL_ALIGN            (2 * MiB)
#define FDT_ALIGN               (2 * MiB)
#define FDT_MAX_ADDR            (3 * GiB) /* 32-bit firmware must reach it */
#define FDT_SIZE                (1 * MiB)
#define INITRD_MAX_GAP          (128 * MiB)
#define MAX_FILE                (4 * GiB)

/* What the reset code hands to the firmware. */
typedef struct {
    hwaddr start; /* first instruction after the mask ROM */
    hwaddr next;  /* what OpenSBI jumps to */
    hwaddr firmware_end;
    hwaddr initrd_start, initrd_end;
} BootPlan;

/* ---- firmware ---- */

/* @name in the -L directories, then in the built-in path; free with g_free(), NULL when nowhere. */
static char *find_in_path(const Machine *m, const char *name)
{
    g_auto(GStrv) builtin = g_strsplit(GODWIT_FIRMWARE_PATH, ":", -1);
    char **const lists[] = {m->firmware_dirs, builtin};

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (char **dir = lists[i]; dir && *dir; dir++) {
            g_autofree char *path = g_build_filename(*dir, name, NULL);

            if (g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
                return g_steal_pointer(&path);
            }
        }
    }
    return NULL;
}

static char *find_firmware(const Machine *m, GError **errp)
{
    bool is_default = !m->firmware || strcmp(m->firmware, "default") == 0;
    char *path;

    if (!is_default && g_file_test(m->firmware, G_FILE_TEST_EXISTS)) {
        return g_strdup(m->firmware);
    }
    path = find_in_path(m, is_default ? DEFAULT_FIRMWARE : m->firmware);
    if (!path && is_default) {
        path = find_in_path(m, DEBIAN_OPENSBI_FIRMWARE);
    }
    if (!path) {
        error_setg(errp,
                   "Unable to find the RISC-V BIOS \"%s\" in the -L directories or %s; install "
                   "OpenSBI or give -bios FILE",
                   is_default ? DEFAULT_FIRMWARE : m->firmware, GODWIT_FIRMWARE_PATH);
    }
    return path;
}

static bool load_firmware(Machine *m, BootPlan *plan, GError **errp)
{
    LoadedImage image;

    plan->firmware_end = VIRT_DRAM_BASE;
    if (m->firmware && strcmp(m->firmware, "none") == 0) {
        return true;
    }

    g_autofree char *path = find_firmware(m, errp);
    if (!path ||
        !loader_add_file(((VirtBoard *)m->board)->loader, path, VIRT_DRAM_BASE, &image, errp)) {
        return false;
    }
    plan->firmware_end = image.high;
    return true;
}

/* ---- kernel and initrd ---- */

static bool load_initrd(Machine *m, BootPlan *plan, GError **errp)
{
    g_autoptr(GBytes) bytes = loader_read_file(m->initrd, MAX_FILE, errp);

    if (!bytes) {
        g_prefix_error(errp, "-initrd: ");
        return false;
    }
    plan->initrd_start = plan->next + MIN(m->ram_size / 2, INITRD_MAX_GAP);
    plan->initrd_end = plan->initrd_start + g_bytes_get_size(bytes);
    if (plan->initrd_end > UINT32_MAX) {
        error_setg(errp, "-initrd %s ends above 4 GiB, at 0x%" PRIx64, m->initrd, plan->initrd_end);
        return false;
    }
    return loader_add_bytes(((VirtBoard *)m->board)->loader, m->initrd, plan->initrd_start, bytes,
                            0, errp);
}

static bool load_kernel(Machine *m, BootPlan *plan, GError **errp)
{
    LoadedImage image;

    if (!loader_add_file(((VirtBoard *)m->board)->loader, m->kernel,
                         ROUND_UP(plan->firmware_end, KERNEL_ALIGN), &image, errp)) {
        g_prefix_error(errp, "-kernel: ");
        return false;
    }
    plan->next = image.kind == IMAGE_UIMAGE ? image.entry : image.low;
    return !m->initrd || load_initrd(m, plan, errp);
}

static bool file_to_fw_cfg(DeviceState *fw_cfg, const char *path, unsigned size_key,
                           unsigned data_key, GError **errp)
{
    g_autoptr(GBytes) bytes = loader_read_file(path, UINT32_MAX, errp);

    if (!bytes) {
        return false;
    }
    fw_cfg_set_le32(fw_cfg, size_key, g_bytes_get_size(bytes));
    fw_cfg_set_bytes(fw_cfg, data_key, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
    return true;
}

/* Firmware in the second flash bank loads the kernel itself. */
static bool kernel_to_fw_cfg(Machine *m, DeviceState *fw_cfg, GError **errp)
{
    if (!file_to_fw_cfg(fw_cfg, m->kernel, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, errp) ||
        (m->initrd &&
         !file_to_fw_cfg(fw_cfg, m->initrd, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, errp))) {
        return false;
    }
    if (m->append) {
        size_t len = strlen(m->append) + 1;

        fw_cfg_set_le32(fw_cfg, FW_CFG_CMDLINE_SIZE, len);
        fw_cfg_set_bytes(fw_cfg, FW_CFG_CMDLINE_DATA, m->append, len);
    }
    return true;
}

/* ---- device tree ---- */

/* The user's tree, in a buffer with room to grow. */
static void *read_dtb(const char *path, uint64_t *size, GError **errp)
{
    g_autoptr(GBytes) bytes = loader_read_file(path, 64 * MiB, errp);

    if (!bytes) {
        g_prefix_error(errp, "-dtb: ");
        return NULL;
    }

    size_t len = g_bytes_get_size(bytes);
    *size = 2 * (len + 10000);

    g_autofree void *fdt = g_malloc0(*size);
    if (fdt_check_full(g_bytes_get_data(bytes, NULL), len) != 0 ||
        fdt_open_into(g_bytes_get_data(bytes, NULL), fdt, *size) != 0) {
        error_setg(errp, "-dtb: '%s' is not a valid device tree", path);
        return NULL;
    }
    return g_steal_pointer(&fdt);
}

static bool dump_fdt(const Machine *m, const void *fdt, uint64_t size, GError **errp)
{
    if (!g_file_set_contents(m->dumpdtb, fdt, size, errp)) {
        g_prefix_error(errp, "dumpdtb: ");
        return false;
    }
    fprintf(stderr, "%s: info: dtb dumped to %s. Exiting.\n", g_get_prgname(), m->dumpdtb);
    exit(0);
}

static bool place_fdt(Machine *m, const BootPlan *plan, GError **errp)
{
    VirtBoard *board = m->board;
    uint64_t size = FDT_SIZE;
    hwaddr top = MIN(VIRT_DRAM_BASE + m->ram_size, FDT_MAX_ADDR);

    board->fdt = m->dtb ? read_dtb(m->dtb, &size, errp) : virt_fdt_new(m, size);
    if (!board->fdt ||
        !virt_fdt_set_chosen(board->fdt, m->append, plan->initrd_start, plan->initrd_end, errp)) {
        return false;
    }
    virt_fdt_new_seed(board->fdt);
    fdt_pack(board->fdt);
    if (m->dumpdtb) {
        return dump_fdt(m, board->fdt, size, errp);
    }
    board->fdt_addr = ROUND_DOWN(top - MIN(size, top), FDT_ALIGN);
    return loader_add_data(board->loader, "device tree", board->fdt_addr, board->fdt,
                           fdt_totalsize(board->fdt), errp);
}

/* ---- mask ROM ---- */

static bool write_mask_rom(VirtBoard *board, const BootPlan *plan, GError **errp)
{
    const struct {
        uint32_t code[6];
        uint64_t start, fdt;
        uint64_t magic, version, next, next_mode, options, boot_hart; /* OpenSBI fw_dynamic */
    } rom = {
        .code =
            {
                GUINT32_TO_LE(0x00000297), /* auipc t0, 0 */
                GUINT32_TO_LE(0x02828613), /* addi  a2, t0, 40: the fw_dynamic block */
                GUINT32_TO_LE(0xF1402573), /* csrr  a0, mhartid */
                GUINT32_TO_LE(0x0202B583), /* ld    a1, 32(t0): device tree */
                GUINT32_TO_LE(0x0182B283), /* ld    t0, 24(t0): start */
                GUINT32_TO_LE(0x00028067), /* jr    t0 */
            },
        .start = GUINT64_TO_LE(plan->start),
        .fdt = GUINT64_TO_LE(board->fdt_addr),
        .magic = GUINT64_TO_LE(UINT64_C(0x4942534F)), /* "OSBI" */
        .version = GUINT64_TO_LE(UINT64_C(2)),
        .next = GUINT64_TO_LE(plan->next),
        .next_mode = GUINT64_TO_LE(UINT64_C(1)), /* S */
    };
    g_autoptr(GBytes) bytes = g_bytes_new(&rom, sizeof(rom));

    return loader_add_bytes(board->loader, "mask ROM", VIRT_MROM_BASE, bytes, VIRT_MROM_SIZE, errp);
}

bool virt_boot_setup(Machine *m, DeviceState *fw_cfg, GError **errp)
{
    BootPlan plan = {.start = m->pflash[0] ? VIRT_FLASH_BASE : VIRT_DRAM_BASE};

    if (!load_firmware(m, &plan, errp)) {
        return false;
    }
    if (m->pflash[1]) {
        plan.next = VIRT_FLASH_BASE + VIRT_FLASH_SIZE;
        if (m->kernel && !kernel_to_fw_cfg(m, fw_cfg, errp)) {
            return false;
        }
    } else if (m->kernel && !load_kernel(m, &plan, errp)) {
        return false;
    }
    return place_fdt(m, &plan, errp) && write_mask_rom(m->board, &plan, errp);
}
