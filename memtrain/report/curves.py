"""The peaks of a sweep along one axis, as plain data, with a sentence that says how they grow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from memtrain.cells.cell import Mode
from memtrain.cells.row import Row
from memtrain.report.findings import peak_bytes
from memtrain.report.groups import Group
from memtrain.units import format_bytes

Axis = Literal["depth", "batch"]


@dataclass(frozen=True)
class Point:
    """The peak of a cell. If the cell failed, ``failure`` says why."""

    tick: int
    """The depth, or the batch."""
    peak_bytes: int | None
    failure: str = ""


@dataclass(frozen=True)
class Line:
    """The peaks of a mode along one axis, at a fixed value of the other axis."""

    mode: Mode
    fixed: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curves:
    """Peaks against depth, with a line per batch and mode; or against batch, per depth and mode."""

    axis: Axis
    lines: tuple[Line, ...]
    reading: str

    @property
    def other(self) -> Axis:
        """The axis that is fixed along a line."""
        return "batch" if self.axis == "depth" else "depth"

    @property
    def most_bytes(self) -> int:
        """The largest peak."""
        return max((p.peak_bytes or 0 for line in self.lines for p in line.points), default=0)

    @property
    def ticks(self) -> list[int]:
        """Every tick of the axis, once, the smallest first."""
        return sorted({point.tick for line in self.lines for point in line.points})


def axes_of(group: Group) -> tuple[Axis, ...]:
    """The axes along which the cells of a group differ; both for a single cell."""
    axes: tuple[Axis, Axis] = ("depth", "batch")
    return (
        tuple(axis for along, axis in enumerate(axes) if len({size[along] for size in group.pairs}) > 1)
        or axes
    )


def curves_of(group: Group, axis: Axis) -> Curves:
    """The peaks of training and inference against ``axis``."""
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


def _point(tick: int, row: Row) -> Point:
    figures = row.figures
    failure = "" if row.ok else f"{figures['status']}: {figures['reason']}"
    return Point(tick, peak_bytes(row), failure)


def _growth(found: Curves) -> str:
    """Sentences on how the peaks grow: for each mode, along the line with the most points.

    Of lines with equally many points, the line of the largest batch (or depth) is taken.
    """
    best: dict[Mode, Line] = {}
    for line in found.lines:
        known = tuple(point for point in line.points if point.peak_bytes)
        if known and (line.mode not in best or len(known) >= len(best[line.mode].points)):
            best[line.mode] = replace(line, points=known)
    return " ".join(_growth_along(line, found) for line in best.values()) or "No peak is known."


def _growth_along(line: Line, found: Curves) -> str:
    first, last = line.points[0], line.points[-1]
    first_bytes, last_bytes = first.peak_bytes or 1, last.peak_bytes or 1
    peak, fixed = f"The peak of {line.mode.noun}", f"{found.other} {line.fixed:,}"
    if first == last:
        return f"{peak} is {format_bytes(last_bytes)} at {found.axis} {last.tick:,}, {fixed}."
    where = f"from {found.axis} {first.tick:,} to {found.axis} {last.tick:,} (at {fixed})"
    if first_bytes == last_bytes:
        return f"{peak} stays at {format_bytes(last_bytes)} {where}."
    growth = f"grows {last_bytes / first_bytes:.1f} ×" if last_bytes > first_bytes else "falls"
    return f"{peak} {growth} {where}: {format_bytes(first_bytes)} to {format_bytes(last_bytes)}."
