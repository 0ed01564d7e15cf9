"""The answer of ``train``: what a training gave and took."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.cells.cell import Cell
from memtrain.train.loop import Trained


@dataclass(frozen=True)
class Training:
    """A finished training of a cell, at a learning rate."""

    cell: Cell
    rate: float
    trained: Trained
