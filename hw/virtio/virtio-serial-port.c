/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports of virtio-serial: virtconsole and virtserialport, each between a pair of queues and a
 * character device. Output that the character device does not take stays in its buffer until it
 * does; the partly written buffer travels with a migration.
 */
#include "util/osdep.h"
#include "virtio-serial.h"
#include "util/iov.h"

typedef DeviceStateClass VirtIOSerialPortClass;
GType virtio_serial_port_get_type(void);
G_DEFINE_ABSTRACT_TYPE(VirtIOSerialPort, virtio_serial_port, TYPE_DEVICE)

static bool usable(const VirtIOSerialPort *port)
{
    return virtio_driver_ok(&port->serial->parent);
}

/* ---- guest to host ---- */

static void finish_element(VirtIOSerialPort *port)
{
    virtqueue_push(port->out, port->elem, 0);
    g_clear_pointer(&port->elem, g_free);
}

/* False while bytes are left that the character device does not take now. */
static bool write_element(VirtIOSerialPort *port)
{
    for (; port->iov_idx < port->elem->out_num; port->iov_idx++, port->iov_offset = 0) {
        const struct iovec *v = &port->elem->out_sg[port->iov_idx];
        size_t left = v->iov_len - port->iov_offset;
        size_t put = chardev_write(port->chr, (uint8_t *)v->iov_base + port->iov_offset, left);

        port->iov_offset += put;
        if (put < left) {
            return false;
        }
    }
    return true;
}

void virtio_serial_port_output(VirtIOSerialPort *port)
{
    if (!usable(port)) {
        return;
    }
    for (;;) {
        if (!port->elem) {
            port->elem = virtqueue_pop(port->out, sizeof(*port->elem));
            port->iov_idx = 0;
            port->iov_offset = 0;
        }
        if (!port->elem) {
            break;
        }
        if (port->chr && port->host_connected && !write_element(port)) {
            return; /* write_ready follows */
        }
        finish_element(port);
    }
    virtio_notify(port->out);
}

static void chr_write_ready(void *opaque)
{
    virtio_serial_port_output(opaque);
}

/* ---- host to guest ---- */

static size_t chr_can_read(void *opaque)
{
    VirtIOSerialPort *port = opaque;
    VirtQueueElement *elem;
    size_t room;

    if (!usable(port) || !port->guest_connected) {
        return 0;
    }
    elem = virtqueue_pop(port->in, sizeof(*elem));
    if (!elem) {
        return 0;
    }
    room = iov_size(elem->in_sg, elem->in_num);
    virtqueue_unpop(port->in, elem);
    g_free(elem);
    return room;
}

static void chr_read(void *opaque, const uint8_t *buf, size_t len)
{
    VirtIOSerialPort *port = opaque;
    size_t done = 0;

    while (done < len) {
        g_autofree VirtQueueElement *elem = virtqueue_pop(port->in, sizeof(*elem));
        size_t put;

        if (!elem) {
            break;
        }
        put = iov_from_buf(elem->in_sg, elem->in_num, 0, buf + done, len - done);
        virtqueue_push(port->in, elem, put);
        done += put;
    }
    virtio_notify(port->in);
}

static void chr_event(void *opaque, ChrEvent event)
{
    VirtIOSerialPort *port = opaque;
    bool open = event == CHR_EVENT_OPENED;

    if (event == CHR_EVENT_BREAK || port->console || port->host_connected == open) {
        return;
    }
    port->host_connected = open;
    virtio_serial_send_event(port->serial, port->nr, SERIAL_PORT_OPEN, open);
    if (!open) {
        virtio_serial_port_output(port); /* nobody will take what is waiting */
    }
}

static const ChardevFrontend frontend = {
    .can_read = chr_can_read,
    .read = chr_read,
    .event = chr_event,
    .write_ready = chr_write_ready,
};

void virtio_serial_port_input_ready(VirtIOSerialPort *port)
{
    if (port->chr) {
        chardev_accept_input(port->chr);
    }
}

void virtio_serial_port_guest_open(VirtIOSerialPort *port, bool open)
{
    Machine *m = device_machine(&port->parent);
    JsonObject *data;

    if (port->guest_connected == open) {
        return;
    }
    port->guest_connected = open;
    if (open) {
        virtio_serial_port_input_ready(port);
    }
    if (!port->console && device_id(&port->parent)) {
        data = json_object_new();
        json_object_set_string_member(data, "id", device_id(&port->parent));
        json_object_set_boolean_member(data, "open", open);
        qapi_event_emit(&m->events, "VSERPORT_CHANGE", data);
    }
}

void virtio_serial_port_running(VirtIOSerialPort *port)
{
    if (port->announce_host) {
        port->announce_host = false;
        virtio_serial_send_event(port->serial, port->nr, SERIAL_PORT_OPEN, port->host_connected);
    }
    virtio_serial_port_output(port);
    virtio_serial_port_input_ready(port);
}

void virtio_serial_port_reset(VirtIOSerialPort *port)
{
    if (port->elem) {
        virtqueue_detach(port->out, port->elem);
        g_clear_pointer(&port->elem, g_free);
    }
    port->announce_host = false;
    virtio_serial_port_guest_open(port, false);
}

/* ---- as devices ---- */

static gboolean port_realize(DeviceState *dev, GError **errp)
{
    VirtIOSerialPort *port = SERIAL_PORT(dev);
    Machine *m = device_machine(dev);
    Bus *bus = device_bus(dev);

    if (!bus) {
        error_setg(errp, "No 'virtio-serial-bus' bus found for device '%s'",
                   object_type_name(G_OBJECT(dev)));
        return FALSE;
    }
    if (port->chardev) {
        port->chr = m->chardevs ? chardev_find(m->chardevs, port->chardev) : NULL;
        if (!port->chr) {
            error_setg(errp, "Property '%s.chardev' can't find value '%s'",
                       object_type_name(G_OBJECT(dev)), port->chardev);
            return FALSE;
        }
    }
    port->host_connected = port->console; /* somebody may always look at a console */
    if (!virtio_serial_add_port(VIRTIO_SERIAL(bus->parent), port, errp)) {
        return FALSE;
    }
    if (port->chr && !chardev_attach(port->chr, &frontend, port, errp)) {
        port->chr = NULL;
        virtio_serial_remove_port(port->serial, port);
        return FALSE;
    }
    return TRUE;
}

static void port_unrealize(DeviceState *dev)
{
    VirtIOSerialPort *port = SERIAL_PORT(dev);

    if (port->chr) {
        chardev_detach(port->chr);
        port->chr = NULL;
    }
    virtio_serial_remove_port(port->serial, port);
}

static const DeviceProperty port_props[] = {
    DEVICE_PROP_STRING("chardev", VirtIOSerialPort, chardev, "id of the character device"),
    DEVICE_PROP_STRING("name", VirtIOSerialPort, name, "name the guest sees"),
    DEVICE_PROP_UINT32("nr", VirtIOSerialPort, nr, SERIAL_NR_AUTO, "port number"),
    {},
};

static void virtio_serial_port_init(VirtIOSerialPort *port)
{
}

static void virtio_serial_port_class_init(VirtIOSerialPortClass *dc)
{
    device_class_set_props(dc, port_props);
    dc->bus_type = "virtio-serial-bus";
    dc->realize = port_realize;
    dc->unrealize = port_unrealize;
}

typedef VirtIOSerialPort VirtConsole;
typedef DeviceStateClass VirtConsoleClass;
GType virtconsole_get_type(void);
G_DEFINE_TYPE(VirtConsole, virtconsole, virtio_serial_port_get_type())
DEVICE_TYPE_REGISTER("virtconsole", virtconsole_get_type)

static void virtconsole_init(VirtConsole *port)
{
    port->console = true;
}

static void virtconsole_class_init(VirtConsoleClass *dc)
{
    dc->desc = "console port of virtio-serial";
    dc->user_creatable = true;
}

typedef VirtIOSerialPort VirtSerialPort;
typedef DeviceStateClass VirtSerialPortClass;
GType virtserialport_get_type(void);
G_DEFINE_TYPE(VirtSerialPort, virtserialport, virtio_serial_port_get_type())
DEVICE_TYPE_REGISTER("virtserialport", virtserialport_get_type)

static void virtserialport_init(VirtSerialPort *port)
{
}

static void virtserialport_class_init(VirtSerialPortClass *dc)
{
    dc->desc = "named port of virtio-serial";
    dc->user_creatable = true;
}
