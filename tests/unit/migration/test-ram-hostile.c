/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a destination of the ram section refuses, and what is left of memory then. */
#include "fault-channel.h"
#include "migration/wire/ram.h"
#include "ram-pair.h"
#include "ram-reference.h"

#define W(off, flags) \
    0, 0, 0, 0, (off) >> 24 & 255, (off) >> 16 & 255, (off) >> 8 & 255, ((off)&255) | (flags)
#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static const struct {
    const char *what;
    const uint8_t *bytes;
    size_t len;
    const char *message;
} hostile[] = {
    {"unknown block", BYTES(0, 0, 0, 0, 0, 0, 0x10, 0x04, 1, 'x', W(0x1000, 0)),
     "Unknown ramblock \"x\", cannot accept migration"},
    {"list too short for its total",
     BYTES(0, 0, 0, 0, 0, 0, 0x30, 0x04, 1, 'a', W(0x2000, 0), 0, W(0, 0x10)),
     "Unknown ramblock \"\""},
    {"list longer than its total", BYTES(0, 0, 0, 0, 0, 0, 0x10, 0x04, 1, 'a', W(0x2000, 0)),
     "exceed the announced total by 0x1000"},
    {"other size", BYTES(0, 0, 0, 0, 0, 0, 0x30, 0x04, 1, 'a', W(0x3000, 0)),
     "Size mismatch: a: 0x3000 != 0x2000"},
    {"not migratable", BYTES(0, 0, 0, 0, 0, 0, 0x10, 0x04, 1, 'n', W(0x1000, 0)),
     "\"n\" does not migrate here"},
    {"continue without block", BYTES(W(0, 0x28)), "none was named before"},
    {"zero continues without block", BYTES(W(0, 0x22), 0), "none was named before"},
    {"page of unknown block", BYTES(W(0, 0x08), 1, 'x'), "\"x\", which is unknown here"},
    {"page of unmigratable block", BYTES(W(0, 0x02), 1, 'n', 0), "\"n\", which is not migrated"},
    {"offset at the end", BYTES(W(0x2000, 0x08), 1, 'a'), "Illegal RAM offset 2000"},
    {"zero offset at the end", BYTES(W(0x2000, 0x02), 1, 'a', 0), "Illegal RAM offset 2000"},
    {"huge offset", BYTES(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf0, 0x08, 1, 'a'),
     "Illegal RAM offset fffffffffffff000"},
    {"no flag", BYTES(W(0x1000, 0)), "Unknown combination of migration flags: 0x0"},
    {"only continue", BYTES(W(0x1000, 0x20)), "Unknown combination of migration flags: 0x20"},
    {"two flags", BYTES(W(0x1000, 0x0a)), "Unknown combination of migration flags: 0xa"},
    {"FULL", BYTES(W(0x1000, 0x01)), "Unknown combination of migration flags: 0x1"},
    {"high flag", BYTES(0, 0, 0, 0, 0, 0, 0x18, 0x00),
     "Unknown combination of migration flags: 0x800"},
    {"multifd flush", BYTES(0, 0, 0, 0, 0, 0, 0x02, 0x00), "no channels here"},
    {"lost channel", BYTES(0, 0, 0, 0, 0, 0, 0x16, 0x00), "there is only this one"},
    {"delta cut in its head", BYTES(W(0, 0x40), 1, 'a', 1, 0), "Unexpected end of stream"},
    {"delta cut in its body", BYTES(W(0, 0x40), 1, 'a', 1, 0, 4, 0xC8, 1),
     "Unexpected end of stream"},
    {"delta of another encoding", BYTES(W(0, 0x40), 1, 'a', 2, 0, 0), "encoding 2 with 0 bytes"},
    {"delta longer than a page", BYTES(W(0, 0x40), 1, 'a', 1, 0x10, 1), "with 4097 bytes"},
    {"delta beyond the page", BYTES(W(0, 0x40), 1, 'a', 1, 0, 5, 0xFF, 0x1F, 2, 1, 1),
     "it is damaged"},
    {"delta of no block", BYTES(W(0, 0x60), 1, 0, 0), "continues a block, but none"},
    {"compressed page", BYTES(0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a'),
     "the capability 'compress' is off here"},
    {"zero run of nothing", BYTES(0, 0, 0, 0, 0, 0, 0x04, 0x00, 1, 'a', W(0, 0)),
     "Illegal run of 0 zero pages"},
    {"zero run past the end", BYTES(0, 0, 0, 0, 0, 0, 0x14, 0x00, 1, 'a', W(0, 2)),
     "Illegal run of 2 zero pages from page 0x1 in ramblock \"a\" of 2 pages"},
    {"endless zero run",
     BYTES(0, 0, 0, 0, 0, 0, 0x14, 0x00, 1, 'a', 255, 255, 255, 255, 255, 255, 255, 255),
     "Illegal run of 18446744073709551615 zero pages"},
    {"zero run without block", BYTES(0, 0, 0, 0, 0, 0, 0x04, 0x20, W(0, 1)),
     "continues a block, but none"},
    {"zero run from the end", BYTES(0, 0, 0, 0, 0, 0, 0x24, 0x00, 1, 'a', W(0, 1)),
     "Illegal RAM offset 2000"},
    {"end inside the count of a zero run", BYTES(0, 0, 0, 0, 0, 0, 0x04, 0x00, 1, 'a', 0, 0),
     "Unexpected end of stream"},
    {"RDMA hook", BYTES(W(0, 0x80)), "which is not RDMA"},
    {"NUL in a name", BYTES(W(0, 0x08), 2, 'a', 0), "NUL"},
    {"end inside a word", BYTES(0, 0, 0), "Unexpected end of stream"},
    {"end inside a name", BYTES(W(0, 0x08), 200, 'a'), "Unexpected end of stream"},
    {"end before the fill byte", BYTES(W(0, 0x02), 1, 'a'), "Unexpected end of stream"},
    {"end inside a page", BYTES(W(0, 0x08), 1, 'a', 1, 2, 3), "Unexpected end"},
    {"end inside the list", BYTES(0, 0, 0, 0, 0, 0, 0x20, 0x04, 1, 'a', 0, 0), "Unexpected end"},
    {"end without EOS", BYTES(W(0, 0x02), 1, 'a', 0), "Unexpected end of stream"},
};

static void test_hostile(RamPair *fx, gconstpointer data)
{
    side_add(&fx->dst, "a", 0x2000, RAM_MIGRATABLE);
    side_add(&fx->dst, "n", 0x1000, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(hostile); i++) {
        g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
        g_autoptr(GError) err = NULL;

        io_channel_write_all(IO_CHANNEL(ioc), hostile[i].bytes, hostile[i].len, NULL);
        err = load_from(&fx->dst, IO_CHANNEL(ioc));
        if (!err || !strstr(err->message, hostile[i].message)) {
            g_error("%s: %s", hostile[i].what, err ? err->message : "accepted");
        }
    }
    RAMBLOCK_FOREACH (block, fx->dst.list) {
        g_assert_true(block->host[block->used_length - 1] == 0);
    }
}

static void test_hostile_compressed(RamPair *fx, gconstpointer data)
{
    static const struct {
        uint8_t bytes[24];
        size_t len;
        const char *message;
    } rows[] = {
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0, 0, 0}, 14, "its length 0 is not between"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0, 0x10, 0x0f}, 14, "its length 4111 is not"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 255, 255, 255, 255}, 14, "its length 4294967295"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0}, 12, "Unexpected end of stream"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0, 0, 9, 0x78}, 15, "Unexpected end of stream"},
        {{0, 0, 0, 0, 0, 0, 0x01, 0x20, 0, 0, 0, 1, 0}, 13, "continues a block, but none"},
        {{0, 0, 0, 0, 0, 0, 0x21, 0x00, 1, 'a', 0, 0, 0, 1, 0}, 15, "Illegal RAM offset 2000"},
        /* no zlib stream */
        {{0, 0, 0, 0, 0, 0, 0x01, 0x00, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x10},
         23,
         "does not inflate to 4096 bytes"},
    };

    side_add(&fx->dst, "a", 0x2000, RAM_MIGRATABLE);
    fx->dst.options.decompress_threads = 2;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(QIOChannelBuffer) ioc = io_channel_buffer_new();
        g_autoptr(GError) err = NULL;

        io_channel_write_all(IO_CHANNEL(ioc), rows[i].bytes, rows[i].len, NULL);
        err = load_from(&fx->dst, IO_CHANNEL(ioc));
        if (!err || !strstr(err->message, rows[i].message)) {
            g_error("row %u: %s", i, err ? err->message : "accepted");
        }
    }
}

static void test_versions(RamPair *fx, gconstpointer data)
{
    QEMUFile *in = qemu_file_new_input(IO_CHANNEL(fx->pipe));

    g_assert_true(ram_load_setup(in, fx->dst.rs, NULL));
    for (int version = 3; version <= 5; version += 2) {
        g_autoptr(GError) err = NULL;

        g_assert_false(ram_load_state(in, fx->dst.rs, version, &err));
        g_assert_nonnull(strstr(err->message, "only 4 is understood"));
    }
    qemu_fclose(in, NULL);
}

/* 7.2 fills with any byte. */
static void test_fill_byte(RamPair *fx, gconstpointer data)
{
    static const uint8_t bytes[] = {W(0x1000, 0x02), 1, 'a', 0x55, W(0, 0x10)};
    RAMBlock *a = side_add(&fx->dst, "a", 0x3000, RAM_MIGRATABLE);
    g_autoptr(GError) err = NULL;

    io_channel_write_all(IO_CHANNEL(fx->pipe), bytes, sizeof(bytes), NULL);
    err = load_from(&fx->dst, IO_CHANNEL(fx->pipe));
    g_assert_no_error(err);
    g_assert_cmphex(a->host[0xfff], ==, 0);
    g_assert_cmphex(a->host[0x1000], ==, 0x55);
    g_assert_cmphex(a->host[0x1fff], ==, 0x55);
    g_assert_cmphex(a->host[0x2000], ==, 0);
}

/* ---- random damage, against a parser too simple to be wrong ---- */

/*
 * Whatever is wrong with the stream and however it is cut into pieces, the outcome and every byte
 * of memory are those of the reference: no guess leaves a trace, no byte behind the damage is taken
 * for something.
 */
static void test_random_damage(RamPair *fx, gconstpointer data)
{
    static const size_t segments[] = {0, 0, 4104, 5000, 40000};
    const uint64_t size = 2 * MiB;
    GByteArray *stream = io_channel_buffer_bytes(fx->pipe);
    g_autofree uint8_t *model = g_malloc(size);
    GRand *rng = g_rand_new_with_seed(11);
    unsigned good = 0;

    side_add(&fx->src, "ram", size, RAM_MIGRATABLE);
    scribble(ram_list_first(fx->src.list), rng, 100);
    save_all(fx);
    g_assert_cmpuint(stream->len, >, size / 4);
    for (int i = 0; i < 300; i++) {
        g_autoptr(QIOChannelBuffer) copy = io_channel_buffer_new();
        g_autofree uint8_t *bytes = g_memdup2(stream->data, stream->len);
        FaultPlan plan = FAULT_PLAN_NONE;
        g_autoptr(QIOChannel) ioc = NULL;
        g_autoptr(GError) err = NULL;
        size_t len = stream->len;
        uint64_t cut;
        RAMBlock *b;
        bool ok;

        if (i % 3 == 0) {
            len = g_rand_int_range(rng, 0, len);
        }
        for (int k = g_rand_int_range(rng, 0, 3); k > 0; k--) {
            /* Heads are rare among the bytes: aim at one in every other case. */
            size_t at = g_rand_int_range(rng, 0, stream->len);

            if (k & 1) {
                static const uint8_t page_head[] = {RAM_FLAG_PAGE | RAM_FLAG_CONTINUE};
                const uint8_t *hit = memmem(bytes + at, stream->len - at, page_head, 1);

                at = hit ? (size_t)(hit - bytes) - g_rand_int_range(rng, 0, MIN(hit - bytes, 3) + 1)
                         : at;
            }
            bytes[at] ^= 1 << g_rand_int_range(rng, 0, 8);
        }
        plan.segment = segments[g_rand_int_range(rng, 0, ARRAY_SIZE(segments))];
        ioc = fault_channel_new(IO_CHANNEL(copy), &plan, NULL);
        io_channel_write_all(IO_CHANNEL(copy), bytes, len, NULL);
        b = side_add(&fx->dst, "ram", size, RAM_MIGRATABLE);
        memset(model, 0, size);
        ok = reference_load((Bytes){bytes, len}, model, size, &cut);
        err = load_from(&fx->dst, ioc);
        if (ok != !err) {
            g_error("round %d: %s", i, err ? err->message : "accepted");
        }
        if (cut != UINT64_MAX) {
            memcpy(model + cut, b->host + cut, 4096);
        }
        g_assert_true(memcmp(model, b->host, size) == 0);
        ram_block_free(b);
        good += ok;
    }
    g_assert_cmpuint(good, >, 30);
    g_assert_cmpuint(good, <, 270);
    g_rand_free(rng);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/ram-hostile/" name, RamPair, NULL, set_up, fn, tear_down)
    ADD("records", test_hostile);
    ADD("compressed", test_hostile_compressed);
    ADD("versions", test_versions);
    ADD("fill-byte", test_fill_byte);
    ADD("random-damage", test_random_damage);
    return g_test_run();
}
