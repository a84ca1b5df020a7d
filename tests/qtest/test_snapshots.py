# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-save, -load, -delete, savevm and its kin: the guest goes back, and never half-way."""
from __future__ import annotations

import json
import pathlib
import re
import signal
import time

import pytest

from vmtest import VM, QMPError, guest_check, guest_full_pass, pattern_args

GUEST = {"mode": "pattern", "ws": "16M", "report": 0}  # writes flat out


def start(make_vm, store: pathlib.Path, *args: str, mem: str = "32M", guest: bool = True) -> VM:
    vm = make_vm("godwit", *(pattern_args(**GUEST) if guest else ["-bios", "none"]), "-global",
                 f"migration.x-snapshot-directory={store}", *args, mem=mem)
    if guest and "-loadvm" not in args:
        vm.serial.wait("ready")
    return vm


def run_job(vm: VM, command: str, job: str = "j", **args) -> str | None:
    """Run to the end and dismiss; the error, if any. Checks the states that a client sees."""
    vm.cmd(command, job_id=job, **args)
    seen = []
    while not seen or seen[-1] != "concluded":
        seen.append(vm.qmp.wait_event("JOB_STATUS_CHANGE", lambda d: d["id"] == job)["data"]["status"])
    info = next(j for j in vm.cmd("query-jobs") if j["id"] == job)
    middle = ["aborting"] if "error" in info else ["waiting", "pending"]
    assert seen == ["created", "running", *middle, "concluded"]
    assert info["type"] == command and info["status"] == "concluded"
    vm.cmd("job-dismiss", id=job)
    assert vm.qmp.wait_event("JOB_STATUS_CHANGE")["data"] == {"id": job, "status": "null"}
    return info.get("error")


def save(vm: VM, tag: str, **args) -> str | None:
    return run_job(vm, "snapshot-save", tag=tag, devices=[], **args)


def load(vm: VM, tag: str, **args) -> str | None:
    return run_job(vm, "snapshot-load", tag=tag, devices=[], **args)


def manifest(store: pathlib.Path, tag: str) -> dict:
    return json.loads((store / f"{tag}.json").read_text())


def test_jobs(make_vm, tmp_path):
    """A guest without disks that writes all the time goes back and forth; in this process, in a new one."""
    vm = start(make_vm, tmp_path)
    before = [guest_full_pass(vm)]
    assert save(vm, "one") is None
    assert vm.status() == "running"
    after = [guest_check(vm)]
    while (now := guest_check(vm))["pass"] < after[0]["pass"] + 20:
        time.sleep(0.01)
    before.append(now)
    assert save(vm, "two") is None
    after.append(guest_check(vm))
    assert save(vm, "one") == "Snapshot 'one' already exists in one or more devices"
    for tag, earliest, latest in list(zip(("one", "two"), before, after)) * 2:
        begin = time.monotonic()
        assert load(vm, tag) is None
        now = guest_check(vm)
        ran_us = (time.monotonic() - begin) * 1e6
        assert now["pass"] >= earliest["pass"]
        assert earliest["time_us"] <= now["time_us"] <= latest["time_us"] + ran_us  # its clock has gone back, too
        guest_full_pass(vm)
    assert [m["tag"] for m in vm.cmd("x-query-snapshots")] == ["one", "two"]
    new = start(make_vm, tmp_path, "-loadvm", "two")
    new.wait_status("running")
    guest_full_pass(new)
    assert run_job(vm, "snapshot-delete", tag="one", devices=[]) is None
    assert run_job(vm, "snapshot-delete", tag="one", devices=[]) is None
    assert [m["tag"] for m in vm.cmd("x-query-snapshots")] == ["two"]
    assert load(vm, "one") == "Snapshot 'one' does not exist in one or more devices"
    guest_full_pass(vm)  # runs on


def test_stopped_guest_stays_stopped(make_vm, tmp_path):
    vm = start(make_vm, tmp_path)
    vm.cmd("stop")
    assert save(vm, "s") is None
    assert vm.status() == "paused"
    vm.cmd("cont")
    assert load(vm, "s") is None
    assert vm.status() == "running"  # it ran before the load
    vm.cmd("stop")
    assert load(vm, "s") is None
    assert vm.status() == "paused"
    vm.cmd("cont")
    guest_full_pass(vm)


def test_mapped_ram(make_vm, tmp_path):
    """A snapshot says itself how its memory is laid out."""
    vm = start(make_vm, tmp_path)
    vm.caps(mapped_ram=True)
    assert save(vm, "mapped") is None
    vm.caps(mapped_ram=False)
    assert save(vm, "plain") is None
    for tag in ("mapped", "plain"):
        assert load(vm, tag) is None
        guest_full_pass(vm)


def test_humans(make_vm, tmp_path):
    """savevm and its kin beside a disk that does not change."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"contents" * 8192)
    args = (*pattern_args(**GUEST), "-drive", f"file={disk},format=raw,if=none,id=d0,read-only=on",
            "-device", "virtio-blk-device,drive=d0")
    vm = make_vm("godwit", *args, mem="32M")
    vm.serial.wait("ready")
    assert vm.hmp("info snapshots") == "There is no snapshot available.\r\n"
    assert vm.hmp('savevm "../weird name"') == ""
    assert vm.hmp("savevm") == ""
    assert vm.hmp("savevm s1") == "" == vm.hmp("savevm s1")  # replaces
    rows = vm.hmp("info snapshots").splitlines()
    assert rows[:2] == ["List of snapshots present on all disks:",
                        "ID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT"]
    assert len(rows) == 5
    row = next(r for r in rows if "  s1 " in r)
    assert re.fullmatch(r"--        s1  .*B \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \d\d:\d\d:\d\d\.\d{3} +", row)
    store = tmp_path / "disk.raw.snapshots"
    assert len(list(store.glob("s1.*.vmstate"))) == 1
    assert all(p.parent == store for p in store.rglob("*"))
    assert vm.hmp("loadvm nope") == "Error: Snapshot 'nope' does not exist in one or more devices\r\n"
    assert vm.status() == "running"
    assert vm.hmp("loadvm s1") == ""
    guest_full_pass(vm)
    assert vm.hmp('loadvm "../weird name"') == ""
    guest_full_pass(vm)
    assert vm.hmp("delvm nope") == "" == vm.hmp("delvm s1")
    assert not list(store.glob("s1.*"))
    assert vm.hmp("savevm s1") == ""
    new = make_vm("godwit", *args, "-loadvm", "s1", mem="32M")
    new.wait_status("running")
    guest_full_pass(new)
    disk.write_bytes(b"others  " * 8192)
    assert "has changed since snapshot 's1'" in vm.hmp("loadvm s1")
    guest_full_pass(vm)


def test_writable_disk(make_vm, tmp_path):
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(65536))
    vm = start(make_vm, tmp_path / "store", "-blockdev", f"driver=file,filename={disk},node-name=f0",
               "-blockdev", "driver=raw,file=f0,node-name=d0", "-device", "virtio-blk-device,drive=d0")
    wanted = "Device 'd0' is writable but does not support snapshots"
    assert wanted in run_job(vm, "snapshot-save", tag="s", vmstate="d0", devices=["d0"])
    assert wanted in vm.hmp("savevm s")
    assert wanted in vm.hmp("loadvm s")
    assert run_job(vm, "snapshot-save", tag="s", devices=["zz"]) == "No block device node 'zz'"
    assert run_job(vm, "snapshot-save", tag="s", vmstate="zz",
                   devices=[]) == "vmstate block device 'zz' does not exist"
    assert not (tmp_path / "store").exists()
    # Who leaves it out looks after it.
    assert run_job(vm, "snapshot-save", tag="s", vmstate="d0", devices=[]) is None
    assert run_job(vm, "snapshot-load", tag="s", vmstate="d0", devices=[]) is None
    guest_full_pass(vm)


def test_nowhere_to_put_it(make_vm):
    vm = make_vm("godwit", "-S", "-bios", "none", serial=False)
    assert "no block device can store vmstate for snapshot" in save(vm, "s")
    assert "x-snapshot-directory" in vm.hmp("savevm s")
    vm.cmd("migrate-set-parameters", x_snapshot_directory="/proc/nowhere")
    assert "Unable to create the directory '/proc/nowhere'" in save(vm, "s")
    assert vm.status() == "prelaunch"


def damage(store: pathlib.Path, kind: str) -> str:
    """Spoil snapshot "s"; what the error must say."""
    state = store / manifest(store, "s")["state"]
    data = state.read_bytes()
    if kind == "flipped":
        state.write_bytes(data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1:])
        return "checksum"
    if kind == "cut":
        state.write_bytes(data[:-5000])
        return f"the file has {len(data) - 5000} bytes, {len(data)} were saved"
    if kind == "tiny":
        state.write_bytes(b"")
        return "the file has 0 bytes"
    if kind == "foreign":
        state.write_bytes(b"#!/bin/sh\n" * (len(data) // 10) + b"x" * (len(data) % 10))
        return "checksum"
    if kind == "gone":
        state.unlink()
        return "Unable to open"
    text = (store / "s.json").read_text()
    if kind == "elsewhere":
        text = text.replace(state.name, "../../etc/passwd")
    elif kind == "no manifest":
        text = "not JSON"
    elif kind == "huge manifest":
        text = "x" * (2 << 20)
    elif kind == "other machine":
        text = text.replace("memory riscv_virt_board.ram 0x2000000", "memory riscv_virt_board.ram 0x4000000")
    (store / "s.json").write_text(text)
    return "it needs the same memory and devices" if kind == "other machine" else "is not the manifest of a snapshot"


@pytest.mark.parametrize("kind", ["flipped", "cut", "tiny", "foreign", "gone", "elsewhere", "no manifest",
                                  "huge manifest", "other machine"])
def test_damaged(make_vm, tmp_path, kind):
    """One clear error, and the guest that runs does not notice."""
    vm = start(make_vm, tmp_path)
    assert save(vm, "s") is None
    text = damage(tmp_path, kind)
    before = guest_check(vm)["pass"]
    assert text in load(vm, "s")
    assert vm.status() == "running"
    assert guest_full_pass(vm)["pass"] > before


def test_killed_save(make_vm, tmp_path):
    """A save that is cut off at any moment leaves what was there, and nothing that stays."""
    vm = start(make_vm, tmp_path)
    assert save(vm, "s") is None
    before = manifest(tmp_path, "s")
    vm.close()
    for delay in (0.0, 0.005, 0.02, 0.05):
        vm = start(make_vm, tmp_path, "-loadvm", "s")
        vm.qmp.sock.sendall(b'{"execute": "human-monitor-command", "arguments": {"command-line": "savevm s"}}\n')
        time.sleep(delay)
        vm.process.send_signal(signal.SIGKILL)
        vm.process.wait()
        now = manifest(tmp_path, "s")
        assert (tmp_path / now["state"]).stat().st_size == now["vm-state-size"]
        assert now == before or now["date"] >= before["date"]
        vm.close()
    for left in (f"s.{0xdead:016x}.vmstate", f"s.{0xbeef:016x}.draft"):
        (tmp_path / left).write_bytes(b"of a save that was killed")
    (tmp_path / f"s.x.{0xbeef:016x}.draft").write_bytes(b"of another snapshot")
    vm = start(make_vm, tmp_path, "-loadvm", "s")
    guest_full_pass(vm)
    assert vm.hmp("savevm s") == ""
    assert {p.name for p in tmp_path.iterdir()} == {  # nothing is left over
        "s.json", manifest(tmp_path, "s")["state"], f"s.x.{0xbeef:016x}.draft"}


def test_job_rules(make_vm, tmp_path):
    vm = start(make_vm, tmp_path, guest=False)
    for bad in ("", "1x", "j 6"):
        with pytest.raises(QMPError, match=f"Invalid job ID '{bad}'"):
            vm.cmd("snapshot-save", job_id=bad, tag="s", devices=[])
    for command in ("job-cancel", "job-dismiss", "job-pause"):
        with pytest.raises(QMPError, match="Job not found"):
            vm.cmd(command, id="zz")
    vm.cmd("snapshot-save", job_id="j", tag="s", devices=[])
    vm.qmp.wait_event("JOB_STATUS_CHANGE", lambda d: d["status"] == "concluded")
    with pytest.raises(QMPError, match="Job ID 'j' already in use"):
        vm.cmd("snapshot-save", job_id="j", tag="s", devices=[])
    for verb in ("cancel", "pause", "resume", "complete", "finalize"):
        with pytest.raises(QMPError, match=f"Job 'j' in state 'concluded' cannot accept command verb '{verb}'"):
            vm.cmd(f"job-{verb}", id="j")
    for tag in ("", "x" * 300):
        assert "A snapshot needs a name" in save(vm, tag, job="k")
    vm.caps(x_ignore_shared=True)
    assert "turn the capability 'x-ignore-shared' off" in save(vm, "shared", job="k")
    assert "x-ignore-shared, so no shared memory" in load(vm, "s", job="k")


def test_cancel(make_vm, tmp_path):
    """A save that is cancelled lets the guest go on and leaves nothing; quitting waits for one."""
    vm = start(make_vm, tmp_path, "-global", "migration.mapped-ram=on", mem="512M")
    cancelled = 0
    for n in range(5):
        vm.cmd("snapshot-save", job_id="j", tag=f"s{n}", devices=[])
        try:
            vm.cmd("job-cancel", id="j")
        except QMPError as err:
            assert "cannot accept command verb 'cancel'" in err.desc
        vm.qmp.wait_event("JOB_STATUS_CHANGE", lambda d: d["status"] == "concluded")
        error = vm.cmd("query-jobs")[0].get("error")
        assert error is None or "cancelled" in error
        assert (tmp_path / f"s{n}.json").exists() == (error is None)
        cancelled += error is not None
        vm.cmd("job-dismiss", id="j")
        vm.wait_status("running")
    guest_full_pass(vm)
    vm.cmd("snapshot-save", job_id="j", tag="last", devices=[])
    vm.cmd("quit")
    assert vm.wait_exit() == 0
    assert not list(tmp_path.glob("last.*.vmstate")) or (tmp_path / "last.json").exists()
