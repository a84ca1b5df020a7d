/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices: the host end of serial ports, monitors and qtest (spec 71 section 3,
 * -chardev).
 *
 * A Chardev has one front end at a time (serial device, monitor, qtest, console port). Callbacks
 * run on the main loop with the big lock held. chardev_write() may be called from any thread.
 */
#ifndef GODWIT_BACKENDS_CHARDEV_H
#define GODWIT_BACKENDS_CHARDEV_H

#include "util/error.h"
#include <json-glib/json-glib.h>

typedef struct Chardev Chardev;
typedef enum { CHR_EVENT_OPENED, CHR_EVENT_CLOSED, CHR_EVENT_BREAK } ChrEvent;

/* What a front end offers. All optional. */
typedef struct {
    /* How many bytes can it take now? 0 pauses reading until chardev_accept_input(). */
    size_t (*can_read)(void *opaque);
    void (*read)(void *opaque, const uint8_t *buf, size_t len);
    void (*event)(void *opaque, ChrEvent event);
    /* A blocked back end became writable again. */
    void (*write_ready)(void *opaque);
} ChardevFrontend;

/* The chardevs of one VM. */
typedef struct ChardevList ChardevList;
ChardevList *chardev_list_new(void);
void chardev_list_free(ChardevList *list);
/* How files are opened: -1 and *errp, or a descriptor. Default: open(2). The monitor's one knows
 * /dev/fdset/N. */
typedef int ChardevOpenFile(void *opaque, const char *path, int flags, int mode, GError **errp);
void chardev_list_set_open_file(ChardevList *list, ChardevOpenFile *fn, void *opaque);

/* What Ctrl-A x does (see chardev_mux_monitor()). */
void chardev_list_set_quit(ChardevList *list, void (*fn)(void *opaque), void *opaque);

/* -chardev BACKEND,id=ID,...: options already split into a JSON object of strings/bools with
 * "backend" and "id". */
Chardev *chardev_new(ChardevList *list, JsonObject *options, GError **errp);
/* The short forms of -serial, -monitor, -qmp, -qtest: "stdio", "null", "vc", "pty[:LINK]",
 * "file:PATH", "pipe:PATH", "fd:N", "unix:PATH,server=on", "tcp:HOST:PORT,server=on", each also
 * with "mon:" in front. @label is the id. "chardev:ID" finds an existing one; "none" returns NULL
 * without error. */
Chardev *chardev_new_short(ChardevList *list, const char *label, const char *text, GError **errp);
/* "mon:stdio" and the like make two chardevs that share the back end: @label for the serial device,
 * which chardev_new_short() returns, and this one for a monitor. NULL for all others. */
Chardev *chardev_mux_monitor(Chardev *chr);
Chardev *chardev_find(ChardevList *list, const char *id);
bool chardev_remove(ChardevList *list, const char *id, GError **errp);
void chardev_foreach(ChardevList *list, void (*cb)(Chardev *chr, void *opaque), void *opaque);
const char *chardev_label(Chardev *chr);
/* For query-chardev: "unix:/p,server=on", "pty:/dev/pts/3"; free with g_free(). */
char *chardev_filename(Chardev *chr);

/* Attach the front end; error if there is one. OPENED is delivered at once if already connected. */
bool chardev_attach(Chardev *chr, const ChardevFrontend *fe, void *opaque, GError **errp);
void chardev_detach(Chardev *chr);
bool chardev_has_frontend(Chardev *chr);
bool chardev_is_open(Chardev *chr);
/* Deliver input on another main context (the out-of-band monitor thread); NULL = default. The big
 * lock is then not held in callbacks. Call it while the old context does not dispatch. */
void chardev_set_context(Chardev *chr, GMainContext *ctx);

/* Bytes taken now; may be short when the back end is full (then write_ready follows). */
size_t chardev_write(Chardev *chr, const void *buf, size_t len);
/* Queue everything without limit (monitor output). */
void chardev_write_all(Chardev *chr, const void *buf, size_t len);
/* The front end can take more. */
void chardev_accept_input(Chardev *chr);
/* Descriptors received with recent input; owned by the caller afterwards. Returns how many, at most
 * @max. */
unsigned chardev_take_fds(Chardev *chr, int *fds, unsigned max);
/* Block until a client is there (server with wait=on). */
bool chardev_wait_connected(Chardev *chr, GError **errp);

/* ringbuf only: take the oldest bytes; 0 when empty. */
size_t chardev_ringbuf_read(Chardev *chr, void *buf, size_t len);

#endif
