/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kinds of character device build on.
 *
 *   chardev.c          the list, options common to all, the front end's functions
 *   chardev-stream.c   bytes between a front end and a pair of channels
 *   chardev-*.c        one file per family of kinds: opens the channels, decides what a hang-up
 * means
 */
#ifndef GODWIT_BACKENDS_CHARDEV_INTERNAL_H
#define GODWIT_BACKENDS_CHARDEV_INTERNAL_H

#include "backends/chardev.h"
#include "io/channel.h"

/* Bytes of one read. */
#define CHARDEV_READ_MAX 65536

typedef struct ChardevOps {
    const char *name;           /* backend=NAME */
    const char *const *options; /* besides the common ones; NULL-terminated */
    size_t state_size;          /* chr->state */
    bool (*open)(Chardev *chr, JsonObject *options, GError **errp);
    void (*close)(
        Chardev *chr); /* optional; also after a failed open; channels are dropped after it */
    char *(*filename)(Chardev *chr); /* optional: the kind's name */
    /* Optional, for kinds without channels; lock held. Bytes taken, all of them if @queue_rest. */
    size_t (*write)(Chardev *chr, const uint8_t *buf, size_t len, bool queue_rest);
    /* Optional, likewise: the front end has room. No lock held. */
    void (*accept_input)(Chardev *chr);
    /* Optional: the input ended, channels are dropped, CLOSED was delivered. Default main context.
     * Without it only the input stops and output goes on. */
    void (*hangup)(Chardev *chr);
    bool (*wait_connected)(Chardev *chr, GError **errp); /* optional */
} ChardevOps;

extern const ChardevOps chardev_null_ops;
extern const ChardevOps chardev_vc_ops;
extern const ChardevOps chardev_ringbuf_ops;
extern const ChardevOps chardev_file_ops;
extern const ChardevOps chardev_pipe_ops;
extern const ChardevOps chardev_fd_ops;
extern const ChardevOps chardev_stdio_ops;
extern const ChardevOps chardev_pty_ops;
extern const ChardevOps chardev_socket_ops;

struct ChardevList {
    GPtrArray *chardevs;
    ChardevOpenFile *open_file;
    void *open_opaque;
    bool stdio_taken;
    void (*quit)(void *opaque);
    void *quit_opaque;
};

struct Chardev {
    const ChardevOps *ops;
    ChardevList *list;
    char *label;
    void *state;
    gatomicrefcount refs; /* the list's, and one per GSource */

    GMutex lock; /* all below */
    bool attached;
    ChardevFrontend fe; /* zeroes while not attached */
    void *fe_opaque;
    bool told_open;        /* OPENED is on its way or delivered */
    bool input_ok;         /* OPENED is delivered: input may follow */
    GMainContext *context; /* NULL: default */
    bool dead;             /* removed from the list */
    bool open;
    QIOChannel *in, *out; /* often the same; NULL: that direction is not there */
    GSource *in_watch, *out_watch;
    bool paused;       /* the front end had no room */
    GByteArray *queue; /* not yet written */
    bool want_ready;   /* somebody was told to wait for write_ready */
    GArray *fds;       /* received, not yet taken */
    int log_fd;
};

/* A new member of the list, not open; no checks. */
Chardev *chardev_add(ChardevList *list, const ChardevOps *ops, const char *label);
Chardev *chardev_ref(Chardev *chr);
void chardev_unref(void *chr);
/* The front end of this moment; no lock held. */
ChardevFrontend chardev_frontend(Chardev *chr, void **opaque);
/* How much the front end takes now, at most what one read brings; 0 before it heard OPENED. Fills
 * in the front end as well. No lock held. */
size_t chardev_front_room(Chardev *chr, ChardevFrontend *fe, void **opaque);
/* Call write_ready. No lock held. */
void chardev_tell_ready(Chardev *chr);
/* OPENED, once, if there is a front end and a connection; then input flows. No lock held. */
void chardev_report_open(Chardev *chr);

/* ---- chardev-stream.c ---- */

/* Start using @in and @out (either may be NULL; references are taken): OPENED, then input flows. */
void chardev_stream_connect(Chardev *chr, QIOChannel *in, QIOChannel *out);
/* Stop; CLOSED if it was open. */
void chardev_stream_disconnect(Chardev *chr);
/* Lock held: write or queue; returns bytes taken, all of them if @queue_rest. */
size_t chardev_stream_write(Chardev *chr, const uint8_t *buf, size_t len, bool queue_rest);
/* Front end has room / context changed: watch the channels anew. Lock held. */
void chardev_stream_rearm(Chardev *chr);

/* ---- for options ---- */

/* A mandatory string: "chardev: file: no path given". */
const char *chardev_need_option(JsonObject *options, const char *backend, const char *key,
                                GError **errp);
/* A descriptor inherited at start, given as decimal number; CLOEXEC from now on. */
int chardev_inherited_fd(const char *text, GError **errp);

/* ---- chardev-mux.c ---- */

/* Share the new @base: returns the serial side, named @label; the other is "@label-monitor". */
Chardev *chardev_new_mux(Chardev *base, const char *label, GError **errp);

/* ---- chardev-short.c ---- */

/* Options of a short form; NULL and *errp if it is none. */
JsonObject *chardev_parse_short(const char *label, const char *text, GError **errp);

#endif
