# SPDX-License-Identifier: GPL-2.0-or-later
"""The grammar of a stream (docs/interop/stream.md), walked to its end or to the first wrong byte."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import vmdesc
from .cursor import Cursor, Damage
from .ram import Ram

EOF, START, PART, END, FULL, SUBSECTION, DESCRIPTION, CONFIGURATION, COMMAND = range(9)
FOOTER = 0x7e
KINDS = {START: "start", PART: "part", END: "end", FULL: "full"}
COMMANDS = ["invalid", "open-return-path", "ping", "postcopy-advise", "postcopy-listen",
            "postcopy-run", "postcopy-ram-discard", "packaged", "enable-colo", "postcopy-resume",
            "recv-bitmap", "switchover-start"]
RUN_STATES = {"debug", "inmigrate", "internal-error", "io-error", "paused", "postmigrate",
              "prelaunch", "finish-migrate", "restore-vm", "running", "save-vm", "shutdown",
              "suspended", "watchdog", "guest-panicked", "colo"}


@dataclass
class Section:
    kind: str
    id: int
    name: str
    instance: int
    version: int
    offset: int  # of the section's first byte
    length: int = 0  # of the body
    values: dict[str, Any] | None = None


@dataclass
class Report:
    """Everything found, also when the end is missing."""

    size: int
    machine: str | None = None
    capabilities: list[str] = field(default_factory=list)
    uuid: str | None = None
    sections: list[Section] = field(default_factory=list)
    commands: list[tuple[int, str]] = field(default_factory=list)
    ram: Ram | None = None
    described: bool = False
    damage: Damage | None = None
    notes: list[str] = field(default_factory=list)


class Walk:
    def __init__(self, data: Any, start: int, fd: int) -> None:
        self.cursor = Cursor(data, start)
        self.fd = fd
        self.footers: bool | None = None  # decided by the first section
        self.open: dict[int, Section] = {}
        self.description: vmdesc.Description | None = None
        self.searched = False
        self.ended = False
        self.report = Report(len(data))

    def run(self) -> Report:
        try:
            self._header()
            while not self.ended:
                self._item()
            self._end()
        except Damage as damage:
            self.report.damage = damage
        return self.report

    def _header(self) -> None:
        self.cursor.expect(b"QEVM", "not a migration stream: the magic 'QEVM' is missing")
        self.cursor.expect((3).to_bytes(4, "big"), "the stream's version is not 3")
        if self.cursor.peek() == CONFIGURATION:
            self.cursor.pos += 1
            self._configuration()

    def _configuration(self) -> None:
        cursor, report = self.cursor, self.report
        length = cursor.number(4, "the length of the machine's name")
        if length > 255:
            raise Damage(cursor.pos - 4, f"a machine name of {length} bytes")
        report.machine = cursor.take(length, "the machine's name").decode("latin-1")
        while cursor.peek() == SUBSECTION:
            start = cursor.pos
            cursor.pos += 1
            name = cursor.string("a subsection of the configuration")
            cursor.expect((1).to_bytes(4, "big"), f"subsection '{name}' is not version 1")
            if name == "configuration/capabilities":
                count = cursor.number(4, name)
                report.capabilities = [cursor.string(name) for _ in range(min(count, 256))]
            elif name == "configuration/uuid":
                report.uuid = cursor.take(16, name).hex()
            elif name == "configuration/target-page-bits":
                cursor.number(4, name)
            else:
                raise Damage(start, f"unknown subsection '{name}' of the configuration")

    def _item(self) -> None:
        start = self.cursor.pos
        kind = self.cursor.number(1, "the stream: its end mark is missing")
        if kind == EOF:
            self.ended = True
        elif kind in (START, FULL):
            self._named(kind, start)
        elif kind in (PART, END):
            self._continued(kind, start)
        elif kind == COMMAND:
            self._command(start)
        else:
            raise Damage(start, f"byte 0x{kind:02x} where an item should begin")

    def _named(self, kind: int, start: int) -> None:
        cursor = self.cursor
        number = cursor.number(4, "a section's head")
        self._compare_head(kind)
        name = cursor.string("a section's name")
        section = Section(KINDS[kind], number, name, cursor.number(4, "a section's head"),
                          cursor.number(4, "a section's head"), start)
        self.report.sections.append(section)
        if kind == START:
            self.open[number] = section
            if name == "ram":
                caps = self.report.capabilities
                self.report.ram = Ram("mapped-ram" in caps, "x-ignore-shared" in caps, self.fd)
        self._body(section, name)

    def _compare_head(self, kind: int) -> None:
        """A device's head is known from the description: its first wrong byte can be told."""
        if kind != FULL:
            return
        self._search_description()
        wanted = self.description.expected() if self.description else None
        if wanted:
            name = wanted["name"].encode()
            head = bytes([len(name)]) + name + wanted["instance_id"].to_bytes(4, "big")
            probe = Cursor(self.cursor.data, self.cursor.pos)
            try:
                probe.expect(head, f"not section '{wanted['name']}' (instance "
                                   f"{wanted['instance_id']}), which the description has here")
            except Damage:
                if not self._known_head():
                    raise

    def _known_head(self) -> bool:
        """Is it another section of the description?"""
        probe = Cursor(self.cursor.data, self.cursor.pos)
        try:
            name = probe.string("a section's name")
            instance = probe.number(4, "a section's head")
        except Damage:
            return False
        assert self.description
        return any(d["name"] == name and d["instance_id"] == instance
                   for d in self.description.devices)

    def _search_description(self) -> None:
        if not self.searched:
            self.searched = True
            self.description = vmdesc.Description.find(self.cursor.data, self.cursor.pos)
            if not self.description:
                self.report.notes.append("no description of device state: fields are not shown")

    def _continued(self, kind: int, start: int) -> None:
        number = self.cursor.number(4, "a section's head")
        first = self.open.get(number)
        if not first:
            raise Damage(start, f"section id {number} goes on, but never began")
        section = Section(KINDS[kind], number, first.name, first.instance, first.version, start)
        self.report.sections.append(section)
        self._body(section, first.name)
        if kind == END:
            del self.open[number]

    def _body(self, section: Section, name: str) -> None:
        start = self.cursor.pos
        if name == "ram" and self.report.ram and section.kind != "full":
            self.report.ram.body(self.cursor)
        elif not self._described(section):
            self._guess_end(section)
        section.length = self.cursor.pos - start
        self._footer(section)

    def _described(self, section: Section) -> bool:
        device = None
        if section.kind == "full" and self.description:
            device = self.description.device(section.name, section.instance)
        if not device:
            return False
        if "version" in device:
            Cursor(self.cursor.data, self.cursor.pos - 4).expect(
                device["version"].to_bytes(4, "big"),
                f"section '{section.name}' has version {section.version}, "
                f"the description says {device['version']}")
        start = self.cursor.pos
        section.values = vmdesc.read_state(self.cursor, device)
        if section.name == "globalstate":
            self._run_state(section, start)
        return True

    def _run_state(self, section: Section, start: int) -> None:
        raw = bytes(self.cursor.data[start + 4:self.cursor.pos])
        state = raw.split(b"\0", 1)[0].decode("latin-1")
        if state not in RUN_STATES:
            raise Damage(start + 4, f"unknown run state '{state}'")
        section.values = {"runstate": state}

    def _guess_end(self, section: Section) -> None:
        """Without a description only the footer tells where a body ends."""
        footer = bytes([FOOTER]) + section.id.to_bytes(4, "big")
        pos = self.cursor.pos
        while self.footers is not False:
            pos = self.cursor.data.find(footer, pos)
            if pos < 0:
                break
            after = self.cursor.data[pos + 5] if pos + 5 < len(self.cursor.data) else -1
            if after in (EOF, START, PART, END, FULL, COMMAND):
                self.cursor.pos = pos
                return
            pos += 1
        if self.footers is False:
            raise Damage(self.cursor.pos, f"cannot tell where section '{section.name}' ends: "
                                          f"neither footers nor a description")
        raise Damage(len(self.cursor.data), f"the file ends inside section '{section.name}', which begins "
                                            f"at {section.offset}, or its footer is damaged")

    def _footer(self, section: Section) -> None:
        if self.footers is None:
            self.footers = self.cursor.peek() == FOOTER
            if not self.footers and self.cursor.peek() not in (START, PART, END, FULL, COMMAND):
                self.footers = True
        if self.footers:
            self.cursor.expect(bytes([FOOTER]) + section.id.to_bytes(4, "big"),
                               f"not the footer of section '{section.name}' (id {section.id}), "
                               f"which begins at {section.offset}")

    def _command(self, start: int) -> None:
        number = self.cursor.number(2, "a command")
        length = self.cursor.number(2, "a command")
        if not 0 < number < len(COMMANDS):
            raise Damage(start + 1, f"unknown command {number}")
        payload = self.cursor.take(length, f"command {COMMANDS[number]}")
        self.report.commands.append((start, COMMANDS[number]))
        if COMMANDS[number] == "packaged" and length == 4:
            self._package(int.from_bytes(payload, "big"))

    def _package(self, length: int) -> None:
        """A nested stream of items; its own end mark ends it, not the outer one."""
        end = self.cursor.skip(length, "a package") + length
        self.cursor.pos = end - length
        while self.cursor.pos < end and not self.ended:
            self._item()
        self.ended = False
        self.cursor.pos = end

    def _end(self) -> None:
        whole = any(section.name == "globalstate" for section in self.report.sections)
        for section in self.open.values():
            if whole:
                self.report.notes.append(f"section '{section.name}' has no end: a background snapshot")
                continue
            raise Damage(self.cursor.pos - 1, f"end of stream, but section '{section.name}' is open")
        mark = self.cursor.pos
        if self.cursor.left() == 0:
            return
        if self.cursor.peek() != vmdesc.MARK:
            if self.description:
                raise Damage(mark, "not the mark of the description, which should follow the end")
            self.report.notes.append(f"{self.cursor.left()} bytes behind the end of the stream")
            return
        self.cursor.pos += 1
        tree = vmdesc.check(self.cursor)
        self.report.described = True
        self._all_described(mark, tree)
        if self.cursor.left():
            self.report.notes.append(f"{self.cursor.left()} bytes behind the description")

    def _all_described(self, mark: int, tree: dict[str, Any]) -> None:
        seen = {(s.name, s.instance) for s in self.report.sections}
        for device in tree.get("devices", []):
            if (device.get("name"), device.get("instance_id")) not in seen:
                raise Damage(mark, f"the description has section '{device.get('name')}' "
                                   f"(instance {device.get('instance_id')}), the stream has not")


def inspect(data: Any, start: int, fd: int) -> Report:
    """Walk the stream that begins at byte @start of @data, the contents of open file @fd."""
    return Walk(data, start, fd).run()
