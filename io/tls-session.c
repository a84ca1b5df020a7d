/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <gnutls/gnutls.h>
#include "io/tls-creds-kinds.h"
#include "io/tls-session.h"
#include "util/error.h"

#define RECORD_BYTES 16384
/* The most a record is longer than what is in it: header, explicit IV, MAC, padding, type. */
#define RECORD_EXTRA 512
/* Records per batch and bytes per read: few system calls, yet what they move stays in the cache
 * between cipher and socket (measured: 64 KiB takes 0.75 of the CPU time of 256 KiB). */
#define BATCH_RECORDS 4
#define OUTPUT_BYTES  (BATCH_RECORDS * (RECORD_BYTES + RECORD_EXTRA))
#define INPUT_BYTES   (64 * KiB)

struct TlsSession {
    GMutex lock; /* session, and both buffers against its callbacks */
    gnutls_session_t session;
    TlsPeer peer;
    char *hostname;
    bool established;
    size_t record_bytes; /* plain bytes per record: what TLS or the peer allows */
    bool direct;         /* records may be made straight from the caller's memory, see gather() */

    uint8_t *in; /* [in_pos, in_end): from the peer, not yet looked at */
    size_t in_pos, in_end;
    bool in_ended;    /* no more input */
    bool peer_ended;  /* no more plain bytes */
    GError *in_error; /* found behind bytes that were good */

    uint8_t *out; /* [out_pos, out_end): for the peer */
    size_t out_pos, out_end;
    uint8_t *stage; /* one record's worth of small pieces */
};

/* ---- GnuTLS' view of the buffers; lock held ---- */

static ssize_t take_input(gnutls_transport_ptr_t opaque, void *buf, size_t len)
{
    TlsSession *s = opaque;

    len = MIN(len, s->in_end - s->in_pos);
    if (!len && !s->in_ended) {
        gnutls_transport_set_errno(s->session, EAGAIN);
        return -1;
    }
    memcpy(buf, s->in + s->in_pos, len);
    s->in_pos += len;
    return len;
}

static ssize_t put_output(gnutls_transport_ptr_t opaque, const void *buf, size_t len)
{
    TlsSession *s = opaque;

    len = MIN(len, OUTPUT_BYTES - s->out_end);
    if (!len) {
        gnutls_transport_set_errno(s->session, EAGAIN); /* the handshake goes on after a flush */
        return -1;
    }
    memcpy(s->out + s->out_end, buf, len);
    s->out_end += len;
    return len;
}

/* ---- life ---- */

static bool start(TlsSession *s, GError **errp)
{
    TlsCreds *creds = s->peer.creds;
    bool server = tls_creds_endpoint(creds) == TLS_ENDPOINT_SERVER;
    unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL;
    int ret;

    /* A certificate of the wrong authority is shown too: the server's refusal can name it then. */
    flags |= server ? GNUTLS_SERVER : GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT;
    ret = gnutls_init(&s->session, flags);
    if (ret < 0) {
        error_setg(errp, "Cannot make a TLS session: %s", gnutls_strerror(ret));
        return false;
    }
    gnutls_session_set_ptr(s->session, &s->peer);
    gnutls_transport_set_ptr(s->session, s);
    gnutls_transport_set_pull_function(s->session, take_input);
    gnutls_transport_set_push_function(s->session, put_output);
    gnutls_handshake_set_timeout(s->session, GNUTLS_INDEFINITE_TIMEOUT); /* the channel has one */
    return tls_creds_attach(creds, s->session, errp);
}

TlsSession *tls_session_new(TlsCreds *creds, const char *hostname, Authz *authz, GError **errp)
{
    TlsSession *s;

    if (GW_TLS_CREDS_GET_CLASS(creds)->certificates && tls_creds_verify_peer(creds) &&
        tls_creds_endpoint(creds) == TLS_ENDPOINT_CLIENT && (!hostname || !*hostname)) {
        error_setg(errp, "No hostname for certificate validation: set 'tls-hostname'");
        return NULL;
    }
    s = g_new0(TlsSession, 1);
    g_mutex_init(&s->lock);
    s->in = g_malloc(INPUT_BYTES);
    s->out = g_malloc(OUTPUT_BYTES);
    s->stage = g_malloc(RECORD_BYTES);
    s->hostname = g_strdup(hostname);
    s->peer.creds = g_object_ref(creds);
    s->peer.hostname = s->hostname;
    s->peer.authz = authz ? g_object_ref(authz) : NULL;
    tls_creds_use(creds);
    if (!start(s, errp)) {
        g_clear_pointer(&s, tls_session_free);
    }
    return s;
}

void tls_session_free(TlsSession *s)
{
    if (!s) {
        return;
    }
    g_clear_pointer(&s->session, gnutls_deinit);
    tls_creds_release(s->peer.creds);
    g_object_unref(s->peer.creds);
    g_clear_object(&s->peer.authz);
    g_free(s->peer.identity);
    g_clear_error(&s->peer.refused);
    g_clear_error(&s->in_error);
    g_free(s->hostname);
    g_free(s->in);
    g_free(s->out);
    g_free(s->stage);
    g_mutex_clear(&s->lock);
    g_free(s);
}

char *tls_session_describe(TlsSession *s)
{
    return g_strdup_printf("%s %s",
                           gnutls_protocol_get_name(gnutls_protocol_get_version(s->session)),
                           gnutls_cipher_get_name(gnutls_cipher_get(s->session)));
}

const char *tls_session_identity(TlsSession *s)
{
    return s->peer.identity;
}

/* ---- errors ---- */

/* What the operator can do about an alert of the peer; "" if nobody knows. */
static const char *alert_hint(gnutls_alert_description_t alert)
{
    switch (alert) {
    case GNUTLS_A_ACCESS_DENIED:
        return ": its 'tls-authz' does not allow the name in our certificate";
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        return ": it wants a certificate of ours";
    case GNUTLS_A_UNKNOWN_CA:
        return ": our certificate is not signed by an authority it trusts";
    case GNUTLS_A_CERTIFICATE_EXPIRED:
    case GNUTLS_A_CERTIFICATE_REVOKED:
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
        return ": it refused our certificate";
    case GNUTLS_A_HANDSHAKE_FAILURE:
        return ": both sides need the same kind of credentials, and a cipher they share";
    case GNUTLS_A_UNKNOWN_PSK_IDENTITY:
        return ": it has no key for our user name";
    case GNUTLS_A_DECRYPT_ERROR:
    case GNUTLS_A_ILLEGAL_PARAMETER:
        return ": the keys of both sides differ, if this is a pre-shared one";
    default:
        return "";
    }
}

static void set_error(TlsSession *s, int code, const char *what, GError **errp)
{
    gnutls_alert_description_t alert = gnutls_alert_get(s->session);
    const char *alert_name = gnutls_alert_get_name(alert);

    if (code == GNUTLS_E_NO_CERTIFICATE_FOUND && alert != GNUTLS_A_CLOSE_NOTIFY) {
        code = GNUTLS_E_FATAL_ALERT_RECEIVED; /* TLS 1.2: where the certificate was to come */
    }
    if (code == GNUTLS_E_UNEXPECTED_PACKET_LENGTH && s->established && s->in_ended) {
        error_setg(errp, "%s: the connection ended inside a record", what);
        return;
    }
    switch (code) {
    case GNUTLS_E_FATAL_ALERT_RECEIVED:
    case GNUTLS_E_WARNING_ALERT_RECEIVED:
        error_setg(errp, "%s: the peer ended the session with alert '%s'%s", what,
                   alert_name ? alert_name : "unknown", alert_hint(alert));
        break;
    case GNUTLS_E_PREMATURE_TERMINATION:
        error_setg(errp, "%s: the peer closed the connection", what);
        break;
    case GNUTLS_E_UNEXPECTED_PACKET:
    case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
    case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
    case GNUTLS_E_RECORD_OVERFLOW:
        error_setg(errp,
                   "%s: what the peer sent is not TLS (%s); is 'tls-creds' set on both sides?",
                   what, gnutls_strerror(code));
        break;
    case GNUTLS_E_CERTIFICATE_REQUIRED:
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
        error_setg(errp,
                   "%s: Verify failed: No certificate was found: the peer sent none that an "
                   "authority in ca-cert.pem has signed, and 'verify-peer' is on",
                   what);
        break;
    case GNUTLS_E_NO_CIPHER_SUITES:
    case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
        error_setg(errp,
                   "%s: %s; both sides need the same kind of credentials, and a cipher they "
                   "share",
                   what, gnutls_strerror(code));
        break;
    case GNUTLS_E_DECRYPTION_FAILED:
        error_setg(errp, "%s: a record was damaged on its way, or is not of this session", what);
        break;
    default:
        error_setg(errp, "%s: %s", what, gnutls_strerror(code));
        break;
    }
}

/* ---- handshake ---- */

static void fail_handshake(TlsSession *s, int code, GError **errp)
{
    if (s->peer.refused) {
        error_setg(errp, "TLS handshake failed: %s", s->peer.refused->message);
        gnutls_alert_send(s->session, GNUTLS_AL_FATAL,
                          s->peer.alert ? s->peer.alert : GNUTLS_A_UNKNOWN_PSK_IDENTITY);
        return;
    }
    set_error(s, code, "TLS handshake failed", errp);
    if (s->peer.identity) {
        /* With certificates a name means that they were fine. */
        g_prefix_error(errp, "Peer '%s': ", s->peer.identity);
    }
    gnutls_alert_send_appropriate(s->session, code);
}

TlsResult tls_session_handshake(TlsSession *s, GError **errp)
{
    TlsResult result = TLS_OK;
    int ret;

    g_mutex_lock(&s->lock);
    do {
        /* Once more after the end would be a new handshake. */
        ret = s->established ? 0 : gnutls_handshake(s->session);
    } while (ret == GNUTLS_E_INTERRUPTED || ret == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (ret == GNUTLS_E_AGAIN) {
        result = TLS_NEED_INPUT;
    } else if (ret < 0) {
        fail_handshake(s, ret, errp);
        result = TLS_FAILED;
    } else {
        gnutls_cipher_algorithm_t cipher = gnutls_cipher_get(s->session);

        s->established = true;
        s->record_bytes = MIN(gnutls_record_get_max_size(s->session), RECORD_BYTES);
        s->direct = cipher == GNUTLS_CIPHER_AES_128_GCM || cipher == GNUTLS_CIPHER_AES_256_GCM ||
                    cipher == GNUTLS_CIPHER_CHACHA20_POLY1305;
    }
    g_mutex_unlock(&s->lock);
    return result;
}

bool tls_session_handshake_stuck(TlsSession *s)
{
    bool stuck;

    g_mutex_lock(&s->lock);
    stuck = !s->established && gnutls_record_get_direction(s->session) == 1;
    g_mutex_unlock(&s->lock);
    return stuck;
}

/* ---- records of the peer ---- */

uint8_t *tls_session_input_room(TlsSession *s, size_t *len)
{
    if (s->in_pos < s->in_end) {
        return NULL;
    }
    *len = INPUT_BYTES;
    return s->in;
}

void tls_session_input(TlsSession *s, size_t n)
{
    g_mutex_lock(&s->lock);
    s->in_pos = 0;
    s->in_end = n;
    s->in_ended = n == 0;
    g_mutex_unlock(&s->lock);
}

bool tls_session_has_input(TlsSession *s)
{
    bool some;

    g_mutex_lock(&s->lock);
    some = s->in_pos < s->in_end || s->in_ended || s->peer_ended || s->in_error ||
           gnutls_record_check_pending(s->session) > 0;
    g_mutex_unlock(&s->lock);
    return some;
}

/* Lock held. As gnutls_record_recv(), but 0 also for a peer that just left. */
static ssize_t open_some(TlsSession *s, void *buf, size_t len)
{
    ssize_t n;

    if (s->peer_ended) {
        return 0;
    }
    do {
        n = gnutls_record_recv(s->session, buf, len);
    } while (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (n == GNUTLS_E_PREMATURE_TERMINATION) {
        n = 0;
    }
    s->peer_ended = n == 0;
    return n;
}

TlsResult tls_session_open(TlsSession *s, const struct iovec *iov, unsigned n, size_t *got,
                           GError **errp)
{
    size_t total = 0, offset = 0;
    ssize_t ret = GNUTLS_E_AGAIN;

    g_mutex_lock(&s->lock);
    while (n && !s->in_error) {
        if (offset == iov->iov_len) {
            iov++;
            n--;
            offset = 0;
            continue;
        }
        ret = open_some(s, (char *)iov->iov_base + offset, iov->iov_len - offset);
        if (ret <= 0) {
            break;
        }
        total += ret;
        offset += ret;
    }
    if (ret < 0 && ret != GNUTLS_E_AGAIN && !s->in_error) {
        set_error(s, ret, "TLS session failed", &s->in_error);
    }
    *got = total;
    if (!total && s->in_error) {
        /* It stays: the session is over, and each later call shall say why. */
        g_propagate_error(errp, g_error_copy(s->in_error));
    }
    g_mutex_unlock(&s->lock);
    if (total || ret == 0) {
        return TLS_OK;
    }
    return ret == GNUTLS_E_AGAIN && !s->in_error ? TLS_NEED_INPUT : TLS_FAILED;
}

/* ---- records for the peer ---- */

typedef struct {
    const struct iovec *iov;
    unsigned n;
    size_t offset; /* into iov[0] */
} Pieces;

static size_t next_piece(Pieces *p, const uint8_t **base)
{
    while (p->n && p->offset == p->iov->iov_len) {
        p->iov++;
        p->n--;
        p->offset = 0;
    }
    if (!p->n) {
        return 0;
    }
    *base = (const uint8_t *)p->iov->iov_base + p->offset;
    return p->iov->iov_len - p->offset;
}

/*
 * The content of the next record. Small pieces are put together in the staging buffer; large ones
 * are used where they are, which is guest memory that may change under our hands. That is fine
 * for ciphers that read it once and authenticate what they have made of it. One that reads it twice
 * would make a record that the peer finds forged: for those everything goes through the buffer.
 */
static size_t gather(TlsSession *s, Pieces *p, const uint8_t **base)
{
    size_t len = next_piece(p, base), staged = 0;

    if (s->direct && len >= s->record_bytes) {
        p->offset += s->record_bytes;
        return s->record_bytes;
    }
    while (len && staged < s->record_bytes) {
        len = MIN(len, s->record_bytes - staged);
        memcpy(s->stage + staged, *base, len);
        staged += len;
        p->offset += len;
        len = next_piece(p, base);
    }
    *base = s->stage;
    return staged;
}

/* All of it, in as many records as the peer's limit demands; a GnuTLS code on failure. */
static ssize_t send_record(TlsSession *s, const uint8_t *base, size_t len)
{
    while (len) {
        ssize_t n = gnutls_record_send(s->session, base, len);

        if (n < 0) {
            return n;
        }
        base += n;
        len -= n;
    }
    return 0;
}

bool tls_session_seal(TlsSession *s, const struct iovec *iov, unsigned n, size_t *taken,
                      GError **errp)
{
    Pieces p = {iov, n};
    const uint8_t *base;
    ssize_t ret = 0;
    size_t len;

    *taken = 0;
    g_mutex_lock(&s->lock);
    while (OUTPUT_BYTES - s->out_end >= s->record_bytes + RECORD_EXTRA &&
           (len = gather(s, &p, &base))) {
        ret = send_record(s, base, len);
        if (ret < 0) {
            set_error(s, ret, "Cannot write to TLS channel", errp);
            break;
        }
        *taken += len;
    }
    g_mutex_unlock(&s->lock);
    return ret == 0;
}

const uint8_t *tls_session_output(TlsSession *s, size_t *len)
{
    const uint8_t *p;

    g_mutex_lock(&s->lock);
    p = s->out + s->out_pos;
    *len = s->out_end - s->out_pos;
    g_mutex_unlock(&s->lock);
    return *len ? p : NULL;
}

void tls_session_output_sent(TlsSession *s, size_t n)
{
    g_mutex_lock(&s->lock);
    s->out_pos += n;
    if (s->out_pos == s->out_end) {
        s->out_pos = s->out_end = 0;
    }
    g_mutex_unlock(&s->lock);
}

void tls_session_say_end(TlsSession *s)
{
    g_mutex_lock(&s->lock);
    gnutls_bye(s->session, GNUTLS_SHUT_WR);
    g_mutex_unlock(&s->lock);
}
