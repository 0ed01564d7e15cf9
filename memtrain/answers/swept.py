"""The answer of ``sweep``: rows, and the laws that they follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from memtrain.answers.law import Verdict, fit_laws
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.measure.client import SERVERS, measure
from memtrain.measure.machine import ROOM
from memtrain.measure.measured import lacking, needed_bytes
from memtrain.measure.rates import rates_for


@dataclass(frozen=True)
class Swept:
    """The rows of a sweep in the order of its grid; for each group of cells a law, or why there is none."""

    rows: Sequence[Row]
    laws: Sequence[Verdict] = ()


def laws_of(rows: Sequence[Row], timeout_s: float | None = None) -> list[Verdict]:
    """The laws that the heap figures of ``rows`` follow, or why they follow none (`memtrain.answers.law`)."""
    with SERVERS:
        return fit_laws(rows, partial(_heap_peak, timeout_s=timeout_s))


def _heap_peak(cell: Cell, mode: Mode, timeout_s: float | None) -> int | None:
    """The heap peak of a cell, or nothing where it could not be measured."""
    row = predicted_row(cell, mode, rates_for(cell))
    try:
        with ROOM.take(needed_bytes(row)) as free_bytes:
            if lacking(row, free_bytes) is not None:
                return None
            return int(measure("heap", cell, mode, timeout_s)["heap_peak_bytes"])
    except (ChildFailed, MeterUnavailable):
        return None
