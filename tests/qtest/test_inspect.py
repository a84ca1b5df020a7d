# SPDX-License-Identifier: GPL-2.0-or-later
"""godwit-inspect on files of Godwit: what is in them, and where a damaged one is damaged."""
from __future__ import annotations

import pytest

import inspecting
from vmtest import hand_over


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small state of a stopped guest, and the VM's own word on two of its values."""
    from vmtest import VM
    path = tmp_path_factory.mktemp("inspect") / "state"
    vm = VM("godwit", "-S", "-bios", "none", mem="16M", smp=2, serial=False)
    try:
        hand_over(vm, None, f"file:{path}")
    finally:
        vm.close()
    return path


def test_what_is_in_it(saved):
    found = inspecting.tree(saved)
    assert found["valid"] and found["machine"] == "virt"
    assert found["sections"][0]["name"] == "ram" and found["sections"][-1]["name"] == "globalstate"
    assert inspecting.values(found, "globalstate")["runstate"] == "prelaunch"
    assert inspecting.values(found, "cpu", 1)["env.mhartid"] == 1
    assert inspecting.values(found, "cpu")["env.pc"] == 0x1000
    ram = inspecting.block(found)
    assert ram["length"] == 16 << 20
    assert ram["data"] + ram["zero"] == 4096 and ram["none"] == 0
    assert inspecting.block(found, "riscv_virt_board.mrom")["data"] >= 1


def test_text(saved):
    done = inspecting.run(saved, "--ascii")
    assert done.returncode == 0
    assert "globalstate/0" in done.stdout and "one character: " in done.stdout
    assert f"a whole stream of {len(inspecting.tree(saved)['sections'])} sections\n" in done.stdout
    assert "env.pc = 4096" in inspecting.run(saved, "--device", "cpu").stdout
    assert inspecting.run(saved.parent / "nothing").returncode == 2


def test_every_cut_is_found_where_it_is(saved):
    data = saved.read_bytes()
    for cut in [*range(0, 200, 7), *range(200, len(data), len(data) // 60), len(data) - 1]:
        report = inspecting.look(data[:cut])
        assert report.damage and report.damage.offset == cut, f"cut at {cut}: {report.damage}"


def test_damage_is_found_where_it_is(saved):
    """Flip a bit in each kind of place whose contents are known: the report names that byte."""
    data = bytearray(saved.read_bytes())
    whole = inspecting.look(bytes(data))
    assert not whole.damage
    places = {"magic": 1, "version": 7}
    for section in whole.sections:
        if section.kind == "full":
            places[f"head of {section.name}"] = section.offset + 7
            places[f"version of {section.name}"] = \
                section.offset + 6 + len(section.name) + 4 + 3
            places[f"footer of {section.name}"] = \
                section.offset + 14 + len(section.name) + section.length
        elif section.kind == "part":
            places["address of a record"] = section.offset + 5
    for place, offset in places.items():
        bad = bytearray(data)
        bad[offset] ^= 0x40
        damage = inspecting.look(bad).damage
        assert damage and damage.offset == offset, f"{place} at {offset}: {damage}"


def test_no_flip_upsets_it(saved):
    """Whatever a byte becomes, the answer is a report."""
    data = saved.read_bytes()
    start = next(s.offset for s in inspecting.look(data).sections if s.kind == "full")
    for offset in [*range(0, 160), *range(start, len(data), 97)]:
        bad = bytearray(data)
        bad[offset] ^= 1 << offset % 8
        inspecting.look(bad)


def test_foreign_files(tmp_path):
    for name, content in (("empty", b""), ("text", b"#!/bin/sh\n" * 50), ("zeros", bytes(5000))):
        path = tmp_path / name
        path.write_bytes(content)
        done = inspecting.run(path, "--check")
        assert done.returncode == 1 and "offset 0 " in done.stdout, done


def test_stream_behind_an_offset(saved, tmp_path):
    path = tmp_path / "offset"
    path.write_bytes(b"X" * 4096 + saved.read_bytes())
    assert inspecting.tree(path, "--offset", "0x1000")["sections"][0]["offset"] == 4096 + 17
    assert inspecting.run(path, "--check").returncode == 1
