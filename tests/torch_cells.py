"""Cells of the engine torch: what is predicted of them, what they hold, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import numpy as np

from memtrain.cells.cell import Cell, Mode
from memtrain.engines.activations import IN_PLACE
from memtrain.graph.node import Role
from memtrain.measure.workload import Workload
from memtrain.models.network import Network
from memtrain.planning.liveness import analyse
from memtrain.run.ledger import Ledger
from memtrain.training.keeping import GRADIENTS


def cell_in_pytorch(network: Network, draw: Random, batches: Sequence[int]) -> Cell:
    """A cell of the engine torch: the network with a drawn batch, optimiser and loop."""
    form = draw.choice(("plain", "foreach", "fused"))
    in_place = network.family in ("mlp", "lenet", "cnn", "resnet") and network.activation in IN_PLACE
    accumulate = draw.choice((1, 1, 2, 3))
    return Cell(
        network,
        batch=accumulate * draw.choice(batches),
        accumulate=accumulate,
        optimizer=draw.choice(("sgd", "momentum", "adam")),
        data="synthetic",
        engine="torch",
        steps=draw.choice((1, 2, 3)),
        foreach=form == "foreach",
        fused=form == "fused",
        inplace=in_place and draw.random() < 0.5,
        gradients=draw.choice(GRADIENTS),
        retain_graph=accumulate == 1 and draw.random() < 0.3,
    )


class Births(Ledger):
    """A ledger that also keeps the live bytes after each birth."""

    def __init__(self) -> None:
        super().__init__()
        self.live_at_births: list[int] = []

    def born_shared(self, array: object, role_bytes: Mapping[Role, int]) -> None:
        super().born_shared(array, role_bytes)
        self.live_at_births.append(self.live_bytes)


def counted(cell: Cell, mode: Mode) -> tuple[Births, list[float | None], Workload]:
    """The ledger of a run of the cell, its losses, and the workload."""
    workload, ledger = Workload(cell, mode), Births()
    return ledger, workload.run_all(workload.new_run(ledger)), workload


def assert_predicted(cell: Cell, *, throughout: bool = True) -> None:
    """Fail unless the ledger counts what is predicted, to the byte, in each mode.

    The peaks are compared and, with ``throughout``, the live bytes at each allocation of the last iteration.
    """
    for mode in Mode:
        ledger, _, workload = counted(cell, mode)
        schedule, liveness = workload.schedule, analyse(workload.schedule)
        assert ledger.peak_bytes == liveness.peak_bytes, (cell, mode)
        if not throughout:
            continue
        live = [
            count
            for step, count in zip(schedule.steps, liveness.live_bytes, strict=True)
            if schedule.graph[step.node].owns_storage
        ]
        assert ledger.live_at_births[-len(live) :] == live, (cell, mode)


def trained(cell: Cell) -> tuple[list[float | None], dict[str, np.ndarray]]:
    """The losses of all steps of the cell, and all parameters after them, by name."""
    workload = Workload(cell, Mode.TRAIN)
    run = workload.new_run(Ledger())
    losses = workload.run_all(run)
    return losses, {node.name: run.value(node.name).copy() for node in cell.network.build(1).parameters}


def assert_same_training(cell: Cell, tolerance: float = 1e-9) -> None:
    """Fail unless memtrain's engine and PyTorch give the same losses and the same parameters."""
    ours, parameters = trained(cell.in_numpy())
    losses, values = trained(cell)
    np.testing.assert_allclose(losses, ours, rtol=tolerance)
    for name, value in parameters.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-6, atol=1e-9, err_msg=name)
