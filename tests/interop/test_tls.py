# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS between Godwit and stock QEMU 7.2, in both roles: what works, who is kept out, what is said then."""
from __future__ import annotations

import time

import pytest

from tlstest import Sides, use_tls
from vmtest import guest_check, guest_full_pass, hand_over, listen_address, pattern_args

PAIRS = [("stock", "godwit"), ("godwit", "stock"), ("godwit", "godwit")]
GUEST = {"mode": "pattern", "ws": "16M", "rate": "20M", "report": 0}


@pytest.fixture(scope="module")
def sides(tmp_path_factory) -> Sides:
    return Sides(tmp_path_factory.mktemp("tls"))


def source(make_vm, kind: str):
    vm = make_vm(kind, *pattern_args(**GUEST))
    vm.serial.wait("ready")
    guest_check(vm)
    return vm


def target(make_vm, kind: str, listen: str = "tcp:127.0.0.1:0"):
    return make_vm(kind, *pattern_args(**GUEST), "-incoming", listen)


def move(src, dst, uri: str) -> None:
    """Hand the guest over and check its memory. From stock it travels stopped: see docs/devel/testing.md, the oracle."""
    if src.kind == "godwit":
        hand_over(src, dst, uri)
    else:
        src.cmd("stop")
        src.cmd("migrate", uri=uri)
        src.wait_migration("completed")
        dst.wait_status("paused")
        dst.cmd("cont")
    guest_full_pass(dst)


GOOD = {
    "x509": (("tls-creds-x509", {}), ("tls-creds-x509", {})),
    "x509-1.2": (("tls-creds-x509", {"priority": "NORMAL:-VERS-TLS1.3"}), ("tls-creds-x509", {})),
    "psk": (("tls-creds-psk", {}), ("tls-creds-psk", {})),
    "anon": (("tls-creds-anon", {}), ("tls-creds-anon", {})),
    "chacha": (("tls-creds-psk", {"priority": "NORMAL:-AES-128-GCM:-AES-128-CCM"}),
               ("tls-creds-psk", {})),
}


def client_props(sides: Sides, qom_type: str, side: str = "client") -> dict:
    return {"endpoint": "client"} | ({} if qom_type == "tls-creds-anon"
                                     else {"dir": getattr(sides, side)})


def server_props(sides: Sides, qom_type: str, side: str = "server") -> dict:
    return {"endpoint": "server"} | ({} if qom_type == "tls-creds-anon"
                                     else {"dir": getattr(sides, side)})


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_good(make_vm, sides, pair, case):
    (client, client_more), (server, server_more) = GOOD[case]
    src = source(make_vm, pair[0])
    dst = target(make_vm, pair[1])
    use_tls(src, client, **client_props(sides, client), **client_more)
    use_tls(dst, server, **server_props(sides, server), **server_more)
    move(src, dst, listen_address(dst))


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_return_path_and_authz(make_vm, sides, pair):
    """A busy reader and writer on one session; and a client whose name is on the list."""
    src = source(make_vm, pair[0])
    dst = target(make_vm, pair[1])
    for vm in (src, dst):
        vm.caps(return_path=True)
    dst.cmd("object-add", qom_type="authz-simple", id="who", identity=sides.identity)
    use_tls(src, "tls-creds-x509", **client_props(sides, "x509"))
    use_tls(dst, "tls-creds-x509", authz="who", **server_props(sides, "x509"))
    move(src, dst, listen_address(dst))


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_unix_with_hostname(make_vm, sides, tmp_path, pair):
    src = source(make_vm, pair[0])
    dst = target(make_vm, pair[1], f"unix:{tmp_path}/mig")
    use_tls(src, "tls-creds-x509", hostname="dst.example.org", **client_props(sides, "x509"))
    use_tls(dst, "tls-creds-x509", **server_props(sides, "x509"))
    move(src, dst, listen_address(dst))


@pytest.mark.parametrize("creds, channels", [("x509", 1), ("psk", 2), ("x509", 8)])
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_multifd(make_vm, sides, pair, creds, channels):
    """Every channel is a session of its own; those of stock end without a goodbye."""
    src = source(make_vm, pair[0])
    dst = target(make_vm, pair[1], "defer")
    for vm in (src, dst):
        vm.caps(multifd=True, return_path=True)
        vm.cmd("migrate-set-parameters", multifd_channels=channels)
    use_tls(src, f"tls-creds-{creds}", **client_props(sides, f"tls-creds-{creds}"))
    use_tls(dst, f"tls-creds-{creds}", **server_props(sides, f"tls-creds-{creds}"))
    dst.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    move(src, dst, listen_address(dst))
    assert src.cmd("query-migrate")["ram"]["multifd-bytes"] > 1 << 20


# client side, client props, server side, server props, hostname, authz identity
LAX = {"verify_peer": False}
LENIENT = {
    "no-client-cert": ("bare", {}, "server", LAX, None, None),
    "foreign-client": ("foreign", {"sanity_check": False}, "server", LAX, None, None),
    "client-ignores-name": ("client", LAX, "stranger", {}, None, None),
}


@pytest.mark.parametrize("case", LENIENT)
@pytest.mark.parametrize("pair", PAIRS[:2], ids="-to-".join)
def test_verify_peer_off(make_vm, sides, pair, case):
    client, client_more, server, server_more, hostname, _ = LENIENT[case]
    src = source(make_vm, pair[0])
    dst = target(make_vm, pair[1])
    use_tls(src, "tls-creds-x509", hostname=hostname, **client_props(sides, "x509", client),
            **client_more)
    use_tls(dst, "tls-creds-x509", **server_props(sides, "x509", server), **server_more)
    move(src, dst, listen_address(dst))


# case: (client, server, hostname, authz identity or object, what the source says, what the destination says)
KEPT_OUT = {
    "wrong-hostname": ("client", "server", "other.example.org", None,
                       "Certificate does not match the hostname other.example.org", None),
    "no-client-cert": ("bare", "server", None, None, None, "No certificate was found"),
    "foreign-client": ("foreign", "server", None, None, None, None),
    "authz-denies": ("client", "server", None, "CN=somebody", None,
                     "TLS x509 authz check for C=DE,O=Lab,CN=src.example.org is denied"),
}


@pytest.mark.parametrize("case", KEPT_OUT)
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_kept_out(make_vm, sides, pair, case):
    """The guest runs on; Godwit's destination waits for the right source, which then comes."""
    client, server, hostname, identity, src_text, dst_text = KEPT_OUT[case]
    src = source(make_vm, pair[0])
    dst = target(make_vm, pair[1])
    if identity:
        dst.cmd("object-add", qom_type="authz-simple", id="who", identity=identity)
    more = {"sanity_check": False} if client == "foreign" else {}
    use_tls(src, "tls-creds-x509", hostname=hostname, **client_props(sides, "x509", client), **more)
    use_tls(dst, "tls-creds-x509", authz="who" if identity else None,
            **server_props(sides, "x509", server))
    uri = listen_address(dst)
    src.cmd("migrate", uri=uri)
    error = src.wait_migration("failed").get("error-desc", "")
    if src_text:
        assert src_text in error + src.log()
    elif pair == ("godwit", "godwit"):
        assert "the peer ended the session with alert" in error
    src.wait_status("running")
    guest_full_pass(src)
    if dst_text:
        deadline_text(dst, dst_text)
    assert dst.alive()
    # Now with what was missing.
    if identity:
        dst.cmd("object-add", qom_type="authz-simple", id="all", identity=sides.identity)
        dst.cmd("migrate-set-parameters", tls_authz="all")  # 7.2 would look for an object named ""
    src.cmd("migrate-set-parameters", tls_hostname="")
    use_tls(src, "tls-creds-x509", "tls1", **client_props(sides, "x509"))
    move(src, dst, uri)


def deadline_text(vm, text: str) -> None:
    end = time.monotonic() + 120
    while text not in vm.log():
        assert time.monotonic() < end, f"{vm.kind} never said {text!r}: {vm.log()}"
        time.sleep(0.02)


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_wrong_key(make_vm, sides, pair):
    src = source(make_vm, pair[0])
    dst = target(make_vm, pair[1])
    use_tls(src, "tls-creds-psk", **client_props(sides, "psk", "bare"))
    use_tls(dst, "tls-creds-psk", **server_props(sides, "psk"))
    src.cmd("migrate", uri=listen_address(dst))
    assert src.wait_migration("failed")["error-desc"]
    src.wait_status("running")
    assert dst.alive()
    if pair[1] == "godwit":
        deadline_text(dst, "Peer 'qemu': TLS handshake failed")


@pytest.mark.parametrize("tls_on", ["source", "destination"])
@pytest.mark.parametrize("pair", [("stock", "godwit"), ("godwit", "godwit")], ids="-to-".join)
def test_one_sided(make_vm, sides, pair, tls_on):
    """Only one side speaks TLS: Godwit's destination says so, stays, and takes the right source."""
    src = source(make_vm, pair[0])
    dst = target(make_vm, pair[1])
    if tls_on == "source":
        use_tls(src, "tls-creds-psk", **client_props(sides, "psk"))
        text = "the peer speaks TLS, but 'tls-creds' is not set here"
    else:
        use_tls(dst, "tls-creds-psk", **server_props(sides, "psk"))
        text = "what the peer sent is not TLS"
    uri = listen_address(dst)
    src.cmd("migrate", uri=uri)
    src.wait_migration("failed")
    src.wait_status("running")
    deadline_text(dst, text)
    for vm in (src, dst):
        vm.cmd("migrate-set-parameters", tls_creds="")
    move(src, dst, uri)


@pytest.mark.parametrize("tls_on", ["source", "destination"])
def test_one_sided_source(make_vm, sides, tls_on):
    """Godwit's source against stock: a clear failure, the guest runs on."""
    src = source(make_vm, "godwit")
    dst = target(make_vm, "stock")
    if tls_on == "source":
        use_tls(src, "tls-creds-psk", **client_props(sides, "psk"))
    else:
        use_tls(dst, "tls-creds-psk", **server_props(sides, "psk"))
    src.cmd("migrate", uri=listen_address(dst))
    error = src.wait_migration("failed")["error-desc"]
    if tls_on == "source":
        assert "TLS handshake failed" in error
    guest_full_pass(src)
