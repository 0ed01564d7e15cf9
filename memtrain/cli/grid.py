"""From the options of a command to the cells that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memtrain.cells.cell import Cell
from memtrain.cells.columns import BY_NAME, CELL_COLUMNS, Column
from memtrain.cells.kinds import BYTES, COUNT, NUMBER, TRUTH, WIDTHS
from memtrain.errors import SpecError, shown
from memtrain.sweeps.grid import make_cell
from memtrain.sweeps.ranges import parse_integers, parse_numbers, parse_sizes, parse_words
from memtrain.sweeps.request import Request
from memtrain.units import parse_bytes


def request_of(columns: Mapping[str, Any], options: Mapping[str, Any]) -> Request:
    """What the options of ``memtrain sweep`` ask for. Raises ``InputError``."""
    axes = {
        column.name: _values(column, columns[column.parameter])
        for column in CELL_COLUMNS
        if columns.get(column.parameter) is not None
    }
    meters = parse_words(options["meters"], "--meters")
    return Request(axes, _layers(columns), options["mode"], meters, options["repeat"])


def cell_from(columns: Mapping[str, Any], **others: Any) -> Cell:
    """The cell of a command that takes one of each option. Raises ``InputError``."""
    given = {
        column.name: columns[column.parameter]
        for column in CELL_COLUMNS
        if columns.get(column.parameter) is not None
    }
    for name, value in given.items():
        if BY_NAME[name].choices and "," in value:
            raise SpecError(
                f"{BY_NAME[name].option} takes one value here, not {shown(value)}",
                "`memtrain sweep` takes lists",
            )
    return make_cell({**given, **others}, _layers(columns))


def _layers(columns: Mapping[str, Any]) -> list[int] | None:
    layers = columns.get("layers")
    return None if layers is None else parse_sizes(layers, "--layers")


def _values(column: Column, given: Any) -> list[Any]:
    """The values of an option that takes several. Raises ``InputError``."""
    if column.kind is TRUTH:
        return [given]
    if column.kind in (COUNT, WIDTHS):
        return parse_integers(given, column.option, least=column.least)
    if column.kind is NUMBER:
        return parse_numbers(given, column.option)
    words = parse_words(given, column.option)
    return [parse_bytes(word, column.option) for word in words] if column.kind is BYTES else words
