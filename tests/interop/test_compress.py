# SPDX-License-Identifier: GPL-2.0-or-later
"""`compress` between Godwit and stock QEMU 7.2, the guest writing all the while. Its pages hardly shrink: that they are whole is
the point here."""
from __future__ import annotations

import pytest

from vmtest import guest_check, guest_full_pass, listen_address, pattern_args

GUEST = {"mode": "pattern", "ws": "16M", "rate": "4M", "report": 0}


def moved(make_vm, pair: tuple[str, str], source: dict, target: dict, **caps: bool) -> dict:
    """Move a guest; its memory is checked afterwards. The source's query-migrate. A stock source that is slower than its
    guest loses pages, whoever the destination is (7.2.22 to itself: 3 of 3 moves): from there an idle one moves."""
    guest = pattern_args(**{**GUEST, "mode": "idle"} if pair[0] == "stock" else GUEST)
    src = make_vm(pair[0], *guest, smp=2)
    dst = make_vm(pair[1], *guest, "-incoming", "tcp:127.0.0.1:0", smp=2)
    for vm, params in ((src, source), (dst, target)):
        vm.caps(compress=True, **caps)
        if params:
            vm.cmd("migrate-set-parameters", **params)
    src.serial.wait("ready")
    guest_check(src)
    # However slow this machine compresses: one pass beside the guest, then what is left.
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60_000)
    src.cmd("migrate", uri=listen_address(dst))
    info = src.wait_migration("completed")
    dst.wait_status("running")
    guest_full_pass(dst)
    return info


@pytest.mark.parametrize("pair", [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")], ids="-to-".join)
def test_pages_arrive(make_vm, pair):
    stats = moved(make_vm, pair, {"compress-level": 1, "compress-threads": 3}, {"decompress-threads": 3},
                  return_path=True)["compression"]
    assert stats["pages"] > 3500
    assert 0 < stats["compressed-size"] <= 4114 * stats["pages"]
    if pair[0] == "godwit":
        assert 0.9 < stats["compression-rate"] < 10
        assert stats["busy"] == 0


def test_does_not_wait(make_vm):
    """One thread, slow, and nobody waits for it: what it cannot do goes as it is."""
    info = moved(make_vm, ("godwit", "stock"),
                 {"compress-level": 9, "compress-threads": 1, "compress-wait-thread": False}, {})
    stats = info["compression"]
    assert stats["busy"] > 0 and stats["pages"] > 0
    assert 0 < stats["busy-rate"] < 1
    assert info["ram"]["normal"] >= stats["busy"]


def test_deltas_win(make_vm):
    info = moved(make_vm, ("godwit", "stock"), {}, {}, xbzrle=True)
    assert info["compression"]["pages"] > 0 and info["xbzrle-cache"]["pages"] + info["xbzrle-cache"]["cache-miss"] > 0


@pytest.mark.parametrize("peer", ["stock", "godwit"])
def test_switched_off_here(make_vm, peer):
    """A destination without the capability says what is missing; the source lives on."""
    src = make_vm(peer, *pattern_args(**GUEST))
    dst = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer")
    dst.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    src.serial.wait("ready")
    src.caps(compress=True)
    src.cmd("migrate", uri=listen_address(dst))
    src.wait_migration("failed")
    guest_check(src)
    dst.wait_exit()
    assert "the capability 'compress' is off here" in dst.log()
