/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI Express capability of end points. */
#include "hw/pcie.h"

#define EXP_DEVCTL  0x08
#define EXP_DEVSTA  0x0A
#define EXP_LNKCAP  0x0C
#define EXP_LNKCTL  0x10
#define EXP_LNKSTA  0x12
#define EXP_DEVCAP2 0x24
#define EXP_DEVCTL2 0x28
#define DEVCTL_FLR  0x8000

void pcie_endpoint_init(PCIDevice *dev, unsigned cap)
{
    uint8_t *c = pci_add_capability(dev, PCI_CAP_ID_EXP, cap, PCIE_CAP_SIZE);
    PCIConfig *cfg = pci_config(dev);

    pci_put_le16(c + 2, 0x0002);     /* version 2, end point */
    pci_put_le32(c + 4, 0x10008000); /* function level reset, role-based errors */
    pci_put_le32(c + EXP_LNKCAP, 0x00000411);
    pci_put_le16(c + EXP_LNKSTA, 0x0011);
    pci_put_le32(c + EXP_DEVCAP2, 0x00300000);
    pci_put_le16(cfg->wmask + cap + EXP_DEVCTL, 0x800F);
    pci_put_le16(cfg->w1cmask + cap + EXP_DEVSTA, 0x000F);
    pci_put_le16(cfg->wmask + cap + EXP_LNKCTL, 0x00C0);
    pci_put_le16(cfg->cmask + cap + EXP_LNKSTA, 0);
    pci_put_le16(cfg->wmask + cap + EXP_DEVCTL2, 0x8000);
}

void pcie_endpoint_config_changed(PCIDevice *dev, unsigned cap, unsigned addr, unsigned len)
{
    uint8_t *control = pci_config(dev)->config + cap + EXP_DEVCTL;

    if (addr <= cap + EXP_DEVCTL + 1 && addr + len > cap + EXP_DEVCTL + 1 &&
        (pci_get_le16(control) & DEVCTL_FLR)) {
        pci_put_le16(control, pci_get_le16(control) & ~DEVCTL_FLR);
        HW_DEVICE_GET_CLASS(dev)->reset(HW_DEVICE(dev));
    }
}

void pcie_endpoint_reset(PCIDevice *dev, unsigned cap)
{
    uint8_t *c = pci_config(dev)->config + cap;

    pci_put_le16(c + EXP_DEVCTL, 0);
    pci_put_le16(c + EXP_LNKCTL, 0);
    pci_put_le16(c + EXP_DEVCTL2, 0);
}
