/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -object memory-backend-{ram,memfd,file,shm}: guest RAM the user chose (spec 71 section 3.2).
 *
 * The memory is acquired when the object completes and lives as long as the object. A machine makes
 * one RAMBlock of it; while that exists the object cannot be deleted. Big lock held throughout.
 */
#ifndef GODWIT_MEMORY_MEMORY_BACKEND_H
#define GODWIT_MEMORY_MEMORY_BACKEND_H

#include "memory/host-memory.h"
#include "memory/ramblock.h"

#define TYPE_MEMORY_BACKEND (memory_backend_get_type())
G_DECLARE_DERIVABLE_TYPE(MemoryBackend, memory_backend, GW, MEMORY_BACKEND, GObject)

struct _MemoryBackendClass {
    GObjectClass parent_class;
    /*
     * Open what backs the memory: set req->fd (owned by the base class from then on) and page_size,
     * and refuse options this kind cannot honour. NULL: anonymous memory.
     */
    bool (*open)(MemoryBackend *mb, HostMemoryRequest *req, GError **errp);
    /* The memory is about to be unmapped. Optional. */
    void (*closing)(MemoryBackend *mb, void *host, uint64_t size);
};

uint64_t memory_backend_size(MemoryBackend *mb);
/*
 * The RAMBlock of a completed backend, named after the object ("m0", or "/objects/m0" with
 * x-use-canonical-path-for-ramblock-id). @flags: RamFlags to add, e.g. RAM_MIGRATABLE. Holds a
 * reference to @mb until ram_block_free(). NULL and *errp when the backend is in use already.
 */
RAMBlock *memory_backend_new_block(MemoryBackend *mb, RAMList *list, uint32_t flags, GError **errp);

#endif
