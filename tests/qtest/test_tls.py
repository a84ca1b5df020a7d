# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS of one Godwit towards another: parameters, objects, and one clear error for each way to get it wrong."""
from __future__ import annotations

import pathlib
import socket
import time

import pytest

from tlstest import Sides, use_tls
from vmtest import VM, QMPError, guest_full_pass, hand_over, listen_address, pattern_args

GUEST = {"mode": "pattern", "ws": "8M", "rate": "10M", "report": 0}


@pytest.fixture(scope="module")
def sides(tmp_path_factory) -> Sides:
    return Sides(tmp_path_factory.mktemp("tls"))


def source(make_vm, *args: str) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), *args)
    vm.serial.wait("ready")
    return vm


def target(make_vm, *args: str) -> VM:
    return make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", *args)


def psk(vm: VM, sides: Sides, endpoint: str) -> None:
    use_tls(vm, "tls-creds-psk", endpoint=endpoint,
            dir=sides.server if endpoint == "server" else sides.client)


def listening(vm: VM) -> str:
    vm.cmd("migrate-incoming", uri="tcp:127.0.0.1:0", exit_on_error=False)
    return listen_address(vm)


def refused(vm: VM, text: str, command: str, **args) -> None:
    with pytest.raises(QMPError) as problem:
        vm.cmd(command, **args)
    assert text in problem.value.desc


def test_parameters(make_vm):
    vm = make_vm("godwit", "-S", "-global", "migration.tls-authz=someone")
    names = ("tls-creds", "tls-hostname", "tls-authz")

    def now() -> list[str]:
        params = vm.cmd("query-migrate-parameters")
        return [params[n] for n in names]

    assert now() == ["", "", "someone"]
    vm.cmd("migrate-set-parameters", tls_creds="a", tls_authz=None)
    assert now() == ["a", "", ""]
    assert "tls-creds: 'a'" in vm.hmp("info migrate_parameters")
    assert vm.hmp("migrate_set_parameter tls-hostname host.example.org") == ""
    assert vm.hmp('migrate_set_parameter tls-creds ""') == ""
    assert now() == ["", "host.example.org", ""]
    refused(vm, "tls-creds", "migrate-set-parameters", tls_creds=1)
    # All or nothing.
    refused(vm, "downtime-limit", "migrate-set-parameters", tls_creds="b", downtime_limit=10 ** 9)
    assert now() == ["", "host.example.org", ""]


def test_objects(make_vm, sides):
    vm = make_vm("godwit", "-S", "-object", f"tls-creds-x509,id=cmd,dir={sides.client}",
                 "-object", "authz-list,id=l,rules.0.match=CN=*,rules.0.policy=allow,"
                 "rules.0.format=glob", "-object", "authz-simple,id=s,identity=CN=a,,O=b")
    assert vm.cmd("qom-get", path="/objects/s", property="identity") == "CN=a,O=b"
    refused(vm, "ca-cert.pem: No such file", "object-add", qom_type="tls-creds-x509", id="x",
            dir="/nowhere")
    refused(vm, "has no key for user 'nobody'", "object-add", qom_type="tls-creds-psk", id="x",
            dir=sides.client, username="nobody")
    refused(vm, "rule 0: expected", "object-add", qom_type="authz-list", id="x", rules=[{"a": 1}])
    vm.cmd("object-add", qom_type="authz-list", id="x", policy="allow",
           rules=[{"match": "CN=a", "policy": "deny"}])
    vm.cmd("object-add", qom_type="secret", id="masterKey0", data="secret")
    refused(vm, "not found", "qom-get", path="/objects/masterKey0", property="data")
    assert "already" in vm.hmp(f"object_add tls-creds-psk,id=cmd,dir={sides.client}") or \
        "duplicate" in vm.hmp(f"object_add tls-creds-psk,id=cmd,dir={sides.client}")
    vm.hmp("object_del cmd")
    refused(vm, "object 'cmd' not found", "object-del", id="cmd")


@pytest.mark.parametrize("setup, text", [
    ("absent", "No TLS credentials with id 'tls0'"),
    ("other-kind", "Object with id 'tls0' is not TLS credentials"),
    ("server", "Expected TLS credentials for a client endpoint"),
])
def test_source_credentials(make_vm, sides, setup, text):
    """`migrate` fails before it bothers the destination; the guest runs on and a later attempt works."""
    src = source(make_vm)
    dst = target(make_vm)
    psk(dst, sides, "server")
    uri = listening(dst)
    if setup == "other-kind":
        src.cmd("object-add", qom_type="secret", id="tls0", data="x")
    elif setup == "server":
        src.cmd("object-add", qom_type="tls-creds-psk", id="tls0", endpoint="server",
                dir=sides.server)
    src.cmd("migrate-set-parameters", tls_creds="tls0")
    src.cmd("migrate", uri=uri)
    assert text in src.wait_migration("failed")["error-desc"]
    use_tls(src, "tls-creds-psk", "tls1", dir=sides.client)
    hand_over(src, dst, uri)
    guest_full_pass(dst)


def test_destination_credentials(make_vm, sides):
    dst = target(make_vm)
    dst.cmd("migrate-set-parameters", tls_creds="tls0", tls_authz="z")
    refused(dst, "No TLS credentials with id 'tls0'", "migrate-incoming", uri="tcp:127.0.0.1:0")
    dst.cmd("object-add", qom_type="tls-creds-x509", id="tls0", endpoint="server", dir=sides.server)
    refused(dst, "Cannot find QAuthZ object ID z", "migrate-incoming", uri="tcp:127.0.0.1:0")
    dst.cmd("object-add", qom_type="authz-simple", id="z", identity=sides.identity)
    src = source(make_vm)
    use_tls(src, "tls-creds-x509", dir=sides.client)
    hand_over(src, dst, listening(dst))


def test_no_hostname(make_vm, sides, tmp_path):
    src = source(make_vm)
    dst = target(make_vm)
    use_tls(src, "tls-creds-x509", dir=sides.client)
    use_tls(dst, "tls-creds-x509", endpoint="server", dir=sides.server)
    dst.cmd("migrate-incoming", uri=f"unix:{tmp_path}/m", exit_on_error=False)
    src.cmd("migrate", uri=f"unix:{tmp_path}/m")
    assert "No hostname for certificate validation: set 'tls-hostname'" in \
        src.wait_migration("failed")["error-desc"]
    src.cmd("migrate-set-parameters", tls_hostname="dst.example.org")
    hand_over(src, dst, f"unix:{tmp_path}/m")


def test_one_way_transport(make_vm, sides, tmp_path):
    src = source(make_vm)
    psk(src, sides, "client")
    src.cmd("migrate", uri=f"file:{tmp_path}/state")
    assert "TLS needs both directions" in src.wait_migration("failed")["error-desc"]
    src.wait_status("running")


@pytest.mark.parametrize("right", [True, False])
def test_socket_pair(make_vm, sides, right):
    """A channel that cannot be replaced: a failed handshake ends this incoming migration."""
    src = source(make_vm)
    dst = target(make_vm)
    psk(dst, sides, "server")
    use_tls(src, "tls-creds-psk", dir=sides.client if right else sides.bare)
    for vm, end in zip((src, dst), socket.socketpair()):
        vm.qmp.cmd("getfd", fds=[end.fileno()], fdname="mig")
        end.close()
    dst.cmd("migrate-incoming", uri="fd:mig", exit_on_error=False)
    if right:
        hand_over(src, dst, "fd:mig")
        guest_full_pass(dst)
    else:
        src.cmd("migrate", uri="fd:mig")
        src.wait_migration("failed")
        assert "Peer 'qemu': TLS handshake failed" in dst.wait_migration("failed")["error-desc"]
        src.wait_status("running")


def test_in_use(make_vm, sides):
    """Credentials of an open channel cannot be deleted; afterwards they can."""
    src = source(make_vm)
    dst = target(make_vm)
    psk(src, sides, "client")
    psk(dst, sides, "server")
    uri = listening(dst)
    src.cmd("migrate-set-parameters", max_bandwidth=256 << 10)
    src.cmd("migrate", uri=uri)
    src.wait_migration("active")
    dst.wait_migration("active")
    for vm in (src, dst):
        refused(vm, "object 'tls0' is in use, can not be deleted", "object-del", id="tls0")
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled")
    dst.wait_migration("failed")
    for vm in (src, dst):
        vm.cmd("object-del", id="tls0")


def test_strangers(make_vm, sides):
    """Silent, slow and wrong clients on a TLS port hold up neither the monitor nor the right source."""
    src = source(make_vm)
    use_tls(src, "tls-creds-x509", dir=sides.client)
    dst = target(make_vm)
    use_tls(dst, "tls-creds-x509", endpoint="server", dir=sides.server)
    uri = listening(dst)
    host, port = uri.split(":")[1:]
    fds = len(list(pathlib.Path(f"/proc/{dst.process.pid}/fd").iterdir()))
    strangers = [socket.create_connection((host, int(port))) for _ in range(20)]
    for n, s in enumerate(strangers[5:], 1):
        s.sendall((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(n))[:n])
    strangers[0].sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert dst.cmd("query-migrate")["status"] == "setup"
    hand_over(src, dst, uri)
    guest_full_pass(dst)
    # No handshake's time had to run out first.
    record = dst.cmd("x-query-migration-record")
    begun = next(i for i, r in enumerate(record) if r.get("name") == "active")
    assert not [r for r in record[:begun] if "did not finish it within" in r.get("text", "")]
    for s in strangers:
        s.close()
    end = time.monotonic() + 120
    while len(list(pathlib.Path(f"/proc/{dst.process.pid}/fd").iterdir())) >= fds:
        assert time.monotonic() < end, "descriptors of strangers stay open"
        time.sleep(0.02)


def test_refusal_is_recorded(make_vm, sides):
    dst = target(make_vm)
    psk(dst, sides, "server")
    uri = listening(dst)
    host, port = uri.split(":")[1:]
    with socket.create_connection((host, int(port))) as s:
        s.sendall(b"QEVM" + bytes(100))
        end = time.monotonic() + 120
        while not any("what the peer sent is not TLS" in r.get("text", "")
                      for r in dst.cmd("x-query-migration-record")):
            assert time.monotonic() < end
            time.sleep(0.02)
    assert dst.cmd("query-migrate")["status"] == "setup"


def test_cancel_in_handshake(make_vm, sides):
    """The other side accepts and says nothing: cancel is heard, and the next migration works."""
    src = source(make_vm)
    psk(src, sides, "client")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(1)
        src.cmd("migrate", uri=f"tcp:127.0.0.1:{mute.getsockname()[1]}")
        conn, _ = mute.accept()
        assert conn.recv(3) == b"\x16\x03\x01"
        assert src.cmd("query-migrate")["status"] == "setup"
        src.cmd("migrate_cancel")
        src.wait_migration("cancelled")
        conn.close()
    src.cmd("object-del", id="tls0")
    dst = target(make_vm)
    use_tls(src, "tls-creds-psk", dir=sides.client)
    psk(dst, sides, "server")
    hand_over(src, dst, listening(dst))
    guest_full_pass(dst)


def test_cut(make_vm, sides):
    """The destination dies in the middle: the source says so and goes on."""
    src = source(make_vm)
    dst = target(make_vm)
    psk(src, sides, "client")
    psk(dst, sides, "server")
    src.cmd("migrate-set-parameters", max_bandwidth=256 << 10)
    src.cmd("migrate", uri=listening(dst))
    src.wait_migration("active")
    dst.wait_migration("active")
    dst.process.kill()
    assert src.wait_migration("failed")["error-desc"]
    guest_full_pass(src)


def test_cancel_again_and_again(make_vm, sides):
    """At any moment of a migration with TLS; nothing is left behind, and then it works."""
    src = source(make_vm)
    use_tls(src, "tls-creds-x509", dir=sides.client)
    src.cmd("migrate-set-parameters", max_bandwidth=256 << 10)

    def resources() -> tuple[int, int]:
        proc = pathlib.Path(f"/proc/{src.process.pid}")
        return len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir()))

    for n in range(20):
        dst = target(make_vm)
        use_tls(dst, "tls-creds-x509", endpoint="server", dir=sides.server)
        src.cmd("migrate", uri=listening(dst))
        time.sleep(0.002 * n)
        src.cmd("migrate_cancel")
        src.wait_migration("cancelled")
        dst.close()
        if n == 4:
            before = resources()  # thread pools have their size by now
    end = time.monotonic() + 120
    while any(now > then for now, then in zip(resources(), before)):
        assert time.monotonic() < end, f"{before} -> {resources()}"
        time.sleep(0.05)
    dst = target(make_vm)
    use_tls(dst, "tls-creds-x509", endpoint="server", dir=sides.server)
    hand_over(src, dst, listening(dst))
    guest_full_pass(dst)
