/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the connection (vfio-user.c) and the calls made over it (vfio-user-calls.c). */
#ifndef GODWIT_BACKENDS_VFIO_USER_INTERNAL_H
#define GODWIT_BACKENDS_VFIO_USER_INTERNAL_H

#include <sys/uio.h>
#include "backends/vfio-user.h"

typedef enum {
    CALL_WAITS,    /* nothing has come yet */
    CALL_ARRIVES,  /* the reader thread fills in what follows */
    CALL_ANSWERED, /* it has done so */
} VfioUserProgress;

typedef struct {
    uint16_t command;
    struct iovec request[2];
    unsigned n_request;
    const int *fds;
    size_t n_fds;
    void *reply; /* where the fixed part of the answer goes, exactly that long */
    size_t reply_size;
    void *data; /* and up to @data_max bytes behind it; @data_len of them came */
    size_t data_max, data_len;
    int fd;              /* the descriptor that came along, the caller's; or -1 */
    int error;           /* errno with which the server refused; 0: it did not, or nobody knows */
    unsigned timeout_ms; /* 0: the client's */

    /* The client's: */
    uint16_t id;
    VfioUserProgress progress; /* VfioUserClient.lock */
    size_t came;               /* bytes of the answer's payload */
} VfioUserCall;

/* One command and its answer, which the reader thread puts straight where it belongs. */
bool vfio_user_call(VfioUserClient *c, VfioUserCall *call, GError **errp);
/*
 * The same with @n of them, all sent before the first is answered: the server need not wait for us
 * in between. False: *errp is about the first that failed; the others are over, too.
 */
bool vfio_user_calls(VfioUserClient *c, VfioUserCall *calls, unsigned n, GError **errp);
/* Does MIG_DATA_WRITE take as much as any message? */
bool vfio_user_takes_large_writes(const VfioUserClient *c);
/* Descriptors one message may carry. */
unsigned vfio_user_max_fds(const VfioUserClient *c);

#endif
