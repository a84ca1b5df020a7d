/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models: the properties of -cpu, misa and the ISA string (spec 81 section 1). */
#include "target/riscv/internal.h"
#include "util/cutils.h"

typedef enum {
    PROP_BOOL,
    PROP_ALWAYS, /* a bool that must stay on: every guest of this board relies on it */
    PROP_ABSENT, /* a bool that must stay off: not implemented here */
    PROP_U8,
    PROP_U64,
    PROP_PRIV_SPEC,
    PROP_UNUSED, /* a number without effect while its extension is off */
} PropKind;

typedef struct {
    const char *name;
    PropKind kind;
    size_t offset;
    uint64_t max;
} PropRow;

#define P(name_, kind_, field_)                                    \
    {                                                              \
        name_, kind_, offsetof(RISCVCPUConfig, field_), UINT64_MAX \
    }
static const PropRow props_table[] = {
    P("c", PROP_BOOL, ext_c),
    P("d", PROP_BOOL, ext_d),
    P("f", PROP_BOOL, ext_f),
    P("h", PROP_BOOL, ext_h),
    P("zba", PROP_BOOL, ext_zba),
    P("zbb", PROP_BOOL, ext_zbb),
    P("zbc", PROP_BOOL, ext_zbc),
    P("zbs", PROP_BOOL, ext_zbs),
    P("sstc", PROP_BOOL, ext_sstc),
    P("mmu", PROP_BOOL, mmu),
    P("pmp", PROP_BOOL, pmp),
    P("debug", PROP_BOOL, debug),
    P("Zicsr", PROP_BOOL, ext_zicsr),
    P("Zifencei", PROP_BOOL, ext_zifencei),
    P("Zihintpause", PROP_BOOL, ext_zihintpause),
    P("short-isa-string", PROP_BOOL, short_isa_string),
    {"pmu-num", PROP_U8, offsetof(RISCVCPUConfig, pmu_num), 29},
    {"mvendorid", PROP_U64, offsetof(RISCVCPUConfig, mvendorid), UINT32_MAX},
    P("marchid", PROP_U64, marchid),
    P("mimpid", PROP_U64, mimpid),
    P("resetvec", PROP_U64, resetvec),
    P("priv_spec", PROP_PRIV_SPEC, priv_ver),
    {"a", PROP_ALWAYS},
    {"g", PROP_ALWAYS},
    {"i", PROP_ALWAYS},
    {"m", PROP_ALWAYS},
    {"s", PROP_ALWAYS},
    {"u", PROP_ALWAYS},
    {"e", PROP_ABSENT},
    {"j", PROP_ABSENT},
    {"v", PROP_ABSENT},
    {"sscofpmf", PROP_ABSENT},
    {"svinval", PROP_ABSENT},
    {"svnapot", PROP_ABSENT},
    {"svpbmt", PROP_ABSENT},
    {"zbkb", PROP_ABSENT},
    {"zbkc", PROP_ABSENT},
    {"zbkx", PROP_ABSENT},
    {"zdinx", PROP_ABSENT},
    {"Zfh", PROP_ABSENT},
    {"Zfhmin", PROP_ABSENT},
    {"zfinx", PROP_ABSENT},
    {"zhinx", PROP_ABSENT},
    {"zhinxmin", PROP_ABSENT},
    {"zk", PROP_ABSENT},
    {"zkn", PROP_ABSENT},
    {"zknd", PROP_ABSENT},
    {"zkne", PROP_ABSENT},
    {"zknh", PROP_ABSENT},
    {"zkr", PROP_ABSENT},
    {"zks", PROP_ABSENT},
    {"zksed", PROP_ABSENT},
    {"zksh", PROP_ABSENT},
    {"zkt", PROP_ABSENT},
    {"zmmul", PROP_ABSENT},
    {"Zve32f", PROP_ABSENT},
    {"Zve64f", PROP_ABSENT},
    {"x-aia", PROP_ABSENT},
    {"x-epmp", PROP_ABSENT},
    {"x-smaia", PROP_ABSENT},
    {"x-ssaia", PROP_ABSENT},
    {"vlen", PROP_UNUSED},
    {"elen", PROP_UNUSED},
};
#undef P

static const char *const models[] = {"rv64", "max"};
static const char *const priv_specs[] = {"v1.10.0", "v1.11.0", "v1.12.0"};

static const RISCVCPUConfig model_default = {
    .ext_c = true,
    .ext_f = true,
    .ext_d = true,
    .ext_h = true,
    .ext_zba = true,
    .ext_zbb = true,
    .ext_zbc = true,
    .ext_zbs = true,
    .ext_sstc = true,
    .mmu = true,
    .pmp = true,
    .debug = true,
    .ext_zicsr = true,
    .ext_zifencei = true,
    .ext_zihintpause = true,
    .pmu_num = 16,
    .marchid = 0x70216,
    .mimpid = 0x70216,
    .resetvec = 0x1000,
    .priv_ver = 2,
    .satp_max = 10,
};

/* -cpu rv64,h=off arrives as text, -object style JSON as typed values: one spelling for both. */
static char *value_text(JsonNode *node)
{
    GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;

    if (type == G_TYPE_BOOLEAN) {
        return g_strdup(json_node_get_boolean(node) ? "on" : "off");
    }
    if (type == G_TYPE_INT64) {
        return g_strdup_printf("%" PRIu64, (uint64_t)json_node_get_int(node));
    }
    return type == G_TYPE_STRING ? g_strdup(json_node_get_string(node)) : NULL;
}

static bool set_bool(const PropRow *row, void *slot, const char *text, GError **errp)
{
    bool on;

    if (!parse_bool(text, &on, errp)) {
        return false;
    }
    if (row->kind == PROP_ALWAYS && !on) {
        error_setg(errp, "this extension cannot be switched off");
        return false;
    }
    if (row->kind == PROP_ABSENT && on) {
        error_setg(errp, "this extension is not implemented; leave it off, also on the peer");
        return false;
    }
    if (row->kind == PROP_BOOL) {
        *(bool *)slot = on;
    }
    return true;
}

static bool set_priv_spec(void *slot, const char *text, GError **errp)
{
    for (unsigned i = 0; i < ARRAY_SIZE(priv_specs); i++) {
        if (!strcmp(text, priv_specs[i])) {
            *(int *)slot = i;
            return true;
        }
    }
    error_setg(errp, "unsupported privileged specification '%s', use v1.10.0, v1.11.0 or v1.12.0",
               text);
    return false;
}

static bool set_number(const PropRow *row, void *slot, const char *text, GError **errp)
{
    uint64_t v;

    if (!parse_uint64(text, &v, errp)) {
        return false;
    }
    if (row->kind != PROP_UNUSED && v > row->max) {
        error_setg(errp, "%" PRIu64 " is above the maximum of %" PRIu64, v, row->max);
        return false;
    }
    if (row->kind == PROP_U8) {
        *(uint8_t *)slot = v;
    } else if (row->kind == PROP_U64) {
        *(uint64_t *)slot = v;
    }
    return true;
}

static bool set_property(RISCVCPUConfig *cfg, const char *name, JsonNode *value, GError **errp)
{
    g_autofree char *text = value_text(value);
    const PropRow *row = NULL;
    void *slot;
    bool ok;

    for (unsigned i = 0; i < ARRAY_SIZE(props_table) && !row; i++) {
        row = strcmp(name, props_table[i].name) ? NULL : &props_table[i];
    }
    if (!row) {
        error_setg(errp, "Property 'rv64-riscv-cpu.%s' not found", name);
        return false;
    }
    if (!text) {
        error_setg(errp, "CPU property '%s' wants a plain value", name);
        return false;
    }
    slot = (char *)cfg + row->offset;
    switch (row->kind) {
    case PROP_BOOL:
    case PROP_ALWAYS:
    case PROP_ABSENT:
        ok = set_bool(row, slot, text, errp);
        break;
    case PROP_PRIV_SPEC:
        ok = set_priv_spec(slot, text, errp);
        break;
    default:
        ok = set_number(row, slot, text, errp);
        break;
    }
    if (!ok && errp) {
        g_prefix_error(errp, "CPU property '%s': ", name);
    }
    return ok;
}

bool riscv_model_configure(RISCVCPUConfig *cfg, const char *model, JsonObject *props, GError **errp)
{
    bool known = false;

    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        known |= !strcmp(model, models[i]);
    }
    if (!known) {
        error_setg(errp, "unable to find CPU model '%s'", model);
        return false;
    }
    *cfg = model_default;
    if (props) {
        g_autoptr(GList) names = json_object_get_members(props);

        for (GList *l = names; l; l = l->next) {
            if (!set_property(cfg, l->data, json_object_get_member(props, l->data), errp)) {
                return false;
            }
        }
    }
    if (cfg->ext_d && !cfg->ext_f) {
        error_setg(errp, "D extension requires F extension: add d=off");
        return false;
    }
    if (cfg->priv_ver < 2) {
        cfg->ext_sstc = false; /* its enable bit lives in menvcfg, which came with 1.12 */
    }
    return true;
}

uint32_t riscv_model_misa(const RISCVCPUConfig *cfg)
{
    uint32_t misa = MISA_EXT('i') | MISA_EXT('m') | MISA_EXT('a') | MISA_EXT('s') | MISA_EXT('u');

    misa |= cfg->ext_f ? MISA_EXT('f') : 0;
    misa |= cfg->ext_d ? MISA_EXT('d') : 0;
    misa |= cfg->ext_c ? MISA_EXT('c') : 0;
    misa |= cfg->ext_h ? MISA_EXT('h') : 0;
    return misa;
}

char *riscv_isa_string(const RISCVCPU *cpu)
{
    const RISCVCPUConfig *cfg = &cpu->cfg;
    const struct {
        const char *name;
        bool on;
    } named[] = {
        {"zicsr", cfg->ext_zicsr},
        {"zifencei", cfg->ext_zifencei},
        {"zihintpause", cfg->ext_zihintpause},
        {"zba", cfg->ext_zba},
        {"zbb", cfg->ext_zbb},
        {"zbc", cfg->ext_zbc},
        {"zbs", cfg->ext_zbs},
        {"sstc", cfg->ext_sstc},
    };
    GString *s = g_string_new("rv64");

    for (const char *letter = "iemafdqcpvh"; *letter; letter++) {
        if (riscv_has_ext(&cpu->env, *letter)) {
            g_string_append_c(s, *letter);
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(named) && !cfg->short_isa_string; i++) {
        if (named[i].on) {
            g_string_append_printf(s, "_%s", named[i].name);
        }
    }
    return g_string_free(s, FALSE);
}

GPtrArray *riscv_cpu_models(void)
{
    GPtrArray *list = g_ptr_array_new();

    for (unsigned i = 0; i < ARRAY_SIZE(models); i++) {
        g_ptr_array_add(list, (gpointer)models[i]);
    }
    return list;
}
