"""The law peak = c0 + c1·L + c2·B + c3·L·B, fitted to measured heap peaks, per regime.

Where the peak falls in the same place, peak bytes are exactly linear in L (depth), B (batch) and L·B.
Where it moves, another line holds; so a law is fitted to the cells of one regime and never across.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from memtrain.measure.cell import Cell, Mode
from memtrain.measure.row import Row, planned_row
from memtrain.plan.policy import BUDGET, read_policy

HeapMeter = Callable[[Cell, Mode], int | None]
"""The heap peak of a cell, for cells that the law needs and the sweep has not."""

_TERM_COUNT = 4

SPARE_CELLS = 2
"""Cells that a fit has beyond its coefficients, so that its error says something."""

_LARGEST_PROBE = 4
"""Cells measured for a law alone may have this many times the peak of the regime's largest."""


@dataclass(frozen=True)
class Law:
    """A fitted law with the cells that it rests on."""

    mode: Mode
    place: str
    """Where the peak of its cells falls."""
    base_bytes: float
    layer_bytes: float
    example_bytes: float
    layer_example_bytes: float
    largest_error: float
    """The largest relative error over the cells."""
    cells: tuple[Cell, ...]
    probes: tuple[Cell, ...]
    """Those of ``cells`` that the sweep did not ask for and that were measured for the law."""
    others: tuple[Cell, ...]
    """Cells of the sweep whose peak falls elsewhere."""


@dataclass(frozen=True)
class _Point:
    cell: Cell
    places: tuple[str, str]
    peak_bytes: int


def fit_laws(rows: Sequence[Row], heap: HeapMeter) -> list[Law]:
    """A law for each mode and each group of cells that differ in depth and batch only.

    It is fitted to the regime of the group's largest cell. A regime with too few cells for a fit that
    can be judged is completed by a few more, measured with ``heap``; a group without two cells in the
    regime, or in which neither depth nor batch varies, has no law; nor has one whose policy has a budget,
    for its peak is what it was told to be.
    """
    laws = []
    for group in _groups(rows):
        law = _fit_group(group[0].mode, group, heap)
        if law is not None:
            laws.append(law)
    return laws


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    groups: dict[tuple[Mode, Cell], list[Row]] = defaultdict(list)
    for row in rows:
        free = read_policy(row.cell.policy).kind != BUDGET
        if free and row.figures.heap_peak_bytes is not None and isinstance(row.cell.width, int):
            groups[row.mode, replace(row.cell, depth=0, batch=row.cell.accumulate)].append(row)
    return iter(groups.values())


def _fit_group(mode: Mode, rows: list[Row], heap: HeapMeter) -> Law | None:
    points = [_Point(row.cell, places(row), row.figures.heap_peak_bytes or 0) for row in rows]
    side, regime = _regime_of_largest(points)
    if len(regime) < 2:
        return None
    place = regime[0].places[side]
    probes = _measured(_missing(regime, side, mode), mode, heap)
    known = regime + probes
    cells = [point.cell for point in known]
    if _rank(cells) < _TERM_COUNT:
        return None
    matrix = np.array([_terms(cell) for cell in cells])
    peaks = np.array([point.peak_bytes for point in known], float)
    coefficients = np.linalg.lstsq(matrix, peaks, rcond=None)[0]
    base, per_layer, per_example, per_layer_and_example = coefficients.tolist()
    return Law(
        mode=mode,
        place=place,
        base_bytes=base,
        layer_bytes=per_layer,
        example_bytes=per_example,
        layer_example_bytes=per_layer_and_example,
        largest_error=float(np.max(np.abs(matrix @ coefficients - peaks) / peaks)),
        cells=tuple(cells),
        probes=tuple(point.cell for point in probes),
        others=tuple(point.cell for point in points if point not in regime),
    )


def places(row: Row) -> tuple[str, str]:
    """Where the peak falls, counted from the first layer and from the last: ``∂L/∂h3``, ``∂L/∂h(L−1)``.

    Cells of different depth have their peak in the same place when either agrees.
    """

    def from_last(match: re.Match[str]) -> str:
        distance = int(match[0]) - row.cell.depth
        return f"({'L' if not distance else f'L{distance:+d}'.replace('-', '−')})"

    return row.peak_node, re.sub(r"\d+", from_last, row.peak_node)


def _regime_of_largest(points: list[_Point]) -> tuple[int, list[_Point]]:
    """The cells whose peak falls where the largest cell's does, and the side that it is counted from."""
    largest = max(points, key=lambda point: point.peak_bytes)
    regimes = [[p for p in points if p.places[side] == largest.places[side]] for side in (0, 1)]
    side = 0 if len(regimes[0]) >= len(regimes[1]) else 1
    return side, regimes[side]


def _missing(regime: list[_Point], side: int, mode: Mode) -> list[Cell]:
    """Cells that complete the regime to one that can be fitted with cells to spare."""
    depths = sorted({point.cell.depth for point in regime})
    batches = sorted({point.cell.batch for point in regime})
    depth, batch = depths[-1], batches[-1]
    if len(depths) == 1:
        depths += [2 * depth, depth + 1]
    micro = regime[0].cell.accumulate  # batches are cut into so many parts
    more = (2 * batch, batch // 2 // micro * micro, 3 * batch // 2 // micro * micro)
    batches += [size for size in more if size and size not in batches]

    place, largest = regime[0].places[side], max(point.peak_bytes for point in regime)
    inside = [point.cell for point in regime]
    found: list[Cell] = []
    for batch, depth in product(batches, depths):
        cells = [*inside, *found]
        if len(cells) >= _TERM_COUNT + SPARE_CELLS and _rank(cells) == _TERM_COUNT:
            break
        cell = replace(regime[0].cell, depth=depth, batch=batch)
        if cell in inside:
            continue
        row = planned_row(cell, mode)
        if not row.ok:
            continue
        peak = row.figures.predicted_peak_bytes or 0
        if places(row)[side] == place and peak <= _LARGEST_PROBE * largest:
            found.append(cell)
    return found


def _measured(cells: list[Cell], mode: Mode, heap: HeapMeter) -> list[_Point]:
    measured = ((cell, heap(cell, mode)) for cell in cells)
    return [_Point(cell, ("", ""), peak) for cell, peak in measured if peak is not None]


def _terms(cell: Cell) -> list[float]:
    """What the coefficients of the law multiply: 1, L, B, L·B."""
    return [1.0, cell.depth, cell.batch, cell.depth * cell.batch]


def _rank(cells: Sequence[Cell]) -> int:
    matrix = np.array([_terms(cell) for cell in cells])
    return int(np.linalg.matrix_rank(matrix / np.maximum(matrix.max(axis=0), 1)))
