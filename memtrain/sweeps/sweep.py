"""A sweep from Python: the same rows as ``memtrain sweep``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import BY_NAME, CELL_NAMES
from memtrain.cells.row import Row
from memtrain.errors import SpecError, unknown_choice
from memtrain.measure.host import Host
from memtrain.measure.measured import measured_row
from memtrain.measure.meters import METERS
from memtrain.run.cpu import usable_cores
from memtrain.sweeps.ranges import parse_sizes, parse_values, parse_words
from memtrain.sweeps.request import Request, make_tasks
from memtrain.sweeps.rows import Rows
from memtrain.sweeps.runner import Task, run_tasks

MOST_JOBS = 64
CHILD_S = 0.06
CHILD_FLOPS_PER_S = 5e10
"""Rough estimates of the start time and the speed of a measuring process. The remaining time is computed from
the finished rows, so only the ratio of these numbers matters."""
LONGEST_TIMEOUT_S = 1_000_000


def sweep(
    *,
    mode: str = "both",
    meters: str | Sequence[str] = tuple(METERS),
    repeat: int = 1,
    jobs: int | None = None,
    timeout_s: float | None = None,
    layers: str | Sequence[int] | None = None,
    **axes: Any,
) -> Rows:
    """Measure every combination of ``axes``. The rows are in the order of the grid, training first.

    ``axes`` are columns of a cell. Each is a value, a list, or a text as on the command line:
    ``sweep(depth="1:16:x2", batch=[64, 256], activation="relu,gelu")``. A row is a mapping of all columns:
    ``row["heap_peak_bytes"]``. Peaks are bytes above the baseline. ``mode`` is train, infer, eval-grad
    (inference with gradients on), both (the first two) or all. With ``repeat``, each figure is the median
    of this number of measurements, and the row has the spreads. Raises ``InputError`` for invalid options. A
    cell that fails gives a row with a reason.
    """
    given = {
        name: _from_text(name, value) if isinstance(value, str) else value for name, value in axes.items()
    }
    sizes = parse_sizes(layers, "layers") if isinstance(layers, str) else layers
    wanted = parse_words(meters, "meters") if isinstance(meters, str) else meters
    request = Request(given, sizes, mode, tuple(wanted), repeat)
    tasks = make_tasks(request.cells(), mode)
    with Host() as host:
        return Rows(
            run_sweep(
                host, tasks, meters=request.meters, jobs=jobs, timeout_s=timeout_s, repeat=request.repeat
            )
        )


def _from_text(name: str, text: str) -> list[Any]:
    """The values of an axis that was given as text. Raises ``InputError``."""
    if name not in CELL_NAMES:
        raise unknown_choice("option", name, CELL_NAMES)
    return parse_values(BY_NAME[name], text, name)


def default_jobs() -> int:
    """The number of parallel measurements: one per core, but at most 4, because each cell needs memory."""
    return min(usable_cores(), 4)


def check_limits(jobs: int | None, timeout_s: float | None) -> None:
    """Raise ``SpecError`` for an invalid number of jobs or time-out."""
    if jobs is not None and not 1 <= jobs <= MOST_JOBS:
        raise SpecError(f"--jobs {jobs} cannot be used", f"give a whole number from 1 to {MOST_JOBS}")
    if timeout_s is not None and not 0 < timeout_s <= LONGEST_TIMEOUT_S:
        raise SpecError(
            f"--timeout {timeout_s:g} cannot be used",
            f"give seconds above 0, at most {LONGEST_TIMEOUT_S:,}, or drop --timeout to wait without end",
        )


def run_sweep(
    host: Host,
    tasks: Sequence[Task],
    *,
    meters: Sequence[str],
    jobs: int | None = None,
    timeout_s: float | None = None,
    repeat: int = 1,
    force: bool | None = None,
    started: Callable[[Cell, Mode], None] = lambda cell, mode: None,
    finished: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Measure ``tasks``; returns their rows in order. ``force`` also tries cells beyond the free memory."""
    check_limits(jobs, timeout_s)
    measure_row = partial(
        measured_row,
        host,
        meters=meters,
        timeout_s=timeout_s,
        repeat=repeat,
        force=force,
    )
    order = {task: index for index, task in enumerate(tasks)}
    rows: list[Row] = []
    # The host is the inner context: it ends first, so that after an interrupt no thread waits for a reply.
    with ThreadPoolExecutor(jobs or default_jobs()) as executor, host:
        for row in run_tasks(tasks, executor, measure_row, started):
            finished(row)
            rows.append(row)
    return sorted(rows, key=lambda row: order[row.cell, row.mode])


def expected_s(cell: Cell, mode: Mode, meters: Sequence[str]) -> float:
    """The estimated seconds of measuring a row, computed from the FLOPs of its matrix products."""
    flops = cell.network.forward_flops(cell.batch) * (3 if mode is Mode.TRAIN else 1)
    return len(meters) * (CHILD_S + (cell.steps + 1) * flops / CHILD_FLOPS_PER_S)
