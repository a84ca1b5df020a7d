/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A front end that writes down what happens to it, and small helpers for tests of character
 * devices. */
#ifndef GODWIT_TESTS_CHARDEV_FRONT_H
#define GODWIT_TESTS_CHARDEV_FRONT_H

#include "backends/chardev.h"
#include "io/channel-socket.h"
#include "io/socket-address.h"
#include "util/keyval.h"

typedef struct {
    GString *log; /* input as is, "<" opened, ">" closed, "!" write_ready */
    GMutex lock;
    size_t room;
    GThread *thread; /* that ran the last callback */
    ChardevFrontend fe;
} Front;

static inline size_t front_can_read(void *opaque)
{
    Front *f = opaque;
    size_t room;

    g_mutex_lock(&f->lock);
    room = f->room;
    g_mutex_unlock(&f->lock);
    return room;
}

static inline void note(Front *f, const char *text, size_t len)
{
    g_mutex_lock(&f->lock);
    g_string_append_len(f->log, text, len);
    f->thread = g_thread_self();
    g_mutex_unlock(&f->lock);
}

static inline void front_read(void *opaque, const uint8_t *buf, size_t len)
{
    Front *f = opaque;

    g_assert_cmpuint(len, <=, front_can_read(f));
    note(f, (const char *)buf, len);
    if (f->room != SIZE_MAX) {
        f->room -= len;
    }
}

static inline void front_event(void *opaque, ChrEvent event)
{
    note(opaque, event == CHR_EVENT_OPENED ? "<" : ">", 1);
}

static inline void front_write_ready(void *opaque)
{
    note(opaque, "!", 1);
}

static inline void front_init(Front *f)
{
    *f = (Front){.log = g_string_new(NULL), .room = SIZE_MAX};
    g_mutex_init(&f->lock);
    f->fe = (ChardevFrontend){front_can_read, front_read, front_event, front_write_ready};
}

static inline void front_clear(Front *f)
{
    g_string_free(f->log, TRUE);
    g_mutex_clear(&f->lock);
}

static inline bool front_has(Front *f, const char *text)
{
    bool has;

    g_mutex_lock(&f->lock);
    has = strcmp(f->log->str, text) == 0;
    g_mutex_unlock(&f->lock);
    return has;
}

/* Run the main loop until exactly @text has happened. */
static inline void expect(Front *f, const char *text)
{
    while (!front_has(f, text)) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
        g_assert_cmpuint(f->log->len, <=, strlen(text) + 1);
    }
    g_string_truncate(f->log, 0);
}

static inline void settle(void)
{
    for (int i = 0; i < 20; i++) {
        g_main_context_iteration(NULL, FALSE);
    }
}

/* ---- helpers ---- */

static inline char *tmp_path(const char *name)
{
    return g_strdup_printf("%s/godwit-chr-%s-%d", g_get_tmp_dir(), name, getpid());
}

static inline Chardev *try_new(ChardevList *list, const char *text, GError **errp)
{
    g_autoptr(JsonObject) options = keyval_parse(text, "backend", errp);

    g_assert_nonnull(options);
    return chardev_new(list, options, errp);
}

static inline Chardev *must_new(ChardevList *list, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    GError *err = NULL;
    Chardev *chr;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    chr = try_new(list, text, &err);
    g_assert_no_error(err);
    return chr;
}

static inline Chardev *new_short(ChardevList *list, const char *label, const char *text)
{
    GError *err = NULL;
    Chardev *chr = chardev_new_short(list, label, text, &err);

    g_assert_no_error(err);
    return chr;
}

static inline QIOChannel *client(const char *uri)
{
    g_autoptr(SocketAddress) addr = socket_address_parse(uri, NULL);
    GError *err = NULL;
    QIOChannelSocket *s = io_channel_socket_connect_sync(addr, &err);

    g_assert_no_error(err);
    return IO_CHANNEL(s);
}

static inline void expect_filename(Chardev *chr, const char *want)
{
    g_autofree char *name = chardev_filename(chr);

    g_assert_cmpstr(name, ==, want);
}

#endif
