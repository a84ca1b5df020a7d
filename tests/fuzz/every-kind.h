/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device that has a field of every kind a VMStateDescription knows. */
#ifndef GODWIT_TESTS_EVERY_KIND_H
#define GODWIT_TESTS_EVERY_KIND_H

#include "migration/register.h"

typedef struct EveryKind EveryKind;

EveryKind *every_kind_new(SaveStateList *list);
/* Aborts if memory behind the fields was written; the sections are gone afterwards. */
void every_kind_free(EveryKind *e, SaveStateList *list);

#endif
