# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of the speed table about postcopy: what a missing page costs, and when the last one has come.

Both emulators with postcopy-preempt, over TCP, the background as fast as it goes.
"""
from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from run import Bench, Row


def pair_up(bench: "Bench", kind: str, args: list[str], mem: str):
    """A source that has filled its memory, and a listening destination."""
    src = bench.vmtest.VM(kind, *args, mem=mem)
    dst = None
    try:
        src.serial.wait("ready", 600)
        dst = bench.vmtest.VM(kind, *args, "-incoming", "defer", mem=mem)
        for vm in (src, dst):
            vm.caps(events=True, postcopy_ram=True, postcopy_preempt=True)
        dst.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
        return src, dst
    except BaseException:
        src.close()
        if dst:
            dst.close()
        raise


def start(bench: "Bench", src, dst) -> float:
    """Almost nothing goes in precopy. The moment of the switch."""
    src.cmd("migrate-set-parameters", max_bandwidth=1_000_000, max_postcopy_bandwidth=0)
    src.cmd("migrate", uri=bench.vmtest.listen_address(dst))
    src.wait_migration("active")
    begin = time.monotonic()
    src.cmd("migrate-start-postcopy")
    return begin


def completed(vm) -> None:
    event = vm.qmp.wait_event("MIGRATION", lambda d: d["status"] in ("completed", "failed", "postcopy-paused"), 300)
    if event["data"]["status"] != "completed":
        raise RuntimeError(f"{vm.kind}: {vm.cmd('query-migrate').get('error-desc')}")


def faults(bench: "Bench", kind: str) -> dict[str, float]:
    """A guest that reads its memory at random, by its own clock."""
    ws = bench.mib(1024)
    args = ["-bios", "none", "-kernel", str(bench.vmtest.GUESTS / "faults.bin"), "-append", f"ws={ws}M"]
    src, dst = pair_up(bench, kind, args, f"{ws + 64}M")
    try:
        start(bench, src, dst)
        dst.qmp.wait_event("RESUME", timeout=60)
        dst.serial.send("g")
        for vm in (src, dst):
            completed(vm)
        dst.serial.send("r")
        m = dst.serial.wait(r"godwit-faults: n=(\d+) p50_ns=(\d+) p99_ns=(\d+) max_ns=(\d+) touches", 60)
        return {"faults": int(m[1]), "p50": int(m[2]) / 1000, "p99": int(m[3]) / 1000, "max": int(m[4]) / 1000}
    finally:
        src.close()
        dst.close()


def fault_p50(bench: "Bench", row: "Row", kind: str) -> dict[str, float]:
    """Half of the waits are shorter."""
    run = faults(bench, kind)
    return {**run, "value": run["p50"]}


def fault_p99(bench: "Bench", row: "Row", kind: str) -> dict[str, float]:
    """One wait in a hundred is longer."""
    run = faults(bench, kind)
    return {**run, "value": run["p99"]}


def total(bench: "Bench", row: "Row", kind: str) -> dict[str, float]:
    """From the switch until the last page has come, with a guest that writes flat out; its work meanwhile is noted."""
    ws = bench.mib(1024)
    src, dst = pair_up(bench, kind, bench.vmtest.pattern_args(mode="pattern", ws=f"{ws}M", report=0), f"{ws + 64}M")
    try:
        pids = (src.process.pid, dst.process.pid)
        visited = bench.vmtest.guest_check(src)["pages"]
        cpu = sum(bench.cpu_seconds(p) for p in pids)
        begin = start(bench, src, dst)
        for vm in (src, dst):
            completed(vm)
        took = time.monotonic() - begin
        cpu = sum(bench.cpu_seconds(p) for p in pids) - cpu
        return {"value": took, "cpu": cpu, "guest": bench.vmtest.guest_check(dst)["pages"] - visited}
    finally:
        src.close()
        dst.close()
