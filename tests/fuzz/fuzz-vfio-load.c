/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The section of a VFIO device from a hostile peer, over a fake device. The first input byte says
 * what is switched on, the second where the device refuses; then comes the stream, body after body,
 * where some bytes are shorthand for what no fuzzer would find by itself:
 *
 *     F1 to F7   the record with that number      F8 n   DATA of n bytes
 *     F9         the right configuration          FA n   DATA of n << 56 bytes, which do not follow
 */
#include "fake-vfio.h"
#include "fake-vm.h"
#include "fuzz.h"
#include "migration/incoming-state.h"
#include "util/lock.h"

enum {
    ACKS = 1,
    LEGACY = 2,
    NO_PRECOPY = 4,
    NO_P2P = 8,
    REFUSE_STOP = 16,
    REFUSE_RUN = 32,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    bql_lock();
    bql_attach_main_context(NULL);
    return 0;
}

static void append_be64(GByteArray *out, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    g_byte_array_append(out, (const uint8_t *)&value, sizeof(value));
}

static void append_data(GByteArray *out, uint64_t claimed, uint8_t n)
{
    uint8_t bytes[UINT8_MAX];

    memset(bytes, n, sizeof(bytes));
    append_be64(out, UINT64_C(0xFFFFFFFFEF100004));
    append_be64(out, claimed);
    g_byte_array_append(out, bytes, n);
}

static GByteArray *expand(FuzzInput *in, const FakeVFIO *dev)
{
    GByteArray *out = g_byte_array_new();

    while (fuzz_left(in)) {
        uint8_t byte = fuzz_take(in, 1), n;
        uint32_t config = GUINT32_TO_BE(dev->config);

        if (byte >= 0xF1 && byte <= 0xF7) {
            append_be64(out, UINT64_C(0xFFFFFFFFEF100000) + (byte & 0xF));
        } else if (byte == 0xF8) {
            n = fuzz_take(in, 1);
            append_data(out, n, n);
        } else if (byte == 0xF9) {
            g_byte_array_append(out, (const uint8_t *)&config, sizeof(config));
        } else if (byte == 0xFA) {
            append_data(out, fuzz_take(in, 1) << 56, 16);
        } else {
            g_byte_array_append(out, &byte, 1);
        }
    }
    return out;
}

static void load(FakeVM *vm, FakeVFIO *dev, SaveStateEntry *se, FuzzInput *in)
{
    g_autoptr(GByteArray) stream = expand(in, dev);
    QEMUFile *f = fuzz_file(stream->data, stream->len);
    bool ok = se->ops->load_setup(f, se->opaque, NULL);

    bql_unlock();
    while (ok && qemu_file_offset(f) < stream->len) {
        g_autoptr(GError) err = NULL;

        ok = se->ops->load_state(f, se->opaque, 1, &err);
        fuzz_check_error(ok, err);
    }
    bql_lock();
    g_assert_cmpuint(dev->inbox->len, <=, stream->len);
    qemu_fclose(f, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(QIOChannelBuffer) answers = io_channel_buffer_new();
    FuzzInput in = {data, data + size};
    uint8_t how = fuzz_take(&in, 1);
    FakeVM *vm = fake_vm_new(true);
    FakeVFIO *dev =
        fake_vfio_new(vm->m, "pci",
                      VFIO_MIGRATION_STOP_COPY | (how & NO_PRECOPY ? 0 : VFIO_MIGRATION_PRE_COPY) |
                          (how & NO_P2P ? 0 : VFIO_MIGRATION_P2P));
    SaveStateEntry *se = savevm_find(migration_savevm(vm->m), "pci/vfio", 0);

    dev->refuse_write_at = fuzz_take(&in, 1);
    dev->refuse_state = how & REFUSE_STOP  ? VFIO_DEVICE_STATE_STOP
                        : how & REFUSE_RUN ? VFIO_DEVICE_STATE_RUNNING
                                           : 0;
    if (how & ACKS) {
        fake_vm_set_cap(vm, MIGRATION_CAPABILITY_RETURN_PATH);
        fake_vm_set_cap(vm, MIGRATION_CAPABILITY_SWITCHOVER_ACK);
    }
    migration_set_global(vm->m, "switchover-ack-legacy", how & LEGACY ? "on" : "off", NULL);
    vm->m->incoming->return_path = return_path_writer_new(IO_CHANNEL(answers));
    vm->m->incoming->acks_due = savevm_acks_needed(migration_savevm(vm->m));
    load(vm, dev, se, &in);
    se->ops->load_cleanup(se->opaque);
    vfio_migration_vm_prepare(dev->migration, true);
    vfio_migration_vm_state(dev->migration, true);
    return_path_writer_free(g_steal_pointer(&vm->m->incoming->return_path));
    fake_vfio_free(dev);
    fake_vm_free(vm);
    return 0;
}
