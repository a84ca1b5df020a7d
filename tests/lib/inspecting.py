# SPDX-License-Identifier: GPL-2.0-or-later
"""Run scripts/godwit-inspect, as a command and as a library."""
from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

from vmtest import ROOT

TOOL = ROOT / "scripts" / "godwit-inspect"
sys.path.insert(0, str(TOOL.parent))

from godwit_inspect.stream import Report, inspect  # noqa: E402


def run(path: pathlib.Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOOL, *options, path], capture_output=True, text=True, timeout=60)


def tree(path: pathlib.Path, *options: str) -> dict[str, Any]:
    """What --json says about a file that is whole."""
    done = run(path, "--json", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def block(found: dict[str, Any], name: str = "riscv_virt_board.ram") -> dict[str, Any]:
    return next(b for b in found["ram"]["blocks"] if b["name"] == name)


def values(found: dict[str, Any], name: str, instance: int = 0) -> dict[str, Any]:
    return next(s["values"] for s in found["sections"]
                if s["name"] == name and s["instance"] == instance and s["kind"] == "full")


def look(data: bytes) -> Report:
    return inspect(data, 0, -1)
