/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What ram/ asks of the rest of the subsystem. */
#include "migration/incoming.h"
#include "migration/outgoing.h"

static RAMList *env_list(void *opaque)
{
    Migration *m = opaque;

    return m->host->ops->ram(m->host);
}

static void env_options(void *opaque, RamOptions *out)
{
    Migration *m = opaque;

    out->ignore_shared = options_cap(&m->options, MIGRATION_CAPABILITY_X_IGNORE_SHARED);
    out->xbzrle = options_cap(&m->options, MIGRATION_CAPABILITY_XBZRLE);
    out->decompress_threads = options_cap(&m->options, MIGRATION_CAPABILITY_COMPRESS)
                                  ? options_param(&m->options, PARAM_DECOMPRESS_THREADS)
                                  : 0;
    out->no_zero_detect =
        options_param(&m->options, PARAM_ZERO_PAGE_DETECTION) == ZERO_PAGE_DETECTION_NONE;
}

static MigrationCounters *env_counters(void *opaque)
{
    return migration_counters(opaque);
}

static RamPhase env_phase(void *opaque)
{
    Migration *m = opaque;

    return m->host->ops->runstate(m->host) == RUN_STATE_RUNNING ? RAM_PHASE_PRECOPY
                                                                : RAM_PHASE_DOWNTIME;
}

static void env_live_options(void *opaque, RamLiveOptions *out)
{
    Migration *m = opaque;
    const MigrationOptions *o = &m->options;

    out->xbzrle_cache_size = options_param(o, PARAM_XBZRLE_CACHE_SIZE);
    out->throttle = (RamThrottleOptions){
        .on = options_cap(o, MIGRATION_CAPABILITY_AUTO_CONVERGE),
        .trigger_threshold = options_param(o, PARAM_THROTTLE_TRIGGER_THRESHOLD),
        .initial = options_param(o, PARAM_CPU_THROTTLE_INITIAL),
        .increment = options_param(o, PARAM_CPU_THROTTLE_INCREMENT),
        .max = options_param(o, PARAM_MAX_CPU_THROTTLE),
        .tailslow = options_param(o, PARAM_CPU_THROTTLE_TAILSLOW),
    };
}

static void env_set_throttle(void *opaque, unsigned percent)
{
    Migration *m = opaque;

    m->host->ops->set_throttle(m->host, (int)percent);
    if (percent) {
        g_autofree char *text = g_strdup_printf("the guest is slowed down by %u %%", percent);

        recorder_note(m->source_record, text);
    }
}

static void env_note_pass(void *opaque, uint64_t dirty_bytes)
{
    migration_note_pass(opaque, dirty_bytes);
}

static RamSink *compress_sink(Migration *m, GError **errp)
{
    const RamCompressConfig config = {
        .threads = options_param(&m->options, PARAM_COMPRESS_THREADS),
        .level = options_param(&m->options, PARAM_COMPRESS_LEVEL),
        .wait = options_param(&m->options, PARAM_COMPRESS_WAIT_THREAD),
        .counters = &m->counters,
    };

    return ram_sink_compress_new(&config, errp);
}

static RamSink *env_sink(void *opaque, GError **errp)
{
    Migration *m = opaque;

    if (m->outgoing->multifd) {
        return multifd_sink_new(m->outgoing->multifd);
    }
    if (options_cap(&m->options, MIGRATION_CAPABILITY_COMPRESS)) {
        return compress_sink(m, errp);
    }
    return ram_sink_stream_new();
}

static RamPlacer *env_placer(void *opaque, RAMList *list, GError **errp)
{
    Migration *m = opaque;
    RamPlacer *placer = ram_placer_direct_new(list);

    if (m->incoming) {
        incoming_bind_placer(m->incoming, list, placer);
    }
    return placer;
}

static bool env_marker(void *opaque, bool flush, GError **errp)
{
    Migration *m = opaque;

    return !m->incoming || incoming_marker(m->incoming, flush, errp);
}

static uint32_t env_peer_features(void *opaque)
{
    Migration *m = opaque;

    return outgoing_peer_features(m->outgoing);
}

RamState *migration_ram_new(Migration *m)
{
    const RamEnv env = {
        .list = env_list,
        .options = env_options,
        .counters = env_counters,
        .phase = env_phase,
        .live_options = env_live_options,
        .set_throttle = env_set_throttle,
        .note_pass = env_note_pass,
        .sink = env_sink,
        .placer = env_placer,
        .marker = env_marker,
        .peer_features = env_peer_features,
        .opaque = m,
    };
    RamState *rs = ram_state_new(&env);

    ram_register(m->savevm, rs);
    return rs;
}
