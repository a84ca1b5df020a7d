# SPDX-License-Identifier: GPL-2.0-or-later
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from conftest_shared import *  # noqa: E402,F401,F403  fixtures


def pytest_configure(config):
    if "GODWIT_NESTED" not in os.environ:
        pytest.exit("these tests run inside a machine of their own: make check-nested, or tests/nested/run ...", 2)
