/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line -> a command and its arguments, as the command's row declares them. */
#include "util/osdep.h"
#include "util/cutils.h"
#include "monitor/hmp.h"

static void skip_blanks(const char **p)
{
    while (g_ascii_isspace(**p)) {
        (*p)++;
    }
}

/* A word, or a "quoted" one with backslash escapes. NULL: none, or (with error) a bad one. */
static char *take_word(const char **p, GError **errp)
{
    skip_blanks(p);
    if (!**p) {
        return NULL;
    }
    if (**p != '"') {
        size_t len = strcspn(*p, " \t\n\v\f\r");
        char *word = g_strndup(*p, len);

        *p += len;
        return word;
    }
    g_autoptr(GString) word = g_string_new(NULL);

    for ((*p)++; **p && **p != '"'; (*p)++) {
        if (**p != '\\') {
            g_string_append_c(word, **p);
            continue;
        }
        (*p)++;
        if (**p == 'n' || **p == 'r') {
            g_string_append_c(word, **p == 'n' ? '\n' : '\r');
        } else if (**p == '\\' || **p == '\'' || **p == '"') {
            g_string_append_c(word, **p);
        } else {
            error_setg(errp, "unsupported escape code: '\\%c'", **p ? **p : ' ');
            return NULL;
        }
    }
    if (**p != '"') {
        error_setg(errp, "unterminated string");
        return NULL;
    }
    (*p)++;
    return g_strdup(word->str);
}

static bool parse_flags(HmpContext *c, const char **p, GError **errp)
{
    const char *known = c->command->flags;

    for (;;) {
        skip_blanks(p);
        if (!known || (*p)[0] != '-' || !g_ascii_isalpha((*p)[1]) ||
            ((*p)[2] && !g_ascii_isspace((*p)[2]))) {
            return true;
        }
        if (!strchr(known, (*p)[1])) {
            error_setg(errp, "unsupported option -%c", (*p)[1]);
            return false;
        }
        c->flags |= 1u << ((*p)[1] - 'a');
        *p += 2;
    }
}

/* [/][count][format letter][size letter] */
static bool parse_format(HmpContext *c, const char **p, GError **errp)
{
    HmpMemoryFormat f = *c->format;
    bool sized = false;

    skip_blanks(p);
    if (**p != '/') {
        f.count = 1;
        *c->format = f;
        return true;
    }
    (*p)++;
    f.count = 1;
    if (g_ascii_isdigit(**p)) {
        char *end;

        f.count = (unsigned)MIN(g_ascii_strtoull(*p, &end, 10), 65536);
        *p = end;
    }
    for (; **p && !g_ascii_isspace(**p); (*p)++) {
        static const char sizes[] = "bhwg";
        const char *size = strchr(sizes, **p);

        if (size) {
            f.size = 1u << (size - sizes);
            sized = true;
        } else if (strchr("oxduc", **p)) {
            f.format = **p;
        } else {
            error_setg(errp, "invalid char in format: '%c'", **p);
            return false;
        }
    }
    if (f.format == 'c' && !sized) {
        f.size = 1;
    }
    *c->format = f;
    return true;
}

static bool parse_arg(HmpContext *c, char kind, unsigned i, bool optional, const char **p,
                      GError **errp)
{
    GError *err = NULL;

    if (kind == '/') {
        return parse_format(c, p, errp);
    }
    skip_blanks(p);
    if (kind == 'S') {
        c->arg[i] = g_strchomp(g_strdup(*p));
        *p += strlen(*p);
        return true;
    }
    if (!**p && optional) {
        return true;
    }
    if (kind == 'i') {
        const char *start = *p;

        if (!hmp_eval(c, p, &c->number[i], errp)) {
            return false;
        }
        c->arg[i] = g_strndup(start, *p - start);
        return true;
    }
    c->arg[i] = take_word(p, &err);
    if (err) {
        g_propagate_error(errp, err);
        return false;
    }
    if (kind == 'b') {
        bool on = g_strcmp0(c->arg[i], "on") == 0;

        if (!on && g_strcmp0(c->arg[i], "off") != 0) {
            error_setg(errp, "Expected 'on' or 'off'");
            return false;
        }
        c->number[i] = on;
    } else if (!c->arg[i]) {
        error_setg(errp, "%s: string expected", c->command->name);
        return false;
    }
    return true;
}

static bool parse_args(HmpContext *c, const char **p, GError **errp)
{
    bool optional = false;
    unsigned n = 0;

    if (!parse_flags(c, p, errp)) {
        return false;
    }
    for (const char *kind = c->command->args; kind && *kind; kind++) {
        if (*kind == '?') {
            optional = true;
        } else if (!parse_arg(c, *kind, n++, optional, p, errp)) {
            return false;
        }
    }
    skip_blanks(p);
    if (**p) {
        error_setg(errp, "%s%s%s: extraneous characters at the end of line", c->command->name,
                   c->command->alias ? "|" : "", c->command->alias ? c->command->alias : "");
        return false;
    }
    return true;
}

static const HmpCommand *find(const HmpCommand *table, const char *name)
{
    for (const HmpCommand *cmd = table; cmd->name; cmd++) {
        if (strcmp(cmd->name, name) == 0 || g_strcmp0(cmd->alias, name) == 0) {
            return cmd;
        }
    }
    return NULL;
}

static void print_one(HmpContext *c, const char *prefix, const HmpCommand *cmd)
{
    g_string_append_printf(c->out, "%s%s%s%s %s -- %s\n", prefix, cmd->name, cmd->alias ? "|" : "",
                           cmd->alias ? cmd->alias : "", cmd->params, cmd->help);
}

void hmp_print_help(HmpContext *c, const HmpCommand *table, const char *prefix, const char *name)
{
    const HmpCommand *one = name ? find(table, name) : NULL;

    if (one) {
        print_one(c, prefix, one);
    } else if (name) {
        g_string_append_printf(c->out, "unknown command: '%s%s'\n", prefix, name);
    } else {
        for (const HmpCommand *cmd = table; cmd->name; cmd++) {
            print_one(c, prefix, cmd);
        }
    }
}

/* The command name ends at a blank or at '/', so that "x/4xb" works. */
static char *take_name(const char **p)
{
    skip_blanks(p);
    size_t len = strcspn(*p, " \t\n\v\f\r/");
    char *name = g_strndup(*p, len);

    *p += len;
    return name;
}

static void run_from(HmpContext *c, const HmpCommand *table, const char *prefix, const char *p)
{
    g_autofree char *name = take_name(&p);
    g_autoptr(GError) err = NULL;

    if (!*name) {
        if (*prefix) {
            hmp_print_help(c, table, prefix, NULL);
        }
        return;
    }
    if (!*prefix && strcmp(name, "info") == 0) {
        run_from(c, hmp_info_items, "info ", p);
        return;
    }
    c->command = find(table, name);
    if (!c->command) {
        g_string_append_printf(c->out, "unknown command: '%s%s'\n", prefix, name);
        return;
    }
    if (parse_args(c, &p, &err)) {
        c->command->run(c);
    } else {
        g_string_append_printf(c->out, "%s\nTry \"help %s%s\" for more information\n", err->message,
                               prefix, c->command->name);
    }
    for (unsigned i = 0; i < HMP_MAX_ARGS; i++) {
        g_clear_pointer(&c->arg[i], g_free);
    }
}

void hmp_run_line(HmpContext *c, const char *line)
{
    run_from(c, hmp_commands, "", line);
}
