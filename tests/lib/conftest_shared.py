# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures shared by the qtest and interop suites."""
from __future__ import annotations

import pytest

import vmtest


@pytest.fixture
def make_vm():
    """make_vm(kind, *args, ...) -> VM, closed at the end of the test."""
    vms: list[vmtest.VM] = []

    def make(*args, **kwargs) -> vmtest.VM:
        vm = vmtest.VM(*args, **kwargs)
        vms.append(vm)
        return vm

    yield make
    for vm in reversed(vms):
        vm.close()
