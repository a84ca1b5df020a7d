/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What ram/ asks of the rest of the subsystem. */
#include "io/channel-file.h"
#include "migration/dirty-rate.h"
#include "migration/incoming.h"
#include "migration/lazy-restore.h"
#include "migration/outgoing.h"
#include "migration/ram/mapped.h"
#include "migration/rdma/rdma.h"
#include "util/lock.h"

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
    out->postcopy = options_cap(&m->options, MIGRATION_CAPABILITY_POSTCOPY_RAM) &&
                    !(m->outgoing && m->outgoing->snapshot);
    out->release = options_cap(&m->options, MIGRATION_CAPABILITY_RELEASE_RAM);
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
    out->dirty_limit = options_cap(o, MIGRATION_CAPABILITY_DIRTY_LIMIT)
                           ? options_param(o, PARAM_VCPU_DIRTY_LIMIT)
                           : 0;
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

static bool env_free_pages(void *opaque, bool begin)
{
    if (begin) {
        return free_pages_begin(opaque);
    }
    free_pages_end(opaque);
    return true;
}

static bool env_limit_vcpus(void *opaque, uint64_t mib)
{
    Migration *m = opaque;
    bool locked = bql_locked();
    g_autoptr(GError) err = NULL;

    if (!locked) {
        bql_lock();
    }
    if (!mib) {
        dirty_limits_end_migration(m->dirty_limits);
    } else if (dirty_limits_begin_migration(
                   m->dirty_limits, mib,
                   options_param(&m->options, PARAM_X_VCPU_DIRTY_LIMIT_PERIOD), &err)) {
        g_autofree char *text = g_strdup_printf("each vCPU may make %" PRIu64 " MiB/s dirty", mib);

        recorder_note(m->source_record, text);
    } else {
        recorder_error(m->source_record, err->message);
    }
    if (!locked) {
        bql_unlock();
    }
    return !err;
}

static bool env_background(void *opaque)
{
    Migration *m = opaque;

    return m->outgoing->background;
}

static void env_note_pass(void *opaque, uint64_t dirty_bytes)
{
    Migration *m = opaque;

    dirty_limits_note_pass(m->dirty_limits);
    migration_note_pass(m, dirty_bytes);
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

/* ---- mapped-ram ---- */

/* Threads that read or write pages, if multifd-channels does not say: enough to keep a disk's queue
 * filled. */
#define MAPPED_THREADS 4

/* With multifd its channels are threads here: nothing of them shows in the file. */
static unsigned mapped_threads(const MigrationOptions *o)
{
    return options_cap(o, MIGRATION_CAPABILITY_MULTIFD) ? options_param(o, PARAM_MULTIFD_CHANNELS)
                                                        : MAPPED_THREADS;
}

static QIOChannel *open_direct_to_write(void *opaque, QIOChannel *main, GError **errp)
{
    Migration *m = opaque;

    return transport_open_direct(m->outgoing->transport, m->host, main, false, errp);
}

static QIOChannel *open_direct_to_read(void *opaque, QIOChannel *main, GError **errp)
{
    Migration *m = opaque;
    const MigrationTransport *t = m->incoming ? incoming_transport(m->incoming) : NULL;

    BQL_LOCK_GUARD();
    return transport_open_direct(t, m->host, main, true, errp);
}

/* @pages is closed with the stream unless it is a descriptor of its own. */
static RamLazy *begin_lazily(void *opaque, QIOChannel *pages, unsigned blocks, GError **errp)
{
    g_autoptr(QIOChannelFile) own = NULL;

    if (!IO_IS_CHANNEL_FILE(pages)) {
        error_setg(errp, "x-mapped-load=lazy needs a file");
        return NULL;
    }
    own = io_channel_file_dup(IO_CHANNEL_FILE(pages), errp);
    return own ? lazy_restore_begin(opaque, IO_CHANNEL(own), blocks, errp) : NULL;
}

static MappedConfig mapped_config(Migration *m, bool incoming)
{
    bool direct = options_param(&m->options, PARAM_DIRECT_IO);
    bool lazy = incoming && options_param(&m->options, PARAM_X_MAPPED_LOAD) == MAPPED_LOAD_LAZY;

    return (MappedConfig){
        .threads = mapped_threads(&m->options),
        .open_direct = !direct    ? NULL
                       : incoming ? open_direct_to_read
                                  : open_direct_to_write,
        .lazy = lazy ? begin_lazily : NULL,
        .opaque = m,
    };
}

/* ---- how pages travel ---- */

/* Over RDMA pages do not pass through the stream, so nothing can be done to them there. */
static bool rdma_allowed(Migration *m, GError **errp)
{
    static const MigrationCapability streams[] = {
        MIGRATION_CAPABILITY_XBZRLE,
        MIGRATION_CAPABILITY_COMPRESS,
        MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT,
    };

    for (unsigned i = 0; i < ARRAY_SIZE(streams); i++) {
        if (options_cap(&m->options, streams[i])) {
            error_setg(errp, "Capability '%s' is for streams: turn it off to migrate over RDMA",
                       MigrationCapability_str(streams[i]));
            return false;
        }
    }
    return true;
}

static RamSink *rdma_sink(Migration *m, QIOChannel *ioc, GError **errp)
{
    if (!rdma_allowed(m, errp)) {
        return NULL;
    }
    return ram_sink_rdma_new(ioc, env_list(m),
                             options_cap(&m->options, MIGRATION_CAPABILITY_X_IGNORE_SHARED),
                             options_param(&m->options, PARAM_X_RDMA_CHUNK_SIZE), &m->counters);
}

static RamPlacer *rdma_placer(Migration *m, QIOChannel *ioc, RAMList *list, GError **errp)
{
    if (!rdma_allowed(m, errp)) {
        return NULL;
    }
    return ram_placer_rdma_new(ioc, list,
                               options_cap(&m->options, MIGRATION_CAPABILITY_X_IGNORE_SHARED),
                               options_param(&m->options, PARAM_X_RDMA_CHUNK_SIZE));
}

static RamSink *env_sink(void *opaque, GError **errp)
{
    Migration *m = opaque;
    QIOChannel *ioc = qemu_file_channel(m->outgoing->file);

    if (io_channel_is_rdma(ioc)) {
        return rdma_sink(m, ioc, errp);
    }
    if (m->outgoing->multifd) {
        return multifd_sink_new(m->outgoing->multifd);
    }
    if (options_cap(&m->options, MIGRATION_CAPABILITY_COMPRESS) && !m->outgoing->snapshot) {
        return compress_sink(m, errp);
    }
    if (options_cap(&m->options, MIGRATION_CAPABILITY_MAPPED_RAM)) {
        MappedConfig config = mapped_config(m, false);

        return ram_sink_mapped_new(&config, &m->counters);
    }
    return ram_sink_stream_new();
}

static bool comes_mapped(const Migration *m)
{
    return m->loading_file ? m->file_is_mapped
                           : options_cap(&m->options, MIGRATION_CAPABILITY_MAPPED_RAM);
}

static RamPlacer *env_placer(void *opaque, RAMList *list, GError **errp)
{
    Migration *m = opaque;
    RamPlacer *placer;
    QIOChannel *ioc = m->incoming ? incoming_channel(m->incoming) : NULL;

    if (ioc && io_channel_is_rdma(ioc)) {
        return rdma_placer(m, ioc, list, errp);
    }
    if (comes_mapped(m)) {
        MappedConfig config = mapped_config(m, true);

        return ram_placer_mapped_new(&config, list);
    }
    placer = ram_placer_direct_new(list);
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

static bool env_lost_channel(void *opaque, uint64_t number, GError **errp)
{
    Migration *m = opaque;

    if (!m->incoming) {
        error_setg(errp, "A lost channel (%" PRIu64 ") in a snapshot", number);
        return false;
    }
    return incoming_lost_channel(m->incoming, number, errp);
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
        .background = env_background,
        .phase = env_phase,
        .live_options = env_live_options,
        .set_throttle = env_set_throttle,
        .limit_vcpus = env_limit_vcpus,
        .free_pages = env_free_pages,
        .note_pass = env_note_pass,
        .sink = env_sink,
        .placer = env_placer,
        .marker = env_marker,
        .lost_channel = env_lost_channel,
        .peer_features = env_peer_features,
        .opaque = m,
    };
    RamState *rs = ram_state_new(&env);

    ram_register(m->savevm, rs);
    return rs;
}
