# SPDX-License-Identifier: GPL-2.0-or-later
"""background-snapshot: the state of one moment, written while the guest goes on, by one and read by the other."""
from __future__ import annotations

import time

import pytest

import inspecting
from vmtest import guest_check, guest_full_pass, pattern_args

GUEST = {"mode": "pattern", "ws": "48M", "rate": "200M", "report": 0}
PAIRS = [("godwit", "godwit"), ("godwit", "stock"), ("stock", "godwit")]


def snapshot(vm, uri: str, mapped: bool = False) -> dict:
    """The guest runs before, meanwhile and afterwards, and its memory stays right."""
    caps = {"mapped_ram": True} if mapped else {}
    vm.caps(background_snapshot=True, events=True, **caps)
    vm.cmd("migrate", uri=uri)
    info = vm.wait_migration("completed")
    assert vm.status() == "running"
    guest_full_pass(vm)
    names = [e["event"] for e in vm.qmp.events]
    assert names.index("STOP") < names.index("RESUME")
    return info


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_busy_guest(make_vm, tmp_path, pair):
    path = tmp_path / "state"
    vm = make_vm(pair[0], *pattern_args(**GUEST), smp=2)
    vm.serial.wait("ready")
    guest_check(vm)
    info = snapshot(vm, f"exec:cat > {path}")
    found = inspecting.tree(path)
    assert any("background snapshot" in note for note in found["notes"])
    assert {s["kind"] for s in found["sections"] if s["name"] == "ram"} == {"start", "part"}
    if pair[0] == "godwit":
        ram = found["ram"]
        pages = sum(b["length"] for b in ram["blocks"]) // 4096
        assert ram["records"]["data"] + ram["records"]["zero"] == pages  # each page once
        assert info["ram"]["remaining"] == 0
    back = make_vm(pair[1], *pattern_args(**GUEST), "-incoming", f"exec:cat {path}", smp=2)
    back.wait_status("running", "paused")
    back.cmd("cont")
    guest_full_pass(back)


def test_slow_file(make_vm, tmp_path):
    """The channel takes its time: the guest writes on, and what is saved is still of one moment."""
    path = tmp_path / "state"
    vm = make_vm("godwit", *pattern_args(**GUEST))
    vm.serial.wait("ready")
    before = guest_check(vm)
    vm.caps(background_snapshot=True)
    vm.cmd("migrate", uri=f"exec:while head -c 4194304 | cat >> {path} && test -s {path}; do "
                          f"test $(stat -c %s {path}) -lt 30000000 || exec cat >> {path}; sleep 0.05; done")
    vm.wait_migration("active", "completed")
    vm.wait_migration("completed")
    assert guest_full_pass(vm)["pass"] > before["pass"]
    back = make_vm("godwit", *pattern_args(**GUEST), "-incoming", f"exec:cat {path}")
    back.wait_status("running")
    guest_full_pass(back)


def test_into_a_mapped_file(make_vm, tmp_path):
    path = tmp_path / "state"
    vm = make_vm("godwit", *pattern_args(**GUEST))
    vm.serial.wait("ready")
    snapshot(vm, f"file:{path}", mapped=True)
    back = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer")
    back.caps(mapped_ram=True)
    back.cmd("migrate-incoming", uri=f"file:{path}")
    back.wait_status("running")
    guest_full_pass(back)


def test_cancelled(make_vm, tmp_path):
    """Writers that wait for the channel go on at once, and the next snapshot works."""
    vm = make_vm("godwit", *pattern_args(**GUEST))
    vm.serial.wait("ready")
    vm.caps(background_snapshot=True)
    vm.cmd("migrate", uri="exec:sleep 60")
    vm.wait_migration("active")
    time.sleep(0.2)
    vm.cmd("migrate_cancel")
    vm.wait_migration("cancelled")
    guest_full_pass(vm)
    snapshot(vm, f"file:{tmp_path}/state")
