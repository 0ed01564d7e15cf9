"""The answer of ``train``: the result and the cost of a training."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.cells.cell import Cell
from memtrain.training.loop import Trained


@dataclass(frozen=True)
class Training:
    """A finished training of a cell, at a learning rate."""

    cell: Cell
    rate: float
    trained: Trained
