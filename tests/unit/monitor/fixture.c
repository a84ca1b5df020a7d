/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fixture.h"
#include <poll.h>
#include <sys/socket.h>
#include "util/lock.h"

#define PATIENCE_US (120 * G_USEC_PER_SEC) /* only a hang gets there */

void monitor_fixture_init(MonitorFixture *f)
{
    static bool attached;
    g_autoptr(GError) err = NULL;
    Machine *m = machine_new(machine_class_find("none"));

    if (!attached) {
        bql_lock();
        bql_attach_main_context(NULL);
        attached = true;
    }
    *f = (MonitorFixture){.machine = m, .fd = -1, .in = g_string_new(NULL)};
    m->ram_size = RAM_SIZE;
    m->ram_list = ram_list_new();
    m->as = address_space_new(m->ram_list);
    m->vclock = clock_virtual_new();
    clock_virtual_set_manual(m->vclock);
    m->objects = object_registry_new();
    m->chardevs = chardev_list_new();
    m->ram = ram_block_new_anon(m->ram_list, "ram", RAM_SIZE, RAM_MIGRATABLE, &err);
    g_assert_no_error(err);
    memory_region_init_ram(&f->ram, "ram", m->ram);
    address_space_add(m->as, &f->ram, RAM_BASE, 0);
    f->accel_ops.name = "qtest";
    f->accel.ops = &f->accel_ops;
    f->hub = monitor_hub_new();
    monitor_register_commands(f->hub);
    monitor_hub_set_machine(f->hub, m);
}

void monitor_fixture_free(MonitorFixture *f)
{
    Machine parts = *f->machine;

    monitor_hub_free(f->hub);
    machine_free(f->machine);
    if (f->fd >= 0) {
        close(f->fd);
    }
    chardev_list_free(parts.chardevs);
    object_registry_free(parts.objects);
    address_space_del(parts.as, &f->ram);
    address_space_free(parts.as);
    ram_block_free(parts.ram);
    ram_list_free(parts.ram_list);
    clock_free(parts.vclock);
    g_string_free(f->in, TRUE);
}

void monitor_fixture_connect(MonitorFixture *f)
{
    g_autoptr(GError) err = NULL;
    JsonObject *options = json_object_new();
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    g_autofree char *number = g_strdup_printf("%d", pair[0]);

    json_object_set_string_member(options, "backend", "socket");
    json_object_set_string_member(options, "id", "mon0");
    json_object_set_string_member(options, "fd", number);
    f->chr = chardev_new(f->machine->chardevs, options, &err);
    g_assert_no_error(err);
    json_object_unref(options);
    f->fd = pair[1];
}

void monitor_fixture_send(MonitorFixture *f, const char *text)
{
    g_assert_cmpint(send(f->fd, text, strlen(text), MSG_NOSIGNAL), ==, (gssize)strlen(text));
}

char *monitor_fixture_wait(MonitorFixture *f, const char *text)
{
    int64_t limit = g_get_monotonic_time() + PATIENCE_US;
    char *found;

    while (!(found = strstr(f->in->str, text))) {
        struct pollfd p = {f->fd, POLLIN, 0};
        char buf[4096];

        if (g_get_monotonic_time() > limit) {
            g_error("waiting for '%s', got '%s'", text, f->in->str);
        }
        g_main_context_iteration(NULL, FALSE);
        if (poll(&p, 1, 1) > 0) {
            ssize_t n = read(f->fd, buf, sizeof(buf));

            g_assert_cmpint(n, >, 0);
            g_string_append_len(f->in, buf, n);
        }
    }
    size_t len = found + strlen(text) - f->in->str;
    char *part = g_strndup(f->in->str, len);

    g_string_erase(f->in, 0, (gssize)len);
    return part;
}
