/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images: options, node chains, locks against another process's view, odd requests, hand-over. */
#include "util/osdep.h"
#include <fcntl.h>
#include "backends/block.h"
#include "util/lock.h"

#define SIZE (1 * MiB)

typedef struct {
    BlockList *list;
    char *path;
    int fd;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    f->fd = g_file_open_tmp("godwit-block-XXXXXX", &f->path, NULL);
    g_assert_cmpint(ftruncate(f->fd, SIZE), ==, 0);
    f->list = block_list_new();
}

static void teardown(Fixture *f, gconstpointer data)
{
    block_list_free(f->list);
    close(f->fd);
    unlink(f->path);
    g_free(f->path);
}

/* JSON with ' for " and %s for the image. */
static JsonObject *options(Fixture *f, const char *text)
{
    g_autoptr(GString) s = g_string_new(text);
    g_autoptr(JsonNode) node = NULL;

    g_string_replace(s, "'", "\"", 0);
    g_string_replace(s, "%s", f->path, 0);
    node = json_from_string(s->str, NULL);
    g_assert_nonnull(node);
    return json_node_dup_object(node);
}

static void add(Fixture *f, const char *text, bool inactive)
{
    g_autoptr(JsonObject) o = options(f, text);
    g_autoptr(GError) err = NULL;

    g_assert_true(block_node_add(f->list, o, inactive, &err));
    g_assert_no_error(err);
}

static void refuse(Fixture *f, const char *text, const char *message)
{
    g_autoptr(JsonObject) o = options(f, text);
    g_autoptr(GError) err = NULL;

    g_assert_false(block_node_add(f->list, o, false, &err));
    if (!strstr(err->message, message)) {
        g_test_message("'%s' does not say '%s'", err->message, message);
        g_test_fail();
    }
}

typedef struct {
    int calls, ret;
} Done;

static void done_cb(void *opaque, int ret)
{
    Done *d = opaque;

    d->calls++;
    d->ret = ret;
}

static int wait_done(Done *d)
{
    while (!d->calls) {
        g_main_context_iteration(NULL, TRUE);
    }
    return d->ret;
}

static void test_options(Fixture *f, gconstpointer data)
{
    refuse(f, "{'node-name':'a'}", "driver");
    refuse(f, "{'driver':'file','filename':'%s'}", "node-name");
    refuse(f, "{'driver':'qcow2','node-name':'a','file':'x'}", "Unknown driver 'qcow2'");
    refuse(f, "{'driver':'file','node-name':'a','filename':'/nonexistent/x'}", "Could not open");
    refuse(f, "{'driver':'file','node-name':'a'}", "requires a file name");
    refuse(f, "{'driver':'file','node-name':'a','filename':'/'}", "Is a directory");
    refuse(f, "{'driver':'file','node-name':'a','filename':'%s','bogus':1}", "bogus");
    refuse(f, "{'driver':'file','node-name':'a','filename':'%s','discard':'x'}", "discard");
    refuse(f, "{'driver':'host_device','node-name':'a','filename':'%s'}", "block device");
    refuse(f, "{'driver':'raw','node-name':'a','file':'none'}", "none");
    refuse(f,
           "{'driver':'raw','node-name':'a','file':{'driver':'file','filename':'%s'},"
           "'offset':2000000}",
           "offset");
    add(f, "{'driver':'file','node-name':'a','filename':'%s'}", false);
    refuse(f, "{'driver':'null-co','node-name':'a'}", "Duplicate");
    add(f, "{'driver':'raw','node-name':'b','file':'a','offset':4096,'size':8192}", false);
    g_assert_cmpuint(block_length(block_find(f->list, "b")), ==, 8192);
    g_assert_cmpstr(block_driver(block_find(f->list, "b")), ==, "raw");
    refuse(f, "{'driver':'raw','node-name':'c','file':'a'}", "in use");
    g_assert_false(block_node_del(f->list, "a", NULL));
    g_assert_true(block_node_del(f->list, "b", NULL));
    g_assert_true(block_node_del(f->list, "a", NULL));
    g_assert_null(block_find(f->list, "a"));
}

static void test_window(Fixture *f, gconstpointer data)
{
    BlockBackend *blk;
    char buf[6] = {0};
    struct iovec iov = {buf, 5};
    Done d = {0};

    add(f,
        "{'driver':'raw','node-name':'b','offset':4096,'size':8192,"
        "'file':{'driver':'file','filename':'%s'}}",
        false);
    blk = block_find(f->list, "b");
    g_assert_cmpint(pwrite(f->fd, "hello", 5, 4096), ==, 5);
    block_aio_readv(blk, 0, &iov, 1, done_cb, &d);
    g_assert_cmpint(d.calls, ==, 0);
    g_assert_cmpint(wait_done(&d), ==, 0);
    g_assert_cmpstr(buf, ==, "hello");
    g_assert_true(block_pwrite(blk, 8187, "world", 5, NULL));
    g_assert_cmpint(pread(f->fd, buf, 5, 4096 + 8187), ==, 5);
    g_assert_cmpstr(buf, ==, "world");
    g_assert_false(block_pwrite(blk, 8188, "world", 5, NULL));
    g_assert_false(block_pread(blk, UINT64_MAX, buf, 5, NULL));
}

/* A file that is no whole number of sectors: the rest of the last one reads as zeros. */
static void test_tail(Fixture *f, gconstpointer data)
{
    uint8_t buf[512];

    g_assert_cmpint(ftruncate(f->fd, 700), ==, 0);
    g_assert_cmpint(pwrite(f->fd, "x", 1, 699), ==, 1);
    add(f, "{'driver':'file','node-name':'a','filename':'%s'}", false);
    g_assert_cmpuint(block_length(block_find(f->list, "a")), ==, 1024);
    memset(buf, 0xff, sizeof(buf));
    g_assert_true(block_pread(block_find(f->list, "a"), 512, buf, 512, NULL));
    g_assert_cmpuint(buf[187], ==, 'x');
    for (unsigned i = 188; i < 512; i++) {
        g_assert_cmpuint(buf[i], ==, 0);
    }
}

/* Any offset, length and address works also where the kernel wants whole blocks. */
static void test_direct(Fixture *f, gconstpointer data)
{
    g_autoptr(JsonObject) o =
        options(f, "{'driver':'file','node-name':'a','filename':'%s','cache':{'direct':true}}");
    g_autoptr(GError) err = NULL;
    g_autofree uint8_t *model = g_malloc0(64 * KiB);
    g_autofree uint8_t *disk = g_malloc(64 * KiB);
    BlockBackend *blk;

    if (!block_node_add(f->list, o, false, &err)) {
        /* tmpfs: the one reason there is, and the message says what to do */
        g_assert_nonnull(strstr(err->message, "cache.direct=off"));
        return;
    }
    blk = block_find(f->list, "a");
    for (unsigned i = 0; i < 200; i++) {
        uint32_t off = g_random_int_range(0, 60000), len = g_random_int_range(1, 5000);
        g_autofree uint8_t *src = g_malloc(len);

        memset(src, i + 1, len);
        memset(model + off, i + 1, len);
        g_assert_true(block_pwrite(blk, off, src, len, NULL));
    }
    g_assert_true(block_pread(blk, 0, disk, 64 * KiB, NULL));
    g_assert_cmpmem(disk, 64 * KiB, model, 64 * KiB);
    g_assert_true(block_pread(blk, 33, disk, 1234, NULL));
    g_assert_cmpmem(disk, 1234, model + 33, 1234);
}

static void test_zero_and_discard(Fixture *f, gconstpointer data)
{
    uint8_t buf[4096];
    Done d = {0};
    BlockBackend *blk;

    memset(buf, 0xaa, sizeof(buf));
    g_assert_cmpint(pwrite(f->fd, buf, 4096, 8192), ==, 4096);
    add(f, "{'driver':'file','node-name':'a','filename':'%s','discard':'unmap'}", false);
    blk = block_find(f->list, "a");
    block_aio_discard(blk, 8192, 1024, true, done_cb, &d);
    g_assert_cmpint(wait_done(&d), ==, 0);
    g_assert_cmpint(pread(f->fd, buf, 4096, 8192), ==, 4096);
    g_assert_cmpuint(buf[0], ==, 0);
    g_assert_cmpuint(buf[1023], ==, 0);
    g_assert_cmpuint(buf[1024], ==, 0xaa);
    d = (Done){0};
    block_aio_discard(blk, 8192, 4096, false, done_cb, &d);
    g_assert_cmpint(wait_done(&d), ==, 0);
    d = (Done){0};
    block_aio_discard(blk, SIZE, 512, true, done_cb, &d);
    g_assert_cmpint(wait_done(&d), ==, -EIO);
}

static void test_drain(Fixture *f, gconstpointer data)
{
    static uint8_t buf[100][512];
    struct iovec iov[100];
    Done d = {0};

    add(f, "{'driver':'file','node-name':'a','filename':'%s'}", false);
    for (unsigned i = 0; i < 100; i++) {
        iov[i] = (struct iovec){buf[i], sizeof(buf[i])};
        block_aio_readv(block_find(f->list, "a"), i * 512, &iov[i], 1, done_cb, &d);
    }
    block_drain_all(f->list);
    g_assert_cmpint(d.calls, ==, 100);
}

/* What another process with a writer's or reader's locks would find. */
static bool lockable(int fd, off_t byte)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &fl), ==, 0);
    return fl.l_type == F_UNLCK;
}

static void test_locks(Fixture *f, gconstpointer data)
{
    BlockList *other = block_list_new();
    g_autoptr(JsonObject) o = options(f, "{'driver':'file','node-name':'x','filename':'%s'}");
    g_autoptr(GError) err = NULL;
    BlockBackend *a, *b;

    add(f, "{'driver':'file','node-name':'x','filename':'%s'}", false);
    g_assert_true(block_node_add(other, o, false, NULL));
    a = block_find(f->list, "x");
    b = block_find(other, "x");

    g_assert_true(block_claim(a, "disk0", true, NULL));
    g_assert_false(block_claim(a, "disk1", true, NULL));
    g_assert_false(lockable(f->fd, 100));
    g_assert_false(lockable(f->fd, 101));
    g_assert_false(lockable(f->fd, 201));
    g_assert_true(lockable(f->fd, 200));
    g_assert_false(block_claim(b, "disk0", true, &err));
    g_assert_nonnull(strstr(err->message, "Failed to get \"write\" lock"));
    g_assert_nonnull(strstr(err->message, "another process"));
    g_clear_error(&err);
    g_assert_false(block_claim(b, "disk0", false, &err));
    g_assert_nonnull(strstr(err->message, "shared \"write\" lock"));
    block_release(a);
    g_assert_true(lockable(f->fd, 101));

    g_assert_true(block_claim(a, "disk0", false, NULL)); /* two readers are fine */
    g_assert_true(block_claim(b, "disk0", false, NULL));
    block_release(a);
    block_release(b);
    block_list_free(other);
}

/* Source and destination of a migration share the file; only one of them owns it. */
static void test_handover(Fixture *f, gconstpointer data)
{
    BlockList *dst = block_list_new();
    g_autoptr(JsonObject) o =
        options(f, "{'driver':'raw','node-name':'x','file':{'driver':'file','filename':'%s'}}");
    g_autoptr(GError) err = NULL;
    BlockBackend *a, *b;
    char c = 0;

    add(f, "{'driver':'raw','node-name':'x','file':{'driver':'file','filename':'%s'}}", false);
    a = block_find(f->list, "x");
    g_assert_true(block_claim(a, "disk0", true, NULL));
    g_assert_true(block_node_add(dst, o, true, NULL));
    b = block_find(dst, "x");
    g_assert_true(block_claim(b, "disk0", true, NULL));
    g_assert_false(block_pwrite(b, 0, "n", 1, NULL));
    g_assert_false(block_activate_all(dst, &err));
    g_assert_nonnull(strstr(err->message, "lock"));

    g_assert_true(block_pwrite(a, 0, "s", 1, NULL));
    g_assert_true(block_inactivate_all(f->list, NULL));
    g_assert_false(block_pwrite(a, 0, "n", 1, NULL));
    g_assert_true(block_activate_all(dst, NULL));
    g_assert_true(block_pread(b, 0, &c, 1, NULL));
    g_assert_cmpint(c, ==, 's');
    g_assert_true(block_pwrite(b, 0, "d", 1, NULL));
    g_assert_false(block_activate_all(f->list, NULL)); /* it is theirs now */
    g_assert_true(block_inactivate_all(dst, NULL));
    g_assert_true(block_activate_all(f->list, NULL)); /* and back */
    g_assert_true(block_pread(a, 0, &c, 1, NULL));
    g_assert_cmpint(c, ==, 'd');
    block_list_free(dst);
}

static void test_drive(Fixture *f, gconstpointer data)
{
    g_autoptr(JsonObject) o = options(
        f, "{'file':'%s','if':'none','id':'hd','format':'raw','werror':'stop','read-only':'on'}");
    g_autoptr(JsonObject) again = options(f, "{'file':'%s','id':'hd','format':'raw'}");
    g_autoptr(JsonObject) qcow = options(f, "{'file':'%s','id':'q'}");
    g_autoptr(JsonObject) empty = options(f, "{'id':'e'}");
    g_autoptr(GError) err = NULL;
    BlockBackend *blk = block_drive_add(f->list, o, false, &err);

    g_assert_no_error(err);
    g_assert_true(block_find(f->list, "hd") == blk);
    g_assert_cmpstr(block_filename(blk), ==, f->path);
    g_assert_cmpstr(block_error_policy(blk, true), ==, "stop");
    g_assert_false(block_is_writable(blk));
    g_assert_false(block_claim(blk, "d", true, NULL));
    g_assert_null(block_drive_add(f->list, again, false, &err));
    g_assert_nonnull(strstr(err->message, "Duplicate"));
    g_clear_error(&err);
    g_assert_null(block_drive_add(f->list, empty, false, &err));
    g_clear_error(&err);
    g_assert_cmpint(pwrite(f->fd, "QFI\xfb", 4, 0), ==, 4);
    g_assert_null(block_drive_add(f->list, qcow, false, &err));
    g_assert_nonnull(strstr(err->message, "not a raw image"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    bql_lock();
    g_test_add("/block/options", Fixture, NULL, setup, test_options, teardown);
    g_test_add("/block/window", Fixture, NULL, setup, test_window, teardown);
    g_test_add("/block/tail", Fixture, NULL, setup, test_tail, teardown);
    g_test_add("/block/direct", Fixture, NULL, setup, test_direct, teardown);
    g_test_add("/block/zero-and-discard", Fixture, NULL, setup, test_zero_and_discard, teardown);
    g_test_add("/block/drain", Fixture, NULL, setup, test_drain, teardown);
    g_test_add("/block/locks", Fixture, NULL, setup, test_locks, teardown);
    g_test_add("/block/handover", Fixture, NULL, setup, test_handover, teardown);
    g_test_add("/block/drive", Fixture, NULL, setup, test_drive, teardown);
    return g_test_run();
}
