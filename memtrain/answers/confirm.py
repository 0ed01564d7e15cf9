"""The confirmation of a capacity: each boundary is run under a hard memory limit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from memtrain.answers.capacity import Boundary, Capacity
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import predicted_row
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.measure.admission import admitted
from memtrain.measure.host import Host


def confirm(
    host: Host,
    capacity: Capacity,
    *,
    jobs: int,
    timeout_s: float | None = None,
    done: Callable[[Boundary], None] = lambda boundary: None,
) -> Capacity:
    """``capacity`` with the results of running both values of each boundary under the hard limit.

    Each run has a fresh process. A value for which the machine lacks memory is not run, and stays
    unconfirmed. ``done`` is called with each finished boundary.
    """

    def confirmed(boundary: Boundary) -> Boundary:
        result = _confirmed(host, capacity, boundary, timeout_s)
        done(result)
        return result

    with ThreadPoolExecutor(jobs) as executor, host:
        return replace(capacity, boundaries=tuple(executor.map(confirmed, capacity.boundaries)))


def _confirmed(host: Host, capacity: Capacity, boundary: Boundary, timeout_s: float | None) -> Boundary:
    """``boundary`` with the results of the runs inside and outside."""

    def ran(second: int) -> _Trial:
        values = dict(zip(capacity.axes, (boundary.first, second), strict=True))
        return _try(host, capacity.cell.changed(**values), boundary.mode, timeout_s)

    if boundary.second is not None:
        inside = ran(boundary.second)
        boundary = replace(
            boundary,
            confirmed_inside=inside.fits,
            inside_reason=inside.reason,
            slack_needed_bytes=inside.slack_needed_bytes,
        )
    if boundary.outside is None:
        return boundary
    outside = ran(boundary.outside)
    failed = None if outside.fits is None else not outside.fits and outside.status == "memory_limit"
    return replace(
        boundary, confirmed_outside=failed, outside_reason=outside.reason, outside_node=outside.node
    )


@dataclass(frozen=True)
class _Trial:
    """The result of a run under the limit. ``fits`` is ``None`` if nothing was run."""

    fits: bool | None
    reason: str = ""
    status: str = ""
    node: str = ""
    slack_needed_bytes: int | None = None


def _try(host: Host, cell: Cell, mode: Mode, timeout_s: float | None) -> _Trial:
    row = predicted_row(cell, mode)
    try:
        with admitted(host.room, row):
            figures = host.measure("limit", cell, mode, timeout_s)
    except MeterUnavailable as reason:
        return _Trial(None, str(reason))
    except ChildFailed as failure:
        return _Trial(False, str(failure), failure.status, failure.node)
    peak = figures["ledger_peak_bytes"]
    if peak != row["predicted_peak_bytes"]:
        predicted = row["predicted_peak_bytes"]
        return _Trial(False, f"predicted {predicted:,} B, and the ledger counted {peak:,} B", "error")
    return _Trial(True, slack_needed_bytes=figures["data_peak_bytes"] - peak)
