"""The answer of ``sweep``: its rows, and the laws that they follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from memtrain.answers.law import Verdict, fit_laws
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.measure.admission import admitted
from memtrain.measure.host import Host


@dataclass(frozen=True)
class Swept:
    """The rows of a sweep in the order of its grid; for each group of cells, a law or why there is none."""

    rows: Sequence[Row]
    laws: Sequence[Verdict] = ()


def laws_of(host: Host, rows: Sequence[Row], timeout_s: float | None = None) -> list[Verdict]:
    """The laws that the heap peaks of ``rows`` follow, or why there is none (`memtrain.answers.law`)."""
    return fit_laws(rows, partial(_heap_peak, host, timeout_s=timeout_s))


def _heap_peak(host: Host, cell: Cell, mode: Mode, timeout_s: float | None) -> int | None:
    """The heap peak of a cell; ``None`` if it could not be measured."""
    row = predicted_row(cell, mode, host.rates_for(cell))
    try:
        with admitted(host.room, row):
            return int(host.measure("heap", cell, mode, timeout_s)["heap_peak_bytes"])
    except (ChildFailed, MeterUnavailable):
        return None
