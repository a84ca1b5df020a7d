# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's side of the vfio-user test device (vfiouser.py, tests/vfio-user-device), and emulators that have some."""
from __future__ import annotations

import pathlib
import subprocess
import time

import vfiouser
from qtestclient import RAM, GuestVM
from vmtest import BUILD, die_with_parent, listen_address, pattern_args

BAR = 0x40100000
TABLE = 0x40110000
RING, PAGES = RAM + (96 << 20), 1024
SHARED = ["-object", "memory-backend-memfd,id=m0,size=128M,share=on", "-machine", "memory-backend=m0"]


def until(condition, timeout: float = 180) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


class Server:
    """The device as a program. @args are its options."""

    def __init__(self, path: pathlib.Path, *args: str) -> None:
        self.path = str(path)
        self.process = subprocess.Popen([str(BUILD / "tests/vfio-user-device/vfio-user-device"),
                                         f"--socket={path}", *args],
                                        stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        assert self.process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """Kill it; harmless when repeated."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Card:
    """One device as its guest sees it; number @n of the machine."""

    def __init__(self, guest, device: vfiouser.Device | Server, n: int) -> None:
        self.guest, self.device, self.slot = guest, device, 2 + n
        self.bar, self.table = BAR + (n << 20), TABLE + (n << 20)
        self.ring, self.message = RING + n * PAGES * 4096, RAM + 0x5000000 + 0x1000 * n

    def start(self) -> None:
        g, fn = self.guest, self.guest.function(self.slot)
        fn.write(0x10, self.bar)
        fn.write(0x20, self.table)
        fn.write(4, 6, 2)
        g.write(self.bar, 0x5CA7C4)
        for v in range(vfiouser.VECTORS):
            g.write(self.table + 16 * v, self.message + 4 * v)
            g.write(self.table + 16 * v + 8, 0x70 + v)
            g.write(self.table + 16 * v + 12, v == 3)
        fn.write(0x42, 0x8000, 2)
        g.write(self.bar + 0x40, self.ring, 8)

    def run(self) -> None:
        """Write the ring, whenever the VM runs."""
        self.guest.write(self.bar + 0x48, PAGES)

    def written(self) -> int:
        return self.guest.read(self.bar + 0x50, 8)

    def check_ring(self) -> None:
        vfiouser.check_ring(self.guest, self.ring, PAGES, self.written())

    def check_registers(self) -> None:
        assert self.guest.read(self.bar) == 0x5CA7C4
        assert self.guest.read(self.table + 8) == 0x70

    def state_hash(self) -> int:
        """Of the inner state; programs only."""
        return self.guest.read(self.bar + 0x60, 8)

    def check_vector(self) -> None:
        self.guest.write(self.bar + 4, 1)
        until(lambda: self.guest.read(self.message + 4) == 0x71)


class Side:
    """One emulator with its device servers."""

    def __init__(self, make_vm, devices: list[vfiouser.Device | Server], *args: str) -> None:
        self.devices = devices
        options = [f"vfio-user-pci,socket={d.path},id=vu{n or ''},addr={2 + n},migration-events=on"
                   for n, d in enumerate(devices)]
        self.all = GuestVM(make_vm, "godwit", *[w for o in options for w in ("-device", o)], *SHARED,
                           *pattern_args(mode="hot", ws="16M", hot="1M", rate=20000000), *args)
        self.vm, self.guest = self.all.vm, self.all.guest
        self.cards = [Card(self.guest, d, n) for n, d in enumerate(devices)]

    @property
    def device(self) -> vfiouser.Device | Server:
        return self.devices[0]

    def start(self) -> None:
        """The guest runs, every device writes its ring."""
        for card in self.cards:
            card.start()
        self.vm.cmd("cont")
        for card in self.cards:
            card.run()
        until(lambda: all(card.written() > PAGES for card in self.cards))

    def written(self) -> int:
        return self.cards[0].written()

    def check_rings(self) -> None:
        for card in self.cards:
            card.check_ring()


def move(a: Side, b: Side) -> dict:
    """Without limits: how long the guest stands still is not what is tested, and all memory may be left to send."""
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    info = a.vm.wait_migration("completed")
    b.vm.wait_status("paused")
    return info
