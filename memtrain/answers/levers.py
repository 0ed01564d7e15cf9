"""Levers: settings with which a cell holds less, and their combinations that fit into a memory.

The levers are the update (eager; in PyTorch a fused optimiser), the optimiser (sgd), micro-batches, the dtype
(float32), and a plan of rematerialisation in addition, which is not made for PyTorch. Eager updates and plans
change no bit of the result; micro-batches and a fused optimiser change its rounding. Another optimiser or
dtype changes the training itself, so these two are tried last.

Peaks are predicted. From three micro-batches on, the middle ones are equal. So the peak of a thousand
micro-batches is the peak of three with the same number of rows each, plus the input bytes of the other rows.
With more micro-batches each has fewer rows, so the peak only falls. The smallest number that fits is found
by bisection.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from memtrain.answers.largest import largest_within
from memtrain.answers.lever_peaks import ALIKE, Peaks
from memtrain.answers.option import Option
from memtrain.cells.cell import Cell
from memtrain.cells.engine import NUMPY
from memtrain.planning.remat.policy import BUDGET, Policy
from memtrain.training.iteration import EAGER

MOST_MICRO_BATCHES, MOST_LAYERS = 1024, 16_384
"""The most micro-batches that are tried, and the most layers of all together. More take minutes to build."""

WORTHWHILE = 0.05
"""If micro-batches alone cost at most this share of extra time, no plan is searched for."""


# -- levers -------------------------------------------------------------------------------------------


def most_accumulate(cell: Cell) -> int:
    """The most micro-batches that are tried for ``cell``."""
    return max(1, min(cell.batch, MOST_MICRO_BATCHES, MOST_LAYERS // (cell.network.depth + 1)))


def _counts(cell: Cell) -> list[int]:
    """The numbers of micro-batches that are tried: the divisors of the batch, in rising order."""
    return [count for count in range(1, most_accumulate(cell) + 1) if cell.batch % count == 0]


def _updates(cell: Cell) -> list[Cell]:
    """``cell``, and ``cell`` with updates that need less memory."""
    return list(dict.fromkeys([cell, _leaner_update(cell)]))


def _leaner_update(cell: Cell) -> Cell:
    """``cell`` with eager updates, or in PyTorch with an optimiser that needs no temporaries."""
    if cell.engine == NUMPY:
        return cell.changed(update=EAGER)
    return cell.changed(fused=True, foreach=False)


def _tiers(cell: Cell) -> list[list[Cell]]:
    """Lists of cells: ``cell``; then ``cell`` with another optimiser or dtype; then with both."""
    sgd, single = cell.changed(optimizer="sgd"), cell.changed(dtype="float32")
    if cell in (sgd, single):  # there is at most one other cell
        return [[one] for one in dict.fromkeys([cell, sgd, single])]
    return [[cell], [sgd, single], [sgd.changed(dtype="float32")]]


def _fewest(counts: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """The first of the rising ``counts`` that fits; ``None`` if none does.

    From ``ALIKE`` on, if a count fits, all larger counts fit, too.
    """
    few = bisect_left(counts, ALIKE)
    for count in counts[:few]:
        if fits(count):
            return count
    found = bisect_left(counts, True, lo=few, key=fits)
    return counts[found] if found < len(counts) else None


def single_levers(cell: Cell, memory_bytes: int | None, peaks: Peaks) -> Iterator[Cell]:
    """The cells that differ from ``cell`` in one lever.

    For micro-batches this is the smallest number that fits into the memory, or without a memory the smallest
    that holds less than ``cell``. If no number fits, it is the smallest that fits with a plan in addition. If
    there is none either, it is the smallest that holds less than ``cell``, or else the largest number.
    """
    less = peaks.kept_bytes(cell) - 1
    wanted = less if memory_bytes is None else min(memory_bytes, less)
    if _leaner_update(cell) != cell:
        yield _leaner_update(cell)
    if cell.optimizer != "sgd":
        yield cell.changed(optimizer="sgd")
    counts = [count for count in _counts(cell) if count > cell.accumulate]
    if counts:
        at = {count: cell.changed(accumulate=count) for count in counts}
        count = _fewest(counts, lambda count: peaks.fits(at[count], wanted))
        if count is None:
            count = _fewest(counts, lambda count: peaks.has_plan(at[count], wanted))
        if count is None:
            count = _fewest(counts, lambda count: peaks.fits(at[count], less))
        yield at[count or counts[-1]]
    if cell["dtype"] != "float32":
        yield cell.changed(dtype="float32")


# -- combinations that fit ----------------------------------------------------------------------------


def combinations(
    cell: Cell, memory_bytes: int, peaks: Peaks, option: Callable[[Cell], Option]
) -> Iterator[list[Option]]:
    """Lists of combinations of levers that fit into a memory. Later lists change more of the training.

    All combinations of one list change the training equally; ``option`` makes each from its cell. A list has
    the smallest number of micro-batches that fits without a plan. If this costs more than `WORTHWHILE`, the
    list also has plans for smaller numbers, as long as more micro-batches make a plan cheaper.
    """
    for tier in _tiers(cell):
        yield [way for one in tier for way in _ways(one, memory_bytes, peaks, option)]


def _ways(cell: Cell, memory_bytes: int, peaks: Peaks, option: Callable[[Cell], Option]) -> Iterator[Option]:
    counts = _counts(cell)
    at = {count: _updates(cell.changed(accumulate=count)) for count in counts}

    def kept(count: int) -> Iterator[Cell]:
        return (one for one in at[count] if peaks.fits(one, memory_bytes))

    def planned(count: int) -> Iterator[Cell]:
        return (one for one in at[count] if peaks.has_plan(one, memory_bytes))

    enough = _fewest(counts, lambda count: any(True for _ in kept(count)))
    if enough is not None:
        way = option(next(kept(enough)))
        yield way
        if way.predicted_extra <= WORTHWHILE:
            return
        counts = counts[: counts.index(enough)]
    first = _fewest(counts, lambda count: any(True for _ in planned(count)))
    if first is None:
        return
    cheapest = float("inf")
    for count in counts[counts.index(first) :]:
        # With micro-batches, all sums of gradients are live with either update: eager changes little.
        cells = islice(planned(count), None if count == 1 else 1)
        found = [option(one.changed(policy=str(Policy(BUDGET, memory_bytes)))) for one in cells]
        yield from found
        extra = min((way.predicted_extra for way in found), default=cheapest)
        if extra > cheapest:
            return
        cheapest = extra


# -- the least memory, and the largest batch ----------------------------------------------------------


def _smallest(cell: Cell, peaks: Peaks, most: float) -> float:
    """The least bytes that ``cell`` needs with its number of micro-batches and any other levers.

    If they surely exceed ``most``, the result is some number above ``most``, which is found much faster.
    """
    least = float("inf")
    for one in reversed(_updates(_tiers(cell)[-1][0])):
        standing = peaks.standing_bytes(one)
        least = min(least, standing if standing > min(least, most) else peaks.least_bytes(one))
    return least


def least_of_all(cell: Cell, peaks: Peaks) -> int:
    """The least memory that any combination of levers needs for the batch of ``cell``."""
    counts, least = _counts(cell), float("inf")
    for count in dict.fromkeys([*counts[:2], counts[-1]]):
        least = min(least, _smallest(cell.changed(accumulate=count), peaks, least))
    return int(least)


def largest_batch(cell: Cell, memory_bytes: int, peaks: Peaks) -> int | None:
    """The largest batch, up to that of ``cell``, that fits into a memory with any combination of levers.

    It is trained whole, as two micro-batches, or as micro-batches of one example. No other number of
    micro-batches holds less than the best of these.
    """

    def least(batch: int, count: int) -> int:
        return int(_smallest(cell.changed(batch=batch, accumulate=count), peaks, memory_bytes))

    def largest(peak_bytes: Callable[[int], int], most: int) -> int:
        return largest_within(peak_bytes, memory_bytes, 1, most) or 0

    whole = largest(lambda batch: least(batch, 1), cell.batch)
    if not whole:
        return None
    halved = 2 * largest(lambda rows: least(2 * rows, 2), max(1, cell.batch // 2))
    single = largest(lambda batch: least(batch, batch), most_accumulate(cell))
    return max(whole, halved, single)
