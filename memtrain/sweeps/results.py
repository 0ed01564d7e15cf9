"""Results read from files: the rows of a CSV, completed from its journal."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from math import isnan
from pathlib import Path
from typing import Any

from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.cells.columns import BY_NAME, CELL_NAMES, FIGURE_NAMES, STATUSES
from memtrain.cells.row import Row, planned_row
from memtrain.errors import DataError, MemtrainError, NoRowsError
from memtrain.files import MOST_RESULTS_BYTES, open_regular, reason
from memtrain.sweeps.journal import journal_path
from memtrain.sweeps.stored import read_journal


@dataclass(frozen=True)
class Results:
    """The rows of a file, in the order of the file."""

    path: Path
    rows: tuple[Row, ...]
    command: str = ""
    """The command that measured the rows, if known."""


def read_results(path: Path) -> Results:
    """The rows of a CSV that a sweep wrote, completed from its journal.

    Without the journal, retained intermediates are predicted again, if their predicted bytes have not
    changed. Unknown columns are ignored. Columns that were added in later versions may be missing. Raises
    ``DataError``, which names the line, for values that cannot be read, and ``NoRowsError`` for a CSV without
    the columns or rows of a sweep.
    """
    try:
        with (
            open_regular(path, MOST_RESULTS_BYTES) as content,
            TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
        ):
            lines = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, reason(error)) from error
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
        if not any(entry["scope"] for entry in row.retained):  # also for old journals without scopes
            foreseen = planned_row(row.cell, row.mode, recorded)
            if foreseen["retained_bytes"] == row["retained_bytes"]:
                row.peak_node, row.retained = foreseen.peak_node, foreseen.retained
    return Results(path, tuple(rows), command)


def _check_is_sweep(path: Path, lines: Sequence[Mapping[str, str | None]]) -> None:
    """Raise ``NoRowsError`` for a file without rows, or without the columns of a sweep."""
    wanted = [name for name in (*CELL_NAMES, "mode", "status") if BY_NAME[name].since == 1]
    missing = [name for name in wanted if not lines or name not in lines[0]]
    if not missing:
        return
    why = "it has no rows"
    if lines:
        others = f" and {len(missing) - 3} others" if len(missing) > 3 else ""
        why = f"it has no column {', '.join(missing[:3])}{others}"
    raise NoRowsError(f"{path} holds no rows of a sweep ({why})", "name a CSV that `memtrain sweep` wrote")


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of figures are equal. NaN, the loss of a diverged run, equals NaN here."""
    return all(
        one[name] == value or (isinstance(value, float) and isnan(value) and one[name] != one[name])
        for name, value in other.items()
    )


def _row(path: Path, number: int, line: Mapping[str, str | None]) -> Row:
    try:
        cell = cell_of(**{name: _value(name, line[name]) for name in CELL_NAMES if name in line})
        figures = {name: _value(name, line[name]) for name in FIGURE_NAMES if name in line}
        return Row(cell, Mode(line["mode"] or ""), figures)
    except (ValueError, TypeError, MemtrainError) as error:
        raise _unreadable(path, f"line {number}: {error}") from error


def _value(name: str, text: str | None) -> Any:
    """The value of a column from its text; missing is ``None``. Raises ``ValueError`` with the reason."""
    if text is None:
        raise ValueError(f"it ends before {name}")
    if name == "status" and text not in STATUSES:
        raise ValueError(f"the status {text!r} is not known")
    if name in ("status", "reason"):
        return text
    kind = BY_NAME[name].kind
    try:
        return None if text == "" else kind.read(text)
    except ValueError as error:
        raise ValueError(f"{name} {text[:30]!r} is not {kind.words}") from error


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(f"results {path} cannot be read ({why})", "name a CSV that `memtrain sweep` wrote")
