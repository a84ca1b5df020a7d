/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include "util/error.h"

/* Not G_DEFINE_QUARK: its cache is written by several threads at once. */
GQuark godwit_error_quark(void)
{
    return g_quark_from_static_string("godwit-error-quark");
}

static bool timestamps;

static const char *const class_names[] = {
    [ERROR_CLASS_GENERIC_ERROR] = "GenericError",
    [ERROR_CLASS_COMMAND_NOT_FOUND] = "CommandNotFound",
    [ERROR_CLASS_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
    [ERROR_CLASS_DEVICE_NOT_FOUND] = "DeviceNotFound",
    [ERROR_CLASS_KVM_MISSING_CAP] = "KVMMissingCap",
};

static void error_setv(GError **errp, ErrorClass cls, int os_errno, const char *fmt, va_list ap)
{
    g_autofree char *text = NULL;

    if (!errp) {
        return;
    }
    text = g_strdup_vprintf(fmt, ap);
    if (os_errno) {
        g_set_error(errp, GODWIT_ERROR, cls, "%s: %s", text, g_strerror(os_errno));
    } else {
        g_set_error_literal(errp, GODWIT_ERROR, cls, text);
    }
}

void error_setg(GError **errp, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, ERROR_CLASS_GENERIC_ERROR, 0, fmt, ap);
    va_end(ap);
}

void error_set(GError **errp, ErrorClass cls, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, cls, 0, fmt, ap);
    va_end(ap);
}

void error_setg_errno(GError **errp, int os_errno, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, ERROR_CLASS_GENERIC_ERROR, os_errno, fmt, ap);
    va_end(ap);
}

ErrorClass error_get_class(const GError *err)
{
    if (err->domain == GODWIT_ERROR && err->code >= 0 && err->code <= ERROR_CLASS_KVM_MISSING_CAP) {
        return err->code;
    }
    return ERROR_CLASS_GENERIC_ERROR;
}

const char *error_class_name(ErrorClass cls)
{
    return class_names[cls];
}

static void report(const char *prefix, const char *fmt, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    g_autofree char *stamp = NULL;
    const char *prog = g_get_prgname();

    if (timestamps) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *whole = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");

        stamp = g_strdup_printf("%s.%06dZ ", whole, g_date_time_get_microsecond(now));
    }
    fprintf(stderr, "%s%s: %s%s\n", stamp ? stamp : "", prog ? prog : "godwit", prefix, text);
}

void error_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    report("", fmt, ap);
    va_end(ap);
}

void warn_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    report("warning: ", fmt, ap);
    va_end(ap);
}

void error_set_timestamps(bool on)
{
    timestamps = on;
}
