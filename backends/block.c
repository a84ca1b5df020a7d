/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph of image nodes: building it from -blockdev and -drive, who uses what, and handing
 * images over in a migration. How bytes move is in block-aio.c and block-raw.c.
 */
#include "util/osdep.h"
#include "block-int.h"
#include "util/keyval.h"

static const BlockDriver *const drivers[] = {&block_driver_file, &block_driver_host_device,
                                             &block_driver_null_co};

static const char *const common_keys[] = {"driver",         "node-name",     "read-only", "cache",
                                          "auto-read-only", "detect-zeroes", "discard",   NULL};
static const char *const raw_keys[] = {"file", "offset", "size", NULL};

BlockList *block_list_new(void)
{
    BlockList *list = g_new0(BlockList, 1);

    list->nodes = g_ptr_array_new();
    list->aio = block_aio_new();
    return list;
}

static void node_free(BlockBackend *blk)
{
    if (blk->child) {
        blk->child->parents--;
    }
    if (blk->driver) {
        blk->driver->close(blk);
    }
    g_free(blk->node_name);
    g_free(blk->drive_id);
    g_free(blk->filename);
    g_free(blk->rerror);
    g_free(blk->werror);
    g_free(blk->device);
    g_free(blk);
}

void block_list_free(BlockList *list)
{
    if (!list) {
        return;
    }
    block_aio_free(list->aio);
    for (guint i = list->nodes->len; i-- > 0;) {
        node_free(list->nodes->pdata[i]); /* parents come after their children */
    }
    g_ptr_array_unref(list->nodes);
    g_free(list);
}

static BlockBackend *leaf(BlockBackend *blk)
{
    while (blk->child) {
        blk = blk->child;
    }
    return blk;
}

static BlockBackend *find_node(BlockList *list, const char *node_name)
{
    for (guint i = 0; i < list->nodes->len; i++) {
        BlockBackend *blk = list->nodes->pdata[i];

        if (g_str_equal(blk->node_name, node_name)) {
            return blk;
        }
    }
    return NULL;
}

BlockBackend *block_find(BlockList *list, const char *name)
{
    for (guint i = 0; i < list->nodes->len; i++) {
        BlockBackend *blk = list->nodes->pdata[i];

        if (*blk->drive_id && g_str_equal(blk->drive_id, name)) {
            return blk;
        }
    }
    return find_node(list, name);
}

/* ---- options ---- */

static bool in_list(const char *const *keys, const char *key)
{
    return keys && g_strv_contains(keys, key);
}

static bool check_keys(JsonObject *options, const char *driver, const char *const *own,
                       GError **errp)
{
    g_autoptr(GList) keys = json_object_get_members(options);

    for (GList *l = keys; l; l = l->next) {
        if (!in_list(common_keys, l->data) && !in_list(own, l->data)) {
            error_setg(errp, "Block driver '%s' does not know the option '%s'", driver,
                       (const char *)l->data);
            return false;
        }
    }
    return true;
}

static bool parse_cache(BlockBackend *blk, JsonObject *options, GError **errp)
{
    JsonNode *node = json_object_get_member(options, "cache");

    if (!node) {
        return true;
    }
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        error_setg(errp, "Parameter 'cache' expects an object with 'direct' and 'no-flush'");
        return false;
    }
    return keyval_get_bool(json_node_get_object(node), "direct", false, &blk->cache_direct, errp) &&
           keyval_get_bool(json_node_get_object(node), "no-flush", false, &blk->cache_no_flush,
                           errp);
}

static bool parse_discard(BlockBackend *blk, JsonObject *options, GError **errp)
{
    const char *discard = keyval_get_string(options, "discard");

    if (!discard || g_str_equal(discard, "ignore") || g_str_equal(discard, "off")) {
        return true;
    }
    if (g_str_equal(discard, "unmap") || g_str_equal(discard, "on")) {
        blk->discard_unmap = true;
        return true;
    }
    error_setg(errp, "Parameter 'discard' does not accept value '%s'; use ignore or unmap",
               discard);
    return false;
}

/* Hints: named values only, so that a typo does not go unnoticed. */
static bool check_hints(JsonObject *options, GError **errp)
{
    const char *zeroes = keyval_get_string(options, "detect-zeroes");
    const char *aio = keyval_get_string(options, "aio");

    if (zeroes && !g_str_equal(zeroes, "off")) {
        error_setg(errp, "detect-zeroes=%s is not supported, only off", zeroes);
        return false;
    }
    if (aio && !g_str_equal(aio, "threads") && !g_str_equal(aio, "native") &&
        !g_str_equal(aio, "io_uring")) {
        error_setg(errp, "Parameter 'aio' does not accept value '%s'", aio);
        return false;
    }
    return true;
}

static bool parse_common(BlockBackend *blk, JsonObject *options, GError **errp)
{
    const char *name = keyval_get_string(options, "node-name");

    if (name && find_node(blk->list, name)) {
        error_setg(errp, "Duplicate nodes with node-name='%s'", name);
        return false;
    }
    if (name && (!g_ascii_isalpha(*name) || strlen(name) > 31)) {
        error_setg(errp, "Invalid node-name: '%s'", name);
        return false;
    }
    blk->auto_named = !name;
    blk->node_name = name ? g_strdup(name) : g_strdup_printf("#block%03u", blk->list->next_name++);
    return keyval_get_bool(options, "read-only", false, &blk->read_only, errp) &&
           keyval_get_bool(options, "auto-read-only", false, &blk->auto_read_only, errp) &&
           parse_cache(blk, options, errp) && parse_discard(blk, options, errp) &&
           check_hints(options, errp);
}

/* ---- building nodes ---- */

static BlockBackend *node_new(BlockList *list, JsonObject *options, BlockBackend *parent,
                              GError **errp);

/* "file": the name of a node, or the options of a new one that inherits what it does not say. */
static BlockBackend *open_child(BlockBackend *blk, JsonObject *options, GError **errp)
{
    JsonNode *node = json_object_get_member(options, "file");
    BlockBackend *child;

    if (!node) {
        error_setg(errp, "A block device must be specified for \"file\"");
        return NULL;
    }
    if (JSON_NODE_HOLDS_OBJECT(node)) {
        return node_new(blk->list, json_node_get_object(node), blk, errp);
    }
    if (json_node_get_value_type(node) != G_TYPE_STRING) {
        error_setg(errp, "Invalid parameter type for 'file', expected: string or object");
        return NULL;
    }
    child = find_node(blk->list, json_node_get_string(node));
    if (!child) {
        error_setg(errp, "Cannot find device='' nor node-name='%s'", json_node_get_string(node));
        return NULL;
    }
    if (child->device || child->parents) {
        error_setg(errp, "Node '%s' is already in use", child->node_name);
        return NULL;
    }
    return child;
}

static bool open_raw(BlockBackend *blk, JsonObject *options, GError **errp)
{
    BlockBackend *child;
    uint64_t size;

    if (!check_keys(options, "raw", raw_keys, errp) ||
        !keyval_get_size(options, "offset", 1, 0, &blk->child_offset, errp) ||
        !keyval_get_size(options, "size", 1, UINT64_MAX, &size, errp)) {
        return false;
    }
    child = open_child(blk, options, errp);
    if (!child) {
        return false;
    }
    blk->child = child;
    child->parents++;
    if (blk->child_offset > child->length ||
        (size != UINT64_MAX && size > child->length - blk->child_offset)) {
        error_setg(errp,
                   "The sum of offset (%" PRIu64 ") and size (%" PRIu64 ") has to be smaller or "
                   "equal to the actual size of the containing file (%" PRIu64 ")",
                   blk->child_offset, size == UINT64_MAX ? 0 : size, child->length);
        return false;
    }
    blk->length = size == UINT64_MAX ? child->length - blk->child_offset : size;
    if (child->read_only && !blk->read_only) {
        if (!blk->auto_read_only && !child->auto_read_only) {
            error_setg(errp, "Block node is read-only");
            return false;
        }
        blk->read_only = true;
    }
    blk->filename = g_strdup(child->filename);
    return true;
}

static bool open_protocol(BlockBackend *blk, const char *name, JsonObject *options, GError **errp)
{
    for (unsigned i = 0; i < ARRAY_SIZE(drivers); i++) {
        if (g_str_equal(drivers[i]->name, name)) {
            if (!check_keys(options, name, drivers[i]->keys, errp)) {
                return false;
            }
            blk->driver = drivers[i];
            if (!blk->driver->open(blk, options, errp)) {
                blk->driver = NULL;
                return false;
            }
            return true;
        }
    }
    error_setg(errp, "Unknown driver '%s'; this build has raw, file, host_device and null-co",
               name);
    return false;
}

static BlockBackend *node_new(BlockList *list, JsonObject *options, BlockBackend *parent,
                              GError **errp)
{
    const char *driver = keyval_get_string(options, "driver");
    BlockBackend *blk = g_new0(BlockBackend, 1);
    guint before = list->nodes->len;
    bool ok;

    blk->list = list;
    blk->drive_id = g_strdup("");
    if (parent) {
        blk->read_only = parent->read_only;
        blk->discard_unmap = parent->discard_unmap;
    }
    if (!driver) {
        error_setg(errp, "Parameter 'driver' is missing");
        ok = false;
    } else if (!parse_common(blk, options, errp)) {
        ok = false;
    } else if (g_str_equal(driver, "raw")) {
        ok = open_raw(blk, options, errp);
    } else {
        ok = open_protocol(blk, driver, options, errp);
    }
    if (!ok) {
        node_free(blk);
        while (list->nodes->len > before) { /* children opened on the way */
            node_free(g_ptr_array_remove_index(list->nodes, list->nodes->len - 1));
        }
        return NULL;
    }
    g_ptr_array_add(list->nodes, blk);
    return blk;
}

bool block_node_add(BlockList *list, JsonObject *options, bool inactive, GError **errp)
{
    if (!keyval_get_string(options, "node-name")) {
        error_setg(errp, "'node-name' must be specified for the root node");
        return false;
    }
    list->inactive |= inactive;
    return node_new(list, options, NULL, errp) != NULL;
}

bool block_node_del(BlockList *list, const char *node_name, GError **errp)
{
    BlockBackend *blk = find_node(list, node_name);
    BlockBackend *child;

    if (!blk) {
        error_setg(errp, "Failed to find node with node-name='%s'", node_name);
        return false;
    }
    if (blk->device || blk->parents || *blk->drive_id) {
        error_setg(errp, "Node '%s' is busy: it is used by %s", node_name,
                   blk->device    ? blk->device
                   : blk->parents ? "another node"
                                  : "a drive");
        return false;
    }
    block_aio_drain(list->aio);
    child = blk->child;
    g_ptr_array_remove(list->nodes, blk);
    node_free(blk);
    if (child && child->auto_named && !child->parents) {
        g_ptr_array_remove(list->nodes, child);
        node_free(child);
    }
    return true;
}

/* ---- -drive: the flat form ---- */

static const char *const drive_keys[] = {
    "file",          "if",       "id",     "format",  "driver",    "cache",     "aio",
    "discard",       "index",    "unit",   "bus",     "readonly",  "media",     "werror",
    "rerror",        "snapshot", "serial", "locking", "read-only", "node-name", "auto-read-only",
    "detect-zeroes", NULL};

/* cache=MODE of -drive; writeback is the device's business (write-cache). */
static bool parse_cache_mode(const char *mode, bool *direct, bool *no_flush, GError **errp)
{
    *direct =
        g_str_equal(mode, "none") || g_str_equal(mode, "off") || g_str_equal(mode, "directsync");
    *no_flush = g_str_equal(mode, "unsafe");
    if (*direct || *no_flush || g_str_equal(mode, "writeback") ||
        g_str_equal(mode, "writethrough")) {
        return true;
    }
    error_setg(errp, "invalid cache option: '%s'", mode);
    return false;
}

static bool drive_file_cache(JsonObject *options, JsonObject *file, GError **errp)
{
    JsonNode *node = json_object_get_member(options, "cache");
    JsonObject *cache;
    bool direct, no_flush;

    if (!node) {
        return true;
    }
    if (JSON_NODE_HOLDS_OBJECT(node)) {
        cache = json_object_ref(json_node_get_object(node));
        json_object_remove_member(cache, "writeback");
    } else {
        const char *mode = keyval_get_string(options, "cache");

        if (!mode || !parse_cache_mode(mode, &direct, &no_flush, errp)) {
            return false;
        }
        cache = json_object_new();
        json_object_set_boolean_member(cache, "direct", direct);
        json_object_set_boolean_member(cache, "no-flush", no_flush);
    }
    json_object_set_object_member(file, "cache", cache);
    return true;
}

/* The options of the protocol node under the drive's raw node. */
static JsonObject *drive_file_options(JsonObject *options, GError **errp)
{
    g_autoptr(JsonObject) file = json_object_new();
    JsonNode *node = json_object_get_member(options, "file");
    const char *name = keyval_get_string(options, "file");
    const char *locking = keyval_get_string(options, "locking");

    if (node && JSON_NODE_HOLDS_OBJECT(node)) {
        json_object_unref(g_steal_pointer(&file));
        file = json_object_ref(json_node_get_object(node));
        if (!json_object_has_member(file, "driver")) {
            json_object_set_string_member(file, "driver", "file");
        }
    } else if (!name) {
        error_setg(errp, "Device needs media, but drive is empty");
        return NULL;
    } else if (g_str_has_prefix(name, "null-co://")) {
        json_object_set_string_member(file, "driver", "null-co");
    } else {
        bool device = g_str_has_prefix(name, "/dev/") && !g_str_has_prefix(name, "/dev/shm/") &&
                      !g_file_test(name, G_FILE_TEST_IS_REGULAR);

        json_object_set_string_member(file, "driver", device ? "host_device" : "file");
        json_object_set_string_member(file, "filename", name);
        if (locking) {
            json_object_set_string_member(file, "locking", locking);
        }
    }
    return drive_file_cache(options, file, errp) ? g_steal_pointer(&file) : NULL;
}

static bool drive_check_format(JsonObject *options, const char **driver, GError **errp)
{
    const char *format = keyval_get_string(options, "format");
    const char *text = format ? format : keyval_get_string(options, "driver");

    *driver = text ? text : "raw";
    if (!g_str_equal(*driver, "raw") && !g_str_equal(*driver, "null-co")) {
        error_setg(errp, "Unknown driver '%s'; this build has raw images only", *driver);
        return false;
    }
    return true;
}

static bool drive_check_snapshot(JsonObject *options, GError **errp)
{
    bool snapshot;

    if (!keyval_get_bool(options, "snapshot", false, &snapshot, errp)) {
        return false;
    }
    if (snapshot) {
        error_setg(errp, "snapshot=on needs an overlay format, and this build has raw images only");
    }
    return !snapshot;
}

static void copy_member(JsonObject *dst, JsonObject *src, const char *key, const char *as)
{
    if (json_object_has_member(src, key)) {
        json_object_set_member(dst, as, json_object_dup_member(src, key));
    }
}

/* A format= of unprobed bytes is dangerous: refuse what is plainly another format. */
static bool drive_check_contents(BlockBackend *blk, JsonObject *options, GError **errp)
{
    uint8_t magic[4] = {0};

    if (keyval_get_string(options, "format") || keyval_get_string(options, "driver") ||
        blk->length < BLOCK_SECTOR) {
        return true;
    }
    if (!block_pread(blk, 0, magic, sizeof(magic), errp)) {
        return false;
    }
    if (!memcmp(magic, "QFI\xfb", 4) || !memcmp(magic, "KDMV", 4) || !memcmp(magic, "QED", 4)) {
        error_setg(errp,
                   "'%s' is not a raw image and other formats are not supported; say format=raw "
                   "to use its bytes as they are",
                   blk->filename);
        return false;
    }
    return true;
}

BlockBackend *block_drive_add(BlockList *list, JsonObject *options, bool inactive, GError **errp)
{
    g_autoptr(JsonObject) root = json_object_new();
    JsonObject *file;
    const char *id = keyval_get_string(options, "id");
    const char *driver;
    BlockBackend *blk;

    if (!keyval_check_known(options, drive_keys, errp) ||
        !drive_check_format(options, &driver, errp) || !drive_check_snapshot(options, errp)) {
        return NULL;
    }
    if (id && block_find(list, id)) {
        error_setg(errp, "Duplicate ID '%s' for drive", id);
        return NULL;
    }
    list->inactive |= inactive;
    json_object_set_string_member(root, "driver", driver);
    copy_member(root, options, "node-name", "node-name");
    copy_member(root, options, "readonly", "read-only");
    copy_member(root, options, "read-only", "read-only");
    copy_member(root, options, "auto-read-only", "auto-read-only");
    copy_member(root, options, "discard", "discard");
    copy_member(root, options, "detect-zeroes", "detect-zeroes");
    if (g_str_equal(driver, "raw")) {
        file = drive_file_options(options, errp);
        if (!file) {
            return NULL;
        }
        json_object_set_object_member(root, "file", file);
    }
    blk = node_new(list, root, NULL, errp);
    if (!blk) {
        return NULL;
    }
    if (!drive_check_contents(blk, options, errp)) {
        block_node_del(list, blk->node_name, NULL);
        return NULL;
    }
    g_free(blk->drive_id);
    blk->drive_id = id ? g_strdup(id) : g_strdup_printf("drive%u", list->next_name++);
    blk->rerror = g_strdup(keyval_get_string(options, "rerror"));
    blk->werror = g_strdup(keyval_get_string(options, "werror"));
    return blk;
}

/* ---- users ---- */

static bool set_access(BlockBackend *blk, bool active, GError **errp)
{
    BlockBackend *bottom = leaf(blk);

    if (bottom->driver->set_access &&
        !bottom->driver->set_access(bottom, active, blk->device_writes, errp)) {
        return false;
    }
    if (blk != bottom && !blk->child_offset && active) {
        blk->length = MAX(blk->length, bottom->length);
    }
    return true;
}

bool block_claim(BlockBackend *blk, const char *device, bool writable, GError **errp)
{
    if (blk->device || blk->parents) {
        error_setg(errp, "Drive '%s' is already in use by %s",
                   *blk->drive_id ? blk->drive_id : blk->node_name,
                   blk->device ? blk->device : "another node");
        return false;
    }
    if (writable && blk->read_only) {
        error_setg(errp, "Block node is read-only");
        return false;
    }
    blk->device = g_strdup(device);
    blk->device_writes = writable;
    if (!blk->list->inactive && !set_access(blk, true, errp)) {
        g_clear_pointer(&blk->device, g_free);
        return false;
    }
    return true;
}

void block_release(BlockBackend *blk)
{
    block_aio_drain(blk->list->aio);
    set_access(blk, false, NULL);
    g_clear_pointer(&blk->device, g_free);
}

void block_drain_all(BlockList *list)
{
    block_aio_drain(list->aio);
}

bool block_inactivate_all(BlockList *list, GError **errp)
{
    block_aio_drain(list->aio);
    if (list->inactive) {
        return true;
    }
    for (guint i = 0; i < list->nodes->len; i++) {
        BlockBackend *blk = list->nodes->pdata[i];
        int ret = blk->device && blk->device_writes ? block_do_flush(blk) : 0;

        if (ret) {
            error_setg_errno(errp, -ret, "Could not flush '%s' before handing it over",
                             blk->filename);
            return false;
        }
    }
    list->inactive = true;
    for (guint i = 0; i < list->nodes->len; i++) {
        BlockBackend *blk = list->nodes->pdata[i];

        if (blk->device) {
            set_access(blk, false, NULL);
        }
    }
    return true;
}

bool block_activate_all(BlockList *list, GError **errp)
{
    if (!list->inactive) {
        return true;
    }
    for (guint i = 0; i < list->nodes->len; i++) {
        BlockBackend *blk = list->nodes->pdata[i];

        if (blk->device && !set_access(blk, true, errp)) {
            while (i-- > 0) { /* all or none */
                BlockBackend *done = list->nodes->pdata[i];

                if (done->device) {
                    set_access(done, false, NULL);
                }
            }
            return false;
        }
    }
    list->inactive = false;
    return true;
}

/* ---- I/O in place ---- */

/* From an offset in @blk to one in the node that has the bytes; NULL when out of range. */
static BlockBackend *resolve(BlockBackend *blk, uint64_t *off, uint64_t len)
{
    while (*off <= blk->length && len <= blk->length - *off) {
        if (!blk->child) {
            return blk;
        }
        *off += blk->child_offset;
        blk = blk->child;
    }
    return NULL;
}

static uint64_t vector_size(const struct iovec *iov, unsigned n)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < n; i++) {
        size += iov[i].iov_len;
    }
    return size;
}

int block_do_preadv(BlockBackend *blk, uint64_t off, const struct iovec *iov, unsigned n)
{
    BlockBackend *bottom = resolve(blk, &off, vector_size(iov, n));

    return bottom ? bottom->driver->preadv(bottom, off, iov, n) : -EIO;
}

int block_do_pwritev(BlockBackend *blk, uint64_t off, const struct iovec *iov, unsigned n)
{
    BlockBackend *bottom = resolve(blk, &off, vector_size(iov, n));

    if (blk->read_only || blk->list->inactive) {
        return -EPERM;
    }
    return bottom ? bottom->driver->pwritev(bottom, off, iov, n) : -EIO;
}

int block_do_flush(BlockBackend *blk)
{
    BlockBackend *bottom = leaf(blk);

    return blk->read_only ? 0 : bottom->driver->flush(bottom);
}

int block_do_discard(BlockBackend *blk, uint64_t off, uint64_t len, bool zero)
{
    BlockBackend *bottom = resolve(blk, &off, len);

    if (blk->read_only || blk->list->inactive) {
        return -EPERM;
    }
    if (!bottom) {
        return -EIO;
    }
    return zero ? bottom->driver->zero(bottom, off, len)
                : bottom->driver->discard(bottom, off, len);
}

bool block_pread(BlockBackend *blk, uint64_t offset, void *buf, size_t len, GError **errp)
{
    struct iovec iov = {buf, len};
    int ret = block_do_preadv(blk, offset, &iov, 1);

    if (ret) {
        error_setg_errno(errp, -ret, "Could not read %zu bytes at %" PRIu64 " of '%s'", len, offset,
                         blk->filename);
    }
    return !ret;
}

bool block_pwrite(BlockBackend *blk, uint64_t offset, const void *buf, size_t len, GError **errp)
{
    struct iovec iov = {(void *)buf, len};
    int ret = block_do_pwritev(blk, offset, &iov, 1);

    if (ret) {
        error_setg_errno(errp, -ret, "Could not write %zu bytes at %" PRIu64 " of '%s'", len,
                         offset, blk->filename);
    }
    return !ret;
}

/* ---- what others may know ---- */

void block_foreach(BlockList *list, void (*cb)(BlockBackend *blk, void *opaque), void *opaque)
{
    for (guint i = 0; i < list->nodes->len; i++) {
        cb(list->nodes->pdata[i], opaque);
    }
}

uint64_t block_length(BlockBackend *blk)
{
    return blk->length;
}

bool block_is_writable(BlockBackend *blk)
{
    return !blk->read_only;
}

const char *block_name(BlockBackend *blk)
{
    return blk->drive_id;
}

const char *block_node_name(BlockBackend *blk)
{
    return blk->node_name;
}

const char *block_filename(BlockBackend *blk)
{
    return blk->filename;
}

const char *block_driver(BlockBackend *blk)
{
    return blk->driver ? blk->driver->name : "raw";
}

const char *block_device(BlockBackend *blk)
{
    return blk->device;
}

BlockBackend *block_child(BlockBackend *blk)
{
    return blk->child;
}

bool block_cache_direct(BlockBackend *blk)
{
    return leaf(blk)->cache_direct;
}

bool block_cache_no_flush(BlockBackend *blk)
{
    return leaf(blk)->cache_no_flush;
}

const char *block_error_policy(BlockBackend *blk, bool write)
{
    return write ? blk->werror : blk->rerror;
}
