/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A source that says what no source should: the destination ends with a reason, and unharmed. */
#include <gio/gio.h>
#include "fake-fabric.h"
#include "memory/ramblock.h"
#include "migration/rdma/channel.h"

#define A_SIZE (3 * MiB + 60 * KiB)

/* A destination in registration phase, and a connection that plays its source. */
typedef struct {
    FakeFabric *f;
    RAMList *list;
    RAMBlock *a;
    RdmaListener *listener;
    QIOChannel *ioc; /* the destination's */
    RamPlacer *placer;
    RdmaConnection *c; /* the source's */
    GThread *thread;
    GError *err;
    RdmaPrivate hello, answer;
    bool connected; /* atomic */
} Stage;

static void source_came(QIOChannel *ioc, void *opaque)
{
    ((Stage *)opaque)->ioc = ioc;
}

static gpointer connect_thread(gpointer opaque)
{
    Stage *s = opaque;
    RdmaEndpoint *ep = s->f->base.ops->resolve(&s->f->base, "fake", "1", NULL, NULL);

    s->c = rdma_connection_new(ep, NULL);
    s->c->over = !ep->ops->connect(ep, &s->hello, 60000, NULL, &s->answer, &s->err);
    __atomic_store_n(&s->connected, true, __ATOMIC_RELEASE);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void stage_connect(Stage *s, const RdmaHello *hello)
{
    GThread *t;

    s->f = fake_fabric_new();
    s->list = ram_list_new();
    s->a = ram_block_new_anon(s->list, "a", A_SIZE, RAM_MIGRATABLE, NULL);
    s->listener = rdma_listener_new(&s->f->base, "fake", "1", source_came, s, NULL);
    s->hello.len = RDMA_HELLO_SIZE;
    rdma_put_hello(s->hello.bytes, hello);
    t = g_thread_new("connect", connect_thread, s);
    while (!__atomic_load_n(&s->connected, __ATOMIC_ACQUIRE)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_thread_join(t);
}

static gpointer phase_thread(gpointer opaque)
{
    Stage *s = opaque;

    s->placer->ops->hook(s->placer, NULL, &s->err);
    io_channel_close(s->ioc, NULL);
    return NULL;
}

static void stage_open(Stage *s)
{
    static const RdmaHello hello = {.version = 1, .godwit = true, .features = RDMA_FEATURE_BATCH};

    stage_connect(s, &hello);
    g_assert_nonnull(s->ioc);
    s->placer = ram_placer_rdma_new(s->ioc, s->list, false, 2 * MiB);
    g_assert_true(s->placer->ops->list_block(s->placer, NULL, s->a, false, NULL));
    s->thread = g_thread_new("phase", phase_thread, s);
}

static void stage_clear(Stage *s)
{
    rdma_connection_free(s->c);
    if (s->thread) {
        g_thread_join(s->thread);
    }
    if (s->ioc) {
        io_channel_close(s->ioc, NULL);
    }
    if (s->placer) {
        s->placer->ops->cleanup(s->placer);
    }
    rdma_listener_free(s->listener);
    g_clear_object(&s->ioc);
    g_clear_error(&s->err);
    ram_block_free(s->a);
    ram_list_free(s->list);
    fake_fabric_free(s->f);
    *s = (Stage){0};
}

/* Send a message, permitted or not; the answer, if one is expected, comes by rdma_expect(). */
static void say(Stage *s, RdmaMessageType type, uint32_t repeat, const void *payload, uint32_t len)
{
    unsigned slot;

    g_assert_true(rdma_take_credit(s->c, NULL) && rdma_take_slot(s->c, &slot, NULL));
    memcpy(rdma_slot_payload(s->c, slot), payload, len);
    g_assert_true(rdma_send_slot_now(s->c, slot, type, repeat, len, NULL, NULL));
}

static uint64_t exchange_blocks(Stage *s)
{
    RdmaMessage m;
    RdmaBlockInfo b;

    say(s, RDMA_MSG_RAM_BLOCKS_REQUEST, 1, "", 0);
    g_assert_true(rdma_expect(s->c, RDMA_MSG_RAM_BLOCKS_RESULT, &m, NULL));
    g_assert_cmpuint(m.header.repeat, ==, 1);
    rdma_get_block(m.payload, &b);
    g_assert_cmpuint(b.length, ==, A_SIZE);
    g_assert_true(rdma_release(s->c, &m, NULL));
    return b.offset;
}

/* The phase has ended, and this is why. */
static void ends_with(Stage *s, const char *text)
{
    g_thread_join(g_steal_pointer(&s->thread));
    g_assert_nonnull(s->err);
    if (!strstr(s->err->message, text)) {
        g_error("expected '%s', got '%s'", text, s->err->message);
    }
}

/* ---- commands ---- */

static const struct {
    RdmaRegister r;
    RdmaMessageType type;
    const char *text;
} registers[] = {
    {{.address = 0, .block = 1}, RDMA_MSG_REGISTER_REQUEST, "RAM block 1 of 1"},
    {{.address = 0, .block = UINT32_MAX}, RDMA_MSG_REGISTER_REQUEST, "RAM block 4294967295 of 1"},
    {{.address = A_SIZE}, RDMA_MSG_REGISTER_REQUEST, "outside the block"},
    {{.address = UINT64_MAX}, RDMA_MSG_REGISTER_REQUEST, "outside the block"},
    {{.more_chunks = 4}, RDMA_MSG_REGISTER_REQUEST, "beyond the end"},
    {{.more_chunks = UINT64_MAX}, RDMA_MSG_REGISTER_REQUEST, "beyond the end"},
    {{.address = 0}, RDMA_MSG_UNREGISTER_REQUEST, "is not registered"},
    {{.address = UINT64_MAX}, RDMA_MSG_UNREGISTER_REQUEST, "is not registered"},
    {{.block = 7}, RDMA_MSG_UNREGISTER_REQUEST, "RAM block 7 of 1"},
};

static void test_registers(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++) {
        RdmaRegister r = registers[i].r;
        uint8_t bytes[RDMA_REGISTER_SIZE];
        Stage s = {0};

        stage_open(&s);
        if (registers[i].type == RDMA_MSG_REGISTER_REQUEST) {
            r.address += exchange_blocks(&s);
        } else {
            exchange_blocks(&s);
        }
        rdma_put_register(bytes, &r);
        say(&s, registers[i].type, 1, bytes, sizeof(bytes));
        ends_with(&s, registers[i].text);
        stage_clear(&s);
    }
}

static const struct {
    RdmaCompress z;
    const char *text;
} zeros[] = {
    {{.block = 1, .length = 4096}, "RAM block 1 of 1"},
    {{.address = A_SIZE - 4096, .length = 8192}, "outside the block"},
    {{.address = 4096, .length = UINT64_MAX - 4095}, "outside the block"},
    {{.address = 1, .length = 4096}, "not whole pages"},
    {{.address = 0, .length = 4095}, "not whole pages"},
};

static void test_zeros(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(zeros); i++) {
        RdmaCompress z = zeros[i].z;
        uint8_t bytes[RDMA_COMPRESS_SIZE];
        Stage s = {0};

        stage_open(&s);
        z.address += exchange_blocks(&s);
        rdma_put_compress(bytes, &z);
        say(&s, RDMA_MSG_COMPRESS, 1, bytes, sizeof(bytes));
        ends_with(&s, zeros[i].text);
        stage_clear(&s);
    }
}

static void test_grammar(void)
{
    static const struct {
        RdmaMessageType type;
        uint32_t repeat, len;
        const char *text;
    } rows[] = {
        {RDMA_MSG_QEMU_FILE, 1, 8, "QEMU FILE inside a registration phase"},
        {RDMA_MSG_RAM_BLOCKS_RESULT, 1, 32, "RAM BLOCKS RESULT inside a registration phase"},
        {RDMA_MSG_UNREGISTER_FINISHED, 1, 0, "UNREGISTER FINISHED inside"},
        {RDMA_MSG_ERROR, 1, 0, "it has failed"},
        {RDMA_MSG_NONE, 1, 0, "unknown type"},
        {(RdmaMessageType)77, 1, 0, "unknown type"},
        {RDMA_MSG_REGISTER_REQUEST, 4097, 4097 * RDMA_REGISTER_SIZE, "too many commands"},
        {RDMA_MSG_REGISTER_REQUEST, 2, RDMA_REGISTER_SIZE, "does not fit its commands"},
        {RDMA_MSG_REGISTER_REQUEST, 1, RDMA_REGISTER_SIZE, "RAM block 0 of 0"},
        {RDMA_MSG_COMPRESS, 1, RDMA_COMPRESS_SIZE, "RAM block 0 of 0"},
    };
    g_autofree uint8_t *nothing = g_malloc0(RDMA_PAYLOAD_MAX);

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        Stage s = {0};

        stage_open(&s);
        say(&s, rows[i].type, rows[i].repeat, nothing, rows[i].len);
        ends_with(&s, rows[i].text);
        stage_clear(&s);
    }
}

static void test_blocks_twice(void)
{
    Stage s = {0};

    stage_open(&s);
    exchange_blocks(&s);
    say(&s, RDMA_MSG_RAM_BLOCKS_REQUEST, 1, "", 0);
    ends_with(&s, "asks for the RAM blocks twice");
    stage_clear(&s);
}

/* Overlapping registrations without end: bounded by the block's size. */
static void test_registers_again(void)
{
    uint8_t bytes[RDMA_REGISTER_SIZE];
    unsigned answers = 0;
    RdmaMessage m;
    Stage s = {0};
    uint64_t base;

    stage_open(&s);
    base = exchange_blocks(&s);
    for (unsigned i = 0; i < 100; i++) {
        /* Chunk 1 alone gets a region; asking for more from there needs another, unregister, ... */
        RdmaRegister r = {.address = base + MiB, .more_chunks = i % 2 ? 2 : 0};
        RdmaRegister gone = {.address = 1};

        rdma_put_register(bytes, &r);
        if (!rdma_connection_check(s.c, NULL)) {
            break;
        }
        say(&s, RDMA_MSG_REGISTER_REQUEST, 1, bytes, sizeof(bytes));
        if (!rdma_expect(s.c, RDMA_MSG_REGISTER_RESULT, &m, NULL)) {
            break;
        }
        answers++;
        g_assert_true(rdma_release(s.c, &m, NULL));
        rdma_put_register(bytes, &gone);
        say(&s, RDMA_MSG_UNREGISTER_REQUEST, 1, bytes, sizeof(bytes));
        g_assert_true(rdma_expect(s.c, RDMA_MSG_UNREGISTER_FINISHED, &m, NULL));
        g_assert_true(rdma_release(s.c, &m, NULL));
    }
    ends_with(&s, "again and again");
    g_assert_cmpuint(answers, ==, 8); /* twice per chunk */
    stage_clear(&s);
}

/* What was registered can be written, everything else cannot. */
static void test_reach(void)
{
    uint8_t bytes[RDMA_REGISTER_SIZE];
    RdmaRegisterResult result;
    RdmaMessage m;
    Stage s = {0};
    RdmaRegister r;

    stage_open(&s);
    r = (RdmaRegister){.address = exchange_blocks(&s) + 2 * MiB};
    rdma_put_register(bytes, &r);
    say(&s, RDMA_MSG_REGISTER_REQUEST, 1, bytes, sizeof(bytes));
    g_assert_true(rdma_expect(s.c, RDMA_MSG_REGISTER_RESULT, &m, NULL));
    rdma_get_register_result(m.payload, &result);
    g_assert_true(rdma_release(s.c, &m, NULL));
    g_assert_true(result.host == (uintptr_t)s.a->host);
    memset(s.c->memory, 0x5a, 4096);
    g_assert_true(rdma_post_write(s.c, s.c->memory, 4096, s.c->region.lkey, result.host + 2 * MiB,
                                  result.rkey, NULL));
    g_assert_cmpuint(s.a->host[2 * MiB + 4095], ==, 0x5a);
    g_assert_true(rdma_post_write(s.c, s.c->memory, 4096, s.c->region.lkey,
                                  result.host + 2 * MiB - 4096, result.rkey, NULL));
    ends_with(&s, "connection was closed");
    g_assert_cmpuint(s.a->host[2 * MiB - 1], ==, 0);
    stage_clear(&s);
}

static void test_version(void)
{
    static const RdmaHello two = {.version = 2}, none = {.version = 0};
    const RdmaHello *hellos[] = {&two, &none};

    for (unsigned i = 0; i < ARRAY_SIZE(hellos); i++) {
        Stage s = {0};

        stage_connect(&s, hellos[i]);
        g_assert_null(s.ioc); /* nothing came of it, and the listener listens */
        g_assert_nonnull(s.err);
        stage_clear(&s);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rdma-hostile/registers", test_registers);
    g_test_add_func("/rdma-hostile/zeros", test_zeros);
    g_test_add_func("/rdma-hostile/grammar", test_grammar);
    g_test_add_func("/rdma-hostile/blocks-twice", test_blocks_twice);
    g_test_add_func("/rdma-hostile/registers-again", test_registers_again);
    g_test_add_func("/rdma-hostile/reach", test_reach);
    g_test_add_func("/rdma-hostile/version", test_version);
    return g_test_run();
}
