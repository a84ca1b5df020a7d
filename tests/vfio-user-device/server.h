/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef GODWIT_TESTS_VFIO_USER_SERVER_H
#define GODWIT_TESTS_VFIO_USER_SERVER_H

#include "device.h"

/* Serve the client at the connected socket @fd, which is closed, until it leaves. */
void serve_client(Device *d, int fd);

#endif
