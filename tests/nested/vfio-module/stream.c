// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state as a stream of records, each a head and up to GW_BLOCK bytes:
 *
 *   BULK   a piece of the inner state at an offset; may come again
 *   BAR2   the memory BAR
 *   REGS   registers, once
 *   END    nothing follows
 *
 * PRE_COPY sends BULK, which nothing here changes, so that it is sent once; the rest waits for
 * STOP_COPY. A session is one open file; it outlives its meaning when the state changes.
 */
#include <linux/anon_inodes.h>
#include <linux/crc32.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include "device.h"

enum { BULK = 1, BAR2, REGS, END };

#define MAGIC 0x56444F47 /* "GODV" */

/* MIG_GET_PRECOPY_INFO of Linux 6.2, which 6.1 lacks. */
#define PRECOPY_INFO _IO(VFIO_TYPE, VFIO_BASE + 21)
struct precopy_info {
    __u32 argsz, flags;
    __aligned_u64 initial_bytes, dirty_bytes;
};

struct record {
    __le32 magic, kind;
    __le64 offset;
    __le32 len, crc;
};

struct gw_session {
    struct gw_device *gw;
    unsigned int reads, records;
    u64 bulk_done; /* saving: bytes of it made into records */
    int stage;     /* saving: kind of the next record */
    bool finish;   /* what only a stopped device has may be read */
    size_t have, taken;
    u8 buf[sizeof(struct record) + GW_BLOCK];
};

/* ---- saving ---- */

static void make(struct gw_session *s, unsigned int kind, u64 offset, const void *data, u32 len)
{
    struct record *r = (struct record *)s->buf;

    memcpy(s->buf + sizeof(*r), data, len);
    *r = (struct record){cpu_to_le32(MAGIC), cpu_to_le32(kind), cpu_to_le64(offset),
                         cpu_to_le32(len), cpu_to_le32(crc32_le(~0, data, len))};
    s->have = sizeof(*r) + len;
    s->taken = 0;
    if (++s->records == s->gw->damage) {
        s->buf[s->have - 1] ^= 1;
    }
}

/* The next record into s->buf; false: nothing (now). */
static bool make_next(struct gw_session *s)
{
    struct gw_device *gw = s->gw;

    if (s->bulk_done < gw->bulk_size) {
        u32 len = min_t(u64, GW_BLOCK, gw->bulk_size - s->bulk_done);

        make(s, BULK, s->bulk_done, gw->bulk + s->bulk_done, len);
        s->bulk_done += len;
        return true;
    }
    if (!s->finish || s->stage > END - (gw->truncate ? 1 : 0)) {
        return false;
    }
    switch (s->stage++) {
    case BAR2:
        make(s, BAR2, 0, gw->bar2, GW_BAR2);
        break;
    case REGS:
        make(s, REGS, gw->level, gw->regs, GW_REGS);
        break;
    default:
        make(s, END, 0, "", 0);
        break;
    }
    return true;
}

static ssize_t save_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
    struct gw_session *s = file->private_data;
    struct gw_device *gw = s->gw;
    ssize_t done = 0;

    mutex_lock(&gw->lock);
    if (gw->session != s) {
        done = -ENODEV;
    } else if (++s->reads == gw->fail_read) {
        done = -EIO;
    }
    while (done >= 0 && done < len && (s->taken < s->have || make_next(s))) {
        size_t n = min(len - done, s->have - s->taken);

        if (copy_to_user(buf + done, s->buf + s->taken, n)) {
            done = -EFAULT;
            break;
        }
        s->taken += n;
        done += n;
    }
    if (!done && len && !s->finish) {
        done = -ENOMSG;
    }
    mutex_unlock(&gw->lock);
    return done;
}

static long save_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
    struct gw_session *s = file->private_data;
    struct precopy_info info = {};
    long ret = 0;

    if (cmd != PRECOPY_INFO) {
        return -ENOTTY;
    }
    if (copy_from_user(&info, (void __user *)arg, sizeof(info)) || info.argsz < sizeof(info)) {
        return -EINVAL;
    }
    mutex_lock(&s->gw->lock);
    if (s->gw->session != s || s->finish) {
        ret = -EINVAL;
    }
    info.flags = 0;
    info.initial_bytes = s->have - s->taken;
    info.dirty_bytes = s->gw->bulk_size - s->bulk_done;
    mutex_unlock(&s->gw->lock);
    return ret ? ret : copy_to_user((void __user *)arg, &info, sizeof(info)) ? -EFAULT : 0;
}

/* ---- loading ---- */

static int apply(struct gw_session *s, const struct record *r, const u8 *data)
{
    struct gw_device *gw = s->gw;
    u64 offset = le64_to_cpu(r->offset);
    u32 len = le32_to_cpu(r->len);

    if (gw->loaded || le32_to_cpu(r->crc) != crc32_le(~0, data, len)) {
        return -EINVAL;
    }
    switch (le32_to_cpu(r->kind)) {
    case BULK:
        if (offset > gw->bulk_size || len > gw->bulk_size - offset) {
            return -EINVAL;
        }
        memcpy(gw->bulk + offset, data, len);
        return 0;
    case BAR2:
        if (offset || len != GW_BAR2) {
            return -EINVAL;
        }
        memcpy(gw->bar2, data, len);
        return 0;
    case REGS:
        if (len != GW_REGS || offset > 1) {
            return -EINVAL;
        }
        memcpy(gw->regs, data, len);
        gw->level = offset;
        return 0;
    case END:
        gw->loaded = true;
        return len ? -EINVAL : 0;
    default:
        return -EINVAL;
    }
}

/* How much of the record in s->buf is still to come, as far as is known; negative: it is wrong. */
static ssize_t missing(struct gw_session *s)
{
    struct record *r = (struct record *)s->buf;

    if (s->have < sizeof(*r)) {
        return sizeof(*r) - s->have;
    }
    if (le32_to_cpu(r->magic) != MAGIC || le32_to_cpu(r->len) > GW_BLOCK) {
        return -EINVAL;
    }
    return sizeof(*r) + le32_to_cpu(r->len) - s->have;
}

static ssize_t load_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
    struct gw_session *s = file->private_data;
    ssize_t done = 0, ret = 0;

    mutex_lock(&s->gw->lock);
    if (s->gw->session != s) {
        ret = -ENODEV;
    }
    while (ret >= 0 && done < len) {
        ssize_t n = min_t(ssize_t, missing(s), len - done);

        if (n < 0 || copy_from_user(s->buf + s->have, buf + done, n)) {
            ret = -EINVAL;
            break;
        }
        s->have += n;
        done += n;
        if (!missing(s)) {
            ret = apply(s, (struct record *)s->buf, s->buf + sizeof(struct record));
            s->have = 0;
        }
    }
    mutex_unlock(&s->gw->lock);
    return ret < 0 ? ret : done;
}

/* ---- sessions ---- */

static int release(struct inode *inode, struct file *file)
{
    struct gw_session *s = file->private_data;

    mutex_lock(&s->gw->lock);
    if (s->gw->session == s) {
        s->gw->session = NULL;
    }
    mutex_unlock(&s->gw->lock);
    kvfree(s);
    return 0;
}

static const struct file_operations save_fops = {
    .owner = THIS_MODULE,
    .read = save_read,
    .unlocked_ioctl = save_ioctl,
    .release = release,
    .llseek = no_llseek,
};

static const struct file_operations load_fops = {
    .owner = THIS_MODULE,
    .write = load_write,
    .release = release,
    .llseek = no_llseek,
};

struct file *gw_session_open(struct gw_device *gw, bool saving)
{
    struct gw_session *s = kvzalloc(sizeof(*s), GFP_KERNEL);
    struct file *file;

    if (!s) {
        return ERR_PTR(-ENOMEM);
    }
    s->gw = gw;
    s->stage = BAR2;
    file = anon_inode_getfile("godwit-vfio-state", saving ? &save_fops : &load_fops, s,
                              saving ? O_RDONLY : O_WRONLY);
    if (IS_ERR(file)) {
        kvfree(s);
        return file;
    }
    stream_open(file->f_inode, file);
    gw->session = s;
    gw->loaded = false;
    return file;
}

void gw_session_end(struct gw_device *gw)
{
    gw->session = NULL;
}

void gw_session_finish(struct gw_device *gw)
{
    if (gw->session) {
        gw->session->finish = true;
    }
}
