/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables of capabilities, parameters and switches (spec 70 sections 9 and 10, spec 71
 * section 3.1). */
#include "migration/options.h"
#include "util/cutils.h"

#define CAP(name) (1u << MIGRATION_CAPABILITY_##name)

/* What is known of each capability; its QMP name comes from the schema. A row without a mask or a
 * flag may be combined with everything and changed at any time but during a migration. */
typedef struct {
    const char *global;      /* as a property of the "migration" object */
    uint32_t requires;       /* CAP() of others that must be on with it, */
    uint32_t conflicts;      /* that must be off; said once, in either row */
    bool fixed_by_listening; /* cannot be switched on once -incoming listens */
} CapRow;

static const CapRow caps[MIGRATION_CAPABILITY__MAX] = {
    [MIGRATION_CAPABILITY_RDMA_PIN_ALL] = {"x-rdma-pin-all", .conflicts = CAP(BACKGROUND_SNAPSHOT)},
    [MIGRATION_CAPABILITY_EVENTS] = {"x-events"},
    [MIGRATION_CAPABILITY_RETURN_PATH] = {"x-return-path"},
    [MIGRATION_CAPABILITY_PAUSE_BEFORE_SWITCHOVER] = {"x-pause-before-switchover"},
    [MIGRATION_CAPABILITY_LATE_BLOCK_ACTIVATE] = {"x-late-block-activate"},
    [MIGRATION_CAPABILITY_VALIDATE_UUID] = {"x-validate-uuid"},
    [MIGRATION_CAPABILITY_X_IGNORE_SHARED] = {"x-ignore-shared"},
    [MIGRATION_CAPABILITY_POSTCOPY_RAM] = {"x-postcopy-ram", .conflicts = CAP(X_IGNORE_SHARED) |
                                                                          CAP(MAPPED_RAM) |
                                                                          CAP(BACKGROUND_SNAPSHOT)},
    [MIGRATION_CAPABILITY_POSTCOPY_BLOCKTIME] = {"x-postcopy-blocktime",
                                                 .conflicts = CAP(BACKGROUND_SNAPSHOT)},
    [MIGRATION_CAPABILITY_POSTCOPY_PREEMPT] = {"x-postcopy-preempt", .requires = CAP(POSTCOPY_RAM),
                                               .conflicts = CAP(COMPRESS),
                                               .fixed_by_listening = true},
    [MIGRATION_CAPABILITY_RELEASE_RAM] = {"x-release-ram", .conflicts = CAP(BACKGROUND_SNAPSHOT)},
    [MIGRATION_CAPABILITY_XBZRLE] = {"x-xbzrle"},
    [MIGRATION_CAPABILITY_MULTIFD] = {.global = "x-multifd",
                                      .conflicts = CAP(XBZRLE) | CAP(COMPRESS),
                                      .fixed_by_listening = true},
    [MIGRATION_CAPABILITY_COMPRESS] = {"x-compress"},
    [MIGRATION_CAPABILITY_AUTO_CONVERGE] = {"x-auto-converge"},
    [MIGRATION_CAPABILITY_DIRTY_LIMIT] = {"x-dirty-limit", .conflicts = CAP(AUTO_CONVERGE) |
                                                                        CAP(BACKGROUND_SNAPSHOT)},
    [MIGRATION_CAPABILITY_X_AUTO_POSTCOPY] = {"x-auto-postcopy", .requires = CAP(POSTCOPY_RAM)},
    [MIGRATION_CAPABILITY_SWITCHOVER_ACK] = {"x-switchover-ack", .requires = CAP(RETURN_PATH)},
    [MIGRATION_CAPABILITY_MAPPED_RAM] = {"mapped-ram", .conflicts = CAP(XBZRLE) | CAP(COMPRESS)},
    [MIGRATION_CAPABILITY_BACKGROUND_SNAPSHOT] = {"x-background-snapshot",
                                                  .conflicts =
                                                      CAP(LATE_BLOCK_ACTIVATE) | CAP(RETURN_PATH) |
                                                      CAP(PAUSE_BEFORE_SWITCHOVER) | CAP(MULTIFD) |
                                                      CAP(AUTO_CONVERGE) | CAP(COMPRESS) |
                                                      CAP(XBZRLE) | CAP(VALIDATE_UUID)},
    [MIGRATION_CAPABILITY_ZERO_COPY_SEND] = {.global = "x-zero-copy-send",
                                             .requires = CAP(MULTIFD),
                                             .conflicts =
                                                 CAP(XBZRLE) | CAP(COMPRESS) | CAP(MAPPED_RAM)},
};

typedef struct {
    const char *name;
    const char *global;
    const char *unit;
    uint64_t min, max, initial;
    bool power_of_two;
} ParamRow;

static const ParamRow params[PARAM__MAX] = {
    [PARAM_X_RDMA_CHUNK_SIZE] = {"x-rdma-chunk-size", "x-rdma-chunk-size", "bytes", 1 * MiB,
                                 1 * GiB, 64 * MiB, true},
    [PARAM_ANNOUNCE_INITIAL] = {"announce-initial", "announce-initial", "ms", 0, 100000, 50},
    [PARAM_ANNOUNCE_MAX] = {"announce-max", "announce-max", "ms", 0, 100000, 550},
    [PARAM_ANNOUNCE_ROUNDS] = {"announce-rounds", "announce-rounds", "packets", 0, 1000, 5},
    [PARAM_ANNOUNCE_STEP] = {"announce-step", "announce-step", "ms", 1, 10000, 100},
    [PARAM_MAX_BANDWIDTH] = {"max-bandwidth", "x-max-bandwidth", "bytes/s", 0, UINT64_MAX,
                             128 * MiB},
    [PARAM_MAX_POSTCOPY_BANDWIDTH] = {"max-postcopy-bandwidth", "max-postcopy-bandwidth", "bytes/s",
                                      0, UINT64_MAX, 0},
    [PARAM_X_POSTCOPY_CHANNELS] = {"x-postcopy-channels", "x-postcopy-channels", "", 1,
                                   POSTCOPY_CHANNELS_MAX, 1},
    [PARAM_AVAIL_SWITCHOVER_BANDWIDTH] = {"avail-switchover-bandwidth",
                                          "avail-switchover-bandwidth", "bytes/s", 0, UINT64_MAX,
                                          0},
    [PARAM_DOWNTIME_LIMIT] = {"downtime-limit", "x-downtime-limit", "ms", 0, 2000000, 300},
    [PARAM_ZERO_PAGE_DETECTION] = {"zero-page-detection", "zero-page-detection", "", 0,
                                   ZERO_PAGE_DETECTION__MAX - 1, ZERO_PAGE_DETECTION_LEGACY},
    [PARAM_XBZRLE_CACHE_SIZE] = {"xbzrle-cache-size", "xbzrle-cache-size", "bytes", 4096,
                                 UINT64_C(1) << 63, 64 * MiB, true},
    [PARAM_MULTIFD_CHANNELS] = {"multifd-channels", "multifd-channels", "", 1, 255, 2},
    [PARAM_MULTIFD_COMPRESSION] = {"multifd-compression", "multifd-compression", "", 0,
                                   MULTI_FD_COMPRESSION__MAX - 1, MULTI_FD_COMPRESSION_NONE},
    [PARAM_X_MULTIFD_PATIENCE] = {"x-multifd-patience", "x-multifd-patience", "ms", 100, 3600000,
                                  30000},
    [PARAM_MULTIFD_ZLIB_LEVEL] = {"multifd-zlib-level", "multifd-zlib-level", "", 0, 9, 1},
    [PARAM_MULTIFD_ZSTD_LEVEL] = {"multifd-zstd-level", "multifd-zstd-level", "", 0, 20, 1},
    [PARAM_COMPRESS_LEVEL] = {"compress-level", "x-compress-level", "", 0, 9, 1},
    [PARAM_COMPRESS_THREADS] = {"compress-threads", "x-compress-threads", "", 1, 255, 8},
    [PARAM_COMPRESS_WAIT_THREAD] = {"compress-wait-thread", "x-compress-wait-thread", "", 0, 1, 1},
    [PARAM_DECOMPRESS_THREADS] = {"decompress-threads", "x-decompress-threads", "", 1, 255, 2},
    [PARAM_THROTTLE_TRIGGER_THRESHOLD] = {"throttle-trigger-threshold",
                                          "x-throttle-trigger-threshold", "%", 1, 100, 50},
    [PARAM_CPU_THROTTLE_INITIAL] = {"cpu-throttle-initial", "x-cpu-throttle-initial", "%", 1, 99,
                                    20},
    [PARAM_CPU_THROTTLE_INCREMENT] = {"cpu-throttle-increment", "x-cpu-throttle-increment", "%", 1,
                                      99, 10},
    [PARAM_CPU_THROTTLE_TAILSLOW] = {"cpu-throttle-tailslow", "x-cpu-throttle-tailslow", "", 0, 1,
                                     false},
    [PARAM_MAX_CPU_THROTTLE] = {"max-cpu-throttle", "x-max-cpu-throttle", "%", 1, 99, 99},
    [PARAM_X_VCPU_DIRTY_LIMIT_PERIOD] = {"x-vcpu-dirty-limit-period", "x-vcpu-dirty-limit-period",
                                         "ms", 1, 1000, 1000},
    [PARAM_VCPU_DIRTY_LIMIT] = {"vcpu-dirty-limit", "vcpu-dirty-limit", "MB/s", 1, 1 << 30, 1},
    [PARAM_DIRECT_IO] = {"direct-io", "direct-io", "", 0, 1, false},
    [PARAM_X_MAPPED_LOAD] = {"x-mapped-load", "x-mapped-load", "", 0, MAPPED_LOAD__MAX - 1,
                             MAPPED_LOAD_EAGER},
};

/* Called the same in QMP and as property of the "migration" object. */
static const char *const texts[TEXT__MAX] = {
    [TEXT_TLS_CREDS] = "tls-creds",
    [TEXT_TLS_HOSTNAME] = "tls-hostname",
    [TEXT_TLS_AUTHZ] = "tls-authz",
    [TEXT_X_SNAPSHOT_DIRECTORY] = "x-snapshot-directory",
    [TEXT_X_MULTIFD_ADDRESSES] = "x-multifd-addresses",
};

static const struct {
    const char *global;
    bool initial;
} switches[SWITCH__MAX] = {
    [SWITCH_STORE_GLOBAL_STATE] = {"store-global-state", true},
    [SWITCH_SEND_CONFIGURATION] = {"send-configuration", true},
    [SWITCH_SEND_SECTION_FOOTER] = {"send-section-footer", true},
    /* "virt" has no versions, so nothing turns this on for an older peer: 7.2 dies without. */
    [SWITCH_MULTIFD_FLUSH_AFTER_EACH_SECTION] = {"multifd-flush-after-each-section", true},
    /* One acknowledgement for all devices, as up to QEMU 11.0; both sides must say the same. */
    [SWITCH_SWITCHOVER_ACK_LEGACY] = {"switchover-ack-legacy", false},
};

void migration_options_init(MigrationOptions *o)
{
    memset(o, 0, sizeof(*o));
    for (unsigned i = 0; i < PARAM__MAX; i++) {
        o->params[i] = params[i].initial;
    }
    for (unsigned i = 0; i < SWITCH__MAX; i++) {
        o->switches[i] = switches[i].initial;
    }
}

void migration_options_clear(MigrationOptions *o)
{
    for (unsigned i = 0; i < TEXT__MAX; i++) {
        g_clear_pointer(&o->texts[i], g_free);
    }
}

/* ---- capabilities ---- */

static bool check_cap(const MigrationOptions *o, MigrationCapability cap, GError **errp)
{
    for (unsigned other = 0; other < MIGRATION_CAPABILITY__MAX; other++) {
        uint32_t bit = 1u << other;

        if ((caps[cap].requires & bit) && !o->caps[other]) {
            error_setg(errp, "Capability '%s' requires capability '%s'",
                       MigrationCapability_str(cap), MigrationCapability_str(other));
            return false;
        }
        if ((caps[cap].conflicts & bit) && o->caps[other]) {
            error_setg(errp, "Capability '%s' is incompatible with capability '%s'",
                       MigrationCapability_str(cap), MigrationCapability_str(other));
            return false;
        }
    }
    return true;
}

unsigned options_multifd_channels(const MigrationOptions *o)
{
    bool used = options_cap(o, MIGRATION_CAPABILITY_MULTIFD) &&
                !options_cap(o, MIGRATION_CAPABILITY_MAPPED_RAM);

    return used ? options_param(o, PARAM_MULTIFD_CHANNELS) : 0;
}

bool options_check(const MigrationOptions *o, GError **errp)
{
    if (o->caps[MIGRATION_CAPABILITY_MAPPED_RAM] && o->caps[MIGRATION_CAPABILITY_POSTCOPY_RAM]) {
        error_setg(errp, "Mapped-ram migration is incompatible with postcopy"); /* QEMU's words */
        return false;
    }
    for (unsigned i = 0; i < MIGRATION_CAPABILITY__MAX; i++) {
        if (o->caps[i] && !check_cap(o, i, errp)) {
            return false;
        }
    }
    if (o->params[PARAM_MAX_CPU_THROTTLE] < o->params[PARAM_CPU_THROTTLE_INITIAL]) {
        error_setg(errp,
                   "Parameter 'max-cpu-throttle' expects a value between cpu-throttle-initial "
                   "(%" PRIu64 ") and 99, not %" PRIu64,
                   o->params[PARAM_CPU_THROTTLE_INITIAL], o->params[PARAM_MAX_CPU_THROTTLE]);
        return false;
    }
    if (o->caps[MIGRATION_CAPABILITY_MAPPED_RAM] && o->caps[MIGRATION_CAPABILITY_MULTIFD] &&
        o->params[PARAM_MULTIFD_COMPRESSION] != MULTI_FD_COMPRESSION_NONE) {
        error_setg(errp, "Mapped-ram migration is incompatible with multifd compression: set "
                         "'multifd-compression' to none");
        return false;
    }
    if (o->caps[MIGRATION_CAPABILITY_MAPPED_RAM] && *options_text(o, TEXT_TLS_CREDS)) {
        error_setg(errp, "Capability 'mapped-ram' is incompatible with TLS ('tls-creds')");
        return false;
    }
    if (o->caps[MIGRATION_CAPABILITY_ZERO_COPY_SEND] &&
        (o->params[PARAM_MULTIFD_COMPRESSION] != MULTI_FD_COMPRESSION_NONE ||
         o->texts[TEXT_TLS_CREDS])) {
        error_setg(errp, "Zero copy only available for non-compressed non-TLS multifd migration: "
                         "set 'multifd-compression' to none and 'tls-creds' to \"\", or turn "
                         "'zero-copy-send' off");
        return false;
    }
    return true;
}

bool options_set_caps(MigrationOptions *o, const GPtrArray *list, bool listening, GError **errp)
{
    MigrationOptions merged = *o;

    for (unsigned i = 0; i < list->len; i++) {
        const MigrationCapabilityStatus *c = g_ptr_array_index(list, i);

        merged.caps[c->capability] = c->state;
    }
    for (unsigned i = 0; listening && i < MIGRATION_CAPABILITY__MAX; i++) {
        if (caps[i].fixed_by_listening && merged.caps[i] && !o->caps[i]) {
            error_setg(errp,
                       "Capability '%s' must be set before the incoming migration starts: use "
                       "-incoming defer",
                       MigrationCapability_str(i));
            return false;
        }
    }
    if (!options_check(&merged, errp)) {
        return false;
    }
    for (unsigned i = 0; i < MIGRATION_CAPABILITY__MAX; i++) {
        __atomic_store_n(&o->caps[i], merged.caps[i], __ATOMIC_RELAXED);
    }
    return true;
}

/* ---- parameters ---- */

static bool in_range(const ParamRow *row, uint64_t value, GError **errp)
{
    if (value < row->min || value > row->max) {
        error_setg(errp,
                   "Parameter '%s' expects a value between %" PRIu64 " and %" PRIu64
                   "%s%s, not %" PRIu64,
                   row->name, row->min, row->max, *row->unit ? " " : "", row->unit, value);
        return false;
    }
    if (row->power_of_two && (value & (value - 1))) {
        error_setg(errp, "Parameter '%s' expects a power of two, not %" PRIu64, row->name, value);
        return false;
    }
    return true;
}

static void store(MigrationOptions *o, const ParamRow *row, uint64_t value)
{
    __atomic_store_n(&o->params[row - params], value, __ATOMIC_RELAXED);
}

/* Every parameter is one of the schema. */
static const QapiMember *member_named(const char *name)
{
    const QapiType *type = &qapi_type_MigrationParameters;

    for (unsigned i = 0; i < type->n_members; i++) {
        if (g_str_equal(type->members[i].name, name)) {
            return &type->members[i];
        }
    }
    g_assert_not_reached();
}

static const QapiMember *member_of(const ParamRow *row)
{
    return member_named(row->name);
}

/* Where @obj has text parameter @t; NULL there: absent. */
static StrOrNull **text_member(MigText t, const void *obj)
{
    return (StrOrNull **)((uint8_t *)obj + member_named(texts[t])->offset);
}

static void store_text(MigrationOptions *o, MigText t, const char *value)
{
    g_free(o->texts[t]);
    o->texts[t] = *value ? g_strdup(value) : NULL;
}

/* Numbers have the schema's width, enumerations that of an int. */
static uint64_t get_member(const QapiMember *m, const void *obj)
{
    const void *field = (const uint8_t *)obj + m->offset;

    switch (m->type->size) {
    case sizeof(uint8_t):
        return *(const uint8_t *)field;
    case sizeof(uint32_t):
        return *(const uint32_t *)field;
    default:
        return *(const uint64_t *)field;
    }
}

static void set_member(const QapiMember *m, void *obj, uint64_t value)
{
    void *field = (uint8_t *)obj + m->offset;

    *(bool *)((uint8_t *)obj + m->has_offset) = true;
    switch (m->type->size) {
    case sizeof(uint8_t):
        *(uint8_t *)field = value;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)field = value;
        break;
    default:
        *(uint64_t *)field = value;
        break;
    }
}

static bool has_member(const QapiMember *m, const void *obj)
{
    return *(const bool *)((const uint8_t *)obj + m->has_offset);
}

bool options_set_params(MigrationOptions *o, const MigrationParameters *changes, GError **errp)
{
    MigrationOptions merged = *o;

    for (const ParamRow *row = params; row < params + PARAM__MAX; row++) {
        const QapiMember *m = member_of(row);

        if (has_member(m, changes)) {
            uint64_t value = get_member(m, changes);

            if (!in_range(row, value, errp)) {
                return false;
            }
            merged.params[row - params] = value;
        }
    }
    for (unsigned i = 0; i < TEXT__MAX; i++) {
        const StrOrNull *text = *text_member(i, changes);

        if (text) {
            merged.texts[i] = text->type == QAPI_ALT_STR && *text->u.s ? text->u.s : NULL;
        }
    }
    if (!options_check(&merged, errp)) {
        return false;
    }
    for (const ParamRow *row = params; row < params + PARAM__MAX; row++) {
        store(o, row, merged.params[row - params]);
    }
    for (unsigned i = 0; i < TEXT__MAX; i++) {
        if (merged.texts[i] != o->texts[i]) {
            store_text(o, i, merged.texts[i] ? merged.texts[i] : "");
        }
    }
    return true;
}

MigrationParameters *options_get_params(const MigrationOptions *o)
{
    MigrationParameters *p = g_new0(MigrationParameters, 1);

    for (const ParamRow *row = params; row < params + PARAM__MAX; row++) {
        set_member(member_of(row), p, o->params[row - params]);
    }
    for (unsigned i = 0; i < TEXT__MAX; i++) {
        StrOrNull *text = g_new0(StrOrNull, 1);

        text->type = QAPI_ALT_STR;
        text->u.s = g_strdup(options_text(o, i));
        *text_member(i, p) = text;
    }
    return p;
}

MultifdCodecOptions options_multifd_codec(const MigrationOptions *o)
{
    return (MultifdCodecOptions){
        .method = options_param(o, PARAM_MULTIFD_COMPRESSION),
        .zlib_level = options_param(o, PARAM_MULTIFD_ZLIB_LEVEL),
        .zstd_level = options_param(o, PARAM_MULTIFD_ZSTD_LEVEL),
    };
}

/* ---- -global migration.NAME=VALUE ---- */

static bool parse_param(const ParamRow *row, const char *text, uint64_t *value, GError **errp)
{
    const QapiType *type = member_of(row)->type;
    bool on;
    int index;

    switch (type->kind) {
    case QAPI_BOOL:
        if (!parse_bool(text, &on, errp)) {
            return false;
        }
        *value = on;
        return true;
    case QAPI_ENUM:
        if (!qapi_enum_parse(type, text, &index)) {
            error_setg(errp, "Parameter '%s' does not accept value '%s'", row->name, text);
            return false;
        }
        *value = index;
        return true;
    default:
        return parse_size(text, 1, value, errp);
    }
}

bool options_set_global(MigrationOptions *o, const char *name, const char *text, GError **errp)
{
    for (unsigned i = 0; i < MIGRATION_CAPABILITY__MAX; i++) {
        if (g_str_equal(name, caps[i].global)) {
            return parse_bool(text, &o->caps[i], errp);
        }
    }
    for (unsigned i = 0; i < SWITCH__MAX; i++) {
        if (g_str_equal(name, switches[i].global)) {
            return parse_bool(text, &o->switches[i], errp);
        }
    }
    for (unsigned i = 0; i < TEXT__MAX; i++) {
        if (g_str_equal(name, texts[i])) {
            store_text(o, i, text);
            return true;
        }
    }
    for (const ParamRow *row = params; row < params + PARAM__MAX; row++) {
        if (g_str_equal(name, row->global)) {
            uint64_t value;

            if (!parse_param(row, text, &value, errp) || !in_range(row, value, errp)) {
                g_prefix_error(errp, "Property 'migration.%s': ", name);
                return false;
            }
            store(o, row, value);
            return true;
        }
    }
    error_setg(errp, "Property 'migration.%s' not found", name);
    return false;
}
