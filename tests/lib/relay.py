# SPDX-License-Identifier: GPL-2.0-or-later
"""A line between two emulators that can be cut: a TCP port whose connections are passed on."""
from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable


class Relay:
    """Passes every connection to PORT on to @target; cut() breaks those there are."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.lock = threading.Lock()
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self.listener.getsockname()[1]
        self.resume_at = 0.0
        self.seen = 0  # bytes passed on towards the target
        self.passed: dict[socket.socket, int] = {}  # the same, by connection
        self.on_bytes: Callable[[int], None] | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"tcp:127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            with self.lock:
                self.pairs.append((near, far))
            for a, b, forward in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pump, args=(a, b, forward), daemon=True).start()

    def _pump(self, a: socket.socket, b: socket.socket, forward: bool) -> None:
        try:
            while data := a.recv(1 << 16):
                while (wait := self.resume_at - time.monotonic()) > 0:
                    time.sleep(min(wait, 0.05))
                b.sendall(data)
                if forward:
                    self.seen += len(data)
                    self.passed[a] = self.passed.get(a, 0) + len(data)
                    if self.on_bytes:
                        self.on_bytes(self.seen)
        except OSError:
            pass
        try:
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def carried(self) -> list[int]:
        """How many bytes each connection has passed on to the target, in the order of their coming."""
        with self.lock:
            return [self.passed.get(near, 0) for near, _ in self.pairs]

    def hold(self, seconds: float) -> None:
        """Nothing passes for a while."""
        self.resume_at = time.monotonic() + seconds

    def cut(self, index: int | None = None, hard: bool = True) -> int:
        """Break all connections, or number @index; @hard: by reset. How many there were."""
        with self.lock:
            pairs = self.pairs if index is None else self.pairs[index:index + 1]
            self.pairs = [] if index is None else [p for p in self.pairs if p not in pairs]
        for pair in pairs:
            for s in pair:
                if hard:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()
        return len(pairs)

    def close(self) -> None:
        self.listener.close()
        self.cut()
