/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS credentials: the objects tls-creds-anon, tls-creds-psk and tls-creds-x509 (spec 35 section
 * 6.2). What they hold is read and checked when they are made, so that a wrong file is an error of
 * -object or object-add and not of the migration that wanted to use it.
 *
 * Main thread with the big lock.
 */
#ifndef GODWIT_IO_TLS_CREDS_H
#define GODWIT_IO_TLS_CREDS_H

#include "util/object.h"

typedef enum { TLS_ENDPOINT_CLIENT, TLS_ENDPOINT_SERVER } TlsEndpoint;

#define TYPE_TLS_CREDS (tls_creds_get_type())
G_DECLARE_DERIVABLE_TYPE(TlsCreds, tls_creds, GW, TLS_CREDS, GObject)

TlsEndpoint tls_creds_endpoint(TlsCreds *creds);

/* Credentials may be looked at by id: the object of host or monitor @obj if it has the kind and the
 * endpoint that is wanted. The reference stays where it is. @id names it in errors (spec 35
 * section 6.1); @obj NULL: there is no such object. */
TlsCreds *tls_creds_check(GObject *obj, const char *id, TlsEndpoint endpoint, GError **errp);

#endif
