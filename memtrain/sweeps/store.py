"""The rows of a sweep on disk: the journal, and the CSV that is written from the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from memtrain.cells.columns import NAMES
from memtrain.cells.kinds import csv_line
from memtrain.cells.row import Row
from memtrain.errors import StoreError
from memtrain.files import is_special, refuse_existing, write_whole
from memtrain.sweeps.journal import Journal, journal_path
from memtrain.sweeps.request import Request
from memtrain.sweeps.runner import Task
from memtrain.sweeps.stored import Stored

QUICK_S = 0.01
"""A CSV is written after every row as long as writing it takes no longer than this."""


class RowStore:
    """The files of a sweep, with its rows in the order of the grid.

    The journal has a row before `add` returns. The CSV is always written as a whole, usually after each row.
    A long CSV is written less often, so that writing takes about a twentieth of the time at most. A path that
    is a pipe or a device has no journal, and all rows are written at the end.
    """

    def __init__(self, path: Path, tasks: Sequence[Task], journal: Journal | None) -> None:
        self.path = path
        self._journal = journal
        self._order = {cell.key(mode): index for index, (cell, mode) in enumerate(tasks)}
        self._lines: dict[int, str] = {}
        self._write_next_s = 0.0

    @classmethod
    def create(
        cls,
        path: Path,
        tasks: Sequence[Task],
        request: Request,
        about: Mapping[str, Any],
        force: bool = False,
    ) -> RowStore:
        """A new store. ``about`` has the environment, the command and its options (`Journal.create`).

        Raises ``InputError`` if a file exists (unless ``force``), and ``StoreError``.
        """
        refuse_existing(path, force)
        journal = None if is_special(path) else Journal.create(journal_path(path), request, about, force)
        store = cls(path, tasks, journal)
        if journal is not None:
            store._write()
        return store

    @classmethod
    def resume(cls, path: Path, tasks: Sequence[Task], journal: Journal, stored: Stored) -> RowStore:
        """The store of an earlier sweep, with its rows."""
        store = cls(path, tasks, journal)
        for row in stored.rows.values():
            store._enter(row)
        store._write()
        return store

    @property
    def resumable(self) -> bool:
        """Whether a sweep that stops now can be continued."""
        return self._journal is not None

    def add(self, row: Row) -> None:
        """Store a row. Raises ``StoreError``."""
        self._enter(row)
        if self._journal is not None:
            self._journal.add(row)
            if perf_counter() >= self._write_next_s:
                self._write()

    def __enter__(self) -> RowStore:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Write the CSV once more, and close the journal."""
        if self._journal is not None:
            with suppress(StoreError) if error is not None else nullcontext():
                self._write()
            self._journal.close()
        elif kind is None:
            self._write()

    def _enter(self, row: Row) -> None:
        self._lines[self._order[row.cell.key(row.mode)]] = csv_line(row.columns().values())

    def _write(self) -> None:
        began = perf_counter()
        text = csv_line(NAMES) + "".join(line for _, line in sorted(self._lines.items()))
        try:
            write_whole(self.path, text)
        except OSError as error:
            kept = "" if self._journal is None else f"; all rows so far are in {self._journal.path}"
            raise StoreError(f"cannot write {self.path}: {error.strerror}{kept}") from error
        ended = perf_counter()
        self._write_next_s = ended + 20 * max(0.0, ended - began - QUICK_S)


def rows_csv(rows: Sequence[Row]) -> str:
    """The text of a CSV file with these rows."""
    return "".join(csv_line(values) for values in (NAMES, *(row.columns().values() for row in rows)))
