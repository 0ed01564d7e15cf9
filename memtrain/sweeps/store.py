"""The rows of a sweep on disk, each stored as soon as it is finished."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from memtrain.errors import InputError, StoreError
from memtrain.measure.row import COLUMNS, Row


class RowStore:
    """A CSV file that grows by a row at a time, each on the disk before the next is measured."""

    def __init__(self, path: Path, force: bool = False) -> None:
        """Make the file. Raises ``InputError`` when it exists and ``force`` is not set."""
        refuse_existing(path, force)
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open(
                "w" if force else "x", encoding="utf-8", errors="surrogateescape", newline=""
            )
        except FileExistsError:
            raise already_there(path) from None
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; choose another place") from error
        self._writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._writer.writeheader()

    def add(self, row: Row) -> None:
        """Write a row and see it to the disk. Raises ``StoreError``."""
        try:
            self._writer.writerow(_as_texts(row))
            self._file.flush()
            if self.path.is_file():  # a pipe or terminal has no disk
                os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}; what is in it is whole") from error

    def put_in_order(self, rows: Sequence[Row]) -> None:
        """Replace the file by one with the same rows in this order. Raises ``StoreError``."""
        if not self.path.is_file():
            return
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            with beside.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(map(_as_texts, rows))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise StoreError(
                f"cannot put {self.path} in order: {error.strerror}; it is whole, its rows as they finished"
            ) from error

    def __enter__(self) -> RowStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # every row is on the disk, or its error is already on its way
            self._file.close()


def write_new(path: Path, text: str, force: bool) -> None:
    """Write a whole file. Raises ``InputError`` when it exists and ``force`` is not set."""
    refuse_existing(path, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another place") from error


def _as_texts(row: Row) -> dict[str, object]:
    return {name: as_text(value) for name, value in row.columns().items()}


def as_text(value: object) -> object:
    """A value as a CSV field: missing is empty, truth is ``true`` or ``false``."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def check_outputs(outputs: Mapping[str, Path | None], force: bool) -> None:
    """Raise ``InputError``, before anything runs, for outputs (by option) that cannot all be written."""
    used: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if path == Path():
            raise InputError(f"{option} is empty", "allowed: the path of a file", "name one")
        try:
            place = path.resolve()
            parents = [parent for parent in place.parents if parent.exists()]
            if path.is_dir() or not parents[0].is_dir():
                wrong = path if path.is_dir() else parents[0]
                what = "is a directory" if path.is_dir() else "is not a directory"
                raise InputError(f"{option}: {wrong} {what}", "allowed: the path of a file", "name another")
            refuse_existing(path, force)
        except OSError as error:
            raise InputError(
                f"{option}: {str(path)[:40]!r}… ({error.strerror})",
                "allowed: the path of a file",
                "name another",
            ) from error
        if place in used:
            raise InputError(f"{path} for {used[place]} and {option}", "allowed: a file each", "name another")
        used[place] = option


def refuse_existing(path: Path, force: bool) -> None:
    """Raise ``InputError`` for an output that exists, unless it may be overwritten."""
    if not force and path.exists():
        raise already_there(path)


def already_there(path: Path) -> InputError:
    """The error for an output that exists."""
    return InputError(
        f"{path} exists already",
        "allowed: a new file, or any with --force",
        "name another file or add --force",
    )
