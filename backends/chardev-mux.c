/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "mon:stdio": a serial device and a monitor share one back end. Both see an ordinary character
 * device; output of both is shown, input goes to the one in focus, Ctrl-A commands the switch.
 */
#include "backends/chardev-internal.h"

#define ESCAPE       0x01 /* Ctrl-A */
#define PENDING_SIZE 256

enum { SERIAL, MONITOR, SIDES };

typedef struct {
    unsigned refs; /* one per side */
    Chardev *base;
    Chardev *sides[SIDES]; /* NULL once removed */
    unsigned focus;
    bool escaped; /* the next byte is a command */
    bool delivering;
    /* Typed ahead for a side without room; more is dropped, or Ctrl-A c would get stuck behind it.
     */
    uint8_t pending[SIDES][PENDING_SIZE];
    unsigned n_pending[SIDES];
} Mux;

typedef struct {
    Mux *mux;
    unsigned index;
} MuxSide;

/* ---- input ---- */

static void deliver(Mux *m, unsigned i)
{
    uint8_t chunk[PENDING_SIZE];
    size_t n;

    if (m->delivering) {
        return; /* the front end makes room from within its read: the loop below sees it */
    }
    m->delivering = true;
    while (m->sides[i] && m->n_pending[i]) {
        ChardevFrontend fe;
        void *opaque;

        n = MIN(chardev_front_room(m->sides[i], &fe, &opaque), m->n_pending[i]);
        if (!n) {
            break;
        }
        memcpy(chunk, m->pending[i], n);
        m->n_pending[i] -= n;
        memmove(m->pending[i], m->pending[i] + n, m->n_pending[i]);
        fe.read(opaque, chunk, n);
    }
    m->delivering = false;
}

static void type(Mux *m, uint8_t byte)
{
    if (m->n_pending[m->focus] < PENDING_SIZE) {
        m->pending[m->focus][m->n_pending[m->focus]++] = byte;
    }
}

static void send_break(Mux *m)
{
    ChardevFrontend fe;
    void *opaque;

    deliver(m, m->focus); /* what was typed before comes before */
    if (m->sides[m->focus]) {
        fe = chardev_frontend(m->sides[m->focus], &opaque);
        if (fe.event) {
            fe.event(opaque, CHR_EVENT_BREAK);
        }
    }
}

static void command(Mux *m, uint8_t key)
{
    static const char help[] = "\r\n"
                               "Ctrl-A h       this help\r\n"
                               "Ctrl-A x       quit\r\n"
                               "Ctrl-A c       switch between serial port and monitor\r\n"
                               "Ctrl-A b       send a break\r\n"
                               "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

    switch (key) {
    case ESCAPE:
        type(m, ESCAPE);
        break;
    case 'c':
        deliver(m, m->focus);
        m->focus = !m->focus;
        break;
    case 'b':
        send_break(m);
        break;
    case 'x':
        if (m->base->list->quit) {
            m->base->list->quit(m->base->list->quit_opaque);
        }
        break;
    default:
        chardev_write_all(m->base, help, strlen(help));
        break;
    }
}

static void base_read(void *opaque, const uint8_t *buf, size_t len)
{
    Mux *m = opaque;

    for (size_t i = 0; i < len; i++) {
        if (m->escaped) {
            m->escaped = false;
            command(m, buf[i]);
        } else if (buf[i] == ESCAPE) {
            m->escaped = true;
        } else {
            type(m, buf[i]);
        }
    }
    deliver(m, m->focus);
}

/* ---- events and output of the base ---- */

static void side_set_open(Chardev *side, bool open)
{
    if (!open) {
        chardev_stream_disconnect(side);
        return;
    }
    g_mutex_lock(&side->lock);
    side->open = true;
    g_mutex_unlock(&side->lock);
    chardev_report_open(side);
}

static void base_event(void *opaque, ChrEvent event)
{
    Mux *m = opaque;

    for (unsigned i = 0; i < SIDES; i++) {
        if (m->sides[i] && event != CHR_EVENT_BREAK) {
            side_set_open(m->sides[i], event == CHR_EVENT_OPENED);
        }
    }
}

static void base_write_ready(void *opaque)
{
    Mux *m = opaque;

    for (unsigned i = 0; i < SIDES; i++) {
        Chardev *side = m->sides[i];
        bool waiting = false;

        if (side) {
            g_mutex_lock(&side->lock);
            waiting = side->want_ready;
            side->want_ready = false;
            g_mutex_unlock(&side->lock);
        }
        if (waiting) {
            chardev_tell_ready(side);
        }
    }
}

static const ChardevFrontend base_frontend = {
    .read = base_read,
    .event = base_event,
    .write_ready = base_write_ready,
};

/* ---- the sides ---- */

static size_t side_write(Chardev *chr, const uint8_t *buf, size_t len, bool queue_rest)
{
    Chardev *base = ((MuxSide *)chr->state)->mux->base;
    size_t done = len;

    if (queue_rest) {
        chardev_write_all(base, buf, len);
    } else {
        done = chardev_write(base, buf, len);
        chr->want_ready |= done < len;
    }
    return done;
}

static void side_accept_input(Chardev *chr)
{
    MuxSide *s = chr->state;

    deliver(s->mux, s->index);
}

static void side_close(Chardev *chr)
{
    MuxSide *s = chr->state;
    Mux *m = s->mux;

    m->sides[s->index] = NULL;
    if (--m->refs == 0) {
        chardev_detach(m->base);
        chardev_unref(m->base);
        g_free(m);
    }
}

static const ChardevOps mux_side_ops = {
    .name = "mux",
    .state_size = sizeof(MuxSide),
    .close = side_close,
    .write = side_write,
    .accept_input = side_accept_input,
};

Chardev *chardev_new_mux(Chardev *base, const char *label, GError **errp)
{
    g_autofree char *monitor_label = g_strconcat(label, "-monitor", NULL);
    const char *labels[SIDES] = {label, monitor_label};
    Mux *m;

    if (chardev_find(base->list, label) || chardev_find(base->list, monitor_label)) {
        error_setg(errp, "Duplicate ID '%s' for chardev", label);
        return NULL;
    }
    m = g_new0(Mux, 1);
    m->base = chardev_ref(base);
    for (unsigned i = 0; i < SIDES; i++) {
        m->sides[i] = chardev_add(base->list, &mux_side_ops, labels[i]);
        *(MuxSide *)m->sides[i]->state = (MuxSide){m, i};
        m->refs++;
    }
    chardev_attach(base, &base_frontend, m, NULL); /* new, so free */
    return m->sides[SERIAL];
}

Chardev *chardev_mux_monitor(Chardev *chr)
{
    return chr->ops == &mux_side_ops ? ((MuxSide *)chr->state)->mux->sides[MONITOR] : NULL;
}
