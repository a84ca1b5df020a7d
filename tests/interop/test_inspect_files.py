# SPDX-License-Identifier: GPL-2.0-or-later
"""godwit-inspect on files of stock QEMU and Godwit: both are understood, and say the same."""
from __future__ import annotations

import time

import pytest

import inspecting
from vmtest import guest_check, hand_over, pattern_args

GUEST = {"mode": "pattern", "ws": "8M", "rate": "20M", "report": 0}


@pytest.mark.parametrize("kind", ["godwit", "stock"])
def test_saved_while_running(make_vm, tmp_path, kind):
    path = tmp_path / "state"
    vm = make_vm(kind, *pattern_args(**GUEST), mem="64M", smp=2)
    vm.serial.wait("ready")
    guest_check(vm)
    hand_over(vm, None, f"exec:cat > {path}")
    pc = int(vm.hmp("info registers").split()[vm.hmp("info registers").split().index("pc") + 1], 16)
    found = inspecting.tree(path)
    assert inspecting.values(found, "globalstate")["runstate"] == "running"
    assert inspecting.values(found, "cpu")["env.pc"] == pc
    ram = inspecting.block(found)
    assert ram["none"] == 0 and (8 << 20) // 4096 <= ram["data"] < (12 << 20) // 4096
    names = [s["name"] for s in found["sections"] if s["kind"] == "full"]
    assert names[0] == "timer" and "riscv_mtimer" in names and names[-1] == "globalstate"


def test_deltas_of_stock(make_vm, tmp_path):
    """XBZRLE records, which only a guest that changes little in many pages brings about."""
    path = tmp_path / "state"
    vm = make_vm("stock", *pattern_args(**{**GUEST, "touch": 4}), mem="64M")
    vm.serial.wait("ready")
    guest_check(vm)
    vm.caps(xbzrle=True)
    vm.cmd("migrate-set-parameters", max_bandwidth=8 << 20, downtime_limit=1)
    vm.cmd("migrate", uri=f"exec:cat > {path}")
    while (info := vm.wait_migration("active", "completed"))["status"] == "active" and not info["xbzrle-cache"]["pages"]:
        time.sleep(0.01)  # deltas are so small that it may end with the first pass of them
    vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    vm.wait_migration("completed")
    found = inspecting.tree(path)
    assert found["ram"]["records"]["delta"] > 0 and inspecting.block(found)["none"] == 0


def test_options_in_the_stream(make_vm, tmp_path):
    """validate-uuid and x-ignore-shared change the layout of the head."""
    path = tmp_path / "state"
    uuid = "11112222-3333-4444-5555-666677778888"
    for kind in ("godwit", "stock"):
        vm = make_vm(kind, "-uuid", uuid, "-S", "-bios", "none", mem="16M", serial=False)
        vm.caps(validate_uuid=True, x_ignore_shared=True)
        hand_over(vm, None, f"exec:cat > {path}")
        found = inspecting.tree(path)
        assert found["capabilities"] == ["x-ignore-shared"]
        assert found["uuid"] == uuid.replace("-", "")
        vm.close()
