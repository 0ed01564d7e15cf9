"""The measured row of a cell: the predicted row, completed by the meters."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low
from typing import Any

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import FIGURE_NAMES, SPREADS
from memtrain.cells.row import Row, planned_row
from memtrain.errors import ChildFailed, MeterUnavailable, NotTried
from memtrain.measure.admission import admitted
from memtrain.measure.host import Host
from memtrain.measure.meters import METERS

HEAP_SLACK_BYTES = 16 * 1024
"""The most bytes by which a heap figure can be below the ledger; a lower figure cannot be true."""


def measured_row(
    host: Host,
    cell: Cell,
    mode: Mode,
    meters: Sequence[str] = tuple(METERS),
    timeout_s: float | None = None,
    *,
    repeat: int = 1,
    force: bool | None = None,
) -> Row:
    """The row of a cell, measured by ``meters`` and always by the ledger. Each meter has its own process.

    A cell that cannot run gives a row with the status and the reason. If the ledger succeeds and another
    meter fails, the column of the other meter is empty and the row is marked as failed. A cell that needs
    more than the free memory is not tried, unless ``force`` (see `memtrain.measure.admission`). Each meter is
    repeated ``repeat`` times, each time in a new process, and the row has the medians and the spreads.
    """
    row = planned_row(cell, mode, host.rates_for(cell))
    if not row.ok:
        return row
    try:
        with admitted(host.room, row, force=force):
            _measure(host, row, meters, timeout_s, repeat)
    except NotTried as reason:
        _fail(row, "memory_limit", str(reason))
        return row
    _check(row)
    return row


def _measure(host: Host, row: Row, meters: Sequence[str], timeout_s: float | None, repeat: int) -> None:
    """Enter the figures of the meters, the ledger first. If the ledger fails, no other meter runs."""
    for meter in METERS:
        if meter != "ledger" and meter not in meters:
            continue
        try:
            given = [host.measure(meter, row.cell, row.mode, timeout_s) for _ in range(repeat)]
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
    """Mark the row as failed if its figures contradict each other; remove an impossible heap figure."""
    ledger, heap, predicted = (row[f"{count}_peak_bytes"] for count in ("ledger", "heap", "predicted"))
    if ledger is not None and ledger != predicted:
        _fail(row, "error", f"predicted {predicted:,} B, and the ledger counted {ledger:,} B")
    if ledger is not None and heap is not None and heap < ledger - HEAP_SLACK_BYTES:
        row["heap_peak_bytes"] = None
        _fail(row, "error", f"memray counted {heap:,} B, and the live arrays alone take {ledger:,} B")


def _fail(row: Row, status: str, reason: str) -> None:
    """Mark a row as failed. If it is marked already, its status stays and the reason is added."""
    if row.ok:
        row["status"] = status
    row["reason"] = "; ".join(filter(None, [row["reason"], reason]))
