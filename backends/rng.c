/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entropy sources: requests are answered one per main loop turn, in order. */
#include "util/osdep.h"
#include <fcntl.h>
#include <sys/random.h>
#include "backends/rng.h"
#include "util/error.h"

#define MAX_CHUNK (64 * KiB)

typedef struct {
    size_t len;
    RngReceive *cb;
    void *opaque;
} RngRequest;

typedef struct {
    GQueue requests; /* RngRequest */
    guint source;
} RngBackendPrivate;

static gboolean rng_complete(UserCreatable *self, GError **errp)
{
    RngBackendClass *k = GW_RNG_BACKEND_GET_CLASS(self);

    return !k->complete || k->complete(GW_RNG_BACKEND(self), errp);
}

static void rng_user_creatable_init(UserCreatableInterface *iface)
{
    iface->complete = rng_complete;
}

G_DEFINE_ABSTRACT_TYPE_WITH_CODE(RngBackend, rng_backend, G_TYPE_OBJECT,
                                 G_ADD_PRIVATE(RngBackend)
                                     G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE,
                                                           rng_user_creatable_init))

static RngBackendPrivate *priv(RngBackend *rng)
{
    return rng_backend_get_instance_private(rng);
}

static gboolean serve_one(gpointer opaque)
{
    RngBackend *rng = opaque;
    RngBackendPrivate *p = priv(rng);
    g_autofree RngRequest *req = g_queue_pop_head(&p->requests);
    g_autofree uint8_t *buf = g_malloc(req->len);
    g_autoptr(GError) err = NULL;
    ssize_t got = GW_RNG_BACKEND_GET_CLASS(rng)->fill(rng, buf, req->len, &err);

    if (got < 0) {
        warn_report("%s", err->message);
    } else {
        req->cb(req->opaque, buf, got);
    }
    if (!g_queue_is_empty(&p->requests)) {
        return G_SOURCE_CONTINUE;
    }
    p->source = 0;
    return G_SOURCE_REMOVE;
}

void rng_backend_request(RngBackend *rng, size_t len, RngReceive *cb, void *opaque)
{
    RngBackendPrivate *p = priv(rng);
    RngRequest *req = g_new(RngRequest, 1);

    *req = (RngRequest){MIN(len, MAX_CHUNK), cb, opaque};
    g_queue_push_tail(&p->requests, req);
    if (!p->source) {
        p->source = g_idle_add_full(G_PRIORITY_DEFAULT, serve_one, rng, NULL);
    }
}

void rng_backend_cancel(RngBackend *rng, void *opaque)
{
    RngBackendPrivate *p = priv(rng);

    for (GList *l = p->requests.head, *next; l; l = next) {
        next = l->next;
        if (((RngRequest *)l->data)->opaque == opaque) {
            g_free(l->data);
            g_queue_delete_link(&p->requests, l);
        }
    }
    if (p->source && g_queue_is_empty(&p->requests)) {
        g_source_remove(p->source);
        p->source = 0;
    }
}

static void rng_backend_finalize(GObject *obj)
{
    RngBackendPrivate *p = priv(GW_RNG_BACKEND(obj));

    if (p->source) {
        g_source_remove(p->source);
    }
    g_queue_clear_full(&p->requests, g_free);
    G_OBJECT_CLASS(rng_backend_parent_class)->finalize(obj);
}

static void rng_backend_init(RngBackend *rng)
{
}

static void rng_backend_class_init(RngBackendClass *k)
{
    G_OBJECT_CLASS(k)->finalize = rng_backend_finalize;
}

/* ---- rng-builtin ---- */

typedef RngBackend RngBuiltin;
typedef RngBackendClass RngBuiltinClass;
GType rng_builtin_get_type(void);
G_DEFINE_TYPE(RngBuiltin, rng_builtin, TYPE_RNG_BACKEND)
OBJECT_TYPE_REGISTER("rng-builtin", rng_builtin_get_type)

static ssize_t builtin_fill(RngBackend *rng, uint8_t *buf, size_t len, GError **errp)
{
    ssize_t got = getrandom(buf, len, 0);

    if (got < 0) {
        error_setg_errno(errp, errno, "rng-builtin: cannot get random bytes from the kernel");
    }
    return got;
}

static void rng_builtin_init(RngBuiltin *rng)
{
}

static void rng_builtin_class_init(RngBuiltinClass *k)
{
    k->fill = builtin_fill;
}

/* ---- rng-random ---- */

typedef struct {
    RngBackend parent;
    char *filename;
    int fd;
} RngRandom;
typedef RngBackendClass RngRandomClass;
GType rng_random_get_type(void);
G_DEFINE_TYPE(RngRandom, rng_random, TYPE_RNG_BACKEND)
OBJECT_TYPE_REGISTER("rng-random", rng_random_get_type)

static ssize_t random_fill(RngBackend *rng, uint8_t *buf, size_t len, GError **errp)
{
    RngRandom *r = (RngRandom *)rng;
    ssize_t got = read(r->fd, buf, len);

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (got < 0) {
        error_setg_errno(errp, errno, "rng-random: cannot read '%s'", r->filename);
    }
    return got;
}

static gboolean random_complete(RngBackend *rng, GError **errp)
{
    RngRandom *r = (RngRandom *)rng;

    r->fd = open(r->filename, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (r->fd < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", r->filename);
        return FALSE;
    }
    return TRUE;
}

static void random_set_property(GObject *obj, guint id, const GValue *value, GParamSpec *pspec)
{
    RngRandom *r = (RngRandom *)obj;

    g_free(r->filename);
    r->filename = g_value_dup_string(value);
}

static void random_get_property(GObject *obj, guint id, GValue *value, GParamSpec *pspec)
{
    g_value_set_string(value, ((RngRandom *)obj)->filename);
}

static void random_finalize(GObject *obj)
{
    RngRandom *r = (RngRandom *)obj;

    if (r->fd >= 0) {
        close(r->fd);
    }
    g_free(r->filename);
    G_OBJECT_CLASS(rng_random_parent_class)->finalize(obj);
}

static void rng_random_init(RngRandom *r)
{
    r->fd = -1;
    r->filename = g_strdup("/dev/urandom");
}

static void rng_random_class_init(RngRandomClass *k)
{
    GObjectClass *oc = G_OBJECT_CLASS(k);

    oc->set_property = random_set_property;
    oc->get_property = random_get_property;
    oc->finalize = random_finalize;
    k->fill = random_fill;
    k->complete = random_complete;
    g_object_class_install_property(
        oc, 1,
        g_param_spec_string("filename", NULL, "device or file to read", "/dev/urandom",
                            G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS));
}
