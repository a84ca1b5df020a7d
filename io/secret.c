/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include "io/secret.h"
#include "util/error.h"

/* A password or a key; what is longer is not one. */
#define SECRET_MAX  (64 * KiB)
#define KEY_BYTES   32
#define BLOCK_BYTES 16

typedef enum { SECRET_RAW, SECRET_BASE64 } SecretFormat;

typedef struct {
    GObject parent;
    char *data, *file, *keyid, *iv;
    SecretFormat format;
    GBytes *plain;
} Secret;
typedef GObjectClass SecretClass;

static void user_creatable_init(UserCreatableInterface *iface);
GType secret_get_type(void);
G_DEFINE_TYPE_WITH_CODE(Secret, secret, G_TYPE_OBJECT,
                        G_IMPLEMENT_INTERFACE(TYPE_USER_CREATABLE, user_creatable_init))
OBJECT_TYPE_REGISTER("secret", secret_get_type)

static GType format_type(void)
{
    static const GEnumValue values[] = {
        {SECRET_RAW, "SECRET_RAW", "raw"}, {SECRET_BASE64, "SECRET_BASE64", "base64"}, {0}};
    static GType type;

    if (g_once_init_enter(&type)) {
        g_once_init_leave(&type, g_enum_register_static("GodwitSecretFormat", values));
    }
    return type;
}

/* ---- content ---- */

static void wipe(void *opaque)
{
    GByteArray *a = opaque;

    explicit_bzero(a->data, a->len);
    g_byte_array_unref(a);
}

/* Takes @a; its memory is wiped with the last reference. */
static GBytes *seal(GByteArray *a)
{
    return g_bytes_new_with_free_func(a->data, a->len, wipe, a);
}

static GByteArray *load(Secret *s, GError **errp)
{
    g_autofree char *content = NULL;
    gsize len;
    GByteArray *a;

    if (!s->data == !s->file) {
        error_setg(errp, "exactly one of 'data' and 'file' must be given");
        return NULL;
    }
    if (s->file) {
        if (!g_file_get_contents(s->file, &content, &len, errp)) {
            return NULL;
        }
    } else {
        content = g_strdup(s->data);
        len = strlen(content);
    }
    if (len > SECRET_MAX) {
        explicit_bzero(content, len);
        error_setg(errp, "more than %u bytes are not a password or key", (unsigned)SECRET_MAX);
        return NULL;
    }
    a = g_byte_array_new_take((guint8 *)g_steal_pointer(&content), len);
    return a;
}

static GByteArray *decode_base64(const char *what, const void *text, size_t len, GError **errp)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                   "+/= \r\n\t";
    g_autofree char *copy = g_strndup(text, len);
    gsize n;
    guchar *bytes;

    if (strlen(copy) != len || copy[strspn(copy, alphabet)]) {
        error_setg(errp, "%s is not base64", what);
        return NULL;
    }
    bytes = g_base64_decode(copy, &n);
    explicit_bzero(copy, len);
    return g_byte_array_new_take(bytes, n);
}

/* PKCS #7: the last byte says how many bytes of padding there are. */
static bool unpad(GByteArray *a, GError **errp)
{
    unsigned n = a->len ? a->data[a->len - 1] : 0;
    bool ok = n >= 1 && n <= BLOCK_BYTES && n <= a->len;

    for (unsigned i = 0; ok && i < n; i++) {
        ok = a->data[a->len - 1 - i] == n;
    }
    if (!ok) {
        error_setg(errp, "decryption gives no valid padding: wrong 'keyid' or 'iv'?");
        return false;
    }
    g_byte_array_set_size(a, a->len - n);
    return true;
}

static bool decrypt(Secret *s, GByteArray *a, GError **errp)
{
    g_autoptr(GBytes) key = secret_lookup(object_registry_of(G_OBJECT(s)), s->keyid, errp);
    g_autoptr(GByteArray) iv = NULL;
    gnutls_datum_t k, v;
    gnutls_cipher_hd_t h;
    gsize key_len;
    int ret;

    if (!key) {
        return false;
    }
    if (!s->iv) {
        error_setg(errp, "'iv' must be given with 'keyid'");
        return false;
    }
    iv = decode_base64("'iv'", s->iv, strlen(s->iv), errp);
    if (!iv) {
        return false;
    }
    k.data = (void *)g_bytes_get_data(key, &key_len);
    k.size = key_len;
    v = (gnutls_datum_t){iv->data, iv->len};
    if (k.size != KEY_BYTES || v.size != BLOCK_BYTES || a->len % BLOCK_BYTES || !a->len) {
        error_setg(errp,
                   "AES-256-CBC needs a key of %d bytes ('%s' has %u), an 'iv' of %d (has %u) and "
                   "whole blocks of data (has %u bytes)",
                   KEY_BYTES, s->keyid, k.size, BLOCK_BYTES, v.size, a->len);
        return false;
    }
    ret = gnutls_cipher_init(&h, GNUTLS_CIPHER_AES_256_CBC, &k, &v);
    if (ret == 0) {
        ret = gnutls_cipher_decrypt(h, a->data, a->len);
        gnutls_cipher_deinit(h);
    }
    if (ret < 0) {
        error_setg(errp, "cannot decrypt: %s", gnutls_strerror(ret));
        return false;
    }
    return unpad(a, errp);
}

static gboolean secret_complete(UserCreatable *self, GError **errp)
{
    Secret *s = (Secret *)self;
    GByteArray *a = load(s, errp);
    bool ok = a != NULL;

    if (ok && s->format == SECRET_BASE64) {
        GByteArray *decoded = decode_base64("the content", a->data, a->len, errp);

        wipe(a);
        a = decoded;
        ok = a != NULL;
    }
    ok = ok && (!s->keyid || decrypt(s, a, errp));
    if (a) {
        s->plain = seal(a);
    }
    if (!ok) {
        g_prefix_error(errp, "secret '%s': ", object_id(G_OBJECT(self)));
    }
    return ok;
}

static void user_creatable_init(UserCreatableInterface *iface)
{
    iface->complete = secret_complete;
}

GBytes *secret_lookup(ObjectRegistry *reg, const char *id, GError **errp)
{
    GObject *obj = reg ? object_registry_find(reg, id) : NULL;

    if (!obj) {
        error_setg(errp, "No secret with id '%s'", id);
        return NULL;
    }
    if (!G_TYPE_CHECK_INSTANCE_TYPE(obj, secret_get_type())) {
        error_setg(errp, "Object with id '%s' is not a secret", id);
        return NULL;
    }
    return g_bytes_ref(((Secret *)obj)->plain);
}

char *secret_lookup_password(ObjectRegistry *reg, const char *id, GError **errp)
{
    g_autoptr(GBytes) plain = secret_lookup(reg, id, errp);
    const char *text;
    gsize len;

    if (!plain) {
        return NULL;
    }
    text = g_bytes_get_data(plain, &len);
    if (len && memchr(text, '\0', len)) {
        error_setg(errp, "Secret '%s' contains a NUL byte and is no password", id);
        return NULL;
    }
    return g_strndup(text ? text : "", len);
}

void secret_free_password(char *password)
{
    if (password) {
        explicit_bzero(password, strlen(password));
        g_free(password);
    }
}

/* ---- properties ---- */

enum { PROP_0, PROP_DATA, PROP_FILE, PROP_FORMAT, PROP_KEYID, PROP_IV };

static char **text_of(Secret *s, guint id)
{
    switch (id) {
    case PROP_DATA:
        return &s->data;
    case PROP_FILE:
        return &s->file;
    case PROP_KEYID:
        return &s->keyid;
    default:
        return &s->iv;
    }
}

static void secret_set(GObject *obj, guint id, const GValue *value, GParamSpec *spec)
{
    Secret *s = (Secret *)obj;

    if (id == PROP_FORMAT) {
        s->format = g_value_get_enum(value);
    } else {
        g_free(*text_of(s, id));
        *text_of(s, id) = g_value_dup_string(value);
    }
}

static void secret_get(GObject *obj, guint id, GValue *value, GParamSpec *spec)
{
    Secret *s = (Secret *)obj;

    if (id == PROP_FORMAT) {
        g_value_set_enum(value, s->format);
    } else {
        g_value_set_string(value, *text_of(s, id));
    }
}

static void secret_finalize(GObject *obj)
{
    Secret *s = (Secret *)obj;

    secret_free_password(s->data);
    g_free(s->file);
    g_free(s->keyid);
    g_free(s->iv);
    g_clear_pointer(&s->plain, g_bytes_unref);
    G_OBJECT_CLASS(secret_parent_class)->finalize(obj);
}

static void secret_init(Secret *s)
{
}

static void install_text(GObjectClass *k, guint id, const char *name, const char *what,
                         GParamFlags flags)
{
    g_object_class_install_property(k, id, g_param_spec_string(name, NULL, what, NULL, flags));
}

static void secret_class_init(SecretClass *k)
{
    k->set_property = secret_set;
    k->get_property = secret_get;
    k->finalize = secret_finalize;
    install_text(k, PROP_DATA, "data", "The content", G_PARAM_WRITABLE);
    install_text(k, PROP_FILE, "file", "File with the content", G_PARAM_READWRITE);
    install_text(k, PROP_KEYID, "keyid", "Secret that encrypts this one", G_PARAM_READWRITE);
    install_text(k, PROP_IV, "iv", "Initialisation vector, base64", G_PARAM_READWRITE);
    g_object_class_install_property(k, PROP_FORMAT,
                                    g_param_spec_enum("format", NULL, "Encoding of the content",
                                                      format_type(), SECRET_RAW,
                                                      G_PARAM_READWRITE));
}
