"""A hundred seeded command lines and data files; `scripts/fuzz` runs thousands."""

from __future__ import annotations

import subprocess
import sys

import pytest
from paths import TESTS


@pytest.mark.skipif(sys.platform == "win32", reason="cases are forked")
def test_whatever_is_given_the_end_is_a_promised_one(tmp_path):
    said = subprocess.run(
        [sys.executable, TESTS / "fuzzing.py", "100"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-1000:]
    assert said.stdout.startswith("100 cases")
