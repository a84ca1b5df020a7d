# SPDX-License-Identifier: GPL-2.0-or-later
"""vfio-pci on the real kernel interface: the device of tests/nested/vfio-module works, moves, and refuses to."""
from __future__ import annotations

import pathlib
import re
import struct
import time

import pytest

import vfiouser
from qtestclient import RAM, Guest, GuestVM
from vmtest import QMPError, listen_address, pattern_args

SLOW = 300  # seconds: an emulator inside an emulator
BAR, MEMORY, TABLE = 0x40100000, 0x40200000, 0x40300000
RING, PAGES = RAM + (24 << 20), 64
PLIC_PENDING = 0xC001004
STOP, RUNNING, STOP_COPY, RESUMING = 1, 2, 3, 4
PRE_COPY_FLAG = 4
KNOBS = ("fail_state", "fail_times", "fail_fatal", "fail_read", "damage", "truncate", "drop", "endless", "fail_log", "fail_reset")


def until(condition) -> None:
    deadline = time.monotonic() + SLOW
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


class Device:
    """One device of the module, from the host's side."""

    def __init__(self, number: int, offers: str, **knobs: int) -> None:
        self.dir = pathlib.Path(f"/sys/devices/platform/godwit-vfio.{number}")
        self.set("offers", offers)
        self.set("states", 0)
        self.set("bulk", number + 1)
        for name in KNOBS:
            self.set(name, knobs.get(name, 0))

    def set(self, name: str, value: int | str) -> None:
        (self.dir / name).write_text(str(value))

    def get(self, name: str) -> str:
        return (self.dir / name).read_text().strip()

    def states(self) -> list[int]:
        """Those it was in, the newest last."""
        return [int(c) for c in self.get("states")]


class Port:
    """The guest's side of its device in slot 2 + @index."""

    def __init__(self, guest: Guest, index: int) -> None:
        self.guest, self.fn = guest, guest.function(2 + index)
        self.bar, self.memory, self.table = (base + index * 0x400000 for base in (BAR, MEMORY, TABLE))
        self.ring = RING + index * (1 << 20)

    def enable(self) -> None:
        for reg, value in ((0x10, self.bar), (0x18, self.memory), (0x1C, 0), (0x20, self.table)):
            self.fn.write(reg, value)
        self.fn.write(4, 6, 2)

    def set_up(self) -> None:
        g = self.guest
        self.enable()
        g.write(self.bar, 0x5CA7C4)
        g.write(self.memory + 8, 0xB0A710AD)
        g.write(self.table, self.ring - 16)
        g.write(self.table + 8, 0x70)
        g.write(self.table + 12, 0)
        self.fn.write(0x42, 0x8000, 2)

    def write_ring(self) -> None:
        self.guest.write(self.bar + 0x40, self.ring, 8)
        self.guest.write(self.bar + 0x48, PAGES)
        until(lambda: self.written() > PAGES)

    def written(self) -> int:
        return self.guest.read(self.bar + 0x50, 8)

    def goes_on(self) -> None:
        before = self.written()
        until(lambda: self.written() > before + PAGES)

    def signals(self) -> None:
        self.guest.write(self.ring - 16, 0)
        self.guest.write(self.bar + 4, 0)
        until(lambda: self.guest.read(self.ring - 16) == 0x70)

    def check_ring(self) -> None:
        vfiouser.check_ring(self.guest, self.ring, PAGES, self.written())


class Side:
    """One emulator with its devices."""

    def __init__(self, make_vm, devices: list[Device], *args: str) -> None:
        self.devices, self.device = devices, devices[0]
        for i, device in enumerate(devices):
            args = ("-device", f"vfio-pci,sysfsdev={device.dir},id=v{i},addr={2 + i}", *args)
        self.all = GuestVM(make_vm, "godwit", "-m", "32M", *pattern_args(mode="hot", ws="4M", hot="256K", rate=1000000), *args)
        self.vm, self.guest = self.all.vm, self.all.guest
        self.ports = [Port(self.guest, i) for i in range(len(devices))]
        self.port = self.ports[0]

    def start(self) -> None:
        """The guest runs, the devices write their rings."""
        for port in self.ports:
            port.set_up()
        self.vm.cmd("cont")
        for port in self.ports:
            port.write_ring()

    def check_unharmed(self) -> None:
        """A failed migration left everything working; then the ring is whole, too."""
        self.vm.wait_status("running", timeout=SLOW)
        assert self.device.states()[-1] == RUNNING and self.device.get("logging") == "0 0"
        self.port.goes_on()
        self.vm.cmd("stop")
        self.port.check_ring()
        self.vm.cmd("cont")


@pytest.fixture
def make_side(make_vm):
    sides: list[Side] = []

    def make(number: int | tuple[int, ...], *args: str, offers: str = "3 1", **knobs: int) -> Side:
        numbers = number if isinstance(number, tuple) else (number,)
        sides.append(Side(make_vm, [Device(n, offers, **knobs) for n in numbers], *args))
        return sides[-1]

    yield make
    for side in sides:
        side.all.close()


INCOMING = ("-incoming", "tcp:127.0.0.1:0")


def move(a: Side, b: Side) -> dict:
    """How long the guest stands still is not what is tested: all memory may be left to send."""
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    info = a.vm.wait_migration("completed", timeout=SLOW)
    b.vm.wait_status("paused", timeout=SLOW)
    return info


def test_device(make_side):
    """Registers, memory, DMA, pin and vectors."""
    a = make_side(0)
    g, fn = a.guest, a.port.fn
    assert fn.read(0) == 0x4D56CAFE and fn.read(0x54) == struct.unpack("<I", b"VFIO")[0]
    fn.write(0x18, 0xFFFFFFFF)
    assert fn.read(0x18) == 0xFFFF000C
    assert g.read(BAR) == 0xFFFFFFFF  # not decoded yet
    a.port.enable()
    for size in (1, 2, 4, 8):
        g.write(BAR, 0x1122334455667788 & (1 << 8 * size) - 1, size)
        assert g.read(BAR, size) == 0x1122334455667788 & (1 << 8 * size) - 1
    g.write(MEMORY, 0x01020304)
    g.write(MEMORY + 0xFFFC, 0x05060708)
    assert g.read(MEMORY) == 0x01020304 and g.read(MEMORY + 0xFFFC) == 0x05060708

    a.vm.cmd("cont")  # a device of a stopped machine does nothing
    a.vm.wait_status("running", timeout=SLOW)
    g.put(RAM + 0x1005000, bytes(range(256)) * 8)
    for source, dest, good in [(RAM + 0x1005000, RAM + 0x1009000, True), (RAM + 0x1005000, 0x10000000, False),
                               (RAM + (32 << 20) - 8, RAM + 0x1009000, False)]:
        for reg, value in ((8, source), (0x10, dest)):
            g.write(BAR + reg, value, 8)
        g.write(BAR + 0x18, 2048)
        g.write(BAR + 0x1C, 1)
        assert (g.read(BAR + 0x20) == 0) == good
    assert g.get(RAM + 0x1009000, 2048) == bytes(range(256)) * 8

    pending = 1 << 32 + (2 + 0) % 4  # interrupts 32 to 35 are the four pins
    g.write(BAR + 0x1C, 2)
    until(lambda: fn.read(6, 2) & 8)
    assert g.read(PLIC_PENDING, 4) == pending >> 32
    g.write(BAR + 0x1C, 3)
    until(lambda: not fn.read(6, 2) & 8)

    for v in range(4):
        g.write(TABLE + 16 * v, RAM + 0x1000000 + 4 * v)
        g.write(TABLE + 16 * v + 8, 0x70 + v)
        g.write(TABLE + 16 * v + 12, v == 3)
    fn.write(0x42, 0x8000, 2)
    for v in range(4):
        g.write(BAR + 4, v)
    until(lambda: [g.read(RAM + 0x1000000 + 4 * v) for v in range(3)] == [0x70, 0x71, 0x72])
    until(lambda: g.read(TABLE + 0x800) == 8)  # masked: pending
    g.write(TABLE + 16 * 3 + 12, 0)
    until(lambda: g.read(RAM + 0x100000C) == 0x73)

    a.vm.cmd("system_reset")
    until(lambda: fn.read(4, 2) == 0)
    a.port.enable()
    assert g.read(BAR) == 0 and a.device.states()[-1] == RUNNING


@pytest.mark.parametrize("offers", ["1 1", "3 1", "3 0", "7 1"],
                         ids=["stop-copy", "p2p", "logged by type1", "pre-copy"])
def test_busy_device_moves(make_side, offers):
    a, b = make_side(0, offers=offers), make_side(1, *INCOMING, offers=offers)
    a.start()
    move(a, b)
    check_moved(a, b)
    states = a.device.states()
    if int(offers[0]) & PRE_COPY_FLAG:
        assert 6 in states and states.index(6) < states.index(STOP_COPY)
    else:
        assert 6 not in states


def check_moved(a: Side, b: Side) -> None:
    """Before the devices write again, every record is checked; then they must go on here."""
    for there, here, port in zip(a.devices, b.devices, b.ports):
        port.check_ring()
        assert there.states()[-1] == STOP and STOP_COPY in there.states() and there.get("logging") == "0 0"
        assert RESUMING in here.states() and here.states()[-1] == STOP
        assert here.get("bulk") == there.get("bulk")
        assert b.guest.read(port.bar) == 0x5CA7C4 and b.guest.read(port.memory + 8) == 0xB0A710AD
    b.vm.cmd("cont")
    b.vm.wait_status("running", timeout=SLOW)
    for here, port in zip(b.devices, b.ports):
        assert here.states()[-1] == RUNNING
        port.goes_on()
        port.signals()
    b.vm.cmd("stop")
    for port in b.ports:
        port.check_ring()


@pytest.mark.parametrize("offers", ["3 1", "3 0"], ids=["log", "logged by type1"])
def test_two_devices(make_side, offers):
    """They share a container, stop in step, and each is told to stop writing to the other first."""
    a, b = make_side((0, 2), offers=offers), make_side((1, 3), *INCOMING, offers=offers)
    a.start()
    move(a, b)
    check_moved(a, b)


def test_ring_check_notices_a_lost_page(make_side):
    """The oracle itself: a device that hides one page in seven from its log."""
    a, b = make_side(0, drop=7, endless=1), make_side(1, *INCOMING)
    a.start()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=1 << 22, downtime_limit=0)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    until(lambda: a.vm.cmd("query-migrate").get("ram", {}).get("dirty-sync-count", 0) > 1)
    a.port.goes_on()  # every page again, after all were sent; as long as one is left it cannot end
    a.device.set("endless", 0)
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60000)
    a.vm.wait_migration("completed", timeout=SLOW)
    b.vm.wait_status("paused", timeout=SLOW)
    with pytest.raises(AssertionError, match="holds record"):
        b.port.check_ring()


FAILURES = [  # (who, knobs, words of the error)
    ("source", {"fail_state": STOP_COPY, "fail_times": 1}, "to stop-copy"),
    ("source", {"fail_state": STOP_COPY, "fail_times": 1, "fail_fatal": 1}, "to stop-copy"),
    ("source", {"fail_read": 2}, "reading its state"),  # one has data, one finds the end
    ("source", {"fail_log": 1}, "log its writes"),
    ("source", {"damage": 2}, ""),
    ("source", {"truncate": 1}, ""),
    ("destination", {"fail_state": RESUMING, "fail_times": 1}, ""),
]


def test_failures(make_side):
    """One source lives through all of them; then it moves."""
    a = make_side(0)
    a.start()
    a.vm.caps(return_path=True)
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60000)
    for who, knobs, words in FAILURES:
        b = make_side(1, *INCOMING, **(knobs if who == "destination" else {}))
        b.vm.caps(return_path=True)
        for name in KNOBS:
            a.device.set(name, knobs.get(name, 0) if who == "source" else 0)
        start = len(a.vm.log())
        a.vm.cmd("migrate", uri=listen_address(b.vm))
        info = a.vm.wait_migration("failed", timeout=SLOW)
        assert words in info.get("error-desc", "") + a.vm.log()[start:], (who, knobs)
        b.vm.wait_exit(SLOW)
        if "fail_fatal" in knobs:  # only a reset gets it out of that
            a.vm.wait_status("running", timeout=SLOW)
            assert 0 in a.device.states() and a.port.written() == 0
            a.port.set_up()
            a.port.write_ring()
        a.check_unharmed()
    for name in KNOBS:
        a.device.set(name, 0)
    b = make_side(1, *INCOMING)
    move(a, b)
    check_moved(a, b)


def test_what_is_refused(make_side, make_vm):
    """A device that cannot migrate, and one that another process has."""
    a = make_side(0, offers="0 0")
    with pytest.raises(QMPError, match="vfio-pci v0: it offers no migration"):
        a.vm.cmd("migrate", uri="exec:cat >/dev/null")
    with pytest.raises(QMPError, match="cannot open /dev/iommu .Linux 6.2 or later"):
        a.vm.cmd("object-add", qom_type="iommufd", id="i0")
    vm = make_vm("godwit", "-S", "-bios", "none", "-device", f"vfio-pci,sysfsdev={a.device.dir}", qmp=False, serial=False)
    assert vm.wait_exit(SLOW) == 1
    assert re.search(r"cannot open /dev/vfio/\d+ \(another process uses the group\): Device or resource busy", vm.log())
