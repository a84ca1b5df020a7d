/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-serial: the device. It owns the control queues and a bus of ports; what a port does with
 * its bytes is in virtio-serial-port.c.
 *
 * Queues: port 0 has 0 (in) and 1 (out), control 2 and 3, port n >= 1 has 2n + 2 and 2n + 3.
 */
#include "util/osdep.h"
#include "virtio-serial.h"
#include "util/iov.h"

#define PORT_QUEUE_SIZE    128
#define CONTROL_QUEUE_SIZE 32
#define EMERG_OFFSET       8

typedef struct {
    uint32_t id;
    uint16_t event, value;
} SerialControl;

typedef struct {
    uint16_t cols, rows;
    uint32_t max_nr_ports;
    uint32_t emerg_wr;
} SerialConfig;

typedef VirtIODeviceClass VirtIOSerialClass;
G_DEFINE_TYPE(VirtIOSerial, virtio_serial, TYPE_VIRTIO_DEVICE)
DEVICE_TYPE_REGISTER("virtio-serial-device", virtio_serial_get_type)

static bool multiport(const VirtIOSerial *s)
{
    return s->ctrl_in && virtio_has_feature(&s->parent, SERIAL_F_MULTIPORT);
}

/* ---- control queue ---- */

static void send_control(VirtIOSerial *s, const void *msg, size_t len)
{
    g_autofree VirtQueueElement *elem = NULL;

    if (!multiport(s) || !virtio_driver_ok(&s->parent)) {
        return;
    }
    elem = virtqueue_pop(s->ctrl_in, sizeof(*elem));
    if (!elem) {
        return; /* the driver keeps enough buffers, or misses the event */
    }
    len = iov_from_buf(elem->in_sg, elem->in_num, 0, msg, len);
    virtqueue_push(s->ctrl_in, elem, len);
    virtio_notify(s->ctrl_in);
}

void virtio_serial_send_event(VirtIOSerial *s, uint32_t id, uint16_t event, uint16_t value)
{
    SerialControl c = {GUINT32_TO_LE(id), GUINT16_TO_LE(event), GUINT16_TO_LE(value)};

    send_control(s, &c, sizeof(c));
}

static void send_name(VirtIOSerial *s, const VirtIOSerialPort *port)
{
    size_t len = strlen(port->name) + 1;
    g_autofree uint8_t *msg = g_malloc0(sizeof(SerialControl) + len);
    SerialControl c = {GUINT32_TO_LE(port->nr), GUINT16_TO_LE(SERIAL_PORT_NAME), GUINT16_TO_LE(1)};

    memcpy(msg, &c, sizeof(c));
    memcpy(msg + sizeof(c), port->name, len);
    send_control(s, msg, sizeof(c) + len);
}

static void port_ready(VirtIOSerial *s, VirtIOSerialPort *port)
{
    if (port->console) {
        virtio_serial_send_event(s, port->nr, SERIAL_CONSOLE_PORT, 1);
    }
    if (port->name) {
        send_name(s, port);
    }
    if (port->host_connected) {
        virtio_serial_send_event(s, port->nr, SERIAL_PORT_OPEN, 1);
    }
}

static void handle_command(VirtIOSerial *s, const SerialControl *c)
{
    uint32_t id = GUINT32_FROM_LE(c->id);
    uint16_t event = GUINT16_FROM_LE(c->event), value = GUINT16_FROM_LE(c->value);
    VirtIOSerialPort *port = id < s->max_ports ? s->ports[id] : NULL;

    if (event == SERIAL_DEVICE_READY) {
        for (unsigned i = 0; value && i < s->max_ports; i++) {
            if (s->ports[i]) {
                virtio_serial_send_event(s, i, SERIAL_PORT_ADD, 1);
            }
        }
    } else if (port && event == SERIAL_PORT_READY && value) {
        port_ready(s, port);
    } else if (port && event == SERIAL_PORT_OPEN) {
        virtio_serial_port_guest_open(port, value != 0);
    }
}

static void handle_control_out(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtQueueElement *elem;

    while ((elem = virtqueue_pop(vq, sizeof(*elem)))) {
        SerialControl c;

        if (iov_to_buf(elem->out_sg, elem->out_num, 0, &c, sizeof(c)) == sizeof(c)) {
            handle_command(VIRTIO_SERIAL(vdev), &c);
        }
        virtqueue_push(vq, elem, 0);
        g_free(elem);
    }
    virtio_notify(vq);
}

/* New buffers for our events; there is nothing waiting for them. */
static void handle_control_in(VirtIODevice *vdev, VirtQueue *vq)
{
}

/* ---- ports ---- */

static VirtIOSerialPort *port_of(VirtIOSerial *s, const VirtQueue *vq)
{
    unsigned id = vq->index < 2 ? 0 : (vq->index - 2) / 2;

    return s->ports[id];
}

static void handle_port_in(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOSerialPort *port = port_of(VIRTIO_SERIAL(vdev), vq);

    if (port) {
        virtio_serial_port_input_ready(port);
    }
}

static void handle_port_out(VirtIODevice *vdev, VirtQueue *vq)
{
    VirtIOSerialPort *port = port_of(VIRTIO_SERIAL(vdev), vq);
    VirtQueueElement *elem;

    if (port) {
        virtio_serial_port_output(port);
        return;
    }
    while ((elem = virtqueue_pop(vq, sizeof(*elem)))) { /* a port nobody plugged */
        virtqueue_push(vq, elem, 0);
        g_free(elem);
    }
    virtio_notify(vq);
}

static bool choose_id(VirtIOSerial *s, VirtIOSerialPort *port, GError **errp)
{
    uint32_t id = port->nr;

    if (id == SERIAL_NR_AUTO) {
        for (id = port->console ? 0 : 1; id < s->max_ports && s->ports[id]; id++) {
        }
        if (id >= s->max_ports) {
            error_setg(errp, "virtio-serial-bus: Maximum port limit for this device reached");
            return false;
        }
    }
    if (id >= s->max_ports) {
        error_setg(errp, "virtio-serial-bus: Out-of-range port id specified, max. allowed: %u",
                   s->max_ports - 1);
        return false;
    }
    if (s->ports[id]) {
        error_setg(errp, "virtio-serial-bus: A port already exists at id %u", id);
        return false;
    }
    if (id == 0 && !port->console) {
        error_setg(errp, "Port number 0 on virtio-serial devices reserved for virtconsole devices "
                         "for backward compatibility.");
        return false;
    }
    port->nr = id;
    return true;
}

bool virtio_serial_add_port(VirtIOSerial *s, VirtIOSerialPort *port, GError **errp)
{
    unsigned first;

    if (!choose_id(s, port, errp)) {
        return false;
    }
    first = port->nr ? 2 * port->nr + 2 : 0;
    port->serial = s;
    port->in = &s->parent.vq[first];
    port->out = &s->parent.vq[first + 1];
    s->ports[port->nr] = port;
    virtio_serial_send_event(s, port->nr, SERIAL_PORT_ADD, 1);
    return true;
}

void virtio_serial_remove_port(VirtIOSerial *s, VirtIOSerialPort *port)
{
    virtio_serial_port_reset(port);
    s->ports[port->nr] = NULL;
    virtio_serial_send_event(s, port->nr, SERIAL_PORT_REMOVE, 1);
}

/* ---- the device ---- */

static void serial_get_config(VirtIODevice *vdev, uint8_t *config)
{
    SerialConfig c = {.max_nr_ports = GUINT32_TO_LE(VIRTIO_SERIAL(vdev)->max_ports)};

    memcpy(config, &c, sizeof(c));
}

/* Emergency write: one character to the first console, also without a driver. */
static void serial_set_config(VirtIODevice *vdev, const uint8_t *config)
{
    VirtIOSerial *s = VIRTIO_SERIAL(vdev);
    uint8_t ch = config[EMERG_OFFSET];

    if (!(vdev->host_features >> SERIAL_F_EMERG_WRITE & 1) || !ch) {
        return;
    }
    memset(vdev->config + EMERG_OFFSET, 0, 4);
    for (unsigned i = 0; i < s->max_ports; i++) {
        if (s->ports[i] && s->ports[i]->console && s->ports[i]->chr) {
            chardev_write(s->ports[i]->chr, &ch, 1);
            return;
        }
    }
}

static uint64_t serial_get_features(VirtIODevice *vdev, uint64_t features)
{
    return VIRTIO_SERIAL(vdev)->max_ports > 1 ? features | 1ULL << SERIAL_F_MULTIPORT : features;
}

static void serial_reset(VirtIODevice *vdev)
{
    VirtIOSerial *s = VIRTIO_SERIAL(vdev);

    for (unsigned i = 0; i < s->max_ports; i++) {
        if (s->ports[i]) {
            virtio_serial_port_reset(s->ports[i]);
        }
    }
}

/* Without the control queue the driver has no way to say that it opened the only port. */
static void serial_set_status(VirtIODevice *vdev, uint8_t status)
{
    VirtIOSerial *s = VIRTIO_SERIAL(vdev);

    if ((status & VIRTIO_STATUS_DRIVER_OK) && s->ports[0] && !multiport(s)) {
        s->ports[0]->guest_connected = true;
    }
}

static void serial_running_changed(VirtIODevice *vdev)
{
    VirtIOSerial *s = VIRTIO_SERIAL(vdev);

    for (unsigned i = 0; vdev->vm_running && i < s->max_ports; i++) {
        if (s->ports[i]) {
            virtio_serial_port_running(s->ports[i]);
        }
    }
}

static bool serial_realize(VirtIODevice *vdev, GError **errp)
{
    VirtIOSerial *s = VIRTIO_SERIAL(vdev);
    const char *id = virtio_user_id(vdev);
    g_autofree char *name = g_strdup_printf("%s.0", id ? id : "virtio-serial-bus");

    if (!s->max_ports || s->max_ports > SERIAL_MAX_PORTS) {
        error_setg(errp, "maximum ports supported: %u", SERIAL_MAX_PORTS);
        return false;
    }
    virtio_add_queue(vdev, PORT_QUEUE_SIZE, handle_port_in);
    virtio_add_queue(vdev, PORT_QUEUE_SIZE, handle_port_out);
    if (s->max_ports > 1) {
        s->ctrl_in = virtio_add_queue(vdev, CONTROL_QUEUE_SIZE, handle_control_in);
        s->ctrl_out = virtio_add_queue(vdev, CONTROL_QUEUE_SIZE, handle_control_out);
    }
    for (unsigned i = 1; i < s->max_ports; i++) {
        virtio_add_queue(vdev, PORT_QUEUE_SIZE, handle_port_in);
        virtio_add_queue(vdev, PORT_QUEUE_SIZE, handle_port_out);
    }
    s->ports = g_new0(VirtIOSerialPort *, s->max_ports);
    s->bus = bus_new(device_machine(&vdev->parent), "virtio-serial-bus", name, s->max_ports,
                     &vdev->parent);
    vdev->config_len = sizeof(SerialConfig);
    return true;
}

static void serial_unrealize(VirtIODevice *vdev)
{
    VirtIOSerial *s = VIRTIO_SERIAL(vdev);

    g_clear_pointer(&s->bus, bus_free);
    g_clear_pointer(&s->ports, g_free);
}

VIRTIO_VMSD(vmstate_virtio_console, "virtio-console", 3);

static const DeviceProperty serial_props[] = {
    DEVICE_PROP_UINT32("max_ports", VirtIOSerial, max_ports, 31, "ports of the bus"),
    VIRTIO_FEATURE_PROP("emergency-write", SERIAL_F_EMERG_WRITE, "early output"),
    {},
};

static void virtio_serial_init(VirtIOSerial *s)
{
}

static void virtio_serial_class_init(VirtIOSerialClass *k)
{
    DeviceStateClass *dc = &k->parent_class;

    device_class_set_props(dc, serial_props);
    dc->desc = "virtio serial bus";
    dc->user_creatable = true;
    dc->vmsd = &vmstate_virtio_console;
    k->device_id = VIRTIO_ID_CONSOLE;
    k->realize_device = serial_realize;
    k->unrealize_device = serial_unrealize;
    k->get_features = serial_get_features;
    k->get_config = serial_get_config;
    k->set_config = serial_set_config;
    k->reset_device = serial_reset;
    k->set_status = serial_set_status;
    k->running_changed = serial_running_changed;
    k->save_device = virtio_serial_save;
    k->load_device = virtio_serial_load;
}
