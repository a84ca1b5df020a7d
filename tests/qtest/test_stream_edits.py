# SPDX-License-Identifier: GPL-2.0-or-later
"""A captured stream, taken apart, changed and loaded: what is tolerated, what is refused and how.

Stock QEMU loads the same bytes; both must agree on tolerated or refused except where noted.
"""
from __future__ import annotations

import copy
import json
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from vmtest import BINARIES

MACHINE = ["-machine", "virt", "-m", "16M", "-nodefaults", "-display", "none", "-serial", "none",
           "-bios", "none", "-S", "-qmp", "stdio"]
START, PART, END, FULL = 1, 2, 3, 4


@dataclass
class Section:
    kind: int
    id: int
    body: bytes
    name: str = ""
    instance: int = 0
    version: int = 0
    footer: int | None = None  # None: as in the head; -1: none

    def encode(self) -> bytes:
        head = struct.pack(">BI", self.kind, self.id)
        if self.kind in (START, FULL):
            head += bytes([len(self.name)]) + self.name.encode()
            head += struct.pack(">II", self.instance, self.version)
        if self.footer == -1:
            return head + self.body
        return head + self.body + struct.pack(
            ">BI", 0x7E, self.id if self.footer is None else self.footer)


@dataclass
class Stream:
    header: bytes = b"QEVM\0\0\0\3"
    configuration: bytes = b"\7\0\0\0\4virt"
    insert: dict[int, bytes] = field(default_factory=dict)  # before which section
    sections: list[Section] = field(default_factory=list)
    tail: bytes = b"\0"

    def encode(self) -> bytes:
        out = self.header + self.configuration
        for i, section in enumerate(self.sections):
            out += self.insert.get(i, b"") + section.encode()
        return out + self.tail

    def named(self, name: str) -> Section:
        return next(s for s in self.sections if s.name == name)

    def kind(self, kind: int) -> Section:
        return next(s for s in self.sections if s.kind == kind)


def described_size(vmsd: dict) -> int:
    return sum(f["size"] * f.get("array_len", 1) for f in vmsd["fields"]) + sum(
        6 + len(s["vmsd_name"]) + described_size(s) for s in vmsd.get("subsections", []))


def take_apart(data: bytes) -> Stream:
    """Sections have no length: devices are measured by the description, ram by its end of section."""
    text = data.rindex(b'{"page_size"')
    devices = {(d["name"], d["instance_id"]): d for d in json.loads(data[text:])["devices"]}
    stream = Stream(tail=data[text - 6:])
    at = 17
    while at < text - 6:
        kind, ident = struct.unpack_from(">BI", data, at)
        section = Section(kind, ident, b"")
        at += 5
        if kind in (START, FULL):
            section.name = data[at + 1:at + 1 + data[at]].decode()
            at += 1 + len(section.name)
            section.instance, section.version = struct.unpack_from(">II", data, at)
            at += 8
        if kind == FULL:
            size = described_size(devices[section.name, section.instance])
        else:
            size = data.index(struct.pack(">QBI", 0x10, 0x7E, ident), at) + 8 - at
        section.body = data[at:at + size]
        at += size + 5
        stream.sections.append(section)
    return stream


@pytest.fixture(scope="module")
def captured(tmp_path_factory) -> Stream:
    path = tmp_path_factory.mktemp("capture") / "stream"
    script = [{"execute": "qmp_capabilities"},
              {"execute": "migrate", "arguments": {"uri": f"file:{path}"}}]
    with subprocess.Popen([BINARIES["godwit"], *MACHINE], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as vm:
        for command in script:
            print(json.dumps(command), file=vm.stdin, flush=True)
        while '"status": "completed"' not in vm.stdout.readline():
            print('{"execute": "query-migrate"}', file=vm.stdin, flush=True)
        vm.terminate()
    stream = take_apart(path.read_bytes())
    assert stream.encode() == path.read_bytes()
    return stream


def load(kind: str, path: Path) -> tuple[str, str]:
    """The run state after the load, or "refused"; and what was said."""
    with subprocess.Popen([BINARIES[kind], *MACHINE, "-incoming", f"exec:cat {path}"], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as vm:
        status = "inmigrate"
        try:
            print('{"execute": "qmp_capabilities"}', file=vm.stdin, flush=True)
            while status == "inmigrate":
                print('{"execute": "query-status"}', file=vm.stdin, flush=True)
                line = vm.stdout.readline()
                if not line:
                    break
                status = json.loads(line).get("return", {}).get("status", status)
        except BrokenPipeError:
            pass
        if status != "inmigrate":
            vm.kill()  # stock does not always obey SIGTERM here
        said = vm.communicate(timeout=120)[1]
    if status == "inmigrate":
        assert vm.returncode == 1, f"{kind} ended with {vm.returncode}: {said}"
        status = "refused"
    return status, said


def changed(section: str, /, **what: object) -> Callable[[Stream], None]:
    def edit(s: Stream) -> None:
        i = s.sections.index(s.named(section))
        s.sections[i] = replace(s.sections[i], **what)
    return edit


def subsection(name: str, body: bytes = b"", version: int = 1) -> bytes:
    return b"\5" + bytes([len(name)]) + name.encode() + struct.pack(">I", version) + body


def longer(name: str, extra: bytes) -> Callable[[Stream], None]:
    def edit(s: Stream) -> None:
        s.named(name).body += extra
    return edit


def configuration(extra: bytes, name: bytes = b"virt") -> Callable[[Stream], None]:
    def edit(s: Stream) -> None:
        s.configuration = struct.pack(">BI", 7, len(name)) + name + extra
    return edit


def without(name: str) -> Callable[[Stream], None]:
    return lambda s: s.sections.remove(s.named(name))


def twice(name: str) -> Callable[[Stream], None]:
    return lambda s: s.sections.insert(0, copy.copy(s.named(name)))


def inserted(data: bytes, at: int = 0) -> Callable[[Stream], None]:
    return lambda s: s.insert.update({at: data})


def ended(tail: bytes) -> Callable[[Stream], None]:
    def edit(s: Stream) -> None:
        s.tail = tail if tail[:1] == b"\0" else s.tail + tail
    return edit


def renumbered(s: Stream) -> None:
    for section in s.sections:
        section.id += 1000


def backwards(s: Stream) -> None:
    live = [x for x in s.sections if x.kind != FULL]
    s.sections = live + [x for x in s.sections if x.kind == FULL][::-1]


def old_goldfish(s: Stream) -> None:
    rtc = s.named("goldfish_rtc")
    rtc.version, rtc.body = 2, rtc.body[:-8]


def total(delta: int) -> Callable[[Stream], None]:
    def edit(s: Stream) -> None:
        ram = s.kind(START)
        ram.body = struct.pack(">Q", struct.unpack_from(">Q", ram.body)[0] + delta) + ram.body[8:]
    return edit


def record(flags: int, rest: bytes) -> Callable[[Stream], None]:
    def edit(s: Stream) -> None:
        end = s.kind(END)
        end.body = struct.pack(">Q", flags) + rest + end.body
    return edit


def run_state(name: str) -> Callable[[Stream], None]:
    return changed("globalstate", body=struct.pack(">I100s", len(name) + 1, name.encode()))


def capabilities(*names: str, count: int | None = None) -> bytes:
    return subsection("configuration/capabilities",
                      struct.pack(">I", len(names) if count is None else count) +
                      b"".join(bytes([len(n)]) + n.encode() for n in names))


GPEX = "0000:00:00.0/gpex_root"
BLOCK = b"\x14riscv_virt_board.ram"

TOLERATED = {
    "unchanged": lambda s: None,
    "other ids": renumbered,
    "an id of all ones": changed("serial", id=0xFFFFFFFF),
    "devices in reverse": backwards,
    "no description": ended(b"\0"),
    "ram without its end, as in a background snapshot": lambda s: s.sections.remove(s.kind(END)),
    "a description cut short": ended(b'\0\6\0\0\1\0{"page'),
    "something else behind the end": ended(b"\0hello"),
    "a description of 4 GiB": ended(b"\0\6\xff\xff\xff\xff{}"),
    "bytes behind the description": ended(b"more"),
    "an older clock": old_goldfish,
    "an older serial port": changed("serial", version=2),
    "no clock": without("goldfish_rtc"),
    "no interrupt controller": without("riscv_sifive_plic"),
    "two timers": twice("timer"),
    "two cpus": twice("cpu"),
    "bridge without its path": changed(GPEX, name="gpex_root"),
    "machine by prefix": configuration(b"", b"vir"),
    "machine without a name": configuration(b"", b""),
    "same page size": configuration(subsection("configuration/target-page-bits", b"\0\0\0\x0c")),
    "no capability": configuration(capabilities()),
    "a UUID nobody asked for": configuration(subsection("configuration/uuid", b"u" * 16)),
    "a zero page that is not": record(2, BLOCK + b"\x55"),
}

# What Godwit says. Stock's own words differ.
REFUSED = {
    "version 2 of the format": (lambda s: setattr(s, "header", b"QEVM\0\0\0\2"), "obsolete"),
    "configuration missing": (lambda s: setattr(s, "configuration", b""), "Configuration is missing"),
    "other machine": (configuration(b"", b"spike"), "machine type 'spike'"),
    "other page size": (configuration(subsection("configuration/target-page-bits", b"\0\0\0\x0e")),
                        "14 bits"),
    "ignored memory": (configuration(capabilities("x-ignore-shared")), "x-ignore-shared"),
    "unknown capability": (configuration(capabilities("warp")), "unknown capability 'warp'"),
    "unknown configuration": (configuration(subsection("configuration/warp")), "unknown subsection"),
    "newer configuration": (configuration(subsection("configuration/uuid", b"u" * 16, 2)), "newer"),
    "newer clock": (changed("goldfish_rtc", version=4), "version 4, 3 is the newest"),
    "older cpu": (changed("cpu", version=4), "cpu: version 4 is older"),
    "newer cpu": (changed("cpu", version=6), "version 6, 5 is the newest"),
    "version of all ones": (changed("fw_cfg", version=0xFFFFFFFF), "'fw_cfg' (instance 0)"),
    "unknown subsection": (longer("serial", subsection("serial/warp")), "'serial/warp'"),
    "subsection of another": (longer("serial", subsection("warp/serial")), "section footer"),
    "a byte too many": (longer("riscv_mtimer", b"\0"), "section 'riscv_mtimer'"),
    "unknown section": (changed("timer", name="warp"), "Section 'warp'"),
    "other instance": (changed("timer", instance=1), "Section 'timer' (instance 1)"),
    "bridge of another bus": (changed(GPEX, name="gpex_root", instance=1), "'gpex_root' (instance 1)"),
    "wrong footer": (changed("serial", footer=12345), "mismatched section footer"),
    "no footer": (changed("serial", footer=-1), "section footer"),
    "part of nothing": (inserted(b"\2\0\0\0\x63"), "section id 99, which has not begun"),
    "stray footer": (inserted(b"\x7e\0\0\0\0"), "Misplaced item type 0x7e"),
    "second configuration": (inserted(b"\7\0\0\0\4virt"), "Misplaced item type 0x07"),
    "unknown item": (inserted(b"\x99"), "Unknown item type 0x99"),
    "command 0": (inserted(b"\x08\0\0\0\0"), "Unknown command 0x0"),
    "switchover-start": (inserted(b"\x08\0\x0b\0\0"), "At offset 17"),
    "ping without a path": (inserted(b"\x08\0\2\0\4\0\0\0\1"), "without a return path"),
    "ping of five bytes": (inserted(b"\x08\0\2\0\5\0\0\0\0\1"), "5 bytes of arguments"),
    "ram of version 3": (changed("ram", version=3), "version 3"),
    "ram of version 5": (changed("ram", version=5), "version 5"),
    "less memory": (total(-4096), "section 'ram'"),
    "more memory": (total(4096), "section 'ram'"),
    "page past its block": (record(0x7FFFFFFFF002, BLOCK + b"\0"), "Illegal RAM offset 7ffffffff000"),
    "page of another block": (record(2, b"\4warp\0"), '"warp"'),
    "page of no kind": (record(0x201, b""), "0x201"),
    "unknown run state": (run_state("flying"), "Unknown run state 'flying'"),
}

# Refused although stock takes it (or ends in an abort): it would be a guest with half its state, or
# one in a run state that nothing ends, or memory by the gigabyte for a string.
REFUSED_HERE = {
    "end in the middle of ram": (inserted(b"\0", 1), "before section 'ram' has ended"),
    "end among the devices": (inserted(b"\0", 6), "More bytes follow"),
    "machine name of 4 GiB": (lambda s: setattr(s, "configuration", b"\7\xff\xff\xff\xffvirt"),
                              "4294967295 bytes"),
    "4 billion capabilities": (configuration(capabilities(count=0xFFFFFFFF)), "4294967295 element"),
    **{f"guest in {state}": (run_state(state), f"run state '{state}' cannot")
       for state in ("inmigrate", "finish-migrate", "save-vm", "restore-vm", "colo")},
}


def edited(captured: Stream, edit: Callable[[Stream], None], path: Path) -> Path:
    stream = copy.deepcopy(captured)
    edit(stream)
    path.write_bytes(stream.encode())
    return path


@pytest.mark.parametrize("kind", ["godwit", "stock"])
@pytest.mark.parametrize("edit", TOLERATED.values(), ids=TOLERATED)
def test_tolerated(captured, tmp_path, edit, kind):
    state, said = load(kind, edited(captured, edit, tmp_path / "stream"))
    assert state == "prelaunch", said


@pytest.mark.parametrize("edit, text", REFUSED.values(), ids=REFUSED)
def test_refused(captured, tmp_path, edit, text):
    path = edited(captured, edit, tmp_path / "stream")
    state, said = load("godwit", path)
    assert state == "refused"
    assert said.count("\n") == 1, "one clear message"
    assert text in said
    assert load("stock", path)[0] == "refused"


@pytest.mark.parametrize("edit, text", REFUSED_HERE.values(), ids=REFUSED_HERE)
def test_refused_here(captured, tmp_path, edit, text):
    state, said = load("godwit", edited(captured, edit, tmp_path / "stream"))
    assert state == "refused"
    assert text in said
