/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole incoming side over RDMA: a fake VM on a fake fabric hears what a source says. The first
 * input byte says what the two have agreed on and what is switched on; then messages follow:
 *
 *     type repeat repeat len len payload     little-endian; the header is made from this
 *     type | 0x80 ...                        the payload is the message, header and all
 *
 * All of them are under way before the destination reads the first, then the connection ends.
 */
#include "fake-fabric.h"
#include "fake-vm.h"
#include "fuzz.h"
#include "migration/rdma/channel.h"
#include "util/lock.h"

#define BIG_SIZE (1 * MiB + 60 * KiB)

enum {
    PIN_ALL = 1,
    GODWIT = 2,
    POSTCOPY = 4,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    bql_lock();
    bql_attach_main_context(NULL);
    return 0;
}

static void say(RdmaEndpoint *ep, RdmaRegion *region, uint8_t *buf, size_t len)
{
    RdmaWork work = {.id = 1, .addr = buf, .len = len, .lkey = region->lkey};

    g_assert_true(ep->ops->post_send(ep, &work, NULL));
}

static void speak(RdmaEndpoint *ep, const uint8_t *data, size_t size)
{
    g_autofree uint8_t *buf = g_malloc0(RDMA_HEADER_SIZE + UINT16_MAX);
    FuzzInput in = {data, data + size};
    RdmaRegion region;

    ep->ops->reg(ep, buf, RDMA_HEADER_SIZE + UINT16_MAX, false, &region, NULL);
    while (fuzz_left(&in)) {
        uint8_t type = fuzz_take(&in, 1);
        uint16_t repeat = fuzz_take(&in, 2), want = fuzz_take(&in, 2);
        RdmaHeader h = {.len = MIN(want, fuzz_left(&in)), .type = type, .repeat = repeat};

        memcpy(buf + RDMA_HEADER_SIZE, in.at, h.len);
        in.at += h.len;
        if (type & 0x80) {
            say(ep, &region, buf + RDMA_HEADER_SIZE, h.len);
        } else {
            rdma_put_header(buf, &h);
            say(ep, &region, buf, RDMA_HEADER_SIZE + h.len);
        }
    }
    ep->ops->disconnect(ep);
    ep->ops->unreg(ep, &region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    RdmaEndpoint *ends[2];
    g_autoptr(RdmaChannel) ch = NULL;
    RdmaConnection *c;
    FakeFabric *f;
    FakeVM *vm;

    if (size < 1) {
        return 0;
    }
    f = fake_fabric_new();
    vm = fake_vm_new(true);
    ram_block_new_anon(vm->ram, "fake.big", BIG_SIZE, RAM_MIGRATABLE, NULL);
    if (data[0] & POSTCOPY) {
        fake_vm_set_cap(vm, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    }
    fake_fabric_join(f, ends);
    c = rdma_connection_new(ends[1], NULL);
    c->agreed = (RdmaHello){
        .version = RDMA_VERSION,
        .flags = data[0] & PIN_ALL ? RDMA_FLAG_PIN_ALL : 0,
        .godwit = data[0] & GODWIT,
        .features = data[0] & GODWIT ? RDMA_FEATURE_BATCH : 0,
    };
    speak(ends[0], data + 1, size - 1);
    ch = rdma_channel_new(false, c, NULL);
    rdma_channel_attach(ch, NULL); /* no way back will come */
    incoming_run_on(vm->m->incoming, IO_CHANNEL(ch));
    fake_vm_wait_incoming(vm);
    fake_vm_free(vm);
    g_clear_object(&ch);
    ends[0]->ops->close(ends[0]);
    fake_fabric_free(f);
    return 0;
}
