"""Runs of cells by PyTorch for the tests that compare them with the prediction and with our own engine."""

from __future__ import annotations

import numpy as np

from memtrain.cells.cell import Cell, Mode
from memtrain.measure.workload import Workload
from memtrain.planning.liveness import analyse
from memtrain.run.ledger import Ledger


def counted(cell: Cell, mode: Mode) -> tuple[Ledger, list[float | None], Workload]:
    """The ledger of a run of the cell, its losses, and the workload."""
    workload, ledger = Workload(cell, mode), Ledger()
    return ledger, workload.run_all(workload.new_run(ledger)), workload


def assert_predicted(cell: Cell) -> None:
    """Fail unless the ledger of PyTorch's training, and of its inference, peaks at the predicted bytes."""
    for mode in Mode:
        ledger, _, workload = counted(cell, mode)
        assert ledger.peak_bytes == analyse(workload.schedule).peak_bytes, (mode, cell)


def assert_same_training(cell: Cell) -> None:
    """Fail unless both engines find the same losses, and the same parameters after the last step."""
    found = {}
    for engine in ("numpy", "torch"):
        workload = Workload(cell.changed(engine=engine), Mode.TRAIN)
        run = workload.new_run(Ledger())
        losses = workload.run_all(run)
        names = [node.name for node in cell.network.build(1).trainable]
        found[engine] = (losses, {name: run.value(name).copy() for name in names})
    np.testing.assert_allclose(found["torch"][0], found["numpy"][0], rtol=1e-9)
    for name, value in found["numpy"][1].items():
        np.testing.assert_allclose(found["torch"][1][name], value, rtol=1e-6, atol=1e-9, err_msg=name)
