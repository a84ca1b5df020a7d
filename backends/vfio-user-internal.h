/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the connection (vfio-user.c) and the calls made over it (vfio-user-calls.c). */
#ifndef GODWIT_BACKENDS_VFIO_USER_INTERNAL_H
#define GODWIT_BACKENDS_VFIO_USER_INTERNAL_H

#include <sys/uio.h>
#include "backends/vfio-user.h"

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
} VfioUserCall;

/* One command and its answer. */
bool vfio_user_call(VfioUserClient *c, VfioUserCall *call, GError **errp);
/* Descriptors one message may carry. */
unsigned vfio_user_max_fds(const VfioUserClient *c);

#endif
