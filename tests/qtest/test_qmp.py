# SPDX-License-Identifier: GPL-2.0-or-later
"""The QMP server as a client sees it: framing, negotiation, errors, introspection."""
from __future__ import annotations

import json
import pathlib
import re
import socket

import pytest

from vmtest import PATIENCE, QMPError


def raw_session(vm) -> socket.socket:
    """A second, not negotiated connection to a QMP socket of its own."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"{vm.dir}/raw")
    sock.settimeout(PATIENCE)
    return sock


def lines(sock: socket.socket, n: int) -> list[dict]:
    data = b""
    while data.count(b"\n") < n:
        data += sock.recv(65536)
    assert all(line.endswith(b"\r") for line in data.split(b"\n")[:-1])
    return [json.loads(line) for line in data.split(b"\n")[:n]]


@pytest.fixture
def vm(make_vm, tmp_path):
    vm = make_vm("godwit", "-S", "-qmp", f"unix:{tmp_path}/raw,server=on,wait=off", "-name", "tester", serial=False)
    vm.dir, vm.real_dir = str(tmp_path), vm.dir
    yield vm
    vm.dir = vm.real_dir


def test_greeting_and_negotiation(vm):
    sock = raw_session(vm)
    greeting = lines(sock, 1)[0]
    assert greeting["QMP"]["version"]["qemu"]["major"] == 7
    assert "oob" in greeting["QMP"]["capabilities"]
    sock.sendall(b'{"execute":"stop"}')
    assert lines(sock, 1)[0]["error"]["class"] == "CommandNotFound"
    sock.sendall(b'{"execute":"qmp_capabilities"}')
    assert lines(sock, 1)[0] == {"return": {}}
    sock.sendall(b'{"execute":"query-name","id":{"a":[1,2.5,null,true]}}')
    assert lines(sock, 1)[0] == {"return": {"name": "tester"}, "id": {"a": [1, 2.5, None, True]}}
    sock.sendall(b'{"execute":"qmp_capabilities"}')
    assert lines(sock, 1)[0]["error"]["class"] == "CommandNotFound"


def test_resynchronisation(vm):
    sock = raw_session(vm)
    lines(sock, 1)
    sock.sendall(b'{"execute":"qmp_capabilities"}')
    lines(sock, 1)
    sock.sendall(b'{"execute":\xff{"execute":"query-status"}')
    bad, good = lines(sock, 2)
    assert bad["error"]["class"] == "GenericError"
    assert good["return"]["status"] == "prelaunch"


def test_two_commands_in_one_write(vm):
    sock = raw_session(vm)
    lines(sock, 1)
    sock.sendall(b'{"execute":"qmp_capabilities","id":1}{"execute":"query-status","id":2}')
    assert [r["id"] for r in lines(sock, 2)] == [1, 2]


def test_out_of_band_needs_permission(make_vm, vm):
    sock = raw_session(vm)
    lines(sock, 1)
    sock.sendall(b'{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}')
    lines(sock, 1)
    sock.sendall(b'{"exec-oob":"query-name","id":1}')
    assert "does not support OOB" in lines(sock, 1)[0]["error"]["desc"]


@pytest.mark.parametrize("request_, cls, text", [
    ({"execute": "nonsense"}, "CommandNotFound", "The command nonsense has not been found"),
    ({"execute": "migrate", "arguments": {"uri": 3}}, "GenericError", "Parameter 'uri' expects string"),
    ({"execute": "migrate", "arguments": {"x": 3}}, "GenericError", "Parameter 'x' is unexpected"),
    ({"execute": "migrate-continue"}, "GenericError", "Parameter 'state' is missing"),
    ({"execute": "migrate-continue", "arguments": {"state": "z"}}, "GenericError",
     "Parameter 'state' does not accept value 'z'"),
    ({"execute": "closefd", "arguments": {"fdname": "q"}}, "GenericError", "File descriptor named 'q' not found"),
    ({"execute": "getfd", "arguments": {"fdname": "q"}}, "GenericError",
     "No file descriptor supplied via SCM_RIGHTS"),
    ({"execute": "device-list-properties", "arguments": {"typename": "no-such"}}, "DeviceNotFound", ""),
    ({"execute": "object-del", "arguments": {"id": "none"}}, "GenericError", "object 'none' not found"),
    ({"execute": 3}, "GenericError", "execute"),
    ({"arguments": {}}, "GenericError", "execute"),
    ({"execute": "stop", "extra": 1}, "GenericError", "extra"),
])
def test_error_texts(vm, request_, cls, text):
    sock = raw_session(vm)
    lines(sock, 1)
    sock.sendall(b'{"execute":"qmp_capabilities"}')
    lines(sock, 1)
    sock.sendall(json.dumps({**request_, "id": 7}).encode())
    reply = lines(sock, 1)[0]
    assert reply["id"] == 7
    assert reply["error"]["class"] == cls
    assert text in reply["error"]["desc"]


def test_schema_is_closed(vm):
    """Every reference resolves, and every command that exists is described."""
    schema = {e["name"]: e for e in vm.cmd("query-qmp-schema")}
    for entity in schema.values():
        refs = [entity.get(k) for k in ("arg-type", "ret-type", "element-type")]
        refs += [m["type"] for m in entity.get("members", []) if "type" in m]
        refs += [v["type"] for v in entity.get("variants", [])]
        for ref in filter(None, refs):
            assert ref in schema, f"{entity['name']} refers to {ref}"
    for command in vm.cmd("query-commands"):
        assert schema[command["name"]]["meta-type"] == "command"
    migrate = schema[schema["migrate"]["arg-type"]]
    optional = {m["name"] for m in migrate["members"] if "default" in m}
    assert {"uri", "channels", "detach"} <= optional


def test_every_capability(vm):
    names = [c["capability"] for c in vm.cmd("query-migrate-capabilities")]
    assert {"events", "return-path", "pause-before-switchover", "validate-uuid", "x-ignore-shared"} <= set(names)
    needs = {"postcopy-preempt": ["postcopy-ram"], "zero-copy-send": ["multifd"],
             "x-auto-postcopy": ["postcopy-ram"], "switchover-ack": ["return-path"]}
    for name in names:
        for state in (True, False):
            vm.cmd("migrate-set-capabilities",
                   capabilities=[{"capability": n, "state": state} for n in [name, *needs.get(name, [])]])
            now = {c["capability"]: c["state"] for c in vm.cmd("query-migrate-capabilities")}
            assert now[name] is state
    with pytest.raises(QMPError, match="does not accept value"):
        vm.cmd("migrate-set-capabilities", capabilities=[{"capability": "nope", "state": True}])


@pytest.mark.parametrize("name, low, high", [
    ("announce-initial", 0, 100000), ("announce-max", 0, 100000), ("announce-rounds", 0, 1000),
    ("announce-step", 1, 10000), ("downtime-limit", 0, 2000000), ("max-bandwidth", 0, 2 ** 64 - 1),
    ("avail-switchover-bandwidth", 0, 2 ** 64 - 1), ("xbzrle-cache-size", 4096, 2 ** 63),
    ("compress-level", 0, 9), ("compress-threads", 1, 255), ("decompress-threads", 1, 255),
    ("throttle-trigger-threshold", 1, 100), ("cpu-throttle-initial", 1, 99), ("cpu-throttle-increment", 1, 99),
])
def test_parameter_ranges(vm, name, low, high):
    before = vm.cmd("query-migrate-parameters")
    for value in (low, high):
        vm.cmd("migrate-set-parameters", **{name: value})
        assert vm.cmd("query-migrate-parameters")[name] == value
    for value in (low - 1, high + 1):
        with pytest.raises(QMPError):
            vm.cmd("migrate-set-parameters", **{name: value})
    with pytest.raises(QMPError):
        vm.cmd("migrate-set-parameters", **{name: "7"})
    assert vm.cmd("query-migrate-parameters")[name] == high
    vm.cmd("migrate-set-parameters", **{name: before[name]})
    assert vm.cmd("query-migrate-parameters") == before


def test_powers_of_two(vm):
    for value in (4097, 3 << 20, 2 ** 63 - 1):
        with pytest.raises(QMPError, match="'xbzrle-cache-size' expects a power of two"):
            vm.cmd("migrate-set-parameters", xbzrle_cache_size=value)


def test_descriptors(vm, tmp_path):
    path = tmp_path / "f"
    path.write_text("hello")
    with open(path) as f:
        vm.qmp.cmd("getfd", fds=[f.fileno()], fdname="one")
        vm.qmp.cmd("closefd", fdname="one")
        added = vm.qmp.cmd("add-fd", fds=[f.fileno()], fdset_id=3)
    assert added["fdset-id"] == 3
    assert vm.cmd("query-fdsets")[0]["fdset-id"] == 3
    vm.cmd("remove-fd", fdset_id=3)
    assert vm.cmd("query-fdsets") == []


def test_quit_says_goodbye(make_vm):
    vm = make_vm("godwit", "-S", serial=False)
    assert vm.cmd("quit") == {}
    assert [e["event"] for e in vm.qmp.events] == ["SHUTDOWN"]
    assert vm.wait_exit() == 0


def test_sigterm(make_vm):
    vm = make_vm("godwit", "-S", serial=False)
    vm.process.terminate()
    assert vm.wait_exit() == 0
    assert re.search(r"terminating on signal 15 from pid \d+ \(", vm.log())


def test_hmp(vm):
    hmp = vm.hmp
    assert "VM status: paused (prelaunch)" in hmp("info status")
    assert "unknown command: 'nonsense'" in hmp("nonsense")
    hmp("migrate_set_parameter max-bandwidth 10")
    assert vm.cmd("query-migrate-parameters")["max-bandwidth"] == 10 << 20
    assert "max-bandwidth: 10485760 bytes/second" in hmp("info migrate_parameters")
    hmp("migrate_set_capability return-path on")
    assert "return-path: on" in hmp("info migrate_capabilities")
    assert re.match(r"0000000080000000: 0x[0-9a-f]{8}", hmp("xp/1xw 0x80000000"))
    assert "riscv_virt_board.ram" in hmp("info ramblock")
    assert "tester" in hmp("info name")


def test_daemonize(tmp_path):
    import os
    import signal
    import subprocess
    import time

    from vmtest import BINARIES, QMP
    pidfile = tmp_path / "pid"
    subprocess.run([BINARIES["godwit"], "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine",
                    "none,accel=kvm:tcg", "-qmp", f"unix:{tmp_path}/qmp,server=on,wait=off", "-pidfile", pidfile,
                    "-daemonize"], check=True, timeout=120, stderr=subprocess.DEVNULL)
    pid = int(pathlib.Path(pidfile).read_text())
    qmp = QMP(f"{tmp_path}/qmp")
    machines = [m["name"] for m in qmp.cmd("query-machines")]
    assert {"virt", "none"} <= set(machines)
    qmp.close()
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 120
    while pidfile.exists():
        assert time.monotonic() < deadline, "the daemon did not end"
        time.sleep(0.02)


@pytest.mark.parametrize("args, text", [
    (["-nosuch"], "-nosuch: invalid option"),
    (["-machine", "spike"], "unsupported machine type"),
    (["-smp", "513"], "Invalid SMP CPUs 513. The max CPUs supported by machine 'virt' is 512"),
    (["-device", "nope"], "'nope' is not a valid device model name"),
    (["-accel", "kvm"], "no accelerator found"),
    (["-m", "12x"], "-m"),
    (["-global", "migration.nope=1"], "nope"),
    (["-object", "memory-backend-ram,id=m,size=64M", "-machine", "virt,memory-backend=m", "-m", "32M"], "-m"),
    (["-incoming", "tcp:nohost.invalid:1"], "-incoming tcp:nohost.invalid:1"),
    (["-bios", "/no/such/file"], "/no/such/file"),
])
def test_bad_command_lines(args, text):
    import subprocess

    from vmtest import BINARIES
    run = subprocess.run([BINARIES["godwit"], "-nodefaults", "-display", "none", *args], timeout=120,
                         capture_output=True, text=True)
    assert run.returncode == 1
    assert text in run.stderr
    assert run.stderr.startswith(BINARIES["godwit"])
