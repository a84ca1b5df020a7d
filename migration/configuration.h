/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration item at the head of a stream: are these the same kind of machine (spec 10
 * section 4)? */
#ifndef GODWIT_MIGRATION_CONFIGURATION_H
#define GODWIT_MIGRATION_CONFIGURATION_H

#include "migration/core.h"

/* Item type and body. */
bool configuration_save(QEMUFile *f, Migration *m, GError **errp);
/* The body. */
bool configuration_load(QEMUFile *f, Migration *m, GError **errp);

#endif
