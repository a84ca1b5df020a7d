/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors are GErrors of one domain.  The code is the QMP error class (spec 70
 * section 3), so an error raised anywhere reaches a QMP client unchanged.
 *
 * Convention: a function that can fail takes a trailing GError **errp (may be
 * NULL) and returns false/NULL/-1 exactly when it set *errp.  A message says
 * what failed, where, and what to do; no trailing full stop, no newline.
 */
#ifndef GODWIT_UTIL_ERROR_H
#define GODWIT_UTIL_ERROR_H

#include "util/osdep.h"

#define GODWIT_ERROR godwit_error_quark()
GQuark godwit_error_quark(void);

typedef enum {
    ERROR_CLASS_GENERIC_ERROR,
    ERROR_CLASS_COMMAND_NOT_FOUND,
    ERROR_CLASS_DEVICE_NOT_ACTIVE,
    ERROR_CLASS_DEVICE_NOT_FOUND,
    ERROR_CLASS_KVM_MISSING_CAP,
} ErrorClass;

/* Set a GenericError. */
void error_setg(GError **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Set an error of class @cls. */
void error_set(GError **errp, ErrorClass cls, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* Set a GenericError and append ": " and the text of @os_errno (positive). */
void error_setg_errno(GError **errp, int os_errno, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* The QMP class of @err; errors of foreign domains are GenericError. */
ErrorClass error_get_class(const GError *err);
/* The class's QMP spelling, e.g. "GenericError". */
const char *error_class_name(ErrorClass cls);

/* Diagnostics on stderr, prefixed with the program name (spec 71 section 1). */
void error_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void warn_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
/* Prefix lines with an ISO-8601 time stamp (-msg timestamp=on); call once at start. */
void error_set_timestamps(bool on);

#endif
