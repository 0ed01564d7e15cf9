"""Random cells of every family through the real meters; `scripts/meters` draws hundreds."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from paths import SCRIPTS


def drawn(*options):
    """The lines that the script prints. It must find no broken promise."""
    command = [sys.executable, SCRIPTS / "meters.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.measure
def test_the_ledger_is_the_prediction_in_forty_drawn_cells_of_all_families():
    lines = drawn("40", "7", "--small", "--meters", "ledger")
    assert re.fullmatch(r"\d+ drawn, \d+ refused.*: 40 cells", lines[0])
    families = {line.partition(",")[0] for line in lines[2:]}
    assert families >= {"mlp", "lenet", "cnn", "resnet", "transformer", "rnn"}
    assert lines[-1] == "broken in silence: 0; ledger is not the prediction: 0"


@pytest.mark.measure
def test_the_heap_is_near_the_ledger_in_a_large_cell_of_each_family():
    lines = drawn("6", "3", "--least", "2MiB", "--most", "16MiB", "--meters", "ledger,heap", "--threads", "1")
    (total,) = (line.split() for line in lines if line.startswith("all "))
    assert total[1:5] == ["6", "0", "6", "6"]  # rows, failed, ledger is the prediction, heap is near
