/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What will become of a migration that goes on as now: how long it takes, how long the guest will
 * stand still, and, if it does not come to an end, what would help and by how much. Pure functions.
 */
#ifndef GODWIT_MIGRATION_FORECAST_H
#define GODWIT_MIGRATION_FORECAST_H

#include "qapi-types-migration.h"
#include "util/osdep.h"

/* Bytes are what things take on the wire. */
typedef struct {
    double pending;   /* still to be sent */
    double total;     /* no pass can be larger */
    double stopped;   /* besides, and only when the guest is stopped */
    double hot;       /* written again and again; a long pass leaves at least so much */
    double bandwidth; /* per second */
    double dirty;     /* written per second, dirty already or not; */
    double cold;      /* of that, outside of what is hot */
    uint64_t max_bandwidth, downtime_limit_ms;
    bool xbzrle, auto_converge, dirty_limit, postcopy, multifd; /* what is on */
    unsigned vcpus;
    /* Of the time the migration thread computes; else it waits for the line, or for its turn. */
    unsigned busy_percent;
    unsigned host_cpus;
} ForecastInput;

/* The caller frees it; NULL: nothing can be said yet. */
MigrationForecast *migration_forecast(const ForecastInput *in);

#endif
