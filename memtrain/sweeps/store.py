"""The rows of a sweep on disk: the journal, and the CSV made from it after each row."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memtrain.errors import StoreError
from memtrain.measure.row import COLUMNS, Row
from memtrain.sweeps.files import csv_line, refuse_existing, write_whole
from memtrain.sweeps.journal import Journal, Stored, journal_path
from memtrain.sweeps.request import Request
from memtrain.sweeps.runner import Task


class RowStore:
    """Rows in the order of the grid; each is on the disk before `add` returns.

    A path that is a pipe or a device gets no journal, only the rows at the end.
    """

    def __init__(self, path: Path, tasks: Sequence[Task], journal: Journal | None) -> None:
        self.path = path
        self._journal = journal
        self._places = {cell.key(mode): place for place, (cell, mode) in enumerate(tasks)}
        self._lines: list[tuple[int, str]] = []

    @classmethod
    def create(
        cls,
        path: Path,
        tasks: Sequence[Task],
        request: Request,
        about: Mapping[str, Any],
        force: bool = False,
    ) -> RowStore:
        """A new file; ``about`` says where and how it is made (`Journal.create`).

        Raises ``InputError`` when it exists and ``force`` is not set, and ``StoreError``.
        """
        refuse_existing(path, force)
        special = path.exists() and not path.is_file()
        journal = None if special else Journal.create(journal_path(path), request, about, force)
        store = cls(path, tasks, journal)
        if journal is not None:
            store._write()
        return store

    @classmethod
    def resume(cls, path: Path, tasks: Sequence[Task], journal: Journal, stored: Stored) -> RowStore:
        """The file of an earlier sweep, with its rows."""
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
            self._write()

    def __enter__(self) -> RowStore:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Let go of the journal; what has none gets its rows now."""
        if self._journal is not None:
            self._journal.close()
        elif kind is None:
            self._write()

    def _enter(self, row: Row) -> None:
        place = self._places.get(row.cell.key(row.mode))
        if place is None:
            return  # not of this grid: it stays in the journal
        self._lines = [entry for entry in self._lines if entry[0] != place]
        insort(self._lines, (place, csv_line(row.columns().values())))

    def _write(self) -> None:
        try:
            write_whole(self.path, "".join([csv_line(COLUMNS), *(line for _, line in self._lines)]))
        except OSError as error:
            kept = "" if self._journal is None else f"; all rows so far are in {self._journal.path}"
            raise StoreError(f"cannot write {self.path}: {error.strerror}{kept}") from error


def rows_csv(rows: Sequence[Row]) -> str:
    """Rows as the text of a CSV file."""
    return "".join(csv_line(values) for values in (COLUMNS, *(row.columns().values() for row in rows)))
