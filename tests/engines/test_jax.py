"""JAX beside us: it computes the same training, and is measured, but nothing is predicted for it."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import called, rows_of

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import planned_row
from memtrain.errors import InputError, SpecError
from memtrain.measure.workload import Workload
from memtrain.models.mlp import ACTIVATIONS
from memtrain.report.findings import peak_bytes
from memtrain.report.html import report_html
from memtrain.sweeps.request import make_tasks

SMALL = {"depth": 2, "width": 8, "batch": 4, "data": "synthetic"}


def trained(cell):
    workload = Workload(cell, Mode.TRAIN)
    run = workload.new_run()
    losses = workload.run_all(run)
    return losses, [run.value(node.name).copy() for node in cell.network.build(1).parameters]


@pytest.mark.oracle
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jax_computes_the_same_training(activation, optimizer):
    pytest.importorskip("jax")
    cell = cell_of(**SMALL, activation=activation, optimizer=optimizer, bias=True, l2=0.01, dtype="float64")
    losses, parameters = trained(cell)
    found, values = trained(cell.changed(engine="jax"))
    np.testing.assert_allclose(found, losses, rtol=1e-9)
    for value, other in zip(values, parameters, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-6, atol=1e-9)


@pytest.mark.oracle
def test_jax_is_measured_beside_the_others(tmp_path):
    pytest.importorskip("jax")
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
