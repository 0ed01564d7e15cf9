"""The loop that runs the tasks of a sweep on any ``concurrent.futures.Executor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import Row

Task = tuple[Cell, Mode]


def run_tasks(
    tasks: Sequence[Task],
    executor: Executor,
    measure_row: Callable[[Cell, Mode], Row],
    started: Callable[[Cell, Mode], None] = lambda cell, mode: None,
) -> Iterator[Row]:
    """The rows, in the order in which they finish. ``started`` is called with the first unfinished task.

    When the caller stops iterating, tasks that have not begun are cancelled.
    """
    futures: dict[Future[Row], Task] = {
        executor.submit(measure_row, cell, mode): (cell, mode) for cell, mode in tasks
    }
    waiting = dict(futures)
    try:
        if waiting:
            started(*next(iter(waiting.values())))
        for future in as_completed(futures):
            del waiting[future]
            if waiting:
                started(*next(iter(waiting.values())))
            yield future.result()
    finally:
        for future in waiting:
            future.cancel()
