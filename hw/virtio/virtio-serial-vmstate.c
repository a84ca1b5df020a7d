/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device part of virtio-serial on the wire (spec 82 section 13 C, "console"). */
#include "util/osdep.h"
#include "virtio-serial.h"

/* Id 0 is reserved for a console and counts as taken. */
static uint32_t map_word(const VirtIOSerial *s, unsigned word)
{
    uint32_t bits = word == 0;

    for (unsigned b = 0; b < 32 && word * 32 + b < s->max_ports; b++) {
        bits |= (uint32_t)(s->ports[word * 32 + b] != NULL) << b;
    }
    return bits;
}

static unsigned port_count(const VirtIOSerial *s)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->max_ports; i++) {
        n += s->ports[i] != NULL;
    }
    return n;
}

bool virtio_serial_save(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    const VirtIOSerial *s = VIRTIO_SERIAL(vdev);

    qemu_put_be16(f, 0); /* columns, rows: no console size is offered */
    qemu_put_be16(f, 0);
    qemu_put_be32(f, s->max_ports);
    for (unsigned w = 0; w < DIV_ROUND_UP(s->max_ports, 32); w++) {
        qemu_put_be32(f, map_word(s, w));
    }
    qemu_put_be32(f, port_count(s));
    for (unsigned i = 0; i < s->max_ports; i++) {
        const VirtIOSerialPort *port = s->ports[i];

        if (!port) {
            continue;
        }
        qemu_put_be32(f, port->nr);
        qemu_put_byte(f, port->guest_connected);
        qemu_put_byte(f, port->host_connected);
        qemu_put_be32(f, port->elem != NULL);
        if (port->elem) {
            qemu_put_be32(f, port->iov_idx);
            qemu_put_be64(f, port->iov_offset);
            virtqueue_element_save(f, port->elem);
        }
    }
    return true;
}

static bool load_element(VirtIOSerialPort *port, QEMUFile *f, GError **errp)
{
    uint32_t idx = qemu_get_be32(f);
    uint64_t offset = qemu_get_be64(f);

    port->elem = virtqueue_element_load(port->out, f, sizeof(*port->elem), errp);
    if (!port->elem) {
        return false;
    }
    if (idx >= port->elem->out_num || offset > port->elem->out_sg[idx].iov_len) {
        error_setg(errp, "port %u: position %u, %" PRIu64 " is outside its partly written buffer",
                   port->nr, idx, offset);
        return false;
    }
    port->iov_idx = idx;
    port->iov_offset = offset;
    return true;
}

static bool load_port(VirtIOSerial *s, QEMUFile *f, GError **errp)
{
    uint32_t id = qemu_get_be32(f);
    bool guest_connected = qemu_get_byte(f) != 0;
    bool host_connected = qemu_get_byte(f) != 0;
    bool has_element = qemu_get_be32(f) != 0;
    VirtIOSerialPort *port;

    if (!qemu_file_check(f, errp)) {
        return false;
    }
    port = id < s->max_ports ? s->ports[id] : NULL;
    if (!port || port->elem) {
        error_setg(errp, "port %u does not exist here, or comes twice", id);
        return false;
    }
    port->guest_connected = guest_connected;
    port->announce_host = host_connected != port->host_connected;
    return !has_element || load_element(port, f, errp);
}

bool virtio_serial_load(VirtIODevice *vdev, QEMUFile *f, GError **errp)
{
    VirtIOSerial *s = VIRTIO_SERIAL(vdev);
    uint32_t max_ports, active;

    qemu_get_be32(f); /* columns, rows */
    max_ports = qemu_get_be32(f);
    if (max_ports != s->max_ports) {
        error_setg(errp, "the source has max_ports=%u, here it is %u", max_ports, s->max_ports);
        return false;
    }
    for (unsigned w = 0; w < DIV_ROUND_UP(s->max_ports, 32); w++) {
        uint32_t bits = qemu_get_be32(f);

        if (bits != map_word(s, w)) {
            error_setg(errp, "the ports differ from the source's (map word %u: %#x, here %#x)", w,
                       bits, map_word(s, w));
            return false;
        }
    }
    active = qemu_get_be32(f);
    if (active > s->max_ports) {
        error_setg(errp, "%u active ports, but max_ports is %u", active, s->max_ports);
        return false;
    }
    for (unsigned i = 0; i < active; i++) {
        if (!load_port(s, f, errp)) {
            return false;
        }
    }
    return qemu_file_check(f, errp);
}
