# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations of guests that write faster than the line carries."""
from __future__ import annotations

import time

import pytest

from vmtest import QMPError, guest_full_pass, listen_address, pattern_args


@pytest.fixture
def busy(make_vm):
    """A guest that rewrites 16 MiB flat out, its destination, and a line of 8 MiB/s that it never fits into."""
    guest = pattern_args(mode="hot", ws="24M", hot="16M", report=0)
    src = make_vm("godwit", *guest, mem="64M")
    dst = make_vm("godwit", *guest, "-incoming", "tcp:127.0.0.1:0", mem="64M")
    src.serial.wait("ready")
    src.cmd("migrate-set-parameters", max_bandwidth=8 << 20, downtime_limit=100)
    return src, dst


def throttle(vm) -> int:
    return vm.cmd("query-migrate").get("cpu-throttle-percentage", 0)


def test_auto_converge(busy):
    """The guest is slowed down in steps until it fits, and never stands still for long at once."""
    src, dst = busy
    src.caps(auto_converge=True)
    src.cmd("migrate-set-parameters", cpu_throttle_initial=30, cpu_throttle_increment=25, max_cpu_throttle=97)
    src.cmd("migrate", uri=listen_address(dst))
    seen = set()
    while (info := src.cmd("query-migrate"))["status"] != "completed":
        assert info["status"] != "failed", info
        if percent := info.get("cpu-throttle-percentage"):
            seen.add(percent)
            if percent >= 80:  # more than enough was seen: let it end
                src.cmd("migrate-set-parameters", max_bandwidth=0)
    assert "cpu-throttle-percentage" not in info
    assert min(seen) == 30 and seen <= {30, 55, 80, 97}, seen
    dst.wait_status("running")
    guest_full_pass(dst)


def test_throttle_ends_with_the_migration(busy):
    src, dst = busy
    src.caps(auto_converge=True)
    src.cmd("migrate-set-parameters", cpu_throttle_initial=99)
    src.cmd("migrate", uri=listen_address(dst))
    deadline = time.monotonic() + 60
    while not throttle(src):
        assert time.monotonic() < deadline
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled")
    assert throttle(src) == 0
    guest_full_pass(src)  # at 99 % this would take minutes
    assert src.status() == "running"


def test_passes_are_counted(busy):
    """There is always something left, but each time all memory was sent a pass is over: libvirt waits for the second."""
    src, dst = busy
    src.caps(events=True)
    src.cmd("migrate-set-parameters", max_bandwidth=32 << 20, downtime_limit=0)
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
    src.cmd("migrate-set-parameters", max_bandwidth=64 << 20, downtime_limit=1)
    src.cmd("migrate", uri=listen_address(dst))
    deadline = time.monotonic() + 90
    while src.cmd("query-migrate").get("ram", {}).get("dirty-sync-count", 0) < 2:
        assert time.monotonic() < deadline
    src.cmd("migrate-set-parameters", max_bandwidth=1 << 20)
    while (forecast := src.cmd("query-migrate").get("x-forecast", {})).get("verdict") != "will-not-converge":
        assert time.monotonic() < deadline, forecast
    advice = {a["remedy"]: a["value"] for a in forecast["remedies"]}
    assert {"max-bandwidth", "downtime-limit", "xbzrle"} <= set(advice)
    text = src.hmp("info migrate")
    assert "will-not-converge" in text and "would help" in text
    # What stays dirty is known better with every pass, so an operator follows the advice as it changes.
    deadline = time.monotonic() + 120
    while (info := src.cmd("query-migrate"))["status"] == "active":
        assert time.monotonic() < deadline, info
        advice = {a["remedy"]: a["value"] for a in info.get("x-forecast", {}).get("remedies", [])}
        if "downtime-limit" in advice:
            src.cmd("migrate-set-parameters", downtime_limit=advice["downtime-limit"])
        time.sleep(0.5)
    src.wait_migration("completed")
    dst.wait_status("running")
    guest_full_pass(dst)
