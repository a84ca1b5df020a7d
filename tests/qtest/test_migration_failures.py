# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong, and what must hold then: the source guest runs on, nothing is lost, the error says what and where."""
from __future__ import annotations

import pathlib
import signal
import socket
import struct
import time

import pytest

from vmtest import PATIENCE, QMPError, VM, guest_full_pass, hand_over, listen_address, pattern_args

GUEST = {"mode": "pattern", "ws": "16M", "rate": "20M", "report": 0}
SLOW = 256 << 10  # bytes per second: a migration that takes a minute if nobody disturbs it


def source(make_vm, *args: str, **kwargs) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), *args, **kwargs)
    vm.serial.wait("ready")
    vm.caps(events=True)
    return vm


def target(make_vm, *args: str, **kwargs) -> VM:
    """A destination that stays after a failed load."""
    vm = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", *args, **kwargs)
    vm.caps(events=True)
    vm.cmd("migrate-incoming", uri="tcp:127.0.0.1:0", exit_on_error=False)
    return vm


def failed(vm: VM) -> str:
    """Wait for `failed`; the error text."""
    info = vm.wait_migration("failed")
    assert info["error-desc"]
    return info["error-desc"]


def still_works(make_vm, src: VM) -> None:
    """The guest at the source runs with its memory right, and moves at the next attempt."""
    src.wait_status("running")
    guest_full_pass(src)
    dst = target(make_vm)
    hand_over(src, dst, listen_address(dst))
    guest_full_pass(dst)


# ---- the other side is not there, or not what it should be ----

def test_connection_refused(make_vm):
    src = source(make_vm)
    src.cmd("migrate", uri="tcp:127.0.0.1:1")
    assert "Failed to connect to '127.0.0.1:1': Connection refused" in failed(src)
    still_works(make_vm, src)


@pytest.mark.parametrize("uri, text", [
    ("bogus:x", "unknown migration protocol: bogus:x"),
    ("tcp:127.0.0.1", "error parsing address '127.0.0.1'"),
    ("vsock:1", "error parsing address '1'"),
    ("fd:nosuch", "File descriptor named 'nosuch' has not been found"),
    ("file:/tmp/x,offset=0x20M", "bad offset"),
])
def test_bad_uri(make_vm, uri, text):
    vm = make_vm("godwit", "-S", serial=False)
    with pytest.raises(QMPError) as error:
        vm.cmd("migrate", uri=uri)
    assert text in error.value.desc


def test_uri_and_channels(make_vm):
    vm = make_vm("godwit", "-S", serial=False)
    channel = {"channel-type": "main", "addr": {"transport": "socket", "type": "inet",
                                                "host": "127.0.0.1", "port": "1"}}
    for args in ({}, {"uri": "tcp:127.0.0.1:1", "channels": [channel]}):
        with pytest.raises(QMPError):
            vm.cmd("migrate", **args)


@pytest.mark.parametrize("uri", ["file:/dev/full", "exec:cat > /dev/full"])
def test_disk_full(make_vm, uri):
    src = source(make_vm)
    fds = pathlib.Path(f"/proc/{src.process.pid}/fd")
    before = len(list(fds.iterdir()))
    for _ in range(3):
        try:
            src.cmd("migrate", uri=uri)
        except QMPError as error:
            assert error.desc
        failed(src)
        src.wait_status("running")
    deadline = time.monotonic() + 60
    while len(list(fds.iterdir())) > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(list(fds.iterdir())) <= before, "descriptors leak"
    still_works(make_vm, src)


def test_destination_killed(make_vm):
    src, dst = source(make_vm), target(make_vm)
    src.cmd("migrate-set-parameters", max_bandwidth=SLOW)
    src.cmd("migrate", uri=listen_address(dst))
    src.qmp.wait_event("MIGRATION", lambda d: d["status"] == "active")
    dst.process.send_signal(signal.SIGKILL)
    failed(src)
    still_works(make_vm, src)


def test_source_killed(make_vm):
    src, dst = source(make_vm), target(make_vm)
    src.cmd("migrate-set-parameters", max_bandwidth=SLOW)
    src.cmd("migrate", uri=listen_address(dst))
    dst.qmp.wait_event("MIGRATION", lambda d: d["status"] == "active")
    src.process.send_signal(signal.SIGKILL)
    text = failed(dst)
    assert "offset" in text
    assert dst.status() == "inmigrate"


def test_source_killed_exit_on_error(make_vm):
    src = source(make_vm)
    dst = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "tcp:127.0.0.1:0")
    src.cmd("migrate-set-parameters", max_bandwidth=SLOW)
    src.cmd("migrate", uri=listen_address(dst))
    dst.wait_migration("active")
    src.process.send_signal(signal.SIGKILL)
    assert dst.wait_exit() == 1
    assert "load of migration failed" in dst.log() or "offset" in dst.log()


def test_strangers_on_the_port(make_vm):
    """A port scan, a browser and a silent connection do not disturb the destination."""
    src, dst = source(make_vm), target(make_vm)
    uri = listen_address(dst)
    port = int(uri.rsplit(":", 1)[1])
    socket.create_connection(("127.0.0.1", port)).close()
    web = socket.create_connection(("127.0.0.1", port))
    web.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    silent = socket.create_connection(("127.0.0.1", port))
    hand_over(src, dst, uri)
    guest_full_pass(dst)
    web.close()
    silent.close()


# ---- the peer's machine differs: the destination says why, and the source hears it ----

MISMATCH = [
    ("ram", {"mem": "256M"}, [], "Size mismatch: riscv_virt_board.ram"),
    ("harts", {"smp": 2}, [], r"Section 'cpu(_common)?' \(instance 1\) has not come .*-smp"),
    ("block-name", {"machine": "virt,memory-backend=m0"},
     ["-object", "memory-backend-ram,id=m0,size=128M"], "riscv_virt_board.ram"),
]


@pytest.mark.parametrize("name, kwargs, args, text", MISMATCH, ids=[m[0] for m in MISMATCH])
def test_machine_differs(make_vm, name, kwargs, args, text):
    import re
    src = source(make_vm)
    dst = target(make_vm, *args, **kwargs)
    src.caps(return_path=True)
    dst.caps(return_path=True)
    src.cmd("migrate-set-parameters", downtime_limit=2000, max_bandwidth=10 ** 10)
    src.cmd("migrate", uri=listen_address(dst))
    there, here = failed(dst), failed(src)
    assert re.search(text, there), there
    assert re.search(text, here), f"the reason did not reach the source: {here}"
    still_works(make_vm, src)


def test_missing_device(make_vm):
    src = source(make_vm, "-device", "virtio-rng-device")
    dst = target(make_vm)
    src.cmd("migrate-set-parameters", downtime_limit=2000, max_bandwidth=10 ** 10)
    src.caps(return_path=True)
    dst.caps(return_path=True)
    src.cmd("migrate", uri=listen_address(dst))
    assert "virtio-rng" in failed(dst)
    assert "virtio-rng" in failed(src)
    src.wait_status("running")
    guest_full_pass(src)


def test_uuid(make_vm):
    a, b = "00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddee00"
    for there, good in ((b, False), (a, True)):
        src, dst = source(make_vm, "-uuid", a), target(make_vm, "-uuid", there)
        for vm in (src, dst):
            vm.caps(validate_uuid=True)
        if good:
            hand_over(src, dst, listen_address(dst))
        else:
            src.cmd("migrate", uri=listen_address(dst))
            assert "uuid" in failed(dst).lower()
            failed(src)
            src.wait_status("running")
        src.close()
        dst.close()


# ---- cancel ----

@pytest.mark.parametrize("state", ["none", "setup", "active", "pre-switchover", "completed", "cancelled", "failed"])
def test_cancel(make_vm, state):
    src = source(make_vm)
    if state == "none":
        assert src.cmd("migrate_cancel") == {}
        still_works(make_vm, src)
        return
    if state == "failed":
        src.cmd("migrate", uri="tcp:127.0.0.1:1")
        failed(src)
        src.cmd("migrate_cancel")
        assert src.cmd("query-migrate")["status"] == "failed"
        still_works(make_vm, src)
        return
    dst = target(make_vm)
    src.caps(pause_before_switchover=state == "pre-switchover")
    fast = state in ("pre-switchover", "completed")
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10 if fast else SLOW, downtime_limit=2000)
    src.cmd("migrate", uri=listen_address(dst))
    wanted = "active" if state == "cancelled" else state
    src.qmp.wait_event("MIGRATION", lambda d: d["status"] == wanted)
    src.cmd("migrate_cancel")
    if state == "completed":
        assert src.cmd("query-migrate")["status"] == "completed"
        guest_full_pass(dst)
        return
    src.wait_migration("cancelled")
    if state == "cancelled":
        src.cmd("migrate_cancel")
        assert src.cmd("query-migrate")["status"] == "cancelled"
    src.caps(pause_before_switchover=False)
    still_works(make_vm, src)


def test_cancel_stalled_peer(make_vm):
    """A peer that stops reading does not hold up a cancel."""
    src = source(make_vm)
    listener = socket.create_server(("127.0.0.1", 0))
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10)
    src.cmd("migrate", uri=f"tcp:127.0.0.1:{listener.getsockname()[1]}")
    peer, _ = listener.accept()
    peer.recv(4096)
    time.sleep(0.2)
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled")
    peer.close()
    listener.close()
    still_works(make_vm, src)


def test_cancel_exec_that_never_reads(make_vm):
    src = source(make_vm)
    src.cmd("migrate", uri="exec:exec sleep 300")
    children = pathlib.Path(f"/proc/{src.process.pid}/task/{src.process.pid}/children")
    while not (child := children.read_text().split()):
        time.sleep(0.01)
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled")
    still_works(make_vm, src)
    while pathlib.Path(f"/proc/{child[0]}").exists():
        time.sleep(0.05)


@pytest.mark.parametrize("answer", [0, 1, None], ids=["accepts", "refuses", "silent"])
def test_cancel_after_the_offer(make_vm, answer):
    """The destination has the whole stream when the cancel comes: its answer decides who owns the guest, and only
    silence leaves it here."""
    src = source(make_vm)
    src.caps(return_path=True)
    listener = socket.create_server(("127.0.0.1", 0))
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    src.cmd("migrate", uri=f"tcp:127.0.0.1:{listener.getsockname()[1]}")
    peer, _ = listener.accept()
    # A destination that reads everything, does not say who it is, and thinks about it. The description of the devices
    # follows the offer.
    peer.settimeout(PATIENCE)
    end = b""
    while b'{"page_size"' not in end:
        data = peer.recv(1 << 20)
        assert data
        end = end[-20:] + data
    if answer == 0:
        # Both are there at once: if this process has no turn between them that is not the destination's silence.
        src.process.send_signal(signal.SIGSTOP)
        src.qmp.send("migrate_cancel")
        peer.sendall(struct.pack(">HHI", 1, 4, answer))
        src.process.send_signal(signal.SIGCONT)
        src.qmp.reply()
    else:
        src.cmd("migrate_cancel")
        if answer is not None:
            peer.sendall(struct.pack(">HHI", 1, 4, answer))
    src.wait_migration("completed" if answer == 0 else "cancelled")
    src.wait_status("postmigrate" if answer == 0 else "running")
    peer.close()
    listener.close()


# ---- rules of the commands ----

def test_only_one_migration(make_vm):
    src, dst = source(make_vm), target(make_vm)
    src.cmd("migrate-set-parameters", max_bandwidth=SLOW)
    src.cmd("migrate", uri=listen_address(dst))
    with pytest.raises(QMPError, match="There's a migration process in progress"):
        src.cmd("migrate", uri=listen_address(dst))
    with pytest.raises(QMPError, match="migration"):
        src.caps(return_path=True)
    with pytest.raises(QMPError, match="incoming migration"):
        dst.cmd("migrate", uri="tcp:127.0.0.1:1")
    with pytest.raises(QMPError, match="already been started"):
        dst.cmd("migrate-incoming", uri="tcp:127.0.0.1:0")
    src.cmd("migrate_cancel")
    src.wait_migration("cancelled")


def test_postmigrate_rules(make_vm):
    src, dst = source(make_vm), target(make_vm)
    hand_over(src, dst, listen_address(dst))
    with pytest.raises(QMPError, match="Can't migrate the vm that was paused due to previous migration"):
        src.cmd("migrate", uri="tcp:127.0.0.1:1")
    dst.process.kill()
    src.cmd("cont")
    still_works(make_vm, src)


def test_pause_before_switchover(make_vm):
    src, dst = source(make_vm), target(make_vm)
    src.caps(pause_before_switchover=True)
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    src.cmd("migrate", uri=listen_address(dst))
    src.qmp.wait_event("MIGRATION", lambda d: d["status"] == "pre-switchover")
    assert src.status() == "finish-migrate"
    with pytest.raises(QMPError, match="not in expected state: pre-switchover"):
        src.cmd("migrate-continue", state="device")
    src.cmd("migrate-continue", state="pre-switchover")
    src.wait_migration("completed")
    guest_full_pass(dst)


@pytest.mark.parametrize("paused", [True, False])
def test_run_state_travels(make_vm, paused):
    src, dst = source(make_vm), target(make_vm)
    if paused:
        src.cmd("stop")
    src.cmd("migrate", uri=listen_address(dst))
    src.wait_migration("completed")
    assert dst.wait_status("paused" if paused else "running")
    if paused:
        dst.cmd("cont")
    guest_full_pass(dst)


def test_ignore_shared(make_vm, tmp_path):
    """Shared RAM is not copied: the file both sides map is the transport."""
    path = tmp_path / "ram"
    args = ["-object", f"memory-backend-file,id=m0,size=128M,mem-path={path},share=on"]
    kwargs = {"machine": "virt,memory-backend=m0"}
    src, dst = source(make_vm, *args, **kwargs), target(make_vm, *args, **kwargs)
    for vm in (src, dst):
        vm.caps(x_ignore_shared=True)
    info = hand_over(src, dst, listen_address(dst))
    assert info["ram"]["transferred"] < 4 << 20
    guest_full_pass(dst)


def test_events_in_order(make_vm):
    src, dst = source(make_vm), target(make_vm)
    src.qmp.events.clear()
    hand_over(src, dst, listen_address(dst))
    src.cmd("query-status")
    names = [(e["event"], e.get("data", {}).get("status")) for e in src.qmp.events
             if e["event"] != "MIGRATION_PASS"]
    assert names == [("MIGRATION", "setup"), ("MIGRATION", "active"), ("STOP", None),
                     ("MIGRATION", "device"), ("MIGRATION", "completed")]
    dst.cmd("query-status")
    there = [(e["event"], e.get("data", {}).get("status")) for e in dst.qmp.events]
    assert there == [("MIGRATION", "setup"), ("MIGRATION", "active"), ("RESUME", None),
                     ("MIGRATION", "completed")]
