/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Boot images: ELF, uImage or raw, whatever the first bytes look like. */
#include "fuzz.h"
#include "hw/core/loader-internal.h"
#include "util/lock.h"

#define RAM_BASE UINT64_C(0x80000000)
#define RAM_SIZE (1 * MiB)

static RAMList *list;
static AddressSpace *as;
static RAMBlock *ram;
static MemoryRegion mr;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    bql_lock();
    list = ram_list_new();
    as = address_space_new(list);
    ram = ram_block_new_anon(list, "ram", RAM_SIZE, RAM_MIGRATABLE, NULL);
    memory_region_init_ram(&mr, "ram", ram);
    address_space_add(as, &mr, RAM_BASE, 0);
    return 0;
}

static void check(bool ok, const LoadedImage *image, const GError *err)
{
    fuzz_check_error(ok, err);
    if (ok) {
        g_assert_cmpuint(image->low, <=, image->high);
        g_assert_true(image->low >= RAM_BASE && image->high <= RAM_BASE + RAM_SIZE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GBytes) bytes = g_bytes_new(data, size);
    g_autoptr(GError) err = NULL;
    Loader *l = loader_new(as);
    LoadedImage image = {0};

    if (elf_probe(bytes)) {
        check(elf_load(l, "image", bytes, &image, &err), &image, err);
    } else if (uimage_probe(bytes)) {
        check(uimage_load(l, "image", bytes, &image, &err), &image, err);
    }
    loader_reset(l);
    loader_free(l);
    return 0;
}
