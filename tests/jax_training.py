"""How far the training of JAX is from memtrain's, for each activation and optimiser, in a process of its own.

A process that has loaded JAX must not fork, and processes of tests fork.
"""

from __future__ import annotations

import json
from itertools import product

import numpy as np

from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.measure.workload import Workload
from memtrain.models.mlp import ACTIVATIONS
from memtrain.training.optimizers import OPTIMIZERS

SMALL = {"depth": 2, "width": 8, "batch": 4, "data": "synthetic"}


def trained(cell: Cell) -> tuple[np.ndarray, list[np.ndarray]]:
    """The losses of all steps of the cell, and all parameters after them."""
    workload = Workload(cell, Mode.TRAIN)
    run = workload.new_run()
    losses = np.array(workload.run_all(run))
    return losses, [run.value(node.name).copy() for node in cell.network.build(1).parameters]


def differences() -> list[tuple[str, str, float, float]]:
    """Activation, optimiser, and the largest differences: of losses, relative, and of parameters."""
    found = []
    for activation, optimizer in product(ACTIVATIONS, OPTIMIZERS):
        chosen = {"activation": activation, "optimizer": optimizer, "bias": True, "l2": 0.01}
        cell = cell_of(**SMALL, **chosen, dtype="float64")
        losses, parameters = trained(cell)
        theirs, values = trained(cell.changed(engine="jax"))
        apart = max(np.abs(a - b).max() for a, b in zip(values, parameters, strict=True))
        found.append((activation, optimizer, float(np.abs(theirs / losses - 1).max()), float(apart)))
    return found


if __name__ == "__main__":
    print(json.dumps(differences()))
