"""The networks of an answer in one line, which a page shows under its title."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from memtrain.cells.cell import Cell
from memtrain.cells.columns import CELL_COLUMNS, Column
from memtrain.cells.kinds import BYTES, TRUTH, written
from memtrain.units import format_bytes

AXES = ("depth", "batch")

_ALWAYS = ("width", "activation", "bias", "optimizer", "dtype", "data")
"""Columns that are always named. The others are named if a value is not the default."""

_WITHOUT_NAME = ("activation", "optimizer", "dtype", "data")
"""Columns whose values speak for themselves."""

_NAMES = {
    "l2": "λ",
    "accumulate": "micro-batches",
    "memory_limit_bytes": "memory limit",
    "cost": "cost in",
}
"""Columns that people call by another name."""

_MOST_WORDS = 4


def networks_line(cells: Iterable[Cell], without: str = "") -> str:
    """A line with the families of ``cells``, the values of their columns, and the ranges of depth and batch.

    The column ``without`` is left out.

    An example: multilayer perceptrons, width 256, relu, no bias, sgd, float32, digits; depth 1–16, batch 64.
    """
    told = list(dict.fromkeys(cells))
    families = list(dict.fromkeys(cell.network.noun for cell in told))
    kinds = [f"{family}s" if len(told) > 1 else family for family in families]
    columns = [column for column in CELL_COLUMNS if column.name != without]
    parts = [_joined(kinds), *filter(None, (_told(column, told) for column in columns))]
    ranges = [f"{axis} {_values(axis, told)}" for axis in AXES if axis != without]
    line = "; ".join(filter(None, [", ".join(parts), ", ".join(ranges)]))
    return f"{line[:1].upper()}{line[1:]}"


def _told(column: Column, cells: Sequence[Cell]) -> str:
    """The text for a column; empty if it is not named."""
    name = column.name
    values = {written(cell[name]) for cell in cells} - {None}
    if (
        name in ("model", "steps", *AXES)
        or not values
        or (name not in _ALWAYS and all(written(cell[name]) == _usual(column, cell) for cell in cells))
    ):
        return ""
    if column.kind is TRUTH:
        return {1: name if True in values else f"no {name}", 2: f"with and without {name}"}[len(values)]
    text = _values(name, cells)
    return text if name in _WITHOUT_NAME else f"{_NAMES.get(name, name.replace('_', ' '))} {text}"


def _usual(column: Column, cell: Cell) -> Any:
    """The default of a column: that of the family of the cell, if the family has the column."""
    return getattr(type(cell.network), column.name, column.default)


def _values(name: str, cells: Iterable[Cell]) -> str:
    """The values of a column: one, a range of whole numbers, or some words."""
    found = {written(cell[name]): None for cell in cells}
    if all(isinstance(value, int) for value in found):
        least, most = min(found), max(found)
        texts = [_text(name, least), _text(name, most)]
        return texts[0] if least == most else "–".join(texts)
    texts = [_text(name, value) for value in found]
    if len(texts) > _MOST_WORDS:
        texts = [*texts[: _MOST_WORDS - 1], f"{len(texts) - _MOST_WORDS + 1} others"]
    return _joined(texts)


def _text(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name in {column.name for column in CELL_COLUMNS if column.kind is BYTES}:
        return format_bytes(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _joined(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
