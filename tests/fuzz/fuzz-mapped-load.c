/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ram section of a mapped-ram file from a hostile hand: whatever the headers and bitmaps say,
 * nothing but the block's memory is written, and a refusal has a reason. The input is the file from
 * the body of the START section on.
 */
#include <sys/mman.h>
#include "fuzz.h"
#include "io/channel-file.h"
#include "migration/wire/ram.h"
#include "migration/ram/mapped.h"
#include "ram-side.h"

#define BLOCK_SIZE (64 * UINT64_C(4096))

static RamPlacer *mapped_placer(void *opaque, RAMList *list, GError **errp)
{
    const MappedConfig config = {.threads = 1};

    return ram_placer_mapped_new(&config, list);
}

static QIOChannel *file_of(const uint8_t *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    g_assert_cmpint(write(fd, data, size), ==, size);
    g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
    return IO_CHANNEL(io_channel_file_new_fd(fd));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(QIOChannel) ioc = file_of(data, size);
    QEMUFile *f = qemu_file_new_input(ioc);
    g_autoptr(GError) err = NULL;
    RamSide side;
    bool ok;

    side_init_with(&side, mapped_placer);
    side_add(&side, "ram", BLOCK_SIZE, RAM_MIGRATABLE);
    side_add(&side, "small", 4096, RAM_MIGRATABLE);
    ok = ram_load_setup(f, side.rs, &err) && ram_load_state(f, side.rs, RAM_SECTION_VERSION, &err);
    g_assert_true(ok == !err);
    qemu_fclose(f, NULL);
    side_clear(&side);
    return 0;
}
