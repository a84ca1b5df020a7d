# SPDX-License-Identifier: GPL-2.0-or-later
"""The description behind the stream gives lengths, names and types of all device state."""
from __future__ import annotations

import json
import re
from typing import Any

from .cursor import Cursor, Damage

MARK, SUBSECTION = 0x06, 0x05
BEGIN = re.compile(rb'\x06....\{"(?:page_size|configuration|devices)"', re.DOTALL)
INTEGER = re.compile(r"(u?)int(8|16|32|64)\b")


class Description:
    """The JSON text, found ahead of time: without it device sections have no length."""

    def __init__(self, devices: list[dict[str, Any]]) -> None:
        self.devices = devices
        self.next = 0

    @classmethod
    def find(cls, data: Any, start: int) -> Description | None:
        """None: there is none, or it is damaged itself, which check() will say."""
        match = BEGIN.search(data, start)
        if not match:
            return None
        text = bytes(data[match.start() + 5:]).decode("latin-1")
        try:
            tree, _ = json.JSONDecoder().raw_decode(text)
            return None if misshapen(tree) else cls(tree["devices"])
        except ValueError:
            return None

    def device(self, idstr: str, instance: int) -> dict[str, Any] | None:
        """What is said about a section; they come in the order of the stream."""
        for i in [*range(self.next, len(self.devices)), *range(self.next)]:
            device = self.devices[i]
            if device.get("name") == idstr and device.get("instance_id") == instance:
                self.next = i + 1
                return device
        return None

    def expected(self) -> dict[str, Any] | None:
        return self.devices[self.next] if self.next < len(self.devices) else None


def misshapen(tree: Any) -> str | None:
    """What is wrong with the description as such, if anything."""
    if not isinstance(tree, dict) or not isinstance(tree.get("devices"), list):
        return "no list of devices"
    for device in tree["devices"]:
        if not isinstance(device, dict) or not isinstance(device.get("name"), str) \
                or not _small(device.get("instance_id")) or not _small(device.get("version", 0)):
            return "a device without name, instance or version"
        problem = _misshapen_state(device)
        if problem:
            return f"device '{device['name']}': {problem}"
    return None


def _misshapen_state(state: Any) -> str | None:
    if not isinstance(state, dict) or not isinstance(state.get("fields"), list) \
            or not isinstance(state.get("subsections", []), list):
        return "a structure without fields"
    for item in state["fields"]:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str) \
                or not isinstance(item.get("type"), str) or not _small(item.get("size")) \
                or not _small(item.get("array_len", 1)):
            return "a field without name, type or size"
        problem = _misshapen_state(item["struct"]) if "struct" in item else None
        if problem:
            return problem
    for sub in state.get("subsections", []):
        problem = _misshapen_state(sub)
        if problem:
            return problem
        if not isinstance(sub.get("vmsd_name"), str) or len(sub["vmsd_name"]) > 255 \
                or not _small(sub.get("version")):
            return "a subsection without name or version"
    return None


def _small(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 31


def check(cursor: Cursor) -> dict[str, Any]:
    """Read the description at its place; damage inside it is found by the JSON parser."""
    size = cursor.number(4, "the length of the description")
    start = cursor.skip(size, "the description")
    raw = bytes(cursor.data[start:start + size])
    try:
        tree = json.loads(raw)
    except UnicodeDecodeError as problem:
        raise Damage(start + problem.start, "the description is not text") from None
    except json.JSONDecodeError as problem:
        raise Damage(start + problem.pos, f"the description is not JSON: {problem.msg}") from None
    problem = misshapen(tree)
    if problem:
        raise Damage(start, f"the description makes no sense: {problem}")
    return tree


def read_state(cursor: Cursor, state: dict[str, Any]) -> dict[str, Any]:
    """One described structure: its fields, then its subsections."""
    values: dict[str, Any] = {}
    for item in state.get("fields", []):
        name = item["name"] if "index" not in item else f"{item['name']}[{item['index']}]"
        count = item.get("array_len", 1)
        read = [_field(cursor, item) for _ in range(count)]
        values[name] = read if "array_len" in item else read[0]
    for sub in state.get("subsections", []):
        name = sub["vmsd_name"]
        head = bytes([SUBSECTION, len(name)]) + name.encode() + sub["version"].to_bytes(4, "big")
        cursor.expect(head, f"subsection '{name}' of the description should be here")
        values[name] = read_state(cursor, sub)
    return values


def _field(cursor: Cursor, item: dict[str, Any]) -> Any:
    kind, size, start = item["type"], item["size"], cursor.pos
    inner = item.get("struct") or (item if kind == "tmp" and "fields" in item else None)
    if inner:
        value = read_state(cursor, inner)
        if cursor.pos - start != size and "array_len" not in item:
            raise Damage(start, f"field '{item['name']}' has {cursor.pos - start} bytes, "
                                f"the description says {size}")
        return value
    raw = cursor.take(size, f"field '{item['name']}'")
    integer = INTEGER.match(kind)
    if integer and size * 8 == int(integer[2]):
        return int.from_bytes(raw, "big", signed=not integer[1])
    if kind == "bool" and size == 1:
        if raw[0] > 1:
            raise Damage(start, f"boolean field '{item['name']}' is {raw[0]}")
        return bool(raw[0])
    if kind == "timer" and size == 8:
        return None if raw == b"\xff" * 8 else int.from_bytes(raw, "big")
    if kind == "unused_buffer" and raw.strip(b"\0") == b"":
        return f"{size} unused bytes"
    return raw.hex()
