/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-save, -load, -delete, and what savevm, loadvm, delvm and info snapshots stand on (spec
 * 70 section 11, spec 71 section 4).
 *
 * Raw images cannot hold a state, so it goes into a directory beside the image (IMAGE.snapshots),
 * or where 'x-snapshot-directory' says. Nor can they hold what they contained before: only disks
 * that do not change may belong to a snapshot. A load looks at everything that can be looked at
 * before it touches the guest.
 */
#include <sys/stat.h>
#include "hw/device.h"
#include "migration/snapshot-store.h"
#include "monitor/jobs.h"
#include "qapi-commands-snapshot.h"
#include "system/vm.h"
#include "util/lock.h"

/* ---- disks ---- */

/* Is @blk a disk that somebody uses, not only a node that another one stands on? */
static bool is_disk(BlockBackend *blk)
{
    return block_device(blk) || *block_name(blk);
}

static void add_disk(BlockBackend *blk, void *opaque)
{
    if (is_disk(blk)) {
        g_ptr_array_add(opaque, blk);
    }
}

/* The disks called @names, or all when that is NULL; GPtrArray of BlockBackend. */
static GPtrArray *find_disks(VM *vm, const GPtrArray *names, GError **errp)
{
    g_autoptr(GPtrArray) disks = g_ptr_array_new();

    if (!names) {
        block_foreach(vm->machine->blocks, add_disk, disks);
    }
    for (guint i = 0; names && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        BlockBackend *blk = block_find(vm->machine->blocks, name);

        if (!blk) {
            error_setg(errp, "No block device node '%s'", name);
            return NULL;
        }
        g_ptr_array_add(disks, blk);
    }
    return g_steal_pointer(&disks);
}

static const char *disk_label(BlockBackend *blk)
{
    return *block_name(blk) ? block_name(blk) : block_node_name(blk);
}

/* Of a file, and not made of nothing (null-co)? */
static bool has_contents(BlockBackend *blk)
{
    while (block_child(blk)) {
        blk = block_child(blk);
    }
    return block_filename(blk) && *block_filename(blk) &&
           !g_str_equal(block_driver(blk), "null-co");
}

/* What is written down of @blk. */
static SnapshotDisk *describe_disk(BlockBackend *blk, GError **errp)
{
    g_autoptr(SnapshotDisk) d = g_new0(SnapshotDisk, 1);
    struct stat st;

    if (stat(block_filename(blk), &st) < 0) {
        error_setg_errno(errp, errno, "Unable to look at image '%s'", block_filename(blk));
        return NULL;
    }
    d->node_name = g_strdup(block_node_name(blk));
    d->filename = g_strdup(block_filename(blk));
    d->size = block_length(blk);
    d->modification = (int64_t)st.st_mtim.tv_sec * G_USEC_PER_SEC * 1000 + st.st_mtim.tv_nsec;
    return g_steal_pointer(&d);
}

/* @disks for a manifest; each must be one that a snapshot can have. */
static GPtrArray *describe_disks(const GPtrArray *disks, GError **errp)
{
    g_autoptr(GPtrArray) list = qapi_list_new_SnapshotDisk();

    for (guint i = 0; i < disks->len; i++) {
        BlockBackend *blk = g_ptr_array_index(disks, i);
        SnapshotDisk *d;

        if (!has_contents(blk)) {
            continue;
        }
        if (block_is_writable(blk)) {
            error_setg(errp,
                       "Device '%s' is writable but does not support snapshots: the raw image '%s' "
                       "cannot hold its earlier contents. Attach it read-only; or stop the guest, "
                       "copy the image, and save the state with 'migrate file:PATH'",
                       disk_label(blk), block_filename(blk));
            return NULL;
        }
        d = describe_disk(blk, errp);
        if (!d) {
            return NULL;
        }
        g_ptr_array_add(list, d);
    }
    return g_steal_pointer(&list);
}

static const SnapshotDisk *saved_disk(const SnapshotManifest *manifest, const char *node)
{
    for (guint i = 0; i < manifest->disks->len; i++) {
        const SnapshotDisk *d = g_ptr_array_index(manifest->disks, i);

        if (g_str_equal(d->node_name, node)) {
            return d;
        }
    }
    return NULL;
}

/* Are they those of then? A node that -drive named anew is found by its file. */
static bool check_disks(const SnapshotManifest *manifest, const GPtrArray *now, GError **errp)
{
    for (guint i = 0; i < now->len; i++) {
        const SnapshotDisk *d = g_ptr_array_index(now, i), *then = NULL;

        for (guint k = 0; k < manifest->disks->len; k++) {
            const SnapshotDisk *other = g_ptr_array_index(manifest->disks, k);

            if (g_str_equal(other->filename, d->filename)) {
                then = other;
            }
        }
        then = then ? then : saved_disk(manifest, d->node_name);
        if (!then) {
            error_setg(errp, "Snapshot '%s' does not have disk '%s' ('%s')", manifest->tag,
                       d->node_name, d->filename);
            return false;
        }
        if (then->size != d->size || then->modification != d->modification) {
            error_setg(errp,
                       "Disk '%s' has changed since snapshot '%s': bring back '%s' as it was (size "
                       "%" PRIu64 " and time of modification)",
                       d->node_name, manifest->tag, d->filename, then->size);
            return false;
        }
    }
    return true;
}

/* ---- where snapshots are ---- */

/* NULL: @blk is nothing that something can be beside of. */
static char *directory_beside(BlockBackend *blk)
{
    struct stat st;

    return has_contents(blk) && stat(block_filename(blk), &st) == 0 && S_ISREG(st.st_mode)
               ? g_strconcat(block_filename(blk), ".snapshots", NULL)
               : NULL;
}

/* @vmstate: the disk to be beside of; NULL: the first of @disks that will do, or of all. */
static char *find_directory(VM *vm, const char *vmstate, const GPtrArray *disks, GError **errp)
{
    const char *set = migration_snapshot_directory(vm->migration);
    BlockBackend *blk = vmstate ? block_find(vm->machine->blocks, vmstate) : NULL;
    g_autoptr(GPtrArray) all = find_disks(vm, NULL, NULL);
    char *dir;

    if (vmstate && !blk) {
        error_setg(errp, "vmstate block device '%s' does not exist", vmstate);
        return NULL;
    }
    if (*set) {
        return g_strdup(set);
    }
    dir = blk ? directory_beside(blk) : NULL;
    for (guint i = 0; !dir && !blk && i < disks->len; i++) {
        dir = directory_beside(g_ptr_array_index(disks, i));
    }
    for (guint i = 0; !dir && !blk && i < all->len; i++) {
        dir = directory_beside(g_ptr_array_index(all, i));
    }
    if (!dir) {
        error_setg(errp,
                   "no block device can store vmstate for snapshot: there is no image file to "
                   "put it beside. Name a directory: migrate_set_parameter "
                   "x-snapshot-directory DIR");
    }
    return dir;
}

/* ---- the work; big lock held ---- */

typedef struct {
    VM *vm;
    JobType type;
    char *tag;
    char *vmstate;      /* or NULL */
    GPtrArray *devices; /* names; NULL: all disks */
    bool replace;       /* a snapshot of the same name */
} SnapshotWork;

static bool begin_work(VM *vm, GError **errp)
{
    if (vm->snapshot_busy) {
        error_setg(errp, "Another snapshot is being saved, loaded or deleted");
        return false;
    }
    vm->snapshot_busy = true;
    return true;
}

static bool already_there(const SnapshotWork *w, const char *dir, GError **errp)
{
    GError *err = NULL;
    g_autoptr(SnapshotManifest) old = snapshot_store_find(dir, w->tag, &err);

    if (old) {
        error_setg(errp, "Snapshot '%s' already exists in one or more devices", w->tag);
    } else if (err) {
        g_propagate_error(errp, err);
    }
    return old || err;
}

static bool write_snapshot(const SnapshotWork *w, const char *dir, SnapshotManifest *manifest,
                           GError **errp)
{
    VM *vm = w->vm;
    g_autoptr(QIOChannelFile) ioc = snapshot_store_create(dir, manifest, errp);
    bool ok;

    if (!ioc || !migration_save_snapshot(vm->migration, IO_CHANNEL(ioc), errp)) {
        return false;
    }
    bql_unlock(); /* the guest goes on already */
    ok = snapshot_store_commit(dir, manifest, errp);
    bql_lock();
    return ok;
}

static bool save(const SnapshotWork *w, GError **errp)
{
    VM *vm = w->vm;
    g_autoptr(SnapshotManifest) manifest = g_new0(SnapshotManifest, 1);
    g_autoptr(GPtrArray) disks = find_disks(vm, w->devices, errp);
    g_autofree char *dir = NULL;

    if (!disks) {
        return false;
    }
    manifest->disks = describe_disks(disks, errp);
    dir = manifest->disks ? find_directory(vm, w->vmstate, disks, errp) : NULL;
    if (!dir || (!w->replace && already_there(w, dir, errp))) {
        return false;
    }
    manifest->tag = g_strdup(w->tag);
    manifest->date = g_get_real_time() / G_USEC_PER_SEC;
    manifest->vm_clock = clock_get_ns(vm->machine->vclock);
    manifest->machine = g_strdup(vm->machine->cls->name);
    manifest->contents = migration_contents(vm->migration);
    manifest->xxh3 = g_strdup("");
    return write_snapshot(w, dir, manifest, errp);
}

static bool includes(const GPtrArray *list, const char *text)
{
    for (guint i = 0; i < list->len; i++) {
        if (g_str_equal(g_ptr_array_index(list, i), text)) {
            return true;
        }
    }
    return false;
}

/* Is @part, which one has, in what the other @has? */
static bool all_included(const GPtrArray *parts, const GPtrArray *has, const char *one,
                         const char *other, GError **errp)
{
    for (guint i = 0; i < parts->len; i++) {
        const char *part = g_ptr_array_index(parts, i);

        if (!includes(has, part)) {
            error_setg(errp, "%s has '%s', %s has not: it needs the same memory and devices", one,
                       part, other);
            return false;
        }
    }
    return true;
}

static bool fits(VM *vm, const SnapshotManifest *manifest, GError **errp)
{
    g_autoptr(GPtrArray) contents = migration_contents(vm->migration);

    if (!g_str_equal(manifest->machine, vm->machine->cls->name)) {
        error_setg(errp, "The snapshot is of machine type '%s', this is '%s'", manifest->machine,
                   vm->machine->cls->name);
        return false;
    }
    return all_included(manifest->contents, contents, "The snapshot", "this machine", errp) &&
           all_included(contents, manifest->contents, "This machine", "the snapshot", errp);
}

/* From here on a failure costs the guest its state. */
static bool replace_guest(VM *vm, QIOChannel *ioc, GError **errp)
{
    RunState before = vm_runstate(vm);

    if (!migration_check_load(vm->migration, errp)) {
        return false;
    }
    vm_stop(vm, RUN_STATE_RESTORE_VM);
    vm->machine->cls->reset(vm->machine);
    if (!migration_load_snapshot(vm->migration, ioc, errp)) {
        return false;
    }
    vm->needs_reset = false;
    if (before == RUN_STATE_RUNNING) {
        vm_start(vm);
    } else {
        vm_set_runstate(vm, before == RUN_STATE_PRELAUNCH ? before : RUN_STATE_PAUSED);
    }
    return true;
}

static bool load(const SnapshotWork *w, GError **errp)
{
    VM *vm = w->vm;
    g_autoptr(GPtrArray) disks = find_disks(vm, w->devices, errp);
    g_autoptr(GPtrArray) described = disks ? describe_disks(disks, errp) : NULL;
    g_autofree char *dir = described ? find_directory(vm, w->vmstate, disks, errp) : NULL;
    g_autoptr(SnapshotManifest) manifest = NULL;
    g_autoptr(QIOChannelFile) ioc = NULL;
    GError *err = NULL;

    if (!dir) {
        return false;
    }
    manifest = snapshot_store_find(dir, w->tag, &err);
    if (!manifest && !err) {
        error_setg(&err, "Snapshot '%s' does not exist in one or more devices", w->tag);
    }
    if (err) {
        g_propagate_error(errp, err);
        return false;
    }
    if (!fits(vm, manifest, errp) || !check_disks(manifest, described, errp)) {
        return false;
    }
    bql_unlock();
    ioc = snapshot_store_open(dir, manifest, errp);
    bql_lock();
    return ioc && replace_guest(vm, IO_CHANNEL(ioc), errp);
}

static bool delete (const SnapshotWork *w, GError **errp)
{
    g_autoptr(GPtrArray) disks = find_disks(w->vm, w->devices, errp);
    g_autofree char *dir = disks ? find_directory(w->vm, NULL, disks, errp) : NULL;

    return dir && snapshot_store_delete(dir, w->tag, errp);
}

static bool work(void *opaque, GError **errp)
{
    SnapshotWork *w = opaque;
    bool ok;

    if (!begin_work(w->vm, errp)) {
        return false;
    }
    ok = w->type == JOB_TYPE_SNAPSHOT_SAVE   ? save(w, errp)
         : w->type == JOB_TYPE_SNAPSHOT_LOAD ? load(w, errp)
                                             : delete (w, errp);
    w->vm->snapshot_busy = false;
    return ok;
}

bool vm_load_snapshot(VM *vm, const char *tag, GError **errp)
{
    SnapshotWork w = {.vm = vm, .type = JOB_TYPE_SNAPSHOT_LOAD, .tag = (char *)tag};

    return work(&w, errp);
}

/* ---- jobs ---- */

static void cancel_save(void *opaque)
{
    SnapshotWork *w = opaque;

    migration_cancel_snapshot(w->vm->migration);
}

static void work_free(void *opaque)
{
    SnapshotWork *w = opaque;

    g_ptr_array_unref(w->devices);
    g_free(w->vmstate);
    g_free(w->tag);
    g_free(w);
}

static const JobOps save_ops = {.run = work, .cancel = cancel_save, .destroy = work_free};
static const JobOps other_ops = {.run = work, .destroy = work_free};

static void start(VM *vm, const char *id, JobType type, const char *tag, const char *vmstate,
                  const GPtrArray *devices, GError **errp)
{
    SnapshotWork *w = g_new0(SnapshotWork, 1);

    w->vm = vm;
    w->type = type;
    w->tag = g_strdup(tag);
    w->vmstate = g_strdup(vmstate);
    w->devices = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < devices->len; i++) {
        g_ptr_array_add(w->devices, g_strdup(g_ptr_array_index(devices, i)));
    }
    job_start(monitor_hub_jobs(vm->hub), id, type,
              type == JOB_TYPE_SNAPSHOT_SAVE ? &save_ops : &other_ops, w, errp);
}

void qmp_snapshot_save(QmpCall *call, const QmpArgs_snapshot_save *args, GError **errp)
{
    start(call->opaque, args->job_id, JOB_TYPE_SNAPSHOT_SAVE, args->tag, args->vmstate,
          args->devices, errp);
}

void qmp_snapshot_load(QmpCall *call, const QmpArgs_snapshot_load *args, GError **errp)
{
    start(call->opaque, args->job_id, JOB_TYPE_SNAPSHOT_LOAD, args->tag, args->vmstate,
          args->devices, errp);
}

void qmp_snapshot_delete(QmpCall *call, const QmpArgs_snapshot_delete *args, GError **errp)
{
    start(call->opaque, args->job_id, JOB_TYPE_SNAPSHOT_DELETE, args->tag, NULL, args->devices,
          errp);
}

/* ---- at once ---- */

void qmp_x_savevm(QmpCall *call, const QmpArgs_x_savevm *args, GError **errp)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *tag =
        args->tag ? g_strdup(args->tag) : g_date_time_format(now, "vm-%Y%m%d%H%M%S");
    SnapshotWork w = {call->opaque, JOB_TYPE_SNAPSHOT_SAVE, .tag = tag, .replace = true};

    work(&w, errp);
}

void qmp_x_loadvm(QmpCall *call, const QmpArgs_x_loadvm *args, GError **errp)
{
    vm_load_snapshot(call->opaque, args->tag, errp);
}

void qmp_x_delvm(QmpCall *call, const QmpArgs_x_delvm *args, GError **errp)
{
    SnapshotWork w = {call->opaque, JOB_TYPE_SNAPSHOT_DELETE, .tag = args->tag};

    work(&w, errp);
}

GPtrArray *qmp_x_query_snapshots(QmpCall *call, GError **errp)
{
    VM *vm = call->opaque;
    g_autoptr(GPtrArray) disks = find_disks(vm, NULL, errp);
    g_autofree char *dir = find_directory(vm, NULL, disks, errp);
    GPtrArray *list = dir ? qapi_list_new_SnapshotManifest() : NULL;

    if (dir) {
        snapshot_store_list(dir, list);
    }
    return list;
}
