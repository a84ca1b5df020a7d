/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory/ram-internal.h"

static unsigned clients_on(const RAMList *list)
{
    return __atomic_load_n(&list->dirty_clients, __ATOMIC_ACQUIRE);
}

static unsigned long *client_map(const RAMBlock *block, int client)
{
    return __atomic_load_n(&block->dirty[client], __ATOMIC_ACQUIRE);
}

static uint64_t max_pages(const RAMBlock *block)
{
    return block->max_length >> TARGET_PAGE_BITS;
}

void dirty_log_set_write_barrier(RAMList *list, DirtyWriteBarrier *fn, void *opaque)
{
    list->barrier = fn;
    list->barrier_opaque = opaque;
}

void dirty_log_barrier(RAMList *list)
{
    if (list->barrier) {
        list->barrier(list->barrier_opaque);
    }
}

static bool ensure_store(RAMBlock *block, DirtyClient client, GError **errp)
{
    unsigned long **store = &ram_block_priv(block)->dirty_store[client];

    if (!*store) {
        *store = bitmap_try_new(max_pages(block));
    }
    if (!*store) {
        error_setg(errp, "not enough memory for the dirty log of RAM block '%s'", block->idstr);
    }
    return *store != NULL;
}

/* ---- sources ---- */

void dirty_log_add_source(RAMList *list, DirtySource *s)
{
    s->next = list->sources;
    list->sources = s;
}

void dirty_log_remove_source(RAMList *list, DirtySource *s)
{
    DirtySource **link = &list->sources;

    while (*link && *link != s) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = s->next;
    }
}

void dirty_log_collect(RAMList *list)
{
    for (DirtySource *s = list->sources; s; s = s->next) {
        s->collect(s);
    }
}

static void stop_sources(RAMList *list, const DirtySource *until)
{
    for (DirtySource *s = list->sources; s != until; s = s->next) {
        s->stop(s);
    }
}

static bool start_sources(RAMList *list, GError **errp)
{
    for (DirtySource *s = list->sources; s; s = s->next) {
        if (!s->start(s, errp)) {
            stop_sources(list, s);
            return false;
        }
    }
    return true;
}

/* ---- the log ---- */

bool dirty_log_start(RAMList *list, DirtyClient client, GError **errp)
{
    g_assert(!(clients_on(list) & (1u << client)));
    RAMBLOCK_FOREACH (block, list) {
        if (!ensure_store(block, client, errp)) {
            return false;
        }
    }
    if (!clients_on(list) && !start_sources(list, errp)) {
        return false;
    }
    RAMBLOCK_FOREACH (block, list) {
        unsigned long *store = ram_block_priv(block)->dirty_store[client];

        /* Atomic: a writer that still knows the bitmap from last time may set a bit right now. */
        for (uint64_t i = 0; i < BITS_TO_LONGS(max_pages(block)); i++) {
            __atomic_store_n(&store[i], 0, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&block->dirty[client], store, __ATOMIC_RELEASE);
    }
    __atomic_fetch_or(&list->dirty_clients, 1u << client, __ATOMIC_SEQ_CST);
    dirty_log_barrier(list);
    return true;
}

void dirty_log_stop(RAMList *list, DirtyClient client)
{
    if (__atomic_and_fetch(&list->dirty_clients, ~(1u << client), __ATOMIC_SEQ_CST) == 0) {
        stop_sources(list, NULL);
    }
    RAMBLOCK_FOREACH (block, list) {
        __atomic_store_n(&block->dirty[client], NULL, __ATOMIC_RELEASE);
    }
}

bool dirty_log_active(const RAMList *list)
{
    return clients_on(list) != 0;
}

bool dirty_log_block_added(RAMBlock *block, GError **errp)
{
    for (int c = 0; c < DIRTY_CLIENT__MAX; c++) {
        if (clients_on(block->list) & (1u << c)) {
            if (!ensure_store(block, c, errp)) {
                return false;
            }
            block->dirty[c] = ram_block_priv(block)->dirty_store[c];
            bitmap_set(block->dirty[c], 0, max_pages(block));
        }
    }
    return true;
}

uint64_t dirty_log_sync_block(RAMBlock *block, DirtyClient client, unsigned long *dest)
{
    unsigned long *map = client_map(block, client);

    return map ? bitmap_fetch_clear_or(dest, map, ram_block_pages(block)) : 0;
}

void dirty_log_mark(RAMBlock *block, ram_addr_t offset, uint64_t len)
{
    uint64_t first, last;

    if (len == 0) {
        return;
    }
    first = offset >> TARGET_PAGE_BITS;
    last = (offset + len - 1) >> TARGET_PAGE_BITS;
    for (int c = 0; c < DIRTY_CLIENT__MAX; c++) {
        unsigned long *map = client_map(block, c);

        if (!map) {
            continue;
        }
        if (first == last) {
            set_bit_atomic(first, map);
        } else {
            bitmap_set_atomic(map, first, last - first + 1);
        }
    }
}

bool dirty_log_page_is_dirty(const RAMBlock *block, uint64_t page)
{
    for (int c = 0; c < DIRTY_CLIENT__MAX; c++) {
        unsigned long *map = client_map(block, c);

        if (map &&
            !((__atomic_load_n(&map[BIT_WORD(page)], __ATOMIC_ACQUIRE) >> (page % BITS_PER_LONG)) &
              1)) {
            return false;
        }
    }
    return true;
}
