# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest written in Python: memory and PCI accesses of a stopped VM over the qtest protocol."""
from __future__ import annotations

import os
import socket
import struct
import tempfile
import time

from vmtest import PATIENCE, VM

ECAM = 0x30000000
RAM = 0x80000000
LETTER = {1: "b", 2: "w", 4: "l", 8: "q"}


def qtest_args(path: str) -> list[str]:
    return ["-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", "none"]


class Guest:
    """Accesses to one VM that was started with qtest_args(path)."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.sock.settimeout(PATIENCE)
        self.file = self.sock.makefile("r")

    def command(self, line: str) -> list[str]:
        self.sock.sendall(line.encode() + b"\n")
        while True:
            reply = self.file.readline().split()
            assert reply, "qtest connection closed"
            if reply[0] != "IRQ":
                assert reply[0] == "OK", f"{line}: {reply}"
                return reply[1:]

    def read(self, addr: int, size: int = 4) -> int:
        return int(self.command(f"read{LETTER[size]} {addr:#x}")[0], 0)

    def write(self, addr: int, value: int, size: int = 4) -> None:
        self.command(f"write{LETTER[size]} {addr:#x} {value:#x}")

    def put(self, addr: int, data: bytes) -> None:
        self.command(f"write {addr:#x} {len(data):#x} 0x{data.hex()}")

    def get(self, addr: int, size: int) -> bytes:
        return bytes.fromhex(self.command(f"read {addr:#x} {size:#x}")[0][2:])

    def function(self, slot: int, bus: int = 0, fn: int = 0) -> Function:
        return Function(self, bus, slot, fn)

    def close(self) -> None:
        self.file.close()
        self.sock.close()


class Function:
    """Configuration space of one PCI function."""

    def __init__(self, guest: Guest, bus: int, slot: int, fn: int) -> None:
        self.guest = guest
        self.base = ECAM + (bus << 20) + (slot << 15) + (fn << 12)

    def read(self, reg: int, size: int = 4) -> int:
        return self.guest.read(self.base + reg, size)

    def write(self, reg: int, value: int, size: int = 4) -> None:
        self.guest.write(self.base + reg, value, size)

    def present(self) -> bool:
        return self.read(0, 2) != 0xFFFF

    def capability(self, wanted: int) -> int:
        """Offset of the first capability with id @wanted, 0 without one."""
        at = self.read(0x34, 1)
        while at and self.read(at, 1) != wanted:
            at = self.read(at + 1, 1)
        return at


class ModernQueue:
    """One queue of a modern virtio-pci function, driven by hand: rings at @mem in guest RAM."""

    def __init__(self, fn: Function, bar: int, index: int, mem: int, size: int = 8) -> None:
        self.fn, self.bar, self.index, self.mem, self.size = fn, bar, index, mem, size
        self.avail = 0

    @property
    def guest(self) -> Guest:
        return self.fn.guest

    def start(self, features: int, vector: int = 0xFFFF) -> None:
        """Negotiate, set the queue up, driver ok."""
        g, b = self.guest, self.bar
        for status in (0, 1, 3):
            g.write(b + 0x14, status, 1)
        for half in (0, 1):
            g.write(b + 0x08, half)
            g.write(b + 0x0C, features >> (32 * half) & 0xFFFFFFFF)
        g.write(b + 0x14, 0xB, 1)
        assert g.read(b + 0x14, 1) == 0xB
        g.write(b + 0x16, self.index, 2)
        g.write(b + 0x18, self.size, 2)
        g.write(b + 0x1A, vector, 2)
        for reg, offset in ((0x20, 0), (0x28, 0x400), (0x30, 0x800)):
            g.write(b + reg, (self.mem + offset) & 0xFFFFFFFF)
            g.write(b + reg + 4, (self.mem + offset) >> 32)
        g.write(b + 0x1C, 1, 2)
        g.write(b + 0x14, 0xF, 1)

    def offer(self, addr: int, length: int) -> None:
        """One buffer for the device to write to; not notified yet."""
        slot = self.avail % self.size
        self.guest.put(self.mem + 16 * slot, struct.pack("<QIHH", addr, length, 2, 0))
        self.guest.write(self.mem + 0x404 + 2 * slot, slot, 2)
        self.avail += 1
        self.guest.write(self.mem + 0x402, self.avail, 2)

    def notify(self) -> None:
        self.guest.write(self.bar + 0x3000 + 4 * self.index, self.index, 2)

    def used(self) -> int:
        return self.guest.read(self.mem + 0x802, 2)

    def wait_used(self, count: int, timeout: float = PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        while self.used() != count:
            assert time.monotonic() < deadline, f"used index stays {self.used()}"
            time.sleep(0.01)


class GuestVM:
    """A VM that stands still and the Guest that pokes it."""

    def __init__(self, make_vm, kind: str, *args: str) -> None:
        self.dir = tempfile.TemporaryDirectory(prefix="qtest-")
        path = os.path.join(self.dir.name, "qtest")
        self.vm: VM = make_vm(kind, "-S", "-bios", "none", *qtest_args(path), *args, serial=False)
        self.guest = Guest(path)

    def close(self) -> None:
        self.guest.close()
        self.dir.cleanup()
