"""Peaks along one axis of a sweep, as plain data, with a sentence that says how they grow."""

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
    """A sentence on how the peaks grow, along the longest line of each mode.

    Of lines of one length it is the one of the largest batch (or depth).
    """
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
