/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk driven through its registers: requests, errors, and guests that break the rules. */
#include "util/osdep.h"
#include <fcntl.h>
#include "virtio-guest.h"

#define IMAGE_SIZE (4 * MiB)
#define HEADER     DATA_RAM
#define PAYLOAD    (DATA_RAM + 4096)
#define STATUS     (DATA_RAM + 64 * KiB)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };

typedef struct {
    Guest *g;
    VirtIODevice *vdev;
    Ring ring;
    char *path;
} Fixture;

static void setup(Fixture *f, gconstpointer modern)
{
    g_autofree char *options = NULL;
    g_autoptr(JsonObject) drive = NULL;
    g_autoptr(GError) err = NULL;
    int fd = g_file_open_tmp("godwit-blk-XXXXXX", &f->path, NULL);

    g_assert_cmpint(ftruncate(fd, IMAGE_SIZE), ==, 0);
    close(fd);
    f->g = guest_new(GPOINTER_TO_INT(modern));
    options = g_strdup_printf("{'file':'%s','id':'d','format':'raw','rerror':'stop'}", f->path);
    for (char *c = options; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    drive = guest_options(options);
    g_assert_nonnull(block_drive_add(f->g->m->blocks, drive, false, &err));
    g_assert_no_error(err);
    f->vdev =
        guest_plug(f->g, "{\"driver\":\"virtio-blk-device\",\"drive\":\"d\",\"serial\":\"abc\"}");
    guest_run(f->g);
}

static void start(Fixture *f, uint64_t features)
{
    guest_negotiate(f->g, features);
    f->ring = guest_ring(f->g, 0, 8);
    guest_driver_ok(f->g);
}

static void teardown(Fixture *f, gconstpointer modern)
{
    guest_free(f->g);
    unlink(f->path);
    g_free(f->path);
}

static void put_header(Fixture *f, uint32_t type, uint64_t sector)
{
    uint32_t *h = guest_ptr(f->g, HEADER);

    h[0] = type;
    h[1] = 0;
    memcpy(&h[2], &sector, 8);
}

static uint8_t request(Fixture *f, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
    uint64_t addr[] = {HEADER, PAYLOAD, STATUS};
    uint32_t lens[] = {16, len, 1};
    uint8_t *status = guest_ptr(f->g, STATUS);

    put_header(f, type, sector);
    *status = 0xee;
    if (len) {
        ring_add(&f->ring, addr, lens, 3, in ? 6 : 4);
    } else {
        addr[1] = STATUS;
        lens[1] = 1;
        ring_add(&f->ring, addr, lens, 2, 2);
    }
    ring_kick(&f->ring);
    g_assert_cmpuint(ring_wait(&f->ring, NULL), ==, in ? len + 1 : 1);
    return *status;
}

static void test_io(Fixture *f, gconstpointer modern)
{
    uint8_t *data = guest_ptr(f->g, PAYLOAD);
    uint8_t file[4096];
    int fd = open(f->path, O_RDONLY);

    start(f, 0);
    memset(data, 0x5a, 4096);
    g_assert_cmpuint(request(f, T_OUT, 8, 4096, false), ==, 0);
    g_assert_cmpint(pread(fd, file, 4096, 4096), ==, 4096);
    g_assert_cmpmem(file, 4096, data, 4096);
    g_assert_cmpuint(f->g->irq_level[7], ==, 1);
    g_assert_cmpuint(guest_read(f->g, 0x60), ==, 1);
    guest_write(f->g, 0x64, 1);
    g_assert_cmpuint(f->g->irq_level[7], ==, 0);

    memset(data, 0, 4096);
    g_assert_cmpuint(request(f, T_IN, 8, 4096, true), ==, 0);
    g_assert_cmpmem(file, 4096, data, 4096);
    g_assert_cmpuint(request(f, T_FLUSH, 0, 0, false), ==, 0);
    g_assert_cmpuint(request(f, T_GET_ID, 0, 20, true), ==, 0);
    g_assert_cmpstr((char *)data, ==, "abc");

    *(uint64_t *)data = 8;
    ((uint32_t *)data)[2] = 8;
    ((uint32_t *)data)[3] = 0;
    g_assert_cmpuint(request(f, T_WRITE_ZEROES, 0, 16, false), ==, 0);
    g_assert_cmpint(pread(fd, file, 4096, 4096), ==, 4096);
    for (unsigned i = 0; i < 4096; i++) {
        g_assert_cmpuint(file[i], ==, 0);
    }
    g_assert_cmpuint(request(f, T_DISCARD, 0, 16, false), ==, 0);
    close(fd);
}

static void test_errors(Fixture *f, gconstpointer modern)
{
    uint32_t *range = guest_ptr(f->g, PAYLOAD);

    start(f, 0);
    g_assert_cmpuint(request(f, T_IN, IMAGE_SIZE / 512, 512, true), ==, 1);
    g_assert_cmpuint(request(f, T_IN, UINT64_MAX / 512, 512, true), ==, 1);
    g_assert_cmpuint(request(f, T_IN, UINT64_MAX, 512, true), ==, 1);
    g_assert_cmpuint(request(f, T_IN, 0, 511, true), ==, 1);
    g_assert_cmpuint(request(f, 2, 0, 512, false), ==, 2);
    g_assert_cmpuint(request(f, 77, 0, 512, false), ==, 2);
    memset(range, 0xff, 16);
    g_assert_cmpuint(request(f, T_DISCARD, 0, 16, false), ==, 2); /* unknown flags */
    range[3] = 0;
    g_assert_cmpuint(request(f, T_DISCARD, 0, 16, false), ==, 1); /* out of range */
    g_assert_cmpuint(request(f, T_DISCARD, 0, 15, false), ==, 2);
    g_assert_false(f->vdev->broken);
}

/* The header and the status byte inside larger buffers, data in odd pieces. */
static void test_odd_layout(Fixture *f, gconstpointer modern)
{
    uint64_t addr[] = {HEADER, HEADER + 10, PAYLOAD, PAYLOAD + 100};
    uint32_t lens[] = {10, 6 + 100, 100, 413};
    uint8_t *h = guest_ptr(f->g, HEADER), *status = guest_ptr(f->g, PAYLOAD + 512);
    int fd = open(f->path, O_WRONLY);

    start(f, 0);
    g_assert_cmpint(pwrite(fd, "hello", 5, 512), ==, 5);
    close(fd);
    put_header(f, T_IN, 1);
    *status = 0xee;
    h[16] = 0x77;
    ring_add(&f->ring, addr, lens, 4, 0xc);
    ring_kick(&f->ring);
    g_assert_cmpuint(ring_wait(&f->ring, NULL), ==, 513);
    g_assert_cmpuint(*status, ==, 0);
    g_assert_cmpmem(guest_ptr(f->g, PAYLOAD), 5, "hello", 5);
}

static void test_indirect(Fixture *f, gconstpointer modern)
{
    Desc table[3] = {{HEADER, 16, DESC_NEXT, 1},
                     {PAYLOAD, 512, DESC_NEXT | DESC_WRITE, 2},
                     {STATUS, 1, DESC_WRITE, 0}};
    uint8_t *status = guest_ptr(f->g, STATUS);

    start(f, 1ULL << VIRTIO_F_INDIRECT_DESC);
    memcpy(guest_ptr(f->g, DATA_RAM + MiB), table, sizeof(table));
    put_header(f, T_IN, 0);
    *status = 0xee;
    ring_set_desc(&f->ring, 3, DATA_RAM + MiB, sizeof(table), DESC_INDIRECT, 0);
    ring_offer(&f->ring, 3);
    ring_kick(&f->ring);
    g_assert_cmpuint(ring_wait(&f->ring, NULL), ==, 513);
    g_assert_cmpuint(*status, ==, 0);
}

/* With the event index the driver is interrupted only where it asked to be. */
static void test_event_idx(Fixture *f, gconstpointer modern)
{
    uint16_t *used_event;

    start(f, 1ULL << VIRTIO_F_EVENT_IDX);
    used_event = (uint16_t *)guest_ptr(f->g, f->ring.avail) + 2 + f->ring.num;
    *used_event = 1; /* after the second one */
    g_assert_cmpuint(request(f, T_FLUSH, 0, 0, false), ==, 0);
    guest_write(f->g, 0x64, 1); /* the first always interrupts */
    g_assert_cmpuint(request(f, T_FLUSH, 0, 0, false), ==, 0);
    g_assert_cmpuint(guest_read(f->g, 0x60), ==, 1);
    guest_write(f->g, 0x64, 1);
    g_assert_cmpuint(request(f, T_FLUSH, 0, 0, false), ==, 0);
    g_assert_cmpuint(guest_read(f->g, 0x60), ==, 0);
    g_assert_cmpuint(*((uint16_t *)guest_ptr(f->g, f->ring.used) + 2 + 4 * f->ring.num), ==, 3);
}

static void test_dirty(Fixture *f, gconstpointer modern)
{
    uint64_t pages = RAM_SIZE / TARGET_PAGE_SIZE;
    g_autofree unsigned long *dirty = bitmap_new(pages);

    start(f, 0);
    g_assert_true(dirty_log_start(f->g->m->ram_list, DIRTY_CLIENT_MIGRATION, NULL));
    g_assert_cmpuint(request(f, T_IN, 0, 8192, true), ==, 0);
    dirty_log_sync_block(f->g->ram, DIRTY_CLIENT_MIGRATION, dirty);
    g_assert_true(test_bit((PAYLOAD - RAM_BASE) >> 12, dirty));
    g_assert_true(test_bit((PAYLOAD - RAM_BASE + 4096) >> 12, dirty));
    g_assert_true(test_bit((STATUS - RAM_BASE) >> 12, dirty));
    g_assert_true(test_bit((f->ring.used - RAM_BASE) >> 12, dirty));
    g_assert_false(test_bit((HEADER - RAM_BASE) >> 12, dirty));
    dirty_log_stop(f->g->m->ram_list, DIRTY_CLIENT_MIGRATION);
}

/* ---- guests that break the rules: the device stops, a reset brings it back ---- */

static void expect_broken(Fixture *f)
{
    uint16_t used = ring_used_idx(&f->ring);

    ring_kick(&f->ring);
    g_assert_true(f->vdev->broken);
    g_assert_cmpuint(ring_used_idx(&f->ring), ==, used);
    if (f->g->modern) {
        g_assert_cmpuint(guest_read(f->g, 0x70) & VIRTIO_STATUS_NEEDS_RESET, !=, 0);
    }
    start(f, 1ULL << VIRTIO_F_INDIRECT_DESC);
    g_assert_false(f->vdev->broken);
    g_assert_cmpuint(request(f, T_FLUSH, 0, 0, false), ==, 0);
}

static void test_hostile(Fixture *f, gconstpointer modern)
{
    Desc bad = {HEADER, 16, DESC_INDIRECT, 0};
    Ring *r = &f->ring;

    start(f, 1ULL << VIRTIO_F_INDIRECT_DESC);

    ring_set_desc(r, 0, HEADER, 16, DESC_NEXT, 0); /* loop */
    ring_offer(r, 0);
    expect_broken(f);

    ring_offer(r, 8); /* head outside the ring */
    expect_broken(f);

    ring_set_desc(r, 1, HEADER, 16, DESC_NEXT, 8); /* next outside */
    ring_offer(r, 1);
    expect_broken(f);

    r->avail_idx += 20; /* more entries than the ring has */
    ring_offer(r, 0);
    expect_broken(f);

    ring_set_desc(r, 1, HEADER, 0, 0, 0); /* empty */
    ring_offer(r, 1);
    expect_broken(f);

    ring_set_desc(r, 1, 0x1000, 16, 0, 0); /* not memory */
    ring_offer(r, 1);
    expect_broken(f);

    ring_set_desc(r, 1, RAM_BASE + RAM_SIZE - 8, UINT32_MAX, 0, 0); /* beyond the end */
    ring_offer(r, 1);
    expect_broken(f);

    ring_set_desc(r, 1, UINT64_MAX - 3, 16, 0, 0); /* wraps */
    ring_offer(r, 1);
    expect_broken(f);

    ring_set_desc(r, 1, STATUS, 1, DESC_WRITE | DESC_NEXT, 2); /* in before out */
    ring_set_desc(r, 2, HEADER, 16, 0, 0);
    ring_offer(r, 1);
    expect_broken(f);

    ring_set_desc(r, 1, DATA_RAM, 17, DESC_INDIRECT, 0); /* odd table */
    ring_offer(r, 1);
    expect_broken(f);

    ring_set_desc(r, 1, 0x1000, 16, DESC_INDIRECT, 0); /* table not in memory */
    ring_offer(r, 1);
    expect_broken(f);

    memcpy(guest_ptr(f->g, DATA_RAM + MiB), &bad, sizeof(bad)); /* nested */
    ring_set_desc(r, 1, DATA_RAM + MiB, 16, DESC_INDIRECT, 0);
    ring_offer(r, 1);
    expect_broken(f);

    ring_set_desc(r, 1, HEADER, 16, 0, 0); /* no status byte */
    ring_offer(r, 1);
    expect_broken(f);

    ring_set_desc(r, 1, HEADER, 15, DESC_NEXT, 2); /* short header */
    ring_set_desc(r, 2, STATUS, 1, DESC_WRITE, 0);
    ring_offer(r, 1);
    expect_broken(f);

    /* a ring outside RAM */
    guest_negotiate(f->g, 0);
    guest_write(f->g, 0x30, 0);
    if (f->g->modern) {
        guest_write(f->g, 0x38, 8);
        guest_write(f->g, 0x80, 0x1000);
        guest_write(f->g, 0x44, 1);
    } else {
        guest_write(f->g, 0x40, (RAM_BASE + RAM_SIZE) >> 12);
    }
    g_assert_true(f->vdev->broken);
    guest_write(f->g, 0x50, 0);
    guest_write(f->g, 0x70, 0);
    g_assert_false(f->vdev->broken);
    guest_write(f->g, 0x50, 0);
    guest_write(f->g, 0x50, 1023);
    guest_write(f->g, 0x50, UINT32_MAX);
    guest_write(f->g, 0x30, UINT32_MAX);
    guest_write(f->g, 0x38, UINT32_MAX);
}

/* ---- rerror=stop: parked, moved, done on the other side ---- */

/* Make reads of the image fail by swapping its descriptor for a write-only one. */
static int find_fd(const char *path)
{
    for (int fd = 3; fd < 1024; fd++) {
        g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
        g_autofree char *target = g_file_read_link(link, NULL);

        if (target && g_str_equal(target, path)) {
            return fd;
        }
    }
    g_assert_not_reached();
}

static void test_parked(Fixture *f, gconstpointer modern)
{
    g_autoptr(GByteArray) stream = NULL;
    g_autoptr(GError) err = NULL;
    uint64_t addr[] = {HEADER, PAYLOAD, STATUS};
    uint32_t lens[] = {16, 4096, 1};
    int fd = find_fd(f->path), good = dup(fd), bad = open(f->path, O_WRONLY);
    uint8_t *status = guest_ptr(f->g, STATUS), *data = guest_ptr(f->g, PAYLOAD);
    unsigned element = modern ? 44249 : 139;

    start(f, 0);
    g_assert_cmpint(pwrite(good, "parked", 6, 0), ==, 6);
    g_assert_cmpint(dup2(bad, fd), ==, fd);
    put_header(f, T_IN, 0);
    *status = 0xee;
    ring_add(&f->ring, addr, lens, 3, 6);
    ring_kick(&f->ring);
    while (!f->g->io_errors) {
        g_main_context_iteration(NULL, TRUE);
    }
    guest_stop(f->g);
    g_assert_cmpuint(ring_used_idx(&f->ring), ==, 0);
    g_assert_cmpuint(*status, ==, 0xee);

    stream = guest_save(f->vdev);
    /* the started subsection and the ring size one come on top */
    g_assert_cmpuint(stream->len, ==, element + 49169 + 21 + 4117);
    g_assert_true(guest_load(f->vdev, stream->data, stream->len, &err));
    g_assert_no_error(err);
    g_assert_cmpint(dup2(good, fd), ==, fd);
    guest_run(f->g);
    g_assert_cmpuint(ring_wait(&f->ring, NULL), ==, 4097);
    g_assert_cmpuint(*status, ==, 0);
    g_assert_cmpstr((char *)data, ==, "parked");
    g_assert_cmpuint(ring_used_idx(&f->ring), ==, 1);
    close(good);
    close(bad);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(Fixture *, gconstpointer);
    } tests[] = {
        {"io", test_io},
        {"errors", test_errors},
        {"odd-layout", test_odd_layout},
        {"indirect", test_indirect},
        {"event-idx", test_event_idx},
        {"dirty", test_dirty},
        {"hostile", test_hostile},
        {"parked", test_parked},
    };

    g_test_init(&argc, &argv, NULL);
    bql_lock();
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++) {
        for (int modern = 0; modern < 2; modern++) {
            g_autofree char *path =
                g_strdup_printf("/virtio-blk/%s/%s", modern ? "modern" : "legacy", tests[i].name);

            g_test_add(path, Fixture, GINT_TO_POINTER(modern), setup, tests[i].fn, teardown);
        }
    }
    return g_test_run();
}
