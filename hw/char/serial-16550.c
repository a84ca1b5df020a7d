/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A UART (spec 80 section 6, spec 82 section 8).
 *
 * Transmission is instantaneous while the back end takes bytes, so a guest normally never sees LSR
 * other than 0x60. A byte the back end refuses waits in the shift register (tsr, tsr_retry > 0) and
 * blocks the rest.
 *
 * While the VM is stopped neither direction moves on its own: what was saved must still be true
 * when the destination starts, or a byte would be sent twice or lost.
 */
#include "hw/char/serial-16550.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

enum { IER_RDI = 0x01, IER_THRI = 0x02, IER_RLSI = 0x04, IER_MSI = 0x08 };
enum {
    IIR_MODEM = 0x00,
    IIR_NONE = 0x01,
    IIR_THRI = 0x02,
    IIR_RDI = 0x04,
    IIR_RLSI = 0x06,
    IIR_TIMEOUT = 0x0C,
    IIR_CAUSE = 0x0F,
    IIR_FIFO = 0xC0,
};
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_CLEAR_TX = 0x04, FCR_STORED = 0xC9 };
enum { LCR_STOP2 = 0x04, LCR_PARITY = 0x08, LCR_DLAB = 0x80 };
enum { MCR_LOOP = 0x10, MCR_OUT2 = 0x08, MCR_MASK = 0x1F };
enum {
    LSR_DR = 0x01,
    LSR_OVERRUN = 0x02,
    LSR_BREAK = 0x10,
    LSR_ERRORS = 0x1E,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
};
enum { MSR_RESET = 0xB0, MSR_DELTAS = 0x0F };

#define FIFO_SIZE          16
#define MAX_TX_RETRIES     4
#define RESET_DIVISOR      0x000C
#define RESET_CHAR_TIME_NS 1041660
#define BAUD_BASE          399193
#define TIMEOUT_CHARS      4

typedef struct {
    uint8_t data[FIFO_SIZE];
    uint32_t head;
    uint32_t num;
} SerialFifo;

/* The part that the nested description of the "serial" section covers. */
typedef struct {
    uint16_t divider;
    uint8_t rbr, ier, iir, lcr, mcr, lsr, msr, scr, fcr;
    uint8_t fcr_vmstate;
    uint8_t thr, tsr;
    uint32_t tsr_retry;
    int32_t thr_ipending; /* -1 while loading: not in the stream */
    int32_t timeout_ipending;
    SerialFifo recv_fifo, xmit_fifo;
    unsigned trigger; /* rx interrupt level */
    int64_t char_time_ns;
    QEMUTimer *fifo_timeout_timer;
    /* Only real serial ports use these; accepted from a peer that has one. */
    int32_t poll_msl;
    uint64_t modem_status_poll;
    Irq irq;
    Chardev *chr;
    bool vm_running;
} SerialState;

#define TYPE_SERIAL_MM (serial_mm_get_type())
G_DECLARE_FINAL_TYPE(SerialMM, serial_mm, HW, SERIAL_MM, DeviceState)

struct _SerialMM {
    DeviceState parent;
    MemoryRegion mr;
    hwaddr base;
    SerialState serial;
};

G_DEFINE_TYPE(SerialMM, serial_mm, TYPE_DEVICE)
DEVICE_TYPE_REGISTER("serial-mm", serial_mm_get_type)

/* ---- FIFO ---- */

static void fifo_push(SerialFifo *f, uint8_t byte)
{
    g_assert(f->num < FIFO_SIZE);
    f->data[(f->head + f->num++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(SerialFifo *f)
{
    if (f->num == 0) {
        return 0;
    }

    uint8_t byte = f->data[f->head];
    f->head = (f->head + 1) % FIFO_SIZE;
    f->num--;
    return byte;
}

static void fifo_clear(SerialFifo *f)
{
    f->head = f->num = 0;
}

/* ---- interrupts and timing ---- */

static bool fifo_enabled(const SerialState *s)
{
    return s->fcr & FCR_ENABLE;
}

static uint8_t interrupt_cause(const SerialState *s)
{
    if ((s->ier & IER_RLSI) && (s->lsr & LSR_ERRORS)) {
        return IIR_RLSI;
    }
    if ((s->ier & IER_RDI) && s->timeout_ipending) {
        return IIR_TIMEOUT;
    }
    if ((s->ier & IER_RDI) && (s->lsr & LSR_DR) &&
        (!fifo_enabled(s) || s->recv_fifo.num >= s->trigger)) {
        return IIR_RDI;
    }
    if ((s->ier & IER_THRI) && s->thr_ipending) {
        return IIR_THRI;
    }
    if ((s->ier & IER_MSI) && (s->msr & MSR_DELTAS)) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

static void update_irq(SerialState *s)
{
    uint8_t cause = interrupt_cause(s);

    s->iir = cause | (s->iir & ~IIR_CAUSE);
    irq_set(&s->irq, cause != IIR_NONE);
}

static void update_char_time(SerialState *s)
{
    double speed = s->divider ? (double)BAUD_BASE / s->divider : 3500.0;
    int frame =
        1 + (5 + (s->lcr & 3)) + (s->lcr & LCR_STOP2 ? 2 : 1) + (s->lcr & LCR_PARITY ? 1 : 0);

    s->char_time_ns = (int64_t)((double)NANOSECONDS_PER_SECOND / speed) * frame;
}

static void restart_timeout(SerialState *s)
{
    timer_mod_ns(s->fifo_timeout_timer, clock_get_ns(timer_clock(s->fifo_timeout_timer)) +
                                            TIMEOUT_CHARS * s->char_time_ns);
}

static void fifo_timeout(void *opaque)
{
    SerialState *s = opaque;

    if (s->recv_fifo.num > 0) {
        s->timeout_ipending = 1;
        update_irq(s);
    }
}

/* ---- receiver ---- */

static size_t receive_room(const SerialState *s)
{
    if (!fifo_enabled(s)) {
        return !(s->lsr & LSR_DR);
    }
    if (s->recv_fifo.num == FIFO_SIZE) {
        return 0;
    }
    /* Up to the trigger level at once, then, once the guest was told, one by one. */
    return s->recv_fifo.num <= s->trigger ? s->trigger - s->recv_fifo.num : 1;
}

static void receive_byte(SerialState *s, uint8_t byte)
{
    if (fifo_enabled(s)) {
        if (s->recv_fifo.num < FIFO_SIZE) {
            fifo_push(&s->recv_fifo, byte);
        } else {
            s->lsr |= LSR_OVERRUN;
        }
        s->lsr |= LSR_DR;
        restart_timeout(s);
    } else {
        if (s->lsr & LSR_DR) {
            s->lsr |= LSR_OVERRUN;
        }
        s->rbr = byte;
        s->lsr |= LSR_DR;
    }
    update_irq(s);
}

static void receive_break(SerialState *s)
{
    s->rbr = 0;
    if (s->recv_fifo.num < FIFO_SIZE) {
        fifo_push(&s->recv_fifo, 0);
    }
    s->lsr |= LSR_BREAK | LSR_DR;
    update_irq(s);
}

static void input_has_room(SerialState *s)
{
    if (s->chr && s->vm_running && !(s->mcr & MCR_LOOP)) {
        chardev_accept_input(s->chr);
    }
}

/* ---- transmitter ---- */

/* Move the next byte to the shift register. */
static void load_tsr(SerialState *s)
{
    if (fifo_enabled(s)) {
        s->tsr = fifo_pop(&s->xmit_fifo);
        if (s->xmit_fifo.num == 0) {
            s->lsr |= LSR_THRE;
        }
    } else {
        s->tsr = s->thr;
        s->lsr |= LSR_THRE;
    }
    if ((s->lsr & LSR_THRE) && !s->thr_ipending) {
        s->thr_ipending = 1;
        update_irq(s);
    }
}

/* Hand the shift register on; false: it has to wait for the back end. */
static bool send_tsr(SerialState *s)
{
    if (s->mcr & MCR_LOOP) {
        receive_byte(s, s->tsr);
    } else if (s->chr && chardev_write(s->chr, &s->tsr, 1) != 1 && s->tsr_retry < MAX_TX_RETRIES) {
        s->tsr_retry++;
        return false;
    }
    s->tsr_retry = 0;
    return true;
}

static void transmit(SerialState *s)
{
    do {
        if (s->tsr_retry == 0) {
            load_tsr(s);
        }
        if (!send_tsr(s)) {
            return;
        }
    } while (!(s->lsr & LSR_THRE));
    s->lsr |= LSR_TEMT;
}

/* ---- back end ---- */

static size_t serial_can_read(void *opaque)
{
    const SerialState *s = opaque;

    return s->vm_running ? receive_room(s) : 0;
}

static void serial_chr_read(void *opaque, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        receive_byte(opaque, buf[i]);
    }
}

static void serial_chr_event(void *opaque, ChrEvent event)
{
    if (event == CHR_EVENT_BREAK) {
        receive_break(opaque);
    }
}

static void serial_write_ready(void *opaque)
{
    SerialState *s = opaque;

    if (s->tsr_retry > 0 && s->vm_running) {
        transmit(s);
    }
}

static const ChardevFrontend serial_frontend = {
    .can_read = serial_can_read,
    .read = serial_chr_read,
    .event = serial_chr_event,
    .write_ready = serial_write_ready,
};

/* ---- registers ---- */

static uint8_t read_rbr(SerialState *s)
{
    uint8_t byte;

    if (fifo_enabled(s)) {
        byte = fifo_pop(&s->recv_fifo);
        if (s->recv_fifo.num == 0) {
            s->lsr &= ~(LSR_DR | LSR_BREAK);
        } else {
            restart_timeout(s);
        }
        s->timeout_ipending = 0;
    } else {
        byte = s->rbr;
        s->lsr &= ~(LSR_DR | LSR_BREAK);
    }
    update_irq(s);
    input_has_room(s);
    return byte;
}

static uint8_t read_iir(SerialState *s)
{
    uint8_t iir = s->iir;

    if ((iir & IIR_CAUSE) == IIR_THRI) {
        s->thr_ipending = 0;
        update_irq(s);
    }
    return iir;
}

static uint8_t read_lsr(SerialState *s)
{
    uint8_t lsr = s->lsr;

    if (lsr & (LSR_BREAK | LSR_OVERRUN)) {
        s->lsr &= ~(LSR_BREAK | LSR_OVERRUN);
        update_irq(s);
    }
    return lsr;
}

static uint8_t read_msr(SerialState *s)
{
    uint8_t msr = s->msr;

    if (s->mcr & MCR_LOOP) { /* the modem outputs come back as inputs */
        return (s->mcr & 0x0C) << 4 | (s->mcr & 0x02) << 3 | (s->mcr & 0x01) << 5;
    }
    if (msr & MSR_DELTAS) {
        s->msr &= ~MSR_DELTAS;
        update_irq(s);
    }
    return msr;
}

static void write_thr(SerialState *s, uint8_t value)
{
    s->thr = value;
    if (fifo_enabled(s)) {
        if (s->xmit_fifo.num == FIFO_SIZE) {
            fifo_pop(&s->xmit_fifo);
        }
        fifo_push(&s->xmit_fifo, value);
    }
    s->thr_ipending = 0;
    s->lsr &= ~(LSR_THRE | LSR_TEMT);
    update_irq(s);
    if (s->tsr_retry == 0) {
        transmit(s);
    }
}

static void write_ier(SerialState *s, uint8_t value)
{
    uint8_t changed = (s->ier ^ value) & 0x0F;

    s->ier = value & 0x0F;
    if (changed & IER_THRI) {
        s->thr_ipending = (s->ier & IER_THRI) && (s->lsr & LSR_THRE);
    }
    if (changed) {
        update_irq(s);
    }
}

/* What a stored FCR value implies; also used after loading. */
static void apply_fcr(SerialState *s, uint8_t value)
{
    static const uint8_t triggers[] = {1, 4, 8, 14};

    s->fcr = value & FCR_STORED;
    if (fifo_enabled(s)) {
        s->iir |= IIR_FIFO;
        s->trigger = triggers[value >> 6];
    } else {
        s->iir &= ~IIR_FIFO;
    }
}

static void write_fcr(SerialState *s, uint8_t value)
{
    if ((value ^ s->fcr) & FCR_ENABLE) {
        value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    }
    if (value & FCR_CLEAR_RX) {
        s->lsr &= ~(LSR_DR | LSR_BREAK);
        timer_del(s->fifo_timeout_timer);
        s->timeout_ipending = 0;
        fifo_clear(&s->recv_fifo);
    }
    if (value & FCR_CLEAR_TX) {
        s->lsr |= LSR_THRE;
        s->thr_ipending = 1;
        fifo_clear(&s->xmit_fifo);
    }
    apply_fcr(s, value);
    update_irq(s);
    input_has_room(s);
}

static MemTxResult serial_read(void *opaque, hwaddr addr, unsigned size, uint64_t *value)
{
    SerialState *s = opaque;
    bool dlab = s->lcr & LCR_DLAB;

    switch (addr) {
    case REG_DATA:
        *value = dlab ? s->divider & 0xFF : read_rbr(s);
        break;
    case REG_IER:
        *value = dlab ? s->divider >> 8 : s->ier;
        break;
    case REG_IIR_FCR:
        *value = read_iir(s);
        break;
    case REG_LCR:
        *value = s->lcr;
        break;
    case REG_MCR:
        *value = s->mcr;
        break;
    case REG_LSR:
        *value = read_lsr(s);
        break;
    case REG_MSR:
        *value = read_msr(s);
        break;
    default:
        *value = s->scr;
        break;
    }
    return MEMTX_OK;
}

static MemTxResult serial_write(void *opaque, hwaddr addr, unsigned size, uint64_t value)
{
    SerialState *s = opaque;
    uint8_t v = value;
    bool dlab = s->lcr & LCR_DLAB;

    switch (addr) {
    case REG_DATA:
        if (dlab) {
            s->divider = (s->divider & 0xFF00) | v;
            update_char_time(s);
        } else {
            write_thr(s, v);
        }
        break;
    case REG_IER:
        if (dlab) {
            s->divider = (s->divider & 0x00FF) | v << 8;
            update_char_time(s);
        } else {
            write_ier(s, v);
        }
        break;
    case REG_IIR_FCR:
        write_fcr(s, v);
        break;
    case REG_LCR:
        s->lcr = v;
        update_char_time(s);
        break;
    case REG_MCR:
        s->mcr = v & MCR_MASK;
        break;
    case REG_SCR:
        s->scr = v;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
    return MEMTX_OK;
}

/* A wider access touches only the addressed register. */
static const MemoryRegionOps serial_ops = {
    .read = serial_read, .write = serial_write, .sizes = 1 | 2 | 4 | 8};

/* ---- life cycle ---- */

static void serial_reset(DeviceState *dev)
{
    SerialState *s = &HW_SERIAL_MM(dev)->serial;

    s->divider = RESET_DIVISOR;
    s->rbr = s->ier = s->lcr = s->scr = 0;
    s->iir = IIR_NONE;
    s->mcr = MCR_OUT2;
    s->lsr = LSR_THRE | LSR_TEMT;
    s->msr = MSR_RESET;
    s->tsr_retry = 0;
    s->thr_ipending = s->timeout_ipending = 0;
    s->char_time_ns = RESET_CHAR_TIME_NS;
    fifo_clear(&s->recv_fifo);
    fifo_clear(&s->xmit_fifo);
    timer_del(s->fifo_timeout_timer);
    irq_lower(&s->irq);
}

static void serial_vm_state(DeviceState *dev, gboolean running)
{
    SerialState *s = &HW_SERIAL_MM(dev)->serial;

    s->vm_running = running;
    if (running) {
        serial_write_ready(s);
        input_has_room(s);
    }
}

static gboolean serial_realize(DeviceState *dev, GError **errp)
{
    SerialMM *mm = HW_SERIAL_MM(dev);
    SerialState *s = &mm->serial;

    if (s->chr && !chardev_attach(s->chr, &serial_frontend, s, errp)) {
        return false;
    }
    s->fifo_timeout_timer = timer_new_ns(device_machine(dev)->vclock, fifo_timeout, s);
    memory_region_init_io(&mm->mr, "serial", 8, &serial_ops, s);
    address_space_add(device_machine(dev)->as, &mm->mr, mm->base, 0);
    return true;
}

static void serial_unrealize(DeviceState *dev)
{
    SerialMM *mm = HW_SERIAL_MM(dev);

    address_space_del(device_machine(dev)->as, &mm->mr);
    g_clear_pointer(&mm->serial.fifo_timeout_timer, timer_free);
    if (mm->serial.chr) {
        chardev_detach(mm->serial.chr);
    }
}

/* ---- migration ---- */

static bool serial_pre_save(void *opaque, GError **errp)
{
    SerialState *s = opaque;

    s->fcr_vmstate = s->fcr;
    return true;
}

static bool serial_pre_load(void *opaque, GError **errp)
{
    SerialState *s = opaque;

    s->thr_ipending = -1;
    s->timeout_ipending = 0;
    s->tsr_retry = 0;
    fifo_clear(&s->recv_fifo);
    fifo_clear(&s->xmit_fifo);
    timer_del(s->fifo_timeout_timer);
    return true;
}

static bool serial_post_load(void *opaque, int version_id, GError **errp)
{
    SerialState *s = opaque;

    if (s->thr_ipending == -1) {
        s->thr_ipending = (s->iir & IIR_RLSI) == IIR_THRI;
    }
    if (s->tsr_retry > 0) {
        if (s->lsr & LSR_TEMT) {
            error_setg(errp, "serial: tsr_retry %u with an empty transmitter (LSR 0x%02x)",
                       s->tsr_retry, s->lsr);
            return false;
        }
        s->tsr_retry = MIN(s->tsr_retry, MAX_TX_RETRIES);
    } else if (!(s->lsr & LSR_TEMT)) {
        error_setg(errp, "serial: busy transmitter (LSR 0x%02x) without serial/tsr", s->lsr);
        return false;
    }
    s->mcr &= MCR_MASK;
    s->ier &= 0x0F;
    apply_fcr(s, s->fcr_vmstate);
    update_char_time(s);
    return true;
}

static bool fifo_post_load(void *opaque, int version_id, GError **errp)
{
    const SerialFifo *f = opaque;

    if (f->head >= FIFO_SIZE || f->num > FIFO_SIZE) {
        error_setg(errp, "serial: FIFO head %u, count %u outside its %d bytes", f->head, f->num,
                   FIFO_SIZE);
        return false;
    }
    return true;
}

static bool thr_ipending_needed(void *opaque)
{
    const SerialState *s = opaque;

    return (s->ier & IER_THRI) && s->thr_ipending != ((s->iir & IIR_RLSI) == IIR_THRI);
}

static bool tsr_needed(void *opaque)
{
    return ((const SerialState *)opaque)->tsr_retry > 0;
}

static bool recv_fifo_needed(void *opaque)
{
    return ((const SerialState *)opaque)->recv_fifo.num > 0;
}

static bool xmit_fifo_needed(void *opaque)
{
    return ((const SerialState *)opaque)->xmit_fifo.num > 0;
}

static bool timeout_timer_needed(void *opaque)
{
    return timer_pending(((const SerialState *)opaque)->fifo_timeout_timer);
}

static bool timeout_ipending_needed(void *opaque)
{
    return ((const SerialState *)opaque)->timeout_ipending != 0;
}

static bool poll_needed(void *opaque)
{
    return false;
}

static const VMStateDescription vmstate_fifo = {
    .name = "Fifo8",
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = fifo_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_BUFFER(data, SerialFifo),
            VMSTATE_UINT32(head, SerialFifo),
            VMSTATE_UINT32(num, SerialFifo),
            VMSTATE_END_OF_LIST(),
        },
};

#define SERIAL_SUBSECTION(ident, needed_, ...)                                \
    static const VMStateDescription vmstate_serial_##ident = {                \
        .name = "serial/" #ident,                                             \
        .version_id = 1,                                                      \
        .minimum_version_id = 1,                                              \
        .needed = needed_,                                                    \
        .fields = (const VMStateField[]){__VA_ARGS__, VMSTATE_END_OF_LIST()}, \
    }

SERIAL_SUBSECTION(thr_ipending, thr_ipending_needed, VMSTATE_INT32(thr_ipending, SerialState));
SERIAL_SUBSECTION(tsr, tsr_needed, VMSTATE_UINT32(tsr_retry, SerialState),
                  VMSTATE_UINT8(thr, SerialState), VMSTATE_UINT8(tsr, SerialState));
SERIAL_SUBSECTION(recv_fifo, recv_fifo_needed,
                  VMSTATE_STRUCT(recv_fifo, SerialState, 1, vmstate_fifo, SerialFifo));
SERIAL_SUBSECTION(xmit_fifo, xmit_fifo_needed,
                  VMSTATE_STRUCT(xmit_fifo, SerialState, 1, vmstate_fifo, SerialFifo));
SERIAL_SUBSECTION(fifo_timeout_timer, timeout_timer_needed,
                  VMSTATE_TIMER_PTR(fifo_timeout_timer, SerialState));
SERIAL_SUBSECTION(timeout_ipending, timeout_ipending_needed,
                  VMSTATE_INT32(timeout_ipending, SerialState));
SERIAL_SUBSECTION(poll, poll_needed, VMSTATE_INT32(poll_msl, SerialState),
                  VMSTATE_UINT64(modem_status_poll, SerialState));

static const VMStateDescription vmstate_serial = {
    .name = "serial",
    .version_id = 3,
    .minimum_version_id = 3,
    .pre_save = serial_pre_save,
    .pre_load = serial_pre_load,
    .post_load = serial_post_load,
    .fields =
        (const VMStateField[]){
            VMSTATE_UINT16(divider, SerialState),
            VMSTATE_UINT8(rbr, SerialState),
            VMSTATE_UINT8(ier, SerialState),
            VMSTATE_UINT8(iir, SerialState),
            VMSTATE_UINT8(lcr, SerialState),
            VMSTATE_UINT8(mcr, SerialState),
            VMSTATE_UINT8(lsr, SerialState),
            VMSTATE_UINT8(msr, SerialState),
            VMSTATE_UINT8(scr, SerialState),
            VMSTATE_UINT8(fcr_vmstate, SerialState),
            VMSTATE_END_OF_LIST(),
        },
    .subsections =
        (const VMStateDescription *const[]){
            &vmstate_serial_thr_ipending,
            &vmstate_serial_tsr,
            &vmstate_serial_recv_fifo,
            &vmstate_serial_xmit_fifo,
            &vmstate_serial_fifo_timeout_timer,
            &vmstate_serial_timeout_ipending,
            &vmstate_serial_poll,
            NULL,
        },
};

static const VMStateDescription vmstate_serial_mm = {
    .name = "serial",
    .version_id = 3,
    .minimum_version_id = 2, /* the body has a version of its own */
    .fields =
        (const VMStateField[]){
            VMSTATE_STRUCT(serial, SerialMM, 0, vmstate_serial, SerialState),
            VMSTATE_END_OF_LIST(),
        },
};

static void serial_mm_class_init(SerialMMClass *klass)
{
    DeviceStateClass *dc = HW_DEVICE_CLASS(klass);

    dc->desc = "16550A UART";
    dc->realize = serial_realize;
    dc->unrealize = serial_unrealize;
    dc->reset = serial_reset;
    dc->vm_state = serial_vm_state;
    dc->vmsd = &vmstate_serial_mm;
}

static void serial_mm_init(SerialMM *mm)
{
}

DeviceState *serial_create(Machine *m, hwaddr base, Irq irq, Chardev *chr, GError **errp)
{
    DeviceState *dev = device_new(m, "serial-mm", NULL, errp);

    if (!dev) {
        return NULL;
    }

    SerialMM *mm = HW_SERIAL_MM(dev);
    mm->base = base;
    mm->serial.irq = irq;
    mm->serial.chr = chr;
    return device_realize(dev, NULL, errp) ? dev : NULL;
}
