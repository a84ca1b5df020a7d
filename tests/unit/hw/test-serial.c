/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The UART with a real back end: flow control both ways, a blocked transmitter, and moving in the
 * middle of both without losing or repeating a byte (spec 80 section 6, spec 82 check 5).
 */
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "board-fixture.h"
#include "migration/savevm.h"
#include "util/lock.h"
#include "../migration/vmstate-helper.h"

#define UART     UINT64_C(0x10000000)
#define LSR      (UART + 5)
#define LSR_IDLE 0x60

typedef struct {
    BoardFixture board;
    ChardevList *chardevs;
    char *dir, *path;
    int client;
} Fixture;

static void start(Fixture *f)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    GError *err = NULL;
    g_autofree char *text = NULL;

    board_new(&f->board);
    f->dir = g_dir_make_tmp("godwit-serial-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "sock", NULL);
    f->chardevs = chardev_list_new();
    text = g_strdup_printf("unix:%s,server=on,wait=off", f->path);
    f->board.m->serial0 = chardev_new_short(f->chardevs, "serial0", text, &err);
    g_assert_no_error(err);
    f->board.m->savevm = savevm_list_new();
    board_start(&f->board);

    f->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(addr.sun_path, f->path, sizeof(addr.sun_path));
    g_assert_cmpint(connect(f->client, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    while (!chardev_is_open(f->board.m->serial0)) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void stop(Fixture *f)
{
    SaveStateList *list = f->board.m->savevm;

    close(f->client);
    board_free(&f->board);
    savevm_list_free(list);
    chardev_list_free(f->chardevs);
    g_unlink(f->path);
    g_rmdir(f->dir);
    g_free(f->path);
    g_free(f->dir);
}

/* Let the main loop do what it can do now. */
static void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

/* What the client can read now. */
static void drain(Fixture *f, GByteArray *out)
{
    uint8_t buf[4096];
    ssize_t n;

    settle();
    while ((n = recv(f->client, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        g_byte_array_append(out, buf, n);
        settle();
    }
}

static char *save(Fixture *f)
{
    const SaveStateEntry *se = savevm_find(f->board.m->savevm, "serial", 0);
    GError *err = NULL;
    char *hex = save_hex(se->vmsd, se->opaque, NULL, &err);

    g_assert_no_error(err);
    return hex;
}

static void load(Fixture *f, const char *hex)
{
    const SaveStateEntry *se = savevm_find(f->board.m->savevm, "serial", 0);
    GError *err = NULL;

    load_hex(se->vmsd, se->opaque, 3, hex, &err);
    g_assert_no_error(err);
}

/* The k-th byte a guest writes. */
static uint8_t pattern(size_t k)
{
    return k * 7 + k / 251;
}

static void test_transmit(gconstpointer fifo)
{
    Fixture source, destination;
    g_autoptr(GByteArray) out = g_byte_array_new();
    size_t written = 0;

    start(&source);
    devices_vm_state(source.board.m, true);
    if (fifo) {
        board_write(&source.board, 1, UART + 2, 1);
    }
    /* Until the back end is full: the byte in the shift register waits. */
    while (board_read(&source.board, 1, LSR) == LSR_IDLE) {
        board_write(&source.board, 1, UART, pattern(written++));
        g_assert_cmpuint(written, <, 64 * MiB);
    }
    for (unsigned i = 0; fifo && i < 10; i++) { /* the FIFO takes more */
        board_write(&source.board, 1, UART, pattern(written++));
    }

    /* Stopped: room in the back end changes nothing. */
    devices_vm_state(source.board.m, false);
    g_autofree char *state = save(&source);
    drain(&source, out);
    g_autofree char *later = save(&source);
    g_assert_cmpstr(state, ==, later);
    g_assert_nonnull(strstr(state, "05 0a 73 65 72 69 61 6c 2f 74 73 72")); /* serial/tsr */
    g_assert_cmpuint(out->len, <, written);

    bql_unlock();
    start(&destination);
    load(&destination, state);
    g_assert_cmphex(board_read(&destination.board, 1, LSR) & 0x40, ==, 0);
    devices_vm_state(destination.board.m, true);
    g_assert_cmphex(board_read(&destination.board, 1, LSR), ==, LSR_IDLE);
    drain(&destination, out);
    g_assert_cmpuint(out->len, ==, written);
    for (size_t k = 0; k < written; k++) {
        g_assert_cmphex(out->data[k], ==, pattern(k));
    }
    stop(&destination);
    bql_lock();
    stop(&source);
}

/* The source goes on after a failed migration: the waiting byte leaves when the VM runs again. */
static void test_transmit_resume(void)
{
    Fixture f;
    g_autoptr(GByteArray) out = g_byte_array_new();
    size_t written = 0;

    start(&f);
    devices_vm_state(f.board.m, true);
    while (board_read(&f.board, 1, LSR) == LSR_IDLE) {
        board_write(&f.board, 1, UART, pattern(written++));
    }
    drain(&f, out); /* running: write_ready sends it */
    g_assert_cmphex(board_read(&f.board, 1, LSR), ==, LSR_IDLE);
    g_assert_cmpuint(out->len, ==, written);
    stop(&f);
}

static void test_receive(void)
{
    enum { N = 60 };
    Fixture source, destination;
    uint8_t data[N];
    unsigned got = 0;

    for (unsigned i = 0; i < N; i++) {
        data[i] = pattern(i);
    }
    start(&source);
    board_write(&source.board, 1, UART + 2, 0xC1); /* FIFO, trigger 14 */
    g_assert_cmpint(send(source.client, data, N, 0), ==, N);
    settle();
    g_assert_cmphex(board_read(&source.board, 1, LSR), ==, LSR_IDLE); /* stopped: nothing arrives */
    devices_vm_state(source.board.m, true);
    while (got < 20) {
        settle();
        g_assert_cmphex(board_read(&source.board, 1, LSR), ==, LSR_IDLE | 1); /* no overrun */
        g_assert_cmphex(board_read(&source.board, 1, UART), ==, data[got]);
        got++;
    }
    settle();
    devices_vm_state(source.board.m, false);
    g_autofree char *state = save(&source);
    settle();
    g_autofree char *later = save(&source);
    g_assert_cmpstr(state, ==, later);

    bql_unlock();
    start(&destination);
    load(&destination, state);
    devices_vm_state(destination.board.m, true);
    unsigned before = got;
    while (board_read(&destination.board, 1, LSR) & 1) {
        g_assert_cmphex(board_read(&destination.board, 1, UART), ==, data[got]);
        got++;
    }
    g_assert_cmpuint(got, >=, before + 14);
    stop(&destination);
    bql_lock();
    stop(&source);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/hw/serial/transmit/plain", NULL, test_transmit);
    g_test_add_data_func("/hw/serial/transmit/fifo", "fifo", test_transmit);
    g_test_add_func("/hw/serial/transmit/resume", test_transmit_resume);
    g_test_add_func("/hw/serial/receive", test_receive);
    return g_test_run();
}
