/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text that people type on command lines. First byte: which parser. What a parser accepts, the
 * printed form of it is accepted too.
 */
#include "fuzz.h"
#include "io/socket-address.h"
#include "migration/transport/transport.h"
#include "util/cutils.h"
#include "util/keyval.h"

static void keyval(const char *text)
{
    static const char *const known[] = {"driver", "id", "size", NULL};
    g_autoptr(GError) err = NULL;
    g_autoptr(JsonObject) obj = keyval_parse(text, "driver", &err);
    g_autoptr(GError) size_err = NULL, bool_err = NULL, known_err = NULL;
    uint64_t size;
    bool on;

    fuzz_check_error(obj, err);
    if (!obj) {
        return;
    }
    keyval_get_string(obj, "id");
    keyval_get_bool(obj, "id", true, &on, &bool_err);
    keyval_get_size(obj, "size", 1, 5, &size, &size_err);
    keyval_check_known(obj, known, &known_err);
}

static void check_address(const SocketAddress *addr)
{
    g_autofree char *shown = socket_address_to_string(addr);
    g_autofree char *peer = socket_address_to_peer_string(addr);
    g_autoptr(GError) err = NULL;

    g_assert_true(shown && peer);
    g_assert_true(socket_address_check(addr, &err));
}

static void address(const char *text, bool inet)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(SocketAddress) addr =
        inet ? socket_address_parse_inet(text, &err) : socket_address_parse(text, &err);

    fuzz_check_error(addr, err);
    if (addr) {
        check_address(addr);
    }
}

static void transport(const char *text, bool option)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(MigrationTransport) t =
        option ? transport_parse_option(text, &err) : transport_parse_uri(text, &err);

    fuzz_check_error(t, err);
    if (t) {
        g_autoptr(GError) again_err = NULL;
        g_autoptr(MigrationTransport) again =
            transport_new_from_address(transport_address(t), &again_err);

        g_assert_no_error(again_err);
        g_assert_cmpstr(transport_name(again), ==, transport_name(t));
        g_assert_cmpuint(transport_flags(again), ==, transport_flags(t));
    }
}

static void size(const char *text)
{
    g_autoptr(GError) err = NULL;
    uint64_t value;
    bool ok = parse_size(text, 1, &value, &err);

    fuzz_check_error(ok, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    g_autofree char *text = NULL;

    if (len < 1) {
        return 0;
    }
    text = g_strndup((const char *)data + 1, len - 1);
    switch (data[0] % 6) {
    case 0:
        keyval(text);
        break;
    case 1:
    case 2:
        address(text, data[0] % 6 == 2);
        break;
    case 3:
    case 4:
        transport(text, data[0] % 6 == 4);
        break;
    default:
        size(text);
        break;
    }
    return 0;
}
