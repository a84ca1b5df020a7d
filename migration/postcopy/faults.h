/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fault thread: who touches a page that is not here sleeps in the kernel; this thread asks the
 * source for the page. It waits for nobody: what it cannot send now is asked again after recovery.
 */
#ifndef GODWIT_MIGRATION_POSTCOPY_FAULTS_H
#define GODWIT_MIGRATION_POSTCOPY_FAULTS_H

#include "migration/postcopy/place.h"
#include "migration/return-path.h"

typedef struct PostcopyFaults PostcopyFaults;

/* Serve faults of @place->uffd; ask through @rp. Both outlive the thread. NULL and *errp: no
 * thread. */
PostcopyFaults *postcopy_faults_start(PostcopyPlace *place, ReturnPathWriter *rp, GError **errp);
/* No fault can come any more: end the thread. */
void postcopy_faults_stop(PostcopyFaults *faults);
/* Whatever was asked for and has not come: ask again. Any thread. */
bool postcopy_faults_repeat(PostcopyFaults *faults, GError **errp);

#endif
