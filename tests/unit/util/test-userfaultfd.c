/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thread touches memory, the test decides what it finds there. */
#include <poll.h>
#include <sys/mman.h>
#include "util/userfaultfd.h"

#define PAGES 32
#define PAGE  4096

typedef struct {
    uint8_t *host;
    uint64_t len, page;
    int fd, backing;
} Area;

static unsigned features;

static bool area_open(Area *a, unsigned modes, int memfd_flags, uint64_t page)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;

    *a = (Area){.len = PAGES * page, .page = page, .backing = -1};
    if (memfd_flags >= 0) {
        a->len = page == PAGE ? a->len : page;
        a->backing = memfd_create("test-userfaultfd", memfd_flags);
        if (a->backing < 0 || ftruncate(a->backing, a->len) != 0) {
            g_test_skip("the host has no huge pages");
            return false;
        }
        flags = MAP_SHARED;
    }
    a->host = mmap(NULL, a->len, PROT_READ | PROT_WRITE, flags, a->backing, 0);
    if (a->host == MAP_FAILED) {
        close(a->backing);
        g_test_skip("the host has no free huge pages");
        return false;
    }
    a->fd = uffd_open(features, NULL);
    g_assert_cmpint(a->fd, >=, 0);
    g_assert_true(uffd_register(a->fd, a->host, a->len, modes, NULL));
    return true;
}

static void area_close(Area *a)
{
    close(a->fd);
    munmap(a->host, a->len);
    if (a->backing >= 0) {
        close(a->backing);
    }
}

static UffdFault next_fault(const Area *a)
{
    struct pollfd pfd = {a->fd, POLLIN, 0};
    UffdFault fault;

    g_assert_cmpint(poll(&pfd, 1, 10000), ==, 1);
    g_assert_cmpint(uffd_read(a->fd, &fault, 1, NULL), ==, 1);
    return fault;
}

static gpointer read_byte(gpointer opaque)
{
    return GUINT_TO_POINTER(*(volatile uint8_t *)opaque);
}

static gpointer write_byte(gpointer opaque)
{
    *(volatile uint8_t *)opaque = 77;
    return NULL;
}

static uint8_t joined(GThread *t)
{
    return GPOINTER_TO_UINT(g_thread_join(t));
}

static void check_missing(int memfd_flags, uint64_t page)
{
    g_autofree uint8_t *bytes = NULL;
    GError *err = NULL;
    UffdFault fault;
    GThread *t;
    Area a;

    if (!area_open(&a, UFFD_MISSING, memfd_flags, page)) {
        return;
    }
    bytes = g_malloc(a.len + 8);
    memset(bytes, 42, a.len + 8);
    t = g_thread_new("toucher", read_byte, a.host + 5);
    fault = next_fault(&a);
    g_assert_cmpuint(fault.address / page, ==, (uintptr_t)a.host / page);
    g_assert_false(fault.write || fault.protected);
    g_assert_true(!(features & UFFD_CAN_THREAD_ID) || fault.thread);
    /* The source may lie anywhere. */
    g_assert_true(uffd_copy(a.fd, a.host, bytes + 8, page, page, &err));
    g_assert_cmpuint(joined(t), ==, 42);
    /* What is there stays: a second copy changes nothing and is no error. */
    memset(bytes, 43, a.len + 8);
    g_assert_true(uffd_copy(a.fd, a.host, bytes, a.len, page, &err));
    g_assert_cmpuint(a.host[0], ==, 42);
    g_assert_cmpuint(a.host[a.len - 1], ==, a.len == page ? 42 : 43);
    g_assert_no_error(err);
    area_close(&a);
}

static void test_missing(void)
{
    check_missing(-1, PAGE);
}

static void test_missing_shared(void)
{
    check_missing(0, PAGE);
}

static void test_missing_hugetlb(void)
{
    check_missing(MFD_HUGETLB, 2 * MiB);
}

static void test_zero(void)
{
    uint8_t ones[PAGE];
    GThread *t;
    Area a;

    memset(ones, 1, sizeof(ones));
    g_assert_true(area_open(&a, UFFD_MISSING, -1, PAGE));
    g_assert_true(uffd_range_has_zero(a.fd, a.host, a.len));
    t = g_thread_new("toucher", write_byte, a.host + 3 * PAGE);
    g_assert_true(next_fault(&a).write);
    /* One page in the middle first: the rest of the run is filled around it. */
    g_assert_true(uffd_copy(a.fd, a.host + PAGE, ones, PAGE, PAGE, NULL));
    g_assert_true(uffd_zero(a.fd, a.host, a.len, PAGE, NULL));
    g_thread_join(t);
    g_assert_cmpuint(a.host[PAGE], ==, 1);
    g_assert_cmpuint(a.host[3 * PAGE], ==, 77);
    g_assert_cmpuint(a.host[a.len - 1], ==, 0);
    area_close(&a);
}

static void test_unregister_releases(void)
{
    GThread *t;
    Area a;

    g_assert_true(area_open(&a, UFFD_MISSING, -1, PAGE));
    t = g_thread_new("toucher", read_byte, a.host);
    next_fault(&a);
    uffd_unregister(a.fd, a.host, a.len);
    g_assert_cmpuint(joined(t), ==, 0);
    area_close(&a);
}

static void test_protect(void)
{
    UffdFault fault;
    GThread *t;
    Area a;

    if (!(features & UFFD_CAN_WRITE_PROTECT)) {
        g_test_skip("the kernel has no write protection by userfaultfd");
        return;
    }
    g_assert_true(area_open(&a, UFFD_WRITE_PROTECT, -1, PAGE));
    memset(a.host, 1, a.len);
    g_assert_true(uffd_protect(a.fd, a.host, a.len, true, NULL));
    g_assert_cmpuint(a.host[PAGE], ==, 1); /* reading is free */
    t = g_thread_new("toucher", write_byte, a.host + PAGE);
    fault = next_fault(&a);
    g_assert_true(fault.write && fault.protected);
    g_assert_true(uffd_protect(a.fd, a.host + PAGE, PAGE, false, NULL));
    g_thread_join(t);
    g_assert_cmpuint(a.host[PAGE], ==, 77);
    area_close(&a);
}

static void test_errors(void)
{
    GError *err = NULL;
    UffdFault fault;
    Area a;

    g_assert_true(area_open(&a, UFFD_MISSING, -1, PAGE));
    g_assert_cmpint(uffd_read(a.fd, &fault, 1, &err), ==, 0);
    g_assert_no_error(err);
    uffd_unregister(a.fd, a.host, a.len);
    g_assert_false(uffd_zero(a.fd, a.host, PAGE, PAGE, &err));
    g_assert_nonnull(err);
    g_clear_error(&err);
    g_assert_false(uffd_register(a.fd, a.host + 1, PAGE, UFFD_MISSING, &err));
    g_assert_nonnull(err);
    g_clear_error(&err);
    area_close(&a);
}

int main(int argc, char **argv)
{
    GError *err = NULL;

    g_test_init(&argc, &argv, NULL);
    if (!uffd_probe(&features, &err)) {
        printf("1..0 # SKIP %s\n", err->message);
        g_error_free(err);
        return 0;
    }
    g_test_add_func("/userfaultfd/missing", test_missing);
    g_test_add_func("/userfaultfd/missing-shared", test_missing_shared);
    g_test_add_func("/userfaultfd/missing-hugetlb", test_missing_hugetlb);
    g_test_add_func("/userfaultfd/zero", test_zero);
    g_test_add_func("/userfaultfd/unregister-releases", test_unregister_releases);
    g_test_add_func("/userfaultfd/protect", test_protect);
    g_test_add_func("/userfaultfd/errors", test_errors);
    return g_test_run();
}
