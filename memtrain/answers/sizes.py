"""The sizes that the cells of a frontier can have on one axis, and the largest of them within a budget."""

from __future__ import annotations

from collections.abc import Callable

from memtrain.answers.largest import largest_within
from memtrain.cells.cell import Cell
from memtrain.cells.columns import BY_NAME
from memtrain.errors import SpecError
from memtrain.models.network import FeedKind

MOST_SIZE, MOST_DEPTH, MOST_NODES = 2**62, 4096, 30_000
"""The largest sizes that are searched, and the most nodes of a graph. A larger graph would take seconds."""

MOST_TRIED = 4096
"""The most sizes that are tried to find one that a network can have."""


BytesOf = Callable[[Cell], tuple[int, int]]
"""A function that gives the peak of a cell, and its peak without workspace, which grows with every size."""


def is_uneven(cell: Cell, axis: str) -> bool:
    """Whether a peak can fall when the axis grows: a convolution chooses its workspace by its sizes."""
    return axis in ("image", "width") and cell.network.reads is FeedKind.IMAGE


class Sizes:
    """The sizes of an axis for which there is a network, while all other columns stay the same.

    There may be gaps: the width of a transformer is a multiple of its heads. Raises ``SpecError`` if no
    network has any of the smallest sizes.
    """

    def __init__(self, axis: str, at: Callable[[int], Cell]) -> None:
        """``at`` gives the cell of a size, and raises ``SpecError`` for a size that no network can have."""
        self.at = at
        self.least = self._least()
        """The least size ≥ 1."""
        self._zero = BY_NAME[axis].least == 0 and self._exists(0)
        self.most = MOST_SIZE if axis == "batch" else self._most(axis)
        """The largest size that is searched."""
        self._uneven = is_uneven(at(self.least), axis)

    def largest(self, bytes_of: BytesOf, budget_bytes: int, most: int | None = None) -> int | None:
        """The largest size, at most ``most``, whose peak is within the budget; ``None`` if none is.

        Depth 0 is tried last, because its product of inputs × outputs can be larger than a narrow layer.
        Where peaks can fall, each size is tried down from the largest that fits without workspace.
        """
        found = self._search(lambda cell: bytes_of(cell)[0], budget_bytes, most)
        if self._uneven:
            highest = self._search(lambda cell: bytes_of(cell)[1], budget_bytes, most)
            tried = range(highest or 0, found or 0, -1)
            fitting = (
                size for size in tried if self._exists(size) and self._peak(bytes_of, size) <= budget_bytes
            )
            return next(fitting, found)
        if found is None and self._zero and self._peak(bytes_of, 0) <= budget_bytes:
            return 0
        return found

    def after(self, size: int | None) -> int | None:
        """The size that follows ``size``, or the least; ``None`` if the search ends before it."""
        if size is None:
            return self.least
        return next((one for one in range(size + 1, self.most + 1) if self._exists(one)), None)

    def ended(self, size: int | None) -> bool:
        """Whether the search ended at ``size``, although there are networks of larger sizes."""
        return size == self.most and (size is not None and self._exists(size + 1))

    def _search(self, peak: Callable[[Cell], int], budget_bytes: int, most: int | None) -> int | None:
        """The largest size by `largest_within`, for a peak that does not fall when the size rises."""
        found = largest_within(
            lambda size: peak(self.at(self._at_most(size))),
            budget_bytes,
            self.least,
            max(self.least, self.most if most is None else min(most, self.most)),
        )
        return None if found is None else self._at_most(found)

    def _peak(self, bytes_of: BytesOf, size: int) -> int:
        return bytes_of(self.at(size))[0]

    def _exists(self, size: int) -> bool:
        try:
            self.at(size)
        except SpecError:
            return False
        return True

    def _at_most(self, size: int) -> int:
        """The largest size ≤ ``size`` that a network can have. So a peak is defined between such sizes."""
        while not self._exists(size):
            size -= 1
        return size

    def _least(self) -> int:
        found = next((size for size in range(1, MOST_TRIED + 1) if self._exists(size)), None)
        if found is None:
            self.at(1)  # it raises the reason
        return found or 1

    def _most(self, axis: str) -> int:
        """The most that the family allows, that has a graph of `MOST_NODES`, and that is searched."""
        most = MOST_DEPTH if axis == "depth" else MOST_SIZE
        if axis == "depth":
            most = min(most, self.at(self.least).network.most_depth or most)
        self.most = most
        following = self.after(self.least)
        if following is None:
            return self.least
        least_count, count = (_node_count(self.at(size)) for size in (self.least, following))
        if count > least_count:
            further = (MOST_NODES - least_count) * (following - self.least) // (count - least_count)
            most = min(most, self.least + max(0, further))
        return self._at_most(most)


def _node_count(cell: Cell) -> int:
    """The number of forward nodes, which does not depend on the batch."""
    return len(cell.network.build(1).builder.nodes)
