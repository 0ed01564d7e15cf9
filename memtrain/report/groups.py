"""The rows of a sweep in groups whose cells differ in depth and batch only: each is plotted by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from memtrain.cells.row import Row
from memtrain.report.findings import Pair, main_row, pairs, peak_bytes, varying_fields


@dataclass(frozen=True)
class Group:
    """The cells of a sweep that differ in depth and batch only, by depth and batch."""

    name: str
    """What the cells share and those of other groups do not; empty where there is one group only."""
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
        """The index into ``rows`` of the row with the largest peak."""
        peaks = [peak_bytes(row) or 0 for row in self.rows]
        return peaks.index(max(peaks))


def groups_of(rows: Iterable[Row]) -> list[Group]:
    """The rows as groups, one for each combination of what varies besides depth and batch."""
    rows = list(rows)
    varying = varying_fields(row.cell for row in rows)
    found: dict[str, dict[tuple[int, int], Pair]] = {}
    for cell, pair in pairs(rows).items():
        name = ", ".join(f"{field} {cell.columns()[field]}" for field in varying)
        found.setdefault(name, {})[cell["depth"], cell.batch] = pair
    return [Group(name, by_size) for name, by_size in found.items()]
