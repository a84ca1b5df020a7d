# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-balloon's free-page-hint and free-page-reporting, with a driver written in Python."""
from __future__ import annotations

import struct
import time

import pytest

from qtestclient import RAM, Guest, ModernQueue, qtest_args
from vmtest import listen_address

BAR = 0x40000000
HINT, REPORTING, POISON = 1 << 3, 1 << 5, 1 << 4
MODERN = 1 << 32
STOP, DONE = 0, 1
CONFIG = BAR + 0x2000
RINGS = RAM + 0x10000
IDS = RAM + 0x20000
DATA = RAM + (8 << 20)
PAGE = 4096


class Driver(ModernQueue):
    """The free page queue of a balloon that has no other queue set up."""

    def command(self) -> int:
        """What the configuration says: a command id, STOP or DONE."""
        return self.guest.read(CONFIG + 8)

    def wait_command(self, accept) -> int:
        deadline = time.monotonic() + 60
        while not accept(command := self.command()):
            assert time.monotonic() < deadline, hex(command)
            time.sleep(0.01)
        return command

    def give(self, addr: int, length: int) -> None:
        self.offer(addr, length)
        self.notify()
        self.wait_used(self.avail & 0xFFFF)

    def say(self, command: int) -> None:
        slot = self.avail % self.size
        self.guest.write(IDS, command)
        self.guest.put(self.mem + 16 * slot, struct.pack("<QIHH", IDS, 4, 0, 0))
        self.guest.write(self.mem + 0x404 + 2 * slot, slot, 2)
        self.avail += 1
        self.guest.write(self.mem + 0x402, self.avail, 2)
        self.notify()
        self.wait_used(self.avail & 0xFFFF)


def board(make_vm, tmp_path, name: str, options: str, *args: str):
    path = str(tmp_path / name)
    vm = make_vm("godwit", "-accel", "qtest", "-bios", "none", "-device", f"virtio-balloon-pci,addr=1,{options}",
                 *qtest_args(path), *args, serial=False, mem="64M")
    return vm, Guest(path)


def start(guest: Guest, index: int, features: int) -> Driver:
    fn = guest.function(1)
    fn.write(0x20, BAR)  # the one with the modern registers
    fn.write(0x24, 0)
    fn.write(4, 6, 2)
    driver = Driver(fn, BAR, index, RINGS)
    driver.start(MODERN | features)
    return driver


def fill(guest: Guest, addr: int, pages: int) -> None:
    for page in range(pages):
        guest.command(f"memset {addr + page * PAGE:#x} {PAGE:#x} {page % 255 + 1:#x}")


def first(guest: Guest, addr: int) -> int:
    return guest.read(addr, 1)


def slow_migration(src, dst) -> None:
    src.caps(events=True)
    src.cmd("migrate-set-parameters", max_bandwidth=100 << 10, downtime_limit=1)
    src.cmd("migrate", uri=listen_address(dst))
    src.qmp.wait_event("MIGRATION", lambda d: d["status"] == "active")


def finish(src, dst) -> dict:
    src.cmd("migrate-set-parameters", max_bandwidth=0, downtime_limit=2000)
    info = src.wait_migration("completed")
    dst.wait_status("running")
    return info


def test_hints(make_vm, tmp_path):
    """Pages of a hint are not sent; those that are written after it are, and so is what comes too late."""
    src, guest = board(make_vm, tmp_path, "s", "free-page-hint=on")
    dst, there = board(make_vm, tmp_path, "d", "free-page-hint=on", "-incoming", "tcp:127.0.0.1:0")
    driver = start(guest, 3, HINT)
    fill(guest, DATA, 1024)
    assert driver.command() == STOP
    slow_migration(src, dst)
    command = driver.wait_command(lambda c: c >= 0x80000000)
    driver.give(DATA + 700 * PAGE, PAGE)  # before the session: of no effect
    driver.say(command + 1)  # of another session
    driver.give(DATA + 701 * PAGE, PAGE)
    driver.say(command)
    driver.give(DATA + 512 * PAGE + 100, 100 * PAGE)  # only whole pages: 513 to 611
    driver.give(DATA + 800 * PAGE, 2 * PAGE)
    guest.command(f"memset {DATA + 600 * PAGE:#x} 8 0xee")  # used again
    driver.say(STOP)
    driver.give(DATA + 702 * PAGE, PAGE)
    driver.wait_command(lambda c: c == DONE)
    driver.give(DATA + 703 * PAGE, PAGE)
    info = finish(src, dst)
    assert info["x-savings"]["free-bytes"] == (99 + 2) * PAGE
    for page in (0, 511, 512, 600, 612, 700, 701, 702, 703, 799, 802, 1023):
        wanted = 0xEE if page == 600 else page % 255 + 1
        assert first(there, DATA + page * PAGE) == wanted, page
    for page in (513, 599, 601, 611, 800, 801):
        assert first(there, DATA + page * PAGE) == 0, page
    assert there.read(CONFIG + 8) in (DONE,)


def test_no_hints_in_postcopy_or_with_poison(make_vm, tmp_path):
    src, guest = board(make_vm, tmp_path, "s", "free-page-hint=on")
    driver = start(guest, 3, HINT | POISON)
    guest.write(CONFIG + 12, 0xAA)
    for caps in ({"postcopy_ram": False}, {"postcopy_ram": True}):
        src.caps(**caps)
        src.cmd("migrate", uri="tcp:127.0.0.1:1")
        src.wait_migration("failed")
        guest.write(CONFIG + 12, 0)
        assert driver.command() == STOP


def test_reports(make_vm, tmp_path):
    """Memory that is reported goes back to the host, in whole pages; poison that the guest relies on stays."""
    vm, guest = board(make_vm, tmp_path, "s", "free-page-reporting=on,free-page-hint=on")
    driver = start(guest, 4, REPORTING)
    fill(guest, DATA, 64)
    driver.give(DATA + 8 * PAGE + 1, 8 * PAGE)
    for page in range(64):
        assert first(guest, DATA + page * PAGE) == (0 if 9 <= page < 16 else page + 1), page
    driver = start(guest, 4, REPORTING | POISON)
    driver.avail = 0
    guest.put(RINGS, bytes(0x1000))
    driver.start(MODERN | REPORTING | POISON)
    guest.write(CONFIG + 12, 0x55)
    driver.give(DATA + 32 * PAGE, 8 * PAGE)
    assert first(guest, DATA + 35 * PAGE) == 36
    assert vm.cmd("query-status")["running"]


def test_hostile_driver(make_vm, tmp_path):
    """Hints of nothing, of what is no memory, without end and in the wrong order do no harm."""
    src, guest = board(make_vm, tmp_path, "s", "free-page-hint=on")
    dst, there = board(make_vm, tmp_path, "d", "free-page-hint=on", "-incoming", "tcp:127.0.0.1:0")
    driver = start(guest, 3, HINT)
    base = DATA + 512 * PAGE  # what is in front of it takes a while
    fill(guest, DATA, 512 + 16)
    slow_migration(src, dst)
    command = driver.wait_command(lambda c: c >= 0x80000000)
    driver.say(STOP)
    driver.say(command)
    driver.say(command)
    for addr, length in ((base, 1), (base + 4095, 2), (RAM + (64 << 20) - PAGE, PAGE), (base + 4 * PAGE, 4 * PAGE)):
        for _ in range(4):
            driver.give(addr, length)
    driver.say(STOP)
    driver.say(STOP)
    info = finish(src, dst)
    assert info["x-savings"]["free-bytes"] in (4 * PAGE, 5 * PAGE)  # the last page of memory is zero: may have been sent
    assert [first(there, base + page * PAGE) for page in range(10)] == [3, 4, 5, 6, 0, 0, 0, 0, 11, 12]


@pytest.mark.parametrize("src_kind, dst_kind", [("godwit", "stock"), ("stock", "godwit")])
def test_stock_has_the_same_section(make_vm, tmp_path, src_kind, dst_kind):
    """The section of a balloon with everything on crosses both ways."""
    vms = []
    for kind, extra in ((src_kind, ()), (dst_kind, ("-incoming", "tcp:127.0.0.1:0"))):
        thread = ("-object", "iothread,id=io0") if kind == "stock" else ()
        option = ",iothread=io0" if kind == "stock" else ""
        vms.append(make_vm(kind, "-bios", "none", *thread, "-device", "virtio-balloon-device,free-page-hint=on,"
                           f"free-page-reporting=on,page-poison=on{option}", "-S", *extra, serial=False, mem="64M"))
    src, dst = vms
    src.cmd("migrate", uri=listen_address(dst) if dst_kind == "godwit" else
            "tcp:127.0.0.1:" + dst.cmd("query-migrate")["socket-address"][0]["port"])
    src.wait_migration("completed")
    dst.wait_status("paused", "prelaunch")
