# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of the speed table about files: saving, restoring, snapshots of a busy guest.

Stock 7.2 has no file: transport. It gets its best case: the descriptor of a regular file (getfd, fd:), no program in between.
"""
from __future__ import annotations

import os
import pathlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from run import Bench, Row

FD_NAME = "file"


def completed(vm, timeout: float = 600) -> None:
    event = vm.qmp.wait_event("MIGRATION", lambda d: d["status"] in ("completed", "failed"), timeout=timeout)
    if event["data"]["status"] != "completed":
        raise RuntimeError(f"{vm.kind}: {vm.cmd('query-migrate').get('error-desc')}")


def give_file(vm, path: pathlib.Path, flags: int) -> int:
    """Hand @path to the emulator; our own descriptor of it."""
    fd = os.open(path, flags, 0o600)
    vm.qmp.cmd("getfd", fds=[fd], fdname=FD_NAME)
    return fd


def write_state(bench: "Bench", vm, path: pathlib.Path, direct: bool = True) -> dict[str, float]:
    """Until the state is durable, and the CPU seconds that took."""
    cpu = bench.cpu_seconds(vm.process.pid)
    begin = time.monotonic()
    if vm.kind == "godwit":
        vm.cmd("migrate-set-parameters", direct_io=direct)
        vm.cmd("migrate", uri=f"file:{path}")
        completed(vm)
    else:
        fd = give_file(vm, path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        vm.cmd("migrate", uri=f"fd:{FD_NAME}")
        completed(vm)
        os.fsync(fd)
        os.close(fd)
    took = time.monotonic() - begin
    return {"value": took, "cpu": bench.cpu_seconds(vm.process.pid) - cpu}


def guest_of(bench: "Bench", mib: int) -> list[str]:
    return bench.vmtest.pattern_args(mode="random", ws=f"{mib}M", report=0)


def save(bench: "Bench", row: "Row", kind: str) -> dict[str, float]:
    """A stopped guest, until its state is on the disk."""
    ws = bench.mib(4096)
    path = bench.files / f"save-{kind}"
    vm = bench.source(row, kind, guest_of(bench, ws), f"{ws + 64}M")
    if kind == "godwit":
        vm.caps(mapped_ram=True)
    if vm.status() == "running":
        vm.cmd("stop")
    vm.qmp.events.clear()
    path.unlink(missing_ok=True)
    try:
        result = write_state(bench, vm, path)
    finally:
        path.unlink(missing_ok=True)
    vm.wait_status("postmigrate")
    vm.cmd("cont")
    vm.cmd("stop")
    return result


def saved_state(bench: "Bench", kind: str) -> tuple[pathlib.Path, list[str], str]:
    """A file to restore from, made once, in the page cache of both alike."""
    ws = bench.mib(4096)
    args, mem = guest_of(bench, ws), f"{ws + 64}M"
    path = bench.files / f"restore-{kind}"
    if kind not in bench.saved:
        vm = bench.vmtest.VM(kind, *args, mem=mem)
        try:
            vm.serial.wait("ready", 600)
            vm.caps(events=True, **({"mapped_ram": True} if kind == "godwit" else {}))
            vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 12, downtime_limit=60000)
            write_state(bench, vm, path, direct=False)
        finally:
            vm.close()
        bench.saved[kind] = path
    return path, args, mem


def load(bench: "Bench", kind: str, lazy: bool) -> dict[str, float]:
    """Seconds until the guest runs, on a process that waits for it."""
    path, args, mem = saved_state(bench, kind)
    vm = bench.vmtest.VM(kind, *args, "-incoming", "defer", mem=mem)
    try:
        if kind == "godwit":
            vm.caps(mapped_ram=True, events=True)
            vm.cmd("migrate-set-parameters", x_mapped_load="lazy" if lazy else "eager")
            uri = f"file:{path}"
        else:
            vm.caps(events=True)
            os.close(give_file(vm, path, os.O_RDONLY))
            uri = f"fd:{FD_NAME}"
        cpu = bench.cpu_seconds(vm.process.pid)
        begin = time.monotonic()
        vm.cmd("migrate-incoming", uri=uri)
        vm.qmp.wait_event("RESUME", timeout=600)
        took = time.monotonic() - begin
        vm.wait_migration("completed")
        return {"value": took, "cpu": bench.cpu_seconds(vm.process.pid) - cpu}
    finally:
        vm.close()


def restore(bench: "Bench", row: "Row", kind: str) -> dict[str, float]:
    """To the first instruction of the guest."""
    return load(bench, kind, lazy=True)


def restore_all(bench: "Bench", row: "Row", kind: str) -> dict[str, float]:
    """Until all memory is there."""
    return load(bench, kind, lazy=False)


def progress(bench: "Bench", vm) -> tuple[float, int]:
    return time.monotonic(), bench.vmtest.guest_check(vm, 120)["pages"]


def snapshot(bench: "Bench", row: "Row", kind: str) -> dict[str, float]:
    """A guest that writes flat out; how long its snapshot takes, and which share of its speed it keeps."""
    ws = bench.mib(1024)
    path = bench.files / f"snapshot-{kind}"
    vm = bench.source(row, kind, bench.vmtest.pattern_args(mode="pattern", ws=f"{ws}M", report=0), f"{ws + 64}M")
    vm.caps(background_snapshot=True)
    vm.cmd("cont")
    vm.qmp.events.clear()
    first = progress(bench, vm)
    time.sleep(1)
    second = progress(bench, vm)
    try:
        result = write_state(bench, vm, path, direct=False)
        third = progress(bench, vm)
    finally:
        path.unlink(missing_ok=True)
        vm.cmd("stop")  # the other one shall not have to share the processors with this guest
    before = (second[1] - first[1]) / (second[0] - first[0])
    meanwhile = (third[1] - second[1]) / (third[0] - second[0])
    return {**result, "guest": meanwhile / before}
