# SPDX-License-Identifier: GPL-2.0-or-later
"""mapped-ram and file:, the ways they go wrong, and what is left then."""
from __future__ import annotations

import os
import resource
import shutil
import signal
import struct
import time

import pytest

import inspecting
from vmtest import QMPError, VM, guest_full_pass, hand_over, pattern_args

GUEST = {"mode": "pattern", "ws": "8M", "rate": "20M", "report": 0}
RAM = "riscv_virt_board.ram"


def saved(make_vm, path, **kwargs) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), mem="32M", **kwargs)
    vm.serial.wait("ready")
    vm.caps(mapped_ram=True)
    hand_over(vm, None, f"file:{path}")
    return vm


def load(make_vm, path, mapped: bool = True, **kwargs) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer",
                 **{"mem": "32M", **kwargs})
    vm.caps(mapped_ram=mapped)
    vm.cmd("migrate-incoming", uri=f"file:{path}", exit_on_error=False)
    return vm


def refusal(make_vm, path, **kwargs) -> str:
    """The one error of a load that must fail; the process lives."""
    vm = load(make_vm, path, **kwargs)
    text = vm.wait_migration("failed")["error-desc"]
    assert vm.log().count("load of migration failed") == 1
    assert vm.status() == "inmigrate"
    vm.close()
    return text


def test_needs_a_file(make_vm):
    vm = make_vm("godwit", "-S", "-bios", "none", serial=False)
    vm.caps(mapped_ram=True)
    for uri in ("tcp:127.0.0.1:1", "unix:/nonexistent", "exec:cat", "fd:x"):
        with pytest.raises(QMPError, match="^Migration requires seekable transport"):
            vm.cmd("migrate", uri=uri)
    assert vm.status() == "prelaunch" and "status" not in vm.cmd("query-migrate")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("mapped") / "good"
    vm = VM("godwit", *pattern_args(**GUEST), mem="32M")
    try:
        vm.serial.wait("ready")
        vm.caps(mapped_ram=True)
        hand_over(vm, None, f"file:{path}")
    finally:
        vm.close()
    return path


def test_damaged_files(make_vm, good, tmp_path):
    found = inspecting.tree(good)
    block = inspecting.block(found)
    header = block["bitmap-offset"] - 28
    bad = tmp_path / "bad"

    def edited(offset: int, data: bytes) -> str:
        shutil.copyfile(good, bad)
        with bad.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        damage = inspecting.run(bad, "--check")
        assert damage.returncode == 1, damage.stdout
        return refusal(make_vm, bad)

    assert "version 9" in edited(header, struct.pack(">I", 9))
    assert "pages of 8192" in edited(header + 4, struct.pack(">Q", 8192))
    assert "instead of right behind it" in edited(header + 12, struct.pack(">Q", 1 << 40))
    assert "not aligned" in edited(header + 20, struct.pack(">Q", (1 << 20) + 8))
    text = edited(header + 20, struct.pack(">Q", 1 << 50))
    assert f"RAM block '{RAM}'" in text and "file offset" in text
    text = edited(block["pages-offset"] + block["length"], b"\0")  # the entry that follows
    assert "Unknown ramblock" in text or "exceed" in text
    shutil.copyfile(good, bad)
    os.truncate(bad, block["pages-offset"] + 4096)
    text = refusal(make_vm, bad)
    assert f"RAM block '{RAM}'" in text and "nexpected end" in text
    assert inspecting.run(bad, "--check").returncode == 1


def test_foreign_files(make_vm, good, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"not a stream at all" * 100)
    assert "Not a migration stream" in refusal(make_vm, other)
    other.write_bytes(b"")
    assert "offset 0" in refusal(make_vm, other)
    assert "'mapped-ram' is on on the source and off here" in refusal(make_vm, good, mapped=False)
    assert f"Size mismatch: {RAM}" in refusal(make_vm, good, mem="64M")


def test_no_space(make_vm, tmp_path):
    """A file that cannot grow: the guest goes on, and nothing is left of the attempt."""
    path = tmp_path / "state"
    vm = make_vm("godwit", *pattern_args(**GUEST), mem="32M")
    vm.serial.wait("ready")
    resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE, (8 << 20, resource.RLIM_INFINITY))
    for mapped in (True, False):
        vm.caps(mapped_ram=mapped)
        vm.cmd("migrate", uri=f"file:{path}")
        assert "File too large" in vm.wait_migration("failed")["error-desc"]
        vm.wait_status("running")
        assert list(tmp_path.iterdir()) == []
    resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    guest_full_pass(vm)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("how", ["killed", "cancelled"])
def test_previous_file_survives(make_vm, good, tmp_path, how, mapped):
    path = tmp_path / "state"
    shutil.copyfile(good, path)
    before = path.read_bytes()
    vm = make_vm("godwit", *pattern_args(**{**GUEST, "ws": "24M"}), mem="64M")
    vm.serial.wait("ready")
    vm.caps(mapped_ram=mapped)
    vm.cmd("migrate-set-parameters", max_bandwidth=1 << 20)
    vm.cmd("migrate", uri=f"file:{path}")
    while vm.wait_migration("active")["ram"]["transferred"] < 256 << 10:
        time.sleep(0.01)
    if how == "killed":
        vm.process.send_signal(signal.SIGKILL)
        vm.wait_exit()
    else:
        vm.cmd("migrate_cancel")
        vm.wait_migration("cancelled")
        guest_full_pass(vm)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    back = load(make_vm, path)
    back.wait_status("running")
    guest_full_pass(back)


@pytest.mark.parametrize("direct", [False, True])
def test_descriptor_set(make_vm, tmp_path, direct):
    """As management does it: it opens the file, we are given descriptors, and give all back."""
    path = tmp_path / "state"
    path.write_bytes(b"H" * 4096)

    def with_set(vm: VM, flags: int) -> None:
        for extra in ([0, os.O_DIRECT] if direct else [0]):
            fd = os.open(path, flags | extra)
            vm.qmp.cmd("add-fd", fds=[fd], fdset_id=1)
            os.close(fd)
        vm.caps(mapped_ram=True)
        vm.cmd("migrate-set-parameters", direct_io=direct)

    vm = make_vm("godwit", *pattern_args(**GUEST), mem="32M")
    vm.serial.wait("ready")
    with_set(vm, os.O_WRONLY)
    hand_over(vm, None, "file:/dev/fdset/1,offset=4096")
    vm.cmd("remove-fd", fdset_id=1)
    assert vm.cmd("query-fdsets") == []
    assert path.read_bytes()[:4096] == b"H" * 4096
    back = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", mem="32M")
    with_set(back, os.O_RDONLY)
    back.cmd("migrate-incoming", uri="file:/dev/fdset/1,offset=4096")
    back.wait_status("running")
    guest_full_pass(back)
    back.cmd("remove-fd", fdset_id=1)
    assert back.cmd("query-fdsets") == []


def test_direct_io_needs_its_descriptor(make_vm, tmp_path):
    path = tmp_path / "state"
    vm = make_vm("godwit", *pattern_args(**GUEST), mem="32M")
    vm.serial.wait("ready")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    vm.qmp.cmd("add-fd", fds=[fd], fdset_id=1)
    os.close(fd)
    vm.caps(mapped_ram=True)
    vm.cmd("migrate-set-parameters", direct_io=True)
    vm.cmd("migrate", uri="file:/dev/fdset/1")
    assert "direct-io needs a descriptor with O_DIRECT" in vm.wait_migration("failed")["error-desc"]
    guest_full_pass(vm)


@pytest.mark.parametrize("save_channels, load_channels, direct", [(3, 2, False), (1, 16, True), (200, None, False),
                                                                   (None, 5, True)])
def test_multifd(make_vm, tmp_path, save_channels, load_channels, direct):
    """multifd says how many write and read; the file is the same, so the two ends need not agree."""
    def channels(vm: VM, n: int | None) -> None:
        vm.caps(mapped_ram=True, multifd=n is not None)
        vm.cmd("migrate-set-parameters", direct_io=direct, **({"multifd_channels": n} if n else {}))

    path = tmp_path / "state"
    src = make_vm("godwit", *pattern_args(**{**GUEST, "rate": 0}), mem="32M")  # flat out, while it is saved
    src.serial.wait("ready")
    channels(src, save_channels)
    hand_over(src, None, f"file:{path}")
    inspecting.tree(path)  # whole
    dst = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", mem="32M")
    channels(dst, load_channels)
    dst.cmd("migrate-incoming", uri=f"file:{path}")
    dst.wait_status("running")
    guest_full_pass(dst)


def test_multifd_compression(make_vm):
    vm = make_vm("godwit", "-S", "-bios", "none", serial=False)
    vm.caps(mapped_ram=True, multifd=True)
    with pytest.raises(QMPError, match="Mapped-ram migration is incompatible with multifd compression"):
        vm.cmd("migrate-set-parameters", multifd_compression="zstd")
    vm.caps(mapped_ram=False)
    vm.cmd("migrate-set-parameters", multifd_compression="zstd")
    with pytest.raises(QMPError, match="Mapped-ram migration is incompatible with multifd compression"):
        vm.caps(mapped_ram=True)


def test_loadvm(make_vm, good):
    """-loadvm knows the layout by the file, whatever it is told on the command line."""
    for args in ((), ("-global", "migration.mapped-ram=on"), ("-global", "migration.x-mapped-load=lazy")):
        vm = make_vm("godwit", *pattern_args(**GUEST), *args, "-loadvm", str(good), mem="32M")
        vm.wait_status("running")
        guest_full_pass(vm)
