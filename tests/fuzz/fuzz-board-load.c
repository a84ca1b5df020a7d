/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One device section of the whole board. First byte: bit 0 modern virtio, bits 1 and 2 subtract
 * from the section's version; second byte: which section (full_board_tag()); the rest is its body,
 * and also what lies at the start of guest memory, so that rings may be found there.
 *
 * Whatever was loaded, or half loaded, the guest can run on it, use every register, and be saved.
 */
#include "fuzz.h"
#include "full-board.h"
#include "util/lock.h"

static FullBoard *boards[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    boards[0] = full_board_new(false);
    boards[1] = full_board_new(true);
    return 0;
}

static void use_registers(FullBoard *b)
{
    static const hwaddr wide[] = {0x0C000028, 0x0C001000, 0x0C200004, 0x02000000, 0x02004000,
                                  0x0200BFF8, 0x10100000, 0x20000000, 0x20001000, 0x22000000,
                                  0x30000000, 0x00101000, 0x00101004, 0x00101008};
    uint64_t v;

    for (unsigned r = 0; r < G_N_ELEMENTS(wide); r++) {
        address_space_load(b->f.m->as, wide[r], 4, &v);
        address_space_store(b->f.m->as, wide[r], 4, v);
    }
    for (unsigned r = 0; r < 8; r++) {
        address_space_load(b->f.m->as, 0x10000000 + r, 1, &v);
        address_space_store(b->f.m->as, 0x10000000 + r, 1, v);
    }
    for (unsigned slot = 0; slot < 8; slot++) {
        hwaddr base = 0x10001000 + slot * 0x1000;

        for (unsigned r = 0; r < 0x100; r += 4) {
            address_space_load(b->f.m->as, base + r, 4, &v);
        }
        for (unsigned q = 0; q < 4; q++) {
            address_space_store(b->f.m->as, base + 0x50, 4, q);
        }
        address_space_load(b->f.m->as, base + 0x100, 4, &v);
        address_space_store(b->f.m->as, base + 0x100, 4, v);
    }
}

static void use_cpu(RISCVCPU *cpu)
{
    g_autoptr(GString) text = g_string_new(NULL);
    uint64_t value;
    hwaddr paddr;

    riscv_cpu_dump(cpu, text);
    for (unsigned access = 0; access < 64; access++) {
        riscv_load_slow(cpu, UINT64_C(0x80000000) + access * 511, 8, &value);
        riscv_debug_translate(cpu, UINT64_C(0x123456789) * access * access, &paddr);
    }
    for (unsigned csr = 0; csr < 4096; csr++) {
        riscv_csr_read(cpu, csr, &value);
    }
    if (riscv_pending_interrupt(cpu) >= 0) {
        riscv_take_interrupt(cpu, riscv_pending_interrupt(cpu));
    }
    riscv_raise_exception(cpu, RISCV_EXCP_BREAKPOINT, 0);
    riscv_mret(cpu);
    riscv_sret(cpu);
}

static void save(SaveStateEntry *se)
{
    g_autoptr(QIOChannelBuffer) out = io_channel_buffer_new();
    QEMUFile *f = qemu_file_new_output(IO_CHANNEL(out));
    g_autoptr(GError) err = NULL;
    bool ok = vmstate_save_state(f, se->vmsd, se->opaque, NULL, &err);

    fuzz_check_error(ok, err);
    qemu_fclose(f, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) err = NULL;
    SaveStateEntry *se;
    FullBoard *b;
    QEMUFile *f;
    bool ok;

    if (size < 2) {
        return 0;
    }
    b = boards[data[0] & 1];
    se = full_board_section(b, data[1]);
    if (!se || !se->vmsd) {
        return 0;
    }
    memcpy(b->f.m->ram->host, data + 2, MIN(size - 2, 1 * MiB));
    f = fuzz_file(data + 2, size - 2);
    ok = vmstate_load_state(f, se->vmsd, se->opaque, se->version_id - (data[0] >> 1 & 3), &err);
    fuzz_check_error(ok, err);
    qemu_fclose(f, NULL);
    full_board_run(b);
    use_registers(b);
    if (g_str_has_prefix(se->idstr, "cpu")) {
        use_cpu(b->f.m->cpus->pdata[0]);
    }
    full_board_run(b);
    devices_vm_state(b->f.m, false);
    save(se);
    full_board_reset(b);
    return 0;
}
