# SPDX-License-Identifier: GPL-2.0-or-later
"""A migration over a line that is cut, stalls or flips a bit at byte N.

Before the commit the guest stays at the source. Behind it the destination may have it: then either the source
knows, or it stands still and says so (docs/devel/migration.md).

By default a seeded sample of positions; GODWIT_TEST_LONG=1 takes all of them (hours).
"""
from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import threading

import pytest

from vmtest import VM, guest_check, guest_full_pass, hand_over, listen_address, pattern_args

GUEST = {"mode": "pattern", "ws": "256K", "rate": "1M", "report": 0}
LONG = bool(os.environ.get("GODWIT_TEST_LONG"))
SAMPLES = 5  # per kind of position
DEVICES = 4000  # bytes that are surely device state
COMMIT = bytes.fromhex("08 0002 0004 4758434f")  # PING STREAM_COMMIT (docs/interop/stream.md)


class Line:
    """A TCP relay to @port; @plan happens to one byte of the source's direction.

    That byte is @at bytes behind the first @anchor, b"" being the stream's beginning: how many pages come first is
    the guest's affair.
    """

    def __init__(self, port: int, plan: str, at: int, flip: int = 0, anchor: bytes = b"") -> None:
        self.port, self.plan, self.flip = port, plan, flip
        self.offset, self.anchor = at, anchor
        self.at = None if anchor else at  # once it is known
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.reached = threading.Event()
        self.carried = bytearray()
        self.ends: list[socket.socket] = []
        threading.Thread(target=self.forward, daemon=True).start()

    def uri(self) -> str:
        return f"tcp:127.0.0.1:{self.listener.getsockname()[1]}"

    def committed(self) -> bool:
        """Was the destination given the guest?"""
        return COMMIT in self.carried

    def find_anchor(self, data: bytearray) -> None:
        if self.at is None:
            start = max(0, len(self.carried) - len(self.anchor))
            found = (self.carried[start:] + data).find(self.anchor)
            if found >= 0:
                self.at = start + found + self.offset

    def forward(self) -> None:
        try:
            source = self.listener.accept()[0]
            target = socket.create_connection(("127.0.0.1", self.port))
            self.ends = [source, target]
            threading.Thread(target=self.backward, daemon=True).start()
            while data := bytearray(source.recv(65536)):
                self.find_anchor(data)
                left = None if self.at is None else self.at - len(self.carried)
                here = left is not None and 0 <= left < len(data)
                if here and self.plan == "flip":
                    data[left] ^= self.flip
                elif here:
                    del data[left:]
                self.carried += data
                target.sendall(data)
                if here:
                    self.reached.set()
                    if self.plan == "cut":
                        self.cut()
                    if self.plan != "flip":
                        return
            target.shutdown(socket.SHUT_WR)
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


def measure(make_vm, src: VM, path) -> tuple[int, bytes]:
    """The length of a stream of @src and where its devices begin; the guest goes on running."""
    src.caps(return_path=False)
    src.cmd("migrate", uri=f"file:{path}")
    src.wait_migration("completed")
    src.cmd("cont")
    src.caps(return_path=True)
    stream = path.read_bytes()
    first = stream[stream.rindex(b"\x00\x06"):]  # EOF, then the description, which has them in order
    name = json.loads(first[first.index(b"{"):])["devices"][0]["name"].encode()
    return len(stream), bytes([len(name)]) + name


def positions(length: int, devices: bytes, seed: int) -> list[tuple[bytes, int]]:
    """Pairs of anchor and offset."""
    if LONG:
        return [(b"", at) for at in range(length)] + [(devices, at) for at in range(DEVICES)]
    rnd = random.Random(seed)
    return ([(b"", rnd.randrange(length)) for _ in range(SAMPLES)] + [(b"", rnd.randrange(200)) for _ in range(SAMPLES)] +
            [(devices, rnd.randrange(DEVICES)) for _ in range(SAMPLES)] +
            [(COMMIT, at) for at in (0, rnd.randrange(1, len(COMMIT)), len(COMMIT), rnd.randrange(20, 2000))])


def has_place(text: str) -> bool:
    return bool(re.search(r"offset \d+|Not a migration stream|Migration stream version|"
                          r"[Ss]ection '|configuration", text))


def one_attempt(make_vm, src: VM, plan: str, anchor: bytes, at: int, flip: int) -> None:
    where = f"{plan} at {at} of {anchor!r} (flip {flip:#x})"
    dst = new_target(make_vm)
    line = Line(int(listen_address(dst).rsplit(":", 1)[1]), plan, at, flip, anchor)
    try:
        src.cmd("migrate", uri=line.uri())
        if plan == "stall":
            while not line.reached.wait(0.01):
                if src.cmd("query-migrate")["status"] == "completed":
                    break  # fewer dirty pages than in the file: never came that far
            src.cmd("migrate_cancel")
        elif plan == "flip":
            # A length that grew lets the destination wait for bytes that never come.
            try:
                src.wait_migration("failed", "completed", timeout=3)
            except TimeoutError:
                src.cmd("migrate_cancel")
        info = src.wait_migration("failed", "completed", "cancelled")
        state = src.wait_status("running", "postmigrate", "paused")
        line.close()
        there = dst.wait_migration("failed", "completed")
        assert dst.alive(), where + dst.log()
        if state == "paused":
            # The commit was hit, or the answer to it lost: only who sees both sides knows.
            assert line.reached.is_set() and "'cont' takes it back" in info["error-desc"], where
            assert line.committed() or there["status"] == "failed", where
            dst.cmd("quit")
            src.cmd("cont")
        elif state == "running":
            assert there["status"] == "failed", f"{where}: both sides have the guest: {info} {there}"
            if info["status"] == "failed":
                assert has_place(info["error-desc"]), f"{where}: {info['error-desc']}"
            assert has_place(there["error-desc"]), f"{where}: {there['error-desc']}"
        else:
            assert plan == "flip" or line.committed() or not line.reached.is_set(), where
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
    for anchor, at in positions(*measure(make_vm, src, tmp_path / "stream"), seed=7):
        one_attempt(make_vm, src, plan, anchor, at, 1 << rnd.randrange(8))
        guest_check(src)
    guest_full_pass(src)
    dst = new_target(make_vm)
    hand_over(src, dst, listen_address(dst))
    assert dst.status() == "running"
