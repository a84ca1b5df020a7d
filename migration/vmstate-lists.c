/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Codecs of containers and of temporary structures (spec 10 section 11.2): an element follows a
 * byte 1, a byte 0 ends the list. Elements come from g_malloc0() and belong to the container.
 *
 * A list's length comes from the peer: MAX_ELEMENTS bounds what a hostile stream can make us
 * allocate.
 */
#include "migration/vmstate.h"

#define MAX_ELEMENTS 65536

static bool put_element(QEMUFile *f, const VMStateField *field, void *element, GError **errp)
{
    qemu_put_byte(f, 1);
    return vmstate_save_state(f, field->vmsd, element, NULL, errp);
}

static bool next_element(QEMUFile *f, unsigned count, bool *more, GError **errp)
{
    uint8_t marker = qemu_get_byte(f);

    if (marker > 1) {
        error_setg(errp, "list marker is 0x%02x, not 0 or 1", marker);
        return false;
    }
    if (marker && count == MAX_ELEMENTS) {
        error_setg(errp, "list has more than %u elements", MAX_ELEMENTS);
        return false;
    }
    *more = marker;
    return true;
}

static void *load_element(QEMUFile *f, const VMStateField *field, GError **errp)
{
    void *element = g_malloc0(field->size);

    if (!vmstate_load_state(f, field->vmsd, element, field->version_id, errp)) {
        g_free(element);
        return NULL;
    }
    return element;
}

static bool put_qtailq(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    GQueue *queue = pv;

    for (GList *l = queue->head; l; l = l->next) {
        if (!put_element(f, field, l->data, errp)) {
            return false;
        }
    }
    qemu_put_byte(f, 0);
    return true;
}

static bool get_qtailq(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    GQueue *queue = pv;
    bool more;

    for (unsigned n = 0;; n++) {
        void *element;

        if (!next_element(f, n, &more, errp)) {
            return false;
        }
        if (!more) {
            return true;
        }
        element = load_element(f, field, errp);
        if (!element) {
            return false;
        }
        g_queue_push_tail(queue, element);
    }
}

const VMStateInfo vmstate_info_qtailq = {"qtailq", get_qtailq, put_qtailq};

static bool put_qlist(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    for (GSList *l = *(GSList **)pv; l; l = l->next) {
        if (!put_element(f, field, l->data, errp)) {
            return false;
        }
    }
    qemu_put_byte(f, 0);
    return true;
}

static bool get_qlist(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    GSList **list = pv;
    GSList *loaded = NULL;
    bool more = true, ok = true;

    for (unsigned n = 0; ok && more; n++) {
        ok = next_element(f, n, &more, errp);
        if (ok && more) {
            void *element = load_element(f, field, errp);

            ok = element != NULL;
            if (ok) {
                loaded = g_slist_prepend(loaded, element);
            }
        }
    }
    /* What was read belongs to the device either way: it frees the list with the rest of itself. */
    *list = g_slist_concat(*list, g_slist_reverse(loaded));
    return ok;
}

const VMStateInfo vmstate_info_qlist = {"qlist", get_qlist, put_qlist};

typedef struct {
    QEMUFile *f;
    const VMStateField *field;
    GError **errp;
    bool ok;
} TreeWalk;

static gboolean put_node(gpointer key, gpointer value, gpointer opaque)
{
    TreeWalk *w = opaque;

    qemu_put_byte(w->f, 1);
    if (w->field->key_vmsd) {
        w->ok = vmstate_save_state(w->f, w->field->key_vmsd, key, NULL, w->errp);
    } else {
        qemu_put_be64(w->f, (uintptr_t)key);
    }
    w->ok = w->ok && vmstate_save_state(w->f, w->field->vmsd, value, NULL, w->errp);
    return !w->ok;
}

static bool put_gtree(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    GTree *tree = *(GTree **)pv;
    TreeWalk walk = {f, field, errp, true};

    qemu_put_be32(f, g_tree_nnodes(tree));
    g_tree_foreach(tree, put_node, &walk);
    qemu_put_byte(f, 0);
    return walk.ok;
}

static bool get_node(QEMUFile *f, GTree *tree, const VMStateField *field, GError **errp)
{
    void *key, *value;

    if (field->key_vmsd) {
        key = g_malloc0(field->key_size);
        if (!vmstate_load_state(f, field->key_vmsd, key, field->version_id, errp)) {
            g_free(key);
            return false;
        }
    } else {
        key = (void *)(uintptr_t)qemu_get_be64(f);
    }
    value = load_element(f, field, errp);
    if (!value) {
        if (field->key_vmsd) {
            g_free(key);
        }
        return false;
    }
    g_tree_insert(tree, key, value);
    return true;
}

static bool get_gtree(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    GTree *tree = *(GTree **)pv;
    uint32_t expected = qemu_get_be32(f);
    unsigned n = 0;
    bool more;

    for (;; n++) {
        if (!next_element(f, n, &more, errp)) {
            return false;
        }
        if (!more) {
            break;
        }
        if (!get_node(f, tree, field, errp)) {
            return false;
        }
    }
    if (n != expected && qemu_file_ok(f)) {
        error_setg(errp, "tree has %u nodes, %u were announced", n, expected);
        return false;
    }
    return true;
}

const VMStateInfo vmstate_info_gtree = {"gtree", get_gtree, put_gtree};

/* A structure that exists only while it is saved or loaded; its first member points back to the
 * parent. */
static bool put_tmp(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    g_autofree void *tmp = g_malloc0(size);

    *(void **)tmp = pv;
    return vmstate_save_state(f, field->vmsd, tmp, NULL, errp);
}

static bool get_tmp(QEMUFile *f, void *pv, size_t size, const VMStateField *field, GError **errp)
{
    g_autofree void *tmp = g_malloc0(size);

    *(void **)tmp = pv;
    return vmstate_load_state(f, field->vmsd, tmp, field->version_id, errp);
}

const VMStateInfo vmstate_info_tmp = {"tmp", get_tmp, put_tmp};
