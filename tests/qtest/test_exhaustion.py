# SPDX-License-Identifier: GPL-2.0-or-later
"""The host runs out of something in the middle of a migration: the guest at the source goes on."""
from __future__ import annotations

import os
import resource
import socket

import pytest

from vmtest import QMPError, VM, guest_check, guest_full_pass, pattern_args

GUEST = {"mode": "pattern", "ws": "2M", "rate": "4M", "report": 0}


@pytest.fixture
def src(make_vm) -> VM:
    vm = make_vm("godwit", *pattern_args(**GUEST), mem="16M")
    vm.serial.wait("ready")
    return vm


def attempt(src: VM, uri: str) -> str:
    """Migrate; the error, from the command or later. The guest must run with its memory right."""
    try:
        src.cmd("migrate", uri=uri)
    except QMPError as error:
        text = error.desc
    else:
        text = src.wait_migration("failed")["error-desc"]
    src.wait_status("running")
    guest_check(src)
    return text


def test_file_size_limit(src, tmp_path):
    """SIGXFSZ must not end the emulator."""
    resource.prlimit(src.process.pid, resource.RLIMIT_FSIZE, (50000, 50000))
    text = attempt(src, f"file:{tmp_path}/stream")
    assert "File too large" in text and "section 'ram' at offset" in text
    guest_full_pass(src)


def test_no_descriptors(src, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uris = {f"file:{tmp_path}/stream": "Too many open files",
                "exec:cat >/dev/null": "Too many open files",
                f"tcp:127.0.0.1:{listener.getsockname()[1]}": "Too many open files",
                f"tcp:localhost:{listener.getsockname()[1]}": "address resolution failed"}
        used = len(os.listdir(f"/proc/{src.process.pid}/fd"))
        old = resource.prlimit(src.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(src.process.pid, resource.RLIMIT_NOFILE, (used, old[1]))
        for uri, text in uris.items():
            assert text in attempt(src, uri)
        resource.prlimit(src.process.pid, resource.RLIMIT_NOFILE, old)
    src.cmd("migrate", uri="exec:cat >/dev/null")
    src.wait_migration("completed")


def test_fifo_without_a_reader(src, tmp_path):
    """open(2) would wait for one, and the monitor with it."""
    os.mkfifo(tmp_path / "fifo")
    assert "No such device or address" in attempt(src, f"file:{tmp_path}/fifo")
