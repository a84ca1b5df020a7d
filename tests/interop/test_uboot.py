# SPDX-License-Identifier: GPL-2.0-or-later
"""U-Boot's own PCI and virtio drivers on both sides of a move: disk on the root bus, network behind a root port."""
from __future__ import annotations

import pathlib
import random
import re
import time
import zlib

import pytest

from vmtest import VM, hand_over, listen_address

PAIRS = [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")]
UBOOT = pathlib.Path("/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin")
BLOCKS = 0x20


def ask(vm: VM, command: str, answer: str) -> re.Match[str]:
    """Type like a person: the polled UART of U-Boot has a small queue."""
    start = len(vm.serial.text)
    for char in command + "\r":
        vm.serial.send(char)
        time.sleep(0.01)
    return vm.serial.wait(answer, 60, start)


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_drivers_survive_a_move(make_vm, tmp_path, pair):
    assert UBOOT.exists(), "package u-boot-qemu is missing"
    disk = tmp_path / "disk.img"
    data = random.Random(3).randbytes(BLOCKS * 512)
    disk.write_bytes(data + bytes((1 << 20) - len(data)))
    want = f"{zlib.crc32(data):08x}"
    args = ["-kernel", str(UBOOT), "-blockdev", f"driver=raw,node-name=d0,file.driver=file,file.filename={disk}",
            "-device", "virtio-blk-pci,drive=d0", "-device", "pcie-root-port,id=rp0,chassis=1",
            "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,bus=rp0,romfile=,mac=52:54:00:12:34:56"]
    src = make_vm(pair[0], *args, mem="256M")
    src.serial.wait("autoboot", 120)
    ask(src, "", "=> ")
    ask(src, "virtio scan", "=> ")
    ask(src, f"virtio read 0x84000000 0 {BLOCKS:x}", "32 blocks read: OK")
    assert ask(src, "crc32 0x84000000 0x4000", "==> ([0-9a-f]{8})")[1] == want
    ask(src, "dhcp", "bound to address 10.0.2.15")
    src.serial.wait("Not retrying", 60)

    dst = make_vm(pair[1], *args, "-incoming", "tcp:127.0.0.1:0", mem="256M")
    hand_over(src, dst, listen_address(dst))
    assert ask(dst, "crc32 0x84000000 0x4000", "==> ([0-9a-f]{8})")[1] == want  # memory
    ask(dst, f"virtio read 0x85000000 0 {BLOCKS:x}", "32 blocks read: OK")
    assert ask(dst, "crc32 0x85000000 0x4000", "==> ([0-9a-f]{8})")[1] == want  # disk
    ask(dst, f"virtio write 0x84000000 200 {BLOCKS:x}", "32 blocks written: OK")
    ask(dst, "dhcp", "bound to address 10.0.2.15")  # network
    dst.close()
    assert disk.read_bytes()[0x200 * 512:][:len(data)] == data
