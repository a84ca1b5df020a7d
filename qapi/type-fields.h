/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fields and lists of described types: what reading and writing share. */
#ifndef QAPI_TYPE_FIELDS_H
#define QAPI_TYPE_FIELDS_H

#include "qapi/type-info.h"

/* Does a field of this type hold a pointer? */
bool type_is_pointer(const QapiType *type);
void field_store_int(const QapiType *type, void *field, int64_t v);
int64_t field_load_int(const QapiType *type, const void *field);
/* Free what a field owns and zero it. */
void field_clear(const QapiType *type, void *field);

/* GPtrArray or GArray, see QAPI_LIST. */
void *list_new(const QapiType *element);
void list_free(const QapiType *element, void *list);
/* Append a copy of *field; ownership of what it points to moves. */
void list_append(const QapiType *element, void *list, const void *field);
unsigned list_length(const QapiType *element, const void *list);
const void *list_field(const QapiType *element, const void *list, unsigned i);

/* The pointer to the branch inside the C union of a QAPI union. */
static inline void **branch_field(const QapiType *type, void *value)
{
    return (void **)((char *)value + type->branch_offset);
}

#endif
