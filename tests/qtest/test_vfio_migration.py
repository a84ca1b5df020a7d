# SPDX-License-Identifier: GPL-2.0-or-later
"""A busy vfio-user device moves with its guest: its state, the memory it writes, and every way that can fail."""
from __future__ import annotations

import errno
import os
import random
import struct
import time

import pytest

import vfiouser
from qtestclient import GuestVM
from vfioguest import BAR, PAGES, RING, SHARED, Side, move, until
from vfiouser import (PRE_COPY, PRE_COPY_FLAG, PRE_COPY_P2P, RESUMING, RUNNING, RUNNING_P2P, STOP, STOP_COPY,
                      STOP_COPY_FLAG)
from vmtest import QMPError, listen_address

EOS, CONFIG, SETUP, DATA = (struct.pack(">Q", 0xFFFFFFFFEF100000 + n) for n in (1, 2, 3, 4))


@pytest.fixture
def sides(make_vm, tmp_path):
    """sides(flags=, ...) -> source and destination, of @count devices each; source_hook= and dest_hook= make the
    servers of the first ones misbehave. Which states were asked for: make.journals."""
    made: list[Side | vfiouser.Device] = []

    def serve(name: str, count: int, hook, journal, **options) -> list[vfiouser.Device]:
        devices = [vfiouser.Device(str(tmp_path / f"{name}{n}"), hook if n == 0 else None, journal=journal, **options)
                   for n in range(count)]
        made.extend(devices)
        return devices

    def make(*, count: int = 1, source_hook=None, dest_hook=None, args: tuple[str, ...] = (), **options):
        make.journals = ([], [])
        source = serve("a", count, source_hook, make.journals[0], **options)
        dest = serve("b", count, dest_hook, make.journals[1], **options)
        for n, device in enumerate(source):
            device.bulk[:] = random.Random(7 + n).randbytes(len(device.bulk))
        a = Side(make_vm, source, *args)
        made.append(a)
        b = Side(make_vm, dest, "-incoming", "tcp:127.0.0.1:0", *args)
        made.append(b)
        return a, b

    yield make
    for thing in reversed(made):
        if isinstance(thing, Side):
            thing.all.close()
        else:
            thing.close()


def check_moved(a: Side, b: Side) -> None:
    """Before the devices write again, every record is checked; then they must go on here."""
    b.check_rings()
    b.vm.cmd("cont")
    b.vm.wait_status("running")
    for old, new in zip(a.cards, b.cards):
        assert new.device.state == RUNNING and old.device.state == STOP
        assert new.device.bulk == old.device.bulk
        new.check_registers()
    arrived = [card.written() for card in b.cards]
    until(lambda: all(card.written() > n + PAGES for card, n in zip(b.cards, arrived)))  # they work on, here
    for card in b.cards:
        card.check_vector()
    b.vm.cmd("stop")
    b.check_rings()


@pytest.mark.parametrize("flags, logging", [(5, True), (1, True), (5, False)],
                         ids=["precopy", "stop-copy", "does not log"])
def test_busy_device(sides, flags, logging):
    a, b = sides(flags=flags, logging=logging)
    a.start()
    move(a, b)
    check_moved(a, b)
    assert a.device.states == ([RUNNING, STOP, RUNNING, PRE_COPY, STOP_COPY, STOP] if flags & PRE_COPY_FLAG else
                               [RUNNING, STOP, RUNNING, STOP, STOP_COPY, STOP])[-len(a.device.states):]
    assert b.device.states[1:] == [STOP, RESUMING, STOP, RUNNING, STOP]


def phases(journal: list[tuple[str, int]], count: int) -> list[int]:
    """What @count devices were asked for, one entry for all of them: nobody was ahead of the others."""
    assert len(journal) % count == 0
    steps = [journal[i:i + count] for i in range(0, len(journal), count)]
    for step in steps:
        assert len({path for path, _ in step}) == count and len({state for _, state in step}) == 1, journal
    return [step[0][1] for step in steps]


@pytest.mark.parametrize("flags", [7, 3], ids=["precopy", "stop-copy"])
def test_three_devices(sides, flags):
    """None stops before all have left off reaching for each other, and none reaches before all can be reached."""
    a, b = sides(count=3, flags=flags)
    a.start()
    move(a, b)
    check_moved(a, b)
    moving = [PRE_COPY, PRE_COPY_P2P, STOP_COPY] if flags & PRE_COPY_FLAG else [RUNNING_P2P, STOP, STOP_COPY]
    assert phases(sides.journals[0], 3) == [RUNNING_P2P, RUNNING, *moving, STOP]
    assert phases(sides.journals[1], 3) == [RESUMING, STOP, RUNNING_P2P, RUNNING, RUNNING_P2P, STOP]
    for journal in sides.journals:  # started in their order, stopped in the reverse one
        last = journal[-1][1]
        starts = [path for path, state in journal if state == RUNNING]
        assert starts == sorted(starts), last


def states_told(side: Side) -> list[str]:
    side.vm.cmd("query-status")  # what was sent before its answer has come
    return [e["data"]["device-state"] for e in side.vm.qmp.events
            if e["event"] == "VFIO_MIGRATION" and e["data"]["device-id"] == "vu" and
            e["data"]["qom-path"] == "/machine/peripheral/vu"]


def test_events_and_figures(sides):
    a, b = sides(flags=5, bulk=3 << 20)
    assert a.vm.cmd("x-query-vfio-migration")[0] == {
        "device-id": "vu", "qom-path": "/machine/peripheral/vu", "device-state": "running", "sent": 0, "sent-us": 0,
        "loaded": 0, "loaded-us": 0, "precopy-left": 0, "stop-copy-left": 0}
    a.start()
    info = move(a, b)
    [sent], [loaded] = (side.vm.cmd("x-query-vfio-migration") for side in (a, b))
    assert 3 << 20 <= sent["sent"] == loaded["loaded"] == info["vfio"]["transferred"]
    assert sent["sent-us"] > 0 and loaded["loaded-us"] > 0 and sent["loaded"] == loaded["sent"] == 0
    assert "VFIO:" in a.vm.cmd("human-monitor-command", command_line="info migrate -a")
    b.vm.cmd("cont")
    assert states_told(a)[-3:] == ["pre-copy", "stop-copy", "stop"]
    assert states_told(b)[-3:] == ["resuming", "stop", "running"]


def test_large_state(sides):
    a, b = sides(flags=5, bulk=16 << 20)
    a.start()
    move(a, b)
    check_moved(a, b)


def unhurried(command, body):
    """A pause before the log is read: rounds without work leave time to the device."""
    if command == vfiouser.FEATURE and struct.unpack_from("=I", body, 4)[0] & 0xFFFF == 8:
        time.sleep(0.01)


def syncs(side: Side) -> int:
    return side.vm.cmd("query-migrate").get("ram", {}).get("dirty-sync-count", 0)


def test_sizes_decide(sides):
    """A device with more state than the downtime has room for holds the guest back; passes go on meanwhile."""
    a, b = sides(flags=5, sizes=True, bulk=3 << 20)
    a.start()
    a.device.stop_size = 1 << 50
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=1000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    until(lambda: syncs(a) > 4 and a.vm.cmd("query-migrate")["expected-downtime"] > 1000)
    assert a.vm.cmd("query-migrate")["status"] == "active"
    [device] = a.vm.cmd("x-query-vfio-migration")
    assert device["stop-copy-left"] == 1 << 50 and device["sent"] >= 3 << 20
    until(lambda: "x-forecast" in a.vm.cmd("query-migrate"))
    assert a.vm.cmd("query-migrate")["x-forecast"]["verdict"] == "will-not-converge"
    a.device.stop_size = None
    a.vm.cmd("migrate-set-parameters", downtime_limit=60000)
    a.vm.wait_migration("completed")
    b.vm.wait_status("paused")
    check_moved(a, b)
    assert a.vm.cmd("x-query-vfio-migration")[0]["stop-copy-left"] == 0


@pytest.mark.parametrize("size", [None, 1 << 63], ids=["refused", "absurd"])
def test_unknown_size(sides, size):
    """100 GiB are assumed, which takes a fast line or much patience."""
    def hook(command, body):
        unknown = command == vfiouser.FEATURE and struct.unpack_from("=I", body, 4)[0] & 0xFFFF == 9
        return errno.ENOTTY if unknown and size is None else None

    a, b = sides(flags=1, sizes=True, source_hook=hook)
    a.device.stop_size = size
    a.start()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    until(lambda: syncs(a) > 2)
    assert a.vm.cmd("x-query-vfio-migration")[0]["stop-copy-left"] == 100 << 30
    assert "how much stop-copy state it has is not known" in a.vm.log()
    a.vm.cmd("migrate-set-parameters", avail_switchover_bandwidth=10 ** 12)
    a.vm.wait_migration("completed")
    b.vm.wait_status("paused")
    check_moved(a, b)


def test_no_state_at_all_is_no_obstacle(sides):
    a, b = sides(flags=1, sizes=True)
    a.device.stop_size = 0
    a.start()
    move(a, b)
    check_moved(a, b)


def ack_both(a: Side, b: Side) -> None:
    for side in (a, b):
        side.vm.caps(return_path=True, switchover_ack=True)


@pytest.mark.parametrize("legacy", [False, True], ids=["each", "legacy"])
def test_switchover_ack(sides, legacy):
    """Both devices are acknowledged, and one again that has begun anew; there is more to send until it may end."""
    mode = f"migration.switchover-ack-legacy={'on' if legacy else 'off'}"
    a, b = sides(count=2, flags=7, sizes=True, args=("-global", mode))
    ack_both(a, b)
    a.start()
    a.devices[1].initial_size = 1 << 50  # never done, it says
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    until(lambda: syncs(a) > 4 and b.device.received > 1 << 16)
    assert a.vm.status() == "running"
    if not legacy:
        a.devices[0].start_over()  # has to be acknowledged once more, which is
    a.devices[1].initial_size = None
    a.vm.wait_migration("completed")
    b.vm.wait_status("paused")
    check_moved(a, b)


def test_switchover_ack_needs_both(sides):
    a, b = sides(flags=5, sizes=True)
    with pytest.raises(QMPError, match="Capability 'switchover-ack' requires capability 'return-path'"):
        a.vm.caps(switchover_ack=True)
    a.vm.caps(return_path=True, switchover_ack=True)
    b.vm.caps(return_path=True)
    a.start()
    words = fail(a, b)
    assert "turn the capability 'switchover-ack' on here too" in words
    assert_unharmed(a)


@pytest.mark.parametrize("cap", ["postcopy-ram", "background-snapshot"])
def test_capabilities_it_cannot_follow(sides, cap):
    a, b = sides(flags=5)
    a.vm.caps(**{cap: True})
    with pytest.raises(QMPError, match=f"cannot migrate with capability '{cap}'"):
        a.vm.cmd("migrate", uri=listen_address(b.vm))
    a.start()


def test_ring_check_notices_a_lost_page(sides):
    """The oracle itself: a server that hides one page in seven from the log."""
    a, b = sides(flags=5, source_hook=unhurried)
    report, endless = a.device.report, [True]

    def forgetful(body):
        if a.device.log is not None:
            a.device.log = {p for p in a.device.log if p // 4096 % 7}
            if endless:  # something is left after every sync, so it cannot end before it may
                a.device.log.add(RING)
        return report(body)

    a.device.report = forgetful
    a.start()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 8, downtime_limit=0)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    until(lambda: syncs(a) > 2)
    before = a.written()
    until(lambda: a.written() > before + PAGES)  # every page again, after all were sent
    endless.clear()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60000)
    a.vm.wait_migration("completed")
    b.vm.wait_status("paused")
    with pytest.raises(AssertionError, match="holds record"):
        b.check_rings()


def test_stream(sides, tmp_path):
    """Records as docs/interop/vfio-user.md has them."""
    a, _ = sides(flags=5, bulk=1 << 16)
    a.start()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10)  # memory leaves room for the device in every round
    path = tmp_path / "stream"
    a.vm.cmd("migrate", uri=f"exec:cat >{path}")
    a.vm.wait_migration("completed")
    data = path.read_bytes()
    name = b"\x110000:00:02.0/vfio" + struct.pack(">II", 0, 1)
    start = data.index(name)
    section = data[start - 4:start]
    assert data[start - 5:start] == b"\x01" + section
    body = start + len(name)
    assert data[body:body + 21] == SETUP + EOS + b"\x7e" + section
    part = data.index(b"\x02" + section, body)
    assert data[part + 5:part + 13] in (DATA, EOS)
    end = data.index(b"\x03" + section + DATA)
    length = struct.unpack(">Q", data[end + 13:end + 21])[0]
    assert data[end + 21 + length - 1:end + 21 + length] == b"E"
    assert data[end + 21 + length:end + 21 + length + 13] == EOS + b"\x7e" + section
    full = data.index(b"\x04" + section + name) + 5 + len(name)
    assert data[full:full + 12] == CONFIG + struct.pack(">I", 2)
    assert data[full + 12:full + 16] == struct.pack("<HH", 0xCAFE, 0x4D55)
    size = 8 + 4 + 256 + 16 + 16 * vfiouser.VECTORS + 1
    assert data[full + size:full + size + 13] == EOS + b"\x7e" + section


def test_saved_state(make_vm, sides, tmp_path):
    """A stopped machine into a file and back; the device stays as it is until cont."""
    a, b = sides(flags=5)
    a.start()
    a.vm.cmd("stop")
    assert a.device.state == STOP
    a.vm.cmd("migrate", uri=f"exec:cat >{tmp_path}/state")
    a.vm.wait_migration("completed")
    saved = a.written()
    a.vm.close()
    again = Side(make_vm, a.devices, "-incoming", f"exec:cat {tmp_path}/state")
    again.vm.wait_status("paused")
    assert a.device.state == STOP and again.written() == saved
    again.check_rings()
    again.vm.cmd("cont")
    until(lambda: again.written() > saved)
    again.all.close()


def refuse(*states: int, times: int = 1, since: int | None = None):
    """Say EIO to the next @times changes to each of @states, once @since (a state) was asked for."""
    left = dict.fromkeys(states, times)
    armed = [since is None]

    def hook(command, body):
        if command == vfiouser.FEATURE and struct.unpack_from("=I", body, 4)[0] == 0x20002:
            state = struct.unpack_from("=I", body, 8)[0]
            armed[0] |= state == since
            if armed[0] and left.get(state):
                left[state] -= 1
                return errno.EIO
        return None

    return hook


def fail_nth(wanted: int, nth: int):
    """Say EIO to the @nth command @wanted."""
    seen = [0]

    def hook(command, body):
        seen[0] += command == wanted
        return errno.EIO if command == wanted and seen[0] == nth else None

    return hook


def damage(nth: int):
    """Hand out a flipped bit in the @nth piece of state."""
    seen = [0]

    def arm(device):
        honest = device.read_state

        def read(size):
            answer = honest(size)
            if isinstance(answer, bytes) and len(answer) > 100:
                seen[0] += 1
                if seen[0] == nth:
                    return answer[:90] + bytes([answer[90] ^ 1]) + answer[91:]
            return answer

        device.read_state = read

    return arm


def truncate(device) -> None:
    honest = device.set_state

    def set_state(state):
        error = honest(state)
        if state == STOP_COPY:
            device.outbox = device.outbox[:-1]
        return error

    device.set_state = set_state


SOURCE_FAILS = {  # flags, what goes wrong, what is said about it
    "no pre-copy": (5, refuse(PRE_COPY), "from state running to pre-copy"),
    "no stop-copy": (5, refuse(STOP_COPY), "from state pre-copy to stop-copy"),
    "no pre-copy-p2p": (7, refuse(PRE_COPY_P2P), "from state pre-copy to pre-copy-p2p"),
    "no stop-copy from p2p": (7, refuse(STOP_COPY), "from state pre-copy-p2p to stop-copy"),
    "no running-p2p": (3, refuse(RUNNING_P2P, since=RUNNING), "from state running to running-p2p"),
    "no stop": (3, refuse(STOP, since=RUNNING), "from state running-p2p to stop"),
    "read error at once": (5, fail_nth(vfiouser.MIG_READ, 1), "reading its state"),
    "read error later": (5, fail_nth(vfiouser.MIG_READ, 2), "reading its state"),
}


def assert_unharmed(a: Side) -> None:
    """The source guest and its device go on, and the ring is whole."""
    a.vm.wait_status("running")
    assert a.device.state == RUNNING
    before = a.written()
    until(lambda: a.written() > before)


def fail(a: Side, b: Side) -> str:
    """What is said when it has failed."""
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    info = a.vm.wait_migration("failed")
    return info.get("error-desc", "") + a.vm.log()


@pytest.mark.parametrize("case", SOURCE_FAILS, ids=str)
def test_source_fails(sides, case):
    flags, hook, words = SOURCE_FAILS[case]
    a, b = sides(flags=flags, source_hook=hook)
    a.start()
    assert words in fail(a, b)
    assert_unharmed(a)
    assert a.device.resets == 1  # the machine's own


@pytest.mark.parametrize("states", [(STOP_COPY, STOP), (STOP_COPY, STOP, RUNNING)], ids=["reset", "beyond help"])
def test_device_in_no_known_state(sides, states):
    """Neither where it should go nor where it would be safe: it is reset, and given up if that does not help."""
    a, b = sides(flags=5, source_hook=refuse(*states, since=PRE_COPY, times=2))
    a.start()
    assert "from state pre-copy to stop-copy" in fail(a, b)
    a.vm.wait_status("running")
    assert a.device.resets == 2
    if RUNNING in states:
        assert "cannot be made to run again" in a.vm.log()
        assert a.guest.read(BAR) == 0xFFFFFFFF
        return
    assert a.device.state == RUNNING and a.guest.read(BAR) == 0
    a.start()


def test_device_does_not_start_at_the_destination(sides):
    """The guest must not meet another device than it had."""
    a, b = sides(flags=7, dest_hook=refuse(RUNNING_P2P))
    a.start()
    move(a, b)
    b.vm.cmd("cont")
    b.vm.wait_status("internal-error")
    assert "from state stop to running-p2p" in b.vm.log()


@pytest.mark.parametrize("case", ["damaged", "cut short", "resume refused", "write refused"])
def test_destination_fails(sides, case):
    dest_hook = {"resume refused": refuse(RESUMING), "write refused": fail_nth(vfiouser.MIG_WRITE, 3)}.get(case)
    a, b = sides(flags=5, dest_hook=dest_hook)
    if case == "damaged":
        damage(1)(a.device)
    elif case == "cut short":
        truncate(a.device)
    a.start()
    a.vm.caps(return_path=True)
    b.vm.caps(return_path=True)
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    a.vm.wait_migration("failed")
    b.vm.wait_exit()
    assert "0000:00:02.0/vfio" in b.vm.log()
    assert_unharmed(a)


def test_cancel_and_retry(sides):
    a, b = sides(flags=5)
    a.start()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=1 << 16)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    until(lambda: a.device.state == PRE_COPY)
    a.vm.cmd("migrate_cancel")
    a.vm.wait_migration("cancelled")
    assert_unharmed(a)
    assert a.device.log is None


def test_server_killed_in_precopy(sides):
    a, b = sides(flags=5)
    a.start()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=1 << 16)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    until(lambda: a.device.state == PRE_COPY)
    a.device.close()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10)
    a.vm.wait_migration("failed")
    a.vm.wait_status("running")
    assert a.guest.read(BAR) == 0xFFFFFFFF


def test_what_cannot_migrate(make_vm, tmp_path):
    devices = [vfiouser.Device(str(tmp_path / n), flags=f) for n, f in (("a", 5), ("b", 5), ("c", 0))]
    for args, words in [
            ((f"vfio-user-pci,id=x,socket={devices[0].path},enable-migration=off",),
             "vfio-user-pci x: migration is switched off"),
            ((f"vfio-user-pci,id=x,socket={devices[2].path}",), "vfio-user-pci x: it offers no migration"),
            ((f"vfio-user-pci,id=x,socket={devices[0].path}", f"vfio-user-pci,id=y,socket={devices[1].path}"),
             "vfio-user-pci x: it has no P2P states")]:
        vm = make_vm("godwit", "-S", *[w for a in args for w in ("-device", a)], serial=False)
        with pytest.raises(QMPError) as e:
            vm.cmd("migrate", uri="exec:cat >/dev/null")
        assert words in e.value.desc
        vm.close()
    for device in devices:
        device.close()


def test_two_devices_out_of_step(make_vm, tmp_path):
    """A device that stops at once may be alone, or be missed; one that stops in two steps may have company."""
    devices = {n: vfiouser.Device(str(tmp_path / n), flags=f) for n, f in (("plain", 5), ("p2p", 7), ("other", 7))}
    v = GuestVM(make_vm, "godwit", "-device", "pcie-root-port,id=rp0,addr=7,chassis=1",
                "-device", f"vfio-user-pci,id=p2p,socket={devices['p2p'].path}")

    def reasons() -> list[str]:
        return v.vm.cmd("query-migrate").get("blocked-reasons", [])

    def plug(name: str) -> None:
        v.vm.cmd("device_add", driver="vfio-user-pci", bus="rp0", id=name, socket=devices[name].path)

    def unplug(name: str) -> None:
        v.vm.cmd("device_del", id=name)
        v.vm.qmp.wait_event("DEVICE_DELETED", lambda d: d.get("device") == name)

    plug("plain")
    assert [r.split(":")[0] for r in reasons()] == ["vfio-user-pci plain"]
    unplug("plain")
    assert reasons() == []
    plug("other")
    assert reasons() == []
    v.close()
    for device in devices.values():
        device.close()


def load(make_vm, tmp_path, stream: bytes, socket: str) -> str:
    """What a destination says about @stream; it must end by itself."""
    (tmp_path / "edited").write_bytes(stream)
    vm = make_vm("godwit", "-S", "-bios", "none", "-device", f"vfio-user-pci,socket={socket},addr=2", *SHARED,
                 "-incoming", f"exec:cat {tmp_path}/edited", qmp=False, serial=False)
    assert vm.wait_exit(60) == 1
    return vm.log()


def test_hostile_streams(make_vm, sides, tmp_path):
    a, b = sides(flags=5, bulk=1 << 16)
    b.vm.close()
    a.start()
    a.vm.cmd("migrate", uri=f"exec:cat >{tmp_path}/stream")
    a.vm.wait_migration("completed")
    a.vm.close()
    data = (tmp_path / "stream").read_bytes()
    name = b"0000:00:02.0/vfio" + struct.pack(">II", 0, 1)
    body = data.index(name) + len(name)
    end = data.index(b"\x03" + data[body - len(name) - 5:body - len(name) - 1] + DATA) + 5
    full = data.index(CONFIG, end)
    size = 8 + 4 + 256 + 16 + 16 * vfiouser.VECTORS + 1

    def put(at: int, new: bytes) -> bytes:
        return data[:at] + new + data[at + len(new):]

    for stream, words in [
            (put(body, b"\0" * 8), "is no record of a VFIO device"),
            (put(body + 8, SETUP), "behind the setup of a VFIO device"),
            (put(end + 8, struct.pack(">Q", 1 << 62)), "Unexpected end of stream"),
            (put(full + 8, struct.pack(">i", 9)), "PCIDevice"),
            (put(full + 12, b"\x01"), "Bad config data"),
            (put(full + 8 + 4 + 256, struct.pack(">I", 7)), "pin A has level 7"),
            (put(full + size, SETUP), "behind the configuration of a VFIO device"),
            (put(full, EOS), "")]:
        log = load(make_vm, tmp_path, stream, b.device.path)
        assert words in log, log
        assert "ERROR: AddressSanitizer" not in log
