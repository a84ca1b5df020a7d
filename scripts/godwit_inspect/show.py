# SPDX-License-Identifier: GPL-2.0-or-later
"""A report as text, or as plain values for JSON."""
from __future__ import annotations

from typing import Any

from .mapped import PAGE
from .ram import HAS_DATA, IS_ZERO, NOTHING, Block, Ram
from .stream import Report, Section

COLUMNS, ROWS = 64, 16
SHADES = " ░▒▓█"
ASCII_SHADES = " -+*#"


def size(count: int) -> str:
    for unit, step in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= step:
            return f"{count / step:.4g} {unit}"
    return f"{count} bytes"


def _cell(pages: bytes, plain: bool) -> str:
    data = pages.count(HAS_DATA)
    if data:
        shades = ASCII_SHADES if plain else SHADES
        return shades[-(-4 * data // len(pages))]
    if pages.count(IS_ZERO):
        return "." if plain else "·"
    return " "


def _map(block: Block, plain: bool) -> list[str]:
    count = len(block.pages)
    per_cell = 1
    while count > per_cell * COLUMNS * ROWS:
        per_cell *= 2
    lines = []
    for row in range(0, count, per_cell * COLUMNS):
        cells = [_cell(bytes(block.pages[i:min(i + per_cell, count)]), plain)
                 for i in range(row, min(row + per_cell * COLUMNS, count), per_cell)]
        lines.append(f"    {row * PAGE:10x} |{''.join(cells)}|")
    lines.append(f"    one character: {size(per_cell * PAGE)}")
    return lines


def _ram(ram: Ram, plain: bool) -> list[str]:
    lines = ["RAM" + (", mapped-ram layout" if ram.mapped else "") + ":"]
    for block in ram.blocks:
        counts = {kind: block.count(kind) for kind in (HAS_DATA, IS_ZERO, NOTHING)}
        lines.append(f"  {block.name}: {size(block.length)}, pages: {counts[HAS_DATA]} data, "
                     f"{counts[IS_ZERO]} zero, {counts[NOTHING]} never "
                     + ("touched" if ram.mapped else "sent"))
        if counts[HAS_DATA]:
            lines += _map(block, plain)
    shades = ASCII_SHADES if plain else SHADES
    lines.append(f"  {shades[4]} data  {shades[1]} {shades[2]} {shades[3]} partly  "
                 f"{'.' if plain else '·'} zero  (blank) nothing in the file")
    if ram.by_kind:
        lines.append("  records: " + ", ".join(f"{n} {kind}" for kind, n in ram.by_kind.items()))
    return lines


def _merged(sections: list[Section]) -> list[tuple[Section, int, int]]:
    """Rounds of one live section in one line: first of them, how many, bytes."""
    lines: list[tuple[Section, int, int]] = []
    for section in sections:
        if lines and section.kind == "part" and lines[-1][0].kind == "part" \
                and lines[-1][0].id == section.id:
            first, count, length = lines[-1]
            lines[-1] = (first, count + 1, length + section.length)
        else:
            lines.append((section, 1, section.length))
    return lines


def _scalar(value: Any) -> str:
    return hex(value) if isinstance(value, int) and value >= 1 << 16 else str(value)


def _value(value: Any, whole: bool) -> str:
    text = " ".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
    return text if whole or len(text) <= 72 else text[:72] + "…"


def _fields(values: dict[str, Any], indent: str, whole: bool) -> list[str]:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_fields(value, indent + "  ", whole)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for i, element in enumerate(value):
                lines += [f"{indent}{name}[{i}]:", *_fields(element, indent + "  ", whole)]
        else:
            lines.append(f"{indent}{name} = {_value(value, whole)}")
    return lines


def verdict(path: str, report: Report) -> str:
    if report.damage:
        return f"{path}: damaged: first wrong byte at {report.damage}"
    return f"{path}: a whole stream of {len(report.sections)} sections"


def text(path: str, report: Report, device: str | None, plain: bool) -> str:
    """@device: fields of sections with this name only; "" for all."""
    lines = [f"{path}: {size(report.size)}, machine '{report.machine}'"
             + (f", capabilities {', '.join(report.capabilities)}" if report.capabilities else "")
             + (f", uuid {report.uuid}" if report.uuid else "")]
    if device is None:
        lines.append(f"{'offset':>12} {'bytes':>12} kind  version section")
        for section, count, length in _merged(report.sections):
            rounds = f" ({count} rounds)" if count > 1 else ""
            lines.append(f"{section.offset:12} {length:12} {section.kind:5} {section.version:7} "
                         f"{section.name}/{section.instance}{rounds}")
        lines += [f"{offset:12} {'':12} command {name}" for offset, name in report.commands]
        if report.ram:
            lines += _ram(report.ram, plain)
    else:
        for section in report.sections:
            if section.values is not None and device in ("", section.name):
                lines += [f"{section.name}/{section.instance}:",
                          *_fields(section.values, "  ", device != "")]
    lines += [f"note: {note}" for note in report.notes]
    lines.append(verdict(path, report))
    return "\n".join(lines)


def _runs(pages: bytearray) -> list[list[Any]]:
    """[first page, count, kind] of each run of equal pages."""
    names = {NOTHING: "none", IS_ZERO: "zero", HAS_DATA: "data"}
    runs: list[list[Any]] = []
    for page, kind in enumerate(pages):
        if runs and runs[-1][2] == names[kind]:
            runs[-1][1] += 1
        else:
            runs.append([page, 1, names[kind]])
    return runs


def tree(path: str, report: Report) -> dict[str, Any]:
    ram = report.ram
    return {
        "file": path, "size": report.size, "valid": report.damage is None,
        "damage": report.damage and {"offset": report.damage.offset, "message": report.damage.message},
        "machine": report.machine, "capabilities": report.capabilities, "uuid": report.uuid,
        "notes": report.notes,
        "sections": [{"kind": s.kind, "id": s.id, "name": s.name, "instance": s.instance,
                      "version": s.version, "offset": s.offset, "length": s.length,
                      **({"values": s.values} if s.values is not None else {})}
                     for s in report.sections],
        "commands": [{"offset": offset, "name": name} for offset, name in report.commands],
        "ram": ram and {
            "mapped": ram.mapped, "records": ram.by_kind,
            "blocks": [{"name": b.name, "length": b.length, "data": b.count(HAS_DATA),
                        "zero": b.count(IS_ZERO), "none": b.count(NOTHING), "runs": _runs(b.pages),
                        **({"bitmap-offset": b.layout.bitmap, "pages-offset": b.layout.pages}
                           if b.layout else {})}
                       for b in ram.blocks]},
    }
