/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A directory of saved states with names. A snapshot TAG is two files:
 *
 *     TAG.json                    the manifest (SnapshotManifest of qapi/snapshot.json)
 *     TAG.0123456789abcdef.vmstate  the state, a stream; the manifest has its name and checksum
 *
 * The manifest is written last, as TAG.0123456789abcdef.draft, and replaces the older one at once,
 * so whenever a save ends early the snapshot is the one that was there before. What a killed save
 * leaves goes with the next save or delete of the same tag. Pure files: any thread, no locks.
 */
#ifndef GODWIT_MIGRATION_SNAPSHOT_STORE_H
#define GODWIT_MIGRATION_SNAPSHOT_STORE_H

#include "io/channel-file.h"
#include "qapi-types-snapshot.h"

/* The manifest of @tag; NULL without error: there is none. */
SnapshotManifest *snapshot_store_find(const char *dir, const char *tag, GError **errp);
/* Appends the manifests of all snapshots to @list, the oldest first. Files that are none are passed
 * over, a directory that does not exist is empty. */
void snapshot_store_list(const char *dir, GPtrArray *list);

/* Begin a state: a file that gets its name by io_channel_publish(); the name goes to
 * @manifest->state. Makes the directory. */
QIOChannelFile *snapshot_store_create(const char *dir, SnapshotManifest *manifest, GError **errp);
/* The state is published: sum it up, write the manifest, remove what it replaces. */
bool snapshot_store_commit(const char *dir, SnapshotManifest *manifest, GError **errp);
/* The state of @manifest, from its first byte, after every byte was compared with the checksum. */
QIOChannelFile *snapshot_store_open(const char *dir, const SnapshotManifest *manifest,
                                    GError **errp);
/* Removes manifest and states. True if there was nothing. */
bool snapshot_store_delete(const char *dir, const char *tag, GError **errp);

#endif
