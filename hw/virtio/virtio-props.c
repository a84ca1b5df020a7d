/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of properties: one row becomes a GParamSpec with a getter and a setter. */
#include "util/osdep.h"
#include "hw/virtio.h"

static GQuark row_quark(void)
{
    return g_quark_from_static_string("virtio-prop-row");
}

static GParamSpec *make_pspec(const VirtioProp *p)
{
    GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

    switch (p->kind) {
    case VIRTIO_PROP_FEATURE:
        return g_param_spec_boolean(p->name, NULL, NULL, !p->off, flags);
    case VIRTIO_PROP_BOOL:
        return g_param_spec_boolean(p->name, NULL, NULL, p->def, flags);
    case VIRTIO_PROP_INT32:
        return g_param_spec_int(p->name, NULL, NULL, INT32_MIN, INT32_MAX, (int32_t)p->def, flags);
    case VIRTIO_PROP_UINT16:
        return g_param_spec_uint(p->name, NULL, NULL, 0, UINT16_MAX, p->def, flags);
    case VIRTIO_PROP_UINT32:
        return g_param_spec_uint(p->name, NULL, NULL, 0, UINT32_MAX, p->def, flags);
    case VIRTIO_PROP_UINT64:
        return g_param_spec_uint64(p->name, NULL, NULL, 0, UINT64_MAX, p->def, flags);
    case VIRTIO_PROP_STRING:
        break;
    }
    return g_param_spec_string(p->name, NULL, NULL, NULL, flags);
}

static void prop_set(GObject *obj, guint id, const GValue *value, GParamSpec *pspec)
{
    const VirtioProp *p = g_param_spec_get_qdata(pspec, row_quark());
    void *at = (uint8_t *)obj + p->offset;

    switch (p->kind) {
    case VIRTIO_PROP_FEATURE:
        if (g_value_get_boolean(value)) {
            VIRTIO_DEVICE(obj)->prop_features |= 1ULL << p->def;
        } else {
            VIRTIO_DEVICE(obj)->prop_features &= ~(1ULL << p->def);
        }
        break;
    case VIRTIO_PROP_BOOL:
        *(bool *)at = g_value_get_boolean(value);
        break;
    case VIRTIO_PROP_INT32:
        *(int32_t *)at = g_value_get_int(value);
        break;
    case VIRTIO_PROP_UINT16:
        *(uint16_t *)at = g_value_get_uint(value);
        break;
    case VIRTIO_PROP_UINT32:
        *(uint32_t *)at = g_value_get_uint(value);
        break;
    case VIRTIO_PROP_UINT64:
        *(uint64_t *)at = g_value_get_uint64(value);
        break;
    case VIRTIO_PROP_STRING:
        g_free(*(char **)at);
        *(char **)at = g_value_dup_string(value);
        break;
    }
}

static void prop_get(GObject *obj, guint id, GValue *value, GParamSpec *pspec)
{
    const VirtioProp *p = g_param_spec_get_qdata(pspec, row_quark());
    void *at = (uint8_t *)obj + p->offset;

    switch (p->kind) {
    case VIRTIO_PROP_FEATURE:
        g_value_set_boolean(value, (VIRTIO_DEVICE(obj)->prop_features >> p->def) & 1);
        break;
    case VIRTIO_PROP_BOOL:
        g_value_set_boolean(value, *(bool *)at);
        break;
    case VIRTIO_PROP_INT32:
        g_value_set_int(value, *(int32_t *)at);
        break;
    case VIRTIO_PROP_UINT16:
        g_value_set_uint(value, *(uint16_t *)at);
        break;
    case VIRTIO_PROP_UINT32:
        g_value_set_uint(value, *(uint32_t *)at);
        break;
    case VIRTIO_PROP_UINT64:
        g_value_set_uint64(value, *(uint64_t *)at);
        break;
    case VIRTIO_PROP_STRING:
        g_value_set_string(value, *(char **)at);
        break;
    }
}

void virtio_props_install(GObjectClass *klass, const VirtioProp *props)
{
    klass->set_property = prop_set;
    klass->get_property = prop_get;
    for (unsigned i = 0; props[i].name; i++) {
        GParamSpec *pspec = make_pspec(&props[i]);

        g_param_spec_set_qdata(pspec, row_quark(), (void *)&props[i]);
        g_object_class_install_property(klass, i + 1, pspec);
    }
}

void virtio_props_init(GObject *obj, const VirtioProp *props)
{
    for (const VirtioProp *p = props; p->name; p++) {
        void *at = (uint8_t *)obj + p->offset;

        switch (p->kind) {
        case VIRTIO_PROP_FEATURE:
            if (!p->off) {
                VIRTIO_DEVICE(obj)->prop_features |= 1ULL << p->def;
            }
            break;
        case VIRTIO_PROP_BOOL:
            *(bool *)at = p->def;
            break;
        case VIRTIO_PROP_INT32:
        case VIRTIO_PROP_UINT32:
            *(uint32_t *)at = p->def;
            break;
        case VIRTIO_PROP_UINT16:
            *(uint16_t *)at = p->def;
            break;
        case VIRTIO_PROP_UINT64:
            *(uint64_t *)at = p->def;
            break;
        case VIRTIO_PROP_STRING:
            break;
        }
    }
}

void virtio_props_free(GObject *obj, const VirtioProp *props)
{
    for (const VirtioProp *p = props; p->name; p++) {
        if (p->kind == VIRTIO_PROP_STRING) {
            g_clear_pointer((char **)((uint8_t *)obj + p->offset), g_free);
        }
    }
}
