"""The grid of a sweep: the cells for all combinations of its axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from os import PathLike, fspath
from typing import Any

import numpy as np

from memtrain.cells.cell import Cell, cell_of
from memtrain.cells.columns import BY_NAME, CELL_NAMES
from memtrain.errors import SpecError, check_integer, unknown_choice
from memtrain.measure.machine import free_memory_bytes
from memtrain.training.data import DIGITS, SYNTHETIC, load, split

DEFAULT_AXES: dict[str, list[Any]] = {"depth": [1, 2, 4, 8, 16], "batch": [64, 256, 1024]}
"""The axes of ``memtrain sweep`` without options, which is the main job."""

MOST_CELLS = 100_000


def make_grid(axes: Mapping[str, Sequence[Any] | Any], layers: Sequence[int] | None = None) -> list[Cell]:
    """The cells of all combinations of the axes. The first axes vary slowest.

    A key of ``axes`` is a column of a cell, and its value is a list or one value. Sizes come from the data,
    unless ``input_size`` or ``output_size`` is given, or ``layers`` (input, hidden…, output) lists all sizes.
    In these cases the data are synthetic. Raises ``SpecError`` and ``DataError``.
    """
    for name in axes:
        if name not in CELL_NAMES:
            raise unknown_choice("option", name, CELL_NAMES)
    lists = {name: _as_list(values) for name, values in {**DEFAULT_AXES, **axes}.items()}
    if layers is not None:
        lists |= _layer_axes(layers, axes)
    own_sizes = "input_size" in lists or "output_size" in lists
    if own_sizes and lists.setdefault("data", [SYNTHETIC]) != [SYNTHETIC]:
        sizes_given = "--layers" if layers is not None else "--input-size or --output-size"
        raise SpecError(
            f"--data {lists['data'][0]} already gives the input and output size",
            f"drop {sizes_given}, or use --data {SYNTHETIC}",
        )
    for name, values in lists.items():
        if not values:
            raise SpecError(f"{name} is an empty list", "give at least one value")
    count = 1
    for values in lists.values():
        count *= len(values)
    if count > MOST_CELLS:
        raise SpecError(
            f"the sweep would have {count:,} cells, more than the {MOST_CELLS:,} allowed", "take fewer values"
        )

    sizes = {data: _sizes(data) for data in lists.get("data", [DIGITS])}
    order = [name for name in CELL_NAMES if name in lists and name not in ("depth", "batch")]
    cells = []
    names = (*order, "depth", "batch")
    for combination in product(*(lists[name] for name in names)):
        chosen = dict(zip(names, combination, strict=True))
        cells.append(cell_of(**(sizes[chosen.get("data", DIGITS)] | chosen)))
    return cells


def make_cell(fields: Mapping[str, Any], layers: Sequence[int] | None = None) -> Cell:
    """The cell of ``fields``, which are like the axes of `make_grid`, but with one value each.

    ``None`` means the default of the column.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if layers is None:
        given.setdefault("depth", BY_NAME["depth"].default)
    given.setdefault("batch", BY_NAME["batch"].default)
    (cell,) = make_grid(given, layers)
    return cell


def oversized_batches(cells: Sequence[Cell]) -> dict[str, int]:
    """The data sets with fewer training examples than a batch of some cell, each with their number."""
    largest: dict[str, int] = {}
    for cell in cells:
        largest[cell.data] = max(cell.batch, largest.get(cell.data, 0))
    counted = ((data, batch, training_examples(data)) for data, batch in largest.items())
    return {data: count for data, batch, count in counted if count is not None and batch > count}


def training_examples(data: str) -> int | None:
    """The number of training examples of a data set; ``None`` for synthetic data, which fit any batch."""
    return None if data == SYNTHETIC else len(split(load(data, free_memory_bytes()))[0])


def _as_list(values: Sequence[Any] | Any) -> list[Any]:
    """The values of an axis without repetitions, as types of Python."""
    several = isinstance(values, (list, tuple, range, np.ndarray))
    plain = [_plain(value) for value in (values if several else [values])]
    return [value for index, value in enumerate(plain) if value not in plain[:index]]


def _plain(value: Any) -> Any:
    """``value`` as a type of Python: a number of numpy as a number, a path as text."""
    if isinstance(value, PathLike):
        return fspath(value)
    return value.item() if isinstance(value, np.generic) else value


def _sizes(data: str) -> dict[str, Any]:
    """The sizes that a data set requires of its network; none for synthetic data."""
    if data == SYNTHETIC:
        return {}
    examples = load(data, free_memory_bytes())
    return {"input_size": examples.input_size, "output_size": examples.output_size}


def _layer_axes(layers: Sequence[int], axes: Mapping[str, Any]) -> dict[str, list[Any]]:
    given = [name for name in ("depth", "width", "input_size", "output_size") if name in axes]
    if given:
        options = [BY_NAME[name].option for name in given]
        raise SpecError("--layers already gives every size", f"drop --layers or {' and '.join(options)}")
    if len(layers) < 2:
        raise SpecError(
            f"--layers {','.join(map(str, layers))} gives one size",
            "give at least the input and the output size, as in 784,512,10",
        )
    for size in layers:
        check_integer("layers", size, 1)
    hidden = tuple(layers[1:-1])
    width: int | tuple[int, ...] = hidden
    if len(set(hidden)) == 1:
        width = hidden[0]
    elif not hidden:
        width = BY_NAME["width"].default
    return {
        "depth": [len(hidden)],
        "width": [width],
        "input_size": [layers[0]],
        "output_size": [layers[-1]],
    }
