// SPDX-License-Identifier: GPL-2.0-or-later
/* The device itself: registers, memory BAR, DMA, life, and the knobs of the tests. */
#include <linux/crc32.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <uapi/linux/pci_regs.h>
#include "device.h"

#define REGION_SHIFT 40
#define RING_BATCH   8
#define NAME         "godwit-vfio"

static unsigned int instances = 6;
module_param(instances, uint, 0444);

/* ---- registers ---- */

static u32 reg(const struct gw_device *gw, unsigned int offset)
{
    return le32_to_cpu(gw->regs[offset / 4]);
}

static u64 reg64(const struct gw_device *gw, unsigned int offset)
{
    return reg(gw, offset) | (u64)reg(gw, offset + 4) << 32;
}

static void set_reg(struct gw_device *gw, unsigned int offset, u32 value)
{
    gw->regs[offset / 4] = cpu_to_le32(value);
}

static int dma(struct gw_device *gw, u64 iova, void *data, size_t len, bool write)
{
    int ret;

    if (!(gw->config[PCI_COMMAND] & PCI_COMMAND_MASTER)) {
        return -EACCES;
    }
    ret = vfio_dma_rw(&gw->vdev, iova, data, len, write);
    if (!ret && write) {
        gw_log_write(gw, iova, len);
    }
    return ret;
}

static int copy(struct gw_device *gw)
{
    u32 len = reg(gw, 0x18);
    void *data = len && len <= GW_BLOCK ? kvmalloc(len, GFP_KERNEL) : NULL;
    int ret;

    if (!data) {
        return -EINVAL;
    }
    ret = dma(gw, reg64(gw, 0x08), data, len, false);
    ret = ret ? ret : dma(gw, reg64(gw, 0x10), data, len, true);
    kvfree(data);
    return ret;
}

static void register_written(struct gw_device *gw, unsigned int offset)
{
    int ret = 0;

    if (offset == 0x04) {
        gw_signal(gw, reg(gw, 0x04));
    } else if (offset == 0x1C) {
        if (reg(gw, 0x1C) == 1) {
            ret = copy(gw);
        } else {
            gw->level = reg(gw, 0x1C) == 2;
            gw_update_pin(gw);
        }
        set_reg(gw, 0x20, -ret);
        set_reg(gw, 0x24, reg(gw, 0x24) + 1);
    }
}

u64 gw_ring(const struct gw_device *gw)
{
    return reg64(gw, 0x40);
}

/* Record s goes to page s modulo their number. */
static void write_ring(struct gw_device *gw)
{
    u32 pages = reg(gw, 0x48);
    unsigned int i;

    for (i = 0; pages && i < RING_BATCH; i++) {
        u64 seq = reg64(gw, 0x50), page = seq;
        __le64 record[2] = {cpu_to_le64(seq), cpu_to_le64(~seq)};

        if (dma(gw, reg64(gw, 0x40) + PAGE_SIZE * do_div(page, pages), record, sizeof(record),
                true)) {
            return;
        }
        set_reg(gw, 0x50, seq + 1);
        set_reg(gw, 0x54, (seq + 1) >> 32);
    }
}

static int engine(void *opaque)
{
    struct gw_device *gw = opaque;

    while (!kthread_should_stop()) {
        mutex_lock(&gw->lock);
        if (gw_is_running(gw)) {
            write_ring(gw);
        }
        mutex_unlock(&gw->lock);
        usleep_range(1000, 2000);
    }
    return 0;
}

static void reset_registers(struct gw_device *gw)
{
    memset(gw->regs, 0, GW_REGS);
    memset(gw->bar2, 0, GW_BAR2);
    gw->level = false;
}

static void fresh_config(u8 *config)
{
    static const u8 fixed[GW_CONFIG] = {
        [PCI_VENDOR_ID] = 0xFE,
        0xCA,
        [PCI_DEVICE_ID] = 0x56,
        0x4D,
        [PCI_STATUS] = PCI_STATUS_CAP_LIST,
        [PCI_REVISION_ID] = 1,
        [PCI_CLASS_DEVICE + 1] = 0xFF,
        [PCI_BASE_ADDRESS_2] = PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
        [PCI_CAPABILITY_LIST] = 0x40,
        [PCI_INTERRUPT_PIN] = 1,
        [0x40] = PCI_CAP_ID_MSIX,
        0x50,
        GW_VECTORS - 1,
        [0x44] = 4, /* the table: BAR 4 */
        [0x48] = 4,
        8, /* pending bits: 0x800 behind */
        [0x50] = PCI_CAP_ID_VNDR,
        0,
        16,
        0,
        'V',
        'F',
        'I',
        'O',
        '-',
        'K',
        'E',
        'R',
        'N',
        'E',
        'L',
    };

    memcpy(config, fixed, GW_CONFIG);
}

static void write_config(struct gw_device *gw, unsigned int at, u8 value)
{
    if (at == PCI_COMMAND || at == PCI_COMMAND + 1 || at == PCI_CACHE_LINE_SIZE ||
        at == PCI_INTERRUPT_LINE || at >= 0x60) {
        gw->config[at] = value;
    }
}

/* ---- regions ---- */

static size_t region_size(unsigned int index)
{
    switch (index) {
    case VFIO_PCI_BAR0_REGION_INDEX:
        return GW_REGS;
    case VFIO_PCI_BAR2_REGION_INDEX:
        return GW_BAR2;
    case VFIO_PCI_BAR4_REGION_INDEX:
        return GW_BAR4;
    case VFIO_PCI_CONFIG_REGION_INDEX:
        return GW_CONFIG;
    default:
        return 0;
    }
}

static u8 *region_bytes(struct gw_device *gw, unsigned int index)
{
    switch (index) {
    case VFIO_PCI_BAR0_REGION_INDEX:
        return (u8 *)gw->regs;
    case VFIO_PCI_BAR2_REGION_INDEX:
        return gw->bar2;
    case VFIO_PCI_BAR4_REGION_INDEX:
        return gw->bar4;
    default:
        return gw->config;
    }
}

static bool stands_still(const struct gw_device *gw)
{
    return gw->state == VFIO_DEVICE_STATE_STOP || gw->state == VFIO_DEVICE_STATE_STOP_COPY ||
           gw->state == VFIO_DEVICE_STATE_RESUMING;
}

static bool decode(loff_t pos, size_t *count, unsigned int *index, unsigned int *offset)
{
    u64 at = pos & ((1ull << REGION_SHIFT) - 1);
    size_t size = region_size(pos >> REGION_SHIFT);

    if (at >= size) {
        return false;
    }
    *index = pos >> REGION_SHIFT;
    *offset = at;
    *count = min_t(size_t, *count, size - at);
    return true;
}

static ssize_t gw_read(struct vfio_device *vdev, char __user *buf, size_t count, loff_t *pos)
{
    struct gw_device *gw = gw_of(vdev);
    unsigned int index, offset;
    ssize_t ret;

    if (!decode(*pos, &count, &index, &offset)) {
        return -EINVAL;
    }
    mutex_lock(&gw->lock);
    if (index == VFIO_PCI_BAR0_REGION_INDEX && stands_still(gw)) {
        set_reg(gw, 0x60, reg(gw, 0x60) + 1);
    }
    ret = copy_to_user(buf, region_bytes(gw, index) + offset, count) ? -EFAULT : count;
    mutex_unlock(&gw->lock);
    return ret;
}

static ssize_t gw_write(struct vfio_device *vdev, const char __user *buf, size_t count, loff_t *pos)
{
    struct gw_device *gw = gw_of(vdev);
    unsigned int index, offset, i;
    u8 data[8];

    count = min(count, sizeof(data));
    if (!decode(*pos, &count, &index, &offset)) {
        return -EINVAL;
    }
    if (copy_from_user(data, buf, count)) {
        return -EFAULT;
    }
    mutex_lock(&gw->lock);
    if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
        for (i = 0; i < count; i++) {
            write_config(gw, offset + i, data[i]);
        }
    } else {
        memcpy(region_bytes(gw, index) + offset, data, count);
        if (index == VFIO_PCI_BAR0_REGION_INDEX) {
            if (stands_still(gw)) {
                set_reg(gw, 0x60, reg(gw, 0x60) + 1);
            }
            register_written(gw, offset);
        }
    }
    mutex_unlock(&gw->lock);
    return count;
}

/* The memory BAR, and of BAR 4 nothing: what is said to be mappable there is a lie that no caller
 * should need. */
static int gw_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
    u64 first = (u64)vma->vm_pgoff << PAGE_SHIFT;
    u64 offset = first & ((1ull << REGION_SHIFT) - 1);
    u64 size = vma->vm_end - vma->vm_start;

    if (first >> REGION_SHIFT != VFIO_PCI_BAR2_REGION_INDEX || offset > GW_BAR2 ||
        size > GW_BAR2 - offset || !(vma->vm_flags & VM_SHARED)) {
        return -EINVAL;
    }
    return remap_vmalloc_range(vma, gw_of(vdev)->bar2, offset >> PAGE_SHIFT);
}

/* ---- ioctls ---- */

static long get_info(unsigned long arg)
{
    struct vfio_device_info info = {
        .argsz = sizeof(info),
        .flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
        .num_regions = VFIO_PCI_NUM_REGIONS,
        .num_irqs = VFIO_PCI_NUM_IRQS,
    };

    return copy_to_user((void __user *)arg, &info, offsetofend(struct vfio_device_info, num_irqs))
               ? -EFAULT
               : 0;
}

/* BAR 2 tells by a capability that its first page is not to be mapped, so that somebody reads it.
 */
struct sparse_info {
    struct vfio_region_info info;
    struct vfio_region_info_cap_sparse_mmap cap;
    struct vfio_region_sparse_mmap_area area;
} __packed;

static long get_region_info(unsigned long arg)
{
    struct sparse_info r = {};
    u32 room;

    if (copy_from_user(&r.info, (void __user *)arg, sizeof(r.info))) {
        return -EFAULT;
    }
    room = r.info.argsz;
    if (room < sizeof(r.info) || r.info.index >= VFIO_PCI_NUM_REGIONS) {
        return -EINVAL;
    }
    r.info.argsz = sizeof(r.info);
    r.info.size = region_size(r.info.index);
    r.info.offset = (u64)r.info.index << REGION_SHIFT;
    r.info.flags = r.info.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
    r.info.cap_offset = 0;
    if (r.info.index == VFIO_PCI_BAR2_REGION_INDEX) {
        r.info.flags |= VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;
        r.info.argsz = sizeof(r);
        r.cap.header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
        r.cap.header.version = 1;
        r.cap.nr_areas = 1;
        r.area.offset = PAGE_SIZE;
        r.area.size = GW_BAR2 - PAGE_SIZE;
        r.info.cap_offset = room >= sizeof(r) ? sizeof(r.info) : 0;
    }
    return copy_to_user((void __user *)arg, &r, min_t(u32, room, r.info.argsz)) ? -EFAULT : 0;
}

static long get_irq_info(unsigned long arg)
{
    struct vfio_irq_info info;

    if (copy_from_user(&info, (void __user *)arg, sizeof(info))) {
        return -EFAULT;
    }
    if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_NUM_IRQS) {
        return -EINVAL;
    }
    info.count = gw_irq_count(info.index);
    info.flags = info.count ? VFIO_IRQ_INFO_EVENTFD : 0;
    if (info.index == VFIO_PCI_INTX_IRQ_INDEX) {
        info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
    }
    return copy_to_user((void __user *)arg, &info, sizeof(info)) ? -EFAULT : 0;
}

/* The kernel puts the configuration of a real device back after a reset, so that stays as it is. */
static long reset(struct gw_device *gw)
{
    if (gw->fail_reset) {
        gw->fail_reset--;
        return -EIO;
    }
    gw_session_end(gw);
    reset_registers(gw);
    gw_note_state(gw, VFIO_DEVICE_STATE_RUNNING);
    return 0;
}

static long gw_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
    struct gw_device *gw = gw_of(vdev);
    long ret = -ENOTTY;

    mutex_lock(&gw->lock);
    switch (cmd) {
    case VFIO_DEVICE_GET_INFO:
        ret = get_info(arg);
        break;
    case VFIO_DEVICE_GET_REGION_INFO:
        ret = get_region_info(arg);
        break;
    case VFIO_DEVICE_GET_IRQ_INFO:
        ret = get_irq_info(arg);
        break;
    case VFIO_DEVICE_SET_IRQS:
        ret = gw_set_irqs(gw, arg);
        break;
    case VFIO_DEVICE_RESET:
        ret = reset(gw);
        break;
    }
    mutex_unlock(&gw->lock);
    return ret;
}

/* Feature 9, MIG_DATA_SIZE of Linux 6.2: the core hands on what it does not know. */
static int gw_feature(struct vfio_device *vdev, u32 flags, void __user *arg, size_t argsz)
{
    u64 size = gw_of(vdev)->bulk_size + GW_BAR2 + GW_REGS;
    int ret;

    if ((flags & VFIO_DEVICE_FEATURE_MASK) != 9 || !vdev->mig_ops) {
        return -ENOTTY;
    }
    ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET, sizeof(size));
    return ret != 1 ? ret : copy_to_user(arg, &size, sizeof(size)) ? -EFAULT : 0;
}

/* ---- life ---- */

static int gw_open(struct vfio_device *vdev)
{
    struct gw_device *gw = gw_of(vdev);
    struct task_struct *task;

    mutex_lock(&gw->lock);
    fresh_config(gw->config);
    reset_registers(gw);
    gw_note_state(gw, VFIO_DEVICE_STATE_RUNNING);
    mutex_unlock(&gw->lock);
    task = kthread_run(engine, gw, "%s", dev_name(vdev->dev));
    if (IS_ERR(task)) {
        return PTR_ERR(task);
    }
    gw->engine = task;
    return 0;
}

static void gw_close(struct vfio_device *vdev)
{
    struct gw_device *gw = gw_of(vdev);

    kthread_stop(gw->engine);
    mutex_lock(&gw->lock);
    gw_release_irqs(gw);
    gw_session_end(gw);
    gw_log_drop(gw);
    mutex_unlock(&gw->lock);
}

static int gw_init(struct vfio_device *vdev)
{
    struct gw_device *gw = gw_of(vdev);

    mutex_init(&gw->lock);
    xa_init(&gw->log);
    gw->state = VFIO_DEVICE_STATE_RUNNING;
    gw->bulk_size = 1 << 20;
    gw->bar2 = vmalloc_user(GW_BAR2);
    gw->bulk = vzalloc(gw->bulk_size);
    vdev->mig_ops = &gw_migration_ops;
    vdev->log_ops = &gw_log_ops;
    vdev->migration_flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P;
    if (!gw->bar2 || !gw->bulk) {
        vfree(gw->bar2);
        vfree(gw->bulk);
        return -ENOMEM;
    }
    return 0;
}

static void gw_release(struct vfio_device *vdev)
{
    struct gw_device *gw = gw_of(vdev);

    xa_destroy(&gw->log);
    vfree(gw->bar2);
    vfree(gw->bulk);
    vfio_free_device(vdev);
}

static const struct vfio_device_ops gw_ops = {
    .name = NAME,
    .init = gw_init,
    .release = gw_release,
    .open_device = gw_open,
    .close_device = gw_close,
    .read = gw_read,
    .write = gw_write,
    .ioctl = gw_ioctl,
    .mmap = gw_mmap,
    .device_feature = gw_feature,
};

/* ---- knobs ---- */

#define KNOB(field)                                                                           \
    static ssize_t field##_show(struct device *dev, struct device_attribute *attr, char *buf) \
    {                                                                                         \
        struct gw_device *gw = dev_get_drvdata(dev);                                          \
        return sysfs_emit(buf, "%u\n", gw->field);                                            \
    }                                                                                         \
    static ssize_t field##_store(struct device *dev, struct device_attribute *attr,           \
                                 const char *buf, size_t count)                               \
    {                                                                                         \
        struct gw_device *gw = dev_get_drvdata(dev);                                          \
        unsigned int value;                                                                   \
        int ret = kstrtouint(buf, 0, &value);                                                 \
        mutex_lock(&gw->lock);                                                                \
        gw->field = ret ? gw->field : value;                                                  \
        mutex_unlock(&gw->lock);                                                              \
        return ret ? ret : count;                                                             \
    }                                                                                         \
    static DEVICE_ATTR_RW(field)

KNOB(fail_state);
KNOB(fail_times);
KNOB(fail_fatal);
KNOB(fail_read);
KNOB(damage);
KNOB(truncate);
KNOB(drop);
KNOB(endless);
KNOB(fail_log);
KNOB(fail_reset);

/* What the device offers: VFIO_MIGRATION_* flags (0: no migration), and 1 when it logs. While
 * nobody has it open. */
static ssize_t offers_store(struct device *dev, struct device_attribute *attr, const char *buf,
                            size_t count)
{
    struct gw_device *gw = dev_get_drvdata(dev);
    unsigned int flags, logs;

    if (sscanf(buf, "%u %u", &flags, &logs) != 2) {
        return -EINVAL;
    }
    gw->vdev.migration_flags = flags;
    gw->vdev.mig_ops = flags ? &gw_migration_ops : NULL;
    gw->vdev.log_ops = logs ? &gw_log_ops : NULL;
    return count;
}
static DEVICE_ATTR_WO(offers);

/* Fill the inner state from a seed; its checksum. */
static ssize_t bulk_store(struct device *dev, struct device_attribute *attr, const char *buf,
                          size_t count)
{
    struct gw_device *gw = dev_get_drvdata(dev);
    u32 value, i;
    int ret = kstrtouint(buf, 0, &value);

    mutex_lock(&gw->lock);
    for (i = 0; !ret && i < gw->bulk_size / 4; i++) {
        value = value * 1664525 + 1013904223;
        ((u32 *)gw->bulk)[i] = value;
    }
    mutex_unlock(&gw->lock);
    return ret ? ret : count;
}

static ssize_t bulk_show(struct device *dev, struct device_attribute *attr, char *buf)
{
    struct gw_device *gw = dev_get_drvdata(dev);
    u32 crc;

    mutex_lock(&gw->lock);
    crc = crc32_le(~0, gw->bulk, gw->bulk_size);
    mutex_unlock(&gw->lock);
    return sysfs_emit(buf, "%08x\n", crc);
}
static DEVICE_ATTR_RW(bulk);

/* States since the last write here. */
static ssize_t states_show(struct device *dev, struct device_attribute *attr, char *buf)
{
    return sysfs_emit(buf, "%s\n", ((struct gw_device *)dev_get_drvdata(dev))->states);
}

static ssize_t states_store(struct device *dev, struct device_attribute *attr, const char *buf,
                            size_t count)
{
    struct gw_device *gw = dev_get_drvdata(dev);

    mutex_lock(&gw->lock);
    gw->states[0] = 0;
    gw_note_state(gw, gw->state);
    mutex_unlock(&gw->lock);
    return count;
}
static DEVICE_ATTR_RW(states);

static ssize_t logging_show(struct device *dev, struct device_attribute *attr, char *buf)
{
    struct gw_device *gw = dev_get_drvdata(dev);

    return sysfs_emit(buf, "%u %u\n", gw->logging, gw->n_ranges);
}
static DEVICE_ATTR_RO(logging);

static struct attribute *gw_attrs[] = {
    &dev_attr_fail_state.attr, &dev_attr_fail_times.attr, &dev_attr_fail_fatal.attr,
    &dev_attr_fail_read.attr,  &dev_attr_damage.attr,     &dev_attr_truncate.attr,
    &dev_attr_drop.attr,       &dev_attr_fail_log.attr,   &dev_attr_fail_reset.attr,
    &dev_attr_offers.attr,     &dev_attr_bulk.attr,       &dev_attr_states.attr,
    &dev_attr_logging.attr,    &dev_attr_endless.attr,    NULL,
};
ATTRIBUTE_GROUPS(gw);

/* ---- the driver ---- */

static int gw_probe(struct platform_device *pdev)
{
    struct gw_device *gw = vfio_alloc_device(gw_device, vdev, &pdev->dev, &gw_ops);
    int ret;

    if (IS_ERR(gw)) {
        return PTR_ERR(gw);
    }
    platform_set_drvdata(pdev, gw);
    ret = vfio_register_emulated_iommu_dev(&gw->vdev);
    if (ret) {
        vfio_put_device(&gw->vdev);
    }
    return ret;
}

static int gw_remove(struct platform_device *pdev)
{
    struct gw_device *gw = platform_get_drvdata(pdev);

    vfio_unregister_group_dev(&gw->vdev);
    vfio_put_device(&gw->vdev);
    return 0;
}

static struct platform_driver gw_driver = {
    .probe = gw_probe,
    .remove = gw_remove,
    .driver = {.name = NAME, .dev_groups = gw_groups, .suppress_bind_attrs = true},
};

static struct platform_device *devices[16];

static void remove_devices(void)
{
    unsigned int i;

    for (i = 0; i < ARRAY_SIZE(devices); i++) {
        platform_device_unregister(devices[i]);
    }
    platform_driver_unregister(&gw_driver);
}

static int __init gw_module_init(void)
{
    int ret = platform_driver_register(&gw_driver);
    unsigned int i;

    for (i = 0; !ret && i < min_t(unsigned int, instances, ARRAY_SIZE(devices)); i++) {
        struct platform_device *pdev = platform_device_register_simple(NAME, i, NULL, 0);

        if (IS_ERR(pdev)) {
            remove_devices();
            return PTR_ERR(pdev);
        }
        devices[i] = pdev;
    }
    return ret;
}

static void __exit gw_module_exit(void)
{
    remove_devices();
}

module_init(gw_module_init);
module_exit(gw_module_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A VFIO device for Godwit's tests");
