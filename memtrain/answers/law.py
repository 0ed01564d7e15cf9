"""The law peak = c₀ + c₁·ℓ + c₂·n + c₃·ℓ·n for depth ℓ and batch n, fitted to heap peaks and checked.

A law is stated only for the range in which it holds. This regime (`memtrain.answers.regime`) is found from
predictions, which are exact and cheap. Predictions must be linear also at depths and batches between those
of the sweep. Heap peaks include the memory that numpy needs for itself. Each heap peak must follow the law to
0.1 %, and also the law that is fitted to all other peaks. If there is no law, the answer is the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from memtrain.answers.blocks import bend_bytes, jump_bytes, standing
from memtrain.answers.least_squares import errors, is_checkable, largest_share, line_through, terms_of
from memtrain.answers.regime import Pair, Regime, regimes, tried
from memtrain.cells.cell import MOST_DEPTH, Cell, Mode
from memtrain.cells.row import Row, predicted_row
from memtrain.planning.remat.policy import NONE
from memtrain.run.allocation import PACKED

HeapMeter = Callable[[Cell, Mode], int | None]
"""A function that measures the heap peak of a cell which the law needs and the sweep lacks."""

MOST_ERROR = 0.001
"""The largest relative error of any kind that a stated law may have."""


MOST_TRIED = 5
"""The number of regimes that are tried per group. Those with the most cells come first."""

SMALLEST_CELLS = 3
"""The number of small missing cells that are measured. In these, numpy's own memory matters most."""

RECOMPUTED = f"under a policy other than {NONE}, the kept bytes grow with depth in steps, not along a line"
PACKED_SIZE = "the size of a packed arena is found by a search and does not follow a line"
BLAS_THREADS = "with more than one thread, BLAS takes memory of its own, which no prediction includes"
WIDTHS = "the layers have different widths, so there is no typical extra layer"
NO_HEAP = "heap peaks were not measured"
TOO_FEW = "a law needs at least two measured cells with a hidden layer"
MOVING = (
    "no straight line describes the predicted peaks of most of these cells and of the sizes near them; "
    "usually the peak moves to another step"
)
SMALL = "the memory that numpy needs for itself follows no line, and can exceed 0.1 % of such small peaks"
OFF = "the heap peaks do not follow a line to within 0.1 %"
UNCHECKED = "the extra cells that would check a law could not be measured"


@dataclass(frozen=True)
class Law:
    """A fitted law, the cells that it is fitted to, and the range in which it holds."""

    mode: Mode
    depths: tuple[int, int]
    batches: tuple[int, int]
    """The least and the largest batch for which the law is stated."""
    base_bytes: float
    layer_bytes: float
    example_bytes: float
    layer_example_bytes: float
    predicted_layer_example_bytes: float
    """``layer_example_bytes`` of the predicted peaks. If it is exactly 0, the measured value is noise."""
    largest_error: float
    """The largest relative error over the cells."""
    hold_out_error: float
    """The largest relative error at a cell when the law is fitted to all other cells."""
    unseen_error: float
    """The largest relative error at unmeasured cells of the range, computed from predictions."""
    unseen_count: int
    cells: tuple[Cell, ...]
    probes: tuple[Cell, ...]
    """The part of ``cells`` that was measured only for the law, not for the sweep."""
    others: tuple[Cell, ...]
    """Measured cells of the sweep that the law does not cover."""

    @property
    def cell(self) -> Cell:
        """The first of the cells. All cells have the same settings except for depth and batch."""
        return self.cells[0]

    def peak_bytes(self, depth: float, batch: float) -> float:
        """The peak bytes that the law gives for a depth and batch within its range."""
        return (
            self.base_bytes
            + self.layer_bytes * depth
            + self.example_bytes * batch
            + self.layer_example_bytes * depth * batch
        )


@dataclass(frozen=True)
class NoLaw:
    """The reason why there is no law for the cells that differ from ``cell`` only in depth and batch."""

    mode: Mode
    cell: Cell
    reason: str


Verdict = Law | NoLaw


def fit_laws(rows: Sequence[Row], heap: HeapMeter) -> list[Verdict]:
    """For each mode and each group of cells, a law or the reason why there is none.

    The cells of a group differ only in depth and batch. A group of one cell has no verdict. A law holds for
    more than half of the measured cells of its group. ``heap`` measures a few more cells as a check.
    """
    groups: dict[tuple[Mode, object], list[Row]] = defaultdict(list)
    for row in rows:
        free = ("batch",) if isinstance(row.cell["width"], tuple) else ("depth", "batch")
        groups[row.mode, row.cell.besides(*free)].append(row)
    return [
        _judge(mode, group, heap)
        for (mode, _), group in groups.items()
        if len({(row.cell["depth"], row.cell.batch) for row in group}) > 1
    ]


def _judge(mode: Mode, rows: list[Row], heap: HeapMeter) -> Verdict:
    cell = rows[0].cell
    reason = no_line(mode, cell)
    if reason is not None:
        return NoLaw(mode, cell, reason)
    measured = {
        (row.cell["depth"], row.cell.batch): row["heap_peak_bytes"]
        for row in rows
        if row["heap_peak_bytes"] is not None
    }
    layered = {pair: peak for pair, peak in measured.items() if pair[0]}  # depth 0 has other layers
    if not measured or len(layered) < 2:
        return NoLaw(mode, cell, TOO_FEW if measured else NO_HEAP)
    group = _Group(mode, cell, layered)
    for regime, count in group.regimes()[:MOST_TRIED]:
        if 2 * count <= len(measured):
            break
        found = group.law(regime, heap)
        if isinstance(found, Law):
            cells = (row.cell for row in rows if (row.cell["depth"], row.cell.batch) in measured)
            return replace(found, others=tuple(cell for cell in cells if cell not in set(found.cells)))
        reason = reason or found
    return NoLaw(mode, cell, reason or MOVING)


def no_line(mode: Mode, cell: Cell) -> str | None:
    """Why the peaks of cells like ``cell`` cannot be linear; ``None`` if they may be."""
    if isinstance(cell["width"], tuple):
        return WIDTHS
    if mode is Mode.TRAIN and cell.policy != NONE:
        return RECOMPUTED
    if cell.allocation_for(timing=False) == PACKED:
        return PACKED_SIZE
    return BLAS_THREADS if cell.threads > 1 else None


class _Group:
    """Cells that differ only in depth and batch, with predicted peaks and, for some, heap peaks."""

    def __init__(self, mode: Mode, cell: Cell, heap_bytes: dict[Pair, int]) -> None:
        self._mode = mode
        self._cell = cell
        self._heap_bytes = heap_bytes
        most = cell.network.most_depth or MOST_DEPTH
        self._depths = [d for d in tried(depth for depth, _ in heap_bytes) if d <= most]
        self._batches = tried((batch for _, batch in heap_bytes), cell.accumulate)
        pairs = product(self._depths, self._batches)
        self._predicted_bytes = {pair: self._predicted(pair) for pair in pairs}

    def regimes(self) -> list[tuple[Regime, int]]:
        """The regimes with their numbers of measured cells, in falling order of this number, then of peak."""
        found = regimes(self._depths, self._batches, self._predicted_bytes)

        def size(regime: Regime) -> tuple[int, int, int]:
            cell_count = sum(pair in regime for pair in self._heap_bytes)
            return cell_count, self._predicted_bytes[regime.corners[-1]], len(regime.pairs)

        return [(regime, size(regime)[0]) for regime in sorted(found, key=size, reverse=True)]

    def law(self, regime: Regime, heap: HeapMeter) -> Law | str:
        """The law of a regime, or the reason why there is none."""
        known = {pair: peak for pair, peak in self._heap_bytes.items() if pair in regime}
        if is_checkable(terms_of(known)) and max(errors(known)) > MOST_ERROR:
            return OFF  # more cells would not help
        if self._off_by_small_blocks(regime):
            return SMALL
        probes = self._probes(regime, list(known))
        for pair in probes:
            peak = heap(self._plain(pair), self._mode)
            if peak is None:
                return UNCHECKED
            known[pair] = peak
        if not is_checkable(terms_of(known)):
            return UNCHECKED
        unseen = [pair for pair in regime.pairs if pair not in known]
        largest_error, hold_out_error = errors(known)
        unseen_error = self._unseen_error(list(known), unseen)
        if max(largest_error, hold_out_error, unseen_error) > MOST_ERROR:
            return OFF
        base, per_layer, per_example, per_layer_and_example = line_through(known).tolist()
        return Law(
            mode=self._mode,
            depths=(regime.depths[0], regime.depths[-1]),
            batches=(regime.batches[0], regime.batches[-1]),
            base_bytes=base,
            layer_bytes=per_layer,
            example_bytes=per_example,
            layer_example_bytes=per_layer_and_example,
            predicted_layer_example_bytes=self._predicted_slope(regime),
            largest_error=largest_error,
            hold_out_error=hold_out_error,
            unseen_error=unseen_error,
            unseen_count=len(unseen),
            cells=tuple(map(self._at, known)),
            probes=tuple(map(self._at, probes)),
            others=(),
        )

    def _probes(self, regime: Regime, pairs: list[Pair]) -> list[Pair]:
        """The cells to measure besides ``pairs``: corners, small cells, and as many as a check needs."""
        probes = [pair for pair in regime.corners if pair not in pairs]
        others = [pair for pair in regime.pairs if pair not in pairs and pair not in probes]
        for count, pair in enumerate(sorted(others, key=self._predicted_bytes.__getitem__)):
            if count >= SMALLEST_CELLS and is_checkable(terms_of([*pairs, *probes])):
                break
            probes.append(pair)
        return probes

    def _off_by_small_blocks(self, regime: Regime) -> bool:
        """Whether small blocks that a heap meter may miss can make its peaks deviate from the law."""
        least, wide, deep, largest = (standing(self._plain(pair), self._mode) for pair in regime.corners)
        off = max(jump_bytes(least, wide), jump_bytes(deep, largest))
        off += max(bend_bytes(least, deep), bend_bytes(wide, largest))
        return off > MOST_ERROR * self._predicted_bytes[regime.corners[0]]

    def _predicted_slope(self, regime: Regime) -> float:
        """The predicted bytes per layer and example, exact since predictions of a regime are linear."""
        first, wide, deep, last = (self._predicted_bytes[pair] for pair in regime.corners)
        layers, examples = regime.depths[-1] - regime.depths[0], regime.batches[-1] - regime.batches[0]
        return (last - deep - wide + first) / (layers * examples)

    def _unseen_error(self, pairs: Sequence[Pair], unseen: Sequence[Pair]) -> float:
        """The largest relative error at ``unseen`` of the law that is fitted to predictions of ``pairs``."""
        line = line_through({pair: self._predicted_bytes[pair] for pair in pairs})
        predictions = np.array([self._predicted_bytes[pair] for pair in unseen], float)
        return largest_share(terms_of(unseen) @ line - predictions, predictions)

    def _predicted(self, pair: Pair) -> int:
        return predicted_row(self._plain(pair), self._mode)["predicted_peak_bytes"] or 0

    def _plain(self, pair: Pair) -> Cell:
        """The cell without its policy. Inference ignores a policy, but its budget may be too small."""
        return self._at(pair).changed(policy=NONE)

    def _at(self, pair: Pair) -> Cell:
        return self._cell.changed(depth=pair[0], batch=pair[1])
