# SPDX-License-Identifier: GPL-2.0-or-later
"""Deltas between Godwit and stock QEMU 7.2. What arrived must be, byte for byte, what the stopped source has."""
from __future__ import annotations

import random
import socket
import time

import pytest

from vmtest import PATIENCE, guest_check, guest_full_pass, listen_address, pattern_args

RAM = 0x80000000


def in_file(path) -> list[str]:
    """Guest RAM of 32 MiB in the file @path."""
    return ["-object", f"memory-backend-file,id=m0,size=32M,mem-path={path},share=on"]


def wait_for(vm, condition) -> None:
    """Poll a migration that must not end by itself."""
    deadline = time.monotonic() + PATIENCE
    while not ("ram" in (info := vm.cmd("query-migrate")) and condition(info)):
        assert info["status"] in ("setup", "active") and time.monotonic() < deadline, info


@pytest.mark.parametrize("touch", [3, 512], ids=["small", "whole-pages"])
@pytest.mark.parametrize("peer", ["godwit", "stock"])
def test_from_godwit(make_vm, tmp_path, peer, touch):
    """Passes of deltas while a guest writes flat out; the cache grows on the way."""
    guest = pattern_args(mode="hot", ws="24M", hot="4M", touch=touch, report=0)
    board = {"machine": "virt,memory-backend=m0", "mem": "32M", "smp": 2}
    src = make_vm("godwit", *in_file(tmp_path / "src"), *guest, **board)
    dst = make_vm(peer, *in_file(tmp_path / "dst"), *guest, "-incoming", "tcp:127.0.0.1:0", "-S", **board)
    src.serial.wait("ready")
    guest_check(src)
    src.caps(xbzrle=True)
    src.cmd("migrate-set-parameters", max_bandwidth=16 << 20, downtime_limit=0, xbzrle_cache_size=8 << 20)
    src.cmd("migrate", uri=listen_address(dst))
    # A line so slow that there is always something left: a guest that gets no CPU for a moment must not end it.
    wait_for(src, lambda info: info["ram"]["dirty-sync-count"] >= 2)
    src.cmd("migrate-set-parameters", max_bandwidth=(1 if touch == 3 else 16) << 20)
    wait_for(src, lambda info: info["xbzrle-cache"]["pages"] > 0)
    src.cmd("migrate-set-parameters", max_bandwidth=(200 << 10) if touch == 3 else (16 << 20))
    wait_for(src, lambda info: info["xbzrle-cache"]["pages"] > 1000)
    src.cmd("migrate-set-parameters", xbzrle_cache_size=16 << 20)
    wait_for(src, lambda info: info["xbzrle-cache"]["pages"] > 4000)
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    stats = src.wait_migration("completed")["xbzrle-cache"]
    dst.wait_status("paused")
    assert stats["cache-miss"] > 0, stats
    if touch == 512:
        assert stats["overflow"] > 1000, stats
    else:
        assert stats["overflow"] == 0 and stats["bytes"] < stats["pages"] * 256, stats
    assert (tmp_path / "src").read_bytes() == (tmp_path / "dst").read_bytes()
    dst.cmd("cont")
    guest_full_pass(dst)


class QTest:
    """Writes guest memory from outside, through the qtest protocol."""

    def __init__(self, path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("rw", newline="\n")

    def write(self, offset: int, data: bytes) -> None:
        self.file.write(f"write {RAM + offset:#x} {len(data):#x} 0x{data.hex()}\n")
        self.file.flush()
        assert self.file.readline().startswith("OK")

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def test_from_stock(make_vm, tmp_path):
    """Stock's deltas. Its own guests do not arrive byte for byte (docs/devel/testing.md), so memory is written from
    outside: once during the first pass, so that the second fills the cache, then while it waits before the end."""
    rng = random.Random(7)
    (tmp_path / "src").write_bytes(rng.randbytes(2 << 20) + bytes(30 << 20))
    board = {"machine": "virt,memory-backend=m0", "mem": "32M", "serial": False}
    src = make_vm("stock", "-S", *in_file(tmp_path / "src"), "-qtest",
                  f"unix:{tmp_path}/qtest,server=on,wait=off", **board)
    dst = make_vm("godwit", *in_file(tmp_path / "dst"), "-incoming", "tcp:127.0.0.1:0", **board)
    qtest = QTest(tmp_path / "qtest")
    src.caps(xbzrle=True, pause_before_switchover=True)
    src.cmd("migrate-set-parameters", max_bandwidth=100 << 10, downtime_limit=1)
    src.cmd("migrate", uri=listen_address(dst))
    src.wait_migration("active")  # its log is on: what is written now is sent again
    for page in range(400):
        qtest.write(page << 12, b"x")
    src.cmd("migrate-set-parameters", max_bandwidth=2 << 20)
    src.wait_migration("pre-switchover")
    for page in range(300):
        for _ in range(rng.choice((1, 1, 2, 9))):
            qtest.write((page << 12) + rng.randrange(4000), rng.randbytes(rng.choice((1, 2, 8, 90))))
    qtest.write(300 << 12, rng.randbytes(4096))
    qtest.write(301 << 12, bytes(4096))
    src.cmd("migrate-continue", state="pre-switchover")
    stats = src.wait_migration("completed")["xbzrle-cache"]
    dst.wait_status("prelaunch")
    qtest.close()
    assert stats["pages"] >= 200 and stats["overflow"] >= 1, sorted(stats.items())
    assert (tmp_path / "src").read_bytes() == (tmp_path / "dst").read_bytes()
