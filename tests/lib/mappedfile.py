# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain streams and mapped-ram files into each other, written from docs/interop/mapped-ram.md alone.

With these, a state saved by stock QEMU 7.2, which knows no mapped-ram, becomes a mapped-ram file, and one
written by Godwit becomes a stream that stock loads.
"""
from __future__ import annotations

import pathlib
import struct
from dataclasses import dataclass

PAGE = 4096
MIB = 1 << 20
ZERO, MEM_SIZE, DATA, EOS, CONTINUE = 0x02, 0x04, 0x08, 0x10, 0x20
START, PART, END = 1, 2, 3


@dataclass
class State:
    """Machine name, guest memory by block, and the device sections up to the end of the stream."""

    machine: bytes
    section: int
    memory: dict[str, bytearray]
    tail: bytes
    current: str = ""  # block of the last record


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def get(self, form: str) -> int:
        value, = struct.unpack_from(">" + form, self.data, self.pos)
        self.pos += struct.calcsize(form)
        return value

    def take(self, count: int) -> bytes:
        self.pos += count
        return self.data[self.pos - count:self.pos]


def _head(r: Reader) -> bytes:
    assert r.take(8) == b"QEVM\0\0\0\3" and r.get("B") == 7
    machine = r.take(r.get("I"))
    while r.data[r.pos] == 5:
        r.get("B")
        name = r.take(r.get("B"))
        r.get("I")
        assert name == b"configuration/capabilities"
        for _ in range(r.get("I")):
            assert r.take(r.get("B")) == b"mapped-ram"
    return machine


def _mapped_block(r: Reader, memory: bytearray) -> None:
    at = r.pos
    assert r.get("I") == 1 and r.get("Q") == PAGE
    bitmap, pages = r.get("Q"), r.get("Q")
    count = len(memory) // PAGE
    assert bitmap == at + 28 and pages == -(-(bitmap + (count + 63) // 64 * 8) // MIB) * MIB
    bits = int.from_bytes(r.data[bitmap:bitmap + (count + 63) // 64 * 8], "little")
    assert not bits >> count
    for page in range(count):
        if bits >> page & 1:
            memory[page * PAGE:(page + 1) * PAGE] = r.data[pages + page * PAGE:pages + (page + 1) * PAGE]
    r.pos = pages + len(memory)


def _records(r: Reader, state: State, mapped: bool) -> None:
    while True:
        word = r.get("Q")
        flags, offset = word & 0xfff, word & ~0xfff
        if flags == EOS:
            return
        if flags == MEM_SIZE:
            while offset:
                name, length = r.take(r.get("B")).decode(), r.get("Q")
                state.memory[name] = bytearray(length)
                offset -= length
                if mapped:
                    _mapped_block(r, state.memory[name])
            continue
        assert not mapped
        if not flags & CONTINUE:
            state.current = r.take(r.get("B")).decode()
        page = bytes(PAGE) if flags & ZERO else b""
        if flags & ZERO:
            assert r.get("B") == 0
        else:
            assert flags & DATA
            page = r.take(PAGE)
        state.memory[state.current][offset:offset + PAGE] = page


def read(data: bytes, mapped: bool) -> State:
    r = Reader(data)
    state = State(_head(r), 0, {}, b"")
    while True:
        start = r.pos
        kind = r.get("B")
        if kind not in (START, PART, END):
            state.tail = data[start:]
            return state
        state.section = r.get("I")
        if kind == START:
            assert r.take(r.get("B")) == b"ram" and r.get("I") == 0 and r.get("I") == 4
        _records(r, state, mapped)
        assert r.get("B") == 0x7e and r.get("I") == state.section


def _name(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _ram_head(state: State) -> bytes:
    total = sum(map(len, state.memory.values()))
    return struct.pack(">BI", START, state.section) + _name(b"ram") + struct.pack(">II", 0, 4) \
        + struct.pack(">Q", total | MEM_SIZE)


def _end(state: State) -> bytes:
    footer = struct.pack(">BI", 0x7e, state.section)
    eos = struct.pack(">Q", EOS)
    return eos + footer + struct.pack(">BI", END, state.section) + eos + footer + state.tail


def write_plain(state: State, path: pathlib.Path) -> None:
    with path.open("wb") as out:
        out.write(b"QEVM\0\0\0\3\7" + struct.pack(">I", len(state.machine)) + state.machine)
        out.write(_ram_head(state))
        for name, memory in state.memory.items():
            out.write(_name(name.encode()) + struct.pack(">Q", len(memory)))
        for name, memory in state.memory.items():
            for offset in range(0, len(memory), PAGE):
                page = memory[offset:offset + PAGE]
                data = any(page)
                out.write(struct.pack(">Q", offset | (DATA if data else ZERO)) + _name(name.encode()))
                out.write(page if data else b"\0")
        out.write(_end(state))


def write_mapped(state: State, path: pathlib.Path, start: int = 0) -> None:
    with path.open("r+b" if start else "wb") as out:
        out.seek(start)
        out.write(b"QEVM\0\0\0\3\7" + struct.pack(">I", len(state.machine)) + state.machine)
        out.write(b"\5" + _name(b"configuration/capabilities") + struct.pack(">II", 1, 1) + _name(b"mapped-ram"))
        out.write(_ram_head(state))
        for name, memory in state.memory.items():
            out.write(_name(name.encode()) + struct.pack(">Q", len(memory)))
            count = len(memory) // PAGE
            bitmap = out.tell() + 28
            pages = -(-(bitmap + (count + 63) // 64 * 8) // MIB) * MIB
            out.write(struct.pack(">IQQQ", 1, PAGE, bitmap, pages))
            bits = 0
            for page in range(count):
                content = memory[page * PAGE:(page + 1) * PAGE]
                if any(content):
                    bits |= 1 << page
                    out.seek(pages + page * PAGE)
                    out.write(content)
            out.seek(bitmap)
            out.write(bits.to_bytes((count + 63) // 64 * 8, "little"))
            out.seek(pages + len(memory))
        out.write(_end(state))
