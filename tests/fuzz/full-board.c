/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "full-board.h"
#include <sys/mman.h>
#include <sys/socket.h>
#include "hw/riscv/virt.h"
#include "util/lock.h"

#define RAM_BYTES (64 * MiB)

static JsonObject *options(const char *text)
{
    g_autoptr(JsonNode) node = json_from_string(text, NULL);

    return json_node_dup_object(node);
}

static void plug(Machine *m, const char *text)
{
    g_autoptr(JsonObject) o = options(text);
    g_autoptr(GError) err = NULL;

    g_assert_nonnull(device_add_from_options(m, o, false, &err));
}

static void add_back_ends(FullBoard *b)
{
    Machine *m = b->f.m;
    g_autoptr(JsonObject) disk =
        options("{\"driver\":\"null-co\",\"node-name\":\"d\",\"size\":67108864}");
    g_autoptr(JsonObject) net = NULL;
    g_autofree char *text = NULL;
    int wire[2];

    m->savevm = savevm_list_new();
    m->objects = object_registry_new();
    m->blocks = block_list_new();
    m->nets = net_list_new(m->vclock);
    m->chardevs = chardev_list_new();
    m->serial0 = chardev_new_short(m->chardevs, "s", "null", NULL);
    g_assert_nonnull(chardev_new_short(m->chardevs, "c", "null", NULL));
    g_assert_true(block_node_add(m->blocks, disk, false, NULL));
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, wire), ==, 0);
    b->net_peer = wire[0];
    text = g_strdup_printf("{\"type\":\"socket\",\"id\":\"n\",\"fd\":\"%d\"}", wire[1]);
    net = options(text);
    g_assert_true(net_backend_add(m->nets, net, NULL));
}

FullBoard *full_board_new(bool modern)
{
    static bool attached;
    FullBoard *b = g_new0(FullBoard, 1);
    Machine *m;

    if (attached) {
        bql_unlock(); /* board_new() takes it */
    }
    board_new(&b->f);
    if (!attached) {
        bql_attach_main_context(NULL);
        attached = true;
    }
    m = b->f.m;
    m->ram_size = RAM_BYTES;
    g_hash_table_insert(m->globals, g_strdup("virtio-mmio.force-legacy"),
                        g_strdup(modern ? "false" : "true"));
    add_back_ends(b);
    m->ram =
        ram_block_new_anon(m->ram_list, m->cls->default_ram_id, m->ram_size, RAM_MIGRATABLE, NULL);
    g_assert_true(m->cls->init(m, NULL));
    plug(m, "{\"driver\":\"virtio-blk-device\",\"drive\":\"d\"}");
    plug(m, "{\"driver\":\"virtio-net-device\",\"netdev\":\"n\"}");
    plug(m, "{\"driver\":\"virtio-rng-device\"}");
    plug(m, "{\"driver\":\"virtio-balloon-device\"}");
    plug(m, "{\"driver\":\"virtio-serial-device\",\"id\":\"vs\"}");
    plug(m, "{\"driver\":\"virtserialport\",\"bus\":\"vs.0\",\"chardev\":\"c\",\"name\":\"a.b\"}");
    g_assert_true(m->cls->done(m, NULL));
    m->cls->reset(m);
    return b;
}

void full_board_run(FullBoard *b)
{
    Machine *m = b->f.m;
    uint8_t frame[4096];

    net_list_set_running(m->nets, true);
    devices_vm_state(m, true);
    for (unsigned i = 0; i < 3; i++) {
        clock_virtual_step_to(m->vclock, clock_get_ns(m->vclock) + 1000000);
        g_main_context_iteration(NULL, FALSE);
    }
    block_drain_all(m->blocks);
    while (recv(b->net_peer, frame, sizeof(frame), MSG_DONTWAIT) > 0) {
    }
}

void full_board_reset(FullBoard *b)
{
    Machine *m = b->f.m;

    block_drain_all(m->blocks);
    devices_vm_state(m, false);
    net_list_set_running(m->nets, false);
    g_assert_cmpint(madvise(m->ram->host, m->ram_size, MADV_DONTNEED), ==, 0);
    clock_virtual_set_ns(m->vclock, 0);
    m->cls->reset(m);
}

uint8_t full_board_tag(const SaveStateEntry *se)
{
    return g_str_hash(se->idstr) + se->instance_id;
}

SaveStateEntry *full_board_section(FullBoard *b, uint8_t tag)
{
    for (unsigned i = 0; i < b->f.m->savevm->entries->len; i++) {
        SaveStateEntry *se = b->f.m->savevm->entries->pdata[i];

        if (full_board_tag(se) == tag) {
            return se;
        }
    }
    return NULL;
}
