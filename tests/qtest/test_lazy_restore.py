# SPDX-License-Identifier: GPL-2.0-or-later
"""x-mapped-load=lazy: the guest runs while its memory still comes from the file."""
from __future__ import annotations

import shutil
import time

import pytest

from vmtest import BUILD, QMPError, VM, guest_full_pass, hand_over, pattern_args

GUEST = {"mode": "pattern", "ws": "64M", "rate": "0", "report": 0}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("lazy") / "state"
    vm = VM("godwit", *pattern_args(**GUEST))
    try:
        vm.serial.wait("ready")
        vm.caps(mapped_ram=True)
        hand_over(vm, None, f"file:{path}")
    finally:
        vm.close()
    return path


def restore(make_vm, path, *args: str, direct: bool = False, **kwargs) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", *args, **kwargs)
    vm.caps(mapped_ram=True)
    vm.cmd("migrate-set-parameters", x_mapped_load="lazy", direct_io=direct)
    vm.cmd("migrate-incoming", uri=f"file:{path}", exit_on_error=False)
    return vm


def notes(vm: VM) -> str:
    return "\n".join(r["text"] for r in vm.cmd("x-query-migration-record") if "text" in r)


def all_here(vm: VM) -> None:
    deadline = time.monotonic() + 120
    while "blocked-reasons" in vm.cmd("query-migrate"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "all memory is here" in notes(vm)


@pytest.mark.parametrize("direct", [False, True], ids=["buffered", "direct-io"])
def test_guest_is_whole(make_vm, saved, direct):
    vm = restore(make_vm, saved, direct=direct)
    vm.wait_status("running")
    guest_full_pass(vm)
    all_here(vm)
    guest_full_pass(vm)
    back = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "tcp:127.0.0.1:0")
    address = back.cmd("query-migrate")["socket-address"][0]
    vm.caps(mapped_ram=False)
    hand_over(vm, back, f"tcp:{address['host']}:{address['port']}")
    guest_full_pass(back)


def test_the_file_may_be_gone(make_vm, saved, tmp_path):
    """An open file is enough: removing its name does no harm."""
    path = tmp_path / "copy"
    shutil.copyfile(saved, path)
    vm = restore(make_vm, path)
    vm.wait_status("running")
    path.unlink()
    guest_full_pass(vm)


def test_truncated_file_is_refused_at_once(make_vm, saved, tmp_path):
    path = tmp_path / "cut"
    shutil.copyfile(saved, path)
    with path.open("r+b") as file:
        file.truncate(20 << 20)
    vm = restore(make_vm, path)
    text = vm.wait_migration("failed")["error-desc"]
    assert "riscv_virt_board.ram" in text and "ends" in text
    assert vm.alive()


@pytest.mark.skipif("asan" in str(BUILD) or "tsan" in str(BUILD),
                    reason="a sanitizer's runtime wants to be preloaded first")
def test_unreadable_page_stops_the_guest(make_vm, saved, tmp_path):
    """It is stopped, not fed with anything else; the monitor works; `cont` goes on once the disk is back."""
    flag = tmp_path / "broken"
    flag.touch()
    vm = restore(make_vm, saved, env={"LD_PRELOAD": str(BUILD / "tests" / "libfailing-read.so"),
                                      "FAILING_READ": str(flag)})
    said = "a page of its memory cannot be read"
    vm.wait_status("io-error")
    assert said in vm.log() and "riscv_virt_board.ram" in vm.log()
    assert vm.qmp.events and any(e["event"] == "STOP" for e in vm.qmp.events)
    vm.cmd("cont")
    deadline = time.monotonic() + 120
    while vm.log().count(said) < 2:  # tried again, stopped again
        assert time.monotonic() < deadline
        time.sleep(0.05)
    vm.wait_status("io-error")
    flag.unlink()
    vm.cmd("cont")
    guest_full_pass(vm)
    all_here(vm)


def test_cannot_migrate_meanwhile(make_vm, saved, tmp_path):
    vm = restore(make_vm, saved, "-S")
    vm.wait_status("paused")
    try:
        vm.cmd("migrate", uri=f"file:{tmp_path}/x")
    except QMPError as refusal:
        assert "still being read" in refusal.desc
    else:  # it was all there before this process had its turn
        assert "all memory is here" in notes(vm)
        vm.wait_migration("completed")
    all_here(vm)
    vm.cmd("cont")
    guest_full_pass(vm)
