/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Postcopy between two VMs in one process, and what a destination does about a source that lies. */
#include <sys/socket.h>
#include "fake-vm.h"
#include "io/channel-socket.h"
#include "migration/wire/postcopy.h"
#include "util/lock.h"
#include "util/userfaultfd.h"

#define SLOW 100000 /* bytes per second */

static void set_bandwidth(FakeVM *vm, uint64_t precopy, uint64_t postcopy)
{
    MigrationParameters p = {
        .has_max_bandwidth = true,
        .max_bandwidth = precopy,
        .has_max_postcopy_bandwidth = true,
        .max_postcopy_bandwidth = postcopy,
    };

    g_assert_true(options_set_params(&vm->m->options, &p, NULL));
}

typedef struct {
    FakeVM *vm;
    GThread *thread;
    bool here; /* atomic */
    uint64_t sum;
} Toucher;

/* Reads all memory of a guest, as its vCPU would. */
static gpointer touch_all(gpointer opaque)
{
    Toucher *t = opaque;

    for (unsigned at = 0; at < FAKE_RAM_SIZE; at += 8) {
        t->sum += *(volatile uint64_t *)(t->vm->block->host + at) * (at + 1);
    }
    __atomic_store_n(&t->here, true, __ATOMIC_RELEASE);
    return NULL;
}

static void iterate_until(const bool *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
        bql_unlock();
        g_usleep(1000);
        bql_lock();
        g_main_context_iteration(NULL, FALSE);
    }
}

/* All pages are asked for, the push alone would take for ever. */
static void test_whole(void)
{
    FakeVM *src = fake_vm_new(false), *dst = fake_vm_new(true);
    Toucher t = {.vm = dst}, same = {.vm = src};

    fake_vm_populate(src, 5);
    for (unsigned at = 0; at < FAKE_RAM_SIZE; at += 4096) {
        src->block->host[at] = at >> 12;
    }
    fake_vm_set_cap(src, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    fake_vm_set_cap(dst, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    set_bandwidth(src, SLOW, SLOW);
    fake_vm_connect(src, dst, NULL, NULL, NULL);
    fake_vm_wait_status(src, MIGRATION_STATUS_ACTIVE);
    g_assert_true(postcopy_source_start(src->m->outgoing, NULL));
    fake_vm_wait_status(src, MIGRATION_STATUS_POSTCOPY_ACTIVE);
    t.thread = g_thread_new("toucher", touch_all, &t);
    iterate_until(&t.here);
    g_thread_join(t.thread);
    touch_all(&same);
    g_assert_cmpuint(t.sum, ==, same.sum);
    set_bandwidth(src, 0, 0);
    fake_vm_wait_end(src, dst);
    g_assert_cmpint(fake_vm_status(src), ==, MIGRATION_STATUS_COMPLETED);
    g_assert_true(fake_vm_running(dst));
    g_assert_cmpint(src->state, ==, RUN_STATE_POSTMIGRATE);
    g_assert_true(fake_vm_same_state(src, dst));
    g_assert_cmpuint(src->m->counters.postcopy_requests, >, 0);
    fake_vm_free(src);
    fake_vm_free(dst);
}

/* The package does not load: the guest stays. */
static void test_refused_devices(void)
{
    FakeVM *src = fake_vm_new(false), *dst = fake_vm_new(true);
    g_autofree char *error = NULL;

    fake_vm_populate(src, 6);
    dst->disk.refuse_load = true;
    fake_vm_set_cap(src, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    fake_vm_set_cap(dst, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    set_bandwidth(src, SLOW, 0);
    fake_vm_connect(src, dst, NULL, NULL, NULL);
    fake_vm_wait_status(src, MIGRATION_STATUS_ACTIVE);
    g_assert_true(postcopy_source_start(src->m->outgoing, NULL));
    fake_vm_wait_end(src, dst);
    error = fake_vm_source_error(src);
    g_assert_nonnull(strstr(error, "does not want to be loaded"));
    g_assert_cmpint(fake_vm_status(src), ==, MIGRATION_STATUS_FAILED);
    g_assert_true(fake_vm_running(src) && src->images_open);
    g_assert_false(fake_vm_running(dst));
    fake_vm_free(src);
    fake_vm_free(dst);
}

/* ---- lies ---- */

#define HELLO    "QEVM\0\0\0\3\7\0\0\0\4fake"
#define RETURN   "\10\0\1\0\0"
#define ADVISE   "\10\0\3\0\20\0\0\0\0\0\0\20\0\0\0\0\0\0\0\20\0"
#define DISCARD  "\10\0\6\0\33\0\10fake.ram\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\20\0"
#define LISTEN   "\10\0\4\0\0"
#define RUN      "\10\0\5\0\0"
#define PACKAGE  "\10\0\7\0\4"
#define ASK      "\10\0\12\0\11\10fake.ram"
#define RESUME   "\10\0\11\0\0"
#define BYTES(s) s, sizeof(s) - 1

static const struct {
    const char *name;
    const char *bytes;
    size_t len;
    const char *text;
} lies[] = {
    {"listen", BYTES(HELLO LISTEN), "not advised"},
    {"run", BYTES(HELLO RUN), "not advised"},
    {"discard", BYTES(HELLO DISCARD), "not advised"},
    {"package", BYTES(HELLO PACKAGE "\0\0\0\0"), "not advised"},
    {"recv-bitmap", BYTES(HELLO ASK), "not advised"},
    {"resume", BYTES(HELLO RESUME), "not advised"},
    {"short-advise", BYTES(HELLO "\10\0\3\0\0"), "advises 0 bytes"},
    {"other-pages", BYTES(HELLO "\10\0\3\0\20\0\0\0\0\0\40\20\0\0\0\0\0\0\0\20\0"),
     "matching RAM page sizes (s=201000 d=1000)"},
    {"other-target", BYTES(HELLO "\10\0\3\0\20\0\0\0\0\0\0\20\0\0\0\0\0\0\0\100\0"),
     "matching target page sizes (s=16384 d=4096)"},
    {"twice", BYTES(HELLO ADVISE ADVISE), "advised before"},
    {"run-too-early", BYTES(HELLO ADVISE RUN), "outside a package"},
    {"listen-bare", BYTES(HELLO RETURN ADVISE LISTEN), "outside a package"},
    {"ask-too-early", BYTES(HELLO ADVISE ASK), "outside a recovery"},
    {"resume-too-early", BYTES(HELLO ADVISE RESUME), "outside a recovery"},
    {"channels-too-early", BYTES(HELLO RETURN "\10\0\2\0\4\107\120\123\3"), "before the switch"},
    {"no-return-path", BYTES(HELLO ADVISE PACKAGE "\0\0\0\5" LISTEN), "without a return path"},
    {"huge-package", BYTES(HELLO ADVISE PACKAGE "\377\377\377\377"), "too large"},
    {"cut-package", BYTES(HELLO ADVISE PACKAGE "\17\0\0\0abc"), "end of stream"},
    {"empty-package", BYTES(HELLO ADVISE PACKAGE "\0\0\0\0"), "end of stream"},
    {"no-listen", BYTES(HELLO ADVISE PACKAGE "\0\0\0\1\0"), "without the command to listen"},
    {"nested", BYTES(HELLO RETURN ADVISE PACKAGE "\0\0\0\11" PACKAGE "\0\0\0\0"),
     "inside a package"},
    {"no-run", BYTES(HELLO RETURN ADVISE PACKAGE "\0\0\0\6" LISTEN "\0"),
     "without the command to run"},
    {"outside", BYTES(HELLO ADVISE "\10\0\6\0\33\0\10fake.ram\0\0\0\0\0\0\20\0\0\0\0\0\0\0\0\20\0"),
     "Bad range to discard"},
    {"crooked", BYTES(HELLO ADVISE "\10\0\6\0\33\0\10fake.ram\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\20\0"),
     "Bad range to discard"},
    {"wraps",
     BYTES(HELLO ADVISE "\10\0\6\0\33\0\10fake.ram\0\0\0\0\0\0\0\20\0"
                        "\377\377\377\377\377\377\360\0"),
     "Bad range to discard"},
    {"nobody", BYTES(HELLO ADVISE "\10\0\6\0\33\0\10fake.rom\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\20\0"),
     "'fake.rom' to discard from is not known"},
    {"end", BYTES(HELLO ADVISE DISCARD "\0"), "in the middle of the switch"},
};

static void test_lie(gconstpointer data)
{
    unsigned i = GPOINTER_TO_UINT(data);
    FakeVM *dst = fake_vm_new(true);
    g_autoptr(QIOChannelSocket) ioc = NULL;
    g_autofree char *error = NULL;
    int fds[2];

    fake_vm_set_cap(dst, MIGRATION_CAPABILITY_POSTCOPY_RAM);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    ioc = io_channel_socket_new_fd(fds[1], NULL);
    g_assert_cmpint(write(fds[0], lies[i].bytes, lies[i].len), ==, lies[i].len);
    if (!g_str_equal(lies[i].name, "no-run")) { /* there the end of the line would be news, too */
        shutdown(fds[0], SHUT_WR);
    }
    incoming_run_on(dst->m->incoming, IO_CHANNEL(ioc));
    fake_vm_wait_end(NULL, dst);
    g_assert_cmpint(incoming_status(dst->m->incoming), ==, MIGRATION_STATUS_FAILED);
    error = fake_vm_destination_error(dst);
    g_assert_nonnull(error);
    if (!strstr(error, lies[i].text)) {
        g_error("'%s' does not say '%s'", error, lies[i].text);
    }
    g_assert_false(fake_vm_running(dst));
    close(fds[0]);
    fake_vm_free(dst);
}

int main(int argc, char **argv)
{
    unsigned features;
    GError *err = NULL;

    g_test_init(&argc, &argv, NULL);
    if (!uffd_probe(&features, &err)) {
        printf("1..0 # SKIP %s\n", err->message);
        g_error_free(err);
        return 0;
    }
    bql_lock();
    bql_attach_main_context(g_main_context_default());
    g_test_add_func("/postcopy/whole", test_whole);
    g_test_add_func("/postcopy/refused-devices", test_refused_devices);
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        g_autofree char *path = g_strdup_printf("/postcopy/lie/%s", lies[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_lie);
    }
    return g_test_run();
}
