/* SPDX-License-Identifier: GPL-2.0-or-later */
/* C-like integer expressions: + - * / % & | ^ ~ (), numbers, 'c' and $register. */
#include "util/osdep.h"
#include "target/riscv-cpu.h"
#include "monitor/hmp.h"

#define MAX_NESTING 64

typedef struct {
    HmpContext *c;
    const char *p;
    unsigned nesting;
} Parser;

static bool parse_sum(Parser *ps, int64_t *value, GError **errp);

static void skip_blanks(Parser *ps)
{
    while (g_ascii_isspace(*ps->p)) {
        ps->p++;
    }
}

typedef struct {
    const char *name;
    int64_t value;
    bool found;
} RegisterRead;

static void read_register(RISCVCPU *cpu, void *opaque)
{
    static const char *const names[] = {"zero", "ra", "sp",  "gp",  "tp", "t0", "t1", "t2",
                                        "s0",   "s1", "a0",  "a1",  "a2", "a3", "a4", "a5",
                                        "a6",   "a7", "s2",  "s3",  "s4", "s5", "s6", "s7",
                                        "s8",   "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
    RegisterRead *r = opaque;

    if (strcmp(r->name, "pc") == 0) {
        r->value = (int64_t)cpu->env.pc;
        r->found = true;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(r->name, names[i]) == 0) {
            r->value = (int64_t)cpu->env.gpr[i];
            r->found = true;
        }
    }
}

static bool parse_register(Parser *ps, int64_t *value, GError **errp)
{
    const char *start = ++ps->p;

    while (g_ascii_isalnum(*ps->p)) {
        ps->p++;
    }
    g_autofree char *name = g_strndup(start, ps->p - start);
    RegisterRead r = {.name = name};

    if (!hmp_on_cpu(ps->c, ps->c->cpu, read_register, &r) || !r.found) {
        error_setg(errp, "unknown register");
        return false;
    }
    *value = r.value;
    return true;
}

static bool parse_number(Parser *ps, int64_t *value, GError **errp)
{
    char *end;

    if (*ps->p == '\0') {
        error_setg(errp, "unexpected end of expression");
        return false;
    }
    if (!g_ascii_isdigit(*ps->p)) {
        error_setg(errp, "invalid char '%c' in expression", *ps->p);
        return false;
    }
    errno = 0;
    *value = (int64_t)g_ascii_strtoull(ps->p, &end, 0);
    if (errno) {
        error_setg(errp, "number too large");
        return false;
    }
    if (g_ascii_isalnum(*end)) {
        error_setg(errp, "invalid char '%c' in expression", *end);
        return false;
    }
    ps->p = end;
    return true;
}

static bool parse_unary(Parser *ps, int64_t *value, GError **errp)
{
    bool ok;

    if (++ps->nesting > MAX_NESTING) {
        error_setg(errp, "expression is nested too deeply");
        return false;
    }
    skip_blanks(ps);
    char op = *ps->p;

    if (op == '+' || op == '-' || op == '~') {
        ps->p++;
        ok = parse_unary(ps, value, errp);
        *value = op == '-' ? (int64_t)(0 - (uint64_t)*value) : op == '~' ? ~*value : *value;
    } else if (op == '(') {
        ps->p++;
        ok = parse_sum(ps, value, errp);
        if (ok) {
            skip_blanks(ps);
            ok = *ps->p == ')';
            if (ok) {
                ps->p++; /* not beyond the end of the line */
            } else {
                error_setg(errp, "')' expected");
            }
        }
    } else if (op == '\'' && ps->p[1] && ps->p[2] == '\'') {
        *value = (uint8_t)ps->p[1];
        ps->p += 3;
        ok = true;
    } else if (op == '$') {
        ok = parse_register(ps, value, errp);
    } else {
        ok = parse_number(ps, value, errp);
    }
    ps->nesting--;
    return ok;
}

static bool parse_product(Parser *ps, int64_t *value, GError **errp)
{
    if (!parse_unary(ps, value, errp)) {
        return false;
    }
    for (;;) {
        int64_t right = 0;

        skip_blanks(ps);
        char op = *ps->p;

        if (op != '*' && op != '/' && op != '%') {
            return true;
        }
        ps->p++;
        if (!parse_unary(ps, &right, errp)) {
            return false;
        }
        if (op == '*') {
            *value = (int64_t)((uint64_t)*value * (uint64_t)right);
        } else if (right == 0) {
            error_setg(errp, "division by zero");
            return false;
        } else if (right == -1) { /* INT64_MIN / -1 traps */
            *value = op == '/' ? (int64_t)(0 - (uint64_t)*value) : 0;
        } else {
            *value = op == '/' ? *value / right : *value % right;
        }
    }
}

static bool parse_bits(Parser *ps, int64_t *value, GError **errp)
{
    if (!parse_product(ps, value, errp)) {
        return false;
    }
    for (;;) {
        int64_t right = 0;

        skip_blanks(ps);
        char op = *ps->p;

        if (op != '&' && op != '|' && op != '^') {
            return true;
        }
        ps->p++;
        if (!parse_product(ps, &right, errp)) {
            return false;
        }
        *value = op == '&' ? *value & right : op == '|' ? *value | right : *value ^ right;
    }
}

static bool parse_sum(Parser *ps, int64_t *value, GError **errp)
{
    if (!parse_bits(ps, value, errp)) {
        return false;
    }
    for (;;) {
        int64_t right = 0;

        skip_blanks(ps);
        char op = *ps->p;

        if (op != '+' && op != '-') {
            return true;
        }
        ps->p++;
        if (!parse_bits(ps, &right, errp)) {
            return false;
        }
        *value = (int64_t)(op == '+' ? (uint64_t)*value + (uint64_t)right
                                     : (uint64_t)*value - (uint64_t)right);
    }
}

bool hmp_eval(HmpContext *c, const char **p, int64_t *value, GError **errp)
{
    Parser ps = {c, *p, 0};

    *value = 0;
    if (!parse_sum(&ps, value, errp)) {
        return false;
    }
    *p = ps.p;
    return true;
}
