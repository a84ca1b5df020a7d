/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multifd: guest memory over several channels beside the main one (spec 30).
 *
 *   source   RamSink (sink.c)  runs -> packets -> one queue per channel (queue.h)
 *            send.c            a thread per channel: queue -> sendmsg straight from guest memory
 *   dest.    recv.c            a thread per channel: header -> recvmsg straight into guest memory
 *            recv-sync.c       who waits for whom, and for whom no longer
 *
 * Order between channels: now and then the source puts a SYNC packet into every channel and then a
 * marker into the main one. Whoever reads the marker waits until each channel has come to its
 * SYNC, and each channel waits there for the marker. So a page that is sent again after a sync is
 * never overtaken by its older self. Between two syncs no page is sent twice.
 *
 * Between Godwits, channels may break (config.may_break) as long as one is left. A marker then
 * stands for channels that are at their SYNC and those that have ended: of neither anything older
 * can come. The source remembers which channel has carried a page last, and sends what a lost one
 * had again, behind a marker. Each side tells the other what it has lost: the source in the main
 * channel, the destination on the return path. Before the last marker the source asks whether all
 * has arrived.
 *
 *   source   pages, SYNC -> X  (X is cut)        destination   X ended, told by RP_LOST_CHANNEL
 *            marker k, CHECK -> main                           marker k: Y is at SYNC k, X is gone
 *            RP_CHANNELS_CHECKED <-                            "these are lost: X"
 *            LOST X, SYNC -> Y, marker k + 1, pages of X -> Y
 *
 * A channel that stalls is given up by whom it holds up: after config.patience_ms the destination,
 * if others wait at a marker for it, after twice that the source, if it does not get on with its
 * queue while another channel has nothing to do.
 */
#ifndef GODWIT_MIGRATION_MULTIFD_MULTIFD_H
#define GODWIT_MIGRATION_MULTIFD_MULTIFD_H

#include "migration/multifd/codec.h"
#include "migration/ram-sink.h"
#include "migration/stats.h"
#include "migration/wire/multifd.h"

/* ---- source ---- */

typedef struct MultifdSend MultifdSend;

typedef struct {
    MultifdCodecOptions codec;
    /* Zero pages travel in packets; destinations before 9.0 lose them. Off, or if the destination
     * understands zero runs: in the main channel. */
    bool zero_in_packets;
    /* The marker is the end of every section, as before 8.1; off: a record of its own, once a pass
     * over memory, which destinations before 8.1 do not know. */
    bool sync_each_section;
    /* Pages are handed to the network without a copy (channels have IO_FEATURE_WRITE_ZERO_COPY, no
     * codec). A channel of which the kernel says at a sync that it copied all the same goes on
     * without. */
    bool zero_copy;
    /* To a destination that knows of this, the loss of a channel is no failure while another is
     * left: what it carried is sent again. Markers are then records of their own. */
    bool may_break;
    unsigned patience_ms; /* with may_break: one that does not move for so long is lost */
    MigrationCounters *counters;
    /* A channel has failed, @err (callee frees) is the first error of all. Any thread, once. */
    void (*failed)(GError *err, void *opaque);
    /* Channel @id is lost for @err, but others are left and go on without it. Any thread. */
    void (*lost)(unsigned id, const GError *err, void *opaque);
    void *opaque;
} MultifdSendConfig;

/* Tell the destination whose channel this is: the first that is sent on it. @uuid is the VM's. */
bool multifd_introduce(QIOChannel *ioc, unsigned id, const uint8_t uuid[MULTIFD_UUID_SIZE],
                       GError **errp);
/*
 * Start a thread for each of @channels (of QIOChannel, introduced by their index; takes the
 * reference). NULL and *errp: nothing was started, @channels is released.
 */
MultifdSend *multifd_send_new(const MultifdSendConfig *config, GPtrArray *channels, GError **errp);
/* Cut all channels, wake everybody; any thread. */
void multifd_send_shutdown(MultifdSend *s);
/* Join the threads; without a shutdown before, when all that is queued has left. */
void multifd_send_stop(MultifdSend *s);
/* Stop if that was not done, close the channels. NULL is fine. */
void multifd_send_free(MultifdSend *s);
/* The destination has lost channel @value, or (RP_CHANNELS_CHECKED) has told of all that were lost
 * before the marker we asked behind. False and *errp: that makes no sense. Any thread. */
bool multifd_send_peer_lost(MultifdSend *s, uint32_t value, GError **errp);
/* Nothing has failed; else *errp. Any thread. */
bool multifd_send_check(MultifdSend *s, GError **errp);
/* Bytes the channels took that the destination is not known to have read (io_channel_backlog()). */
uint64_t multifd_send_backlog(MultifdSend *s);
unsigned multifd_send_channels(const MultifdSend *s);
/* What all channels together may send, 0: any; who fills them sees to it, codecs want to know. */
void multifd_send_set_limit(MultifdSend *s, uint64_t bytes_per_second);
/* One line about channel @id for the flight recorder; the caller frees it. The threads have ended.
 */
char *multifd_send_describe(MultifdSend *s, unsigned id);

/* The sink in front of @s, which outlives it. */
RamSink *multifd_sink_new(MultifdSend *s);

/* ---- destination ---- */

typedef struct MultifdRecv MultifdRecv;

typedef struct {
    unsigned channels;
    MultifdCodecOptions codec;
    unsigned patience_ms; /* once the source has said that channels may break; as for it */
    /* As for the source. */
    void (*failed)(GError *err, void *opaque);
    void (*lost)(unsigned id, const GError *err, void *opaque);
    void *opaque;
} MultifdRecvConfig;

MultifdRecv *multifd_recv_new(const MultifdRecvConfig *config);
/* Channel @id is there, behind its init packet; takes @ioc. Once per id; main thread. */
void multifd_recv_add(MultifdRecv *r, unsigned id, QIOChannel *ioc);
/* Where pages go; before the first marker. */
void multifd_recv_bind(MultifdRecv *r, RAMList *list, bool ignore_shared, RamPlacer *placer);
/*
 * The main channel is at a marker: the end of a section, or (@flush) the record that is one by
 * itself. Which of them counts is known from the first section. Returns when all pages sent before
 * it are in place. Incoming thread, big lock not held.
 */
bool multifd_recv_marker(MultifdRecv *r, bool flush, GError **errp);
/* The source can do without some channels: each that is lost is told to config.lost(), also those
 * that are by now. Before the first marker; incoming thread. */
void multifd_recv_may_break(MultifdRecv *r);
/* The source has lost channel @number, and sends again what that had. Incoming thread. */
bool multifd_recv_given_up(MultifdRecv *r, uint64_t number, GError **errp);
/* Cut all channels, wake everybody; any thread. False: that was done already. */
bool multifd_recv_shutdown(MultifdRecv *r);
/*
 * No more pages: the placer is left alone from now on. Channels stay open, as sources keep them;
 * that they end or break is no failure any more, pages are. False and *errp: one is at a page right
 * now, and everything was shut down. Incoming thread, behind a marker.
 */
bool multifd_recv_retire(MultifdRecv *r, GError **errp);
unsigned multifd_recv_channels(const MultifdRecv *r);
/* Shutdown, threads joined; the placer is left alone from now on. */
void multifd_recv_stop(MultifdRecv *r);
/* Stop if that was not done, close the channels. NULL is fine. */
void multifd_recv_free(MultifdRecv *r);
char *multifd_recv_describe(MultifdRecv *r, unsigned id);

#endif
