# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration of a guest that writes its memory, between Godwit and stock QEMU 7.2."""
from __future__ import annotations

import pytest

from vmtest import guest_check, guest_full_pass, hand_over, listen_address, pattern_args

PAIRS = [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")]
GUEST = {"mode": "pattern", "ws": "48M", "rate": "40M", "report": 0}


def started(make_vm, kind: str, **kwargs):
    """A guest that has populated its memory and keeps writing it."""
    vm = make_vm(kind, *pattern_args(**GUEST), **kwargs)
    vm.serial.wait("ready")
    guest_check(vm)
    return vm


@pytest.mark.parametrize("smp", [1, 2])
@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_live(make_vm, tmp_path, pair, transport, smp):
    src = started(make_vm, pair[0], smp=smp)
    listen = "tcp:127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/mig"
    dst = make_vm(pair[1], *pattern_args(**GUEST), "-incoming", listen, smp=smp)
    hand_over(src, dst, listen_address(dst))
    guest_full_pass(dst)


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_exec_file(make_vm, tmp_path, pair):
    """Saved by one into a file, restored by the other (exec: on both, which 7.2 knows)."""
    path = tmp_path / "stream"
    src = started(make_vm, pair[0])
    hand_over(src, None, f"exec:cat > {path}")
    dst = make_vm(pair[1], *pattern_args(**GUEST), "-incoming", f"exec:cat {path}")
    dst.wait_status("running")
    guest_full_pass(dst)


def test_file_uri(make_vm, tmp_path):
    """Godwit's own file: transport, whose bytes stock restores through exec:."""
    path = tmp_path / "state"
    src = started(make_vm, "godwit")
    hand_over(src, None, f"file:{path}")
    for kind, uri in (("godwit", f"file:{path}"), ("stock", f"exec:cat {path}")):
        dst = make_vm(kind, *pattern_args(**GUEST), "-incoming", uri)
        dst.wait_status("running")
        guest_full_pass(dst)


@pytest.mark.parametrize("multifd", [False, True], ids=["", "multifd"])
def test_zero_runs(make_vm, multifd):
    """Most of a big guest is untouched: told in a handful of records, and the guest's own pages arrive."""
    guest = pattern_args(**{**GUEST, "ws": "4M", "rate": "1M"})
    src = make_vm("godwit", *guest, mem="4096M")
    src.serial.wait("ready")
    dst = make_vm("godwit", *guest, "-incoming", "defer", mem="4096M")
    for vm in (src, dst):
        vm.caps(return_path=True, multifd=multifd)
    dst.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    ram = hand_over(src, dst, listen_address(dst))["ram"]
    assert ram["duplicate"] > 900_000
    assert ram["transferred"] - 4104 * ram["normal"] < 200_000
    guest_full_pass(dst)


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_return_path(make_vm, pair):
    src = started(make_vm, pair[0])
    dst = make_vm(pair[1], *pattern_args(**GUEST), "-incoming", "tcp:127.0.0.1:0")
    for vm in (src, dst):
        vm.caps(return_path=True)
    hand_over(src, dst, listen_address(dst))
    guest_full_pass(dst)


def test_ten_hops(make_vm):
    """Back and forth ten times; the guest checks its memory at every stop."""
    kinds = ["godwit", "stock"]
    here = started(make_vm, "stock")
    for hop in range(10):
        there = make_vm(kinds[hop % 2], *pattern_args(**GUEST), "-incoming", "tcp:127.0.0.1:0")
        hand_over(here, there, listen_address(there))
        guest_full_pass(there)
        here.close()
        here = there
