/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include "util/log.h"
#include "util/error.h"

static LogCategory *categories;
static FILE *log_stream;
static GMutex log_lock;

void log_category_register(LogCategory *cat)
{
    cat->next = categories;
    categories = cat;
}

void log_write(const char *category, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    int64_t now = g_get_real_time();
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_mutex_lock(&log_lock);
    fprintf(log_stream ? log_stream : stderr, "%d@%" PRId64 ".%06d:%s %s\n", (int)getpid(),
            now / G_USEC_PER_SEC, (int)(now % G_USEC_PER_SEC), category, text);
    fflush(log_stream ? log_stream : stderr);
    g_mutex_unlock(&log_lock);
}

unsigned log_enable(const char *pattern)
{
    unsigned n = 0;

    for (LogCategory *cat = categories; cat; cat = cat->next) {
        if (g_pattern_match_simple(pattern, cat->name)) {
            cat->enabled = true;
            n++;
        }
    }
    return n;
}

bool log_set_file(const char *path, GError **errp)
{
    FILE *f = fopen(path, "we");

    if (!f) {
        error_setg_errno(errp, errno, "Cannot open log file '%s'", path);
        return false;
    }
    g_mutex_lock(&log_lock);
    if (log_stream) {
        fclose(log_stream);
    }
    log_stream = f;
    g_mutex_unlock(&log_lock);
    return true;
}

void log_foreach(void (*cb)(const LogCategory *cat, void *opaque), void *opaque)
{
    for (LogCategory *cat = categories; cat; cat = cat->next) {
        cb(cat, opaque);
    }
}
