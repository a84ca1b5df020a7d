# SPDX-License-Identifier: GPL-2.0-or-later
"""Random programs of isa_payload.py do the same on Godwit and on stock QEMU 7.2.

GODWIT_ISA_SEEDS=100-199 runs these seeds instead of the few fixed ones.
"""
from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

import isa_payload
from vmtest import ROOT

CASES = {"straight": 250, "sv39": 250, "flow": 16}
NAMES = ([f"x{i}" for i in range(32)] + [f"f{i}" for i in range(32)] + ["fcsr", "traps"] + [f"pte{i}" for i in range(8)]
         + [f"trap{i}.{what}" for i in range(16) for what in ("cause", "tval", "epc", "mstatus")])


def seeds() -> range:
    first, _, last = os.environ.get("GODWIT_ISA_SEEDS", "1-3").partition("-")
    return range(int(first), int(last or first) + 1)


def build(directory: pathlib.Path, kind: str, seed: int, *flags: str) -> str:
    source, elf, image = (directory / f"{kind}-{seed}{suffix}" for suffix in (".S", ".elf", ".bin"))
    source.write_text(isa_payload.generate(kind, seed, CASES[kind]))
    subprocess.run(["riscv64-linux-gnu-gcc", "-march=rv64imafdc_zicsr_zifencei", "-mabi=lp64d", "-nostdlib", "-static",
                    "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments", "-Wl,--no-relax", *flags, str(source),
                    "-T", str(ROOT / "tests" / "guest" / "guest.ld"), "-o", str(elf)], check=True)
    subprocess.run(["riscv64-linux-gnu-objcopy", "-O", "binary", str(elf), str(image)], check=True)
    return str(image)


def transcripts(make_vm, image: str) -> list[list[str]]:
    """What the payload prints on stock and on Godwit, which run it at the same time."""
    vms = [make_vm(kind, "-bios", "none", "-kernel", image, smp=2, qmp=False) for kind in ("stock", "godwit")]
    for vm in vms:
        assert vm.wait_exit(60) == 0, vm.log()
        vm.serial.join(30)
    return [vm.serial.text.split() for vm in vms]


def explain(make_vm, directory: pathlib.Path, kind: str, seed: int) -> str:
    """Which cases differ first, and where."""
    size = 1 + len(NAMES)
    stock, godwit = transcripts(make_vm, build(directory, kind, seed, "-DVERBOSE"))
    lines = [f"{kind} {seed}: look at {directory}/{kind}-{seed}.elf, with objdump -D -M numeric"]
    for start in range(0, max(len(stock), len(godwit)), size):
        ours, theirs = godwit[start:start + size], stock[start:start + size]
        if ours != theirs:
            fields = [f"{name} {a} (stock) {b} (godwit)" for name, a, b in zip(NAMES, theirs[1:], ours[1:]) if a != b]
            lines.append(f"line {start // size}: " + (", ".join(fields) or "memory or the end"))
    return "\n".join(lines[:10])


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("kind", CASES)
def test_same_as_stock(make_vm, tmp_path, kind, seed):
    stock, godwit = transcripts(make_vm, build(tmp_path, kind, seed))
    assert len(stock) == CASES[kind] * (isa_payload.RUNS_OF_A_FLOW if kind == "flow" else 1)
    if stock != godwit:
        pytest.fail(explain(make_vm, tmp_path, kind, seed), pytrace=False)
