# SPDX-License-Identifier: GPL-2.0-or-later
"""A state saved to a file is a start like any other."""
from __future__ import annotations

import subprocess

from vmtest import BINARIES, guest_full_pass, hand_over, pattern_args

GUEST = {"mode": "pattern", "ws": "16M", "rate": "20M", "report": 0}


def save(make_vm, path) -> None:
    vm = make_vm("godwit", *pattern_args(**GUEST))
    vm.serial.wait("ready")
    hand_over(vm, None, f"file:{path}")
    vm.close()


def test_start_from_a_file(make_vm, tmp_path):
    path = tmp_path / "state"
    save(make_vm, path)
    for _ in range(2):  # the file is only read
        vm = make_vm("godwit", *pattern_args(**GUEST), "-loadvm", str(path))
        assert vm.wait_status("running")
        guest_full_pass(vm)
        vm.close()
    stopped = make_vm("godwit", *pattern_args(**GUEST), "-loadvm", str(path), "-S")
    assert stopped.status() == "paused"
    stopped.cmd("cont")
    guest_full_pass(stopped)


def test_damaged_file(make_vm, tmp_path):
    path = tmp_path / "state"
    save(make_vm, path)
    whole = path.read_bytes()
    for name, data, text in (("cut", whole[:100000], "offset"), ("foreign", b"#!/bin/sh\n" * 100, "Not a migration stream"),
                             ("empty", b"", "")):
        bad = tmp_path / name
        bad.write_bytes(data)
        run = subprocess.run([BINARIES["godwit"], "-nodefaults", "-display", "none", "-loadvm", str(bad)],
                             capture_output=True, text=True, timeout=120)
        assert run.returncode == 1
        assert str(bad) in run.stderr and text in run.stderr


def test_offset_keeps_what_is_before(make_vm, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"X" * 4096 + b"old tail")
    vm = make_vm("godwit", *pattern_args(**GUEST))
    vm.serial.wait("ready")
    hand_over(vm, None, f"file:{path},offset=4096")
    data = path.read_bytes()
    assert data[:4096] == b"X" * 4096
    assert data[4096:4104] == b"QEVM\0\0\0\3"
    back = make_vm("godwit", *pattern_args(**GUEST), "-incoming", f"file:{path},offset=4k")
    back.wait_status("running")
    guest_full_pass(back)
