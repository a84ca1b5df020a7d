/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging and trace points.  trace("migration", "round %u ...") costs one load and branch
 * when its category is off.  Never call on a per-page path.
 */
#ifndef GODWIT_UTIL_LOG_H
#define GODWIT_UTIL_LOG_H

#include "util/osdep.h"

/* A category; define one per file with LOG_CATEGORY(name). Registered before main(). */
typedef struct LogCategory {
    const char *name;
    bool enabled;
    struct LogCategory *next;
} LogCategory;

void log_category_register(LogCategory *cat);

#define LOG_CATEGORY(ident)                                                  \
    static LogCategory log_category_##ident = {#ident, false, NULL};         \
    __attribute__((constructor)) static void log_category_init_##ident(void) \
    {                                                                        \
        log_category_register(&log_category_##ident);                        \
    }

#define trace(ident, ...)                             \
    do {                                              \
        if (unlikely(log_category_##ident.enabled)) { \
            log_write(#ident, __VA_ARGS__);           \
        }                                             \
    } while (0)

void log_write(const char *category, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Enable categories matching a shell pattern (-trace PATTERN, -d ITEM); returns how many. */
unsigned log_enable(const char *pattern);
/* Send the log to a file (-D); default stderr. */
bool log_set_file(const char *path, GError **errp);
/* Call @cb for every category. */
void log_foreach(void (*cb)(const LogCategory *cat, void *opaque), void *opaque);

#endif
