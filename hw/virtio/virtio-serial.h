/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-serial: the device with its control queues, and the ports that plug into its bus. */
#ifndef GODWIT_HW_VIRTIO_VIRTIO_SERIAL_H
#define GODWIT_HW_VIRTIO_VIRTIO_SERIAL_H

#include "backends/chardev.h"
#include "hw/virtio.h"

enum { SERIAL_F_MULTIPORT = 1, SERIAL_F_EMERG_WRITE = 2 };

enum { /* control events */
       SERIAL_DEVICE_READY,
       SERIAL_PORT_ADD,
       SERIAL_PORT_REMOVE,
       SERIAL_PORT_READY,
       SERIAL_CONSOLE_PORT,
       SERIAL_RESIZE,
       SERIAL_PORT_OPEN,
       SERIAL_PORT_NAME,
};

#define SERIAL_MAX_PORTS 511
#define SERIAL_NR_AUTO   UINT32_MAX

typedef struct VirtIOSerial VirtIOSerial;

typedef struct {
    DeviceState parent;
    VirtIOSerial *serial;
    char *chardev, *name;
    uint32_t nr; /* port id */
    bool console;
    Chardev *chr;
    VirtQueue *in, *out; /* host to guest, guest to host */
    bool guest_connected, host_connected;
    bool announce_host;     /* a stream said otherwise than what is so here */
    VirtQueueElement *elem; /* partly written to the chardev */
    unsigned iov_idx;
    size_t iov_offset;
} VirtIOSerialPort;
#define SERIAL_PORT(obj) ((VirtIOSerialPort *)(obj))

struct VirtIOSerial {
    VirtIODevice parent;
    Bus *bus;
    uint32_t max_ports;
    VirtQueue *ctrl_in, *ctrl_out; /* NULL with a single port */
    VirtIOSerialPort **ports;      /* max_ports, by id */
};
#define VIRTIO_SERIAL(vdev) ((VirtIOSerial *)(vdev))

GType virtio_serial_get_type(void);

/* The lowest free id (0 is for consoles), or the one asked for; connects the port's queues. */
bool virtio_serial_add_port(VirtIOSerial *s, VirtIOSerialPort *port, GError **errp);
void virtio_serial_remove_port(VirtIOSerial *s, VirtIOSerialPort *port);
void virtio_serial_send_event(VirtIOSerial *s, uint32_t id, uint16_t event, uint16_t value);

/* Called by the device for its ports. */
void virtio_serial_port_reset(VirtIOSerialPort *port);
void virtio_serial_port_output(VirtIOSerialPort *port);
void virtio_serial_port_input_ready(VirtIOSerialPort *port);
void virtio_serial_port_guest_open(VirtIOSerialPort *port, bool open);
void virtio_serial_port_running(VirtIOSerialPort *port);

bool virtio_serial_save(VirtIODevice *vdev, QEMUFile *f, GError **errp);
bool virtio_serial_load(VirtIODevice *vdev, QEMUFile *f, GError **errp);

#endif
