"""Rows of four cells in both modes, with the figures of a measured sweep."""

from __future__ import annotations

from fake_host import FakeHost, in_turn

from memtrain.cells.cell import BOTH, cell_of
from memtrain.measure.measured import measured_row


def some_rows(**extra):
    """Rows of four cells in both modes, with figures from a fake host."""
    cells = [cell_of(depth=depth, batch=batch) for depth in (1, 2) for batch in (4, 64)]
    return [
        measured_row(
            FakeHost(in_turn(**{meter: list(more) for meter, more in extra.items()} | {"time": [0.1]})),
            cell,
            mode,
        )
        for cell in cells
        for mode in BOTH
    ]


def grown(rows, share, meter="heap_peak_bytes", which=3):
    """A copy of ``rows`` in which a figure of one row has grown by ``share``."""
    changed = [row.changed(figures={**row.figures}) for row in rows]
    figures = changed[which].figures
    figures[meter] = type(figures[meter])(figures[meter] * (1 + share))
    return changed


def some_rows_without(meter):
    rows = grown(some_rows(), 0)
    for row in rows:
        row[f"{meter}_peak_bytes"] = None
    return rows
