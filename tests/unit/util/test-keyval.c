/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/keyval.h"

static void check(const char *text, const char *implied, const char *want)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(JsonObject) obj = keyval_parse(text, implied, &err);
    g_autofree char *got = NULL;

    g_assert_no_error(err);
    {
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), obj);

        got = json_to_string(node, FALSE);
    }
    g_assert_cmpstr(got, ==, want);
}

static void refuse(const char *text)
{
    g_autoptr(GError) err = NULL;

    g_assert_null(keyval_parse(text, NULL, &err));
    g_assert_nonnull(err);
}

static void test_forms(void)
{
    check("virt,", "type", "{\"type\":\"virt\"}");
    check("a=1,b=x,,y,c", NULL, "{\"a\":\"1\",\"b\":\"x,y\",\"c\":\"on\"}");
    check("k.a.b=1,k.a.c=2", NULL, "{\"k\":{\"a\":{\"b\":\"1\",\"c\":\"2\"}}}");
    check("l.0=x,l.1=y", NULL, "{\"l\":[\"x\",\"y\"]}");
    check("a=1,a=2", NULL, "{\"a\":\"2\"}");
    check("{\"a\": {\"b\": true}}", NULL, "{\"a\":{\"b\":true}}");
    check("", "x", "{}");
    check("p=a=b", NULL, "{\"p\":\"a=b\"}");
}

static void test_errors(void)
{
    refuse("=x");
    refuse("a=1,a.b=2");
    refuse("{\"a\":");
    refuse("0=a");
    refuse("a.=1");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/util/keyval/forms", test_forms);
    g_test_add_func("/util/keyval/errors", test_errors);
    return g_test_run();
}
