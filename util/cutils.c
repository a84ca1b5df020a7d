/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <math.h>
#include "util/cutils.h"
#include "util/error.h"

static int suffix_shift(char c)
{
    static const char suffixes[] = "BKMGTPE";
    const char *at = c ? strchr(suffixes, toupper((unsigned char)c)) : NULL;

    return at ? (int)(at - suffixes) * 10 : -1;
}

bool parse_size(const char *text, uint64_t unit, uint64_t *out, GError **errp)
{
    char *end;
    uint64_t whole;
    double fraction = 0;
    int shift;

    if (!isdigit((unsigned char)text[0])) {
        error_setg(errp, "'%s' is not a size", text);
        return false;
    }
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        return parse_uint64(text, out, errp);
    }
    errno = 0;
    whole = strtoull(text, &end, 10);
    if (errno) {
        error_setg(errp, "size '%s' is too large", text);
        return false;
    }
    if (*end == '.') {
        double scale = 0.1;

        for (end++; isdigit((unsigned char)*end); end++, scale /= 10) {
            fraction += (*end - '0') * scale;
        }
    }
    shift = suffix_shift(*end);
    if (shift >= 0) {
        unit = UINT64_C(1) << shift;
        end++;
    }
    if (*end || (fraction > 0 && unit == 1)) {
        error_setg(errp,
                   "'%s' is not a size; use a number with an optional suffix B, K, M, G, T, P or E",
                   text);
        return false;
    }
    if (__builtin_mul_overflow(whole, unit, &whole) ||
        __builtin_add_overflow(whole, (uint64_t)llround(fraction * unit), &whole)) {
        error_setg(errp, "size '%s' is too large", text);
        return false;
    }
    *out = whole;
    return true;
}

bool parse_uint64(const char *text, uint64_t *out, GError **errp)
{
    char *end;
    uint64_t v;

    errno = 0;
    v = strtoull(text, &end, 0);
    if (!isdigit((unsigned char)text[0]) || *end || errno) {
        error_setg(errp, "'%s' is not an unsigned 64-bit number", text);
        return false;
    }
    *out = v;
    return true;
}

bool parse_bool(const char *text, bool *out, GError **errp)
{
    static const char *const yes[] = {"on", "yes", "true", "y", NULL};
    static const char *const no[] = {"off", "no", "false", "n", NULL};

    if (g_strv_contains(yes, text)) {
        *out = true;
    } else if (g_strv_contains(no, text)) {
        *out = false;
    } else {
        error_setg(errp, "'%s' is neither 'on' nor 'off'", text);
        return false;
    }
    return true;
}

bool parse_uuid(const char *text, uint8_t out[16], GError **errp)
{
    static const char shape[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";
    unsigned nibble = 0;
    uint8_t bytes[16] = {0};

    for (size_t i = 0; i < sizeof(shape) - 1; i++) {
        if (shape[i] == 'h' ? !isxdigit((unsigned char)text[i]) : text[i] != '-') {
            error_setg(errp, "'%s' is not a UUID of the form 8-4-4-4-12", text);
            return false;
        }
        if (shape[i] == 'h') {
            bytes[nibble / 2] = bytes[nibble / 2] << 4 | g_ascii_xdigit_value(text[i]);
            nibble++;
        }
    }
    if (text[sizeof(shape) - 1]) {
        error_setg(errp, "'%s' is not a UUID of the form 8-4-4-4-12", text);
        return false;
    }
    memcpy(out, bytes, sizeof(bytes));
    return true;
}

char *size_to_string(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned i = 0;
    double v = bytes;

    while (v >= 1024 && i + 1 < ARRAY_SIZE(units)) {
        v /= 1024;
        i++;
    }
    return g_strdup_printf("%.3g %s", v, units[i]);
}
