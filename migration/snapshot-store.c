/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <sys/stat.h>
#include <xxhash.h>
#include "migration/snapshot-store.h"
#include "qapi/json-stream.h"

#define FORMAT_VERSION  1
#define MANIFEST_SUFFIX ".json"
#define STATE_SUFFIX    ".vmstate"
/* A manifest that is being written. */
#define DRAFT_SUFFIX       ".draft"
#define NUMBER_DIGITS      16
#define MAX_MANIFEST_BYTES 0x100000
/* File names end at 255 bytes. */
#define MAX_STEM_BYTES 200
/* For reading a whole state. */
#define PIECE_BYTES (1 * MiB)

/* ---- names ---- */

/* @tag as the beginning of a file name: all but letters, digits and "-._~" in hexadecimal. */
static char *stem_of(const char *tag, GError **errp)
{
    g_autofree char *stem = g_uri_escape_string(tag, NULL, false);

    if (!*stem || strlen(stem) > MAX_STEM_BYTES) {
        error_setg(errp, "A snapshot needs a name of at most %d bytes", MAX_STEM_BYTES);
        return NULL;
    }
    return g_steal_pointer(&stem);
}

static char *path_of(const char *dir, const char *stem, const char *suffix)
{
    return g_strconcat(dir, "/", stem, suffix, NULL);
}

/* A name that nothing has yet. */
static char *new_name(const char *stem, const char *suffix)
{
    return g_strdup_printf("%s.%08x%08x%s", stem, g_random_int(), g_random_int(), suffix);
}

/* Can @name come from new_name()? */
static bool is_numbered(const char *name, const char *stem, const char *suffix)
{
    size_t n = strlen(stem);

    return strlen(name) == n + 1 + NUMBER_DIGITS + strlen(suffix) && g_str_has_prefix(name, stem) &&
           name[n] == '.' && strspn(name + n + 1, "0123456789abcdef") == NUMBER_DIGITS &&
           g_str_has_suffix(name, suffix);
}

/* Remove the states of a snapshot but @keep, which may be NULL, and what killed saves left. */
static void remove_others(const char *dir, const char *stem, const char *keep)
{
    g_autoptr(GDir) entries = g_dir_open(dir, 0, NULL);
    const char *name;

    while (entries && (name = g_dir_read_name(entries))) {
        if ((is_numbered(name, stem, STATE_SUFFIX) && (!keep || !g_str_equal(name, keep))) ||
            is_numbered(name, stem, DRAFT_SUFFIX)) {
            g_autofree char *path = path_of(dir, name, "");

            unlink(path);
        }
    }
}

/* ---- manifests ---- */

static bool manifest_is_sound(const SnapshotManifest *manifest, const char *stem, GError **errp)
{
    if (manifest->godwit_snapshot != FORMAT_VERSION) {
        error_setg(errp, "it is of version %" PRId64 ", %d is understood",
                   manifest->godwit_snapshot, FORMAT_VERSION);
        return false;
    }
    if (!is_numbered(manifest->state, stem, STATE_SUFFIX)) {
        error_setg(errp, "its state has the name of something else");
        return false;
    }
    return true;
}

/* NULL without error: there is no such file. */
static char *read_text(const char *path, GError **errp)
{
    g_autofree char *text = NULL;
    struct stat st;
    gsize length;

    if (stat(path, &st) < 0 && errno == ENOENT) {
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > MAX_MANIFEST_BYTES) {
        error_setg(errp, "it is no file of at most %d bytes", MAX_MANIFEST_BYTES);
        return NULL;
    }
    return g_file_get_contents(path, &text, &length, errp) ? g_steal_pointer(&text) : NULL;
}

static SnapshotManifest *read_manifest(const char *path, const char *stem, GError **errp)
{
    GError *err = NULL;
    g_autofree char *text = read_text(path, &err);
    g_autoptr(JsonNode) node = text ? qapi_json_parse(text, strlen(text), &err) : NULL;
    g_autoptr(SnapshotManifest) manifest =
        node ? qapi_SnapshotManifest_from_json(node, "manifest", &err) : NULL;

    if (manifest && manifest_is_sound(manifest, stem, &err)) {
        return g_steal_pointer(&manifest);
    }
    if (err) {
        g_propagate_prefixed_error(errp, err, "'%s' is not the manifest of a snapshot: ", path);
    }
    return NULL;
}

SnapshotManifest *snapshot_store_find(const char *dir, const char *tag, GError **errp)
{
    g_autofree char *stem = stem_of(tag, errp);
    g_autofree char *path = stem ? path_of(dir, stem, MANIFEST_SUFFIX) : NULL;
    g_autoptr(SnapshotManifest) manifest = path ? read_manifest(path, stem, errp) : NULL;

    if (manifest && !g_str_equal(manifest->tag, tag)) {
        error_setg(errp, "'%s' is not the manifest of a snapshot: its tag is '%s'", path,
                   manifest->tag);
        return NULL;
    }
    return g_steal_pointer(&manifest);
}

static int by_date(gconstpointer a, gconstpointer b)
{
    const SnapshotManifest *x = *(SnapshotManifest *const *)a, *y = *(SnapshotManifest *const *)b;

    return x->date != y->date ? (x->date > y->date) - (x->date < y->date) : strcmp(x->tag, y->tag);
}

void snapshot_store_list(const char *dir, GPtrArray *list)
{
    g_autoptr(GDir) entries = g_dir_open(dir, 0, NULL);
    const char *name;

    while (entries && (name = g_dir_read_name(entries))) {
        if (g_str_has_suffix(name, MANIFEST_SUFFIX)) {
            g_autofree char *stem = g_strndup(name, strlen(name) - strlen(MANIFEST_SUFFIX));
            g_autofree char *path = path_of(dir, name, "");
            SnapshotManifest *manifest = read_manifest(path, stem, NULL);

            if (manifest) {
                g_ptr_array_add(list, manifest);
            }
        }
    }
    g_ptr_array_sort(list, by_date);
}

static bool write_manifest(const char *dir, const char *stem, const SnapshotManifest *manifest,
                           GError **errp)
{
    g_autoptr(JsonNode) node = qapi_SnapshotManifest_to_json(manifest);
    g_autofree char *text = qapi_json_to_string(node, true);
    g_autofree char *path = path_of(dir, stem, MANIFEST_SUFFIX);
    g_autofree char *name = new_name(stem, DRAFT_SUFFIX);
    g_autofree char *draft = path_of(dir, name, "");

    /* The draft has a name of ours, so that what a kill leaves is found and removed. */
    if (!g_file_set_contents_full(draft, text, -1, G_FILE_SET_CONTENTS_DURABLE, 0600, errp)) {
        unlink(draft);
        return false;
    }
    if (rename(draft, path) < 0) {
        error_setg_errno(errp, errno, "Unable to replace '%s'", path);
        unlink(draft);
        return false;
    }
    return true;
}

/* ---- states ---- */

/* Size and checksum of all of @fd, read from its beginning. */
static bool sum_up(int fd, uint64_t *size, uint64_t *sum, GError **errp)
{
    g_autofree uint8_t *piece = g_malloc(PIECE_BYTES);
    XXH3_state_t *state = XXH3_createState();
    ssize_t n;

    XXH3_64bits_reset(state);
    *size = 0;
    while ((n = pread(fd, piece, PIECE_BYTES, (off_t)*size)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0) {
            XXH3_64bits_update(state, piece, (size_t)n);
            *size += (uint64_t)n;
        }
    }
    if (n < 0) {
        error_setg_errno(errp, errno, "Unable to read at offset %" PRIu64, *size);
    }
    *sum = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return n == 0;
}

QIOChannelFile *snapshot_store_create(const char *dir, SnapshotManifest *manifest, GError **errp)
{
    g_autofree char *stem = stem_of(manifest->tag, errp);
    g_autofree char *path = NULL;
    QIOChannelFile *file;

    if (!stem) {
        return NULL;
    }
    if (g_mkdir_with_parents(dir, 0700) < 0) {
        error_setg_errno(errp, errno, "Unable to create the directory '%s'", dir);
        return NULL;
    }
    manifest->godwit_snapshot = FORMAT_VERSION;
    manifest->state = new_name(stem, STATE_SUFFIX);
    path = path_of(dir, manifest->state, "");
    file = io_channel_file_new_replacing(path, 0600);
    if (!file) {
        error_setg(errp, "Unable to create a file in '%s': is the directory ours to write?", dir);
    }
    return file;
}

bool snapshot_store_commit(const char *dir, SnapshotManifest *manifest, GError **errp)
{
    g_autofree char *stem = stem_of(manifest->tag, errp);
    g_autofree char *path = path_of(dir, manifest->state, "");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t sum;
    bool ok;

    if (fd < 0) {
        error_setg_errno(errp, errno, "Unable to open '%s'", path);
        return false;
    }
    ok = sum_up(fd, &manifest->vm_state_size, &sum, errp);
    if (ok && fdatasync(fd) < 0) {
        error_setg_errno(errp, errno, "Unable to write '%s' to its disk", path);
        ok = false;
    }
    close(fd);
    if (ok) {
        g_free(manifest->xxh3);
        manifest->xxh3 = g_strdup_printf("%016" PRIx64, sum);
        ok = write_manifest(dir, stem, manifest, errp);
    }
    if (ok) {
        remove_others(dir, stem, manifest->state);
    } else {
        unlink(path);
    }
    return ok;
}

static bool is_the_one(int fd, const SnapshotManifest *manifest, GError **errp)
{
    g_autofree char *text = NULL;
    uint64_t size, sum;

    if (!sum_up(fd, &size, &sum, errp)) {
        return false;
    }
    if (size != manifest->vm_state_size) {
        error_setg(errp, "the file has %" PRIu64 " bytes, %" PRIu64 " were saved", size,
                   manifest->vm_state_size);
        return false;
    }
    text = g_strdup_printf("%016" PRIx64, sum);
    if (!g_str_equal(text, manifest->xxh3)) {
        error_setg(errp, "its checksum is %s, that of what was saved %s", text, manifest->xxh3);
        return false;
    }
    return true;
}

QIOChannelFile *snapshot_store_open(const char *dir, const SnapshotManifest *manifest,
                                    GError **errp)
{
    g_autofree char *path = path_of(dir, manifest->state, "");
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Unable to open '%s'", path);
        return NULL;
    }
    if (!is_the_one(fd, manifest, errp)) {
        g_prefix_error(errp, "The state of snapshot '%s' in '%s' is damaged: ", manifest->tag,
                       path);
        close(fd);
        return NULL;
    }
    return io_channel_file_new_fd(fd);
}

bool snapshot_store_delete(const char *dir, const char *tag, GError **errp)
{
    g_autofree char *stem = stem_of(tag, errp);
    g_autofree char *path = stem ? path_of(dir, stem, MANIFEST_SUFFIX) : NULL;

    if (!path) {
        return false;
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        error_setg_errno(errp, errno, "Unable to remove '%s'", path);
        return false;
    }
    remove_others(dir, stem, NULL);
    return true;
}
