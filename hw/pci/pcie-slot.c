/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A root port's slot with native hot plug.
 *
 *   device_add   presence and link up, attention button pressed: the guest powers the slot and
 *                looks
 *   device_del   attention button pressed; the guest lets go of the device, then turns indicator
 * and power off: the device leaves
 *
 * Without power nothing in the slot answers.
 */
#include "hw/pcie.h"

#define EXP_DEVCTL  0x08
#define EXP_LNKCAP  0x0C
#define EXP_LNKSTA  0x12
#define EXP_SLTCAP  0x14
#define EXP_SLTCTL  0x18
#define EXP_SLTSTA  0x1A
#define EXP_RTCTL   0x1C
#define EXP_RTSTA   0x20
#define EXP_DEVCAP2 0x24
#define EXP_DEVCTL2 0x28
#define EXP_LNKCAP2 0x2C
#define EXP_LNKCTL2 0x30

enum { /* slot status; the event bits are enabled by the same bits of slot control */
       STA_BUTTON = 0x0001,
       STA_PRESENCE_CHANGED = 0x0008,
       STA_COMMAND_DONE = 0x0010,
       STA_PRESENT = 0x0040,
       STA_INTERLOCK = 0x0080,
       EVENTS = STA_BUTTON | STA_PRESENCE_CHANGED | STA_COMMAND_DONE,
};

enum { /* slot control */
       CTL_HP_INTERRUPT = 0x0020,
       CTL_ATTENTION_OFF = 0x00C0,
       CTL_POWER_LED = 0x0300,
       CTL_POWER_LED_ON = 0x0100,
       CTL_POWER_LED_BLINK = 0x0200,
       CTL_POWER_LED_OFF = 0x0300,
       CTL_POWER_OFF = 0x0400,
       CTL_INTERLOCK = 0x0800, /* writing 1 toggles, reads 0 */
       CTL_WRITABLE = 0x0FF9,
};

#define LINK_ACTIVE        0x2000
#define SLOT_CAPS          0x00020019 /* button, indicators, interlock */
#define SLOT_CAPS_HOTPLUG  0x00000062 /* power controller, surprise, hot plug */
#define SLOT_NUMBER_SHIFT  19
#define LINK_CAPS          0x00300604 /* 16 GT/s, 32 lanes, reports link state */
#define LINK_STATUS_EMPTY  0x0204
#define LINK_STATUS_DEVICE 0x0011

static uint8_t *reg(PCIESlot *s, unsigned at)
{
    return pci_config(s->port)->config + s->cap + at;
}

static uint16_t control(PCIESlot *s)
{
    return pci_get_le16(reg(s, EXP_SLTCTL));
}

static uint16_t status(PCIESlot *s)
{
    return pci_get_le16(reg(s, EXP_SLTSTA));
}

static void set_status(PCIESlot *s, uint16_t clear, uint16_t set)
{
    pci_put_le16(reg(s, EXP_SLTSTA), (status(s) & ~clear) | set);
}

void pcie_slot_init(PCIESlot *s, PCIDevice *port, unsigned cap, uint16_t number, bool hotplug)
{
    uint8_t *c = pci_add_capability(port, PCI_CAP_ID_EXP, cap, PCIE_CAP_SIZE);
    PCIConfig *cfg = pci_config(port);

    s->port = port;
    s->cap = cap;
    pci_put_le16(c + 2, 0x0142); /* version 2, root port, with a slot */
    pci_put_le32(c + 4, 0x00008000);
    pci_put_le32(c + EXP_LNKCAP, LINK_CAPS);
    pci_put_le32(c + EXP_SLTCAP, SLOT_CAPS | (hotplug ? SLOT_CAPS_HOTPLUG : 0) |
                                     (uint32_t)number << SLOT_NUMBER_SHIFT);
    pci_put_le32(c + EXP_DEVCAP2, 0x00300020);
    pci_put_le32(c + EXP_LNKCAP2, 0x0000001E);
    pci_put_le16(c + EXP_LNKCTL2, 0x0004);
    pci_put_le16(cfg->wmask + cap + EXP_DEVCTL, 0x000F);
    pci_put_le16(cfg->w1cmask + cap + EXP_DEVCTL + 2, 0x000F);
    pci_put_le16(cfg->cmask + cap + EXP_LNKSTA, 0);
    pci_put_le16(cfg->wmask + cap + EXP_SLTCTL, CTL_WRITABLE);
    pci_put_le16(cfg->w1cmask + cap + EXP_SLTSTA, EVENTS);
    pci_put_le16(cfg->wmask + cap + EXP_RTCTL, 0x0007);
    pci_put_le32(cfg->w1cmask + cap + EXP_RTSTA, 0x00010000);
    pci_put_le16(cfg->wmask + cap + EXP_DEVCTL2, 0x8020);
}

static bool populated(PCIESlot *s)
{
    return pci_bus_slots(s->bus)->children->len > 0;
}

/* Presence and link as they are. */
static void update_link(PCIESlot *s)
{
    bool present = populated(s);

    set_status(s, STA_PRESENT, present ? STA_PRESENT : 0);
    pci_put_le16(reg(s, EXP_LNKSTA),
                 present ? LINK_STATUS_DEVICE | LINK_ACTIVE : LINK_STATUS_EMPTY);
}

static void update_power(PCIESlot *s)
{
    pci_bus_set_power(s->bus, !(control(s) & CTL_POWER_OFF));
}

/* A level on pin A, or a message when the level rises. */
static void update_interrupt(PCIESlot *s)
{
    bool level = (control(s) & CTL_HP_INTERRUPT) && (control(s) & status(s) & EVENTS);
    bool rises = level && !s->notified;

    s->notified = level;
    if (!pci_msix_enabled(s->port)) {
        pci_set_irq(s->port, 0, level);
    } else if (rises) {
        pci_msix_notify(s->port, 0);
    }
}

void pcie_slot_reset(PCIESlot *s)
{
    uint16_t on = populated(s) ? CTL_POWER_LED_ON : CTL_POWER_LED_OFF | CTL_POWER_OFF;

    pci_put_le16(reg(s, EXP_DEVCTL), 0);
    pci_put_le16(reg(s, EXP_RTCTL), 0);
    pci_put_le16(reg(s, EXP_DEVCTL2), 0);
    pci_put_le16(reg(s, EXP_SLTCTL), CTL_ATTENTION_OFF | on);
    set_status(s, EVENTS | STA_INTERLOCK, 0);
    s->control = control(s);
    s->unplug_pending = false;
    update_link(s);
    update_power(s);
    update_interrupt(s);
}

void pcie_slot_plugged(PCIESlot *s, bool event)
{
    update_link(s);
    if (event) {
        set_status(s, 0, STA_PRESENCE_CHANGED | STA_BUTTON);
        update_interrupt(s);
    } else {
        /* There before the guest: powered. */
        pci_put_le16(reg(s, EXP_SLTCTL), CTL_ATTENTION_OFF | CTL_POWER_LED_ON);
        s->control = control(s);
        update_power(s);
    }
}

/* ---- leaving ---- */

static bool switched_off(uint16_t ctl)
{
    return (ctl & CTL_POWER_OFF) && (ctl & CTL_POWER_LED) == CTL_POWER_LED_OFF;
}

static void unplug_all(PCIESlot *s)
{
    GPtrArray *children = pci_bus_slots(s->bus)->children;

    s->unplug_pending = false;
    while (children->len) {
        device_unplug_deleted(children->pdata[children->len - 1]);
    }
    update_link(s);
    set_status(s, 0, STA_PRESENCE_CHANGED);
    update_interrupt(s);
}

bool pcie_slot_unplug_request(PCIESlot *s, PCIDevice *dev, GError **errp)
{
    const char *id = device_id(HW_DEVICE(dev));

    if (switched_off(control(s))) {
        unplug_all(s);
        return true;
    }
    if (s->unplug_pending) {
        error_setg(errp, "Device %s is already in the process of unplug", id ? id : "");
        return false;
    }
    if ((control(s) & CTL_POWER_LED) == CTL_POWER_LED_BLINK) {
        error_setg(errp, "Hot-unplug failed: guest is busy (power indicator blinking)");
        return false;
    }
    s->unplug_pending = true;
    set_status(s, 0, STA_BUTTON);
    update_interrupt(s);
    return true;
}

/* ---- what the guest writes ---- */

static bool touched(PCIESlot *s, unsigned at, unsigned addr, unsigned len)
{
    return addr < s->cap + at + 2 && s->cap + at < addr + len;
}

static void control_written(PCIESlot *s)
{
    uint16_t old = s->control, ctl = control(s);

    if (ctl & CTL_INTERLOCK) {
        ctl &= ~CTL_INTERLOCK;
        pci_put_le16(reg(s, EXP_SLTCTL), ctl);
        set_status(s, STA_INTERLOCK, ~status(s) & STA_INTERLOCK);
    }
    s->control = ctl;
    if (populated(s) && switched_off(ctl) && !switched_off(old)) {
        unplug_all(s);
    }
    /* A guest that powers the device up again does not let go of it; it may be asked anew. */
    if ((ctl & CTL_POWER_LED) == CTL_POWER_LED_ON && (old & CTL_POWER_LED) == CTL_POWER_LED_BLINK) {
        s->unplug_pending = false;
    }
    update_power(s);
    set_status(s, 0, STA_COMMAND_DONE);
}

void pcie_slot_config_changed(PCIESlot *s, unsigned addr, unsigned len)
{
    if (touched(s, EXP_SLTCTL, addr, len)) {
        control_written(s);
    }
    if (touched(s, EXP_SLTCTL, addr, len) || touched(s, EXP_SLTSTA, addr, len)) {
        update_interrupt(s);
    }
}

void pcie_slot_loaded(PCIESlot *s)
{
    s->control = control(s);
    s->notified = (control(s) & CTL_HP_INTERRUPT) && (control(s) & status(s) & EVENTS);
    update_power(s);
}
