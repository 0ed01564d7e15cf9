"""Results read back: the rows of a CSV, and what its journal knows besides."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from io import TextIOWrapper
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from memtrain.errors import DataError, MemtrainError, NoRowsError
from memtrain.files import open_regular
from memtrain.measure.cell import LATER, Cell, Mode
from memtrain.measure.row import STATUSES, Figures, Row, planned_row
from memtrain.sweeps.files import MOST_RESULTS_BYTES
from memtrain.sweeps.journal import journal_path, read_journal

_CELL = tuple(field.name for field in fields(Cell))
_FIGURES = tuple(field.name for field in fields(Figures))


@dataclass(frozen=True)
class Results:
    """The rows of a file, in its order."""

    path: Path
    rows: tuple[Row, ...]
    command: str = ""
    """What made them, as far as it is known."""


def read_results(path: Path) -> Results:
    """The rows of a CSV that a sweep wrote, with what its journal knows besides.

    Without the journal, what is retained is predicted anew, for cells whose prediction is still the same.
    Columns that are not known are left, those that came later may be missing. Raises ``DataError`` for what
    cannot be read, naming the line, and ``NoRowsError`` for a CSV without the columns or rows of a sweep.
    """
    try:
        with (
            open_regular(path, MOST_RESULTS_BYTES) as content,
            TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
        ):
            lines = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, str(error)) from error
    _check_is_sweep(path, lines)
    extra = next((number for number, line in enumerate(lines, start=2) if None in line), None)
    if extra is not None:
        raise _unreadable(path, f"line {extra} has more fields than there are columns")
    rows = [_row(path, number, line) for number, line in enumerate(lines, start=2)]
    seen: set[tuple[Cell, Mode]] = set()
    for number, row in enumerate(rows, start=2):
        if (row.cell, row.mode) in seen:
            raise _unreadable(path, f"line {number} repeats a cell")
        seen.add((row.cell, row.mode))
    command, known, recorded = "", {}, None
    with suppress(MemtrainError, OSError):
        stored = read_journal(journal_path(path))
        command, known, recorded = stored.command, stored.rows, stored.rates
    for row in rows:
        stored_row = known.get(row.cell.key(row.mode))
        if stored_row is not None and _same(stored_row.figures, row.figures):
            row.peak_node, row.retained = stored_row.peak_node, stored_row.retained
            row.environment, row.notes = stored_row.environment, stored_row.notes
        else:
            foreseen = planned_row(row.cell, row.mode, recorded)
            if foreseen["retained_bytes"] == row["retained_bytes"]:
                row.peak_node, row.retained = foreseen.peak_node, foreseen.retained
    return Results(path, tuple(rows), command)


def _check_is_sweep(path: Path, lines: Sequence[Mapping[str, str | None]]) -> None:
    """Raise ``NoRowsError`` for a file without rows, or without the columns of a sweep."""
    names = [*lines[0], *LATER] if lines else []
    missing = [name for name in (*_CELL, "mode", "status") if name not in names]
    if not missing:
        return
    why = "it has no rows"
    if lines:
        others = f" and {len(missing) - 3} others" if len(missing) > 3 else ""
        why = f"it has no column {', '.join(missing[:3])}{others}"
    raise NoRowsError(
        f"{path} holds no rows of a sweep ({why})",
        "allowed: the CSV that memtrain sweep writes",
        "name another file",
    )


def _same(one: Figures, other: Figures) -> bool:
    """Whether two sets of figures are equal. Two missing numbers of a diverged run (NaN) are equal, too."""
    return all(
        a == b or (isinstance(a, float) and isinstance(b, float) and isnan(a) and isnan(b))
        for a, b in zip(astuple(one), astuple(other), strict=True)
    )


def _row(path: Path, number: int, line: Mapping[str, str | None]) -> Row:
    try:
        cell = Cell(**{name: _value(name, line[name]) for name in _CELL if name in line})
        figures = Figures(**{name: _value(name, line[name]) for name in _FIGURES if name in line})
        return Row(cell, Mode(line["mode"] or ""), figures)
    except (ValueError, TypeError, MemtrainError) as error:
        raise _unreadable(path, f"line {number}: {error}") from error


def _value(name: str, text: str | None) -> Any:
    """The value of a column: missing is ``None``. Raises ``ValueError`` with what is wrong."""
    if text is None:
        raise ValueError(f"it ends before {name}")
    if name == "status" and text not in STATUSES:
        raise ValueError(f"the status {text!r} is not known")
    if name in ("status", "reason"):
        return text
    what, read = _READERS.get(name) or _reader(name)
    try:
        return None if text == "" else read(text)
    except ValueError as error:
        raise ValueError(f"{name} {text[:30]!r} is not {what}") from error


def _width(text: str) -> int | tuple[int, ...]:
    widths = tuple(map(_whole, text.split("-")))
    return widths if len(widths) > 1 else widths[0]


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ValueError
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not isfinite(seconds) or seconds < 0:
        raise ValueError
    return seconds


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


Reader = tuple[str, Callable[[str], Any]]
"""What a column holds, in words, and what makes a value of its text. It raises ``ValueError``."""


def _reader(name: str) -> Reader:
    """The reader of a column that `_READERS` does not name, by its unit."""
    if name.endswith("_bytes"):
        return "a number of bytes", _whole
    if name.endswith("_count"):
        return "a whole number", _whole
    return ("a finite number of seconds", _seconds) if name.endswith("_s") else ("a text", str)


_READERS: dict[str, Reader] = {
    **dict.fromkeys(("depth", "batch", "input_size", "output_size", "threads"), ("a whole number", _whole)),
    **dict.fromkeys(("steps", "seed", "peak_step", "accumulate"), ("a whole number", _whole)),
    **dict.fromkeys(("l2", "loss_first", "loss_last"), ("a number", float)),  # a diverged loss may be nan
    "width": ("a whole number, or several joined by -", _width),
    "bias": ("true or false", _truth),
}


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(
        f"results {path} cannot be read ({why})",
        "allowed: the CSV that memtrain sweep writes",
        "check the path, or measure again",
    )
