# SPDX-License-Identifier: GPL-2.0-or-later
"""A RAM block of a mapped-ram file: header, bitmap, pages at fixed places (docs/interop/mapped-ram.md)."""
from __future__ import annotations

import os

from .cursor import Cursor, Damage

PAGE = 4096
VERSION = 1
HEADER = 28
# For each byte of a bitmap, its eight pages: 1 where the bit is set.
SPREAD = [bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256)]


class Layout:
    """Where a block's bitmap and pages are, in absolute file offsets."""

    def __init__(self, cursor: Cursor, name: str, length: int) -> None:
        start = cursor.pos
        version = cursor.number(4, f"the mapped-ram header of '{name}'")
        page_size = cursor.number(8, f"the mapped-ram header of '{name}'")
        self.bitmap = cursor.number(8, f"the mapped-ram header of '{name}'")
        self.pages = cursor.number(8, f"the mapped-ram header of '{name}'")
        self.bitmap_bytes = (length // PAGE + 63) // 64 * 8
        self.ignored = self.bitmap == 0 and self.pages == 0
        if version != VERSION:
            raise Damage(start, f"mapped-ram header of '{name}' has version {version}, not {VERSION}")
        if page_size != PAGE:
            raise Damage(start + 4, f"mapped-ram header of '{name}' has pages of {page_size} bytes")
        if self.ignored:
            return
        if self.bitmap != start + HEADER:
            raise Damage(start + 12, f"bitmap of '{name}' at {self.bitmap}, not behind its header")
        if self.pages % PAGE or self.pages < self.bitmap + self.bitmap_bytes:
            raise Damage(start + 20, f"pages of '{name}' at {self.pages}: not aligned, or inside the bitmap")
        if self.pages + length > len(cursor.data):
            raise Damage(len(cursor.data), f"the file ends inside the pages of '{name}', "
                                           f"which reach to {self.pages + length}")
        self.end = self.pages + length

    def has_data(self, cursor: Cursor, name: str, pages: int) -> bytes:
        """One byte per page: 1 if it has data in the file."""
        raw = bytes(cursor.data[self.bitmap:self.bitmap + self.bitmap_bytes])
        bits = b"".join([SPREAD[byte] for byte in raw])
        extra = bits.find(1, pages)
        if extra >= 0:
            raise Damage(self.bitmap + extra // 8, f"the bitmap of '{name}' has a bit for page {extra}, "
                                                   f"which is behind its end")
        return bits[:pages]


def written(fd: int, start: int, length: int) -> list[tuple[int, int]]:
    """The parts of a file that are no holes, as (first page, end page) from @start."""
    parts = []
    pos = start
    try:
        while pos < start + length:
            data = os.lseek(fd, pos, os.SEEK_DATA)
            if data >= start + length:
                break
            pos = min(os.lseek(fd, data, os.SEEK_HOLE), start + length)
            parts.append(((data - start) // PAGE, (pos - start + PAGE - 1) // PAGE))
    except OSError:  # nothing but a hole behind pos, or a file system that cannot tell
        pass
    return parts
