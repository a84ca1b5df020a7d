/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One end of a RAM migration without a machine around it: blocks, options, counters, and the
 * handlers' state. */
#ifndef GODWIT_TESTS_RAM_SIDE_H
#define GODWIT_TESTS_RAM_SIDE_H

#include "io/channel-buffer.h"
#include "migration/ram/state.h"

typedef struct {
    RAMList *list;
    RamOptions options;
    MigrationCounters counters;
    RamPhase phase;
    RamLiveOptions live;
    unsigned throttle;
    uint64_t passes, pass_bytes;
    uint32_t peer_features;
    unsigned asked;            /* for hints */
    bool answers;              /* there is a guest that gives them */
    unsigned compress_threads; /* 0: the plain sink */
    RamState *rs;
} RamSide;

static inline RAMList *side_list(void *opaque)
{
    return ((RamSide *)opaque)->list;
}

static inline void side_options(void *opaque, RamOptions *out)
{
    *out = ((RamSide *)opaque)->options;
}

static inline MigrationCounters *side_counters(void *opaque)
{
    return &((RamSide *)opaque)->counters;
}

static inline RamPhase side_phase(void *opaque)
{
    return ((RamSide *)opaque)->phase;
}

static inline void side_live_options(void *opaque, RamLiveOptions *out)
{
    *out = ((RamSide *)opaque)->live;
}

static inline void side_set_throttle(void *opaque, unsigned percent)
{
    ((RamSide *)opaque)->throttle = percent;
}

static inline bool side_free_pages(void *opaque, bool begin)
{
    RamSide *s = opaque;

    s->asked += begin;
    return s->answers;
}

static inline bool side_limit_vcpus(void *opaque, uint64_t mib)
{
    return false;
}

static inline void side_note_pass(void *opaque, uint64_t dirty_bytes)
{
    ((RamSide *)opaque)->passes++;
    ((RamSide *)opaque)->pass_bytes = dirty_bytes;
}

static inline bool side_background(void *opaque)
{
    return false;
}

static inline RamSink *side_sink(void *opaque, GError **errp)
{
    RamSide *s = opaque;
    RamCompressConfig config = {s->compress_threads, 1, true, &s->counters};

    if (s->compress_threads) {
        return ram_sink_compress_new(&config, errp);
    }
    return ram_sink_stream_new();
}

static inline RamPlacer *side_placer(void *opaque, RAMList *list, GError **errp)
{
    return ram_placer_direct_new(list);
}

static inline bool side_marker(void *opaque, bool flush, GError **errp)
{
    if (flush) {
        error_setg(errp, "no channels here");
    }
    return !flush;
}

static inline uint32_t side_peer_features(void *opaque)
{
    return ((RamSide *)opaque)->peer_features;
}

/* With another way for pages to land. */
static inline void side_init_with(RamSide *s,
                                  RamPlacer *(*placer)(void *opaque, RAMList *list, GError **errp))
{
    RamEnv env = {
        .list = side_list,
        .options = side_options,
        .counters = side_counters,
        .background = side_background,
        .phase = side_phase,
        .live_options = side_live_options,
        .set_throttle = side_set_throttle,
        .limit_vcpus = side_limit_vcpus,
        .free_pages = side_free_pages,
        .note_pass = side_note_pass,
        .sink = side_sink,
        .placer = placer,
        .marker = side_marker,
        .peer_features = side_peer_features,
        .opaque = s,
    };

    memset(s, 0, sizeof(*s));
    s->list = ram_list_new();
    s->rs = ram_state_new(&env);
}

static inline void side_init(RamSide *s)
{
    side_init_with(s, side_placer);
}

static inline RAMBlock *side_add(RamSide *s, const char *name, uint64_t size, uint32_t flags)
{
    g_autoptr(GError) err = NULL;
    RAMBlock *b = ram_block_new_anon(s->list, name, size, flags, &err);

    g_assert_no_error(err);
    return b;
}

static inline void side_clear(RamSide *s)
{
    ram_save_cleanup(s->rs);
    ram_load_cleanup(s->rs);
    ram_state_free(s->rs);
    while (ram_list_first(s->list)) {
        ram_block_free(ram_list_first(s->list));
    }
    ram_list_free(s->list);
}

/* The four blocks of the virt board with @ram_size bytes of memory. */
static inline void side_add_virt(RamSide *s, uint64_t ram_size)
{
    side_add(s, "riscv_virt_board.ram", ram_size, RAM_MIGRATABLE)->gpa = 0x80000000;
    side_add(s, "virt.flash0", 32 * MiB, RAM_MIGRATABLE)->gpa = 0x20000000;
    side_add(s, "virt.flash1", 32 * MiB, RAM_MIGRATABLE)->gpa = 0x22000000;
    side_add(s, "riscv_virt_board.mrom", 0xF000, RAM_MIGRATABLE | RAM_READONLY)->gpa = 0x1000;
}

#endif
