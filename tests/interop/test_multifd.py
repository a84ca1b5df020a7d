# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory over several channels, while the guest writes flat out, between Godwit and stock QEMU 7.2."""
from __future__ import annotations

import re

import pytest

from vmtest import VM, guest_check, guest_full_pass, hand_over, listen_address, pattern_args

PAIRS = [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")]
GUEST = {"mode": "pattern", "ws": "48M", "rate": "0", "report": 0}
# A stock source loses pages of a busy guest, to itself too (7.2.22, no codec, four moves at once on two processors: 2 of 28).
STILL = {"stock": {"mode": "idle"}}


def pair_of(make_vm, kinds: tuple[str, str], options: list[str] | tuple[str, ...] = (),
            transport: str = "tcp:127.0.0.1:0", caps: tuple[str, ...] = (),
            guest: dict | None = None, **params) -> tuple[VM, VM]:
    """A running source and a listening destination with the same multifd settings. @options: for Godwit only."""
    vms = []
    for kind, extra in zip(kinds, ([], ["-incoming", "defer"])):
        more = [arg for o in options if kind == "godwit" for arg in ("-global", f"migration.{o}")]
        vm = make_vm(kind, *pattern_args(**{**GUEST, **(guest or {}), **STILL.get(kinds[0], {})}), *extra, *more)
        vm.caps(multifd=True, **{c: True for c in caps})
        vm.cmd("migrate-set-parameters", **params)
        vms.append(vm)
    src, dst = vms
    dst.cmd("migrate-incoming", uri=transport)
    src.serial.wait("ready")
    guest_check(src)
    return src, dst


def move(src: VM, dst: VM) -> dict:
    """Nothing is slower than this guest: it is stopped as soon as two seconds suffice for the rest."""
    info = hand_over(src, dst, listen_address(dst))
    assert info["ram"]["multifd-bytes"] > 1 << 18, "memory did not travel on the channels"
    guest_full_pass(dst)
    return info


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_multifd(make_vm, pair, channels):
    move(*pair_of(make_vm, pair, multifd_channels=channels))


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("method", ["zlib", "zstd"])
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_compressed(make_vm, pair, method, channels):
    """Compressing is slower than a guest can write, so this one has little memory and a pace. A stock source that is slower than its guest
    loses pages, whoever the destination is (7.2.22 to itself with zlib: 5 of 9 moves): from there an idle one moves."""
    guest = {"ws": "4M", "rate": "4M", "mode": "idle" if pair[0] == "stock" else "pattern"}
    move(*pair_of(make_vm, pair, guest=guest, multifd_channels=channels, multifd_compression=method))


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_return_path_over_unix(make_vm, tmp_path, pair):
    move(*pair_of(make_vm, pair, transport=f"unix:{tmp_path}/mig", caps=("return_path",)))


@pytest.mark.parametrize("method", ["none", "zstd"])
@pytest.mark.parametrize("options", [["multifd-flush-after-each-section=off"],
                                     ["zero-page-detection=multifd"],
                                     ["multifd-flush-after-each-section=off",
                                      "zero-page-detection=multifd"]],
                         ids=["per-pass", "zero-in-packets", "as-9.0"])
def test_layouts_of_later_releases(make_vm, options, method):
    move(*pair_of(make_vm, ("godwit", "godwit"), options, multifd_compression=method))


ADAPTIVE = {"godwit": "x-adaptive", "stock": "zstd"}


def coded_packets(src: VM) -> list[int]:
    """By x-adaptive: at each level of zstd, all channels together."""
    lines = [r["text"] for r in src.cmd("x-query-migration-record") if "packets plain" in r.get("text", "")]
    assert lines
    return [int(n) for line in lines for n in re.findall(r"zstd -?\d+: (\d+)", line)]


def test_adaptive_on_a_slow_line(make_vm, tmp_path):
    """A limit is as good as one. Text in memory travels compressed; what the guest itself writes does not compress, and is not tried in vain."""
    text = tmp_path / "text"
    text.write_text("".join(f"line {i} of a text that says little\n" for i in range(400_000)) * 4)
    args = [*pattern_args(mode="pattern", ws="8M", rate="1M", report=0), "-initrd", str(text)]
    src, dst = make_vm("godwit", *args, mem="256M"), make_vm("godwit", *args, "-incoming", "defer", mem="256M")
    for vm in (src, dst):
        vm.caps(multifd=True, return_path=True)
        vm.cmd("migrate-set-parameters", multifd_compression="x-adaptive", max_bandwidth=16 << 20, downtime_limit=200)
    dst.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    src.serial.wait("ready")
    guest_check(src)
    src.cmd("migrate", uri=listen_address(dst))
    ram = src.wait_migration("completed")["ram"]
    dst.wait_status("running")
    guest_full_pass(dst)
    assert sum(coded_packets(src)) > 0
    assert ram["multifd-bytes"] < 4096 * ram["normal"] - (8 << 20)


@pytest.mark.parametrize("there, here", [("stock", "godwit"), ("godwit", "stock"), ("godwit", "godwit")],
                         ids="-to-".join)
def test_adaptive_with_others(make_vm, there, here):
    """A destination takes whatever zstd or plain a source sends; a source whose destination did not ask for it sends plain."""
    src, dst = pair_of(make_vm, (there, here), caps=("return_path",),
                       guest={"ws": "4M", "rate": "4M", "mode": "idle" if there == "stock" else "pattern"})
    src.cmd("migrate-set-parameters", multifd_compression=ADAPTIVE[there])
    if there == "stock":
        dst = make_vm(here, *pattern_args(**{**GUEST, "ws": "4M", "rate": "4M", "mode": "idle"}), "-incoming", "defer")
        dst.caps(multifd=True, return_path=True)
        dst.cmd("migrate-set-parameters", multifd_compression="x-adaptive")
        dst.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    move(src, dst)
    if there == "godwit":
        assert sum(coded_packets(src)) == 0


def test_hops(make_vm):
    """There and back again, whoever it is; the guest checks its memory at every stop."""
    kinds = ["stock", "godwit", "stock", "godwit", "godwit"]
    here, _ = pair_of(make_vm, ("godwit", "godwit"))
    for kind in kinds:
        there = make_vm(kind, *pattern_args(**GUEST), "-incoming", "defer")
        there.caps(multifd=True)
        here.caps(multifd=True)
        there.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
        move(here, there)
        here.close()
        here = there


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
def test_zero_copy(make_vm, pair):
    """On loopback the kernel copies anyway: each channel of ours finds out at its first sync and goes on without. 7.2
    drains a channel before its last send and so loses pages now and then, to itself too: from there an idle guest moves."""
    src, dst = pair_of(make_vm, pair, guest={"mode": "idle" if pair[0] == "stock" else "pattern"})
    src.caps(zero_copy_send=True)
    missed = move(src, dst)["ram"]["dirty-sync-missed-zero-copy"]
    assert missed > 0
    if pair[0] == "godwit":
        assert missed == 2


def test_zero_copy_needs_tcp(make_vm, tmp_path):
    src, dst = pair_of(make_vm, ("godwit", "godwit"), transport=f"unix:{tmp_path}/mig")
    src.caps(zero_copy_send=True)
    src.cmd("migrate", uri=listen_address(dst))
    info = src.wait_migration("failed")
    assert "Zero copy send feature not detected in host kernel" in info["error-desc"]
    guest_check(src)
    src.caps(zero_copy_send=False)
    move(src, dst)
