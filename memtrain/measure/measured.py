"""The row of a cell as the meters give it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median_low
from typing import Any

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import FIGURE_NAMES, SPREADS
from memtrain.cells.row import Row, planned_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.measure.client import measure
from memtrain.measure.machine import ROOM
from memtrain.measure.meters import METERS
from memtrain.measure.rates import rates_for
from memtrain.units import format_bytes

HEAP_SLACK_BYTES = 16 * 1024
"""A heap figure further than this below the ledger cannot be true."""

Measure = Callable[[str, Cell, Mode, float | None], dict[str, Any]]
"""The figures of a meter for a cell, within so many seconds; raises ``ChildFailed``."""


def needed_bytes(row: Row) -> int:
    """What a measuring process takes: the run as predicted, and what is drawn before a meter starts."""
    batches = (row.cell.steps + 1) * (row["input_bytes"] or 0)
    return int((row["predicted_peak_bytes"] or 0) + (row["parameter_bytes"] or 0) + batches)


def lacking(row: Row, free_bytes: int) -> str | None:
    """Why a machine with so much free has not the memory to run the cell; ``None`` when it has.

    What is needed is told apart, for it is more than the peak that a table shows.
    """
    needed, peak = needed_bytes(row), row["predicted_peak_bytes"] or 0
    if needed <= free_bytes:
        return None
    return (
        f"not tried: it takes {format_bytes(needed)} of memory (its peak of {format_bytes(peak)}, and "
        f"{format_bytes(needed - peak)} of start values and batches, which are drawn before), and "
        f"{format_bytes(free_bytes)} are free"
    )


def measured_row(
    cell: Cell,
    mode: Mode,
    meters: Sequence[str] = tuple(METERS),
    timeout_s: float | None = None,
    measure: Measure = measure,
    *,
    repeat: int = 1,
    even_if_lacking: bool = False,
) -> Row:
    """The row of a cell, each meter in a process of its own; the ledger always.

    A cell that cannot run is a row with the status and the reason. A meter that fails where the ledger
    did not leaves its column empty and marks the row, for a figure that is not there is not a figure.
    A cell beyond the free memory is not tried, unless ``even_if_lacking``. Each meter is repeated
    ``repeat`` times, each time in a new process; the row has the medians and the spreads.
    """
    row = planned_row(cell, mode, rates_for(cell))
    if not row.ok:
        return row
    with ROOM.take(needed_bytes(row)) as free_bytes:
        lack = None if even_if_lacking else lacking(row, free_bytes)
        if lack is not None:
            _fail(row, "memory_limit", f"{lack} (`--ignore-free-memory` tries it)")
            return row
        _measure(row, meters, timeout_s, measure, repeat)
    _check(row)
    return row


def _measure(row: Row, meters: Sequence[str], timeout_s: float | None, measure: Measure, repeat: int) -> None:
    """Enter what the meters say, the ledger's first; without a ledger none of the others is asked."""
    for meter in METERS:
        if meter != "ledger" and meter not in meters:
            continue
        try:
            given = [measure(meter, row.cell, row.mode, timeout_s) for _ in range(repeat)]
            _enter(row, given[0])
            if repeat > 1:
                _enter_spreads(row, given)
        except MeterUnavailable as reason:
            row.notes.append(str(reason))
        except ChildFailed as failure:
            _fail(row, failure.status, str(failure))
            if meter == "ledger":
                break


def _enter(row: Row, given: dict[str, Any]) -> None:
    for name in FIGURE_NAMES:
        if name in given:
            row[name] = given[name]
    row.notes += given.get("notes", [])
    if "environment" in given:
        row.environment = given["environment"]
        for name in ("blas", "cpu", "python", "numpy", "memtrain"):
            row[name] = row.environment[name]


def _enter_spreads(row: Row, given: Sequence[dict[str, Any]]) -> None:
    row["repeat_count"] = len(given)
    for name, spread in SPREADS.items():
        if name in given[0]:
            found = [figures[name] for figures in given]
            row[name] = median_low(found)
            row[spread] = max(found) - min(found)


def _check(row: Row) -> None:
    """Take back what cannot be true, and say so."""
    ledger, heap, predicted = (row[f"{count}_peak_bytes"] for count in ("ledger", "heap", "predicted"))
    if ledger is not None and ledger != predicted:
        _fail(row, "error", f"predicted {predicted} B, but the ledger has {ledger} B")
    if ledger is not None and heap is not None and heap < ledger - HEAP_SLACK_BYTES:
        row["heap_peak_bytes"] = None
        _fail(row, "error", f"memray read {heap} B where arrays of {ledger} B were alive")


def _fail(row: Row, status: str, reason: str) -> None:
    """The first status stays; reasons add up."""
    if row.ok:
        row["status"] = status
    row["reason"] = "; ".join(filter(None, [row["reason"], reason]))
