# SPDX-License-Identifier: GPL-2.0-or-later
"""Bodies of the ram section: what the file says about each page (docs/interop/stream.md)."""
from __future__ import annotations

import struct
from dataclasses import dataclass, field

from .cursor import Cursor, Damage
from .mapped import PAGE, Layout, written

ZERO, MEM_SIZE, DATA, EOS, CONTINUE = 0x02, 0x04, 0x08, 0x10, 0x20
XBZRLE, COMPRESSED, FLUSH = 0x40, 0x100, 0x200
# What is known of a page; the last record wins.
NOTHING, IS_ZERO, HAS_DATA = 0, 1, 2
# Records that go on with the next page: whole runs are read in one loop.
RUNS = {DATA: struct.Struct(f">Q{PAGE}x"), ZERO: struct.Struct(">QB")}
RUN_MAX = 1024


def first_excess(value: int, most: int, size: int) -> int:
    """Which byte of a big-endian @value makes it larger than @most."""
    pairs = zip(value.to_bytes(size, "big"), most.to_bytes(size, "big"))
    return next((i for i, (byte, limit) in enumerate(pairs) if byte > limit), 0)


@dataclass
class Block:
    name: str
    length: int
    gpa: int | None = None
    layout: Layout | None = None
    pages: bytearray = field(default_factory=bytearray)  # NOTHING, IS_ZERO or HAS_DATA

    def count(self, kind: int) -> int:
        return self.pages.count(kind)


@dataclass
class Ram:
    """The ram section so far; the current block outlives the bodies."""

    mapped: bool
    ignore_shared: bool
    fd: int
    blocks: list[Block] = field(default_factory=list)
    current: Block | None = None
    by_kind: dict[str, int] = field(default_factory=dict)

    def body(self, cursor: Cursor) -> None:
        """Records up to and with the EOS record."""
        while True:
            start = cursor.pos
            word = cursor.word("a RAM record")
            flags, offset = word & 0xfff, word & ~0xfff
            if flags == EOS:
                if offset:
                    raise Damage(start + first_excess(offset, 0, 8),
                                 "the end record of a RAM section has an address")
                return
            if flags == MEM_SIZE:
                self._block_list(cursor, start, offset)
            elif flags == FLUSH and not offset:
                self._note("multifd flush")
            elif self.mapped:
                raise Damage(start, f"RAM record 0x{word:x} in a mapped-ram file")
            else:
                self._page(cursor, start, offset, flags)

    def _note(self, kind: str) -> None:
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1

    def _page(self, cursor: Cursor, start: int, offset: int, flags: int) -> None:
        if not flags & CONTINUE:
            self.current = self._named(cursor)
        block = self.current
        if not block:
            raise Damage(start + 7, "a RAM record continues a block, but none was named before")
        if offset >= block.length:
            raise Damage(start + first_excess(offset, block.length - PAGE, 8),
                         f"RAM record at 0x{offset:x} of '{block.name}', "
                         f"which has 0x{block.length:x} bytes")
        kind = flags & ~CONTINUE
        if kind == DATA:
            cursor.skip(PAGE, "a page")
            self._note("data")
        elif kind == ZERO:
            self._note("zero" if cursor.number(1, "a zero record") == 0 else "fill")
        elif kind == XBZRLE:
            cursor.expect(b"\1", "a delta record has an unknown encoding")
            length = cursor.number(2, "a delta record")
            if length > PAGE:
                raise Damage(cursor.pos - 2, f"a delta of {length} bytes")
            cursor.skip(length, "a delta record")
            self._note("delta")
        elif kind == COMPRESSED:
            length = cursor.number(4, "a compressed page")
            if length > 4110:
                raise Damage(cursor.pos - 4, f"a compressed page of {length} bytes")
            cursor.skip(length, "a compressed page")
            self._note("compressed")
        else:
            raise Damage(start + (6 if flags >> 8 else 7), f"RAM record with unknown flags 0x{flags:x}")
        block.pages[offset // PAGE] = IS_ZERO if kind == ZERO else HAS_DATA
        if kind in RUNS:
            self._run(cursor, block, offset, kind)

    def _run(self, cursor: Cursor, block: Block, offset: int, kind: int) -> None:
        """Records of the same kind for the pages behind @offset, as far as they follow each other."""
        record = RUNS[kind]
        most = min(RUN_MAX, cursor.left() // record.size, (block.length - offset) // PAGE - 1)
        wanted = offset | kind | CONTINUE
        count = 0
        for fields in record.iter_unpack(cursor.data[cursor.pos:cursor.pos + most * record.size]):
            wanted += PAGE
            if fields[0] != wanted or (kind == ZERO and fields[1]):
                break
            count += 1
        first = offset // PAGE + 1
        block.pages[first:first + count] = bytes([IS_ZERO if kind == ZERO else HAS_DATA]) * count
        cursor.pos += count * record.size
        name = "zero" if kind == ZERO else "data"
        self.by_kind[name] = self.by_kind.get(name, 0) + count

    def _named(self, cursor: Cursor) -> Block:
        start = cursor.pos
        name = cursor.string("the block name of a RAM record")
        for block in self.blocks:
            if block.name == name:
                return block
        raise Damage(start, f"a RAM record names block '{name}', which is not in the list")

    def _block_list(self, cursor: Cursor, start: int, total: int) -> None:
        self.blocks = []
        left = total
        while left:
            name = cursor.string("the name of a RAM block")
            entry = cursor.pos
            length = cursor.number(8, "the RAM block list")
            if length > left or length % PAGE or not length:
                raise Damage(entry, f"RAM block '{name}' of {length} bytes does not fit the total "
                                    f"of {total} at offset {start}")
            left -= length
            block = Block(name, length)
            if self.ignore_shared:
                block.gpa = cursor.number(8, "the RAM block list")
            if self.mapped:
                self._map(cursor, block)
            else:
                block.pages = bytearray(length // PAGE)
            self.blocks.append(block)

    def _map(self, cursor: Cursor, block: Block) -> None:
        block.layout = layout = Layout(cursor, block.name, block.length)
        count = block.length // PAGE
        if layout.ignored:
            block.pages = bytearray(count)
            return
        # A page without data is zero: one that the file has bytes for was something else before.
        block.pages = bytearray(count)
        for first, end in written(self.fd, layout.pages, block.length):
            block.pages[first:end] = bytes([IS_ZERO]) * (end - first)
        bits = layout.has_data(cursor, block.name, count)
        table = bytes.maketrans(bytes([0, 1]), bytes([NOTHING, HAS_DATA]))
        block.pages = bytearray(max(a, b) for a, b in zip(block.pages, bits.translate(table)))
        self._note("mapped block")
        cursor.pos = layout.end
