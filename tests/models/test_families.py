"""A second family: all commands accept it, and columns that it lacks are left out."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest
import residual

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.columns import BY_NAME
from memtrain.errors import SpecError
from memtrain.explaining.proof import prove
from memtrain.measure.workload import batches
from memtrain.models.families import FAMILIES
from memtrain.planning.liveness import analyse
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger


@pytest.fixture
def family(monkeypatch):
    monkeypatch.setitem(FAMILIES, residual.Residual.family, residual.Residual)


def said(*words, cwd):
    """The output of the command with the second family."""
    command = [sys.executable, str(Path(residual.__file__)), *words]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_of_columns_names_every_family():
    assert BY_NAME["model"].choices == tuple(FAMILIES)


@pytest.mark.parametrize(("policy", "accumulate"), [*product(["none", "sqrt"], [1, 2])])
def test_predicted_is_what_the_ledger_counts(family, policy, accumulate):
    cell = cell_of(model="residual", depth=4, width=16, batch=8, policy=policy, accumulate=accumulate)
    for mode in Mode:
        schedule, ledger = cell.schedule(mode), Ledger()
        run = Run(schedule, ledger)
        run.load(cell.network.initial_values(0))
        for batch in islice(batches(cell), 2):
            run.feed(batch)
            run.iterate()
        assert ledger.peak_bytes == analyse(schedule).peak_bytes


def test_what_is_retained_is_needed(family):
    cell = cell_of(model="residual", depth=3, width=8, batch=4)
    proof = prove(cell.schedule(Mode.TRAIN), cell.network.initial_values(0), next(batches(cell)))
    assert proof.ok
    assert {array.name for array in proof.needed} >= {"a1", "a2", "a3", "logp"}


def test_micro_batches_add_up_to_the_gradients_of_the_batch(family):
    cell = cell_of(model="residual", depth=2, width=8, batch=6, dtype="float64")
    updated = []
    for accumulate in (1, 3):
        run = Run(cell.changed(accumulate=accumulate).schedule(Mode.TRAIN))
        run.load(cell.network.initial_values(0))
        run.feed(next(batches(cell)))
        run.iterate()
        updated.append(run)
    for name in ("A", "W1", "W2", "B"):
        one, three = (run.array(run.schedule.graph.named(name).id) for run in updated)
        np.testing.assert_allclose(one, three, rtol=1e-12)


def test_a_column_that_a_family_lacks_is_refused_where_it_is_given(family):
    assert cell_of(model="residual")["bias"] is None
    with pytest.raises(SpecError, match="family residual has no bias; drop bias"):
        cell_of(model="residual", bias=True)


@pytest.mark.parametrize(
    "line",
    [
        "sweep --model residual --depth 1,2 --batch 8 --dry-run",
        "explain --model residual --depth 6 --width 8 --batch 8 --no-measure --prove",
        "frontier --model residual --memory 1MiB --depth 1,2 --no-confirm",
        "plan --model residual --memory 1MiB --depth 2 --width 8 --batch 8 --no-measure --cost flops",
        "train --model residual --epochs 2 --width 8",
        "sweep --model residual --print-config",
    ],
)
def test_every_command_takes_the_family(line, tmp_path):
    out = said(*line.split(), cwd=tmp_path)
    assert not re.search(r"\bNone\b|bias|\bl2\b", out)


def test_both_families_stand_in_one_table_which_says_nothing_of_what_one_lacks(tmp_path):
    out = said(
        "sweep", "--model", "mlp,residual", "--depth", "1,2", "--batch", "8", "--dry-run", cwd=tmp_path
    )
    assert "model" in out
    assert not re.search(r"\bNone\b|bias|\bl2\b", out)


def test_the_commands_that_plan_prints_can_be_run(tmp_path):
    out = said(
        *("plan", "--model", "residual", "--memory", "90KiB", "--depth", "4", "--width", "32"),
        *("--batch", "64", "--no-measure", "--cost", "flops"),
        cwd=tmp_path,
    )
    commands = re.findall(r"^ +memtrain (train [^\n]*)$", out.replace("\\\n", " "), re.M)
    assert commands
    for command in commands[:2]:
        said(*shlex.split(command), "--epochs", "1", cwd=tmp_path)
