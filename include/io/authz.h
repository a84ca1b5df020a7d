/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may connect: objects that judge an identity, for TLS the distinguished name of the client's
 * certificate (spec 35 section 6.3, spec 71 section 3.2). All calls: main thread, big lock.
 *
 *   authz-simple     identity
 *   authz-list       policy=deny|allow, rules=[{match, policy, format=exact|glob}]
 *   authz-list-file  filename with such a list as JSON, refresh=on: read anew when it changed
 */
#ifndef GODWIT_IO_AUTHZ_H
#define GODWIT_IO_AUTHZ_H

#include <json-glib/json-glib.h>
#include "util/object.h"

#define TYPE_AUTHZ (authz_get_type())
G_DECLARE_DERIVABLE_TYPE(Authz, authz, GW, AUTHZ, GObject)

struct _AuthzClass {
    GObjectClass parent_class;
    bool (*is_allowed)(Authz *authz, const char *identity);
};

/* May @identity come in? Whatever cannot be decided is a no. */
bool authz_is_allowed(Authz *authz, const char *identity);

/* ---- ordered rules, shared by the list kinds ---- */

typedef struct AuthzRules AuthzRules;
/* @list: array of rule objects; anything unexpected in it is an error naming the rule. */
AuthzRules *authz_rules_parse(JsonNode *list, GError **errp);
void authz_rules_free(AuthzRules *rules);
/* The policy of the first rule that matches, else @otherwise. NULL has no rules. */
bool authz_rules_allow(const AuthzRules *rules, const char *identity, bool otherwise);
/* "allow" or "deny". */
bool authz_policy_parse(const char *text, bool *allow, GError **errp);

#endif
