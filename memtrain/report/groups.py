"""Groups of rows whose cells differ in depth and batch only; each group has plots of its own.

The cell of a group that shows the most is the one with the largest ratio of training to inference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from memtrain.cells.cell import Cell
from memtrain.cells.engine import JAX
from memtrain.cells.row import Row
from memtrain.errors import InputError
from memtrain.report.findings import Pair, main_row, pairs, peak_bytes, ratio, varying_fields

Size = tuple[int, int]
"""A depth and a batch."""

_MOST_NAMES = 6


@dataclass(frozen=True)
class Group:
    """The cells of a sweep that differ in depth and batch only, by depth and batch."""

    name: str
    """The values of columns that only the cells of this group have; empty if there is only one group."""
    pairs: dict[Size, Pair]

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
    def most_telling(self) -> int:
        """The index into ``rows`` of the cell that shows the most."""
        found = [_telling(self.pairs[size]) for size in sorted(self.pairs)]
        return found.index(max(found))


def _telling(pair: Pair) -> tuple[float, int]:
    """The ratio of a cell, and its peak, which decides between cells without a ratio."""
    return ratio(pair) or 0.0, peak_bytes(main_row(pair)) or 0


def groups_of(rows: Iterable[Row]) -> list[Group]:
    """The rows as groups, one for each combination of the columns that vary besides depth and batch.

    Rows of JAX are left out, since the plots show predictions. Raises ``InputError`` if there are no others.
    """
    rows = [row for row in rows if row.cell.engine != JAX]
    if not rows:
        raise InputError("nothing is predicted for JAX, so its rows have no plots", "add --engine numpy,jax")
    varying = varying_fields(row.cell for row in rows)
    found: dict[str, dict[Size, Pair]] = {}
    for cell, pair in pairs(rows).items():
        name = ", ".join(f"{field} {cell.columns()[field]}" for field in varying)
        found.setdefault(name, {})[cell["depth"], cell.batch] = pair
    return [Group(name, by_size) for name, by_size in found.items()]


def opening(groups: Sequence[Group], cell: Cell | None = None) -> tuple[int, int]:
    """The indices of the group and the row of ``cell``, or else of the cell that shows the most."""
    indices = [(number, index) for number, group in enumerate(groups) for index in range(len(group.rows))]
    if cell is not None:
        return next(at for at in indices if groups[at[0]].rows[at[1]].cell == cell)
    best = [(number, group.most_telling) for number, group in enumerate(groups)]
    return max(best, key=lambda at: _telling(groups[at[0]].pairs[_size(groups[at[0]].rows[at[1]])]))


def cells_of(rows: Iterable[Row], sizes: Collection[Size], option: str) -> list[Cell]:
    """The cells of all ``sizes``, in this order; a size may have several cells.

    Raises ``InputError``, which names ``option``, for a size that no row has.
    """
    found: dict[Size, dict[Cell, None]] = {}
    for row in rows:
        found.setdefault(_size(row), {})[row.cell] = None
    for size in sizes:
        if size not in found:
            known = [size_name(one) for one in sorted(found)]
            others = [f"{len(known) - _MOST_NAMES} others"] if len(known) > _MOST_NAMES else []
            raise InputError(
                f"{option} {size_name(size)} is not a cell of these results",
                f"name one of {', '.join([*known[:_MOST_NAMES], *others])}",
            )
    return [cell for size in sizes for cell in found[size]]


def size_name(size: Size) -> str:
    """A depth and a batch as ``--cell`` takes them: ``8x256``."""
    return f"{size[0]}x{size[1]}"


def _size(row: Row) -> Size:
    return row.cell["depth"], row.cell.batch
