# SPDX-License-Identifier: GPL-2.0-or-later
"""x-multifd-addresses: channels over several paths, of which some break under a guest that writes all the time."""
from __future__ import annotations

import pathlib
import random
import time
from collections.abc import Callable, Iterator

import pytest

from relay import Relay
from vmtest import QMPError, VM, guest_full_pass, listen_address, pattern_args

GUEST = {"mode": "pattern", "ws": "1M", "rate": "20M", "report": 0}
STILL = random.Random(3).randbytes(12 << 20)  # memory that the guest never writes: what is lost of it comes again or is missing
SLOW = 512 << 10  # bytes per second, while something is to happen on the way


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"in a minute it has not come to pass that {what}"
        time.sleep(0.01)


class Paths:
    """A source whose channels 0 and 2 go to 127.0.0.2 directly, 1 and 3 over a relay at 127.0.0.1."""

    def __init__(self, make_vm, tmp_path, **params) -> None:
        self.memory = tmp_path / "memory"
        still = tmp_path / "still"
        still.write_bytes(STILL)
        self.src = make_vm("godwit", *self.machine(tmp_path / "there"), "-initrd", str(still))
        self.dst = make_vm("godwit", *self.machine(self.memory), "-incoming", "defer")
        self.src.serial.wait("ready")
        for vm in (self.src, self.dst):
            vm.caps(multifd=True, return_path=True)
            vm.cmd("migrate-set-parameters", multifd_channels=4, max_bandwidth=SLOW, **params)
        self.dst.cmd("migrate-incoming", uri="tcp:0.0.0.0:0", exit_on_error=False)
        self.port = int(listen_address(self.dst).split(":")[2])
        self.relay = Relay(self.port)
        self.use(f"tcp:127.0.0.2:{self.port},{self.relay.uri}", 2)

    def machine(self, memory: pathlib.Path) -> list[str]:
        return [*pattern_args(**GUEST), "-machine", "memory-backend=mem", "-object",
                f"memory-backend-file,id=mem,size=128M,mem-path={memory},share=on"]

    def use(self, addresses: str, relayed: int) -> None:
        """@relayed: how many of the four channels take the relay."""
        self.relayed = relayed
        self.src.cmd("migrate-set-parameters", x_multifd_addresses=addresses)

    def start(self) -> None:
        self.src.cmd("migrate", uri=f"tcp:127.0.0.1:{self.port}")
        until(lambda: self.relay.seen > 256 << 10 and len(self.relay.passed) == self.relayed, "all use the relay")

    def notes(self, vm: VM) -> list[str]:
        return [r["text"] for r in vm.cmd("x-query-migration-record") if "text" in r]

    def arrives(self) -> None:
        self.src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
        self.src.wait_migration("completed", timeout=120)
        self.dst.wait_status("running")
        guest_full_pass(self.dst)
        assert STILL in self.memory.read_bytes()


@pytest.fixture
def paths(make_vm, tmp_path, request) -> Iterator[Paths]:
    p = Paths(make_vm, tmp_path, **getattr(request, "param", {}))
    yield p
    p.relay.close()


def lost(notes: list[str]) -> set[int]:
    return {i for i in range(4) for n in notes if f"lost, the others go on: multifd channel {i} " in n}


def test_nothing_happens(paths):
    paths.start()
    paths.arrives()
    assert lost(paths.notes(paths.src)) == set()


@pytest.mark.parametrize("hard", [True, False], ids=["reset", "closed"])
def test_a_path_is_cut(paths, hard):
    """Two channels of four at once, in the middle of things."""
    paths.start()
    assert paths.relay.cut(hard=hard) == 2
    until(lambda: lost(paths.notes(paths.src)) == {1, 3}, "both losses are noticed")
    paths.arrives()
    assert lost(paths.notes(paths.src)) == {1, 3}
    assert paths.src.cmd("query-migrate")["status"] == "completed"


@pytest.mark.parametrize("paths", [{"x_multifd_patience": 4000}], indirect=True, ids=["4s"])
def test_a_path_goes_silent(paths):
    """Nothing passes any more and nobody says so: what is on its way there is sent again on the others."""
    paths.start()
    paths.relay.hold(3600)
    paths.arrives()
    assert lost(paths.notes(paths.src)) >= {1, 3}  # on a very slow machine a good one may seem silent
    assert any("x-multifd-patience" in n for vm in (paths.src, paths.dst) for n in paths.notes(vm))


def test_all_are_cut(paths):
    """The guest stays, the error says which channel was the last, and it can go later."""
    paths.use(paths.relay.uri, 4)
    paths.start()
    assert paths.relay.cut() == 4
    assert "multifd channel" in paths.src.wait_migration("failed", timeout=60)["error-desc"]
    assert paths.dst.wait_migration("failed", timeout=60)["error-desc"]
    paths.src.wait_status("running")
    guest_full_pass(paths.src)


def test_addresses(make_vm):
    vm = make_vm("godwit", "-S", serial=False)
    assert vm.cmd("query-migrate-parameters")["x-multifd-addresses"] == ""
    assert vm.cmd("query-migrate-parameters")["x-multifd-patience"] == 30000
    vm.cmd("migrate-set-parameters", x_multifd_addresses="tcp:127.0.0.1:1")
    for caps, addresses, text in (({}, "tcp:127.0.0.1:1", "needs the capability 'multifd'"),
                                  ({"multifd": True}, "tcp:127.0.0.1:1,,", "'x-multifd-addresses'"),
                                  ({"multifd": True}, "exec:cat", "one channel only"),
                                  ({"multifd": True}, "bogus:1", "'x-multifd-addresses'")):
        vm.caps(**caps)
        vm.cmd("migrate-set-parameters", x_multifd_addresses=addresses)
        with pytest.raises(QMPError) as error:
            vm.cmd("migrate", uri="tcp:127.0.0.1:1")
        assert text in error.value.desc
    vm.cmd("migrate-set-parameters", x_multifd_addresses=None)
    vm.cmd("migrate", uri="tcp:127.0.0.1:1")
    assert "Failed to connect to '127.0.0.1:1'" in vm.wait_migration("failed")["error-desc"]
