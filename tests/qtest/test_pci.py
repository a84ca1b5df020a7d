# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI on the command line and in QMP: places, hot plug, and what is refused with which words."""
from __future__ import annotations

import subprocess

import pytest

from qtestclient import GuestVM
from vmtest import BINARIES, QMPError

PORT = ["-device", "pcie-root-port,id=rp0,addr=7,chassis=1"]

REFUSED = {
    "slot taken": (["-device", "virtio-rng-pci,addr=1,id=a", "-device", "virtio-rng-pci,addr=1"],
                   "PCI: slot 1 function 0 not available for virtio-rng-pci, in use by virtio-rng-pci,id=a"),
    "host bridge's slot": (["-device", "virtio-rng-pci,addr=0"], "in use by gpex-root"),
    "address is no number": (["-device", "virtio-rng-pci,addr=zz"],
                             "Property 'virtio-rng-pci.addr' doesn't take value 'zz'"),
    "slot too high": (["-device", "virtio-rng-pci,addr=20"], "doesn't take value '20'"),
    "function too high": (["-device", "virtio-rng-pci,addr=1.8"], "doesn't take value '1.8'"),
    "not slot 0 of a port": ([*PORT, "-device", "virtio-rng-pci,bus=rp0,addr=1"],
                             "parent device only allows plugging into slot 0."),
    "port is full": ([*PORT, "-device", "virtio-rng-pci,bus=rp0", "-device", "virtio-rng-pci,bus=rp0"],
                     "on bus 'rp0', all in use"),
    "function of a single-function device": (
        ["-device", "virtio-rng-pci,addr=1", "-device", "virtio-rng-pci,addr=1.1"], "multifunction=on"),
    "same chassis and slot": (["-device", "pcie-root-port,id=a", "-device", "pcie-root-port,id=b"],
                              "chassis 0 has a slot 0 already"),
    "neither legacy nor modern": (["-device", "virtio-rng-pci,disable-legacy=on,disable-modern=on"],
                                  "neither modern nor legacy mode is enabled"),
    "odd disable-legacy": (["-device", "virtio-rng-pci,disable-legacy=maybe"], "on, off or auto"),
    "too many vectors": (["-device", "virtio-rng-pci,vectors=2049"], "at most 2048"),
    "no option ROMs": (["-device", "virtio-rng-pci,romfile=x.rom"], "option ROMs are not available"),
    "the part's own check": (["-device", "virtio-blk-pci"], "drive property not set"),
    "unknown property": (["-device", "virtio-rng-pci,colour=red"], "Property 'virtio-rng-pci.colour' not found"),
    "mmio device on PCI": (["-device", "virtio-rng-device,bus=pcie.0"], "can't go on PCIE bus"),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refused(case):
    args, words = REFUSED[case]
    run = subprocess.run([BINARIES["godwit"], "-machine", "virt", "-S", "-nodefaults", "-display", "none", *args],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert words in run.stderr


@pytest.fixture
def board(make_vm):
    vms: list[GuestVM] = []

    def make(*args: str) -> GuestVM:
        vms.append(GuestVM(make_vm, "godwit", *args))
        return vms[-1]

    yield make
    for vm in vms:
        vm.close()


def test_automatic_places(board):
    """Without bus= and addr= a device takes the lowest free slot of pcie.0, not one behind a port."""
    v = board("-device", "virtio-rng-pci,addr=1", *PORT, "-device", "virtio-balloon-pci", "-device",
              "virtio-rng-pci,addr=0x3.0x0,multifunction=on", "-device", "virtio-rng-pci,addr=3.1")
    ids = {slot: v.guest.function(slot).read(0) for slot in range(9) if v.guest.function(slot).present()}
    assert ids == {0: 0x00081B36, 1: 0x10051AF4, 2: 0x10021AF4, 3: 0x10051AF4, 7: 0x000C1B36}
    assert v.guest.function(3, fn=1).present()
    assert v.guest.function(3).read(0x0E, 1) == 0x80


def test_properties_reach_the_part(board):
    v = board("-device", "virtio-serial-pci,id=vs,max_ports=3,vectors=5,addr=4", "-global",
              "virtio-serial-device.max_ports=7", "-device", "virtio-serial-pci,id=other,addr=5")
    assert v.vm.cmd("qom-get", path="/machine/peripheral/vs", property="max_ports") == 3
    assert v.vm.cmd("qom-get", path="/machine/peripheral/other", property="max_ports") == 7
    assert v.vm.cmd("qom-get", path="/machine/peripheral/vs", property="addr") == "04.0"
    assert v.guest.function(4).read(0x98) >> 16 == 4  # five vectors
    names = {p["name"] for p in v.vm.cmd("device-list-properties", typename="virtio-blk-pci")}
    assert {"drive", "num-queues", "addr", "vectors", "disable-legacy", "event-idx"} <= {
        n.replace("_", "-") for n in names}


def test_hot_plug_errors(board):
    v = board(*PORT, "-device", "virtio-rng-pci,id=fixed")
    for command, args, words in [
            ("device_add", {"driver": "virtio-rng-pci", "id": "x"}, "Bus 'pcie.0' does not support hotplugging"),
            ("device_add", {"driver": "virtio-rng-pci", "bus": "nowhere"}, "Bus 'nowhere' not found"),
            ("device_add", {"driver": "pcie-root-port", "bus": "rp0"}, "does not support hotplugging"),
            ("device_add", {"driver": "virtio-blk-pci", "bus": "rp0", "id": "x"}, "drive property not set"),
            ("device_del", {"id": "fixed"}, "Bus 'pcie.0' does not support hotplugging"),
            ("device_del", {"id": "nobody"}, "Device 'nobody' not found")]:
        with pytest.raises(QMPError) as e:
            v.vm.cmd(command, **args)
        assert words in e.value.desc
    # What failed left the slot free; a guest that does not listen keeps its device.
    v.vm.cmd("device_add", driver="virtio-rng-pci", bus="rp0", id="x")
    v.guest.function(7).write(0x6C, 0x01C0, 2)
    v.vm.cmd("device_del", id="x")
    with pytest.raises(QMPError, match="already in the process of unplug"):
        v.vm.cmd("device_del", id="x")
    assert v.vm.cmd("qom-get", path="/machine/peripheral/x", property="type") == "virtio-rng-pci"
    # A reset makes the slot forget the request.
    v.vm.cmd("system_reset")
    v.vm.qmp.wait_event("RESET")
    v.vm.cmd("device_del", id="x")


def test_query_pci(board, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    v = board(*PORT, "-device", "virtio-rng-pci,bus=rp0,id=behind",
              "-drive", f"if=virtio,format=raw,file={tmp_path}/disk")
    port = v.guest.function(7)
    root = v.vm.cmd("query-pci")
    assert [d["slot"] for d in root[0]["devices"]] == [0, 1, 7]
    disk, bridge = root[0]["devices"][1:]
    assert disk["id"] == {"vendor": 0x1AF4, "device": 0x1001, "subsystem-vendor": 0x1AF4, "subsystem": 2}
    assert [(r["bar"], r["type"], r["size"], r["address"]) for r in disk["regions"]] == [
        (0, "io", 128, -1), (1, "memory", 4096, -1), (4, "memory", 16384, -1)]
    assert "devices" not in bridge["pci_bridge"]  # the bus has no number yet
    port.write(0x18, 0x00010100)
    bridge = v.vm.cmd("query-pci")[0]["devices"][2]
    assert [(d["bus"], d["qdev_id"]) for d in bridge["pci_bridge"]["devices"]] == [(1, "behind")]
    assert "Bus  1, device   0, function 0:" in v.vm.hmp("info pci")


def test_reset_of_one_function(board):
    """A function level reset closes BARs and forgets the driver, and leaves the neighbours alone."""
    v = board(*PORT, "-device", "virtio-rng-pci,bus=rp0")
    port, g = v.guest.function(7), v.guest
    port.write(0x18, 0x00010100)
    port.write(0x20, 0x40104010)
    port.write(4, 6, 2)
    fn = g.function(0, bus=1)
    fn.write(0x20, 0x40110000)
    fn.write(4, 6, 2)
    g.write(0x40110014, 3, 1)
    assert g.read(0x40110014, 1) == 3
    port.write(0x20, 0x40304030)  # window elsewhere
    assert g.read(0x40110014, 1) == 0xFF
    port.write(0x20, 0x40104010)
    assert g.read(0x40110014, 1) == 3
    fn.write(0x48, 0x8000, 2)
    assert fn.read(4, 2) == 0 and fn.read(0x20) == 0xC and fn.read(0x48, 2) == 0
    assert g.read(0x40110014, 1) == 0xFF
    fn.write(0x20, 0x40110000)
    fn.write(4, 6, 2)
    assert g.read(0x40110014, 1) == 0
