/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Capabilities, parameters and stream switches: what they are called, what they may be, what they
 * are now.
 *
 * One table each (options.c); a check is a row. Values are changed on the main thread (big lock)
 * and may be read by any thread, except strings: big lock.
 */
#ifndef GODWIT_MIGRATION_OPTIONS_H
#define GODWIT_MIGRATION_OPTIONS_H

#include "migration/migration.h"
#include "migration/multifd/codec.h"

/* x-postcopy-channels at most; the main one is one of them. */
#define POSTCOPY_CHANNELS_MAX 16

/* Parameters of spec 70 section 10 that this build honours. */
typedef enum {
    PARAM_X_RDMA_CHUNK_SIZE,
    PARAM_ANNOUNCE_INITIAL,
    PARAM_ANNOUNCE_MAX,
    PARAM_ANNOUNCE_ROUNDS,
    PARAM_ANNOUNCE_STEP,
    PARAM_MAX_BANDWIDTH,
    PARAM_MAX_POSTCOPY_BANDWIDTH,
    PARAM_X_POSTCOPY_CHANNELS,
    PARAM_AVAIL_SWITCHOVER_BANDWIDTH,
    PARAM_DOWNTIME_LIMIT,
    PARAM_ZERO_PAGE_DETECTION,
    PARAM_XBZRLE_CACHE_SIZE,
    PARAM_MULTIFD_CHANNELS,
    PARAM_MULTIFD_COMPRESSION,
    PARAM_X_MULTIFD_PATIENCE,
    PARAM_MULTIFD_ZLIB_LEVEL,
    PARAM_MULTIFD_ZSTD_LEVEL,
    PARAM_COMPRESS_LEVEL,
    PARAM_COMPRESS_THREADS,
    PARAM_COMPRESS_WAIT_THREAD,
    PARAM_DECOMPRESS_THREADS,
    PARAM_THROTTLE_TRIGGER_THRESHOLD,
    PARAM_CPU_THROTTLE_INITIAL,
    PARAM_CPU_THROTTLE_INCREMENT,
    PARAM_CPU_THROTTLE_TAILSLOW,
    PARAM_MAX_CPU_THROTTLE,
    PARAM_X_VCPU_DIRTY_LIMIT_PERIOD,
    PARAM_VCPU_DIRTY_LIMIT,
    PARAM_DIRECT_IO,
    PARAM_X_MAPPED_LOAD,
    PARAM__MAX,
} MigParam;

/* Parameters that are text; "" is none. */
typedef enum {
    TEXT_TLS_CREDS,    /* id of an object: TLS on every channel */
    TEXT_TLS_HOSTNAME, /* source: the name of the destination's certificate, if not the address's */
    TEXT_TLS_AUTHZ,    /* destination: id of the object that knows who may come in */
    TEXT_X_SNAPSHOT_DIRECTORY, /* where snapshots are, if not beside the first image */
    TEXT_X_MULTIFD_ADDRESSES,  /* source: where multifd channels go, in turn; URIs and commas */
    TEXT__MAX,
} MigText;

/* Compatibility switches of spec 10 section 5 and spec 71 section 3.1; fixed at start-up. */
typedef enum {
    SWITCH_STORE_GLOBAL_STATE,
    SWITCH_SEND_CONFIGURATION,
    SWITCH_SEND_SECTION_FOOTER,
    SWITCH_MULTIFD_FLUSH_AFTER_EACH_SECTION,
    SWITCH_SWITCHOVER_ACK_LEGACY,
    SWITCH__MAX,
} MigSwitch;

typedef struct MigrationOptions {
    bool caps[MIGRATION_CAPABILITY__MAX];
    uint64_t params[PARAM__MAX]; /* integers and enum values */
    char *texts[TEXT__MAX];      /* NULL: "" */
    bool switches[SWITCH__MAX];
} MigrationOptions;

void migration_options_init(MigrationOptions *o);
/* Free the texts. */
void migration_options_clear(MigrationOptions *o);

static inline bool options_cap(const MigrationOptions *o, MigrationCapability cap)
{
    return __atomic_load_n(&o->caps[cap], __ATOMIC_RELAXED);
}

static inline uint64_t options_param(const MigrationOptions *o, MigParam p)
{
    return __atomic_load_n(&o->params[p], __ATOMIC_RELAXED);
}

/* Never NULL; valid until it is changed. Big lock. */
static inline const char *options_text(const MigrationOptions *o, MigText t)
{
    return o->texts[t] ? o->texts[t] : "";
}

static inline bool options_switch(const MigrationOptions *o, MigSwitch s)
{
    return o->switches[s];
}

/* The live options of a VM. */
const MigrationOptions *migration_options(const Migration *m);

/* Connections beside the main one that carry memory. A mapped file needs none: its threads write
 * to it by themselves, as many channels as there may be. */
unsigned options_multifd_channels(const MigrationOptions *o);
/* How the payload of multifd packets is coded. */
MultifdCodecOptions options_multifd_codec(const MigrationOptions *o);
/* May these values be combined? A cap or parameter that needs or excludes another is a row in
 * options.c, or a line in this function where a parameter's value decides. */
bool options_check(const MigrationOptions *o, GError **errp);
/* @list: of MigrationCapabilityStatus. The merged set is checked, then taken; all or nothing.
 * @listening: the incoming side has its listener already. */
bool options_set_caps(MigrationOptions *o, const GPtrArray *list, bool listening, GError **errp);
/* The merged set is checked, then taken; all or nothing. */
bool options_set_params(MigrationOptions *o, const MigrationParameters *changes, GError **errp);
/* Every parameter with its value; the caller frees it. */
MigrationParameters *options_get_params(const MigrationOptions *o);
/* -global migration.NAME=VALUE: a capability, parameter or switch. */
bool options_set_global(MigrationOptions *o, const char *name, const char *value, GError **errp);

#endif
