/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole incoming side: a fake VM is fed a stream. First input byte:
 *
 *   bit 0   over a socket, through the incoming state machine; otherwise as a snapshot
 *   bit 1   no configuration section is expected
 *   bit 2   no section footers are expected
 *   bit 3   the VM had state of its own
 *   bit 4   the source may switch to postcopy; a guest that runs then is the end, too
 *
 * What was accepted can be saved again.
 */
#include <sys/socket.h>
#include "every-kind.h"
#include "fake-vm.h"
#include "fuzz.h"
#include "io/channel-socket.h"
#include "util/lock.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    bql_lock();
    bql_attach_main_context(NULL);
    return 0;
}

static void run_incoming(FakeVM *vm, const uint8_t *bytes, size_t len)
{
    g_autoptr(QIOChannelSocket) ioc = NULL;
    int fds[2], room = 4 * MiB;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    /* What does not fit is cut off; the answers are never read, only counted by the kernel. */
    if (len) {
        send(fds[0], bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    shutdown(fds[0], SHUT_WR);
    ioc = io_channel_socket_new_fd(fds[1], NULL);
    incoming_run_on(vm->m->incoming, IO_CHANNEL(ioc));
    fake_vm_wait_incoming(vm);
    close(fds[0]);
}

static void run_snapshot(FakeVM *vm, const uint8_t *bytes, size_t len)
{
    g_autoptr(QIOChannelBuffer) in = io_channel_buffer_new();
    g_autoptr(GError) err = NULL;
    bool ok;

    if (len) {
        g_byte_array_append(io_channel_buffer_bytes(in), bytes, len);
    }
    ok = migration_load_snapshot(vm->m, IO_CHANNEL(in), &err);
    fuzz_check_error(ok, err);
    if (ok) {
        g_autoptr(QIOChannelBuffer) out = io_channel_buffer_new();

        g_assert_true(migration_save_snapshot(vm->m, IO_CHANNEL(out), &err));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    EveryKind *every;
    FakeVM *vm;

    if (size < 1) {
        return 0;
    }
    vm = fake_vm_new(data[0] & 1);
    every = every_kind_new(migration_savevm(vm->m));
    if (data[0] & 2) {
        g_assert_true(migration_set_global(vm->m, "send-configuration", "off", NULL));
    }
    if (data[0] & 4) {
        g_assert_true(migration_set_global(vm->m, "send-section-footer", "off", NULL));
    }
    if (data[0] & 8) {
        fake_vm_populate(vm, 3);
    }
    if (data[0] & 16) {
        fake_vm_set_cap(vm, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    }
    if (data[0] & 1) {
        run_incoming(vm, data + 1, size - 1);
    } else {
        run_snapshot(vm, data + 1, size - 1);
    }
    every_kind_free(every, migration_savevm(vm->m));
    fake_vm_free(vm);
    return 0;
}
