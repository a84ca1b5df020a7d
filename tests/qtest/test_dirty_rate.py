# SPDX-License-Identifier: GPL-2.0-or-later
"""Measuring and limiting how fast a guest makes memory dirty."""
from __future__ import annotations

import time

import pytest

from vmtest import QMPError, guest_full_pass, pattern_args

MODES = ["page-sampling", "dirty-bitmap", "dirty-ring"]


@pytest.fixture
def guest(make_vm):
    """Writes 40 MiB/s on two harts, round about 48 MiB."""
    vm = make_vm("godwit", *pattern_args(mode="pattern", ws="48M", rate="40M", report=0), smp=2, mem="64M")
    vm.serial.wait("ready")
    return vm


def measured(vm) -> dict:
    deadline = time.monotonic() + 120
    while (info := vm.cmd("query-dirty-rate"))["status"] != "measured":
        assert info["status"] == "measuring" and "dirty-rate" not in info
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return info


def test_nothing_yet(guest):
    info = guest.cmd("query-dirty-rate")
    assert info["status"] == "unstarted" and "dirty-rate" not in info
    assert guest.cmd("query-vcpu-dirty-limit") == []
    guest.cmd("cancel-vcpu-dirty-limit")
    assert "unstarted" in guest.hmp("info dirty_rate")
    assert "not enabled" in guest.hmp("info vcpu_dirty_limit")


@pytest.mark.parametrize("mode", MODES)
def test_modes(guest, mode):
    guest.qmp.send("calc-dirty-rate", calc_time=1000, calc_time_unit="millisecond", mode=mode)
    guest.qmp.send("calc-dirty-rate", calc_time=1)  # at once: in a second it may be over
    guest.qmp.reply()
    with pytest.raises(QMPError, match="already being measured"):
        guest.qmp.reply()
    while (info := measured(guest))["dirty-rate"] < 1:  # the guest had no turn
        guest.cmd("calc-dirty-rate", calc_time=1000, calc_time_unit="millisecond", mode=mode)
    assert info["mode"] == mode and info["calc-time"] >= 1
    assert guest.cmd("query-dirty-rate", calc_time_unit="millisecond")["calc-time"] >= 1000
    # 40 if the machine is quiet, less if it is not; one second of 48 MiB is the most there can be.
    assert 1 <= info["dirty-rate"] <= 60, info
    if mode == "dirty-ring":
        rates = info["vcpu-dirty-rate"]
        assert [r["id"] for r in rates] == [0, 1]
        assert sum(r["dirty-rate"] for r in rates) == info["dirty-rate"], info
    else:
        assert "vcpu-dirty-rate" not in info
    assert info["sample-pages"] == (512 if mode == "page-sampling" else 0)
    guest_full_pass(guest)


@pytest.mark.parametrize("args, text", [
    ({"calc_time": 0}, "out of range"), ({"calc_time": 61}, "out of range"), ({"calc_time": 2 ** 62}, "out of range"),
    ({"calc_time": -1}, "out of range"), ({"calc_time": 49, "calc_time_unit": "millisecond"}, "out of range"),
    ({"calc_time": 1, "sample_pages": 1}, "sample-pages is out of range"),
    ({"calc_time": 1, "sample_pages": 16385}, "sample-pages is out of range"),
    ({"calc_time": 1, "sample_pages": 512, "mode": "dirty-bitmap"}, "only in page-sampling"),
    ({"calc_time": 1, "mode": "nope"}, "does not accept value"),
])
def test_refused(guest, args, text):
    with pytest.raises(QMPError, match=text):
        guest.cmd("calc-dirty-rate", **args)
    assert guest.cmd("query-dirty-rate")["status"] == "unstarted"


def test_hmp(guest):
    assert "Measuring" in guest.hmp("calc_dirty_rate -r 1")
    measured(guest)
    text = guest.hmp("info dirty_rate")
    assert "Status: measured" in text and "Dirty rate: " in text and "vcpu[1]" in text
    guest.hmp("set_vcpu_dirty_limit 5 1")
    assert "vcpu[1], limit rate 5" in guest.hmp("info vcpu_dirty_limit")
    guest.hmp("cancel_vcpu_dirty_limit")
    assert "not enabled" in guest.hmp("info vcpu_dirty_limit")


def test_limit(guest):
    """Both harts together write 40 MiB/s; each may do 4."""
    guest.cmd("set-vcpu-dirty-limit", dirty_rate=4)
    limits = guest.cmd("query-vcpu-dirty-limit")
    assert [(x["cpu-index"], x["limit-rate"]) for x in limits] == [(0, 4), (1, 4)]
    with pytest.raises(QMPError, match="in use by set-vcpu-dirty-limit"):
        guest.cmd("calc-dirty-rate", calc_time=1, mode="dirty-bitmap")
    deadline = time.monotonic() + 120
    rates = []
    while len(rates) < 5:  # whole seconds, in each of which something was written
        assert time.monotonic() < deadline
        time.sleep(1)
        now = [x["current-rate"] for x in guest.cmd("query-vcpu-dirty-limit")]
        if max(now):
            rates.append(max(now))
    assert sum(rates) / len(rates) <= 5, rates  # a second may end in the middle of one's quota
    guest.cmd("cancel-vcpu-dirty-limit", cpu_index=0)
    assert [x["cpu-index"] for x in guest.cmd("query-vcpu-dirty-limit")] == [1]
    guest.cmd("set-vcpu-dirty-limit", dirty_rate=0)
    assert guest.cmd("query-vcpu-dirty-limit") == []
    for index in (2, -1):
        with pytest.raises(QMPError, match="incorrect cpu index"):
            guest.cmd("set-vcpu-dirty-limit", dirty_rate=1, cpu_index=index)
    guest_full_pass(guest)


def test_quit_while_measuring(guest):
    guest.cmd("calc-dirty-rate", calc_time=60, mode="dirty-ring")
    guest.cmd("quit")
    assert guest.wait_exit() == 0


def test_quit_with_a_limit(guest):
    guest.cmd("set-vcpu-dirty-limit", dirty_rate=1)
    guest.cmd("quit")
    assert guest.wait_exit() == 0
