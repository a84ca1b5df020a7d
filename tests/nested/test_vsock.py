# SPDX-License-Identifier: GPL-2.0-or-later
"""Live migration over AF_VSOCK; CID 1 is the kernel's own loopback (module vsock_loopback)."""
from __future__ import annotations

import pytest

from vmtest import QMPError, guest_check, guest_full_pass, hand_over, pattern_args

GUEST = {"mode": "pattern", "ws": "4M", "rate": "2M", "report": 0}
PAIRS = [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")]
SLOW = 300  # seconds: an emulator inside an emulator


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_live(make_vm, pair):
    """The guest writes its memory while it moves, and checks it afterwards. One that comes from stock stands still: a slow
    machine needs several passes, which stock does not survive (docs/devel/testing.md, "The oracle")."""
    uri = f"vsock:1:{5000 + PAIRS.index(pair)}"
    src = make_vm(pair[0], *pattern_args(**GUEST), mem="32M")
    src.serial.wait("ready", SLOW)
    guest_check(src, SLOW)
    dst = make_vm(pair[1], *pattern_args(**GUEST), "-incoming", uri, mem="32M")
    if pair[1] == "godwit":
        assert dst.cmd("query-migrate")["socket-address"] == [
            {"type": "vsock", "cid": "1", "port": uri.rsplit(":", 1)[1]}]
    if pair[0] == "stock":
        src.cmd("stop")
    hand_over(src, None, uri)
    if pair[0] == "stock":
        dst.wait_status("paused", timeout=SLOW)
        dst.cmd("cont")
    guest_full_pass(dst, SLOW)


def test_nobody_listens(make_vm):
    """A refused connection says where to; the guest runs on."""
    src = make_vm("godwit", *pattern_args(**GUEST), mem="32M")
    src.serial.wait("ready", SLOW)
    src.cmd("migrate", uri="vsock:1:4999")
    error = src.wait_migration("failed")["error-desc"]
    assert error == "Failed to connect to '1:4999': Connection reset by peer"
    guest_full_pass(src, SLOW)


def test_port_in_use(make_vm):
    """A destination whose port is taken says so and can listen elsewhere."""
    make_vm("godwit", "-incoming", "vsock:1:4998", serial=False)
    dst = make_vm("godwit", "-incoming", "defer", serial=False)
    with pytest.raises(QMPError, match="Address already in use"):
        dst.cmd("migrate-incoming", uri="vsock:1:4998")
    dst.cmd("migrate-incoming", uri="vsock:1:4997")
