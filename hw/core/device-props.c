/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties that are members of the instance structure, as GParamSpecs with generic accessors. */
#include "device-internal.h"

static GQuark prop_quark(void)
{
    return g_quark_from_static_string("godwit-device-property");
}

/* Set on properties that belong to the device's part. */
static GQuark forward_quark(void)
{
    return g_quark_from_static_string("godwit-device-property-forward");
}

static bool is_forward(GParamSpec *pspec)
{
    return g_param_spec_get_qdata(pspec, forward_quark()) != NULL;
}

static GObject *part_of(GObject *obj)
{
    return G_OBJECT(HW_DEVICE_GET_CLASS(obj)->part(HW_DEVICE(obj)));
}

static void prop_set(GObject *obj, guint id, const GValue *value, GParamSpec *pspec)
{
    if (is_forward(pspec)) {
        g_object_set_property(part_of(obj), pspec->name, value);
        return;
    }

    const DeviceProperty *prop = g_param_spec_get_qdata(pspec, prop_quark());
    void *field = (char *)obj + prop->offset;

    switch (prop->type) {
    case DEVICE_PROP_TYPE_BOOL:
        *(bool *)field = g_value_get_boolean(value);
        break;
    case DEVICE_PROP_TYPE_UINT8:
        *(uint8_t *)field = g_value_get_uint(value);
        break;
    case DEVICE_PROP_TYPE_UINT16:
        *(uint16_t *)field = g_value_get_uint(value);
        break;
    case DEVICE_PROP_TYPE_UINT32:
        *(uint32_t *)field = g_value_get_uint(value);
        break;
    case DEVICE_PROP_TYPE_UINT64:
        *(uint64_t *)field = g_value_get_uint64(value);
        break;
    case DEVICE_PROP_TYPE_INT32:
        *(int32_t *)field = g_value_get_int(value);
        break;
    case DEVICE_PROP_TYPE_STRING:
        g_free(*(char **)field);
        *(char **)field = g_value_dup_string(value);
        break;
    }
}

static void prop_get(GObject *obj, guint id, GValue *value, GParamSpec *pspec)
{
    if (is_forward(pspec)) {
        g_object_get_property(part_of(obj), pspec->name, value);
        return;
    }

    const DeviceProperty *prop = g_param_spec_get_qdata(pspec, prop_quark());
    const void *field = (const char *)obj + prop->offset;

    switch (prop->type) {
    case DEVICE_PROP_TYPE_BOOL:
        g_value_set_boolean(value, *(const bool *)field);
        break;
    case DEVICE_PROP_TYPE_UINT8:
        g_value_set_uint(value, *(const uint8_t *)field);
        break;
    case DEVICE_PROP_TYPE_UINT16:
        g_value_set_uint(value, *(const uint16_t *)field);
        break;
    case DEVICE_PROP_TYPE_UINT32:
        g_value_set_uint(value, *(const uint32_t *)field);
        break;
    case DEVICE_PROP_TYPE_UINT64:
        g_value_set_uint64(value, *(const uint64_t *)field);
        break;
    case DEVICE_PROP_TYPE_INT32:
        g_value_set_int(value, *(const int32_t *)field);
        break;
    case DEVICE_PROP_TYPE_STRING:
        g_value_set_string(value, *(char *const *)field);
        break;
    }
}

/* Construct: the default is stored through prop_set() when the instance is made. The name is not
 * static: GObject keeps its own spelling of names with underscores. */
static GParamSpec *prop_pspec(const DeviceProperty *p, GParamFlags construct)
{
    const GParamFlags flags =
        G_PARAM_READWRITE | construct | G_PARAM_STATIC_NICK | G_PARAM_STATIC_BLURB;

    switch (p->type) {
    case DEVICE_PROP_TYPE_BOOL:
        return g_param_spec_boolean(p->name, NULL, p->desc, p->defval != 0, flags);
    case DEVICE_PROP_TYPE_UINT8:
        return g_param_spec_uint(p->name, NULL, p->desc, 0, UINT8_MAX, p->defval, flags);
    case DEVICE_PROP_TYPE_UINT16:
        return g_param_spec_uint(p->name, NULL, p->desc, 0, UINT16_MAX, p->defval, flags);
    case DEVICE_PROP_TYPE_UINT32:
        return g_param_spec_uint(p->name, NULL, p->desc, 0, UINT32_MAX, p->defval, flags);
    case DEVICE_PROP_TYPE_UINT64:
        return g_param_spec_uint64(p->name, NULL, p->desc, 0, UINT64_MAX, p->defval, flags);
    case DEVICE_PROP_TYPE_INT32:
        return g_param_spec_int(p->name, NULL, p->desc, INT32_MIN, INT32_MAX, p->defval, flags);
    case DEVICE_PROP_TYPE_STRING:
        return g_param_spec_string(p->name, NULL, p->desc, NULL, flags);
    }
    g_assert_not_reached();
}

void device_class_set_props(DeviceStateClass *klass, const DeviceProperty *props)
{
    GObjectClass *oc = G_OBJECT_CLASS(klass);

    oc->set_property = prop_set;
    oc->get_property = prop_get;
    for (guint i = 0; props[i].name; i++) {
        GParamSpec *pspec = prop_pspec(&props[i], G_PARAM_CONSTRUCT);

        g_param_spec_set_qdata(pspec, prop_quark(), (gpointer)&props[i]);
        g_object_class_install_property(oc, i + 1, pspec);
    }
}

void device_class_forward_props(DeviceStateClass *klass, GType type)
{
    GObjectClass *oc = G_OBJECT_CLASS(klass);
    GObjectClass *from = g_type_class_ref(type);
    g_autofree GParamSpec **list = g_object_class_list_properties(from, NULL);
    guint n;

    g_free(g_object_class_list_properties(oc, &n)); /* ids after those it has */
    oc->set_property = prop_set;
    oc->get_property = prop_get;
    for (guint i = 0; list[i]; i++) {
        const DeviceProperty *prop = g_param_spec_get_qdata(list[i], prop_quark());
        GParamSpec *pspec;

        if (!prop || g_object_class_find_property(oc, prop->name)) {
            continue;
        }
        /* Not at construction: the part does not exist yet. */
        pspec = prop_pspec(prop, 0);
        g_param_spec_set_qdata(pspec, forward_quark(), (gpointer)prop);
        g_object_class_install_property(oc, ++n, pspec);
    }
    g_type_class_unref(from);
}

void device_props_free_strings(GObject *obj)
{
    guint n;
    g_autofree GParamSpec **list = g_object_class_list_properties(G_OBJECT_GET_CLASS(obj), &n);

    for (guint i = 0; i < n; i++) {
        const DeviceProperty *prop = g_param_spec_get_qdata(list[i], prop_quark());

        if (prop && prop->type == DEVICE_PROP_TYPE_STRING) {
            g_clear_pointer((char **)((char *)obj + prop->offset), g_free);
        }
    }
}
