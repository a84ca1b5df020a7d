# SPDX-License-Identifier: GPL-2.0-or-later
"""Postcopy: what is refused and with which words, and what happens when a side dies, lies or is somebody else."""
from __future__ import annotations

import re
import socket
import struct
import threading
import time

import pytest

from relay import Relay
from vmtest import QMP, QMPError, VM, guest_full_pass, listen_address, pattern_args

GUEST = {"mode": "random", "ws": "16M", "report": 0}
SLOW = 1 << 20  # bytes per second in the background


def source(make_vm, *args: str) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), *args)
    vm.serial.wait("ready")
    vm.caps(events=True, postcopy_ram=True)
    return vm


def target(make_vm, *args: str, **caps: bool) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), "-incoming", "defer", *args)
    vm.caps(**{"events": True, "postcopy_ram": True, **caps})
    vm.cmd("migrate-incoming", uri="tcp:127.0.0.1:0", exit_on_error=False)
    return vm


def port_of(vm: VM) -> int:
    return int(listen_address(vm).rsplit(":", 1)[1])


def start(src: VM, uri: str, slow: int = SLOW) -> None:
    src.cmd("migrate-set-parameters", max_bandwidth=16 << 20, max_postcopy_bandwidth=slow)
    src.cmd("migrate", uri=uri)
    src.wait_migration("active")
    src.cmd("migrate-start-postcopy")


def moved(make_vm, **caps: bool) -> tuple[VM, VM, Relay]:
    """The guest runs at the destination, most of its memory is still at the source. @caps: of that."""
    src, dst = source(make_vm), target(make_vm)
    src.caps(**caps)
    line = Relay(port_of(dst))
    start(src, line.uri)
    src.wait_migration("postcopy-active")
    dst.wait_status("running")
    return src, dst, line


def paused(make_vm) -> tuple[VM, VM]:
    src, dst, line = moved(make_vm)
    line.close()
    for vm in (src, dst):
        vm.wait_migration("postcopy-paused")
    return src, dst


def recover(src: VM, dst: VM) -> None:
    dst.cmd("migrate-recover", uri="tcp:127.0.0.1:0")
    src.cmd("migrate", uri=listen_address(dst), resume=True)


def ends_well(src: VM, dst: VM) -> None:
    src.cmd("migrate-set-parameters", max_postcopy_bandwidth=0)
    src.wait_migration("completed")
    dst.wait_migration("completed")
    assert src.status() == "postmigrate"
    guest_full_pass(dst)


def refused(vm: VM, command: str, text: str, **args) -> None:
    with pytest.raises(QMPError, match=text):
        vm.cmd(command, **args)


# ---- commands out of season ----

def test_refusals(make_vm):
    vm = make_vm("godwit", *pattern_args(**GUEST))
    refused(vm, "migrate-start-postcopy", "Enable postcopy with migrate_set_capability before the "
                                          "start of migration")
    vm.caps(postcopy_ram=True)
    refused(vm, "migrate-start-postcopy", "must be started after migration has been started")
    refused(vm, "migrate-pause", "only supported during postcopy-active")
    refused(vm, "migrate-recover", "can only be run when postcopy is paused", uri="tcp:127.0.0.1:0")
    refused(vm, "migrate", "Cannot resume if there is no paused migration", uri="tcp:127.0.0.1:1",
            resume=True)
    with pytest.raises(QMPError, match="incompatible"):
        vm.caps(x_ignore_shared=True)
    vm.caps(postcopy_ram=False, x_ignore_shared=True)
    with pytest.raises(QMPError, match="incompatible"):
        vm.caps(postcopy_ram=True)


def test_preempt_needs(make_vm, tmp_path):
    vm = make_vm("godwit", *pattern_args(**GUEST))
    with pytest.raises(QMPError, match="'postcopy-preempt' requires capability 'postcopy-ram'"):
        vm.caps(postcopy_preempt=True)
    vm.caps(postcopy_ram=True, postcopy_preempt=True)
    vm.cmd("migrate", uri=f"exec:cat >{tmp_path}/state")
    assert "does not support multi-channels" in vm.wait_migration("failed")["error-desc"]
    guest_full_pass(vm)


def test_disk_file(make_vm, tmp_path):
    """Memory in a file on disk cannot be missing: the destination says so at once."""
    back = ["-object", f"memory-backend-file,id=m0,size=128M,mem-path={tmp_path}/ram,share=on",
            "-machine", "memory-backend=m0"]
    vm = make_vm("godwit", *back, "-incoming", "defer", serial=False)
    with pytest.raises(QMPError, match="Postcopy is not supported: .*m0.*TMPFS or HUGETLBFS"):
        vm.caps(postcopy_ram=True)


def test_one_way(make_vm, tmp_path):
    src = source(make_vm)
    src.cmd("migrate", uri=f"file:{tmp_path}/state")
    assert "reverse direction" in src.wait_migration("failed")["error-desc"]
    guest_full_pass(src)


# ---- one side is not prepared ----

def test_destination_without(make_vm):
    src, dst = source(make_vm), target(make_vm, postcopy_ram=False)
    src.cmd("migrate", uri=listen_address(dst))
    assert "RAM postcopy is disabled" in src.wait_migration("failed")["error-desc"]
    assert "RAM postcopy is disabled" in dst.wait_migration("failed")["error-desc"]
    guest_full_pass(src)


def test_source_without(make_vm):
    src, dst = source(make_vm), target(make_vm)
    src.caps(postcopy_ram=False)
    src.cmd("migrate-set-parameters", max_bandwidth=0, downtime_limit=2000)
    src.cmd("migrate", uri=listen_address(dst))
    src.wait_migration("completed")
    dst.wait_status("running")
    guest_full_pass(dst)


def test_other_devices(make_vm):
    """The package does not load: the guest goes on at the source, which hears why."""
    src, dst = source(make_vm, "-device", "virtio-rng-device"), target(make_vm)
    start(src, listen_address(dst), slow=0)
    assert "virtio" in src.wait_migration("failed")["error-desc"]
    assert "virtio" in dst.wait_migration("failed")["error-desc"]
    src.wait_status("running")
    guest_full_pass(src)


# ---- in the middle ----

def test_no_cancel(make_vm):
    src, dst, _ = moved(make_vm)
    refused(src, "migrate_cancel", "Postcopy migration in progress, cannot cancel")
    refused(src, "migrate", "There's a migration process in progress", uri="tcp:127.0.0.1:1")
    refused(src, "migrate", "Cannot resume if there is no paused migration", resume=True,
            uri="tcp:127.0.0.1:1")
    ends_well(src, dst)


@pytest.mark.parametrize("side", ["source", "destination"])
def test_pause(make_vm, side):
    src, dst, _ = moved(make_vm)
    (src if side == "source" else dst).cmd("migrate-pause")
    for vm in (src, dst):
        assert vm.wait_migration("postcopy-paused")["error-desc"]
    assert src.status() == "finish-migrate"
    assert dst.status() == "running"
    refused(src, "migrate-pause", "only supported during postcopy-active")
    recover(src, dst)
    ends_well(src, dst)


def test_paused_start(make_vm):
    """-S at the destination: the guest waits for cont, its memory comes meanwhile."""
    src, dst = source(make_vm), target(make_vm, "-S")
    start(src, listen_address(dst), slow=0)
    src.wait_migration("completed")
    assert dst.status() == "paused"
    dst.cmd("cont")
    guest_full_pass(dst)


def test_pause_before_switchover(make_vm):
    src, dst = source(make_vm), target(make_vm)
    src.caps(pause_before_switchover=True)
    start(src, listen_address(dst))
    src.wait_migration("pre-switchover")
    src.cmd("migrate-continue", state="pre-switchover")
    src.wait_migration("postcopy-active")
    ends_well(src, dst)


# ---- recovery goes wrong ----

def test_resume_refused_connection(make_vm):
    src, dst = paused(make_vm)
    src.cmd("migrate", uri="tcp:127.0.0.1:1", resume=True)
    deadline = time.monotonic() + 30
    while "refused" not in src.wait_migration("postcopy-paused", "postcopy-recover-setup"
                                              ).get("error-desc", ""):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    src.wait_migration("postcopy-paused")
    recover(src, dst)
    ends_well(src, dst)


def test_recover_twice(make_vm):
    """The address may be given again, also the same one."""
    src, dst = paused(make_vm)
    dst.cmd("migrate-recover", uri="tcp:127.0.0.1:0")
    port = port_of(dst)
    dst.cmd("migrate-recover", uri=f"tcp:127.0.0.1:{port}")
    recover(src, dst)
    ends_well(src, dst)


@pytest.mark.parametrize("hello", [
    b"QEVM\0\0\0\3",  # a migration of its own
    b"GET / HTTP/1.1\r\n\r\n",
    struct.pack(">BHH", 8, 10, 5) + b"\4nope",  # recovers, but something else
    struct.pack(">BHH", 8, 9, 0),  # resumes without asking what is here
], ids=["migration", "http", "block", "resume"])
def test_wrong_source(make_vm, hello):
    """Somebody else connects to a destination that waits for its source."""
    src, dst = paused(make_vm)
    dst.cmd("migrate-recover", uri="tcp:127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", port_of(dst))) as stranger:
        stranger.sendall(hello)
        stranger.settimeout(10)
        try:
            while stranger.recv(4096):
                pass
        except (ConnectionResetError, TimeoutError):
            pass
    dst.wait_migration("postcopy-paused")
    recover(src, dst)
    ends_well(src, dst)


@pytest.mark.parametrize("answer", [
    b"",  # accepts and leaves
    b"\0" * 64,
    struct.pack(">HHI", 2, 4, 1),  # a pong and nothing more
    struct.pack(">HHI", 6, 4, 1),  # an acknowledgement before there was anything to resume
    struct.pack(">HHB", 5, 21, 20) + b"riscv_virt_board.ram" + struct.pack(">Q", 8),  # too short
    struct.pack(">HHB", 5, 21, 20) + b"riscv_virt_board.ram" + struct.pack(">Q", 1 << 60),
    struct.pack(">HHQIB", 3, 33, 0, 4096, 20) + b"riscv_virt_board.ram",  # asks for pages already
    struct.pack(">HHI", 1, 4, 0),  # is done
], ids=["eof", "zeros", "pong", "ack", "short-map", "huge-map", "request", "shut"])
def test_wrong_destination(make_vm, answer):
    """The source is sent to somebody who is not its destination: back to paused, and still recoverable."""
    src, dst = paused(make_vm)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        src.cmd("migrate", uri=f"tcp:127.0.0.1:{listener.getsockname()[1]}", resume=True)
        peer, _ = listener.accept()
        peer.settimeout(10)
        peer.recv(4096)
        peer.sendall(answer)
        if len(answer) < 16:
            time.sleep(0.05)
            peer.close()
        src.wait_migration("postcopy-paused")
        assert src.cmd("query-migrate")["error-desc"]
        peer.close()
    recover(src, dst)
    ends_well(src, dst)


# ---- release-ram ----

def resident_kib(vm: VM) -> int:
    """Of the guest's memory alone: a sanitizer keeps more beside it."""
    with open(f"/proc/{vm.process.pid}/smaps", encoding="ascii") as f:
        lines = f.read()
    sizes = re.findall(r"^Size: +(\d+) kB(?:\n(?!Size).*)*?\nRss: +(\d+) kB", lines, re.M)
    return sum(int(rss) for size, rss in sizes if int(size) == 128 << 10)


@pytest.mark.parametrize("preempt", [False, True], ids=["plain", "preempt"])
def test_release(make_vm, preempt):
    """The source gives memory back page by page, and the guest at the destination misses none of it."""
    src, dst = source(make_vm), target(make_vm, postcopy_preempt=preempt)
    src.caps(release_ram=True, postcopy_preempt=preempt)
    before = resident_kib(src)
    assert before > 15 << 10
    start(src, listen_address(dst))
    src.wait_migration("postcopy-active")
    dst.wait_status("running")
    ends_well(src, dst)
    assert resident_kib(src) < before - 15 * 1024


def test_release_cannot_recover(make_vm):
    src, dst, line = moved(make_vm, release_ram=True)
    line.close()
    for vm in (src, dst):
        vm.wait_migration("postcopy-paused")
    refused(src, "migrate", "Postcopy recovery cannot work when release-ram capability is set", uri="tcp:127.0.0.1:1",
            resume=True)


# ---- the main loop waits for a page ----

def oob(qmp: QMP, command: str, **args) -> None:
    """As soon as it is in season."""
    deadline = time.monotonic() + 60
    while True:
        try:
            qmp.cmd(command, verb="exec-oob", **args)
            return
        except QMPError as refusal:
            assert "postcopy" in str(refusal) and time.monotonic() < deadline, refusal
            time.sleep(0.02)


def test_stuck_main_loop(make_vm, tmp_path):
    """The destination's monitor itself touches what is missing, and the line hangs: out of band it can be cut and mended."""
    src = source(make_vm)
    dst = target(make_vm, "-qmp", f"unix:{tmp_path}/second,server=on,wait=off")
    second = QMP(f"{tmp_path}/second", oob=True)
    line = Relay(port_of(dst))
    start(src, line.uri)
    src.wait_migration("postcopy-active")
    dst.wait_status("running")
    line.hold(3600)
    reply: list[str] = []
    reader = threading.Thread(target=lambda: reply.append(dst.hmp("xp /1gx 0x81000000")))
    reader.start()
    with pytest.raises(QMPError, match="does not support OOB"):
        second.cmd("query-status", verb="exec-oob")
    oob(second, "migrate-pause")
    oob(second, "migrate-recover", uri=f"unix:{tmp_path}/again")
    oob(second, "migrate-recover", uri=f"unix:{tmp_path}/again")
    line.close()
    src.wait_migration("postcopy-paused")
    assert reader.is_alive(), "nothing was stuck"
    src.cmd("migrate", uri=f"unix:{tmp_path}/again", resume=True)
    reader.join(60)
    assert reply and "0000000081000000" in reply[0]
    ends_well(src, dst)


def test_out_of_band_and_in_band(make_vm, tmp_path):
    """Neither recovery leaves anything behind that disturbs the other."""
    src = source(make_vm)
    dst = target(make_vm, "-qmp", f"unix:{tmp_path}/second,server=on,wait=off", postcopy_preempt=True)
    src.caps(postcopy_preempt=True)
    second = QMP(f"{tmp_path}/second", oob=True)
    line = Relay(port_of(dst))
    start(src, line.uri)
    src.wait_migration("postcopy-active")
    dst.wait_status("running")
    line.close()
    with pytest.raises(QMPError, match="socket only"):
        dst.wait_migration("postcopy-paused")
        second.cmd("migrate-recover", verb="exec-oob", uri="exec:true")
    for turn in range(4):
        for vm in (src, dst):
            vm.wait_migration("postcopy-paused")
        if turn % 2:
            dst.cmd("migrate-recover", uri="tcp:127.0.0.1:0")
        else:
            second.cmd("migrate-recover", verb="exec-oob", uri="tcp:127.0.0.1:0")
        src.cmd("migrate", uri=listen_address(dst), resume=True)
        for vm in (src, dst):
            vm.wait_migration("postcopy-active")
        if turn < 3:
            (src if turn else dst).cmd("migrate-pause")
    ends_well(src, dst)
