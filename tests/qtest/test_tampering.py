# SPDX-License-Identifier: GPL-2.0-or-later
"""A migration over a line that is cut, stalls or flips a bit at byte N.

By default a seeded sample of positions; GODWIT_SLOW_TESTS=1 takes all of them (hours).
"""
from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import threading

import pytest

from vmtest import VM, guest_check, guest_full_pass, hand_over, listen_address, pattern_args

GUEST = {"mode": "pattern", "ws": "256K", "rate": "1M", "report": 0}
SLOW = bool(os.environ.get("GODWIT_SLOW_TESTS"))
SAMPLES = 14


class Line:
    """A TCP relay to @port; @plan happens to the byte at offset @at of the source's direction."""

    def __init__(self, port: int, plan: str, at: int, flip: int = 0) -> None:
        self.port, self.plan, self.at, self.flip = port, plan, at, flip
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.reached = threading.Event()
        self.carried = 0
        self.ends: list[socket.socket] = []
        threading.Thread(target=self.forward, daemon=True).start()

    def uri(self) -> str:
        return f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"

    def forward(self) -> None:
        try:
            source = self.listener.accept()[0]
            target = socket.create_connection(("127.0.0.1", self.port))
            self.ends = [source, target]
            threading.Thread(target=self.backward, daemon=True).start()
            while True:
                limit = 65536
                if self.plan != "flip":
                    limit = min(limit, self.at - self.carried)
                    if not limit:
                        self.reached.set()
                        if self.plan == "cut":
                            self.cut()
                        return
                data = bytearray(source.recv(limit))
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                if self.plan == "flip" and 0 <= self.at - self.carried < len(data):
                    data[self.at - self.carried] ^= self.flip
                    self.reached.set()
                self.carried += len(data)
                target.sendall(data)
        except OSError:
            self.cut()

    def backward(self) -> None:
        source, target = self.ends
        try:
            while data := target.recv(65536):
                source.sendall(data)
            source.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.cut()

    def cut(self) -> None:
        for end in [*self.ends, self.listener]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        for end in [*self.ends, self.listener]:
            end.close()


def new_source(make_vm) -> VM:
    src = make_vm("godwit", *pattern_args(**GUEST), mem="16M")
    src.serial.wait("ready")
    src.caps(return_path=True)
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    return src


def new_target(make_vm) -> VM:
    dst = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", mem="16M", serial=False)
    dst.cmd("migrate-incoming", uri="tcp:127.0.0.1:0", exit_on_error=False)
    return dst


def stream_length(make_vm, src: VM, path) -> int:
    """Bytes up to the end of the device state of a stream of @src; it goes on running."""
    src.caps(return_path=False)
    src.cmd("migrate", uri=f"file:{path}")
    src.wait_migration("completed")
    src.cmd("cont")
    src.caps(return_path=True)
    return path.read_bytes().rindex(b"\x00\x06")  # EOF, then the description


def positions(length: int, seed: int) -> list[int]:
    if SLOW:
        return list(range(length))
    rnd = random.Random(seed)
    # Half of them where the structure is: the head, and device state behind the pages.
    return sorted([rnd.randrange(length) for _ in range(SAMPLES // 2)] +
                  [rnd.randrange(200) for _ in range(SAMPLES // 4)] +
                  [length - rnd.randrange(4500) for _ in range(SAMPLES // 4)])


def has_place(text: str) -> bool:
    return bool(re.search(r"offset \d+|Not a migration stream|Migration stream version|"
                          r"[Ss]ection '|configuration", text))


def one_attempt(make_vm, src: VM, plan: str, at: int, flip: int) -> None:
    where = f"{plan} at {at} (flip {flip:#x})"
    dst = new_target(make_vm)
    line = Line(int(listen_address(dst).rsplit(":", 1)[1]), plan, at, flip)
    try:
        src.cmd("migrate", uri=line.uri())
        if plan == "stall":
            while not line.reached.wait(0.01):
                if src.cmd("query-migrate")["status"] == "completed":
                    break  # fewer dirty pages than last time: never came that far
            src.cmd("migrate_cancel")
        elif plan == "flip":
            # A length that grew lets the destination wait for bytes that never come.
            try:
                src.wait_migration("failed", "completed", timeout=3)
            except TimeoutError:
                src.cmd("migrate_cancel")
        info = src.wait_migration("failed", "completed", "cancelled", timeout=20)
        state = src.wait_status("running", "postmigrate")
        line.close()
        there = dst.wait_migration("failed", "completed", timeout=20)
        assert dst.alive(), where + dst.log()
        if state == "running":
            assert there["status"] == "failed", f"{where}: both sides have the guest: {info} {there}"
            if info["status"] == "failed":
                assert has_place(info["error-desc"]), f"{where}: {info['error-desc']}"
            assert has_place(there["error-desc"]), f"{where}: {there['error-desc']}"
        else:
            assert plan == "flip" or not line.reached.is_set(), where
            assert there["status"] == "completed", f"{where}: nobody has the guest: {info} {there}"
            dst.cmd("quit")  # before the source takes the guest back
            src.cmd("cont")
    finally:
        line.close()
        dst.close()


@pytest.mark.parametrize("plan", ["cut", "stall", "flip"])
def test_every_byte(make_vm, tmp_path, plan):
    src = new_source(make_vm)
    rnd = random.Random(plan)
    length = stream_length(make_vm, src, tmp_path / "stream")
    for at in positions(length, seed=7):
        one_attempt(make_vm, src, plan, at, 1 << rnd.randrange(8))
        guest_check(src)
    guest_full_pass(src)
    dst = new_target(make_vm)
    hand_over(src, dst, listen_address(dst))
    assert dst.status() == "running"
