# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI functions against stock QEMU 7.2: the same registers, and moves in the middle of their work."""
from __future__ import annotations

import pytest

from qtestclient import RAM, GuestVM, ModernQueue
from vmtest import listen_address

PAIRS = [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")]
BOTH = ["godwit", "stock"]
PLIC_PENDING = 0xC001004  # sources 32..63
IO, MEM32, MEM64 = 0x3000000, 0x40000000, 0x400000000
VERSION_1 = 1 << 32


@pytest.fixture
def boot(make_vm):
    """boot(kind, *args) -> GuestVM"""
    vms: list[GuestVM] = []

    def make(kind: str, *args: str) -> GuestVM:
        vms.append(GuestVM(make_vm, kind, *args))
        return vms[-1]

    yield make
    for vm in vms:
        vm.close()


def all_devices(disk) -> list[str]:
    disk.write_bytes(b"\0" * (1 << 20))
    return ["-netdev", "user,id=n0", "-blockdev",
            f"driver=raw,node-name=d0,file.driver=file,file.filename={disk}",
            "-device", "virtio-blk-pci,drive=d0,addr=1",
            "-device", "virtio-net-pci,netdev=n0,addr=2,romfile=,mac=52:54:00:12:34:56",
            "-device", "virtio-rng-pci,addr=3", "-device", "virtio-balloon-pci,addr=4",
            "-device", "virtio-serial-pci,addr=5",
            "-device", "virtio-rng-pci,addr=8,disable-modern=on",
            "-device", "virtio-rng-pci,addr=9,disable-legacy=on,vectors=130",
            "-device", "pcie-root-port,id=rp0,addr=6,chassis=1",
            "-device", "virtio-rng-pci,bus=rp0,id=hot",
            "-device", "pcie-root-port,id=rp1,addr=7,chassis=2"]


def config_transcript(boot, kind: str, args: list[str]) -> list[str]:
    """Every configuration register of every function: as it is, after all ones, after zero, restored."""
    vm = boot(kind, *args)
    g = vm.guest
    text = []

    def walk(fn, name: str, limit: int, skip: tuple[int, ...]) -> None:
        for reg in range(0, limit, 4):
            before = fn.read(reg)
            text.append(f"{name} {reg:03x} {before:08x}")
            if reg not in skip:
                for value in (0xFFFFFFFF, 0, before):
                    fn.write(reg, value)
                    text.append(f"  {value:08x} {fn.read(reg):08x}")

    for slot in (0, 1, 2, 3, 4, 5, 8, 9, 10):
        walk(g.function(slot), f"00:{slot:02x}", 256, (0x94,))
    port = g.function(6)
    text += [f"00:06 {reg:03x} {port.read(reg):08x}" for reg in range(0, 512, 4)]
    walk(g.function(7), "00:07", 512, (0x18,))
    port.write(0x18, 0x00010100)
    walk(g.function(0, bus=1), "01:00", 512, (0x94, 0x48))
    vm.vm.close()
    return text


def test_same_configuration_space(boot, tmp_path):
    args = all_devices(tmp_path / "disk")
    ours, stocks = (config_transcript(boot, kind, args) for kind in BOTH)
    assert ours == stocks


def register_transcript(boot, kind: str, args: list[str]) -> list:
    vm = boot(kind, *args)
    g = vm.guest
    text = []
    for slot in (1, 2, 3, 4, 5):
        fn, io, mem, msix = g.function(slot), 0x100 * slot, MEM64 + slot * 0x10000, MEM32 + slot * 0x1000
        fn.write(0x10, io)
        fn.write(0x14, msix)
        fn.write(0x20, mem & 0xFFFFFFFF)
        fn.write(0x24, mem >> 32)
        fn.write(4, 7, 2)
        text.append([g.read(IO + io + o) for o in range(0, 0x20, 4)])
        text.append([g.read(IO + io + o, 1) for o in range(0x12, 0x20)])
        for select in (0, 1, 2):
            g.write(mem, select)
            text.append(g.read(mem + 4))
        for queue in (0, 1, 3, 1023, 1024):
            g.write(mem + 0x16, queue, 2)
            text.append([g.read(mem + o, 2) for o in range(0x10, 0x40, 2)])
        text.append([g.read(mem + o) for o in (0x100, 0x2000, 0x2004, 0x2100, 0x3000)])
        text.append([g.read(msix + o) for o in range(0, 0x20, 4)] + [g.read(msix + o) for o in (0x800, 0xFF0)])
        for vector in (1, 9, 0xFFFF):
            g.write(mem + 0x10, vector, 2)
            text.append(g.read(mem + 0x10, 2))
        fn.write(0x88, 4, 1)  # through the configuration access capability
        fn.write(0x8C, 0x12)
        fn.write(0x90, 2)
        text.append(fn.read(0x94))
        fn.write(4, 0, 2)
        text.append(g.read(mem + 4))  # not decoded any more
    vm.vm.close()
    return text


def test_same_registers(boot, tmp_path):
    args = all_devices(tmp_path / "disk")
    ours, stocks = (register_transcript(boot, kind, args) for kind in BOTH)
    assert ours == stocks


def map_rng(g, fn, msix: bool) -> ModernQueue:
    """BAR 1 and BAR 4 of a virtio-rng function where both windows and a port's let them through."""
    fn.write(0x14, MEM32 + 0x100000)
    fn.write(0x20, MEM32 + 0x110000)
    fn.write(0x24, 0)
    fn.write(4, 6, 2)
    if msix:
        cap = fn.capability(0x11)
        table = MEM32 + 0x100000
        for vector in (0, 1):
            g.write(table + 16 * vector, RAM + 0x8000 + 16 * vector)
            g.write(table + 16 * vector + 4, 0)
            g.write(table + 16 * vector + 8, 0x51 + vector)
            g.write(table + 16 * vector + 12, 0)
        fn.write(cap + 2, 0x8000, 2)
    return ModernQueue(fn, MEM32 + 0x110000, 0, RAM + 0x4000)


def open_port(port) -> None:
    """Bus 1 and a memory window behind a root port."""
    port.write(0x18, 0x00010100)
    port.write(0x20, 0x40104010)
    port.write(4, 6, 2)


def finish_request(g, queue: ModernQueue, msix: bool, line: int) -> None:
    """What was offered before comes back, with an interrupt."""
    queue.notify()
    queue.wait_used(queue.avail)
    if msix:
        assert g.read(RAM + 0x8010) == 0x52
        g.write(RAM + 0x8010, 0)
    else:
        assert g.read(PLIC_PENDING) & 1 << line
        assert g.read(queue.bar + 0x1000, 1) == 1  # isr, acknowledged


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
@pytest.mark.parametrize("msix", [False, True], ids=["intx", "msix"])
@pytest.mark.parametrize("behind", [False, True], ids=["root", "port"])
def test_move_with_a_request_in_the_ring(boot, pair, msix, behind):
    """The driver filled its ring on one side and notifies on the other; then again, with new buffers."""
    args = ["-device", "pcie-root-port,id=rp0,addr=2,chassis=1",
            "-device", "virtio-rng-pci,addr=5" if not behind else "virtio-rng-pci,bus=rp0"]
    source = boot(pair[0], *args)
    dest = boot(pair[1], *args, "-incoming", "defer")
    place = {"slot": 0, "bus": 1} if behind else {"slot": 5}
    line = (2 if behind else 5) % 4

    if behind:
        open_port(source.guest.function(2))
    queue = map_rng(source.guest, source.guest.function(**place), msix)
    queue.start(VERSION_1, vector=1 if msix else 0xFFFF)
    queue.offer(RAM + 0x6000, 64)

    # A driver that may run: the device works only in a running VM.
    dest.vm.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    source.vm.cmd("migrate", uri=listen_address(dest.vm))
    source.vm.wait_migration("completed")
    dest.vm.wait_migration("completed")
    dest.vm.cmd("cont")
    moved = ModernQueue(dest.guest.function(**place), queue.bar, 0, queue.mem)
    moved.avail = queue.avail
    for _ in range(3):
        finish_request(dest.guest, moved, msix, line)
        assert dest.guest.get(RAM + 0x6000, 64) != bytes(64)
        dest.guest.put(RAM + 0x6000, bytes(64))
        moved.offer(RAM + 0x6000, 64)


def slot_state(g, slot: int) -> tuple[int, int]:
    fn = g.function(slot)
    return fn.read(0x6C), fn.read(0x64) >> 16


@pytest.mark.parametrize("kind", BOTH)
def test_hot_plug_and_unplug(boot, kind):
    """What a hot-plug driver does, step by step, with the port's interrupt on the way."""
    v = boot(kind, "-device", "pcie-root-port,id=rp0,addr=7,chassis=1")
    g, port = v.guest, v.guest.function(7)
    open_port(port)
    assert slot_state(g, 7) == (0x000007C0, 0x0204)
    port.write(0x6C, 0x07E9, 2)  # tell about button and presence
    port.write(0x6E, port.read(0x6E, 2) & 0x19, 2)  # forget what was
    v.vm.cmd("device_add", driver="virtio-rng-pci", id="hot", bus="rp0")
    assert slot_state(g, 7) == (0x004907E9, 0x2011)
    assert g.read(PLIC_PENDING) & 1 << 3  # slot 7, pin A
    assert not g.function(0, bus=1).present()  # no power yet
    port.write(0x6C, 0x01E9, 2)  # power and indicator on
    assert g.function(0, bus=1).read(0) == 0x10441AF4

    port.write(0x6E, port.read(0x6E, 2) & 0x19, 2)
    v.vm.cmd("device_del", id="hot")
    assert port.read(0x6E, 2) == 0x0041  # the button, device still there
    assert g.function(0, bus=1).present()
    port.write(0x6C, 0x02E9, 2)  # indicator blinks: working on it
    port.write(0x6C, 0x07E9, 2)  # let go
    v.vm.qmp.wait_event("DEVICE_DELETED", lambda d: d.get("device") == "hot")
    assert not g.function(0, bus=1).present()
    assert port.read(0x6E, 2) & 0x48 == 0x08
    v.vm.cmd("device_add", driver="virtio-rng-pci", id="hot", bus="rp0")
    v.vm.cmd("device_del", id="hot")  # never powered: gone at once
    v.vm.qmp.wait_event("DEVICE_DELETED", lambda d: d.get("device") == "hot")


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_move_a_hot_plugged_device(boot, pair):
    """A device that came by device_add is described on the destination's command line."""
    source = boot(pair[0], "-device", "pcie-root-port,id=rp0,addr=7,chassis=1")
    source.vm.cmd("device_add", driver="virtio-rng-pci", id="hot", bus="rp0")
    open_port(source.guest.function(7))
    source.guest.function(7).write(0x6C, 0x01C0, 2)
    source.guest.function(0, bus=1).write(0x14, MEM32 + 0x100000)
    dest = boot(pair[1], "-device", "pcie-root-port,id=rp0,addr=7,chassis=1",
                "-device", "virtio-rng-pci,id=hot,bus=rp0", "-incoming", "defer")
    dest.vm.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    source.vm.cmd("migrate", uri=listen_address(dest.vm))
    source.vm.wait_migration("completed")
    dest.vm.wait_migration("completed")
    assert dest.guest.function(0, bus=1).read(0x14) == MEM32 + 0x100000
    dest.vm.cmd("device_del", id="hot")
    assert dest.guest.function(7).read(0x6E, 2) & 1  # asked
