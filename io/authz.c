/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The base of all kinds, and authz-simple: one identity, compared byte by byte. */
#include "io/authz.h"
#include "util/error.h"

static void base_user_creatable_init(UserCreatableInterface *iface)
{
}

G_DEFINE_ABSTRACT_TYPE_WITH_CODE(Authz, authz, G_TYPE_OBJECT,
                                 G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE,
                                                       base_user_creatable_init))

bool authz_is_allowed(Authz *authz, const char *identity)
{
    return GW_AUTHZ_GET_CLASS(authz)->is_allowed(authz, identity);
}

static void authz_init(Authz *authz)
{
}

static void authz_class_init(AuthzClass *k)
{
}

/* ---- authz-simple ---- */

typedef struct {
    Authz parent;
    char *identity;
} AuthzSimple;
typedef AuthzClass AuthzSimpleClass;

static void simple_user_creatable_init(UserCreatableInterface *iface);
GType authz_simple_get_type(void);
G_DEFINE_TYPE_WITH_CODE(AuthzSimple, authz_simple, TYPE_AUTHZ,
                        G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE, simple_user_creatable_init))
OBJECT_TYPE_REGISTER("authz-simple", authz_simple_get_type)

static gboolean simple_complete(UserCreatable *self, GError **errp)
{
    if (!((AuthzSimple *)self)->identity) {
        error_setg(errp, "authz-simple '%s': 'identity' must be given", object_id(G_OBJECT(self)));
        return FALSE;
    }
    return TRUE;
}

static void simple_user_creatable_init(UserCreatableInterface *iface)
{
    iface->complete = simple_complete;
}

static bool simple_is_allowed(Authz *authz, const char *identity)
{
    return g_str_equal(((AuthzSimple *)authz)->identity, identity);
}

static void simple_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    g_free(((AuthzSimple *)obj)->identity);
    ((AuthzSimple *)obj)->identity = g_value_dup_string(value);
}

static void simple_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    g_value_set_string(value, ((AuthzSimple *)obj)->identity);
}

static void simple_finalize(GObject *obj)
{
    g_free(((AuthzSimple *)obj)->identity);
    G_OBJECT_CLASS(authz_simple_parent_class)->finalize(obj);
}

static void authz_simple_init(AuthzSimple *s)
{
}

static void authz_simple_class_init(AuthzSimpleClass *k)
{
    GObjectClass *oc = G_OBJECT_CLASS(k);

    oc->set_property = simple_set;
    oc->get_property = simple_get;
    oc->finalize = simple_finalize;
    k->is_allowed = simple_is_allowed;
    g_object_class_install_property(
        oc, 1, g_param_spec_string("identity", NULL, "The one that may", NULL, G_PARAM_READWRITE));
}
