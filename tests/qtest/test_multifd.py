# SPDX-License-Identifier: GPL-2.0-or-later
"""Several channels: what sources and strangers may get wrong, and what must hold then."""
from __future__ import annotations

import os
import pathlib
import socket
import struct
import time

import pytest

from vmtest import QMPError, VM, guest_full_pass, hand_over, listen_address, pattern_args

GUEST = {"mode": "pattern", "ws": "8M", "rate": "20M", "report": 0}
LONG = bool(os.environ.get("GODWIT_TEST_LONG"))
INIT = struct.Struct(">II16sB39x")


def source(make_vm, *args: str, channels: int = 2, **params) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), *args)
    vm.serial.wait("ready")
    vm.caps(multifd=True, return_path=True)
    vm.cmd("migrate-set-parameters", multifd_channels=channels, max_bandwidth=10 ** 10, downtime_limit=2000, **params)
    return vm


def target(make_vm, *args: str, channels: int = 2, multifd: bool = True, **params) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", *args)
    vm.caps(multifd=multifd, return_path=True)
    vm.cmd("migrate-set-parameters", multifd_channels=channels, **params)
    vm.cmd("migrate-incoming", uri="tcp:127.0.0.1:0", exit_on_error=False)
    return vm


def failed(vm: VM) -> str:
    return vm.wait_migration("failed", timeout=60)["error-desc"]


def still_works(make_vm, src: VM) -> None:
    src.wait_status("running")
    src.cmd("migrate-set-parameters", multifd_channels=2, multifd_compression="none")
    dst = target(make_vm)
    hand_over(src, dst, listen_address(dst))
    guest_full_pass(dst)


def connect(vm: VM) -> socket.socket:
    host, port = listen_address(vm).split(":")[1:]
    return socket.create_connection((host, int(port)))


def threads(vm: VM) -> int:
    return len(list(pathlib.Path(f"/proc/{vm.process.pid}/task").iterdir()))


def private_memory(vm: VM) -> int:
    lines = pathlib.Path(f"/proc/{vm.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def descriptors(vm: VM) -> int:
    return len(list(pathlib.Path(f"/proc/{vm.process.pid}/fd").iterdir()))


@pytest.mark.parametrize("there, here, text", [
    ({"channels": 2}, {"channels": 4}, "received channel id"),
    ({"multifd": False}, {}, "turn the capability 'multifd' on here too"),
    ({"multifd_compression": "zlib"}, {"multifd_compression": "zstd"}, "flags received 4 flags expected 2"),
], ids=["too-many", "off-there", "codec"])
def test_unlike(make_vm, there, here, text):
    src, dst = source(make_vm, **here), target(make_vm, **there)
    src.cmd("migrate", uri=listen_address(dst))
    assert text in failed(dst)
    failed(src)
    still_works(make_vm, src)


def test_another_vm(make_vm):
    src = source(make_vm, "-uuid", "00112233-4455-6677-8899-aabbccddeeff")
    dst = target(make_vm, "-uuid", "00112233-4455-6677-8899-aabbccddee00")
    src.cmd("migrate", uri=listen_address(dst))
    assert "uuid" in failed(dst)
    failed(src)


def test_strangers(make_vm):
    """Silent ones, talkative ones, slow ones and liars are there before the source."""
    src, dst = source(make_vm), target(make_vm)
    peers = [connect(dst) for _ in range(6)]
    peers[1].sendall(b"GET / HTTP/1.1\r\n\r\n")
    peers[2].sendall(INIT.pack(0x11223344, 1, bytes(16), 0)[:20])
    peers[3].sendall(INIT.pack(0x11223344, 9, bytes(16), 0))
    peers[4].sendall(b"\x11\x22")
    hand_over(src, dst, listen_address(dst))
    guest_full_pass(dst)
    for peer in peers:
        peer.close()


def test_needs_connections(make_vm, tmp_path):
    src = source(make_vm)
    for uri in ("exec:cat > /dev/null", f"file:{tmp_path}/x"):
        with pytest.raises(QMPError) as error:
            src.cmd("migrate", uri=uri)
        assert "multi-channel" in error.value.desc


def test_options(make_vm):
    vm = make_vm("godwit", "-S", "-incoming", "defer", "-global", "migration.multifd-channels=7", serial=False)
    assert vm.cmd("query-migrate-parameters")["multifd-channels"] == 7
    for bad in ({"multifd_channels": 0}, {"multifd_zstd_level": 21}, {"multifd_zlib_level": 10},
                {"multifd_compression": "lzma"}):
        with pytest.raises(QMPError):
            vm.cmd("migrate-set-parameters", **bad)
    with pytest.raises(QMPError):
        vm.caps(multifd=True, xbzrle=True)
    vm.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    with pytest.raises(QMPError) as error:
        vm.caps(multifd=True)
    assert "before the incoming migration starts" in error.value.desc


def test_zero_copy_rules(make_vm):
    vm = make_vm("godwit", "-S", serial=False)
    for others in ({}, {"multifd": True, "mapped_ram": True}):
        with pytest.raises(QMPError) as error:
            vm.caps(zero_copy_send=True, **others)
        assert "zero-copy-send" in error.value.desc
    vm.caps(multifd=True, zero_copy_send=True)
    for bad in ({"multifd_compression": "zstd"}, {"tls_creds": "tls0"}):
        with pytest.raises(QMPError) as error:
            vm.cmd("migrate-set-parameters", **bad)
        assert "only available for non-compressed non-TLS multifd" in error.value.desc
    with pytest.raises(QMPError) as error:
        vm.caps(multifd=False)
    assert "'zero-copy-send' requires capability 'multifd'" in error.value.desc


def test_cancel_again_and_again(make_vm):
    """At whatever state it is; nothing of it stays."""
    src = source(make_vm, channels=4)
    src.cmd("migrate-set-parameters", max_bandwidth=256 << 10)
    before = threads(src), descriptors(src)
    settled = 0
    for i in range(200 if LONG else 20):
        dst = target(make_vm, channels=4)
        src.cmd("migrate", uri=listen_address(dst))
        time.sleep(i % 20 * 0.004)
        src.cmd("migrate_cancel")
        src.wait_migration("cancelled")
        src.wait_status("running")
        dst.close()
        if i == 9:  # what is kept for ever has been made by now
            settled = private_memory(src)
    deadline = time.monotonic() + 120
    while (threads(src), descriptors(src)) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert descriptors(src) <= before[1]
    assert threads(src) <= before[0] + 1  # a resolver of the pool may linger
    if LONG:
        assert private_memory(src) < settled + (16 << 20)
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10)
    still_works(make_vm, src)


def test_statistics(make_vm):
    src, dst = source(make_vm), target(make_vm)
    info = hand_over(src, dst, listen_address(dst))
    ram = info["ram"]
    assert 0 < ram["multifd-bytes"] <= ram["transferred"]
    for vm in (src, dst):
        lines = [r["text"] for r in vm.cmd("x-query-migration-record") if r["kind"] == "note"]
        assert sum("multifd channel" in line for line in lines) == 2
