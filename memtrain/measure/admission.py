"""Admission: whether the machine has the memory that a run needs, and the message if it has not.

A run needs more than its peak bytes, because initial values and batches are made before a meter starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memtrain.errors import NotTried
from memtrain.measure.machine import Room
from memtrain.units import format_bytes

if TYPE_CHECKING:
    from memtrain.cells.row import Row


@contextmanager
def admitted(room: Room, *rows: Row, what: str = "not tried", force: bool | None = None) -> Iterator[None]:
    """A context in which one process may run the cells of ``rows`` side by side. Entering waits for memory.

    Raises ``NotTried``, with ``what`` before the reason, if all free memory is too small. With ``force`` the
    run is tried nevertheless. ``None`` means that the command has no option for it.
    """
    with room.take(sum(map(needed_bytes, rows))) as free_bytes:
        lack = None if force else lacking(rows, free_bytes)
        if lack is not None:
            way_out = "" if force is None else " (`--ignore-free-memory` tries it)"
            raise NotTried(f"{what}: {lack}{way_out}")
        yield


def lacking(rows: Sequence[Row], free_bytes: int) -> str | None:
    """Why ``free_bytes`` are too few for a process that runs the cells of ``rows``; ``None`` if enough."""
    needed = sum(map(needed_bytes, rows))
    if needed <= free_bytes:
        return None
    if len(rows) > 1:
        why = f"{len(rows)} networks side by side"
    else:
        peak = rows[0]["predicted_peak_bytes"] or 0
        why = f"peak {format_bytes(peak)}, initial values and batches {format_bytes(needed - peak)}"
    return f"needs {format_bytes(needed)} of memory ({why}), {format_bytes(free_bytes)} free"


def needed_bytes(row: Row) -> int:
    """The bytes that a process needs for a cell: its peak, a copy of its initial values, and its batches.

    There is one batch per iteration, and one more for the buffers into which a batch is drawn.
    """
    batches = (row.cell.steps + 1) * (row["input_bytes"] or 0)
    return int((row["predicted_peak_bytes"] or 0) + (row["parameter_bytes"] or 0) + batches)
