/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User-creatable objects (-object, object-add) and the composition tree behind qom-*.
 *
 * A type is a GObject class implementing UserCreatable and registered by its QOM name.
 * Its properties are GParamSpecs; object_set_property_text()/_json() convert and validate,
 * so -object, -device, object-add, device_add and qom-set share one path.
 * All functions: big lock held.
 */
#ifndef GODWIT_UTIL_OBJECT_H
#define GODWIT_UTIL_OBJECT_H

#include <json-glib/json-glib.h>
#include "util/osdep.h"

#define TYPE_USER_CREATABLE (user_creatable_get_type())
G_DECLARE_INTERFACE(UserCreatable, user_creatable, GW, USER_CREATABLE, GObject)
struct _UserCreatableInterface {
    GTypeInterface parent;
    /* All properties are set: validate and acquire resources. */
    gboolean (*complete)(UserCreatable *self, GError **errp);
    /* NULL or true: object-del may proceed. */
    gboolean (*can_be_deleted)(UserCreatable *self);
};

/* Make @gtype known under the QOM name @name ("memory-backend-ram"). Call from a constructor. */
void object_type_register(const char *name, GType (*get_type)(void));
#define OBJECT_TYPE_REGISTER(name, get_type)                                  \
    __attribute__((constructor)) static void object_register_##get_type(void) \
    {                                                                         \
        object_type_register(name, get_type);                                 \
    }
/* GType of a QOM name, or G_TYPE_INVALID. */
GType object_type_lookup(const char *name);
/* The id under which object_registry_create() made @obj, also valid inside complete(); NULL
 * otherwise. */
const char *object_id(GObject *obj);
/* QOM name of an instance ("virtio-blk-device"), or NULL. */
const char *object_type_name(GObject *obj);
/* Names of all registered types, sorted; free with g_ptr_array_unref(). */
GPtrArray *object_type_list(void);

/*
 * Set property @name from command-line text / from JSON; conversion errors name the property. A
 * JSON string is taken as text, so the string values that keyval_parse() makes work for properties
 * of any type. A property of the boxed type JSON_TYPE_NODE takes any JSON but a string as it is.
 */
bool object_set_property_text(GObject *obj, const char *name, const char *text, GError **errp);
bool object_set_property_json(GObject *obj, const char *name, JsonNode *value, GError **errp);
JsonNode *object_get_property_json(GObject *obj, const char *name, GError **errp);

/* The registry of one VM: named objects, the /objects part of the tree, and paths. */
typedef struct ObjectRegistry ObjectRegistry;
ObjectRegistry *object_registry_new(void);
void object_registry_free(ObjectRegistry *reg);
/* The registry that creates or holds @obj, for objects that name others; valid from complete() on,
 * until the object was removed. NULL for others. */
ObjectRegistry *object_registry_of(GObject *obj);

/* Create, set properties (@props: JSON object without qom-type and id), complete, and add. */
GObject *object_registry_create(ObjectRegistry *reg, const char *type, const char *id,
                                JsonObject *props, GError **errp);
/* The object @id, or NULL; no reference is taken. */
GObject *object_registry_find(ObjectRegistry *reg, const char *id);
/* Remove; "object '<id>' not found" otherwise (spec 70 section 15). */
bool object_registry_remove(ObjectRegistry *reg, const char *id, GError **errp);
void object_registry_foreach(ObjectRegistry *reg,
                             void (*cb)(const char *id, GObject *obj, void *opaque), void *opaque);

#endif
