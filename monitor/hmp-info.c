/* SPDX-License-Identifier: GPL-2.0-or-later */
/* info: what the VM looks like. */
#include "util/osdep.h"
#include "hw/device.h"
#include "memory/ramblock.h"
#include "monitor/commands.h"
#include "monitor/hmp.h"
#include "qapi/json-stream.h"

static const char *str(JsonObject *obj, const char *name)
{
    return json_object_get_string_member_with_default(obj, name, "");
}

static bool flag(JsonObject *obj, const char *name)
{
    return json_object_get_boolean_member_with_default(obj, name, false);
}

static int64_t num(JsonObject *obj, const char *name)
{
    return json_object_get_int_member_with_default(obj, name, 0);
}

/* ---- by query commands ---- */

static void info_status(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "query-status", NULL);
    JsonObject *info = hmp_object(node);

    if (!info) {
        return;
    }
    const char *status = str(info, "status");
    bool running = flag(info, "running");

    g_string_append_printf(c->out, "VM status: %s", running ? "running" : "paused");
    if (!running && strcmp(status, "paused") != 0) {
        g_string_append_printf(c->out, " (%s)", status);
    }
    g_string_append_c(c->out, '\n');
}

static void info_version(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "query-version", NULL);
    JsonObject *info = hmp_object(node);
    JsonObject *qemu = info ? json_object_get_object_member(info, "qemu") : NULL;

    if (qemu) {
        g_string_append_printf(c->out, "%" PRId64 ".%" PRId64 ".%" PRId64 "%s\n",
                               num(qemu, "major"), num(qemu, "minor"), num(qemu, "micro"),
                               str(info, "package"));
    }
}

static void info_name(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "query-name", NULL);
    JsonObject *info = hmp_object(node);

    if (info && json_object_has_member(info, "name")) {
        g_string_append_printf(c->out, "%s\n", str(info, "name"));
    }
}

static void info_uuid(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "query-uuid", NULL);
    JsonObject *info = hmp_object(node);

    if (info) {
        g_string_append_printf(c->out, "%s\n", str(info, "UUID"));
    }
}

static void info_kvm(HmpContext *c)
{
    g_string_append(c->out, "kvm support: not compiled\n");
}

static void print_cpu(HmpContext *c, JsonObject *cpu)
{
    g_string_append_printf(c->out, "%c CPU #%" PRId64 ": thread_id=%" PRId64 "\n",
                           num(cpu, "cpu-index") == c->cpu ? '*' : ' ', num(cpu, "cpu-index"),
                           num(cpu, "thread-id"));
}

static void info_cpus(HmpContext *c)
{
    g_autoptr(JsonNode) list = hmp_call(c, "query-cpus-fast", NULL);

    hmp_foreach(list, print_cpu, c);
}

static void print_chardev(HmpContext *c, JsonObject *chr)
{
    g_string_append_printf(c->out, "%s: filename=%s\n", str(chr, "label"), str(chr, "filename"));
}

static void info_chardev(HmpContext *c)
{
    g_autoptr(JsonNode) list = hmp_call(c, "query-chardev", NULL);

    hmp_foreach(list, print_chardev, c);
}

static void print_block(HmpContext *c, JsonObject *block)
{
    JsonObject *medium = json_object_get_object_member(block, "inserted");

    g_string_append_printf(c->out, "%s", str(block, "device"));
    if (medium && *str(medium, "node-name")) {
        g_string_append_printf(c->out, " (%s)", str(medium, "node-name"));
    }
    if (medium) {
        g_string_append_printf(c->out, ": %s (%s%s)", str(medium, "file"), str(medium, "drv"),
                               flag(medium, "ro") ? ", read-only" : "");
    } else {
        g_string_append(c->out, ": [not inserted]");
    }
    g_string_append_c(c->out, '\n');
}

static void print_node(HmpContext *c, JsonObject *node)
{
    g_string_append_printf(c->out, "%s: %s (%s%s)\n", str(node, "node-name"), str(node, "file"),
                           str(node, "drv"), flag(node, "ro") ? ", read-only" : "");
}

static void info_block(HmpContext *c)
{
    bool nodes = hmp_flag(c, 'n');
    g_autoptr(JsonNode) list = hmp_call(c, nodes ? "query-named-block-nodes" : "query-block", NULL);

    hmp_foreach(list, nodes ? print_node : print_block, c);
}

static void print_netdev(const char *id, const char *type, const char *info, void *opaque)
{
    HmpContext *c = opaque;

    g_string_append_printf(c->out, "%s: type=%s,%s\n", id, type, info);
}

static void info_network(HmpContext *c)
{
    Machine *m = c->hub->machine;

    if (m && m->nets) {
        net_list_foreach(m->nets, print_netdev, c);
    }
}

static void info_pci(HmpContext *c)
{
    if (c->hub->machine) {
        hmp_print_pci(c->out, c->hub->machine);
    }
}

static void info_balloon(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "query-balloon", NULL);
    JsonObject *info = hmp_object(node);

    if (info) {
        g_string_append_printf(c->out, "balloon: actual=%" PRId64 "\n", num(info, "actual") >> 20);
    }
}

static void print_memdev(HmpContext *c, JsonObject *dev)
{
    static const char *const flags[] = {"merge", "dump", "prealloc", "share", "reserve"};

    g_string_append_printf(c->out, "memory backend: %s\n  size:  %" PRId64 "\n", str(dev, "id"),
                           num(dev, "size"));
    for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
        g_string_append_printf(c->out, "  %s: %s\n", flags[i],
                               flag(dev, flags[i]) ? "true" : "false");
    }
    g_string_append_printf(c->out, "  policy: %s\n  host nodes: \n\n", str(dev, "policy"));
}

static void info_memdev(HmpContext *c)
{
    g_autoptr(JsonNode) list = hmp_call(c, "query-memdev", NULL);

    hmp_foreach(list, print_memdev, c);
}

static void info_memory_size_summary(HmpContext *c)
{
    g_autoptr(JsonNode) node = hmp_call(c, "query-memory-size-summary", NULL);
    JsonObject *info = hmp_object(node);

    if (info) {
        g_string_append_printf(c->out, "base memory: %" PRId64 "\n", num(info, "base-memory"));
    }
}

static void info_iothreads(HmpContext *c)
{
    hmp_do(c, "query-iothreads", NULL); /* there are none to list */
}

/* ---- by looking at the machine ---- */

static Machine *machine(HmpContext *c)
{
    if (!c->hub->machine) {
        g_string_append(c->out, "No machine\n");
    }
    return c->hub->machine;
}

static void dump_cpu(RISCVCPU *cpu, void *opaque)
{
    riscv_cpu_dump(cpu, opaque);
}

static void info_registers(HmpContext *c)
{
    Machine *m = machine(c);
    unsigned n = m && m->cpus ? m->cpus->len : 0;
    int64_t wanted = c->arg[0] ? c->number[0] : c->cpu;

    if (!hmp_flag(c, 'a') && (wanted < 0 || wanted >= n)) {
        g_string_append_printf(c->out, "CPU#%" PRId64 " not available\n", wanted);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (hmp_flag(c, 'a') || i == wanted) {
            g_autoptr(GString) dump = g_string_new(NULL);

            hmp_on_cpu(c, i, dump_cpu, dump);
            g_string_replace(dump, "\r\n", "\n", 0);
            g_string_append_printf(c->out, "\nCPU#%u\n%s", i, dump->str);
        }
    }
}

static void info_ramblock(HmpContext *c)
{
    Machine *m = machine(c);

    if (!m || !m->ram_list) {
        return;
    }
    g_string_append_printf(c->out, "%24s %8s  %18s %18s %18s %18s %3s\n", "Block Name", "PSize",
                           "Offset", "Used", "Total", "HVA", "RO");
    RAMBLOCK_FOREACH (block, m->ram_list) {
        g_autofree char *psize = hmp_size(block->page_size);

        g_string_append_printf(
            c->out,
            "%24s %8s  0x%016" PRIx64 " 0x%016" PRIx64 " 0x%016" PRIx64 " 0x%016" PRIx64 " %3s\n",
            block->idstr, psize, block->offset, block->used_length, block->max_length,
            (uint64_t)(uintptr_t)block->host, block->flags & RAM_READONLY ? "ro" : "rw");
    }
}

static void print_range(MemoryRegion *mr, hwaddr addr, uint64_t len, void *opaque)
{
    static const char *const kinds[] = {
        [REGION_RAM] = "ram", [REGION_ROM] = "rom", [REGION_ROMD] = "romd", [REGION_IO] = "i/o"};
    HmpContext *c = opaque;
    uint64_t offset = addr - mr->addr;

    g_string_append_printf(c->out, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", addr,
                           addr + len - 1, mr->priority, kinds[mr->kind], mr->name);
    if (offset) {
        g_string_append_printf(c->out, " @%016" PRIx64, offset);
    }
    g_string_append_c(c->out, '\n');
}

static void info_mtree(HmpContext *c)
{
    Machine *m = machine(c);

    if (m && m->as) {
        g_string_append(c->out, "address-space: memory\n");
        address_space_foreach(m->as, print_range, c);
    }
}

static void print_properties(HmpContext *c, GObject *obj, int indent)
{
    unsigned n;
    g_autofree GParamSpec **specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(obj), &n);

    for (unsigned i = 0; i < n; i++) {
        g_autoptr(JsonNode) value = object_get_property_json(obj, specs[i]->name, NULL);

        if (value) {
            g_string_append_printf(c->out, "%*s%s = ", indent, "", specs[i]->name);
            qapi_json_write(c->out, value, false);
            g_string_append_c(c->out, '\n');
        }
    }
}

static void print_device(HmpContext *c, DeviceState *dev, int indent);

static void print_bus(HmpContext *c, Bus *bus, int indent)
{
    g_string_append_printf(c->out, "%*sbus: %s\n%*stype %s\n", indent, "", bus->name, indent + 2,
                           "", bus->type);
    for (unsigned i = 0; i < bus->children->len; i++) {
        print_device(c, bus->children->pdata[i], indent + 2);
    }
}

static void print_device(HmpContext *c, DeviceState *dev, int indent)
{
    const char *id = device_id(dev), *type = object_type_name(G_OBJECT(dev));
    GPtrArray *buses = machine_buses(c->hub->machine);

    g_string_append_printf(c->out, "%*sdev: %s, id \"%s\"\n", indent, "",
                           type ? type : G_OBJECT_TYPE_NAME(dev), id ? id : "");
    print_properties(c, G_OBJECT(dev), indent + 2);
    for (unsigned i = 0; i < buses->len; i++) {
        Bus *bus = buses->pdata[i];

        if (bus->parent == dev) {
            print_bus(c, bus, indent + 2);
        }
    }
}

static void info_qtree(HmpContext *c)
{
    Machine *m = machine(c);

    if (!m || !m->devices) {
        return;
    }
    g_string_append(c->out, "bus: main-system-bus\n  type System\n");
    for (unsigned i = 0; i < m->devices->len; i++) {
        if (!device_bus(m->devices->pdata[i])) {
            print_device(c, m->devices->pdata[i], 2);
        }
    }
}

typedef struct {
    HmpContext *c;
    const char *path;
    int indent;
} TreeWalk;

static void print_subtree(HmpContext *c, const char *path, int indent);

static void print_child(const char *name, const char *type, void *opaque)
{
    TreeWalk *w = opaque;
    g_autofree char *path = g_strdup_printf("%s/%s", w->path, name);

    g_string_append_printf(w->c->out, "%*s/%s (%s)\n", w->indent, "", name, type);
    print_subtree(w->c, path, w->indent + 2);
}

static void print_subtree(HmpContext *c, const char *path, int indent)
{
    TreeWalk w = {c, path, indent};
    QomPlace place;

    if (qom_resolve(c->hub, *path ? path : "/", &place, NULL)) {
        qom_foreach_child(c->hub, &place, print_child, &w);
    }
}

static void info_qom_tree(HmpContext *c)
{
    const char *path = c->arg[0] ? c->arg[0] : "/machine";
    GError *err = NULL;
    QomPlace place;

    if (!qom_resolve(c->hub, path, &place, &err)) {
        hmp_error(c, err);
        return;
    }
    g_autofree char *type = qom_place_type(c->hub, &place);

    g_string_append_printf(c->out, "%s (%s)\n", path, type);
    print_subtree(c, strcmp(path, "/") ? path : "", 2);
}

const HmpCommand hmp_info_items[] = {
    {"balloon", NULL, NULL, NULL, "", "show how much memory the guest has, in MiB", info_balloon},
    {"block", NULL, "nv", NULL, "[-n]", "show the block devices (-n: show the nodes)", info_block},
    {"chardev", NULL, NULL, NULL, "", "show the character devices", info_chardev},
    {"cpus", NULL, NULL, NULL, "", "show infos for each CPU", info_cpus},
    {"dirty_rate", NULL, NULL, NULL, "", "show how fast memory becomes dirty", hmp_info_dirty_rate},
    {"iothreads", NULL, NULL, NULL, "", "show iothreads", info_iothreads},
    {"kvm", NULL, NULL, NULL, "", "show KVM information", info_kvm},
    {"memdev", NULL, NULL, NULL, "", "show memory backends", info_memdev},
    {"memory_size_summary", NULL, NULL, NULL, "", "show the amount of memory in bytes",
     info_memory_size_summary},
    {"migrate", NULL, "a", NULL, "[-a]",
     "show migration status (-a: everything, with the flight recorder's timeline)",
     hmp_info_migrate},
    {"migrate_capabilities", NULL, NULL, NULL, "", "show current migration capabilities",
     hmp_info_migrate_capabilities},
    {"migrate_parameters", NULL, NULL, NULL, "", "show current migration parameters",
     hmp_info_migrate_parameters},
    {"mtree", NULL, "fdo", NULL, "[-f]", "show the guest's memory map", info_mtree},
    {"name", NULL, NULL, NULL, "", "show the current VM name", info_name},
    {"network", NULL, NULL, NULL, "", "show the network back ends", info_network},
    {"pci", NULL, NULL, NULL, "", "show PCI functions and buses", info_pci},
    {"qom-tree", NULL, NULL, "?s", "[path]", "show the composition tree", info_qom_tree},
    {"qtree", NULL, NULL, NULL, "", "show the device tree", info_qtree},
    {"ramblock", NULL, NULL, NULL, "", "show the blocks of guest memory", info_ramblock},
    {"registers", NULL, "a", "?i", "[-a|vcpu]", "show the CPU registers (-a: of all CPUs)",
     info_registers},
    {"snapshots", NULL, NULL, NULL, "", "show the saved states of this machine",
     hmp_info_snapshots},
    {"status", NULL, NULL, NULL, "", "show the current VM status (running|paused)", info_status},
    {"uuid", NULL, NULL, NULL, "", "show the current VM UUID", info_uuid},
    {"vcpu_dirty_limit", NULL, NULL, NULL, "", "show the limits of dirty pages per CPU",
     hmp_info_vcpu_dirty_limit},
    {"version", NULL, NULL, NULL, "", "show the version", info_version},
    {NULL},
};
