/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entropy sources for virtio-rng: -object rng-random (a file) and rng-builtin (the host kernel).
 * Main thread, big lock.
 */
#ifndef GODWIT_BACKENDS_RNG_H
#define GODWIT_BACKENDS_RNG_H

#include "util/object.h"

/* Bytes have arrived. */
typedef void RngReceive(void *opaque, const uint8_t *buf, size_t len);

#define TYPE_RNG_BACKEND (rng_backend_get_type())
G_DECLARE_DERIVABLE_TYPE(RngBackend, rng_backend, GW, RNG_BACKEND, GObject)
struct _RngBackendClass {
    GObjectClass parent_class;
    /* Fill up to @len bytes now; 0: none yet, rng_backend_ready() follows; -1 and error. */
    ssize_t (*fill)(RngBackend *rng, uint8_t *buf, size_t len, GError **errp);
    gboolean (*complete)(RngBackend *rng, GError **errp);
};

/* Ask for @len bytes (at most 64 KiB are delivered at once); @cb runs on the main loop, exactly
 * once unless cancelled. */
void rng_backend_request(RngBackend *rng, size_t len, RngReceive *cb, void *opaque);
/* Forget all requests of @opaque. */
void rng_backend_cancel(RngBackend *rng, void *opaque);

#endif
