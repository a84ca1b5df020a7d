# SPDX-License-Identifier: GPL-2.0-or-later
"""Postcopy of a guest that writes flat out, between Godwit and stock QEMU 7.2; its line is cut and mended."""
from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest

from relay import Relay
from tlstest import Sides, use_tls
from vmtest import PATIENCE, QMPError, VM, guest_check, guest_full_pass, listen_address, pattern_args

PAIRS = [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")]
GUEST = {"mode": "random", "ws": "40M", "report": 0}
# Stock may stop a guest between a store and the register that counts it (docs/devel/testing.md): the more stores, the sooner.
CALM = {**GUEST, "mode": "pattern", "rate": "20M"}
LONG = bool(os.environ.get("GODWIT_TEST_LONG"))


def pair_up(make_vm, kinds: tuple[str, str], listen: str = "tcp:127.0.0.1:0", args=(),
            prepare: Callable[[VM, VM], None] = lambda src, dst: None, **caps: bool) -> tuple[VM, VM]:
    """A source whose guest has filled its memory, and a listening destination. @prepare: both, before it listens."""
    src = make_vm(kinds[0], *pattern_args(**(CALM if kinds[0] == "stock" else GUEST)), *args)
    src.serial.wait("ready")
    dst = make_vm(kinds[1], *pattern_args(**GUEST), *args, "-incoming", "defer")
    for vm in (src, dst):
        vm.caps(postcopy_ram=True, events=True, **caps)
    prepare(src, dst)
    dst.cmd("migrate-incoming", uri=listen)
    return src, dst


def wait_moved(src: VM) -> None:
    """Some memory has gone over."""
    deadline = time.monotonic() + PATIENCE
    while src.cmd("query-migrate").get("ram", {}).get("normal", 0) < 500:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def switch(src: VM, dst: VM, uri: str, slow: int = 0) -> None:
    """Migrate until a part of memory has gone, then let the guest go. @slow: bytes/s afterwards."""
    src.cmd("migrate-set-parameters", max_bandwidth=20_000_000, max_postcopy_bandwidth=slow, downtime_limit=1)
    src.cmd("migrate", uri=uri)
    wait_moved(src)
    src.cmd("migrate-start-postcopy")
    src.wait_migration("postcopy-active", "completed")
    dst.wait_status("running")


def wait_requests(src: VM, n: int) -> None:
    """The guest has missed that many pages, or all have come before it could."""
    while True:
        info = src.wait_migration("postcopy-active", "completed")
        if info["status"] == "completed" or info["ram"]["postcopy-requests"] >= n:
            return
        time.sleep(0.01)


def finish(src: VM, dst: VM) -> dict:
    src.cmd("migrate-set-parameters", max_postcopy_bandwidth=0)
    info = src.wait_migration("completed")
    dst.wait_migration("completed")
    src.wait_status("postmigrate")
    assert info["ram"]["remaining"] == 0
    guest_full_pass(dst)
    return info


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_postcopy(make_vm, tmp_path, kinds, transport):
    listen = "tcp:127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/mig"
    src, dst = pair_up(make_vm, kinds, listen)
    switch(src, dst, listen_address(dst), slow=1_000_000)
    wait_requests(src, 3)
    assert finish(src, dst)["ram"]["postcopy-bytes"] > 0


@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_not_needed(make_vm, kinds):
    """Both sides could, nobody asks for it: plain precopy."""
    src, dst = pair_up(make_vm, kinds)
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    src.cmd("migrate", uri=listen_address(dst))
    assert src.wait_migration("completed")["ram"]["postcopy-bytes"] == 0
    dst.wait_status("running")
    guest_full_pass(dst)


def test_channels(make_vm):
    """Stock knows one channel: it is given no other."""
    src, dst = pair_up(make_vm, ("godwit", "stock"), prepare=lambda s, d: s.cmd("migrate-set-parameters", x_postcopy_channels=4))
    line = Relay(int(listen_address(dst).rsplit(":", 1)[1]))
    switch(src, dst, line.uri, slow=1_000_000)
    finish(src, dst)
    assert len(line.pairs) == 1


@pytest.mark.parametrize("kinds", [("godwit", "godwit"), ("stock", "godwit"), ("godwit", "stock")],
                         ids="-to-".join)
def test_huge_pages(make_vm, kinds):
    with open("/proc/meminfo", encoding="ascii") as f:
        free = next(int(line.split()[1]) for line in f if line.startswith("HugePages_Free"))
    if free < 128:
        pytest.skip(f"the host has {free} free huge pages of 2 MiB, 128 are needed")
    back = ["-object", "memory-backend-memfd,id=m0,size=128M,hugetlb=on,share=on",
            "-machine", "memory-backend=m0"]
    src, dst = pair_up(make_vm, kinds, args=back)
    switch(src, dst, listen_address(dst), slow=40_000_000)
    finish(src, dst)


@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_shared_memory(make_vm, kinds):
    back = ["-object", "memory-backend-memfd,id=m0,size=128M,share=on",
            "-machine", "memory-backend=m0"]
    src, dst = pair_up(make_vm, kinds, args=back)
    switch(src, dst, listen_address(dst), slow=40_000_000)
    finish(src, dst)


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_preempt(make_vm, tmp_path, kinds, transport):
    """What is asked for has a channel of its own."""
    listen = "tcp:127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/mig"
    src, dst = pair_up(make_vm, kinds, listen, postcopy_preempt=True)
    switch(src, dst, listen_address(dst), slow=1_000_000)
    wait_requests(src, 20)
    finish(src, dst)


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
@pytest.mark.parametrize("kinds", PAIRS[:2], ids="-to-".join)
def test_multifd(make_vm, kinds, preempt):
    """Precopy over several channels, then postcopy over the main one."""
    src, dst = pair_up(make_vm, kinds, postcopy_preempt=preempt, multifd=True)
    switch(src, dst, listen_address(dst), slow=1_000_000)
    wait_requests(src, 3)
    info = finish(src, dst)
    assert info["ram"]["multifd-bytes"] > 1 << 18, "memory did not travel on the channels"
    assert info["ram"]["postcopy-bytes"] > 0


def test_multifd_to_stock(make_vm):
    """Stock 7.2 takes both capabilities and aborts when the last page has come, from whomever: Godwit does not switch then."""
    src, dst = pair_up(make_vm, ("godwit", "stock"), multifd=True)
    src.cmd("migrate-set-parameters", max_bandwidth=20_000_000)
    src.cmd("migrate", uri=listen_address(dst))
    src.wait_migration("active")
    with pytest.raises(QMPError, match="Postcopy after multifd would crash"):
        src.cmd("migrate-start-postcopy")
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    src.wait_migration("completed")
    dst.wait_status("running")
    guest_full_pass(dst)


@pytest.mark.parametrize("kinds", [("godwit", "godwit"), ("stock", "godwit")], ids="-to-".join)
def test_blocktime(make_vm, kinds):
    """One hart, in the middle of a page's way for a second: what was measured here is what the guest has seen."""
    src, dst = pair_up(make_vm, kinds, postcopy_blocktime=True)
    line = Relay(port_of(dst))
    switch(src, dst, line.uri, slow=200_000)
    wait_requests(src, 2)
    line.hold(2.0)
    time.sleep(2.0)
    finish(src, dst)
    gap = guest_check(dst)["gap_us"] / 1e6
    figures = dst.cmd("query-migrate")
    waits = sum(figures["postcopy-latency-dist"])
    assert waits > 0 and len(figures["postcopy-latency-dist"]) == 24
    assert figures["postcopy-vcpu-blocktime"] == [figures["postcopy-blocktime"]]
    assert gap > 1.0 and figures["postcopy-blocktime"] / 1e3 > 0.8 * gap
    longest = max(i for i, n in enumerate(figures["postcopy-latency-dist"]) if n)
    assert 2 ** longest / 1e6 <= gap * 1.2 and gap <= 2 ** (longest + 1) / 1e6 * 1.2
    assert figures["postcopy-vcpu-latency"] == [pytest.approx(
        figures["postcopy-vcpu-blocktime"][0] * 1e6 / waits, rel=0.3)]


# ---- recovery ----

def port_of(vm: VM) -> int:
    return int(listen_address(vm).rsplit(":", 1)[1])


def mend(src: VM, dst: VM) -> Relay:
    """Another line for a paused migration."""
    src.wait_migration("postcopy-paused")
    dst.wait_migration("postcopy-paused")
    dst.cmd("migrate-recover", uri="tcp:127.0.0.1:0")
    line = Relay(port_of(dst))
    src.cmd("migrate", uri=line.uri, resume=True)
    return line


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_recovery(make_vm, kinds, preempt):
    src, dst = pair_up(make_vm, kinds, postcopy_preempt=preempt)
    line = Relay(port_of(dst))
    switch(src, dst, line.uri, slow=4_000_000)
    line.cut()
    again = mend(src, dst)
    src.wait_migration("postcopy-active", "completed")
    time.sleep(0.1)
    again.cut()
    mend(src, dst)
    src.wait_migration("postcopy-active", "completed")
    finish(src, dst)


def test_recovery_with_multifd(make_vm):
    """The channels of precopy break with the main one, and nobody needs them any more."""
    src, dst = pair_up(make_vm, ("godwit", "godwit"), multifd=True, postcopy_preempt=True)
    line = Relay(port_of(dst))
    switch(src, dst, line.uri, slow=1_000_000)
    line.cut()
    mend(src, dst)
    src.wait_migration("postcopy-active", "completed")
    finish(src, dst)


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
def test_many_cuts(make_vm, preempt):
    """The line breaks at random moments, also in the middle of a recovery, and is mended each time."""
    rand = random.Random(4711)
    cuts = 0
    while cuts < (200 if LONG else 20):  # a guest that asks for its pages is complete before that
        src, dst = pair_up(make_vm, ("godwit", "godwit"), postcopy_preempt=preempt)
        line = Relay(port_of(dst))
        switch(src, dst, line.uri, slow=1_000_000)
        while src.cmd("query-migrate")["status"] != "completed":
            time.sleep(rand.random() * 0.05)
            line.cut(index=rand.choice([None, 0, 1]) if preempt else None, hard=rand.random() < 0.5)
            if src.wait_migration("postcopy-paused", "completed")["status"] == "completed":
                break
            cuts += 1
            line.close()
            line = mend(src, dst)
            if rand.random() < 0.5:  # let the recovery get through
                src.wait_migration("postcopy-active", "postcopy-paused", "completed")
            if cuts == (200 if LONG else 20):
                break
        while src.wait_migration("postcopy-active", "postcopy-paused",
                                 "completed")["status"] == "postcopy-paused":
            line = mend(src, dst)
        finish(src, dst)
        src.close()
        dst.close()

# ---- encrypted ----

@pytest.fixture(scope="module")
def sides(tmp_path_factory) -> Sides:
    return Sides(tmp_path_factory.mktemp("tls"))


def encrypt(sides: Sides, src: VM, dst: VM) -> None:
    use_tls(src, "tls-creds-x509", endpoint="client", dir=sides.client)
    use_tls(dst, "tls-creds-x509", endpoint="server", dir=sides.server)


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
@pytest.mark.parametrize("kinds", PAIRS, ids="-to-".join)
def test_tls(make_vm, sides, kinds, preempt):
    """Requests and pages on every channel in TLS; the line breaks once and is mended."""
    src, dst = pair_up(make_vm, kinds, postcopy_preempt=preempt, prepare=lambda s, d: encrypt(sides, s, d))
    line = Relay(port_of(dst))
    switch(src, dst, line.uri, slow=1_000_000)
    wait_requests(src, 3)
    line.cut()
    mend(src, dst)
    src.wait_migration("postcopy-active", "completed")
    finish(src, dst)


@pytest.mark.parametrize("kinds", PAIRS[:2], ids="-to-".join)
def test_tls_multifd(make_vm, sides, kinds):
    """Four sessions: main, two for precopy, one for what is asked for."""
    src, dst = pair_up(make_vm, kinds, postcopy_preempt=True, multifd=True, prepare=lambda s, d: encrypt(sides, s, d))
    switch(src, dst, listen_address(dst), slow=1_000_000)
    wait_requests(src, 3)
    assert finish(src, dst)["ram"]["multifd-bytes"] > 1 << 18
