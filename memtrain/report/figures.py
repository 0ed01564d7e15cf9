"""What the figures over a sweep show, as plain data, each with a sentence that says what to see in it.

Nothing here draws: the page (`memtrain.report.html`) and the pictures (`memtrain.report.static`) do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from memtrain.answers.capacity import MOST_BATCH
from memtrain.answers.largest import largest_within
from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.cells.row import Row, planned_row, predicted_row
from memtrain.graph.node import Role
from memtrain.plan.remat.policy import BUDGET, read_policy
from memtrain.report.findings import Pair, cell_name, main_row, pairs, peak_bytes, ratio, varying_fields
from memtrain.units import format_bytes

ROLE_COLOURS = {
    Role.PARAMETER: "#4878b0",
    Role.GRADIENT: "#d9534f",
    Role.OPTIMIZER: "#a26fb0",
    Role.INPUT: "#45a5a0",
    Role.RETAINED: "#f0b429",
    Role.RECOMPUTED: "#e8853a",
    Role.TRANSIENT: "#98a3b0",
    Role.WORKSPACE: "#5d9e4f",
}
"""To be told apart on white and on black."""

LINE_COLOURS = ("#3b6fb6", "#e08a1e", "#3f9b62", "#c0504d", "#8064a2", "#2a9fb0", "#b3588a", "#7f7f3f")
"""Of the batches, or depths, of `Curves`, over and over."""

PHASE_COLOURS = ("#7fa8d6", "#d9634f")
"""Of a life line: in forward, and in backward."""

FITS = ("does not fit", "fits only to predict", "fits to train")
"""What a cell can do in a given memory; figures say it by the index into this tuple."""
FITS_COLOURS = ("#c9ced6", "#e8a33d", "#3f9b62")

Axis = Literal["depth", "batch"]


@dataclass(frozen=True)
class Group:
    """The cells of a sweep that differ in depth and batch only, by depth and batch."""

    name: str
    """What the cells have in common and others have not; empty where there are no others."""
    pairs: dict[tuple[int, int], Pair]

    @property
    def depths(self) -> list[int]:
        """Every depth, once, the smallest first."""
        return sorted({depth for depth, _ in self.pairs})

    @property
    def batches(self) -> list[int]:
        """Every batch, once, the smallest first."""
        return sorted({batch for _, batch in self.pairs})

    @property
    def rows(self) -> list[Row]:
        """The main row of each cell, in the order of depth and batch."""
        return [main_row(self.pairs[size]) for size in sorted(self.pairs)]

    @property
    def largest(self) -> int:
        """Which of ``rows`` has the largest peak."""
        peaks = [peak_bytes(row) or 0 for row in self.rows]
        return peaks.index(max(peaks))


@dataclass(frozen=True)
class Point:
    """The peak of a cell; ``failure`` says why it did not run, if it did not."""

    tick: int
    """The depth, or the batch."""
    peak_bytes: int | None
    failure: str = ""


@dataclass(frozen=True)
class Line:
    """Peaks of a mode along one axis; ``fixed`` is the batch or the depth that stays the same."""

    mode: Mode
    fixed: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curves:
    """Peaks against depth, a line per batch and mode, or the other way about."""

    axis: Axis
    lines: tuple[Line, ...]
    reading: str

    @property
    def other(self) -> Axis:
        """What stays the same along a line."""
        return "batch" if self.axis == "depth" else "depth"

    @property
    def most_bytes(self) -> int:
        """The largest peak."""
        return max((p.peak_bytes or 0 for line in self.lines for p in line.points), default=0)

    @property
    def ticks(self) -> list[int]:
        """Every tick of the axis, once, the smallest first."""
        return sorted({point.tick for line in self.lines for point in line.points})


@dataclass(frozen=True)
class Table:
    """A value for each depth (row) and batch (column); ``None`` where there is none."""

    depths: tuple[int, ...]
    batches: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]
    reading: str


def groups(rows: Iterable[Row]) -> list[Group]:
    """The rows by what varies besides depth and batch."""
    rows = list(rows)
    varying = varying_fields(row.cell for row in rows)
    found: dict[str, dict[tuple[int, int], Pair]] = {}
    for cell, pair in pairs(rows).items():
        name = ", ".join(f"{field} {cell.columns()[field]}" for field in varying)
        found.setdefault(name, {})[cell["depth"], cell.batch] = pair
    return [Group(name, by_size) for name, by_size in found.items()]


def curves(group: Group, axis: Axis) -> Curves:
    """Peaks of training and inference against ``axis``."""
    along = 0 if axis == "depth" else 1
    lines = []
    for fixed in sorted({size[1 - along] for size in group.pairs}):
        for mode in Mode:
            points = tuple(
                _point(size[along], pair[mode])
                for size, pair in sorted(group.pairs.items())
                if size[1 - along] == fixed and mode in pair
            )
            if points:
                lines.append(Line(mode, fixed, points))
    found = Curves(axis, tuple(lines), "")
    return replace(found, reading=_growth(found))


def ratios(group: Group) -> Table | None:
    """Training ÷ inference; ``None`` where no cell has both."""
    values = {size: value for size, pair in group.pairs.items() if (value := ratio(pair)) is not None}
    if not values:
        return None
    least, most = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    if least == most:
        reading = f"Training needs {values[most]:.2f} × the memory of inference."
    else:
        reading = (
            f"Training needs {values[least]:.2f} × the memory of inference at {_at(*least)}, and "
            f"{values[most]:.2f} × at {_at(*most)}."
        )
    return _table(group, values, reading)


def fitting(group: Group, budget_bytes: int) -> Table:
    """What each cell can do in ``budget_bytes``, as an index into `FITS`, from predictions."""
    values = {size: _fits(pair, budget_bytes) for size, pair in group.pairs.items()}
    counts = [sum(value == fits for value in values.values()) for fits in range(3)]
    reading = (
        f"In {format_bytes(budget_bytes)}, {counts[2]} of {len(values)} cells can be trained, {counts[1]} "
        f"can only predict, {counts[0]} do not fit; {_largest_batches(group.rows[-1].cell, budget_bytes)}."
    )
    return _table(group, values, reading)


def _fits(pair: Pair, budget_bytes: int) -> float:
    """The index into `FITS`. A mode without a row is predicted here; one without a plan does not fit."""
    for fits, mode in ((2.0, Mode.TRAIN), (1.0, Mode.INFER)):
        row = pair.get(mode)
        if row is None or row["predicted_peak_bytes"] is None:
            row = planned_row(main_row(pair).cell, mode, main_row(pair).rates)
        peak = row["predicted_peak_bytes"]
        if peak is not None and peak <= budget_bytes:
            return fits
    return 0.0


def _largest_batches(cell: Cell, budget_bytes: int) -> str:
    """The largest batches that fit at the depth of ``cell``, in words; or why they are not known."""
    if read_policy(cell.policy).kind == BUDGET:
        return "the largest batch is not known, for each batch would need a plan of its own"

    def largest(mode: Mode) -> int:
        def peak(count: int) -> int:
            row = predicted_row(cell.changed(batch=count * cell.accumulate), mode)
            return row["predicted_peak_bytes"] or 0

        found = largest_within(peak, budget_bytes, 1, MOST_BATCH // cell.accumulate)
        return (found or 0) * cell.accumulate

    of = f" of {cell.accumulate} micro-batches" if cell.accumulate > 1 else ""
    return (
        f"at depth {cell['depth']} the largest batch{of} is {_count(largest(Mode.TRAIN))} to train and "
        f"{_count(largest(Mode.INFER))} to predict"
    )


def _table(group: Group, values: dict[tuple[int, int], float], reading: str) -> Table:
    depths, batches = group.depths, group.batches
    filled = tuple(tuple(values.get((depth, batch)) for batch in batches) for depth in depths)
    return Table(tuple(depths), tuple(batches), filled, reading)


def _point(tick: int, row: Row) -> Point:
    figures = row.figures
    failure = "" if row.ok else f"{figures['status']}: {figures['reason']}"
    return Point(tick, peak_bytes(row), failure)


def _count(value: int) -> str:
    return f"{value:,}" if value else "none"


def _at(depth: int, batch: int) -> str:
    return cell_name(cell_of(depth=depth, batch=batch))


def _growth(found: Curves) -> str:
    """How the peaks grow along the longest line of each mode, of the largest batch (or depth)."""
    best: dict[Mode, Line] = {}
    for line in found.lines:
        known = tuple(point for point in line.points if point.peak_bytes)
        if known and (line.mode not in best or len(known) >= len(best[line.mode].points)):
            best[line.mode] = replace(line, points=known)
    sentence = "; ".join(_growth_along(line, found) for line in best.values())
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else "No peak is known."


def _growth_along(line: Line, found: Curves) -> str:
    first, last = line.points[0], line.points[-1]
    first_bytes, last_bytes = first.peak_bytes or 1, last.peak_bytes or 1
    if first == last:
        where = f"{found.axis} {last.tick:,}, {found.other} {line.fixed:,}"
        return f"{line.mode.noun} needs {format_bytes(last_bytes)} ({where})"
    return (
        f"{line.mode.noun} grows {last_bytes / first_bytes:.1f} ×, from {format_bytes(first_bytes)} to "
        f"{format_bytes(last_bytes)} ({found.axis} {first.tick:,} to {last.tick:,}, "
        f"{found.other} {line.fixed:,})"
    )
