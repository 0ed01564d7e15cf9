"""Measurements of the options of ``plan``: memory, and time and gradients compared with keep-all.

A plan of rematerialisation must give the same bits of every gradient. Micro-batches add the same numbers in
another order, so their gradients differ by rounding. In float32 the rounding can move a unit across the kink
of a ReLU, which changes its derivative: one unit of a million changes a gradient by 0.3 %. So micro-batches
are compared in float64, where the rounding is a billion times smaller. A plan in addition to micro-batches is
compared, bit by bit, with the same micro-batches without the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from memtrain.answers.option import Kind, Option, Ways
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.engine import NUMPY
from memtrain.cells.row import predicted_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.measure.admission import admitted
from memtrain.measure.host import Host
from memtrain.measure.measured import measured_row
from memtrain.planning.remat.policy import NONE

METERS = ("ledger", "heap")


def measure_ways(
    host: Host,
    ways: Ways,
    *,
    timeout_s: float | None = None,
    done: Callable[[Option], None] = lambda option: None,
) -> Ways:
    """``ways`` with every option measured: ledger, heap, and time and gradients compared with keep-all.

    ``done`` is called with each measured option.
    """
    runner = _Runner(host, ways.keep_all.cell, timeout_s)
    found: dict[tuple[Kind, Cell], Option] = {}
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
    """Measures options, and compares them with the cell ``keep_all``."""

    def __init__(self, host: Host, keep_all: Cell, timeout_s: float | None) -> None:
        self._host, self._keep_all, self._timeout_s = host, keep_all, timeout_s

    def run(self, option: Option) -> Option:
        """``option`` with its measurements. Its notes say what could not be measured."""
        itself = option.kind is Kind.KEEP_ALL
        meters = (*METERS, "time") if itself else METERS
        row = measured_row(self._host, option.cell, Mode.TRAIN, meters, self._timeout_s)
        option = replace(option, row=row, notes=tuple(row.notes))
        if itself or not row.ok or option.kind is Kind.BATCH:
            return replace(option, step_s=row["step_s"], time_ratio=1.0 if row["step_s"] else None)
        try:
            pace = self._pair("pace", option.cell, self._keep_all)
            option = replace(option, step_s=pace["step_s"], time_ratio=pace["time_ratio"])
            return self._compared(option)
        except (ChildFailed, MeterUnavailable) as reason:
            if isinstance(reason, ChildFailed) and reason.status == "error":
                return replace(option, failure=str(reason))
            return replace(option, notes=(*option.notes, str(reason)))

    def _compared(self, option: Option) -> Option:
        """``option`` with the difference of its gradients from keep-all, if the two must be equal."""
        cell, base = option.cell, self._keep_all
        if (cell.optimizer, cell["dtype"]) != (base.optimizer, base["dtype"]) or cell.engine != NUMPY:
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
        """The figures of a meter for two cells in one process. Raises ``NotTried`` if memory is too small."""
        host, what = self._host, "time" if meter == "pace" else "gradients"
        rows = [predicted_row(each, Mode.TRAIN, host.rates_for(each)) for each in (cell, other)]
        with admitted(host.room, *rows, what=f"{what} not compared"):
            return host.measure(meter, cell, Mode.TRAIN, self._timeout_s, other)
