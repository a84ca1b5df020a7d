/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The packets of multifd: what is accepted keeps its promises, and comes out the same again. */
#include "fuzz.h"
#include "migration/wire/multifd.h"

static uint64_t count(const MultifdRun *run, unsigned runs)
{
    uint64_t pages = 0;

    for (unsigned i = 0; i < runs; i++) {
        g_assert_cmpuint(run[i].count, >, 0);
        pages += run[i].count;
    }
    return pages;
}

static void packet(const uint8_t *data)
{
    g_autofree uint8_t *bytes = g_memdup2(data, MULTIFD_HEADER_SIZE);
    uint8_t again[MULTIFD_HEADER_SIZE];
    g_autoptr(GError) err = NULL;
    MultifdPacket p, q;

    if (!multifd_decode_packet(bytes, &p, &err)) {
        g_assert_nonnull(err);
        return;
    }
    g_assert_cmpuint(p.pages + p.zero_pages, <=, MULTIFD_PACKET_PAGES);
    g_assert_cmpuint(count(p.run, p.runs), ==, p.pages);
    g_assert_cmpuint(count(p.zero, p.zero_runs), ==, p.zero_pages);
    multifd_encode_packet(&p, again);
    g_assert_true(multifd_decode_packet(again, &q, NULL));
    g_assert_true(p.flags == q.flags && p.number == q.number && p.payload == q.payload);
    g_assert_true(p.runs == q.runs && p.zero_runs == q.zero_runs);
    g_assert_cmpstr(p.block, ==, q.block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MultifdInit init;

    if (size >= MULTIFD_INIT_SIZE) {
        multifd_decode_init(data, &init, NULL);
    }
    if (size >= MULTIFD_HEADER_SIZE) {
        packet(data);
    }
    return 0;
}
