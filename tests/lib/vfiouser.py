# SPDX-License-Identifier: GPL-2.0-or-later
"""A small vfio-user server: a PCI device with registers, a DMA engine and interrupts.

    BAR 0   00 scratch   04 signal vector N   08/0c source   10/14 destination   18 length
            1c command: 1 copy, 2 raise the pin, 3 lower the pin   20 result   24 commands done
    BAR 4   MSI-X table and pending bits (the client's own)

The server maps guest memory whose descriptor it was given and asks the client for the rest. `hook` may answer a
command in its place, to misbehave.
"""
from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import struct
import threading
from collections.abc import Callable

HEADER = struct.Struct("=HHIII")
VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION, GET_IRQ, SET_IRQS = 1, 2, 3, 4, 5, 7, 8
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, FEATURE = 9, 10, 11, 12, 13, 16
REPLY, ERROR = 1, 0x20
INTX, MSIX = 0, 2
VECTORS = 4
CONFIG = 7


def new_config() -> bytearray:
    config = bytearray(256)
    config[0:8] = struct.pack("<HHHH", 0xCAFE, 0x4D55, 0, 0x10)
    config[8:12] = bytes([1, 0, 0, 0xFF])
    config[0x20:0x24] = struct.pack("<I", 0)
    config[0x34], config[0x3D] = 0x40, 1
    config[0x40:0x4C] = struct.pack("<BBHII", 0x11, 0x50, VECTORS - 1, 4, 0x804)
    config[0x50:0x60] = struct.pack("<BBBB", 9, 0, 16, 0) + b"VFIO-USER-TS"
    return config


class Device(threading.Thread):
    """Serves one client after the other at @path until closed."""

    def __init__(self, path: str, hook: Callable[[int, bytes], bytes | int | None] | None = None) -> None:
        super().__init__(daemon=True)
        self.path, self.hook = path, hook
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.config, self.regs = new_config(), bytearray(0x1000)
        self.trace: list[int] = []
        self.maps: dict[int, tuple[int, mmap.mmap | None]] = {}
        self.eventfds: dict[tuple[int, int], int] = {}
        self.level = self.masked = False
        self.resets = self.messages = 0
        self.conn: socket.socket | None = None
        self.next_id = 0
        self.start()

    def run(self) -> None:
        while True:
            try:
                self.conn, _ = self.listener.accept()
            except OSError:
                return
            try:
                while self.serve_one():
                    pass
            except OSError:
                pass
            self.disconnect()

    def disconnect(self) -> None:
        for _, memory in self.maps.values():
            if memory:
                memory.close()
        for fd in self.eventfds.values():
            os.close(fd)
        self.maps, self.eventfds = {}, {}
        if self.conn:
            self.conn.close()
            self.conn = None

    def close(self) -> None:
        """End the server, and with it the connection; harmless when repeated."""
        for sock in (self.listener, self.conn):
            try:
                if sock:
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.join(20)
        self.listener.close()

    # ---- messages ----

    def receive(self) -> tuple[tuple, bytes, list[int]] | None:
        data, fds, _, _ = socket.recv_fds(self.conn, HEADER.size, 16)
        while data and len(data) < HEADER.size:
            data += self.conn.recv(HEADER.size - len(data))
        if not data:
            return None
        head = HEADER.unpack(data)
        body = b""
        while len(body) < head[2] - HEADER.size:
            more = self.conn.recv(head[2] - HEADER.size - len(body))
            if not more:
                return None
            body += more
        return head, body, fds

    def send(self, ident: int, command: int, flags: int, body: bytes = b"", error: int = 0) -> None:
        self.conn.sendall(HEADER.pack(ident, command, HEADER.size + len(body), flags, error) + body)

    def serve_one(self) -> bool:
        message = self.receive()
        if not message:
            return False
        (ident, command, _, _, _), body, fds = message
        self.trace.append(command)
        answer = self.hook(command, body) if self.hook else None
        if answer is None:
            answer = self.obey(command, body, fds)
        if isinstance(answer, int):
            self.send(ident, command, REPLY | ERROR, error=answer)
        else:
            self.send(ident, command, REPLY, answer)
        return True

    # ---- commands ----

    def obey(self, command: int, body: bytes, fds: list[int]) -> bytes | int:
        if command == VERSION:
            caps = {"capabilities": {"max_msg_fds": 2, "max_data_xfer_size": 1 << 20}}
            return struct.pack("=HH", 0, 0) + json.dumps(caps).encode() + b"\0"
        if command == GET_INFO:
            return struct.pack("=IIII", 16, 3, 9, 5)
        if command == GET_REGION:
            index = struct.unpack_from("=I", body, 8)[0]
            size = {0: 0x1000, 4: 0x1000, CONFIG: 256}.get(index, 0)
            return struct.pack("=IIIIQQ", 32, 3 if size else 0, index, 0, size, 0)
        if command == GET_IRQ:
            index = struct.unpack_from("=I", body, 8)[0]
            return struct.pack("=IIII", 16, {INTX: 7}.get(index, 1), index, {INTX: 1, MSIX: VECTORS}.get(index, 0))
        if command == SET_IRQS:
            return self.set_irqs(body, fds)
        if command == DMA_MAP:
            _, _, offset, addr, size = struct.unpack("=IIQQQ", body)
            if addr in self.maps:
                return errno.EEXIST
            memory = mmap.mmap(fds[0], size, offset=offset) if fds else None
            for fd in fds:
                os.close(fd)
            self.maps[addr] = (size, memory)
            return b""
        if command == DMA_UNMAP:
            addr = struct.unpack_from("=Q", body, 8)[0]
            if addr not in self.maps:
                return errno.ENOENT
            _, memory = self.maps.pop(addr)
            if memory:
                memory.close()
            return body
        if command in (REGION_READ, REGION_WRITE):
            return self.access(command, body)
        if command == RESET:
            self.regs = bytearray(0x1000)
            self.resets += 1
            return b""
        return errno.EINVAL

    def set_irqs(self, body: bytes, fds: list[int]) -> bytes | int:
        _, flags, index, start, count = struct.unpack("=IIIII", body)
        if flags & 0x10:  # unmask
            self.masked = False
            self.update_pin()
            return b""
        if not count:
            for key in [k for k in self.eventfds if k[0] == index]:
                os.close(self.eventfds.pop(key))
        for i, fd in enumerate(fds):
            old = self.eventfds.pop((index, start + i), None)
            if old is not None:
                os.close(old)
            self.eventfds[index, start + i] = fd
        return b""

    def access(self, command: int, body: bytes) -> bytes | int:
        offset, region, count = struct.unpack_from("=QII", body)
        space = {0: self.regs, CONFIG: self.config, 4: bytearray(0x1000)}.get(region)
        if space is None or offset + count > len(space):
            return errno.EINVAL
        if command == REGION_READ:
            return body[:16] + bytes(space[offset:offset + count])
        space[offset:offset + count] = body[16:]
        if region == 0:
            self.register_written(offset)
        return body[:16]

    # ---- the device ----

    def reg(self, offset: int, size: str = "I") -> int:
        return struct.unpack_from("<" + size, self.regs, offset)[0]

    def register_written(self, offset: int) -> None:
        if offset == 0x04:
            self.signal(MSIX, self.reg(4))
        elif offset == 0x1C:
            result = 0
            if self.reg(0x1C) == 1:
                data = self.dma_read(self.reg(8, "Q"), self.reg(0x18))
                result = errno.EFAULT if data is None else self.dma_write(self.reg(0x10, "Q"), data)
            else:
                self.level = self.reg(0x1C) == 2
                self.update_pin()
            struct.pack_into("<II", self.regs, 0x20, result, self.reg(0x24) + 1)

    def signal(self, index: int, vector: int) -> None:
        if (index, vector) in self.eventfds:
            os.eventfd_write(self.eventfds[index, vector], 1)

    def update_pin(self) -> None:
        if self.level and not self.masked:
            self.masked = True  # automasked
            self.signal(INTX, 0)

    def mapped(self, addr: int, length: int) -> tuple[mmap.mmap | None, int] | None:
        for base, (size, memory) in self.maps.items():
            if base <= addr and addr + length <= base + size:
                return memory, addr - base
        return None

    def ask(self, command: int, body: bytes) -> tuple[int, bytes]:
        """A command of ours; the client answers while it waits for us."""
        self.next_id += 1
        self.messages += 1
        self.send(self.next_id, command, 0, body)
        head, answer, _ = self.receive()
        assert head[0] == self.next_id and head[1] == command and head[3] & 1
        return (head[4] or errno.EIO) if head[3] & ERROR else 0, answer[16:]

    def dma_read(self, addr: int, length: int) -> bytes | None:
        place = self.mapped(addr, length)
        if place and place[0]:
            return place[0][place[1]:place[1] + length]
        error, data = self.ask(DMA_READ, struct.pack("=QQ", addr, length))
        return None if error else data

    def dma_write(self, addr: int, data: bytes) -> int:
        place = self.mapped(addr, len(data))
        if place and place[0]:
            place[0][place[1]:place[1] + len(data)] = data
            return 0
        return self.ask(DMA_WRITE, struct.pack("=QQ", addr, len(data)) + data)[0]
