"""JAX beside us: it computes the same training, and is measured, but nothing is predicted for it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import jax_training
import pytest
from command_line import called, rows_of
from jax_training import SMALL

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import planned_row
from memtrain.errors import InputError, SpecError
from memtrain.models.mlp import ACTIVATIONS
from memtrain.report.findings import peak_bytes
from memtrain.report.html import report_html
from memtrain.sweeps.request import make_tasks
from memtrain.training.optimizers import OPTIMIZERS

JAX = pytest.mark.skipif(not find_spec("jax"), reason="needs JAX")


@JAX
@pytest.mark.oracle
def test_jax_computes_the_same_training():
    line = [sys.executable, jax_training.__file__]
    found = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    assert len(found) == len(ACTIVATIONS) * len(OPTIMIZERS)
    for activation, optimizer, of_losses, of_parameters in found:
        assert of_losses <= 1e-9, (activation, optimizer)
        assert of_parameters <= 1e-9, (activation, optimizer)


@JAX
@pytest.mark.oracle
def test_jax_is_measured_beside_the_others(tmp_path):
    cell = ["--depth", "2", "--batch", "256", "--engine", "numpy,jax", "--meters", "heap,time"]
    ran = called("sweep", *cell, "--export-csv", "-", cwd=tmp_path)
    assert ran.code == 0, ran.err
    rows = rows_of(ran.out)
    ours, theirs = ({row["mode"]: row for row in rows if row["engine"] == name} for name in ("numpy", "jax"))
    for mode in ("train", "infer"):
        assert theirs[mode]["status"] == "ok"
        assert theirs[mode]["predicted_peak_bytes"] == theirs[mode]["ledger_peak_bytes"] == ""
        assert float(theirs[mode]["step_s"]) > 0
        least = int(ours[mode]["parameter_bytes"]) + int(ours[mode]["input_bytes"])
        assert int(theirs[mode]["heap_peak_bytes"]) >= least
    assert int(theirs["train"]["heap_peak_bytes"]) > int(theirs["infer"]["heap_peak_bytes"])
    assert float(theirs["train"]["loss_last"]) == pytest.approx(float(ours["train"]["loss_last"]), rel=1e-5)


def test_jax_has_no_inference_with_gradients_on():
    cells = [cell_of(**SMALL, engine=engine) for engine in ("numpy", "jax")]
    assert [mode for cell, mode in make_tasks(cells, "all") if cell.engine == "jax"] == ["train", "infer"]
    with pytest.raises(SpecError, match="JAX keeps nothing for gradients in inference"):
        make_tasks(cells[1:], "eval-grad")


def test_nothing_is_predicted_for_jax():
    cell = cell_of(**SMALL, engine="jax")
    row = planned_row(cell, Mode.TRAIN)
    assert row.ok
    assert row["predicted_peak_bytes"] is row["retained_bytes"] is peak_bytes(row) is None
    assert row["parameter_bytes"] == planned_row(cell.in_numpy(), Mode.TRAIN)["parameter_bytes"]
    assert "keeps nothing for gradients" in planned_row(cell, Mode.EVAL_GRAD)["reason"]
    with pytest.raises(SpecError, match="the engine jax is only measured"):
        cell.schedule(Mode.TRAIN)
    with pytest.raises(InputError, match="nothing is predicted for JAX"):
        report_html([row])


@pytest.mark.parametrize("line", ["explain", "plan --memory 1MiB", "frontier --memory 1MiB", "train"])
def test_the_commands_that_predict_refuse_jax(line, tmp_path):
    ran = called(*line.split(), "--engine", "jax", "--depth", "1", cwd=tmp_path)
    assert ran.code == 2
    assert "jax" in ran.err.splitlines()[-1]


@pytest.mark.parametrize(
    "columns",
    [
        {"model": "lenet"},
        {"policy": "sqrt"},
        {"accumulate": 2},
        {"gradients": "kept"},
        {"freeze": "1"},
        {"memory_limit_bytes": 2**30},
        {"fused": True},
    ],
)
def test_what_jax_does_not_do_is_refused(columns):
    with pytest.raises(SpecError, match=r"jax|PyTorch"):
        cell_of(engine="jax", **columns)
