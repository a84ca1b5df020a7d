/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plain format puts 8 bytes of head before every 4096 bytes of page, so a page can be read in
 * place only by who knows where the heads are. A sender of bulk memory sends page after page; so
 * guess: one scattered read puts
 *
 *     rest of this page | head | next page | head | page after | ...
 *
 * where they belong if the guess is right, and the heads tell afterwards whether it was.
 *
 * Why this cannot go wrong:
 *  - The page being completed is certain: its head was read and checked before.
 *  - Bytes are guessed only into pages that the placer offers: they lie inside the block, and
 *    nothing but zeros has been received for them.
 *  - At the first head that is not as guessed, everything from there on, page bytes too, goes back
 * into the stream in its order, and the offered pages behind it are zeroed as far as they were
 * written. Memory and stream are then exactly as if the read had ended at that head, so the
 * ordinary parser goes on from there.
 *  - Nobody else looks at the memory meanwhile: the guest has not started, and a placer used while
 * it runs (postcopy) offers nothing.
 *
 * A wrong guess costs a copy, so the window follows what the stream does: it grows while guesses
 * hold, and guessing pauses when runs are short or the channel delivers in small pieces. Then the
 * file's buffer serves.
 */
#include "migration/ram/stream-reader.h"

#define FIRST_WINDOW  16
#define MIN_WINDOW    8
#define MAX_POOR      4
#define RESUME_STREAK 64

void ram_reader_init(RamReader *r)
{
    r->window = FIRST_WINDOW;
    r->poor = r->streak = 0;
}

static uint64_t head_word(uint64_t page)
{
    return (page << TARGET_PAGE_BITS) | RAM_FLAG_PAGE | RAM_FLAG_CONTINUE;
}

/* Where a guessing read stands: page @page has @filled bytes, then @head_bytes of the next head are
 * there. */
typedef struct {
    QEMUFile *f;
    RamPlacer *placer;
    RAMBlock *block;
    uint64_t page;
    size_t filled, head_bytes;
    uint8_t *host; /* of @page */
} Guess;

/* Scatter list for what is missing of the current page, then @n heads and pages from @ahead. */
static unsigned build_iov(RamReader *r, const Guess *g, uint8_t *ahead, uint64_t n)
{
    struct iovec *iov = r->iov;

    if (g->filled < RAM_PAGE_SIZE) {
        *iov++ = (struct iovec){g->host + g->filled, RAM_PAGE_SIZE - g->filled};
    }
    for (uint64_t i = 0; i < n; i++) {
        size_t have = i == 0 ? g->head_bytes : 0;

        *iov++ = (struct iovec){r->heads[i] + have, RAM_WORD_BYTES - have};
        *iov++ = (struct iovec){ahead + i * RAM_PAGE_SIZE, RAM_PAGE_SIZE};
    }
    return iov - r->iov;
}

/* Page @base was guessed to be at @ahead. @len bytes from head @i on are not what was expected:
 * back into the stream, in order, and out of memory. */
static void give_back(RamReader *r, const Guess *g, uint64_t base, uint8_t *ahead, uint64_t i,
                      size_t len)
{
    g_autofree uint8_t *bytes = g_malloc(len);
    uint64_t first = i;
    size_t pos = 0, stray = 0;

    for (; pos < len; i++) {
        size_t n = MIN(len - pos, RAM_WORD_BYTES);

        memcpy(bytes + pos, r->heads[i], n);
        pos += n;
        n = MIN(len - pos, RAM_PAGE_SIZE);
        memcpy(bytes + pos, ahead + i * RAM_PAGE_SIZE, n);
        pos += n;
        stray += n;
    }
    g->placer->ops->retract(g->placer, g->block, base + first, stray);
    qemu_file_unread(g->f, bytes, len);
}

typedef enum {
    GUESS_GOES_ON,
    GUESS_WRONG,
} GuessResult;

/* @got bytes have arrived; @n pages were offered at @ahead. Moves @g on over what came as guessed:
 * *right pages. */
static GuessResult check_heads(RamReader *r, Guess *g, uint8_t *ahead, uint64_t n, size_t got,
                               uint64_t *right)
{
    size_t missing = RAM_PAGE_SIZE - g->filled;
    uint64_t base = g->page + 1, i = 0;

    *right = 0;
    if (got < missing) {
        g->filled += got;
        return GUESS_GOES_ON;
    }
    g->filled = RAM_PAGE_SIZE;
    got += g->head_bytes - missing;
    g->head_bytes = 0;
    while (i < n && got >= RAM_WORD_BYTES) {
        if (ram_get_word(r->heads[i]) != head_word(base + i)) {
            g->placer->ops->accept(g->placer, g->block, base, i);
            give_back(r, g, base, ahead, i, got);
            *right = i;
            return GUESS_WRONG;
        }
        got -= RAM_WORD_BYTES;
        g->page = base + i;
        g->host = ahead + i * RAM_PAGE_SIZE;
        g->filled = MIN(got, RAM_PAGE_SIZE);
        got -= g->filled;
        i++;
    }
    g->placer->ops->accept(g->placer, g->block, base, i);
    *right = i;
    if (got) {
        memmove(r->heads[0], r->heads[i], got);
        g->head_bytes = got;
    }
    return GUESS_GOES_ON;
}

/* Nothing is offered beyond the current page: finish it the ordinary way. */
static bool finish_page(RamReader *r, Guess *g, GError **errp)
{
    if (g->filled < RAM_PAGE_SIZE) {
        return qemu_get_buffer_into(g->f, g->host + g->filled, RAM_PAGE_SIZE - g->filled) ||
               qemu_file_check(g->f, errp);
    }
    if (g->head_bytes) {
        qemu_file_unread(g->f, r->heads[0], g->head_bytes);
    }
    return true;
}

static void adapt_window(RamReader *r, uint64_t offered, uint64_t right)
{
    r->poor = right ? 0 : r->poor + 1;
    if (right == offered) {
        r->window = MIN(r->window * 2, READER_MAX_PAGES);
    } else {
        r->window = CLAMP(right * 2, MIN_WINDOW, READER_MAX_PAGES);
    }
    if (r->poor >= MAX_POOR) {
        r->window = 0;
        r->poor = r->streak = 0;
    }
}

/* Read by guessing until a guess was wrong or there is nothing to guess. */
static bool guess_run(RamReader *r, Guess *g, GError **errp)
{
    uint64_t pages = ram_block_pages(g->block), run = 0;

    while (r->window) {
        uint64_t next = g->page + 1, n, right;
        uint8_t *ahead = NULL;
        GuessResult result;
        size_t got;

        n = g->placer->ops->offer(g->placer, g->block, next, MIN(r->window, pages - next), &ahead);
        if (n == 0) {
            break;
        }
        got = qemu_file_readv_some(g->f, r->iov, build_iov(r, g, ahead, n));
        if (got == 0) {
            return qemu_file_check(g->f, errp);
        }
        result = check_heads(r, g, ahead, n, got, &right);
        run += right;
        if (result == GUESS_WRONG) {
            if (run < MIN_WINDOW) {
                r->window = r->streak = 0;
            } else {
                r->window = CLAMP(run, MIN_WINDOW, READER_MAX_PAGES);
            }
            return true;
        }
        adapt_window(r, n, right);
    }
    return finish_page(r, g, errp);
}

/* A guess on an empty buffer: what is buffered of the page's payload is moved, the rest will be
 * read in place. */
static bool start_guessing(RamReader *r, QEMUFile *f, RamPlacer *placer, RAMBlock *block,
                           uint64_t page, size_t buffered, GError **errp)
{
    Guess g = {.f = f, .placer = placer, .block = block, .page = page, .filled = buffered};

    g.host = placer->ops->direct(placer, block, page, 1);
    if (buffered && !qemu_get_buffer_into(f, g.host, buffered)) {
        return qemu_file_check(f, errp);
    }
    return guess_run(r, &g, errp);
}

bool ram_reader_run(RamReader *r, QEMUFile *f, RamPlacer *placer, RAMBlock *block, uint64_t page,
                    GError **errp)
{
    uint64_t pages = ram_block_pages(block);

    for (;;) {
        const uint8_t *p;
        size_t buffered = qemu_peek_available(f, &p, 0);

        if (r->window && buffered < RAM_PAGE_SIZE && placer->ops->offer) {
            return start_guessing(r, f, placer, block, page, buffered, errp);
        }
        if (!placer->ops->place_run(placer, f, block, page, 1, errp)) {
            return false;
        }
        if (++page == pages || qemu_peek_available(f, &p, RAM_WORD_BYTES) < RAM_WORD_BYTES ||
            ram_get_word(p) != head_word(page)) {
            r->streak = 0;
            return true;
        }
        qemu_file_skip(f, RAM_WORD_BYTES);
        if (!r->window && ++r->streak >= RESUME_STREAK) {
            r->window = FIRST_WINDOW;
        }
    }
}
