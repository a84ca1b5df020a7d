/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "migration/postcopy/faults.h"
#include <poll.h>
#include <sys/eventfd.h>
#include "util/log.h"
#include "util/thread.h"
#include "util/userfaultfd.h"

LOG_CATEGORY(postcopy)

/* So many threads that fault are made prompt; there are rarely more vCPUs. */
#define PROMPT_MAX 64
/* Faults read at once; vCPUs that fault together are asked for together. */
#define BATCH RETURN_PATH_BATCH

struct PostcopyFaults {
    PostcopyPlace *place;
    ReturnPathWriter *rp;
    GThread *thread;
    int quit_fd;

    /* Fault thread. */
    uint32_t prompt[PROMPT_MAX]; /* ids of threads */
    unsigned n_prompt;
};

/* It will fault again. What it does in between is short, and the push keeps the CPUs busy. */
static void make_prompt(PostcopyFaults *pf, uint32_t tid)
{
    unsigned i = 0;

    while (i < pf->n_prompt && pf->prompt[i] != tid) {
        i++;
    }
    if (i == pf->n_prompt && i < PROMPT_MAX) {
        pf->prompt[pf->n_prompt++] = tid;
        thread_set_prompt(tid, true);
    }
}

static void end_prompt(PostcopyFaults *pf)
{
    for (unsigned i = 0; i < pf->n_prompt; i++) {
        thread_set_prompt(pf->prompt[i], false);
    }
}

/* A page that is here was touched when it was not, or is one of zeroes that never took a byte. */
static void serve_here(PostcopyFaults *pf, PostcopyBlock *pb, uint64_t page)
{
    g_autoptr(GError) err = NULL;

    if (!postcopy_place(pf->place, pb, page, postcopy_host_pages(pb), NULL, &err)) {
        error_report("postcopy: %s", err->message);
    }
}

/* Before the page can be asked for, let alone come. */
static void note_wait(PostcopyFaults *pf, const PostcopyBlock *pb, uint64_t page, uint32_t tid)
{
    const uint8_t *host = pb->block->host + (page << TARGET_PAGE_BITS);

    blocktime_begin(pf->place->blocktime, tid, host, blocktime_now());
    if (postcopy_page_received(pb, page)) {
        blocktime_end(pf->place->blocktime, host, 1); /* it came between fault and note */
    }
}

static void serve(PostcopyFaults *pf, const UffdFault *faults, unsigned n)
{
    ReturnPathRequest requests[BATCH];
    g_autoptr(GError) err = NULL;
    unsigned asked = 0;

    for (unsigned i = 0; i < n; i++) {
        uint64_t page;
        PostcopyBlock *pb = postcopy_block_by_address(&pf->place->pages, faults[i].address, &page);

        if (!pb) {
            error_report("postcopy: fault at 0x%" PRIx64 ", where no guest memory is",
                         faults[i].address);
            continue;
        }
        if (faults[i].thread) {
            make_prompt(pf, faults[i].thread);
        }
        if (pf->place->blocktime && faults[i].thread && !postcopy_page_received(pb, page)) {
            note_wait(pf, pb, page, faults[i].thread);
        }
        if (postcopy_page_received(pb, page)) {
            serve_here(pf, pb, page);
        } else if (postcopy_page_request(&pf->place->pages, pb, page)) {
            trace(postcopy, "fault: %s 0x%" PRIx64, pb->block->idstr, page << TARGET_PAGE_BITS);
            requests[asked++] = (ReturnPathRequest){pb->block->idstr, page << TARGET_PAGE_BITS,
                                                    pb->block->page_size};
        } else if (postcopy_page_received(pb, page)) {
            serve_here(pf, pb, page); /* it came just now */
        }
    }
    if (asked && !return_path_request_pages(pf->rp, requests, asked, &err)) {
        trace(postcopy, "%s", err->message); /* who reads the channel will see it, too */
    }
}

static gpointer faults_thread(gpointer opaque)
{
    PostcopyFaults *pf = opaque;
    struct pollfd fds[] = {{pf->place->uffd, POLLIN, 0}, {pf->quit_fd, POLLIN, 0}};
    UffdFault faults[BATCH];

    thread_prompt();
    for (;;) {
        g_autoptr(GError) err = NULL;
        int n;

        if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR) {
            error_report("postcopy: cannot wait for faults: %s", g_strerror(errno));
            return NULL;
        }
        if (fds[1].revents) {
            return NULL;
        }
        n = uffd_read(pf->place->uffd, faults, BATCH, &err);
        if (n < 0) {
            error_report("postcopy: %s", err->message);
            return NULL;
        }
        serve(pf, faults, n);
    }
}

bool postcopy_faults_repeat(PostcopyFaults *pf, GError **errp)
{
    PostcopyPages *p = &pf->place->pages;
    ReturnPathRequest requests[BATCH];
    unsigned n = 0;

    for (unsigned i = 0; i < p->n; i++) {
        PostcopyBlock *pb = &p->blocks[i];
        uint64_t page = postcopy_next_requested(pb, 0);

        for (; page != UINT64_MAX; page = postcopy_next_requested(pb, page + 1)) {
            requests[n++] = (ReturnPathRequest){pb->block->idstr, page << TARGET_PAGE_BITS,
                                                pb->block->page_size};
            if (n == BATCH) {
                if (!return_path_request_pages(pf->rp, requests, n, errp)) {
                    return false;
                }
                n = 0;
            }
        }
    }
    return n == 0 || return_path_request_pages(pf->rp, requests, n, errp);
}

PostcopyFaults *postcopy_faults_start(PostcopyPlace *place, ReturnPathWriter *rp, GError **errp)
{
    PostcopyFaults *pf = g_new0(PostcopyFaults, 1);

    pf->place = place;
    pf->rp = rp;
    pf->quit_fd = eventfd(0, EFD_CLOEXEC);
    if (pf->quit_fd < 0) {
        error_setg_errno(errp, errno, "postcopy: no descriptor to end the fault thread with");
    } else {
        pf->thread = g_thread_try_new("faults", faults_thread, pf, errp);
    }
    if (!pf->thread) {
        if (pf->quit_fd >= 0) {
            close(pf->quit_fd);
        }
        g_clear_pointer(&pf, g_free);
    }
    return pf;
}

void postcopy_faults_stop(PostcopyFaults *pf)
{
    uint64_t one = 1;

    if (pf) {
        if (write(pf->quit_fd, &one, sizeof(one)) != sizeof(one)) {
            g_assert_not_reached(); /* an eventfd takes a first one always */
        }
        g_thread_join(pf->thread);
        end_prompt(pf);
        close(pf->quit_fd);
        g_free(pf);
    }
}
