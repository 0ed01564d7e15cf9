"""Small blocks that numpy keeps after they are freed. A heap meter does not see when they are used again.

numpy keeps up to 7 freed blocks of each size below 1 KiB (NCACHE and NBUCKETS in its alloc.c; measured as
well). After the warm-up a run uses the kept blocks, and requests only additional blocks from the system. So
heap peaks bend where there are more than 7 arrays of a size, and jump where arrays reach 1 KiB, even if the
true peaks lie on a line.
"""

from __future__ import annotations

from collections import Counter

from memtrain.cells.cell import Cell, Mode
from memtrain.planning.liveness import analyse

KEPT_BYTES, KEPT_COUNT = 1024, 7
"""numpy keeps freed blocks below this size, and at most this number of each size."""

Standing = dict[tuple[str, int], int]
"""The bytes of each array that is live at the predicted peak. A key is a kind and the number of an array."""


def standing(cell: Cell, mode: Mode) -> Standing:
    """The arrays that are live at the predicted peak of a cell, with their bytes."""
    liveness = analyse(cell.schedule(mode))
    values = {("value", life.node.id): life.node.nbytes for life in liveness.standing(liveness.peak_step)}
    workspaces = {
        ("workspace", k): count * dtype.itemsize for k, (count, dtype) in enumerate(liveness.peak_workspace)
    }
    return values | workspaces


def jump_bytes(before: Standing, after: Standing) -> int:
    """The most bytes by which heap peaks jump between two batches because arrays reach 1 KiB."""
    return KEPT_BYTES * sum(count < KEPT_BYTES <= after.get(name, 0) for name, count in before.items())


def bend_bytes(before: Standing, after: Standing) -> int:
    """The most bytes by which heap peaks bend between two depths because numpy keeps more blocks."""
    return abs(_kept_bytes(after) - _kept_bytes(before))


def _kept_bytes(found: Standing) -> int:
    counts = Counter(size for size in found.values() if size < KEPT_BYTES)
    return sum(size * min(count, KEPT_COUNT) for size, count in counts.items())
