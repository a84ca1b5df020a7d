# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest crosses between Godwit and stock QEMU 7.2 and stays alive: memory, timers, disk, network."""
from __future__ import annotations

import pathlib
import re
import subprocess
import time

import pytest

from vmtest import ROOT, VM, QMPError, hand_over, listen_address

PAIRS = [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")]
REPORT = r"godwit-linux: ok pass=(\d+) gap_ms=(\d+) disk=(\d+) net=(\d+) harts=(\d+) up_ms=(\d+)"


@pytest.fixture(scope="session")
def linux() -> list[str]:
    """Arguments that boot the Linux test guest."""
    build = subprocess.run([ROOT / "tests" / "guest" / "linux" / "build"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
    if build.returncode:
        pytest.fail(f"the Linux guest cannot be built: {build.stderr.strip()}", pytrace=False)
    out = build.stdout.strip()
    return ["-kernel", f"{out}/Image", "-initrd", f"{out}/initrd"]


def report(vm: VM, timeout: float = 60) -> dict[str, int]:
    start = len(vm.serial.text)
    vm.serial.send("r")
    deadline = time.monotonic() + timeout
    while True:
        if "godwit-linux: FAIL" in vm.serial.text:
            raise AssertionError(vm.serial.text[-400:])
        match = re.search(REPORT, vm.serial.text[start:])
        if match:
            return dict(zip(("pass", "gap_ms", "disk", "net", "harts", "up_ms"),
                            map(int, match.groups())))
        if time.monotonic() > deadline:
            raise TimeoutError(f"the guest does not answer: {vm.serial.text[-400:]!r}")
        time.sleep(0.02)


def lives_on(vm: VM, *counters: str, timeout: float = 90) -> dict[str, int]:
    """The guest's @counters all grow from now on."""
    first = report(vm, timeout)
    deadline = time.monotonic() + timeout
    while True:
        now = report(vm, timeout)
        if all(now[c] > first[c] for c in counters):
            return now
        if time.monotonic() > deadline:
            raise TimeoutError(f"guest stands still: {first} -> {now}")
        time.sleep(0.1)


def disk_args(path: pathlib.Path, locking: bool = True) -> list[str]:
    return ["-blockdev", f"driver=raw,node-name=d0,file.driver=file,file.filename={path}",
            "-device", "virtio-blk-device,drive=d0"]


NET = ["-netdev", "user,id=n0,restrict=off", "-device", "virtio-net-device,netdev=n0"]


def pci_args(path: pathlib.Path) -> list[str]:
    """Disk on the root bus (transitional), network card behind a root port (modern, PCI Express)."""
    return ["-blockdev", f"driver=raw,node-name=d0,file.driver=file,file.filename={path}",
            "-device", "virtio-blk-pci,drive=d0", "-device", "pcie-root-port,id=rp0,chassis=1",
            "-netdev", "user,id=n0,restrict=off", "-device", "virtio-net-pci,netdev=n0,bus=rp0,romfile="]


@pytest.mark.parametrize("smp", [1, 2])
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_busy(make_vm, linux, pair, smp):
    args = [*linux, "-append", "console=ttyS0 quiet gw.mem=8"]
    src = make_vm(pair[0], *args, smp=smp)
    src.serial.wait("godwit-linux: ready", 120)
    lives_on(src, "pass")
    dst = make_vm(pair[1], *args, "-incoming", "tcp:127.0.0.1:0", smp=smp)
    hand_over(src, dst, listen_address(dst))
    lives_on(dst, "pass", "up_ms")


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_idle_without_devices(make_vm, linux, pair):
    """Only a timer can wake this guest: stock 7.2 does not re-arm it, the sender must help."""
    args = [*linux, "-append", "console=ttyS0 quiet gw.idle"]
    src = make_vm(pair[0], *args)
    src.serial.wait("godwit-linux: ready", 120)
    lives_on(src, "pass")
    dst = make_vm(pair[1], *args, "-incoming", "tcp:127.0.0.1:0")
    hand_over(src, dst, listen_address(dst))
    lives_on(dst, "pass", "up_ms")


def balloon_args(kind: str) -> list[str]:
    thread = ["-object", "iothread,id=io0"] if kind == "stock" else []
    return [*thread, "-device", "virtio-balloon-device,free-page-hint=on,free-page-reporting=on" +
            (",iothread=io0" if thread else "")]


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_free_pages(make_vm, linux, pair):
    """Linux says what it does not use, and goes on reporting it: it is not sent, and nothing else is missing."""
    args = [*linux, "-append", "console=ttyS0 quiet gw.mem=8"]
    src = make_vm(pair[0], *args, *balloon_args(pair[0]), mem="256M")
    src.serial.wait("godwit-linux: ready", 120)
    lives_on(src, "pass")
    dst = make_vm(pair[1], *args, *balloon_args(pair[1]), "-incoming", "tcp:127.0.0.1:0", mem="256M")
    src.cmd("migrate-set-parameters", max_bandwidth=1 << 20)  # so that hints come first
    src.cmd("migrate", uri=listen_address(dst))
    deadline = time.monotonic() + 120
    while pair[0] == "godwit" and src.cmd("query-migrate").get("x-savings", {}).get("free-bytes", 0) < 4 << 20:
        assert time.monotonic() < deadline, src.cmd("query-migrate")
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    src.wait_migration("completed")
    dst.wait_status("running")
    lives_on(dst, "pass")
    back = make_vm("godwit", *args, *balloon_args("godwit"), "-incoming", "tcp:127.0.0.1:0", mem="256M")
    hand_over(dst, back, listen_address(back))
    lives_on(back, "pass")


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_disk_and_network(make_vm, linux, tmp_path, pair):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"\0" * (8 << 20))
    args = [*linux, "-append", "console=ttyS0 quiet ip=dhcp gw.mem=4", *disk_args(disk), *NET]
    src = make_vm(pair[0], *args)
    src.serial.wait("godwit-linux: ready", 120)
    lives_on(src, "pass", "disk", "net")
    dst = make_vm(pair[1], *args, "-incoming", "tcp:127.0.0.1:0")
    hand_over(src, dst, listen_address(dst))
    lives_on(dst, "pass", "disk", "net")


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_pci_disk_and_network(make_vm, linux, tmp_path, pair):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"\0" * (8 << 20))
    args = [*linux, "-append", "console=ttyS0 quiet ip=dhcp gw.mem=4", *pci_args(disk)]
    src = make_vm(pair[0], *args)
    src.serial.wait("godwit-linux: ready", 120)
    lives_on(src, "pass", "disk", "net")
    dst = make_vm(pair[1], *args, "-incoming", "tcp:127.0.0.1:0")
    hand_over(src, dst, listen_address(dst))
    lives_on(dst, "pass", "disk", "net")


def test_linux_hot_plugs(make_vm, linux):
    """The kernel's own hot-plug driver takes a device in and lets go of it. It polls: without MSI the slot and what is in
    it share a line, and the thread of that line would wait for itself when it removes the device; also on stock."""
    vm = make_vm("godwit", *linux, "-append", "console=ttyS0 gw.mem=2 pciehp.pciehp_poll_mode=1",
                 "-device", "pcie-root-port,id=rp0,chassis=1")
    vm.serial.wait("godwit-linux: ready", 120)
    vm.cmd("device_add", driver="virtio-rng-pci", id="hot", bus="rp0")
    vm.serial.wait(r"pci 0000:01:00\.0: \[1af4:1044\]", 60)
    # The light of the slot blinks until the driver is done, and no device leaves a slot that blinks.
    deadline = time.monotonic() + 120
    while True:
        try:
            vm.cmd("device_del", id="hot")
            break
        except QMPError as e:
            assert "blinking" in str(e) and time.monotonic() < deadline
            time.sleep(0.1)
    vm.qmp.wait_event("DEVICE_DELETED", lambda d: d.get("device") == "hot")
    lives_on(vm, "pass")


def test_four_harts(make_vm, linux):
    vm = make_vm("godwit", *linux, "-append", "console=ttyS0 quiet gw.mem=2", smp=4)
    vm.serial.wait("godwit-linux: ready harts=4", 120)
    assert lives_on(vm, "pass")["harts"] == 4
