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
from qtestclient import RAM, GuestVM
from vfiouser import PRE_COPY, PRE_COPY_FLAG, RESUMING, RUNNING, STOP, STOP_COPY, STOP_COPY_FLAG
from vmtest import QMPError, listen_address, pattern_args

BAR = 0x40100000
TABLE = 0x40110000
RING, PAGES = RAM + (96 << 20), 1024
SHARED = ["-object", "memory-backend-memfd,id=m0,size=128M,share=on", "-machine", "memory-backend=m0"]
EOS, CONFIG, SETUP, DATA = (struct.pack(">Q", 0xFFFFFFFFEF100000 + n) for n in (1, 2, 3, 4))


def until(condition, timeout: float = 180) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


class Side:
    """One emulator with its device server."""

    def __init__(self, make_vm, device: vfiouser.Device, *args: str) -> None:
        self.device = device
        self.all = GuestVM(make_vm, "godwit", "-device", f"vfio-user-pci,socket={device.path},id=vu,addr=2,migration-events=on",
                           *SHARED,
                           *pattern_args(mode="hot", ws="16M", hot="1M", rate=20000000), *args)
        self.vm, self.guest = self.all.vm, self.all.guest

    def start(self) -> None:
        """The guest runs, the device writes its ring."""
        g, fn = self.guest, self.guest.function(2)
        fn.write(0x10, BAR)
        fn.write(0x20, TABLE)
        fn.write(4, 6, 2)
        g.write(BAR, 0x5CA7C4)
        for v in range(vfiouser.VECTORS):
            g.write(TABLE + 16 * v, RAM + 0x5000000 + 4 * v)
            g.write(TABLE + 16 * v + 8, 0x70 + v)
            g.write(TABLE + 16 * v + 12, v == 3)
        fn.write(0x42, 0x8000, 2)
        g.write(BAR + 0x40, RING, 8)
        self.vm.cmd("cont")
        g.write(BAR + 0x48, PAGES)
        until(lambda: self.written() > PAGES)

    def written(self) -> int:
        return self.guest.read(BAR + 0x50, 8)

    def check_ring(self) -> None:
        """Every page holds the newest record that belongs there, none is from the future. The device stands still."""
        count = self.written()
        for page in range(PAGES):
            newest = count - 1 - (count - 1 - page) % PAGES
            found, inverse = struct.unpack("<QQ", self.guest.get(RING + page * 4096, 16))
            assert found == newest, f"page {page} holds record {found}, the device wrote {newest} (of {count})"
            assert inverse == ~found & (1 << 64) - 1


@pytest.fixture
def sides(make_vm, tmp_path):
    """sides(flags=, ...) -> source and destination; source_hook= and dest_hook= make servers misbehave."""
    made: list[tuple[Side | None, vfiouser.Device]] = []

    def make(*, source_hook=None, dest_hook=None, dest_args: tuple[str, ...] = (), **options):
        source = vfiouser.Device(str(tmp_path / "a"), source_hook, **options)
        dest = vfiouser.Device(str(tmp_path / "b"), dest_hook, **options)
        source.bulk[:] = random.Random(7).randbytes(len(source.bulk))
        made.extend([(None, source), (None, dest)])
        a = Side(make_vm, source)
        made.append((a, source))
        b = Side(make_vm, dest, "-incoming", "tcp:127.0.0.1:0", *dest_args)
        made.append((b, dest))
        return a, b

    yield make
    for side, device in reversed(made):
        if side:
            side.all.close()
        else:
            device.close()


def move(a: Side, b: Side) -> dict:
    """Without limits: how long the guest stands still is not what is tested, and all memory may be left to send."""
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    info = a.vm.wait_migration("completed")
    b.vm.wait_status("paused")
    return info


def check_moved(a: Side, b: Side) -> None:
    """Before the device writes again, every record is checked; then it must go on here."""
    b.check_ring()
    b.vm.cmd("cont")
    b.vm.wait_status("running")
    assert b.device.state == RUNNING and a.device.state == STOP
    assert b.device.bulk == a.device.bulk
    assert b.guest.read(BAR) == 0x5CA7C4
    assert b.guest.read(TABLE + 8) == 0x70
    arrived = b.written()
    until(lambda: b.written() > arrived + PAGES)  # it works on, here
    b.guest.write(BAR + 4, 1)
    until(lambda: b.guest.read(RAM + 0x5000004) == 0x71)  # its vectors signal
    b.vm.cmd("stop")
    b.check_ring()


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


def states_told(side: Side) -> list[str]:
    side.vm.cmd("query-status")  # what was sent before its answer has come
    return [e["data"]["device-state"] for e in side.vm.qmp.events
            if e["event"] == "VFIO_MIGRATION" and e["data"]["device-id"] == "vu" and
            e["data"]["qom-path"] == "/machine/peripheral/vu"]


def test_events_and_figures(sides):
    a, b = sides(flags=5, bulk=3 << 20)
    assert a.vm.cmd("x-query-vfio-migration")[0] == {
        "device-id": "vu", "qom-path": "/machine/peripheral/vu", "device-state": "running", "sent": 0, "sent-us": 0,
        "loaded": 0, "loaded-us": 0}
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
    until(lambda: a.vm.cmd("query-migrate").get("ram", {}).get("dirty-sync-count", 0) > 2)
    before = a.written()
    until(lambda: a.written() > before + PAGES)  # every page again, after all were sent
    endless.clear()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=60000)
    a.vm.wait_migration("completed")
    b.vm.wait_status("paused")
    with pytest.raises(AssertionError, match="holds record"):
        b.check_ring()


def test_stream(sides, tmp_path):
    """Records as docs/interop/vfio-user.md has them."""
    a, _ = sides(flags=5, bulk=1 << 16)
    a.start()
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
    again = Side(make_vm, a.device, "-incoming", f"exec:cat {tmp_path}/state")
    again.vm.wait_status("paused")
    assert a.device.state == STOP and again.written() == saved
    again.check_ring()
    again.vm.cmd("cont")
    until(lambda: again.written() > saved)
    again.all.close()


def refuse(state: int, times: int = 1):
    """Say EIO to the next @times changes to @state."""
    left = [times]

    def hook(command, body):
        if command == vfiouser.FEATURE and struct.unpack_from("=I", body, 4)[0] == 0x20002 \
                and struct.unpack_from("=I", body, 8)[0] == state and left[0]:
            left[0] -= 1
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


SOURCE_FAILS = {
    "no pre-copy": (refuse(PRE_COPY), "from state running to pre-copy"),
    "no stop-copy": (refuse(STOP_COPY), "from state pre-copy to stop-copy"),
    "read error at once": (fail_nth(vfiouser.MIG_READ, 1), "reading its state"),
    "read error later": (fail_nth(vfiouser.MIG_READ, 3), "reading its state"),
}


def assert_unharmed(a: Side) -> None:
    """The source guest and its device go on, and the ring is whole."""
    a.vm.wait_status("running")
    assert a.device.state == RUNNING
    before = a.written()
    until(lambda: a.written() > before)


@pytest.mark.parametrize("case", SOURCE_FAILS, ids=str)
def test_source_fails(sides, case):
    hook, words = SOURCE_FAILS[case]
    a, b = sides(flags=5, source_hook=hook)
    a.start()
    a.vm.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    a.vm.cmd("migrate", uri=listen_address(b.vm))
    info = a.vm.wait_migration("failed")
    assert words in info.get("error-desc", "") + a.vm.log()
    assert_unharmed(a)


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
            ((f"vfio-user-pci,id=x,socket={devices[2].path}",), "vfio-user-pci x: the server offers no migration"),
            ((f"vfio-user-pci,id=x,socket={devices[0].path}", f"vfio-user-pci,id=y,socket={devices[1].path}"),
             "vfio-user-pci y: only one VFIO device can migrate")]:
        vm = make_vm("godwit", "-S", *[w for a in args for w in ("-device", a)], serial=False)
        with pytest.raises(QMPError) as e:
            vm.cmd("migrate", uri="exec:cat >/dev/null")
        assert words in e.value.desc
        vm.close()
    for device in devices:
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
