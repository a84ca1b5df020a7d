# SPDX-License-Identifier: GPL-2.0-or-later
"""Migration over RDMA: soft-RoCE on a dummy interface, both ends in the same machine."""
from __future__ import annotations

import subprocess
import time

import pytest

import vmtest
from vmtest import QMPError, guest_check, guest_full_pass, pattern_args

GUEST = {"mode": "pattern", "ws": "4M", "rate": "1M", "report": 0}
PAIRS = [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")]
V4, V6 = "10.11.0.1", "[fd00:11::1]"
SLOW = 300  # seconds: an emulator inside an emulator


def sh(command: str) -> None:
    subprocess.run(command, shell=True, check=True)


@pytest.fixture(scope="module", autouse=True)
def fabric():
    """A soft-RoCE device; a dummy interface has the address it needs."""
    sh("ip link add rdma0 type dummy && ip addr add 10.11.0.1/24 dev rdma0 && ip addr add fd00:11::1/64 dev rdma0 nodad"
       " && ip link set rdma0 up && rdma link add rxe0 type rxe netdev rdma0")
    yield
    sh("rdma link del rxe0 && ip link del rdma0")


ports = iter(range(4000, 5000))


def started(make_vm, kind: str, **guest):
    vm = make_vm(kind, *pattern_args(**{**GUEST, **guest}), mem="32M")
    vm.serial.wait("ready", SLOW)
    guest_check(vm, SLOW)
    return vm


def listening(make_vm, kind: str, host: str = V4, **guest):
    uri = f"rdma:{host}:{next(ports)}"
    return make_vm(kind, *pattern_args(**{**GUEST, **guest}), "-incoming", uri, mem="32M"), uri


def go(src, uri: str, bandwidth: int = 10 ** 10) -> None:
    src.cmd("migrate-set-parameters", max_bandwidth=bandwidth, downtime_limit=2000)
    src.cmd("migrate", uri=uri)


def arrive(src, dst, stopped: bool) -> None:
    """The migration completes, and the guest finds its memory right."""
    info = src.wait_migration("completed", timeout=SLOW)
    assert info["ram"]["remaining"] == 0
    if stopped:
        dst.wait_status("paused", timeout=SLOW)
        dst.cmd("cont")
    else:
        dst.wait_status("running", timeout=SLOW)
    guest_full_pass(dst, SLOW)


def fails(src) -> str:
    """The migration fails while the guest runs on; the reason."""
    error = src.wait_migration("failed", timeout=SLOW)["error-desc"]
    src.wait_status("running")
    guest_full_pass(src, SLOW)
    return error


@pytest.mark.parametrize("pin_all", [False, True], ids=["dynamic", "pin-all"])
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_move(make_vm, pair, pin_all):
    """A writing guest; one that comes from stock stands still (docs/devel/testing.md, "The oracle")."""
    src = started(make_vm, pair[0])
    dst, uri = listening(make_vm, pair[1])
    src.caps(rdma_pin_all=pin_all)
    if pair[0] == "stock":
        src.cmd("stop")
    go(src, uri)
    arrive(src, dst, stopped=pair[0] == "stock")


def test_ipv6(make_vm):
    src = started(make_vm, "godwit")
    dst, uri = listening(make_vm, "godwit", V6)
    go(src, uri)
    arrive(src, dst, stopped=False)


@pytest.mark.parametrize("pin_all", [False, True], ids=["dynamic", "pin-all"])
def test_return_path(make_vm, pin_all):
    src = started(make_vm, "godwit")
    dst, uri = listening(make_vm, "godwit")
    for vm in (src, dst):
        vm.caps(return_path=True)
    src.caps(rdma_pin_all=pin_all)
    go(src, uri)
    arrive(src, dst, stopped=False)


def test_stopped_channels_argument(make_vm):
    """A stopped guest, the address as an object."""
    src = started(make_vm, "godwit")
    dst = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", mem="32M")
    channels = [{"channel-type": "main", "addr": {"transport": "rdma", "host": V4, "port": str(next(ports))}}]
    dst.cmd("migrate-incoming", channels=channels)
    src.cmd("stop")
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10)
    src.cmd("migrate", channels=channels)
    arrive(src, dst, stopped=True)


def ready_for_postcopy(make_vm, src_kind: str, dst_kind: str):
    """Both ends in slow precopy, with the capability."""
    src = started(make_vm, src_kind)
    dst = make_vm(dst_kind, *pattern_args(**GUEST), "-incoming", "defer", mem="32M")
    uri = f"rdma:{V4}:{next(ports)}"
    for vm in (src, dst):
        vm.caps(postcopy_ram=True)
    dst.cmd("migrate-incoming", uri=uri)
    src.cmd("migrate-set-parameters", max_postcopy_bandwidth=2 ** 17)
    go(src, uri, bandwidth=2 ** 17)
    src.wait_migration("active", timeout=SLOW)
    return src, dst


def to_postcopy(make_vm, src_kind: str, dst_kind: str):
    """Both ends when the guest runs at the destination and most of its memory does not."""
    src, dst = ready_for_postcopy(make_vm, src_kind, dst_kind)
    src.cmd("migrate-start-postcopy")
    src.wait_migration("postcopy-active", timeout=SLOW)
    dst.wait_status("running", timeout=SLOW)
    return src, dst


def postcopy_completes(src, dst) -> None:
    """The guest misses pages before the rest comes as fast as it can."""
    deadline = time.monotonic() + SLOW
    while not src.wait_migration("postcopy-active", "completed", timeout=SLOW)["ram"]["postcopy-requests"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    src.cmd("migrate-set-parameters", max_postcopy_bandwidth=0)
    assert src.wait_migration("completed", timeout=SLOW)["ram"]["postcopy-requests"] > 0
    dst.wait_migration("completed", timeout=SLOW)
    guest_full_pass(dst, SLOW)


@pytest.mark.parametrize("pair", PAIRS[:2], ids="-to-".join)
def test_postcopy(make_vm, pair):
    postcopy_completes(*to_postcopy(make_vm, *pair))


def test_postcopy_to_stock(make_vm):
    """Stock 7.2 would abort at the end, and the guest be lost: there is no switch, precopy completes."""
    src, dst = ready_for_postcopy(make_vm, "godwit", "stock")
    with pytest.raises(QMPError, match="would crash a destination"):
        src.cmd("migrate-start-postcopy")
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10)
    arrive(src, dst, stopped=False)


def test_postcopy_recovery(make_vm):
    """The line is cut after the switch; a new one, over RDMA too, brings the rest."""
    src, dst = to_postcopy(make_vm, "godwit", "godwit")
    src.cmd("migrate-pause")
    for vm in (src, dst):
        vm.wait_migration("postcopy-paused", timeout=SLOW)
    uri = f"rdma:{V4}:{next(ports)}"
    dst.cmd("migrate-recover", uri=uri)
    src.cmd("migrate", uri=uri, resume=True)
    src.wait_migration("postcopy-active", "completed", timeout=SLOW)
    postcopy_completes(src, dst)


def test_cancel_and_again(make_vm):
    src = started(make_vm, "godwit")
    dst, uri = listening(make_vm, "godwit")
    go(src, uri, bandwidth=2 ** 17)
    src.wait_migration("active", timeout=SLOW)
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled", timeout=SLOW)
    assert dst.wait_exit(SLOW) == 1
    assert "load of migration failed" in dst.log()
    dst, uri = listening(make_vm, "godwit")
    go(src, uri)
    arrive(src, dst, stopped=False)


@pytest.mark.parametrize("after", [0, 0.8, 1.6, 2.4, 3.2], ids="{}-MiB".format)
def test_destination_killed(make_vm, after):
    """At five points of the first pass, which is longer than the guest's 8 MiB.

    The same source every time would do, but a fresh one is told from a hurt one.
    """
    src = started(make_vm, "godwit", ws="8M", rate="2M")
    dst, uri = listening(make_vm, "godwit")
    go(src, uri, bandwidth=2 ** 20)
    deadline = time.monotonic() + SLOW
    while (info := src.cmd("query-migrate")).get("ram", {}).get("transferred", 0) < after * 2 ** 20:
        assert info["status"] in ("setup", "active") and time.monotonic() < deadline
    dst.process.kill()
    assert "RDMA" in fails(src)


def test_source_killed(make_vm):
    src = started(make_vm, "godwit")
    dst, uri = listening(make_vm, "godwit")
    go(src, uri, bandwidth=2 ** 17)
    src.wait_migration("active", timeout=SLOW)
    src.process.kill()
    assert dst.wait_exit(SLOW) == 1
    assert "RDMA" in dst.log()


@pytest.mark.parametrize("side", [0, 1], ids=["source", "destination"])
def test_locked_memory(make_vm, tmp_path, monkeypatch, side):
    """Too little memory may be locked: the text says what to raise."""
    small = tmp_path / "small"
    small.write_text("#!/bin/sh\nulimit -l 8192\n"
                     f"exec setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock {vmtest.BINARIES['godwit']} \"$@\"\n")
    small.chmod(0o755)
    monkeypatch.setitem(vmtest.BINARIES, "small", str(small))
    src = started(make_vm, ["small", "godwit"][side])
    dst, uri = listening(make_vm, ["godwit", "small"][side])
    for vm in (src, dst):
        vm.caps(return_path=True)
    src.caps(rdma_pin_all=True)
    go(src, uri)
    error = fails(src)
    if side == 0:
        assert "ulimit -l" in error and "may lock 8192 KiB" in error
    else:
        assert dst.wait_exit(SLOW) == 1
        assert "ulimit -l" in dst.log()


@pytest.mark.parametrize("uri,text", [(f"rdma:{V4}:1", "refuses the connection"),
                                      ("rdma:127.0.0.1:1", "RDMA"),
                                      ("rdma:10.99.99.99:1", "RDMA"),
                                      ("rdma:no-such-host.invalid:1", "address resolution failed")])
def test_wrong_address(make_vm, uri, text):
    """The command returns before the connection is tried."""
    src = started(make_vm, "godwit")
    src.caps(events=True)
    src.cmd("migrate", uri=uri)
    assert "failed" not in [e["data"]["status"] for e in src.qmp.events if e["event"] == "MIGRATION"]
    assert text in fails(src)


def test_no_device(make_vm):
    sh("rdma link del rxe0")
    try:
        src = started(make_vm, "godwit")
        src.cmd("migrate", uri=f"rdma:{V4}:1")
        assert "RDMA" in fails(src)
        dst = make_vm("godwit", "-incoming", "defer", serial=False)
        dst.cmd("query-migrate")
    finally:
        sh("rdma link add rxe0 type rxe netdev rdma0")


def test_port_in_use(make_vm):
    dst, uri = listening(make_vm, "godwit")
    other = make_vm("godwit", "-incoming", "defer", serial=False)
    with pytest.raises(QMPError, match="cannot listen on"):
        other.cmd("migrate-incoming", uri=uri)
    assert dst.alive()
