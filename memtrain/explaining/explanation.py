"""The explanation of a cell as data, which `memtrain explain` shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.engine import TORCH
from memtrain.explaining.by_layer import LayerBytes, retained_by_layer
from memtrain.explaining.cost import Recomputation, recomputation
from memtrain.explaining.footprint import RoleFootprint, footprint
from memtrain.explaining.formulas import Book, Formula
from memtrain.explaining.reasons import (
    Dropped,
    Recomputed,
    Retained,
    dropped_reasons,
    recomputed_reasons,
    retained_reasons,
)
from memtrain.explaining.saved import LayerPair, SavedValue, layers_beside, saved_values
from memtrain.explaining.timeline import Moment, RunnerUp, runner_up, timeline
from memtrain.graph.node import Phase
from memtrain.planning.cost import Rates
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.schedule import Schedule


@dataclass(frozen=True)
class Account:
    """The full prediction of one mode of a cell."""

    schedule: Schedule
    liveness: Liveness
    timeline: list[Moment]
    runner_up: RunnerUp | None
    footprint: list[RoleFootprint]

    @property
    def peak(self) -> Moment:
        """The step at which most bytes are live."""
        return self.timeline[self.liveness.peak_step]


@dataclass(frozen=True)
class Explanation:
    """A cell explained: training beside inference, and why each intermediate is kept or not."""

    cell: Cell
    train: Account
    infer: Account
    forward: list[Formula]
    gradients: list[Formula]
    retained: list[Retained]
    retained_by_layer: list[LayerBytes]
    recomputed: list[Recomputed]
    dropped: list[Dropped]
    recomputation: Recomputation
    saved: list[SavedValue] = field(default_factory=list)
    """What PyTorch's autograd saves; empty for memtrain's own engine."""
    beside: list[LayerPair] = field(default_factory=list)
    """What PyTorch keeps for each layer, beside memtrain; empty for memtrain's own engine."""


def explain(cell: Cell, rates: Rates | None = None) -> Explanation:
    """The explanation of ``cell``, planned with ``rates``. Nothing is run, so the cell can have any size."""
    train, infer = (_account(cell, mode, rates) for mode in (Mode.TRAIN, Mode.INFER))
    graph = train.schedule.graph
    book = Book(graph, cell["l2"])
    computed = [graph[step.node] for step in train.schedule.steps if step.phase is not Phase.RECOMPUTE]
    by_layer = retained_by_layer(train.liveness, book)
    saved, beside = _saved(cell, by_layer) if cell.engine == TORCH else ([], [])
    return Explanation(
        cell=cell,
        train=train,
        infer=infer,
        forward=[
            formula
            for node in computed
            if node.phase is Phase.FORWARD and (formula := book.formula(node)).left != formula.right
        ],
        gradients=[
            book.formula(node)
            for node in computed
            if node.phase is Phase.BACKWARD and node.shape and book.completed(node) is node
        ],
        retained=retained_reasons(train.liveness, book),
        retained_by_layer=by_layer,
        recomputed=recomputed_reasons(train.liveness, book),
        dropped=dropped_reasons(train.liveness),
        recomputation=recomputation(train.schedule),
        saved=saved,
        beside=beside,
    )


def _saved(cell: Cell, by_layer: list[LayerBytes]) -> tuple[list[SavedValue], list[LayerPair]]:
    """What PyTorch's autograd saves, and what it keeps for each layer beside memtrain."""
    recorded = cell.recorded(Mode.TRAIN)
    saved = saved_values(recorded.schedule.graph, recorded.saved)
    ours = cell.in_numpy().keep_all(Mode.TRAIN)
    kept = retained_by_layer(analyse(ours), Book(ours.graph, cell["l2"]))
    return saved, layers_beside(by_layer, kept, saved)


def _account(cell: Cell, mode: Mode, rates: Rates | None) -> Account:
    schedule = cell.schedule(mode, rates)
    liveness = analyse(schedule)
    moments = timeline(liveness)
    return Account(
        schedule, liveness, moments, runner_up(moments, liveness.peak_step), footprint(cell, mode, liveness)
    )
