"""The grid of a sweep: the cells for all combinations of its axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from os import PathLike, fspath
from typing import Any

import numpy as np

from memtrain.cells.cell import Cell, cell_of
from memtrain.cells.columns import BY_NAME, CELL_NAMES
from memtrain.cells.engine import NUMPY, OF_PYTORCH, TORCH
from memtrain.errors import SpecError, check_integer, unknown_choice
from memtrain.measure.machine import free_memory_bytes
from memtrain.models.families import family_of
from memtrain.models.network import Network
from memtrain.training.sources import SYNTHETIC, load, sizes_of, split, usual_data

MOST_CELLS = 100_000


def make_grid(axes: Mapping[str, Sequence[Any] | Any], layers: Sequence[int] | None = None) -> list[Cell]:
    """The cells of all combinations of the axes. The first axes vary slowest.

    A key of ``axes`` is a column of a cell, and its value is a list or one value. Depths and batches that are
    not given are the usual ones of the family. Sizes come from the data, unless a size is given that the
    data determine, or ``layers`` (input, hidden…, output) lists all sizes. In these cases the data are
    synthetic. Raises ``SpecError`` and ``DataError``.
    """
    for name in axes:
        if name not in CELL_NAMES:
            raise unknown_choice("option", name, CELL_NAMES)
    lists = {name: _as_list(values) for name, values in axes.items()}
    if layers is not None:
        lists |= _layer_axes(layers, axes)
    families = [family_of(name) for name in lists.get("model", [BY_NAME["model"].default])]
    return [cell for family in families for cell in _family_grid(family, lists, layers is not None)]


def _family_grid(family: type[Network], given: Mapping[str, list[Any]], of_layers: bool) -> list[Cell]:
    """The cells of one family. ``of_layers`` says that the sizes come from ``--layers``."""
    usual = {name: list(values) for name, values in family.usual_axes.items()}
    lists = {**usual, **given, "model": [family.family]}
    own_sizes = [name for name in family.sizes_from_data if name in lists]
    if own_sizes and lists.setdefault("data", [SYNTHETIC]) != [SYNTHETIC]:
        sizes_given = "--layers" if of_layers else " and ".join(BY_NAME[name].option for name in own_sizes)
        raise SpecError(
            f"--data {lists['data'][0]} already gives the sizes of the data",
            f"drop {sizes_given}, or use --data {SYNTHETIC}",
        )
    lists.setdefault("data", [usual_data(family.reads)])
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

    sizes = {data: _sizes(family, data) for data in lists["data"]}
    order = [name for name in CELL_NAMES if name in lists and name not in ("depth", "batch")]
    cells = []
    names = (*order, "depth", "batch")
    beside_torch = TORCH in lists.get("engine", ())
    for combination in product(*(lists[name] for name in names)):
        chosen = dict(zip(names, combination, strict=True))
        theirs = [name for name in OF_PYTORCH if chosen.get(name)]
        if beside_torch and theirs and chosen["engine"] == NUMPY:
            if any(False in lists[name] for name in theirs):
                continue  # the same cell is there without the options, which are PyTorch's
            chosen |= dict.fromkeys(theirs, False)
        cells.append(cell_of(**(sizes[chosen["data"]] | chosen)))
    return cells


def make_cell(fields: Mapping[str, Any], layers: Sequence[int] | None = None) -> Cell:
    """The cell of ``fields``, which are like the axes of `make_grid`, but with one value each.

    ``None`` means the default of the column.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if layers is None:
        given.setdefault("depth", family_of(given.get("model", BY_NAME["model"].default)).depth)
    given.setdefault("batch", BY_NAME["batch"].default)
    (cell,) = make_grid(given, layers)
    return cell


def oversized_batches(cells: Sequence[Cell]) -> dict[str, int]:
    """The data sets with fewer training examples than a batch of some cell, each with their number."""
    largest: dict[tuple[str, int | None], Cell] = {}
    for cell in sorted(cells, key=lambda cell: cell.batch):
        largest[cell.data, cell["sequence"]] = cell
    counted = ((cell, training_examples(cell)) for cell in largest.values())
    return {cell.data: count for cell, count in counted if count is not None and cell.batch > count}


def training_examples(cell: Cell) -> int | None:
    """The number of training examples of a cell; ``None`` for synthetic data, which fit any batch."""
    if cell.data == SYNTHETIC:
        return None
    return len(split(load(cell.data, free_memory_bytes()), cell.network)[0])


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


def _sizes(family: type[Network], data: str) -> dict[str, Any]:
    """The sizes that a data set requires of its network; none for synthetic data."""
    return {} if data == SYNTHETIC else sizes_of(family, load(data, free_memory_bytes()))


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
