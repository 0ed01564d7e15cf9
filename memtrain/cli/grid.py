"""The cells that the options of a command ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memtrain.cells.cell import Cell
from memtrain.cells.columns import BY_NAME, CELL_COLUMNS, Column
from memtrain.cells.kinds import TRUTH
from memtrain.errors import SpecError, shown
from memtrain.sweeps.grid import make_cell
from memtrain.sweeps.ranges import parse_sizes, parse_values, parse_words
from memtrain.sweeps.request import Request


def request_of(columns: Mapping[str, Any], options: Mapping[str, Any]) -> Request:
    """The request that the options of ``memtrain sweep`` make. Raises ``InputError``."""
    axes = {
        column.name: _values(column, columns[column.parameter])
        for column in CELL_COLUMNS
        if columns.get(column.parameter) is not None
    }
    meters = parse_words(options["meters"], "--meters")
    return Request(axes, _layers(columns), options["mode"], meters, options["repeat"])


def cell_from(columns: Mapping[str, Any], **others: Any) -> Cell:
    """The cell of a command whose options take one value each. Raises ``InputError``."""
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
    """The values of an option that takes several values. Raises ``InputError``."""
    return [given] if column.kind is TRUTH else parse_values(column, given, column.option)
