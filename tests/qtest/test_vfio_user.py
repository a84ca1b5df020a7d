# SPDX-License-Identifier: GPL-2.0-or-later
"""A PCI device in another process: registers, DMA both ways, interrupts, and servers that misbehave."""
from __future__ import annotations

import errno
import os
import struct
import subprocess
import threading
import time

import pytest

import vfiouser
from qtestclient import RAM, GuestVM
from vmtest import BINARIES, PATIENCE, QMPError

BAR = 0x40100000
TABLE = 0x40110000
PLIC_PENDING = 0xC001004
SHARED = ["-object", "memory-backend-memfd,id=m0,size=128M,share=on", "-machine", "memory-backend=m0"]


@pytest.fixture
def server(tmp_path):
    """server(hook) -> Device at tmp_path/dev"""
    devices: list[vfiouser.Device] = []

    def make(hook=None, name: str = "dev") -> vfiouser.Device:
        devices.append(vfiouser.Device(str(tmp_path / name), hook))
        return devices[-1]

    yield make
    for device in devices:
        device.close()


@pytest.fixture
def boot(make_vm):
    vms: list[GuestVM] = []

    def make(device: vfiouser.Device, *args: str) -> GuestVM:
        vms.append(GuestVM(make_vm, "godwit", "-device", f"vfio-user-pci,socket={device.path},id=vu,addr=2", *args))
        return vms[-1]

    yield make
    for vm in vms:
        vm.close()


def until(condition, timeout: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def enable(g) -> None:
    fn = g.function(2)
    fn.write(0x10, BAR)
    fn.write(0x20, TABLE)
    fn.write(4, 6, 2)


def test_identity_and_registers(server, boot):
    device = server()
    g = boot(device).guest
    fn = g.function(2)
    assert fn.read(0) == 0x4D55CAFE
    assert fn.read(0x54) == struct.unpack("<I", b"VFIO")[0]
    fn.write(0x10, 0xFFFFFFFF)
    assert fn.read(0x10) == 0xFFFFF000
    assert g.read(BAR) == 0xFFFFFFFF  # not decoded yet
    enable(g)
    assert device.config[4] == 6  # the device knows whether it may do DMA
    for size in (1, 2, 4, 8):
        g.write(BAR, 0x1122334455667788 & (1 << 8 * size) - 1, size)
        assert g.read(BAR, size) == 0x1122334455667788 & (1 << 8 * size) - 1
    device.config[0x58] = 0x77  # a byte of the device's own, read afresh
    assert fn.read(0x58, 1) == 0x77


@pytest.mark.parametrize("memory", [[], SHARED], ids=["asked-for", "mapped"])
def test_dma(server, boot, memory):
    device = server()
    g = boot(device, *memory).guest
    enable(g)
    g.put(RAM + 0x5000, bytes(range(256)) * 8)
    for source, dest, result in [(RAM + 0x5000, RAM + 0x9000, 0), (RAM + 0x5000, 0x10000000, errno.EFAULT),
                                 (0xFFFFFFFFFFFFF000, RAM, errno.EFAULT), (RAM + (128 << 20) - 8, RAM, errno.EFAULT)]:
        for reg, value in ((8, source), (0x10, dest)):
            g.write(BAR + reg, value, 8)
        g.write(BAR + 0x18, 2048)
        g.write(BAR + 0x1C, 1)
        assert g.read(BAR + 0x20) == result
        if source == RAM + 0x5000 and not result:
            assert device.messages == (0 if memory else 2)
    assert g.get(RAM + 0x9000, 2048) == bytes(range(256)) * 8
    assert RAM in device.maps


def test_vectors(server, boot):
    device = server()
    g = boot(device).guest
    enable(g)
    for v in range(vfiouser.VECTORS):
        g.write(TABLE + 16 * v, RAM + 0x8000 + 4 * v)
        g.write(TABLE + 16 * v + 8, 0x70 + v)
        g.write(TABLE + 16 * v + 12, v == 3)
    assert g.read(TABLE + 8) == 0x70  # kept here, not in the device
    g.function(2).write(0x42, 0x8000, 2)
    until(lambda: (vfiouser.MSIX, 3) in device.eventfds)  # four, two in a message
    for v in (0, 1, 2, 3):
        g.write(BAR + 4, v)
    until(lambda: [g.read(RAM + 0x8000 + 4 * v) for v in range(3)] == [0x70, 0x71, 0x72])
    until(lambda: g.read(TABLE + 0x800) == 8)  # masked: pending
    assert g.read(RAM + 0x800C) == 0
    g.write(TABLE + 16 * 3 + 12, 0)
    assert g.read(RAM + 0x800C) == 0x73 and g.read(TABLE + 0x800) == 0
    g.function(2).write(0x42, 0, 2)
    until(lambda: not [k for k in device.eventfds if k[0] == vfiouser.MSIX])


def test_pin(server, boot):
    device = server()
    g = boot(device).guest
    enable(g)
    g.write(BAR + 0x1C, 2)
    until(lambda: g.read(PLIC_PENDING) & 1 << 2)  # slot 2, pin A
    assert g.function(2).read(6, 2) & 8
    g.read(BAR)  # the level is still up: signalled again
    until(lambda: g.function(2).read(6, 2) & 8)
    g.write(BAR + 0x1C, 3)
    until(lambda: not g.function(2).read(6, 2) & 8)


def test_reset_and_a_second_client(server, boot):
    device = server()
    v = boot(device)
    enable(v.guest)
    v.guest.write(BAR, 5)
    before = device.resets
    v.vm.cmd("system_reset")
    v.vm.qmp.wait_event("RESET")
    assert device.resets == before + 1 and device.config[4] == 0
    enable(v.guest)
    assert v.guest.read(BAR) == 0
    v.vm.close()
    until(lambda: device.conn is None)
    again = boot(device)
    enable(again.guest)
    again.guest.write(BAR, 9)
    assert again.guest.read(BAR) == 9


def test_hot_plug(server, boot, make_vm):
    device = server()
    v = GuestVM(make_vm, "godwit", "-device", "pcie-root-port,id=rp0,addr=7,chassis=1")
    v.vm.cmd("device_add", driver="vfio-user-pci", bus="rp0", id="vu", socket={"type": "unix", "path": device.path})
    with pytest.raises(QMPError, match="vfio-user-pci vu: it offers no migration"):
        v.vm.cmd("migrate", uri="exec:cat >/dev/null")
    v.vm.cmd("device_del", id="vu")
    v.vm.qmp.wait_event("DEVICE_DELETED", lambda d: d.get("device") == "vu")
    until(lambda: device.conn is None)
    v.vm.cmd("migrate", uri="exec:cat >/dev/null")  # nothing in the way any more
    v.vm.wait_migration("completed")
    v.close()


def test_a_server_that_dies(server, boot):
    """The guest reads ones and goes on."""
    device = server()
    v = boot(device)
    enable(v.guest)
    v.guest.write(BAR, 1)
    device.close()
    until(lambda: v.guest.read(BAR) == 0xFFFFFFFF)
    v.guest.write(BAR, 2)
    v.guest.function(2).write(4, 0, 2)
    v.vm.cmd("system_reset")
    v.vm.qmp.wait_event("RESET")
    assert v.vm.alive()
    assert "reads as ones from now on" in v.vm.log()


def wrong(command: int, answer: bytes | int):
    return lambda c, body: answer if c == command else None


LIES = {
    "no version": (wrong(vfiouser.VERSION, errno.EINVAL), "refuses command 1"),
    "future version": (wrong(vfiouser.VERSION, struct.pack("=HH", 1, 0)), "speaks version 1.0"),
    "capabilities without end": (wrong(vfiouser.VERSION, b"\0\0\0\0{}"), "do not end with NUL"),
    "capabilities are no object": (wrong(vfiouser.VERSION, b"\0\0\0\0[]\0"), "no JSON object"),
    "tiny messages": (wrong(vfiouser.VERSION, b'\0\0\0\0{"capabilities":{"max_data_xfer_size":8}}\0'),
                      "4096 and 1 are the least"),
    "short info": (wrong(vfiouser.GET_INFO, b"\0" * 8), "answer of 8 bytes to command 4"),
    "long info": (wrong(vfiouser.GET_INFO, b"\0" * 64), "answer of 64 bytes to command 4"),
    "no PCI": (wrong(vfiouser.GET_INFO, struct.pack("=IIII", 16, 1, 9, 5)), "is no PCI device"),
    "too many regions": (wrong(vfiouser.GET_INFO, struct.pack("=IIII", 16, 3, 1 << 31, 5)), "regions and"),
    "odd BAR": (wrong(vfiouser.GET_REGION, struct.pack("=IIIIQQ", 32, 3, 0, 0, 0x3000, 0)), "a power of two"),
    "huge BAR": (wrong(vfiouser.GET_REGION, struct.pack("=IIIIQQ", 32, 3, 0, 0, 1 << 63, 0)), "a power of two"),
    "vectors do not match": (wrong(vfiouser.GET_IRQ, struct.pack("=IIII", 16, 1, 2, 9)), "does not match 9"),
    "no DMA": (wrong(vfiouser.DMA_MAP, errno.ENOMEM), "cannot map guest memory"),
    "half a configuration space": (wrong(vfiouser.REGION_READ, b"\0" * 40), "24 of 256 bytes"),
}


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_refused_servers(server, lie):
    hook, words = LIES[lie]
    device = server(hook)
    run = subprocess.run([BINARIES["godwit"], "-machine", "virt", "-S", "-nodefaults", "-display", "none",
                          "-device", f"vfio-user-pci,socket={device.path}"],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert words in run.stderr


@pytest.mark.parametrize("case", ["size", "type", "id", "silence"])
def test_broken_protocol(server, boot, case):
    """One wrong message ends the connection, not the emulator."""
    armed = []
    noticed = threading.Event()

    def hook(command, body):
        if not armed or command != vfiouser.REGION_READ:
            return None
        if case == "silence":
            noticed.wait(PATIENCE)
            return None
        bad = {"size": (1, 9, 1 << 31, 1, 0), "type": (1, 9, 16, 7, 0), "id": (4242, 9, 16, 1, 0)}[case]
        device.conn.sendall(vfiouser.HEADER.pack(*bad))
        return None

    device = server(hook)
    # Long enough for a server that has little of the CPU, but is not silent.
    v = boot(device, "-global", "vfio-user-pci.x-msg-timeout=4000" if case == "silence" else
             "vfio-user-pci.x-msg-timeout=30000")
    enable(v.guest)
    armed.append(True)
    assert v.guest.read(BAR) == 0xFFFFFFFF
    until(lambda: "reads as ones from now on" in v.vm.log())
    noticed.set()
    assert v.vm.status() == "prelaunch"


def test_no_server():
    for socket_arg, words in (("", "socket= is missing"), ("/nonexistent/x", "Failed to connect"),
                              ('{"type":"tcp"}', "takes type unix")):
        run = subprocess.run([BINARIES["godwit"], "-machine", "virt", "-S", "-nodefaults", "-display", "none", "-device",
                              '{"driver":"vfio-user-pci","socket":' + (socket_arg if socket_arg.startswith("{") else
                                                                      f'"{socket_arg}"') + "}"],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert run.returncode == 1
        assert words in run.stderr, run.stderr


def test_descriptors_do_not_leak(server, boot):
    device = server()
    v = boot(device)
    enable(v.guest)
    table = f"/proc/{v.vm.process.pid}/fd"

    def toggle() -> int:
        v.guest.function(2).write(0x42, 0x8000, 2)
        v.guest.function(2).write(0x42, 0, 2)
        return len(os.listdir(table))

    first = toggle()
    assert {toggle() for _ in range(20)} == {first}
