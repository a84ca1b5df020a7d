/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that was restored lazily (x-mapped-load=lazy) runs while its memory still comes from the
 * file. It cannot migrate until all is there; a page that cannot be read stops it (io-error), and
 * `cont` tries again.
 */
#ifndef GODWIT_MIGRATION_LAZY_RESTORE_H
#define GODWIT_MIGRATION_LAZY_RESTORE_H

#include "migration/core.h"
#include "migration/ram/lazy.h"

/* Memory from @pages for up to @blocks blocks; becomes m->lazy. Incoming thread. */
RamLazy *lazy_restore_begin(Migration *m, QIOChannel *pages, unsigned blocks, GError **errp);
/* Done, or given up. Main thread; also when there is none. */
void lazy_restore_end(Migration *m);

#endif
