/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake-vm.h"
#include <sys/socket.h>
#include "io/channel-socket.h"
#include "util/lock.h"

/* ---- devices ---- */

static bool uart_extra_needed(void *opaque)
{
    return ((FakeUart *)opaque)->extra != 0;
}

static const VMStateDescription vmsd_uart_extra = {
    .name = "fake-uart/extra",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = uart_extra_needed,
    .fields = (const VMStateField[]){VMSTATE_UINT64(extra, FakeUart), VMSTATE_END_OF_LIST()},
};

static const VMStateDescription vmsd_uart = {
    .name = "fake-uart",
    .version_id = 3,
    .minimum_version_id = 2,
    .fields = (const VMStateField[]){VMSTATE_UINT32(divisor, FakeUart),
                                     VMSTATE_UINT8_ARRAY(regs, FakeUart, 8), VMSTATE_END_OF_LIST()},
    .subsections = (const VMStateDescription *const[]){&vmsd_uart_extra, NULL},
};

static bool disk_valid(void *opaque, int version_id)
{
    return ((FakeDisk *)opaque)->n <= 4;
}

static bool disk_post_load(void *opaque, int version_id, GError **errp)
{
    if (((FakeDisk *)opaque)->refuse_load) {
        error_setg(errp, "this disk does not want to be loaded");
        return false;
    }
    return true;
}

static const VMStateDescription vmsd_disk = {
    .name = "fake-disk",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = disk_post_load,
    .fields =
        (const VMStateField[]){VMSTATE_UINT32(n, FakeDisk),
                               VMSTATE_VALIDATE("queue length", disk_valid),
                               VMSTATE_UINT64_ARRAY(queue, FakeDisk, 4), VMSTATE_END_OF_LIST()},
};

/* ---- host ---- */

static FakeVM *vm_of(const MigrationHost *h)
{
    return h->opaque;
}

static void note(FakeVM *vm, const char *event)
{
    g_string_append_printf(vm->events, "%s ", event);
}

static const char *fake_machine_name(const MigrationHost *h)
{
    return "fake";
}

static bool fake_uuid(const MigrationHost *h, uint8_t uuid[16])
{
    return false;
}

static RunState fake_runstate(MigrationHost *h)
{
    FakeVM *vm = vm_of(h);
    RunState state;

    g_mutex_lock(&vm->lock);
    state = vm->state;
    g_mutex_unlock(&vm->lock);
    return state;
}

/* The guest thread holds the lock while it writes: after this it does not. */
static void change_state(FakeVM *vm, RunState state)
{
    g_mutex_lock(&vm->lock);
    if (vm->state == RUN_STATE_RUNNING && state != RUN_STATE_RUNNING) {
        note(vm, "STOP");
    } else if (vm->state != RUN_STATE_RUNNING && state == RUN_STATE_RUNNING) {
        note(vm, "RESUME");
    }
    vm->state = state;
    g_cond_broadcast(&vm->changed);
    g_mutex_unlock(&vm->lock);
}

static bool fake_vm_stop(MigrationHost *h, RunState state, GError **errp)
{
    g_assert_true(bql_locked());
    change_state(vm_of(h), state);
    if (vm_of(h)->fail_stop) {
        error_setg(errp, "a vCPU does not stop");
        return false;
    }
    return true;
}

static void fake_vm_start(MigrationHost *h)
{
    g_assert_true(bql_locked());
    g_assert_true(vm_of(h)->images_open);
    change_state(vm_of(h), RUN_STATE_RUNNING);
}

static void fake_set_runstate(MigrationHost *h, RunState state)
{
    g_assert_true(bql_locked());
    change_state(vm_of(h), state);
}

static bool fake_autostart(MigrationHost *h)
{
    return vm_of(h)->autostart;
}

static RAMList *fake_ram(MigrationHost *h)
{
    return vm_of(h)->ram;
}

static void fake_set_throttle(MigrationHost *h, int percent)
{
}

static bool fake_block_inactivate(MigrationHost *h, GError **errp)
{
    if (vm_of(h)->fail_inactivate) {
        error_setg(errp, "an image is busy");
        return false;
    }
    vm_of(h)->images_open = false;
    return true;
}

static bool fake_block_activate(MigrationHost *h, GError **errp)
{
    vm_of(h)->images_open = true;
    return true;
}

static int fake_take_fd(MigrationHost *h, const char *name, bool allow_number, GError **errp)
{
    error_setg(errp, "File descriptor named '%s' has not been found", name);
    return -1;
}

static int fake_open_file(MigrationHost *h, const char *path, int flags, int mode, GError **errp)
{
    error_setg(errp, "no files here");
    return -1;
}

static GObject *fake_find_object(MigrationHost *h, const char *id)
{
    return vm_of(h)->creds;
}

static void fake_exit_failed(MigrationHost *h)
{
    vm_of(h)->exits++;
}

static const MigrationHostOps fake_ops = {
    .machine_name = fake_machine_name,
    .uuid = fake_uuid,
    .runstate = fake_runstate,
    .vm_stop = fake_vm_stop,
    .vm_start = fake_vm_start,
    .set_runstate = fake_set_runstate,
    .autostart = fake_autostart,
    .ram = fake_ram,
    .set_throttle = fake_set_throttle,
    .block_inactivate = fake_block_inactivate,
    .block_activate = fake_block_activate,
    .take_fd = fake_take_fd,
    .open_file = fake_open_file,
    .find_object = fake_find_object,
    .exit_failed = fake_exit_failed,
};

static void fake_emit(void *opaque, const char *event, JsonObject *data)
{
    FakeVM *vm = opaque;

    g_mutex_lock(&vm->lock);
    if (g_str_equal(event, "MIGRATION")) {
        note(vm, json_object_get_string_member(data, "status"));
    } else {
        g_autofree char *pass =
            g_strdup_printf("PASS%d", (int)json_object_get_int_member(data, "pass"));

        note(vm, pass);
    }
    g_mutex_unlock(&vm->lock);
    json_object_unref(data);
}

/* ---- guest ---- */

/*
 * A guest writes while pages are read: that is what the dirty log is for, the page is sent again.
 * So it is no data race to report.
 */
__attribute__((noinline, no_sanitize("thread"))) static void guest_store(uint8_t *host,
                                                                         uint64_t value)
{
    *(volatile uint64_t *)host = value;
}

static gpointer guest_thread(gpointer opaque)
{
    FakeVM *vm = opaque;
    g_autoptr(GRand) rand = g_rand_new_with_seed(4711);

    g_mutex_lock(&vm->lock);
    while (!vm->quit) {
        if (vm->state != RUN_STATE_RUNNING) {
            g_cond_wait(&vm->changed, &vm->lock);
            continue;
        }
        for (unsigned i = 0; i < 16; i++) {
            uint32_t offset = g_rand_int(rand) % FAKE_RAM_SIZE & ~7u;

            guest_store(vm->block->host + offset, ++vm->guest_writes);
            dirty_log_mark(vm->block, offset, 8);
        }
        g_cond_broadcast(&vm->changed);
        g_mutex_unlock(&vm->lock);
        g_usleep(200);
        g_mutex_lock(&vm->lock);
    }
    g_mutex_unlock(&vm->lock);
    return NULL;
}

void fake_vm_start_guest(FakeVM *vm)
{
    vm->guest = g_thread_new("guest", guest_thread, vm);
    g_mutex_lock(&vm->lock);
    while (!vm->guest_writes) {
        g_cond_wait(&vm->changed, &vm->lock);
    }
    g_mutex_unlock(&vm->lock);
}

/* ---- life ---- */

FakeVM *fake_vm_new(bool incoming)
{
    FakeVM *vm = g_new0(FakeVM, 1);

    g_mutex_init(&vm->lock);
    g_cond_init(&vm->changed);
    vm->events = g_string_new(NULL);
    vm->host.ops = &fake_ops;
    vm->host.opaque = vm;
    vm->host.events = (QapiEventSink){fake_emit, vm};
    vm->state = incoming ? RUN_STATE_INMIGRATE : RUN_STATE_RUNNING;
    vm->images_open = !incoming;
    vm->autostart = true;
    vm->ram = ram_list_new();
    vm->block = ram_block_new_anon(vm->ram, "fake.ram", FAKE_RAM_SIZE, RAM_MIGRATABLE, NULL);
    vm->m = migration_new(&vm->host);
    vmstate_register(migration_savevm(vm->m), NULL, INSTANCE_ID_ANY, &vmsd_uart, &vm->uart, -1,
                     NULL);
    vmstate_register(migration_savevm(vm->m), "bus@0/slot1", INSTANCE_ID_ANY, &vmsd_disk, &vm->disk,
                     -1, NULL);
    fake_vm_set_cap(vm, MIGRATION_CAPABILITY_EVENTS);
    if (incoming) {
        g_assert_true(migration_incoming_start(vm->m, "defer", NULL));
    }
    return vm;
}

void fake_vm_free(FakeVM *vm)
{
    g_mutex_lock(&vm->lock);
    vm->quit = true;
    g_cond_broadcast(&vm->changed);
    g_mutex_unlock(&vm->lock);
    if (vm->guest) {
        g_thread_join(vm->guest);
    }
    migration_free(vm->m); /* joins its threads, the last users of the blocks */
    while (ram_list_first(vm->ram)) {
        ram_block_free(ram_list_first(vm->ram));
    }
    ram_list_free(vm->ram);
    g_string_free(vm->events, TRUE);
    g_cond_clear(&vm->changed);
    g_mutex_clear(&vm->lock);
    g_free(vm);
}

void fake_vm_populate(FakeVM *vm, uint32_t seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    /* Three pages of data, the rest never touched: small streams make small tests. */
    for (unsigned page = 0; page < 3; page++) {
        uint32_t *words = (uint32_t *)(vm->block->host + page * 40 * TARGET_PAGE_SIZE);

        for (unsigned i = 0; i < TARGET_PAGE_SIZE / 4; i++) {
            words[i] = g_rand_int(rand);
        }
    }
    vm->uart = (FakeUart){.divisor = seed, .regs = {1, 2, 3}, .extra = seed & 1 ? 7 : 0};
    vm->disk = (FakeDisk){.n = 2, .queue = {seed, 22, 33}};
}

bool fake_vm_same_state(FakeVM *a, FakeVM *b)
{
    return memcmp(a->block->host, b->block->host, FAKE_RAM_SIZE) == 0 &&
           memcmp(&a->uart, &b->uart, sizeof(a->uart)) == 0 && a->disk.n == b->disk.n &&
           memcmp(a->disk.queue, b->disk.queue, sizeof(a->disk.queue)) == 0;
}

bool fake_vm_running(FakeVM *vm)
{
    return fake_runstate(&vm->host) == RUN_STATE_RUNNING;
}

void fake_vm_set_cap(FakeVM *vm, MigrationCapability cap)
{
    MigrationCapabilityStatus on = {cap, true};
    g_autoptr(GPtrArray) list = g_ptr_array_new();

    g_ptr_array_add(list, &on);
    g_assert_true(options_set_caps(&vm->m->options, list, false, NULL));
}

/* ---- migrating ---- */

void fake_vm_connect(FakeVM *src, FakeVM *dst, const FaultPlan *write, const FaultPlan *dst_read,
                     QIOChannel **ioc)
{
    g_autoptr(QIOChannelSocket) a = NULL, b = NULL;
    g_autoptr(QIOChannel) faulty = NULL, faulty_dst = NULL;
    MigrationState *s = outgoing_new(src->m);
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    a = io_channel_socket_new_fd(fds[0], NULL);
    b = io_channel_socket_new_fd(fds[1], NULL);
    faulty = fault_channel_new(IO_CHANNEL(a), NULL, write);
    faulty_dst = fault_channel_new(IO_CHANNEL(b), dst_read, NULL);
    if (ioc) {
        *ioc = g_object_ref(faulty);
    }
    incoming_run_on(dst->m->incoming, faulty_dst);
    outgoing_set_status(s, MIGRATION_STATUS_NONE, MIGRATION_STATUS_SETUP);
    outgoing_run_on(s, faulty, NULL);
}

MigrationStatus fake_vm_status(FakeVM *src)
{
    return outgoing_status(src->m->outgoing);
}

void fake_vm_turn(void)
{
    bql_unlock();
    g_usleep(100);
    bql_lock();
    g_main_context_iteration(NULL, FALSE);
}

void fake_vm_wait_status(FakeVM *src, MigrationStatus status)
{
    while (fake_vm_status(src) != status && outgoing_is_running(src->m->outgoing)) {
        fake_vm_turn();
    }
}

static bool incoming_ended(FakeVM *dst)
{
    MigrationStatus status = incoming_status(dst->m->incoming);

    return status == MIGRATION_STATUS_COMPLETED || status == MIGRATION_STATUS_FAILED;
}

void fake_vm_wait_end(FakeVM *src, FakeVM *dst)
{
    while ((src && outgoing_is_running(src->m->outgoing)) || (dst && !incoming_ended(dst))) {
        g_main_context_iteration(NULL, TRUE);
    }
}

void fake_vm_wait_incoming(FakeVM *dst)
{
    while (!incoming_ended(dst) &&
           incoming_status(dst->m->incoming) != MIGRATION_STATUS_POSTCOPY_PAUSED) {
        g_main_context_iteration(NULL, TRUE);
    }
}

char *fake_vm_source_error(FakeVM *src)
{
    return outgoing_error(src->m->outgoing);
}

char *fake_vm_destination_error(FakeVM *dst)
{
    g_autoptr(MigrationInfo) info = g_new0(MigrationInfo, 1);

    incoming_fill_info(dst->m->incoming, info);
    return g_steal_pointer(&info->error_desc);
}
