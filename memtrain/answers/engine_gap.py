"""The difference between two engines that train the same network: the bytes, and what they are.

Both peaks are predicted. Their difference is the sum of the differences of what stands at each peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.engine import NUMPY, TORCH
from memtrain.cells.row import Row
from memtrain.graph.node import Phase, Role
from memtrain.planning.liveness import Liveness, analyse

SAVED, GRADIENTS, OPTIMIZER, TEMPORARIES, BUFFERS, LEAVES = (
    "values that are kept for backward",
    "gradients of parameters",
    "the optimiser's state",
    "temporary arrays of the optimiser",
    "other temporary arrays",
    "parameters and inputs",
)
"""The kinds of bytes at a peak."""

_KINDS = {
    Role.RETAINED: SAVED,
    Role.RECOMPUTED: SAVED,
    Role.GRADIENT: GRADIENTS,
    Role.OPTIMIZER: OPTIMIZER,
    Role.PARAMETER: LEAVES,
    Role.INPUT: LEAVES,
}


@dataclass(frozen=True)
class EngineGap:
    """A cell of training in both engines: their predicted peaks, and how each kind of bytes differs."""

    cell: Cell
    """The cell of the engine torch."""
    numpy_bytes: int
    torch_bytes: int
    kinds: dict[str, int]
    """By kind: PyTorch's bytes at its peak less memtrain's at its own. They sum to the difference."""
    saved_more_bytes: int
    """By how much PyTorch retains more in all, at whatever step."""
    where: tuple[str, str]
    """The value that memtrain computes at its peak, and the one that PyTorch does."""

    @property
    def ratio(self) -> float:
        """PyTorch's peak by memtrain's."""
        return self.torch_bytes / self.numpy_bytes


def engine_gaps(rows: Sequence[Row]) -> list[EngineGap]:
    """The gap of each cell of training that both engines can run, in the order of the rows.

    A row without a prediction has none: its policy has no plan, or PyTorch refuses the cell.
    """
    predicted = [
        row.cell for row in rows if row.mode is Mode.TRAIN and row["predicted_peak_bytes"] is not None
    ]
    ours = {cell for cell in predicted if cell.engine == NUMPY}
    return [_gap(cell) for cell in predicted if cell.engine == TORCH and cell.in_numpy() in ours]


def _gap(cell: Cell) -> EngineGap:
    ours, theirs = (analyse(each.schedule(Mode.TRAIN)) for each in (cell.in_numpy(), cell))
    before, after = _kinds_at_peak(ours), _kinds_at_peak(theirs)
    kinds = {kind: after.get(kind, 0) - before.get(kind, 0) for kind in dict.fromkeys((*after, *before))}
    return EngineGap(
        cell,
        ours.peak_bytes,
        theirs.peak_bytes,
        {kind: difference for kind, difference in kinds.items() if difference},
        _retained_bytes(theirs) - _retained_bytes(ours),
        (_name_at_peak(ours), _name_at_peak(theirs)),
    )


def _kinds_at_peak(liveness: Liveness) -> dict[str, int]:
    """The bytes at the peak by kind."""
    found: dict[str, int] = {}
    for life in liveness.standing(liveness.peak_step):
        kind = _KINDS.get(life.role) or _passing(life.node.phase)
        found[kind] = found.get(kind, 0) + life.node.nbytes
    kind = _passing(liveness.schedule.steps[liveness.peak_step].phase)
    found[kind] = found.get(kind, 0) + liveness.occupancy.workspace_bytes[liveness.peak_step]
    return found


def _passing(phase: Phase) -> str:
    """The kind of an array that only its phase needs."""
    return TEMPORARIES if phase is Phase.UPDATE else BUFFERS


def _retained_bytes(liveness: Liveness) -> int:
    return sum(node.nbytes for node in liveness.most_retained)


def _name_at_peak(liveness: Liveness) -> str:
    return liveness.peak_node.name if liveness.peak_node else ""
