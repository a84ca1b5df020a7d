# SPDX-License-Identifier: GPL-2.0-or-later
"""A small vfio-user server: a PCI device with registers, a DMA engine and interrupts.

    BAR 0   00 scratch   04 signal vector N   08/0c source   10/14 destination   18 length
            1c command: 1 copy, 2 raise the pin, 3 lower the pin   20 result   24 commands done
    BAR 4   MSI-X table and pending bits (the client's own)
    BAR 0   40/44 ring in guest memory   48 its pages, 0: stop writing   50/54 records written

With flags= it migrates: its registers, the ring's position and @bulk bytes of inner state travel, and it logs the
pages it writes. The stream is records of one letter: B offset length data, R registers, E; the ring is written by a
thread of the device while it runs.

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
import time
import zlib
from collections.abc import Callable

HEADER = struct.Struct("=HHIII")
VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION, GET_IRQ, SET_IRQS = 1, 2, 3, 4, 5, 7, 8
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, FEATURE = 9, 10, 11, 12, 13, 16
MIG_READ, MIG_WRITE = 17, 18
REPLY, ERROR = 1, 0x20
INTX, MSIX = 0, 2
VECTORS = 4
CONFIG = 7
STOP_COPY_FLAG, P2P_FLAG, PRE_COPY_FLAG = 1, 2, 4
ERROR_STATE, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P = range(8)
SAVING = {STOP_COPY, PRE_COPY, PRE_COPY_P2P}
ARCS = [(STOP, STOP_COPY), (STOP_COPY, STOP), (STOP, RESUMING), (RESUMING, STOP)]
DIRECT_ARCS = [(RUNNING, STOP), (STOP, RUNNING)]
P2P_ARCS = [(RUNNING, RUNNING_P2P), (RUNNING_P2P, RUNNING), (RUNNING_P2P, STOP), (STOP, RUNNING_P2P)]
PRE_COPY_ARCS = [(RUNNING, PRE_COPY), (PRE_COPY, RUNNING), (PRE_COPY, STOP_COPY)]
PRE_COPY_P2P_ARCS = [(RUNNING_P2P, PRE_COPY_P2P), (PRE_COPY_P2P, RUNNING_P2P), (PRE_COPY, PRE_COPY_P2P),
                     (PRE_COPY_P2P, PRE_COPY), (PRE_COPY_P2P, STOP_COPY)]
PAGE = 4096


def new_config() -> bytearray:
    config = bytearray(256)
    config[0:8] = struct.pack("<HHHH", 0xCAFE, 0x4D55, 0, 0x10)
    config[8:12] = bytes([1, 0, 0, 0xFF])
    config[0x20:0x24] = struct.pack("<I", 0)
    config[0x34], config[0x3D] = 0x40, 1
    config[0x40:0x4C] = struct.pack("<BBHII", 0x11, 0x50, VECTORS - 1, 4, 0x804)
    config[0x50:0x60] = struct.pack("<BBBB", 9, 0, 16, 0) + b"VFIO-USER-TS"
    return config


def arcs_of(flags: int) -> list[tuple[int, int]]:
    p2p, precopy = flags & P2P_FLAG, flags & PRE_COPY_FLAG
    return (ARCS + (P2P_ARCS if p2p else DIRECT_ARCS) + (PRE_COPY_ARCS if precopy else []) +
            (PRE_COPY_P2P_ARCS if p2p and precopy else []))


def shortest_path(arcs: list[tuple[int, int]], start: int, end: int) -> list[int] | None:
    """The states after @start up to @end, never through a saving one."""
    paths, seen = [[start]], {start}
    while paths:
        path = paths.pop(0)
        for there in (b for a, b in arcs if a == path[-1] and b not in seen):
            if there == end:
                return path[1:] + [end]
            if there not in SAVING:
                seen.add(there)
                paths.append(path + [there])
    return None


class Device(threading.Thread):
    """Serves one client after the other at @path until closed."""

    def __init__(self, path: str, hook: Callable[[int, bytes], bytes | int | None] | None = None, *,
                 flags: int = 0, logging: bool = True, bulk: int = 1 << 20,
                 journal: list[tuple[str, int]] | None = None, sizes: bool = False) -> None:
        super().__init__(daemon=True)
        self.path, self.hook, self.flags, self.logging = path, hook, flags, logging
        self.bulk = bytearray(bulk)
        self.state, self.states = RUNNING, [RUNNING]  # every one it went through
        # With sizes it tells how much state it has; the two below are told instead of the truth.
        self.sizes, self.stop_size, self.initial_size = sizes, None, None
        self.initial_left, self.reinit = 0, False
        self.journal = journal  # (path, state) that was asked for, of several devices
        self.outbox, self.inbox = bytearray(), bytearray()
        self.loaded, self.received = False, 0
        self.log: set[int] | None = None
        self.engine_lock = threading.Lock()
        self.closing = False
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
        if flags:
            threading.Thread(target=self.engine, daemon=True).start()
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
        with self.engine_lock:
            for _, memory in self.maps.values():
                if memory:
                    memory.close()
            self.maps = {}
        for fd in self.eventfds.values():
            os.close(fd)
        self.eventfds = {}
        self.log = None
        if self.conn:
            self.conn.close()
            self.conn = None

    def close(self) -> None:
        """End the server, and with it the connection; harmless when repeated."""
        self.closing = True
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
            caps = {"max_msg_fds": 2, "max_data_xfer_size": 1 << 20}
            if self.sizes:
                caps["x_vmtd"] = {"precopy_info": True, "data_size": True}
            return struct.pack("=HH", 0, 0) + json.dumps({"capabilities": caps}).encode() + b"\0"
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
            with self.engine_lock:
                _, memory = self.maps.pop(addr)
                if memory:
                    memory.close()
            return body
        if command in (REGION_READ, REGION_WRITE):
            return self.access(command, body)
        if command == RESET:
            with self.engine_lock:
                self.regs = bytearray(0x1000)
                if self.state == RESUMING:  # half a state is none
                    self.state = RUNNING
            self.resets += 1
            return b""
        if self.flags and command == FEATURE:
            return self.feature(body)
        if self.flags and command == MIG_READ:
            size = struct.unpack_from("=I", body, 4)[0]
            return self.read_state(size)
        if self.flags and command == MIG_WRITE:
            return self.write_state(body[8:])
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

    # ---- migration ----

    def feature(self, body: bytes) -> bytes | int:
        flags = struct.unpack_from("=I", body, 4)[0]
        what, probe, set_ = flags & 0xFFFF, flags & 0x40000, flags & 0x20000
        if what == 1:
            return body[:8] + struct.pack("=Q", self.flags)
        if what == 2 and set_:
            wanted = struct.unpack_from("=I", body, 8)[0]
            if self.journal is not None:
                self.journal.append((self.path, wanted))
            error = self.set_state(wanted)
            return error or body
        if what == 9 and self.sizes:
            return body[:8] + struct.pack("=Q", self.stop_copy_size())
        if what == 0x8001 and self.sizes and self.state in (PRE_COPY, PRE_COPY_P2P):
            return body[:8] + struct.pack("=QQII", *self.precopy_sizes(), self.reinit, 0)
        if what not in (6, 7, 8) or not self.logging:
            return errno.EINVAL
        with self.engine_lock:
            if what == 6 and not probe:
                self.log = set()
            elif what == 7:
                self.log = None
            elif what == 8:
                return self.report(body)
        return body

    def stop_copy_size(self) -> int:
        if self.stop_size is not None:
            return self.stop_size
        return (len(self.outbox) if self.state in SAVING else len(self.bulk_records())) + 1 + len(self.regs) + 1

    def precopy_sizes(self) -> tuple[int, int]:
        if self.initial_size is not None:
            return self.initial_size, len(self.outbox)
        return min(self.initial_left, len(self.outbox)), max(0, len(self.outbox) - self.initial_left)

    def start_over(self) -> None:
        """Initial data that was read is worth nothing any more."""
        with self.engine_lock:
            self.outbox += self.bulk_records()
            self.initial_left, self.reinit = len(self.outbox), True

    def report(self, body: bytes) -> bytes | int:
        base, length = struct.unpack_from("=QQ", body, 8)
        if self.log is None or self.maps.get(base, (0,))[0] != length:
            return errno.EINVAL
        bits = bytearray((length // PAGE + 63) // 64 * 8)
        for page in [p for p in self.log if base <= p < base + length]:
            index = (page - base) // PAGE
            bits[index // 8] |= 1 << index % 8
            self.log.discard(page)
        return body[:32] + bytes(bits)

    def set_state(self, state: int) -> int:
        path = shortest_path(arcs_of(self.flags), self.state, state) if state != self.state else []
        if path is None:
            return errno.EINVAL
        return next((error for step in path if (error := self.go(step))), 0)

    def go(self, state: int) -> int:
        """One arc."""
        if self.state == RESUMING and not self.loaded:
            return errno.EINVAL
        with self.engine_lock:
            if state in SAVING and self.state not in SAVING:
                self.outbox = self.bulk_records()
                self.initial_left, self.reinit = 1 << 16, False
            if state == STOP_COPY:
                self.outbox += b"R" + bytes(self.regs) + b"E"
            elif state == RESUMING:
                self.inbox, self.loaded = bytearray(), False
            self.state = state
            self.states.append(state)
        return 0

    def bulk_records(self) -> bytearray:
        out = bytearray()
        for at in range(0, len(self.bulk), 1 << 16):
            data = self.bulk[at:at + (1 << 16)]
            out += b"B" + struct.pack("<QII", at, len(data), zlib.crc32(data)) + data
        return out

    def read_state(self, size: int) -> bytes | int:
        if self.state not in SAVING:
            return errno.EINVAL
        with self.engine_lock:
            data = bytes(self.outbox[:size])
            del self.outbox[:size]
            self.initial_left = max(0, self.initial_left - len(data))
            self.reinit = False
        return struct.pack("=II", 8 + len(data), len(data)) + data

    def write_state(self, data: bytes) -> bytes | int:
        if self.state != RESUMING or self.loaded:
            return errno.EINVAL
        self.inbox += data
        self.received += len(data)
        while self.inbox:
            kind = self.inbox[:1]
            if kind == b"B" and len(self.inbox) >= 17:
                at, length, crc = struct.unpack_from("<QII", self.inbox, 1)
                if at + length > len(self.bulk):
                    return errno.EINVAL
                if len(self.inbox) < 17 + length:
                    break
                piece = self.inbox[17:17 + length]
                if zlib.crc32(piece) != crc:
                    return errno.EINVAL
                self.bulk[at:at + length] = piece
                del self.inbox[:17 + length]
            elif kind == b"R" and len(self.inbox) > 0x1000:
                self.regs[:] = self.inbox[1:0x1001]
                del self.inbox[:0x1001]
            elif kind == b"E":
                self.loaded = True
                del self.inbox[:1]
                return errno.EINVAL if self.inbox else b""
            elif kind not in (b"B", b"R"):
                return errno.EINVAL
            else:
                break
        return b""

    # ---- the ring: record s is at page s modulo their number ----

    def engine(self) -> None:
        while not self.closing:
            with self.engine_lock:
                pages = self.reg(0x48)
                for _ in range(8 if pages and self.state in (RUNNING, PRE_COPY) else 0):
                    seq = self.reg(0x50, "Q")
                    addr = self.reg(0x40, "Q") + PAGE * (seq % pages)
                    place = self.mapped(addr, 16)
                    if not place or not place[0]:
                        break
                    place[0][place[1]:place[1] + 16] = struct.pack("<QQ", seq, ~seq & (1 << 64) - 1)
                    if self.log is not None:
                        self.log.add(addr)
                    struct.pack_into("<Q", self.regs, 0x50, seq + 1)
            time.sleep(0.001)


def check_ring(guest, ring: int, pages: int, count: int) -> None:
    """The device has written @count records and stands still: every page holds the newest that belongs there, none is
    from the future."""
    for page in range(pages):
        newest = count - 1 - (count - 1 - page) % pages
        found, inverse = struct.unpack("<QQ", guest.get(ring + page * 4096, 16))
        assert found == newest, f"page {page} holds record {found}, the device wrote {newest} (of {count})"
        assert inverse == ~found & (1 << 64) - 1
