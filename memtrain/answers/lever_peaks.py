"""The predicted peaks of cells whose levers are tried, each computed once."""

from __future__ import annotations

from functools import cache

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.engine import NUMPY
from memtrain.models.network import Network
from memtrain.planning.liveness import analyse
from memtrain.planning.remat.policy import NONE
from memtrain.planning.remat.rematerialisation import smallest_budget
from memtrain.run.allocation import peak_bytes
from memtrain.training.iteration import EAGER

ALIKE = 3
"""From this number of micro-batches on, an additional one is equal to the one before it."""


class Peaks:
    """The predicted peaks of cells that keep all, and of their smallest plans. Each is computed once."""

    def __init__(self) -> None:
        self._kept, self._least = cache(_kept_bytes), cache(_least_bytes)
        self.standing_bytes = cache(_standing_bytes)

    def kept_bytes(self, cell: Cell) -> int:
        """The peak bytes of ``cell`` if all values that backward reads are kept."""
        few, rest = _few(cell)
        return self._kept(few) + rest

    def least_bytes(self, cell: Cell) -> int:
        """The peak bytes of the smallest plan of ``cell``."""
        few, rest = _few(cell)
        return self._least(few) + rest

    def fits(self, cell: Cell, memory_bytes: int) -> bool:
        """Whether ``cell`` fits into a memory without a plan."""
        return self.standing_bytes(cell) <= memory_bytes and self.kept_bytes(cell) <= memory_bytes

    def has_plan(self, cell: Cell, memory_bytes: int) -> bool:
        """Whether ``cell`` fits into a memory with a plan of rematerialisation."""
        return (
            cell.engine == NUMPY
            and self.standing_bytes(cell) <= memory_bytes
            and self.least_bytes(cell) <= memory_bytes
        )


def _few(cell: Cell) -> tuple[Cell, int]:
    """A similar cell with few micro-batches, and the bytes by which the peaks of ``cell`` are higher."""
    cell = cell.changed(policy=NONE)
    if cell.accumulate <= ALIKE:
        return cell, 0
    few = cell.changed(batch=ALIKE * (cell.batch // cell.accumulate), accumulate=ALIKE)
    return few, (cell.batch - few.batch) * _feed_bytes(cell.network, 1)


def _kept_bytes(cell: Cell) -> int:
    return peak_bytes(analyse(cell.keep_all(Mode.TRAIN)), cell.allocation_for(timing=False))


def _least_bytes(cell: Cell) -> int:
    return smallest_budget(cell.keep_all(Mode.TRAIN)) if cell.engine == NUMPY else _kept_bytes(cell)


def _standing_bytes(cell: Cell) -> int:
    """Bytes that are live at one time under any plan: a lower bound of the peak, found without scheduling.

    These are parameters and batch, and all gradients unless updates are eager without micro-batches.
    """
    parameters = parameter_bytes(cell)
    gradients = parameters if cell.accumulate > 1 or cell.update != EAGER else 0
    return _feed_bytes(cell.network, cell.batch) + parameters + gradients


def _feed_bytes(network: Network, batch: int) -> int:
    return sum(feed.nbytes for feed in network.feeds(batch))


def parameter_bytes(cell: Cell) -> int:
    """The bytes of the parameters of the network."""
    return sum(node.nbytes for node in cell.network.build(1).parameters)
