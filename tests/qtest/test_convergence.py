# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations of guests that write faster than the line carries."""
from __future__ import annotations

import time

import pytest

from vmtest import PATIENCE, QMPError, guest_full_pass, listen_address, pattern_args


@pytest.fixture
def busy(make_vm):
    """A guest that rewrites 16 MiB flat out, its destination, and a line of 8 MiB/s that it never fits into."""
    guest = pattern_args(mode="hot", ws="24M", hot="16M", report=0)
    src = make_vm("godwit", *guest, mem="64M")
    dst = make_vm("godwit", *guest, "-incoming", "tcp:127.0.0.1:0", mem="64M")
    src.serial.wait("ready")
    # No downtime at all: a pass in which the guest had little of the CPU does not end it either.
    src.cmd("migrate-set-parameters", max_bandwidth=8 << 20, downtime_limit=0)
    return src, dst


ALWAYS_TOO_FAST = {"throttle_trigger_threshold": 1}  # also a guest that got little of the CPU


def throttle(vm) -> int:
    return vm.cmd("query-migrate").get("cpu-throttle-percentage", 0)


def test_auto_converge(busy):
    """The guest is slowed down in steps until it fits, and never stands still for long at once."""
    src, dst = busy
    src.caps(auto_converge=True)
    src.cmd("migrate-set-parameters", cpu_throttle_initial=30, cpu_throttle_increment=25, max_cpu_throttle=97,
            **ALWAYS_TOO_FAST)
    src.cmd("migrate", uri=listen_address(dst))
    deadline = time.monotonic() + PATIENCE
    while (percent := throttle(src)) < 80:
        assert percent in (0, 30, 55) and time.monotonic() < deadline, percent
    src.cmd("migrate-set-parameters", max_bandwidth=0, downtime_limit=2000)  # more than enough was seen: let it end
    assert "cpu-throttle-percentage" not in src.wait_migration("completed")
    notes = [r.get("text", "") for r in src.cmd("x-query-migration-record")]
    steps = [int(n.split()[-2]) for n in notes if n.startswith("the guest is slowed down by")]
    assert steps == [30, 55, 80, 97][:max(3, len(steps))], steps
    dst.wait_status("running")
    guest_full_pass(dst)


def test_throttle_ends_with_the_migration(busy):
    src, dst = busy
    src.caps(auto_converge=True)
    src.cmd("migrate-set-parameters", cpu_throttle_initial=99, **ALWAYS_TOO_FAST)
    src.cmd("migrate", uri=listen_address(dst))
    deadline = time.monotonic() + PATIENCE
    while not throttle(src):
        assert time.monotonic() < deadline
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled")
    assert throttle(src) == 0
    guest_full_pass(src)  # at 99 % this would take minutes
    assert src.status() == "running"


def limits(vm) -> list[tuple[int, int]]:
    return [(x["cpu-index"], x["limit-rate"]) for x in vm.cmd("query-vcpu-dirty-limit")]


def test_dirty_limit(busy):
    """A vCPU that writes too fast gets a limit, and loses it when the migration is over."""
    src, dst = busy
    src.caps(dirty_limit=True)
    src.cmd("migrate-set-parameters", vcpu_dirty_limit=7, x_vcpu_dirty_limit_period=200, **ALWAYS_TOO_FAST)
    src.cmd("migrate", uri=listen_address(dst))
    deadline = time.monotonic() + PATIENCE
    while not limits(src):
        assert time.monotonic() < deadline and src.cmd("query-migrate")["status"] in ("setup", "active")
    assert limits(src) == [(0, 7)]
    with pytest.raises(QMPError, match="'dirty-limit' sets the limits"):
        src.cmd("set-vcpu-dirty-limit", dirty_rate=100)
    src.cmd("migrate-set-parameters", vcpu_dirty_limit=2)  # takes effect at once
    slept, seen = 0, set()
    while (info := src.cmd("query-migrate"))["status"] == "active":
        assert time.monotonic() < deadline, info
        slept = max(slept, info.get("dirty-limit-throttle-time-per-round", 0))
        seen |= set(limits(src))
        if slept > 10000 and (0, 2) in seen:  # enough was seen: let it end
            src.cmd("migrate-set-parameters", max_bandwidth=0, downtime_limit=2000)
    src.wait_migration("completed")
    assert seen <= {(0, 7), (0, 2)}
    assert "dirty-limit-throttle-time-per-round" not in src.cmd("query-migrate")
    dst.wait_status("running")
    guest_full_pass(dst)


def test_dirty_limit_ends_with_the_migration(busy):
    """What was set by hand before holds again, and nothing else does."""
    src, dst = busy
    src.caps(dirty_limit=True)
    src.cmd("set-vcpu-dirty-limit", dirty_rate=500)
    src.cmd("migrate-set-parameters", **ALWAYS_TOO_FAST)
    src.cmd("migrate", uri=listen_address(dst))
    deadline = time.monotonic() + PATIENCE
    while limits(src) != [(0, 1)]:
        assert time.monotonic() < deadline
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled")
    assert limits(src) == [(0, 500)]
    src.cmd("cancel-vcpu-dirty-limit")
    assert limits(src) == []
    guest_full_pass(src)
    with pytest.raises(QMPError, match="incompatible"):
        src.caps(auto_converge=True)
    for name, bad in (("vcpu-dirty-limit", 0), ("x-vcpu-dirty-limit-period", 0), ("x-vcpu-dirty-limit-period", 1001)):
        with pytest.raises(QMPError, match=name):
            src.cmd("migrate-set-parameters", **{name: bad})


def test_auto_postcopy(busy):
    """What never fits switches to postcopy by itself, and not before all memory was sent once."""
    src, dst = busy
    for vm in busy:
        vm.caps(postcopy_ram=True)
    with pytest.raises(QMPError, match="requires capability 'postcopy-ram'"):
        src.caps(postcopy_ram=False, x_auto_postcopy=True)
    src.caps(x_auto_postcopy=True, events=True)
    src.cmd("migrate", uri=listen_address(dst))
    src.qmp.wait_event("MIGRATION", lambda d: d["status"] == "postcopy-active")
    src.cmd("migrate-set-parameters", max_postcopy_bandwidth=0)
    info = src.wait_migration("completed")
    assert info["ram"]["dirty-sync-count"] > 1
    assert "precopy will not come to an end" in src.hmp("info migrate -a")
    dst.wait_status("running")
    guest_full_pass(dst)


def test_auto_postcopy_leaves_what_converges(make_vm):
    """A guest that fits goes by precopy."""
    guest = pattern_args(mode="pattern", ws="8M", rate="8M", report=0)
    src = make_vm("godwit", *guest)
    dst = make_vm("godwit", *guest, "-incoming", "tcp:127.0.0.1:0")
    src.serial.wait("ready")
    for vm in (src, dst):
        vm.caps(postcopy_ram=True)
    src.caps(x_auto_postcopy=True)
    src.cmd("migrate-set-parameters", max_bandwidth=64 << 20, downtime_limit=2000)
    src.cmd("migrate", uri=listen_address(dst))
    assert src.wait_migration("completed")["ram"]["postcopy-bytes"] == 0
    dst.wait_status("running")
    guest_full_pass(dst)


def test_passes_are_counted(busy):
    """There is always something left, but each time all memory was sent a pass is over: libvirt waits for the second."""
    src, dst = busy
    src.caps(events=True)
    src.cmd("migrate-set-parameters", max_bandwidth=32 << 20)
    src.cmd("migrate", uri=listen_address(dst))
    for number in (1, 2, 3, 4):
        src.qmp.wait_event("MIGRATION_PASS", lambda d, n=number: d["pass"] == n)
    assert src.cmd("query-migrate")["ram"]["dirty-sync-count"] >= 4
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled")


def test_max_not_below_initial(busy):
    src, _ = busy
    before = src.cmd("query-migrate-parameters")
    for change in ({"max_cpu_throttle": 19}, {"cpu_throttle_initial": 50, "max_cpu_throttle": 49}):
        with pytest.raises(QMPError, match="max-cpu-throttle.*cpu-throttle-initial"):
            src.cmd("migrate-set-parameters", **change)
    src.cmd("migrate-set-parameters", cpu_throttle_initial=10, max_cpu_throttle=19)
    assert src.cmd("query-migrate-parameters") == {**before, "cpu-throttle-initial": 10, "max-cpu-throttle": 19}


def test_forecast(busy):
    """What never fits is said not to converge, with what would help; taking the advice makes it end."""
    src, dst = busy
    src.cmd("migrate-set-parameters", max_bandwidth=64 << 20)
    src.cmd("migrate", uri=listen_address(dst))
    deadline = time.monotonic() + PATIENCE
    while src.cmd("query-migrate").get("ram", {}).get("dirty-sync-count", 0) < 2:
        assert time.monotonic() < deadline
    src.cmd("migrate-set-parameters", max_bandwidth=1 << 20)
    # Rates are of a tenth of a second, in which the guest may have had no turn: until they show what it does.
    wanted = {"max-bandwidth", "downtime-limit", "dirty-limit", "postcopy", "xbzrle"}
    while (forecast := src.cmd("query-migrate").get("x-forecast", {})).get("verdict") != "will-not-converge" or \
            not wanted <= {a["remedy"] for a in forecast["remedies"]}:
        assert time.monotonic() < deadline, forecast
    while "will-not-converge" not in (text := src.hmp("info migrate")) or "would help" not in text:
        assert time.monotonic() < deadline, text
    # What stays dirty is known better with every pass, so an operator follows the advice as it changes.
    deadline = time.monotonic() + PATIENCE
    while (info := src.cmd("query-migrate"))["status"] == "active":
        assert time.monotonic() < deadline, info
        advice = {a["remedy"]: a["value"] for a in info.get("x-forecast", {}).get("remedies", [])}
        if "downtime-limit" in advice:
            src.cmd("migrate-set-parameters", downtime_limit=advice["downtime-limit"])
        time.sleep(0.5)
    src.wait_migration("completed")
    dst.wait_status("running")
    guest_full_pass(dst)
