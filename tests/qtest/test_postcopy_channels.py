# SPDX-License-Identifier: GPL-2.0-or-later
"""x-postcopy-channels: what is pushed after the switch travels on several connections, and any of them may break."""
from __future__ import annotations

import os
import random
import socket
import struct
import time

import pytest

from relay import Relay
from tlstest import Sides, use_tls
from vmtest import PATIENCE, QMPError, VM, guest_full_pass, listen_address, pattern_args

GUEST = {"mode": "random", "ws": "40M", "report": 0}
LONG = bool(os.environ.get("GODWIT_TEST_LONG"))
CHANNELS = 4
SLOW = 2_000_000  # bytes per second, all channels together
BEGIN = 0x474F5043  # the first bytes of such a channel
MANY = 20_000  # bytes that are more than greetings and handshakes


def pair_up(make_vm, listen: str = "tcp:127.0.0.1:0", args=(), dst_args=(), prepare=lambda src, dst: None,
            **caps: bool) -> tuple[VM, VM]:
    src = make_vm("godwit", *pattern_args(**GUEST), *args)
    src.serial.wait("ready")
    dst = make_vm("godwit", *pattern_args(**GUEST), *args, *dst_args, "-incoming", "defer")
    for vm in (src, dst):
        vm.caps(events=True, postcopy_ram=True, **caps)
    prepare(src, dst)
    src.cmd("migrate-set-parameters", x_postcopy_channels=CHANNELS)
    dst.cmd("migrate-incoming", uri=listen, exit_on_error=False)
    return src, dst


def port_of(vm: VM) -> int:
    return int(listen_address(vm).rsplit(":", 1)[1])


def switch(src: VM, dst: VM, uri: str, slow: int = SLOW, state: str = "running") -> None:
    src.cmd("migrate-set-parameters", max_bandwidth=1_000_000, max_postcopy_bandwidth=slow)
    src.cmd("migrate", uri=uri)
    src.wait_migration("active")
    src.cmd("migrate-start-postcopy")
    src.wait_migration("postcopy-active", "completed")
    dst.wait_status(state)


def wait_for(what, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finish(src: VM, dst: VM) -> None:
    src.cmd("migrate-set-parameters", max_postcopy_bandwidth=0)
    assert src.wait_migration("completed")["ram"]["remaining"] == 0
    dst.wait_migration("completed")
    assert src.status() == "postmigrate"
    guest_full_pass(dst)


def mend(src: VM, dst: VM) -> Relay:
    for vm in (src, dst):
        vm.wait_migration("postcopy-paused")
    dst.cmd("migrate-recover", uri="tcp:127.0.0.1:0")
    line = Relay(port_of(dst))
    src.cmd("migrate", uri=line.uri, resume=True)
    return line


@pytest.fixture(scope="module")
def sides(tmp_path_factory) -> Sides:
    return Sides(tmp_path_factory.mktemp("tls"))


def encrypt(sides: Sides, src: VM, dst: VM) -> None:
    use_tls(src, "tls-creds-x509", endpoint="client", dir=sides.client)
    use_tls(dst, "tls-creds-x509", endpoint="server", dir=sides.server)


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_all_carry(make_vm, sides, kind, preempt):
    """Every connection carries pages, of a guest that writes flat out."""
    src, dst = pair_up(make_vm, postcopy_preempt=preempt,
                       prepare=(lambda s, d: encrypt(sides, s, d)) if kind == "tls" else lambda s, d: None)
    line = Relay(port_of(dst))
    switch(src, dst, line.uri, slow=100_000)  # a page per window and channel: it takes minutes
    wait_for(lambda: len(line.carried()) == CHANNELS + preempt and min(line.carried()[1 + preempt:]) > MANY)
    finish(src, dst)
    assert len(line.pairs) == CHANNELS + preempt


def test_unix(make_vm, tmp_path):
    src, dst = pair_up(make_vm, f"unix:{tmp_path}/mig", postcopy_preempt=True)
    switch(src, dst, listen_address(dst))
    finish(src, dst)


def test_release(make_vm):
    """What goes out on other channels is given back, too, and not before it has gone."""
    src, dst = pair_up(make_vm, release_ram=True)
    switch(src, dst, listen_address(dst))
    finish(src, dst)


def test_huge_pages(make_vm):
    with open("/proc/meminfo", encoding="ascii") as f:
        free = next(int(line.split()[1]) for line in f if line.startswith("HugePages_Free"))
    if free < 128:
        pytest.skip(f"the host has {free} free huge pages of 2 MiB, 128 are needed")
    back = ["-object", "memory-backend-memfd,id=m0,size=128M,hugetlb=on,share=on", "-machine", "memory-backend=m0"]
    src, dst = pair_up(make_vm, args=back)
    switch(src, dst, listen_address(dst), slow=40_000_000)
    finish(src, dst)


def test_one_channel_only(make_vm, tmp_path):
    src, _ = pair_up(make_vm)
    with pytest.raises(QMPError, match="one channel only: set 'x-postcopy-channels' to 1"):
        src.cmd("migrate", uri=f"exec:cat >{tmp_path}/state")
    for bad in (0, 17):
        with pytest.raises(QMPError, match="x-postcopy-channels"):
            src.cmd("migrate-set-parameters", x_postcopy_channels=bad)


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
def test_strangers(make_vm, preempt):
    """Others connect, silent, with words that make no sense or the right first one: nothing happens to the guest."""
    begin = struct.pack(">I", BEGIN)
    src, dst = pair_up(make_vm, postcopy_preempt=preempt)
    switch(src, dst, listen_address(dst))
    strangers = []
    for words in (b"", b"GET / HTTP/1.0\r\n\r\n", begin, begin + struct.pack(">BBH", 1, 200, 0),
                  begin + struct.pack(">BBH", 9, 1, 0) + b"\0" * 4096):
        stranger = socket.create_connection(("127.0.0.1", port_of(dst)))
        stranger.sendall(words)
        strangers.append(stranger)
    finish(src, dst)
    for stranger in strangers:
        stranger.close()


def test_stop_at_once(make_vm):
    """The main loop waits for a vCPU, which waits for a page, which comes on a connection that was silent until then."""
    src, dst = pair_up(make_vm, postcopy_preempt=True)
    src.cmd("migrate-set-parameters", max_bandwidth=1_000_000, max_postcopy_bandwidth=100_000)
    src.cmd("migrate", uri=listen_address(dst))
    src.wait_migration("active")
    src.cmd("migrate-start-postcopy")
    dst.qmp.wait_event("RESUME", timeout=PATIENCE)
    dst.cmd("stop")
    dst.cmd("cont")
    finish(src, dst)


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
def test_any_breaks(make_vm, preempt):
    """One connection after the other breaks, by a reset or quietly, and each time the line is mended."""
    src, dst = pair_up(make_vm, dst_args=("-S",), postcopy_preempt=preempt)
    line = Relay(port_of(dst))
    switch(src, dst, line.uri, slow=100_000, state="paused")  # what nobody asks for takes its time
    for index in [0, *range(1 + preempt, CHANNELS + preempt)]:  # nobody would notice the one for urgent pages now
        wait_for(lambda: len(line.carried()) == CHANNELS + preempt and min(line.carried()[1 + preempt:]) > MANY)
        line.cut(index=index, hard=index % 2 == 0)
        line.listener.close()
        line = mend(src, dst)
        src.wait_migration("postcopy-active")
    dst.cmd("cont")
    finish(src, dst)


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
def test_many_cuts(make_vm, preempt):
    """At random moments, also in the middle of opening and of recovery."""
    rand = random.Random(1147)
    src, dst = pair_up(make_vm, postcopy_preempt=preempt)
    line = Relay(port_of(dst))
    switch(src, dst, line.uri, slow=400_000)
    for _ in range(100 if LONG else 8):
        time.sleep(rand.random() * 0.05)
        line.cut(index=rand.choice([None, *range(CHANNELS + preempt)]), hard=rand.random() < 0.5)
        line.close()
        if src.wait_migration("postcopy-paused", "completed")["status"] == "completed":
            break
        line = mend(src, dst)
        if rand.random() < 0.5:
            src.wait_migration("postcopy-active", "postcopy-paused", "completed")
    while src.wait_migration("postcopy-active", "postcopy-paused", "completed")["status"] == "postcopy-paused":
        line = mend(src, dst)
    finish(src, dst)
