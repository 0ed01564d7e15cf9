"""The law peak = c0 + c1·L + c2·B + c3·L·B, fitted to measured heap peaks over a regime, and checked.

A law is stated only where it is one. Its regime (`memtrain.sweeps.regime`) is found from predictions, which
are exact and cheap, at depths and batches between and beyond those of the sweep, too: there they must be
linear. The heap peaks, larger by what numpy needs for itself, must then follow the law to 0.1 %, and so must
each of them a law that is fitted to the others. Where there is no law, the reason is the answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from memtrain.measure.cell import MOST_DEPTH, Cell, Mode
from memtrain.measure.row import Row, predicted_row
from memtrain.plan.policy import NONE
from memtrain.run.allocation import PACKED
from memtrain.sweeps.regime import Pair, Regime, regimes, tried

HeapMeter = Callable[[Cell, Mode], int | None]
"""The heap peak of a cell, for cells that the law needs and the sweep has not."""

MOST_ERROR = 0.001
"""A law with a larger relative error, of any kind, is not stated."""

_TERM_COUNT = 4

SPARE_CELLS = 2
"""Cells that a fit has beyond its coefficients, so that its error says something."""

_LARGEST_PROBE = 4
"""Cells measured for a law alone may have this many times the peak of the largest that the sweep measured."""

RECOMPUTED = f"with a policy other than {NONE}, what is kept changes with depth in steps, not in proportion"
PACKED_SIZE = "packed allocation places the arrays by a search, and the size that it finds follows no line"
BLAS_THREADS = "with more than one thread BLAS takes memory of its own, which no prediction has"
WIDTHS = "where each layer has a width of its own there is no further layer to speak of"
NO_HEAP = "heap peaks were not measured"
TOO_FEW = "it takes at least two measured cells with a hidden layer"
MOVING = "the peak moves from step to step of the iteration, so that no line holds for most of the cells"
SMALL = "the peaks are so small that what numpy needs for itself puts them off every line by more than 0.1 %"
UNCHECKED = "the further cells that it takes to check one could not be measured"


@dataclass(frozen=True)
class Law:
    """A fitted law with the cells that it rests on and the range in which it was found to hold."""

    mode: Mode
    depths: tuple[int, int]
    batches: tuple[int, int]
    """The least and the largest for which it is stated."""
    base_bytes: float
    layer_bytes: float
    example_bytes: float
    layer_example_bytes: float
    largest_error: float
    """The largest relative error over the cells."""
    hold_out_error: float
    """The same, each cell by the law that is fitted to all others."""
    unseen_error: float
    """The largest relative error at cells of the range that nobody measured, all as predicted."""
    unseen_count: int
    cells: tuple[Cell, ...]
    probes: tuple[Cell, ...]
    """Those of ``cells`` that the sweep did not ask for and that were measured for the law."""
    others: tuple[Cell, ...]
    """Measured cells of the sweep that the law is not for."""

    @property
    def cell(self) -> Cell:
        """One that stands for all but for depth and batch."""
        return self.cells[0]

    def peak_bytes(self, depth: float, batch: float) -> float:
        """What the law says of a cell within its range."""
        return (
            self.base_bytes
            + self.layer_bytes * depth
            + self.example_bytes * batch
            + self.layer_example_bytes * depth * batch
        )


@dataclass(frozen=True)
class NoLaw:
    """Why no law is stated for cells that differ from ``cell`` in depth and batch only."""

    mode: Mode
    cell: Cell
    reason: str


Verdict = Law | NoLaw


def fit_laws(rows: Sequence[Row], heap: HeapMeter) -> list[Verdict]:
    """A law, or the reason why there is none, for each mode and each group of cells.

    The cells of a group differ in depth and batch only; of a single cell nothing is said. A law holds for
    most of the cells of its group. A regime with too few cells for a fit that can be checked is completed
    by a few more, measured with ``heap``.
    """
    groups: dict[tuple[Mode, Cell], list[Row]] = defaultdict(list)
    for row in rows:
        depth = 0 if isinstance(row.cell.width, int) else row.cell.depth
        groups[row.mode, replace(row.cell, depth=depth, batch=row.cell.accumulate)].append(row)
    return [
        _judge(mode, group, heap)
        for (mode, _), group in groups.items()
        if len({(row.cell.depth, row.cell.batch) for row in group}) > 1
    ]


def _judge(mode: Mode, rows: list[Row], heap: HeapMeter) -> Verdict:
    cell = rows[0].cell
    reason = _no_line(mode, cell)
    if reason is not None:
        return NoLaw(mode, cell, reason)
    measured = {
        (row.cell.depth, row.cell.batch): row.figures.heap_peak_bytes
        for row in rows
        if row.figures.heap_peak_bytes is not None
    }
    layered = {pair: peak for pair, peak in measured.items() if pair[0]}  # depth 0 is another network
    if not measured or len(layered) < 2:
        return NoLaw(mode, cell, TOO_FEW if measured else NO_HEAP)
    group = _Group(mode, cell, layered)
    reason = MOVING
    for regime, count in group.regimes():
        if 2 * count <= len(measured):
            break
        fitted = group.fitted(regime, heap)
        if fitted is None:
            reason = UNCHECKED
            continue
        if max(fitted.largest_error, fitted.hold_out_error, fitted.unseen_error) <= MOST_ERROR:
            covered = set(fitted.cells)
            others = tuple(row.cell for row in rows if (row.cell.depth, row.cell.batch) in measured)
            return replace(fitted, others=tuple(other for other in others if other not in covered))
        reason = SMALL
    return NoLaw(mode, cell, reason)


def _no_line(mode: Mode, cell: Cell) -> str | None:
    """Why the peaks of such cells are linear in nothing; ``None`` where they may be."""
    if not isinstance(cell.width, int):
        return WIDTHS
    if mode is Mode.TRAIN and cell.policy != NONE:
        return RECOMPUTED
    if cell.allocation_for(timing=False) == PACKED:
        return PACKED_SIZE
    return BLAS_THREADS if cell.threads > 1 else None


class _Group:
    """Cells that differ in depth and batch only: heap peaks of some, predictions of these and more."""

    def __init__(self, mode: Mode, cell: Cell, heap_bytes: dict[Pair, int]) -> None:
        self._mode = mode
        self._cell = cell
        self._heap_bytes = heap_bytes
        self._depths = [d for d in tried(depth for depth, _ in heap_bytes) if d <= MOST_DEPTH]
        self._batches = tried((batch for _, batch in heap_bytes), cell.accumulate)
        pairs = product(self._depths, self._batches)
        self._predicted_bytes = {pair: self._predicted(pair) for pair in pairs}

    def regimes(self) -> list[tuple[Regime, int]]:
        """Regimes, each with the number of measured cells in it: most cells first, then the widest."""
        found = regimes(self._depths, self._batches, self._predicted_bytes)
        counted = [(regime, sum(pair in regime for pair in self._heap_bytes)) for regime in found]
        return sorted(counted, key=lambda item: (item[1], len(item[0].pairs)), reverse=True)

    def fitted(self, regime: Regime, heap: HeapMeter) -> Law | None:
        """The law of a regime, with its errors; ``None`` where cells that it needs cannot be measured."""
        known = {pair: peak for pair, peak in self._heap_bytes.items() if pair in regime}
        probes = self._probes(regime, list(known))
        for pair in probes:
            peak = heap(self._plain(pair), self._mode)
            if peak is None:
                return None
            known[pair] = peak
        pairs = list(known)
        if not _checkable(pairs):
            return None
        terms, peaks = _terms(pairs), np.array(list(known.values()), float)
        coefficients = _line(terms, peaks)
        unseen = [pair for pair in regime.pairs if pair not in known]
        base, per_layer, per_example, per_layer_and_example = coefficients.tolist()
        return Law(
            mode=self._mode,
            depths=(regime.depths[0], regime.depths[-1]),
            batches=(regime.batches[0], regime.batches[-1]),
            base_bytes=base,
            layer_bytes=per_layer,
            example_bytes=per_example,
            layer_example_bytes=per_layer_and_example,
            largest_error=_largest(terms @ coefficients - peaks, peaks),
            hold_out_error=_hold_out_error(terms, peaks),
            unseen_error=self._unseen_error(pairs, unseen),
            unseen_count=len(unseen),
            cells=tuple(self._at(pair) for pair in pairs),
            probes=tuple(self._at(pair) for pair in probes),
            others=(),
        )

    def _probes(self, regime: Regime, pairs: list[Pair]) -> list[Pair]:
        """The smallest cells that make a checkable fit of one to the cells ``pairs`` of a regime."""
        most = _LARGEST_PROBE * max(self._predicted_bytes[pair] for pair in pairs)
        further = [p for p in regime.pairs if p not in pairs and self._predicted_bytes[p] <= most]
        probes: list[Pair] = []
        for pair in sorted(further, key=lambda pair: self._predicted_bytes[pair]):
            if _checkable([*pairs, *probes]):
                break
            probes.append(pair)
        return probes

    def _unseen_error(self, pairs: Sequence[Pair], unseen: Sequence[Pair]) -> float:
        """The largest relative error at ``unseen`` of the line through the predictions of ``pairs``."""
        line = _line(_terms(pairs), self._predictions(pairs))
        predictions = self._predictions(unseen)
        return _largest(_terms(unseen) @ line - predictions, predictions)

    def _predictions(self, pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
        return np.array([self._predicted_bytes[pair] for pair in pairs], float)

    def _predicted(self, pair: Pair) -> int:
        return predicted_row(self._plain(pair), self._mode).figures.predicted_peak_bytes or 0

    def _plain(self, pair: Pair) -> Cell:
        """The cell without its policy: for inference it changes nothing, but a budget may be too small."""
        return replace(self._at(pair), policy=NONE)

    def _at(self, pair: Pair) -> Cell:
        return replace(self._cell, depth=pair[0], batch=pair[1])


def _terms(pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
    """What the coefficients of the law multiply, a row for each pair: 1, L, B, L·B."""
    return np.array([(1, L, B, L * B) for L, B in pairs], float).reshape(-1, _TERM_COUNT)


def _line(terms: npt.NDArray[Any], peaks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = np.linalg.lstsq(terms, peaks, rcond=None)[0]
    return found


def _hold_out_error(terms: npt.NDArray[Any], peaks: npt.NDArray[Any]) -> float:
    """The largest relative error at a cell of the line that is fitted to all others."""
    off = [
        terms[i] @ _line(np.delete(terms, i, axis=0), np.delete(peaks, i)) - peaks[i]
        for i in range(len(peaks))
    ]
    return _largest(np.array(off), peaks)


def _largest(off: npt.NDArray[Any], of: npt.NDArray[Any]) -> float:
    return float(np.max(np.abs(off) / of, initial=0))


def _checkable(pairs: Sequence[Pair]) -> bool:
    """Whether a law can be fitted with cells to spare, and still without any one of them."""
    if len(pairs) < _TERM_COUNT + SPARE_CELLS:
        return False
    terms = _terms(pairs)
    terms /= terms.max(axis=0)
    return all(np.linalg.matrix_rank(np.delete(terms, i, axis=0)) == _TERM_COUNT for i in range(len(pairs)))
