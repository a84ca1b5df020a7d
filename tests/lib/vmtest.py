# SPDX-License-Identifier: GPL-2.0-or-later
"""Run emulators under test: Godwit and stock QEMU behind one class, their QMP, their serial port.

Everything a VM makes lives in one temporary directory and ends with it.
"""
from __future__ import annotations

import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GODWIT_BUILD", ROOT / "build"))
BINARIES = {
    "godwit": os.environ.get("GODWIT_BINARY", str(BUILD / "godwit-system-riscv64")),
    "stock": shutil.which("qemu-system-riscv64") or "qemu-system-riscv64",
}
GUESTS = BUILD / "tests" / "guest"
PATIENCE = 120  # seconds; only what hangs takes that long, sanitizers and a busy machine included


_libc = ctypes.CDLL(None)


def die_with_parent() -> None:
    """In the child, before exec: no emulator outlives a test run that was killed (PR_SET_PDEATHSIG)."""
    _libc.prctl(1, signal.SIGKILL)


class QMPError(Exception):
    """An error reply; .cls is its class."""

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(error["desc"])
        self.cls = error["class"]
        self.desc = error["desc"]


class QMP:
    """One negotiated QMP session over a unix socket."""

    def __init__(self, path: str, timeout: float = PATIENCE, oob: bool = False) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        self.sock.settimeout(timeout)
        self.buffer = b""
        self.events: list[dict[str, Any]] = []
        self.greeting = self._read()
        self.cmd("qmp_capabilities", **({"enable": ["oob"]} if oob else {}))

    def _read(self) -> dict[str, Any]:
        while b"\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("QMP connection closed")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def send(self, name: str, fds: list[int] | None = None, verb: str = "execute", **args: Any) -> None:
        """Keyword arguments are the command's, '_' stands for '-'. @verb: "exec-oob" for out of band."""
        request = {verb: name, "arguments": {k.replace("_", "-"): v for k, v in args.items()}}
        data = json.dumps(request).encode() + b"\n"
        if fds:
            socket.send_fds(self.sock, [data], fds)
        else:
            self.sock.sendall(data)

    def reply(self) -> Any:
        """Of the first command sent that has none yet."""
        while True:
            reply = self._read()
            if "event" in reply:
                self.events.append(reply)
            elif "error" in reply:
                raise QMPError(reply["error"])
            else:
                return reply["return"]

    def cmd(self, name: str, fds: list[int] | None = None, verb: str = "execute", **args: Any) -> Any:
        """send() and reply()."""
        self.send(name, fds, verb, **args)
        return self.reply()

    def wait_event(self, name: str, match: Callable[[dict[str, Any]], bool] = lambda d: True,
                   timeout: float = PATIENCE) -> dict[str, Any]:
        """The next event NAME whose data satisfies @match; earlier ones are dropped."""
        deadline = time.monotonic() + timeout
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name and match(event.get("data", {})):
                    return event
            self.sock.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                reply = self._read()
            except TimeoutError:
                raise TimeoutError(f"no event {name} within {timeout} s") from None
            finally:
                self.sock.settimeout(PATIENCE)
            self.events.append(reply)

    def close(self) -> None:
        self.sock.close()


class Serial(threading.Thread):
    """Collects the lines of a serial socket."""

    def __init__(self, path: str, timeout: float = PATIENCE) -> None:
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        self.text = ""
        self.changed = threading.Condition()
        self.start()

    def run(self) -> None:
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            with self.changed:
                self.text += data.decode("latin-1").replace("\r", "")
                self.changed.notify_all()

    def send(self, text: str) -> None:
        self.sock.sendall(text.encode("latin-1"))

    def wait(self, pattern: str, timeout: float = PATIENCE, start: int = 0) -> re.Match[str]:
        """The first match of @pattern at or after @start; complains early about a failed guest."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                match = re.compile(pattern).search(self.text, start)
                if match:
                    return match
                if "godwit-guest: FAIL" in self.text:
                    raise AssertionError("guest memory is wrong: " + self.text[-400:])
                left = deadline - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    raise TimeoutError(
                        f"serial never showed {pattern!r}; last output: {self.text[-400:]!r}")

    def close(self) -> None:
        self.sock.close()


class VM:
    """One emulator process with QMP and a serial socket."""

    def __init__(self, kind: str, *args: str, smp: int = 1, mem: str = "128M",
                 qmp: bool = True, serial: bool = True, machine: str = "virt",
                 pass_fds: tuple[int, ...] = (), env: dict[str, str] | None = None) -> None:
        self.kind = kind
        self.dir = tempfile.mkdtemp(prefix=f"vm-{kind}-")
        self.serial: Serial | None = None
        self.qmp: QMP | None = None
        self.log_path = os.path.join(self.dir, "stderr")
        argv = [BINARIES[kind], "-machine", machine, "-m", mem, "-smp", str(smp), "-nodefaults",
                "-display", "none"]
        if qmp:
            argv += ["-qmp", f"unix:{self.dir}/qmp,server=on,wait=off"]
        if serial:
            argv += ["-chardev", f"socket,id=ser0,path={self.dir}/serial,server=on,wait=on",
                     "-serial", "chardev:ser0"]
        argv += args
        self.argv = argv
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            pass_fds=pass_fds, preexec_fn=die_with_parent,
                                            env={**os.environ, **env} if env else None)
        try:
            if serial:
                self.serial = Serial(f"{self.dir}/serial")
            if qmp:
                self.qmp = QMP(f"{self.dir}/qmp")
        except (OSError, EOFError) as problem:
            text = self.log()
            self.close()
            raise RuntimeError(f"{kind} did not start: {text or problem}") from problem

    def log(self) -> str:
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def cmd(self, name: str, **args: Any) -> Any:
        assert self.qmp
        return self.qmp.cmd(name, **args)

    def caps(self, **caps: bool) -> None:
        self.cmd("migrate-set-capabilities", capabilities=[
            {"capability": k.replace("_", "-"), "state": v} for k, v in caps.items()])

    def status(self) -> str:
        return self.cmd("query-status")["status"]

    def hmp(self, line: str) -> str:
        return self.cmd("human-monitor-command", command_line=line)

    def wait_migration(self, *goals: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Poll query-migrate until its status is one of @goals; any other final state is a failure."""
        deadline = time.monotonic() + timeout
        while True:
            info = self.cmd("query-migrate")
            status = info.get("status")
            if status in goals:
                return info
            if status in ("failed", "cancelled", "completed"):
                raise AssertionError(f"{self.kind}: migration {status}, wanted {goals}: "
                                     f"{info.get('error-desc')}\n{self.log()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.kind}: migration stays {status}: {info}")
            time.sleep(0.01)

    def wait_status(self, *goals: str, timeout: float = PATIENCE) -> str:
        deadline = time.monotonic() + timeout
        while (status := self.status()) not in goals:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.kind}: run state stays {status}, wanted {goals}")
            time.sleep(0.005)
        return status

    def wait_exit(self, timeout: float = PATIENCE) -> int:
        return self.process.wait(timeout)

    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        if self.qmp:
            self.qmp.close()
        if self.serial:
            self.serial.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def pattern_args(**params: Any) -> list[str]:
    """Arguments that run the self-checking bare-metal guest (tests/guest/README.md)."""
    return ["-bios", "none", "-kernel", str(GUESTS / "pattern.bin"),
            "-append", " ".join(f"{k}={v}" for k, v in params.items())]


def guest_check(vm: VM, timeout: float = PATIENCE) -> dict[str, int]:
    """Ask the self-checking guest for a report newer than now; its numbers."""
    assert vm.serial
    start = len(vm.serial.text)
    vm.serial.send("r")
    match = vm.serial.wait(r"godwit-guest: ok pass=(\d+) gap_us=(\d+) pages=(\d+) time_us=(\d+)\n", timeout, start)
    return dict(zip(("pass", "gap_us", "pages", "time_us"), map(int, match.groups())))


def guest_full_pass(vm: VM, timeout: float = PATIENCE) -> dict[str, int]:
    """Wait until the guest has visited and verified all its memory twice more."""
    first = guest_check(vm, timeout)
    deadline = time.monotonic() + timeout
    while True:
        now = guest_check(vm, timeout)
        if now["pass"] >= first["pass"] + 2:
            return now
        if time.monotonic() > deadline:
            raise TimeoutError(f"guest makes no progress: {first} -> {now}")
        time.sleep(0.05)


def listen_address(vm: VM) -> str:
    """The URI under which a listening destination is reached."""
    address = vm.cmd("query-migrate")["socket-address"][0]
    if address["type"] == "unix":
        return f"unix:{address['path']}"
    return f"tcp:{address['host']}:{address['port']}"


def hand_over(src: VM, dst: VM | None, uri: str) -> dict[str, Any]:
    """Migrate @src to @uri without a bandwidth limit; both sides must end as they should."""
    src.cmd("migrate-set-parameters", max_bandwidth=10 ** 10, downtime_limit=2000)
    src.cmd("migrate", uri=uri)
    info = src.wait_migration("completed")
    src.wait_status("postmigrate")  # stock says the one a little before the other
    assert info["ram"]["remaining"] == 0
    if dst:
        dst.wait_status("running")
    return info
