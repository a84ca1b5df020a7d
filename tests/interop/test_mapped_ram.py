# SPDX-License-Identifier: GPL-2.0-or-later
"""mapped-ram: between Godwits, and with stock QEMU through files rewritten by an independent program."""
from __future__ import annotations

import pytest

import inspecting
import mappedfile
from vmtest import guest_check, guest_full_pass, hand_over, pattern_args

GUEST = {"mode": "pattern", "ws": "24M", "rate": "40M", "report": 0}


def started(make_vm, kind: str, **kwargs):
    vm = make_vm(kind, *pattern_args(**GUEST), **kwargs)
    vm.serial.wait("ready")
    guest_check(vm)
    return vm


def save(vm, uri: str, **params) -> None:
    vm.caps(mapped_ram=True)
    if params:
        vm.cmd("migrate-set-parameters", **params)
    hand_over(vm, None, uri)


def restore(make_vm, uri: str, **params):
    vm = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer")
    vm.caps(mapped_ram=True)
    if params:
        vm.cmd("migrate-set-parameters", **params)
    vm.cmd("migrate-incoming", uri=uri)
    vm.wait_status("running")
    guest_full_pass(vm)
    return vm


@pytest.mark.parametrize("direct", [False, True], ids=["buffered", "direct-io"])
@pytest.mark.parametrize("stopped", [False, True], ids=["live", "stopped"])
def test_there_and_back(make_vm, tmp_path, direct, stopped):
    path = tmp_path / "state"
    vm = started(make_vm, "godwit")
    if stopped:
        vm.cmd("stop")
    save(vm, f"file:{path}", direct_io=direct)
    found = inspecting.tree(path)
    assert found["capabilities"] == ["mapped-ram"] and found["ram"]["mapped"]
    ram = inspecting.block(found)
    assert (24 << 20) // 4096 <= ram["data"] < (28 << 20) // 4096
    assert path.stat().st_blocks * 512 < 64 << 20  # zero pages are holes
    back = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer")
    back.caps(mapped_ram=True)
    back.cmd("migrate-set-parameters", direct_io=direct)
    back.cmd("migrate-incoming", uri=f"file:{path}")
    if stopped:
        back.wait_status("paused")
        back.cmd("cont")
    back.wait_status("running")
    guest_full_pass(back)


def test_stock_state_as_mapped_ram(make_vm, tmp_path):
    """What stock saved, in the layout as the document describes it, is restored here."""
    plain, mapped = tmp_path / "plain", tmp_path / "mapped"
    hand_over(started(make_vm, "stock"), None, f"exec:cat > {plain}")
    state = mappedfile.read(plain.read_bytes(), mapped=False)
    mappedfile.write_mapped(state, mapped)
    restore(make_vm, f"file:{mapped}")


def test_mapped_ram_as_stock_state(make_vm, tmp_path):
    """What Godwit wrote is what the document says: rewritten as a stream, stock goes on with it."""
    plain, mapped = tmp_path / "plain", tmp_path / "mapped"
    save(started(make_vm, "godwit"), f"file:{mapped}")
    mappedfile.write_plain(mappedfile.read(mapped.read_bytes(), mapped=True), plain)
    vm = make_vm("stock", *pattern_args(**GUEST), "-incoming", f"exec:cat {plain}")
    vm.wait_status("running")
    guest_full_pass(vm)


def test_offset(make_vm, tmp_path):
    """What is in front of the offset is management's; positions count from the beginning of the file."""
    path = tmp_path / "state"
    path.write_bytes(b"X" * 8192 + b"old tail")
    save(started(make_vm, "godwit"), f"file:{path},offset=8192")
    assert path.read_bytes()[:8192] == b"X" * 8192
    found = inspecting.tree(path, "--offset", "8192")
    assert inspecting.block(found)["pages-offset"] == 1 << 20
    restore(make_vm, f"file:{path},offset=8192")
