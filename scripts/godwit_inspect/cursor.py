# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounded reading of big-endian fields, and the one exception of this package."""
from __future__ import annotations

import struct
from collections.abc import Sequence


class Damage(Exception):
    """The file is wrong from byte @offset on."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(f"offset {offset} (0x{offset:x}): {message}")
        self.offset = offset
        self.message = message


class Cursor:
    """A position in the file's bytes; every read is checked against their end."""

    def __init__(self, data: Sequence[int], pos: int = 0) -> None:
        self.data = data
        self.pos = pos

    def left(self) -> int:
        return len(self.data) - self.pos

    def peek(self) -> int:
        """The next byte, or -1 at the end."""
        return self.data[self.pos] if self.left() > 0 else -1

    def skip(self, count: int, what: str) -> int:
        """Step over @count bytes; where they begin."""
        if count > self.left():
            raise Damage(len(self.data), f"the file ends inside {what}: "
                                         f"{count - max(self.left(), 0)} bytes are missing")
        start = self.pos
        self.pos += count
        return start

    def take(self, count: int, what: str) -> bytes:
        start = self.skip(count, what)
        return bytes(self.data[start:start + count])

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "big")

    def word(self, what: str) -> int:
        """be64, the unit of RAM records: the one read that must be quick."""
        if self.left() < 8:
            self.skip(8, what)
        self.pos += 8
        return struct.unpack_from(">Q", self.data, self.pos - 8)[0]

    def string(self, what: str) -> str:
        """u8 length and that many bytes."""
        length = self.number(1, what)
        start = self.pos
        raw = self.take(length, what)
        for i, byte in enumerate(raw):
            if not 0x20 <= byte < 0x7f:
                raise Damage(start + i, f"byte 0x{byte:02x} in {what}")
        return raw.decode("ascii")

    def expect(self, wanted: bytes, message: str) -> None:
        """The next bytes are exactly these; the first that differs is the wrong one."""
        for i, byte in enumerate(wanted):
            if self.left() <= i:
                raise Damage(len(self.data), f"the file ends: {message}")
            if self.data[self.pos + i] != byte:
                raise Damage(self.pos + i, message)
        self.pos += len(wanted)
