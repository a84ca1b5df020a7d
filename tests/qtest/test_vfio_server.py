# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices with much state, of tests/vfio-user-device: alone and several, and together with those of vfiouser.py."""
from __future__ import annotations

import os
import pathlib
import struct
import subprocess

import pytest

import vfiouser
from vfioguest import BAR, PAGES, Server, Side, move, until
from vmtest import BUILD

LONG = bool(os.environ.get("GODWIT_TEST_LONG"))


@pytest.fixture
def pair(make_vm, tmp_path):
    """pair(options, ...) -> source and destination; a device on each for every tuple of options of its server."""
    made: list[Side | Server] = []

    def make(*options: tuple[str, ...], args: tuple[str, ...] = ()):
        source = [Server(tmp_path / f"a{n}", f"--seed={n + 1}", *o) for n, o in enumerate(options)]
        made.extend(source)
        dest = [Server(tmp_path / f"b{n}", "--seed=0", *o) for n, o in enumerate(options)]
        made.extend(dest)
        a = Side(make_vm, source, *args)
        made.append(a)
        b = Side(make_vm, dest, "-incoming", "tcp:127.0.0.1:0", *args)
        made.append(b)
        return a, b

    yield make
    for thing in reversed(made):
        (thing.all if isinstance(thing, Side) else thing).close()


def check_moved(a: Side, b: Side) -> None:
    """The state of each device, bit by bit; its memory; and it works on here."""
    b.check_rings()
    for old, new in zip(a.cards, b.cards):
        assert new.state_hash() == old.state_hash()
        new.check_registers()
    b.vm.cmd("cont")
    b.vm.wait_status("running")
    arrived = [card.written() for card in b.cards]
    until(lambda: all(card.written() > n + PAGES for card, n in zip(b.cards, arrived)))
    for card in b.cards:
        card.check_vector()
    b.vm.cmd("stop")
    b.check_rings()


@pytest.mark.parametrize("options", [(), ("--no-precopy",), ("--no-log", "--no-sizes"), ("--dirty-rate=16M",)],
                         ids=lambda o: " ".join(o) or "plain")
def test_one_device(pair, options):
    a, b = pair(("--state=8M", *options))
    a.start()
    info = move(a, b)
    assert info["vfio"]["transferred"] > 8 << 20
    check_moved(a, b)


def test_three_devices(pair):
    """Of different sizes."""
    a, b = pair(("--state=64K",), ("--state=16M", "--dirty-rate=8M"), ("--state=1M", "--no-precopy"))
    a.start()
    move(a, b)
    check_moved(a, b)


@pytest.mark.skipif(not LONG, reason="GODWIT_TEST_LONG=1")
def test_gigabyte(pair):
    a, b = pair(("--state=1G",))
    a.start()
    move(a, b)
    check_moved(a, b)


@pytest.mark.parametrize("program_is", ["source", "destination"])
def test_to_the_other_kind(make_vm, tmp_path, program_is):
    """Both speak of their state alike, so that one's loader judges what the other has saved."""
    devices = [Server(tmp_path / "a"), vfiouser.Device(str(tmp_path / "b"), flags=7)]
    if program_is == "destination":
        devices.reverse()
    a, b = Side(make_vm, devices[:1]), Side(make_vm, devices[1:], "-incoming", "tcp:127.0.0.1:0")
    a.start()
    move(a, b)
    b.check_rings()
    b.cards[0].check_registers()
    for thing in (a.all, b.all, *devices):
        thing.close()


def test_copy_and_pin(pair):
    """What the ring does not use: its DMA engine within mapped memory, an error beyond, and its interrupt."""
    a, _ = pair(())
    a.start()
    g, fn = a.guest, a.guest.function(2)
    g.put(0x84000000, bytes(range(256)) * 20)
    for source, result in ((0x84000000, 0), (0xF0000000, 14)):
        for at, value in ((8, source), (0x10, 0x84100003)):
            g.write(BAR + at, value, 8)
        g.write(BAR + 0x18, 5000)
        g.write(BAR + 0x1C, 1)
        assert g.read(BAR + 0x20) == result
    assert g.get(0x84100003, 5000) == (bytes(range(256)) * 20)[:5000]
    assert g.read(BAR + 0x24) == 2
    fn.write(0x42, 0, 2)  # no MSI-X
    g.write(BAR + 0x1C, 2)
    until(lambda: fn.read(6, 2) & 8)
    g.write(BAR + 0x1C, 3)
    until(lambda: not fn.read(6, 2) & 8)


def test_it_survives_its_clients(tmp_path):
    """A client that breaks off in the middle of a message, or talks nonsense, is followed by the next one."""
    server = Server(tmp_path / "s")
    hello = struct.pack("=HH", 0, 0)
    for message in (b"", b"\1\0", struct.pack("=HHIII", 1, 1, 15, 0, 0), struct.pack("=HHIII", 1, 1, 1 << 30, 0, 0),
                    struct.pack("=HHIII", 1, 18, 16 + 8 + 100, 0, 0) + b"\0" * 50,
                    struct.pack("=HHIII", 1, 16, 16 + 2, 0, 0) + b"\0" * 2,
                    struct.pack("=HHIII", 1, 9, 16 + 16, 0, 0) + struct.pack("=QII", 0, 0, 1 << 20)):
        client = vfiouser.socket.socket(vfiouser.socket.AF_UNIX)
        client.connect(server.path)
        client.sendall(message)
        client.close()
    client = vfiouser.socket.socket(vfiouser.socket.AF_UNIX)
    client.connect(server.path)
    client.sendall(struct.pack("=HHIII", 7, 1, 20, 0, 0) + hello)
    assert client.recv(16)[:4] == struct.pack("=HH", 7, 1)
    client.close()
    server.close()


@pytest.mark.parametrize("args", [[], ["--socket=x", "--state=1T"], ["--socket=x", "y"], ["--socket=/nowhere/x"]],
                         ids=" ".join)
def test_wrong_options(args):
    program = pathlib.Path(BUILD) / "tests/vfio-user-device/vfio-user-device"
    result = subprocess.run([program, *args], capture_output=True, timeout=60)
    assert result.returncode in (1, 2) and result.stderr
