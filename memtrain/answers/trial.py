"""The options of ``plan``, run: their memory, their time beside keep-all's, and their gradients.

A plan of rematerialisation must give every gradient in the same bits. Micro-batches add the same numbers up
in another order, so theirs differ by rounding. In float32 that rounding can move a unit across the kink of a
ReLU, and then its derivative is another one: one unit of a million changes a gradient by 0.3 %. So
micro-batches are compared in float64, where the rounding is a billion times smaller; and a plan on top of
them is compared, bit by bit, with the same micro-batches without the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from memtrain.answers.option import Kind, Option, Ways
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import predicted_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.measure.client import SERVERS, measure
from memtrain.measure.machine import ROOM
from memtrain.measure.measured import measured_row, needed_bytes
from memtrain.measure.rates import rates_for
from memtrain.plan.remat.policy import NONE
from memtrain.units import format_bytes

METERS = ("ledger", "heap")


class PairMeasure(Protocol):
    """As `memtrain.measure.client.measure`: the figures of a meter for a cell, or for a cell and another."""

    def __call__(
        self, meter: str, cell: Cell, mode: Mode, timeout_s: float | None = None, other: Cell | None = None
    ) -> dict[str, Any]:
        """Raises ``ChildFailed`` and ``MeterUnavailable``."""


def measure_ways(
    ways: Ways,
    *,
    timeout_s: float | None = None,
    measure: PairMeasure = measure,
    done: Callable[[Option], None] = lambda option: None,
) -> Ways:
    """``ways`` with every option run: ledger, heap, its time beside keep-all's, its gradients."""
    runner = _Runner(ways.keep_all.cell, measure, timeout_s)
    found: dict[tuple[Kind, Cell], Option] = {}
    with SERVERS:
        for option in ways.options:
            found[option.kind, option.cell] = tried = runner.run(option)
            done(tried)

    def ran(option: Option) -> Option:
        return found[option.kind, option.cell]

    return replace(
        ways,
        keep_all=ran(ways.keep_all),
        chosen=None if ways.chosen is None else ran(ways.chosen),
        points=tuple(map(ran, ways.points)),
        rules=tuple(map(ran, ways.rules)),
        levers=tuple(map(ran, ways.levers)),
        smaller=None if ways.smaller is None else ran(ways.smaller),
    )


class _Runner:
    """Measures options beside one that keeps all."""

    def __init__(self, keep_all: Cell, measure: PairMeasure, timeout_s: float | None) -> None:
        self._keep_all, self._measure, self._timeout_s = keep_all, measure, timeout_s

    def run(self, option: Option) -> Option:
        """``option`` with what was measured; what could not be is said in its notes."""
        itself = option.kind is Kind.KEEP_ALL
        meters = (*METERS, "time") if itself else METERS
        row = measured_row(option.cell, Mode.TRAIN, meters, self._timeout_s, self._measure)
        option = replace(option, row=row, notes=tuple(row.notes))
        if itself or not row.ok or option.kind is Kind.BATCH:
            return replace(option, step_s=row["step_s"], time_ratio=1.0 if row["step_s"] else None)
        try:
            pace = self._pair("pace", option.cell, self._keep_all)
            option = replace(option, step_s=pace["step_s"], time_ratio=pace["time_ratio"])
            return self._compared(option)
        except (ChildFailed, MeterUnavailable) as reason:
            return replace(option, notes=(*option.notes, str(reason)))

    def _compared(self, option: Option) -> Option:
        """``option`` with how far its gradients are from keep-all's, if it computes the same thing."""
        cell, base = option.cell, self._keep_all
        if (cell.optimizer, cell["dtype"]) != (base.optimizer, base["dtype"]):
            return option
        alone = cell.changed(policy=NONE)
        if option.exact:
            likeness = self._pair("likeness", cell, base)
        else:
            if cell != alone:
                differing = self._pair("likeness", cell, alone)["differing"]
                option = replace(option, changed_by_plan=tuple(differing))
            precise = (each.changed(dtype="float64") for each in (alone, base))
            likeness = self._pair("likeness", *precise)
        return replace(
            option,
            differing=tuple(likeness["differing"]),
            largest_difference=likeness["largest_difference"],
        )

    def _pair(self, meter: str, cell: Cell, other: Cell) -> dict[str, Any]:
        """The figures of a meter for two cells in one process. Raises ``MeterUnavailable`` without memory."""
        needed = sum(needed_bytes(predicted_row(each, Mode.TRAIN, rates_for(each))) for each in (cell, other))
        with ROOM.take(needed) as free_bytes:
            if needed > free_bytes:
                what = "time" if meter == "pace" else "gradients"
                raise MeterUnavailable(
                    f"{what} not compared: two networks side by side need {format_bytes(needed)}, "
                    f"{format_bytes(free_bytes)} are free"
                )
            return self._measure(meter, cell, Mode.TRAIN, self._timeout_s, other)
