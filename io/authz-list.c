/* SPDX-License-Identifier: GPL-2.0-or-later */
/* authz-list: ordered rules, the first that matches decides. */
#include "io/authz.h"
#include "util/error.h"

typedef struct {
    char *match;
    GPatternSpec *glob; /* NULL: exact */
    bool allow;
} Rule;

struct AuthzRules {
    GPtrArray *rules;
};

bool authz_policy_parse(const char *text, bool *allow, GError **errp)
{
    *allow = g_str_equal(text, "allow");
    if (!*allow && !g_str_equal(text, "deny")) {
        error_setg(errp, "a policy is 'allow' or 'deny', not '%s'", text);
        return false;
    }
    return true;
}

static void rule_free(void *opaque)
{
    Rule *r = opaque;

    g_free(r->match);
    g_clear_pointer(&r->glob, g_pattern_spec_free);
    g_free(r);
}

/* The string member @name; NULL if absent or not a string. */
static const char *text_member(JsonObject *obj, const char *name)
{
    JsonNode *node = json_object_get_member(obj, name);

    return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
               ? json_node_get_string(node)
               : NULL;
}

static bool parse_rule(JsonObject *obj, AuthzRules *out, GError **errp)
{
    const char *match = text_member(obj, "match"), *policy = text_member(obj, "policy");
    const char *format = text_member(obj, "format");
    unsigned known = (match != NULL) + (policy != NULL) + (format != NULL);
    bool allow;
    Rule *r;

    if (!match || !policy || json_object_get_size(obj) != known) {
        error_setg(errp, "expected the strings 'match', 'policy' and, if wanted, 'format'");
        return false;
    }
    if (format && !g_str_equal(format, "exact") && !g_str_equal(format, "glob")) {
        error_setg(errp, "'format' is 'exact' or 'glob', not '%s'", format);
        return false;
    }
    if (!authz_policy_parse(policy, &allow, errp)) {
        return false;
    }
    r = g_new0(Rule, 1);
    r->match = g_strdup(match);
    r->allow = allow;
    r->glob = format && g_str_equal(format, "glob") ? g_pattern_spec_new(match) : NULL;
    g_ptr_array_add(out->rules, r);
    return true;
}

AuthzRules *authz_rules_parse(JsonNode *list, GError **errp)
{
    AuthzRules *out;
    JsonArray *array;

    if (!JSON_NODE_HOLDS_ARRAY(list)) {
        error_setg(errp, "rules are a list");
        return NULL;
    }
    array = json_node_get_array(list);
    out = g_new(AuthzRules, 1);
    out->rules = g_ptr_array_new_with_free_func(rule_free);
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonNode *e = json_array_get_element(array, i);
        bool is_object = JSON_NODE_HOLDS_OBJECT(e);

        if (!is_object || !parse_rule(json_node_get_object(e), out, errp)) {
            if (!is_object) {
                error_setg(errp, "expected an object");
            }
            g_prefix_error(errp, "rule %u: ", i);
            authz_rules_free(out);
            return NULL;
        }
    }
    return out;
}

void authz_rules_free(AuthzRules *rules)
{
    if (rules) {
        g_ptr_array_unref(rules->rules);
        g_free(rules);
    }
}

bool authz_rules_allow(const AuthzRules *rules, const char *identity, bool otherwise)
{
    for (unsigned i = 0; rules && i < rules->rules->len; i++) {
        const Rule *r = g_ptr_array_index(rules->rules, i);

        if (r->glob ? g_pattern_spec_match_string(r->glob, identity)
                    : g_str_equal(r->match, identity)) {
            return r->allow;
        }
    }
    return otherwise;
}

/* ---- the object ---- */

typedef struct {
    Authz parent;
    char *policy;
    JsonNode *list;
    bool allow; /* who matches no rule */
    AuthzRules *rules;
} AuthzList;
typedef AuthzClass AuthzListClass;

static void user_creatable_init(UserCreatableInterface *iface);
GType authz_list_get_type(void);
G_DEFINE_TYPE_WITH_CODE(AuthzList, authz_list, TYPE_AUTHZ,
                        G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE, user_creatable_init))
OBJECT_TYPE_REGISTER("authz-list", authz_list_get_type)

static gboolean list_complete(UserCreatable *self, GError **errp)
{
    AuthzList *s = (AuthzList *)self;

    if (!authz_policy_parse(s->policy, &s->allow, errp) ||
        (s->list && !(s->rules = authz_rules_parse(s->list, errp)))) {
        g_prefix_error(errp, "authz-list '%s': ", object_id(G_OBJECT(self)));
        return FALSE;
    }
    return TRUE;
}

static void user_creatable_init(UserCreatableInterface *iface)
{
    iface->complete = list_complete;
}

static bool list_is_allowed(Authz *authz, const char *identity)
{
    AuthzList *s = (AuthzList *)authz;

    return authz_rules_allow(s->rules, identity, s->allow);
}

enum { PROP_0, PROP_POLICY, PROP_RULES };

static void list_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    AuthzList *s = (AuthzList *)obj;

    if (id == PROP_POLICY) {
        g_free(s->policy);
        s->policy = g_value_dup_string(value);
    } else {
        g_clear_pointer(&s->list, json_node_unref);
        s->list = g_value_dup_boxed(value);
    }
}

static void list_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    AuthzList *s = (AuthzList *)obj;

    if (id == PROP_POLICY) {
        g_value_set_string(value, s->policy);
    } else {
        g_value_set_boxed(value, s->list);
    }
}

static void list_finalize(GObject *obj)
{
    AuthzList *s = (AuthzList *)obj;

    g_free(s->policy);
    g_clear_pointer(&s->list, json_node_unref);
    authz_rules_free(s->rules);
    G_OBJECT_CLASS(authz_list_parent_class)->finalize(obj);
}

static void authz_list_init(AuthzList *s)
{
    s->policy = g_strdup("deny");
}

static void authz_list_class_init(AuthzListClass *k)
{
    GObjectClass *oc = G_OBJECT_CLASS(k);

    oc->set_property = list_set;
    oc->get_property = list_get;
    oc->finalize = list_finalize;
    k->is_allowed = list_is_allowed;
    g_object_class_install_property(
        oc, PROP_POLICY,
        g_param_spec_string("policy", NULL, "For who matches no rule", "deny", G_PARAM_READWRITE));
    g_object_class_install_property(oc, PROP_RULES,
                                    g_param_spec_boxed("rules", NULL,
                                                       "List of match, policy, format",
                                                       JSON_TYPE_NODE, G_PARAM_READWRITE));
}
