/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The description of the device state that follows the stream (spec 10 section 7).
 *
 * While the guest is stopped only a compact record of what was saved is kept; the JSON text is made
 * from it afterwards, when the destination may already run. Used by one thread.
 */
#ifndef GODWIT_MIGRATION_VMDESC_H
#define GODWIT_MIGRATION_VMDESC_H

#include "migration/vmstate.h"

VMDescWriter *vmdesc_new(void);
void vmdesc_free(VMDescWriter *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VMDescWriter, vmdesc_free)

/* What is saved, in stream order; a NULL writer is fine. Names and descriptions must outlive the
 * writer. */
void vmdesc_device(VMDescWriter *w, const char *idstr, uint32_t instance_id);
void vmdesc_device_end(VMDescWriter *w);
void vmdesc_state(VMDescWriter *w, const VMStateDescription *vmsd, int version);
void vmdesc_state_end(VMDescWriter *w);
/* A field, or element @index of @n; with @whole the object stands for all @n elements. */
void vmdesc_field(VMDescWriter *w, const VMStateDescription *owner, const VMStateField *field,
                  uint32_t index, uint32_t n, bool whole);
void vmdesc_field_end(VMDescWriter *w, uint64_t bytes);

/* The JSON text, one line. */
GString *vmdesc_render(const VMDescWriter *w, uint64_t page_size);

#endif
