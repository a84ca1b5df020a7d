/* SPDX-License-Identifier: GPL-2.0-or-later */
/* authz-list-file: the rules of authz-list in a JSON file that may change while we run. */
#include <sys/stat.h>
#include "io/authz.h"
#include "qapi/json-stream.h"
#include "util/error.h"

/* Thousands of rules; what is longer is the wrong file. */
#define FILE_MAX (4 * MiB)

typedef struct {
    Authz parent;
    char *filename;
    bool refresh;
    struct timespec mtime; /* of the file, and */
    off_t size;            /* its length, when it was read */
    ino_t ino;
    bool allow; /* who matches no rule */
    AuthzRules *rules;
} AuthzListFile;
typedef AuthzClass AuthzListFileClass;

static void user_creatable_init(UserCreatableInterface *iface);
GType authz_list_file_get_type(void);
G_DEFINE_TYPE_WITH_CODE(AuthzListFile, authz_list_file, TYPE_AUTHZ,
                        G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE, user_creatable_init))
OBJECT_TYPE_REGISTER("authz-list-file", authz_list_file_get_type)

/* {"policy": "deny", "rules": [...]}; both members may be absent. */
static AuthzRules *parse_file(JsonNode *root, bool *allow, GError **errp)
{
    g_autoptr(JsonNode) none = NULL;
    JsonObject *obj;
    JsonNode *policy, *rules;

    if (!JSON_NODE_HOLDS_OBJECT(root)) {
        error_setg(errp, "expected an object with 'policy' and 'rules'");
        return NULL;
    }
    obj = json_node_get_object(root);
    policy = json_object_get_member(obj, "policy");
    rules = json_object_get_member(obj, "rules");
    if (json_object_get_size(obj) != (guint)(policy != NULL) + (rules != NULL) ||
        (policy &&
         (!JSON_NODE_HOLDS_VALUE(policy) || json_node_get_value_type(policy) != G_TYPE_STRING))) {
        error_setg(errp, "expected the string 'policy' and the list 'rules', nothing else");
        return NULL;
    }
    if (!authz_policy_parse(policy ? json_node_get_string(policy) : "deny", allow, errp)) {
        return NULL;
    }
    if (!rules) {
        rules = none = json_node_init_array(json_node_alloc(), NULL);
        json_node_take_array(none, json_array_new());
    }
    return authz_rules_parse(rules, errp);
}

/* Replace what was read before; on failure nothing changes. */
static bool load(AuthzListFile *s, GError **errp)
{
    g_autoptr(JsonNode) root = NULL;
    g_autofree char *text = NULL;
    AuthzRules *rules = NULL;
    struct stat st;
    gsize len;
    bool allow;

    if (stat(s->filename, &st) < 0) {
        error_setg_errno(errp, errno, "cannot read '%s'", s->filename);
        return false;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX) {
        error_setg(errp, "'%s' is not a file of at most %u bytes", s->filename, (unsigned)FILE_MAX);
        return false;
    }
    if (!g_file_get_contents(s->filename, &text, &len, errp)) {
        return false;
    }
    root = qapi_json_parse(text, len, errp);
    if (root) {
        rules = parse_file(root, &allow, errp);
    }
    if (!rules) {
        g_prefix_error(errp, "'%s': ", s->filename);
        return false;
    }
    authz_rules_free(s->rules);
    s->rules = rules;
    s->allow = allow;
    s->mtime = st.st_mtim;
    s->size = st.st_size;
    s->ino = st.st_ino;
    return true;
}

static bool has_changed(const AuthzListFile *s)
{
    struct stat st;

    return stat(s->filename, &st) < 0 || st.st_ino != s->ino || st.st_size != s->size ||
           st.st_mtim.tv_sec != s->mtime.tv_sec || st.st_mtim.tv_nsec != s->mtime.tv_nsec;
}

static bool file_is_allowed(Authz *authz, const char *identity)
{
    AuthzListFile *s = (AuthzListFile *)authz;
    g_autoptr(GError) err = NULL;

    if (s->refresh && has_changed(s) && !load(s, &err)) {
        /* The old rules may be what the edit was to end. */
        warn_report("authz-list-file '%s' denies '%s': %s", object_id(G_OBJECT(s)), identity,
                    err->message);
        return false;
    }
    return authz_rules_allow(s->rules, identity, s->allow);
}

static gboolean file_complete(UserCreatable *self, GError **errp)
{
    AuthzListFile *s = (AuthzListFile *)self;
    bool ok = s->filename != NULL;

    if (!ok) {
        error_setg(errp, "'filename' must be given");
    }
    ok = ok && load(s, errp);
    if (!ok) {
        g_prefix_error(errp, "authz-list-file '%s': ", object_id(G_OBJECT(self)));
    }
    return ok;
}

static void user_creatable_init(UserCreatableInterface *iface)
{
    iface->complete = file_complete;
}

enum { PROP_0, PROP_FILENAME, PROP_REFRESH };

static void file_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    AuthzListFile *s = (AuthzListFile *)obj;

    if (id == PROP_FILENAME) {
        g_free(s->filename);
        s->filename = g_value_dup_string(value);
    } else {
        s->refresh = g_value_get_boolean(value);
    }
}

static void file_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    AuthzListFile *s = (AuthzListFile *)obj;

    if (id == PROP_FILENAME) {
        g_value_set_string(value, s->filename);
    } else {
        g_value_set_boolean(value, s->refresh);
    }
}

static void file_finalize(GObject *obj)
{
    AuthzListFile *s = (AuthzListFile *)obj;

    g_free(s->filename);
    authz_rules_free(s->rules);
    G_OBJECT_CLASS(authz_list_file_parent_class)->finalize(obj);
}

static void authz_list_file_init(AuthzListFile *s)
{
    s->refresh = true;
}

static void authz_list_file_class_init(AuthzListFileClass *k)
{
    GObjectClass *oc = G_OBJECT_CLASS(k);

    oc->set_property = file_set;
    oc->get_property = file_get;
    oc->finalize = file_finalize;
    k->is_allowed = file_is_allowed;
    g_object_class_install_property(
        oc, PROP_FILENAME,
        g_param_spec_string("filename", NULL, "JSON file", NULL, G_PARAM_READWRITE));
    g_object_class_install_property(oc, PROP_REFRESH,
                                    g_param_spec_boolean("refresh", NULL,
                                                         "Read it anew when it changes", TRUE,
                                                         G_PARAM_READWRITE));
}
