"""The law peak = c₀ + c₁·a + c₂·a² for one swept number a other than depth and batch, such as the sequence.

If the predicted peaks are linear, the law has no square. Its coefficients are rounded as they are shown.

It is fitted to heap peaks and checked like the law of depth and batch (`memtrain.answers.law`): each heap
peak must follow it to 0.1 %, also when the law is fitted to all other peaks, and so must the predicted peaks
halfway between the swept numbers. It is stated for the largest of the cells that differ in depth and batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from memtrain.answers.law import MOST_ERROR, HeapMeter, Verdict, no_line
from memtrain.answers.least_squares import (
    Terms,
    errors,
    is_checkable,
    largest_share,
    line_through,
    lines_of,
    powers_of,
)
from memtrain.answers.regime import tried
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import CELL_COLUMNS, Part
from memtrain.cells.kinds import COUNT, WIDTHS
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import MemtrainError
from memtrain.planning.remat.policy import NONE
from memtrain.units import shown_count

AXES = tuple(
    column.name
    for column in CELL_COLUMNS
    if column.part is Part.NETWORK and column.kind in (COUNT, WIDTHS) and column.name != "depth"
)
"""The columns that such a law may be about."""

FEWEST = 3
"""The least number of swept values: with fewer, nobody has asked how the peak grows."""


_EXACT = MOST_ERROR / 100
"""The largest relative error of predictions that count as a line."""


@dataclass(frozen=True)
class AxisLaw:
    """A fitted law for the cells that differ from ``cell`` only in the column ``axis``."""

    mode: Mode
    axis: str
    cell: Cell
    """The cell with the largest number."""
    first: int
    last: int
    """The range of numbers for which the law is stated."""
    base_bytes: float
    linear_bytes: float
    square_bytes: float
    """0 for a law that has no square."""
    largest_error: float
    """The largest relative error over the cells."""
    hold_out_error: float
    """The largest relative error at a cell when the law is fitted to all other cells."""
    unseen_error: float
    """The largest relative error at unmeasured cells of the range, computed from predictions."""
    unseen_count: int
    count: int
    """The number of cells that the law is fitted to, the probes included."""
    probe_count: int
    """The number of cells that were measured only for the law, not for the sweep."""

    def peak_bytes(self, number: float) -> float:
        """The peak bytes that the law gives for a number within its range."""
        return self.base_bytes + self.linear_bytes * number + self.square_bytes * number**2


AnyVerdict = Verdict | AxisLaw


def fit_axis_laws(rows: Sequence[Row], heap: HeapMeter) -> list[AxisLaw]:
    """A law for each mode and each swept number, where one holds up to the largest number."""
    found = []
    for axis in AXES:
        largest: dict[tuple[Mode, object], list[Row]] = {}
        for group in _groups(rows, axis):
            key = group[0].mode, group[0].cell.besides(axis, "depth", "batch")
            if key not in largest or _most_bytes(group) > _most_bytes(largest[key]):
                largest[key] = group
        found += [law for group in largest.values() if (law := _law(axis, group, heap))]
    return found


def _groups(rows: Sequence[Row], axis: str) -> Iterator[list[Row]]:
    """Rows with heap peaks that differ only in ``axis``, in rising order, where there are enough of them."""
    groups: dict[tuple[Mode, object], dict[int, Row]] = defaultdict(dict)
    for row in rows:
        number = row.cell[axis]
        if isinstance(number, int) and row["heap_peak_bytes"] is not None:
            groups[row.mode, row.cell.besides(axis)][number] = row
    for group in groups.values():
        if len(group) >= FEWEST:
            yield [group[number] for number in sorted(group)]


def _most_bytes(group: Sequence[Row]) -> int:
    return max(row["predicted_peak_bytes"] or 0 for row in group)


def _law(axis: str, rows: Sequence[Row], heap: HeapMeter) -> AxisLaw | None:
    """The law of a group; ``None`` if there is none."""
    mode, cell = rows[0].mode, rows[-1].cell
    if no_line(mode, cell) is not None:
        return None
    known: dict[int, int] = {row.cell[axis]: row["heap_peak_bytes"] for row in rows}
    predicted = _predicted(mode, cell, axis, tried(tried(known)))
    inside = _range(known, predicted)
    if inside is None:
        return None
    known = {number: peak for number, peak in known.items() if number in inside}
    probes = [number for number in (inside[0], inside[-1]) if number not in known]
    probes += [number for number in inside if number not in known and number not in probes]
    count = len(known)
    for number in probes:
        if is_checkable(powers_of(known)) and {inside[0], inside[-1]} <= known.keys():
            break
        peak = heap(cell.changed(**{axis: number}), mode)
        if peak is None:
            return None
        known[number] = peak
    if not is_checkable(powers_of(known)):
        return None
    unseen = [number for number in inside if number not in known]
    terms = lines_of if _is_line({number: predicted[number] for number in inside}) else powers_of
    base, linear, square = _coefficients(known, terms)
    law = AxisLaw(
        mode=mode,
        axis=axis,
        cell=cell,
        first=inside[0],
        last=inside[-1],
        base_bytes=base,
        linear_bytes=linear,
        square_bytes=square,
        largest_error=_error(known, (base, linear, square)),
        hold_out_error=errors(known, terms)[1],
        unseen_error=_off({n: predicted[n] for n in known}, {n: predicted[n] for n in unseen}, terms),
        unseen_count=len(unseen),
        count=len(known),
        probe_count=len(known) - count,
    )
    return law if max(law.largest_error, law.hold_out_error, law.unseen_error) <= MOST_ERROR else None


def _predicted(mode: Mode, cell: Cell, axis: str, numbers: Sequence[int]) -> dict[int, int]:
    """The predicted peaks by number, without the numbers that no network can have."""
    found = {}
    for number in numbers:
        try:
            row = predicted_row(cell.changed(**{axis: number}, policy=NONE), mode)
        except MemtrainError:
            continue
        found[number] = row["predicted_peak_bytes"] or 0
    return found


def _range(known: Mapping[int, int], predicted: Mapping[int, int]) -> list[int] | None:
    """The longest range of numbers up to the largest of ``known`` whose predictions follow a law.

    It has at least two of the ``known`` numbers. Larger numbers matter most, so the largest is in it.
    """
    numbers = [number for number in sorted(predicted) if number <= max(known)]
    for first in range(len(numbers)):
        found = numbers[first:]
        peaks = {number: predicted[number] for number in found}
        if not is_checkable(powers_of(found)) or sum(number in known for number in found) < 2:
            return None
        if max(errors(peaks, powers_of)) <= MOST_ERROR:
            return found
    return None


def _is_line(predicted: Mapping[int, int]) -> bool:
    """Whether the predictions are linear, so that the law needs no square."""
    return errors(predicted, lines_of)[0] <= _EXACT


def _coefficients(peak_bytes: Mapping[int, int], terms: Terms) -> tuple[float, float, float]:
    """The coefficients of 1, a and a². Each is rounded as it is shown, and the others are fitted again."""
    _, linear, *squares = line_through(peak_bytes, terms).tolist()
    square = shown_count(squares[0]) if squares else 0.0
    rest = {number: peak - square * number**2 for number, peak in peak_bytes.items()}
    linear = shown_count(line_through(rest, lines_of).tolist()[1])
    base = shown_count(fmean(peak - linear * number for number, peak in rest.items()))
    return base, linear, square


def _error(peak_bytes: Mapping[int, int], coefficients: tuple[float, float, float]) -> float:
    """The largest relative error of a law with these coefficients."""
    peaks = np.array([*peak_bytes.values()], float)
    return largest_share(powers_of(peak_bytes) @ np.array(coefficients) - peaks, peaks)


def _off(fitted: Mapping[int, int], unseen: Mapping[int, int], terms: Terms) -> float:
    """The largest relative error at ``unseen`` of the law that is fitted to ``fitted``."""
    peaks = np.array([*unseen.values()], float)
    return largest_share(terms(unseen) @ line_through(fitted, terms) - peaks, peaks)
