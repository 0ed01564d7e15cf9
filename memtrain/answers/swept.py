"""The answer of ``sweep``: its rows, and the laws that they follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from memtrain.answers.axis_law import AnyVerdict, fit_axis_laws
from memtrain.answers.law import fit_laws
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.engine import JAX
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.measure.admission import admitted
from memtrain.measure.host import Host


@dataclass(frozen=True)
class Swept:
    """The rows of a sweep in the order of its grid; its laws, and the reasons why there is none."""

    rows: Sequence[Row]
    laws: Sequence[AnyVerdict] = ()


def swept(host: Host, rows: Sequence[Row], timeout_s: float | None = None) -> Swept:
    """The answer of a sweep with these rows. A few more cells are measured to check its laws."""
    heap = partial(_heap_peak, host, timeout_s=timeout_s)
    predicted = [row for row in rows if row.cell.engine != JAX]
    return Swept(rows, [*fit_laws(predicted, heap), *fit_axis_laws(predicted, heap)])


def _heap_peak(host: Host, cell: Cell, mode: Mode, timeout_s: float | None) -> int | None:
    """The heap peak of a cell; ``None`` if it could not be measured."""
    row = predicted_row(cell, mode, host.rates_for(cell))
    try:
        with admitted(host.room, row):
            return int(host.measure("heap", cell, mode, timeout_s)["heap_peak_bytes"])
    except (ChildFailed, MeterUnavailable):
        return None
