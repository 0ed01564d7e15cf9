"""The cheapest plan for a chain within a number of bytes: dynamic programming over segments.

Beaumont, Eyraud-Dubois, Herrmann, Joly & Shilova 2019, "Optimal checkpointing for heterogeneous chains: how
to train deep neural networks with limited memory", §4. Values that are live outside of the chain, such as
gradients before their update, are added to each stage. The result is the best of all *memory-persistent*
plans: in such a plan, a kept value stays until its backward. A plan that drops a kept value and computes the
value again can be even cheaper (ibid. §3.3).

The input of a segment of stages is kept while the segment runs. There are two ways to run a segment. Either
run ahead to stage j, checkpoint the input of j, solve j…last and then first…j−1. Or keep the first stage
whole and solve the rest. The least cost of a segment is a step function of the bytes that are free for it.
The function is tabulated at levels: the numbers of bytes that can be left of the budget after values are
kept. The table is exact unless there are too many levels. In this case it has fewer levels, and the bytes of
each value are rounded up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from math import inf

import numpy as np
import numpy.typing as npt

from memtrain.planning.remat.checkpoints import Moves
from memtrain.planning.remat.needs import advance_peaks, segment_moves, single_needs
from memtrain.planning.remat.stage import Stage

MOST_ENTRIES = 2**24
"""The most entries of a table, which bounds the number of levels. There are two tables of 128 MiB at most."""

Floats = npt.NDArray[np.float64]


class Table:
    """The least cost of every segment at every level of free bytes, for one budget."""

    def __init__(self, stages: Sequence[Stage], budget_bytes: int) -> None:
        self._stages, self._budget = stages, budget_bytes
        n = self._n = len(stages)
        self._output = np.array([stage.output_bytes for stage in stages])
        self._input = np.concatenate(([0], self._output[:-1]))
        self._inner = np.array([stage.inner_bytes for stage in stages])
        self._standing = np.array([stage.standing_bytes for stage in stages])
        self._backward = np.array([stage.backward_peak_bytes for stage in stages])
        self._taped = np.array([stage.taped_peak_bytes for stage in stages])
        self._single_needs = single_needs(stages)
        self._advance = advance_peaks(stages)
        self._costs = np.concatenate(([0.0], np.cumsum([stage.cost for stage in stages])))
        floor = int(self._single_needs.min())
        most = MOST_ENTRIES // n**2
        levels = _levels(stages, budget_bytes, floor, most)
        self.exact = levels is not None
        """Whether the bytes of values are not rounded, so that no plan is cheaper than that of the table."""
        self._levels = _rounded_levels(budget_bytes, floor, most) if levels is None else levels
        # _cost has the index [last − first stage, first stage, level]. _beside has the same costs for the
        # bytes that are left of a level after the input of the segment is kept. _first has the first possible
        # level of either.
        self._cost = np.full((n, n, len(self._levels)), inf)
        self._beside = np.full((n, n, len(self._levels)), inf)
        self._first = np.full((2, n, n), len(self._levels))
        self._shift = np.searchsorted(self._levels, self._levels - self._input[:, None], "right") - 1
        for more in range(n):
            self._fill(more)

    def _fill(self, more: int) -> None:
        """Compute the costs of all segments of ``more`` + 1 stages from those of shorter segments."""
        n, levels = self._n, self._levels
        count = n - more
        best = self._cost[more, :count]
        if not more:
            best[:] = np.array([stage.again_cost for stage in self._stages])[:, None]
            best[-1] = self._stages[-1].cost
            best[levels < self._single_needs[:, None]] = inf
        for ahead in range(1, more + 1):
            cost = self._beside[more - ahead, ahead : ahead + count] + self._cost[ahead - 1, :count]
            cost += (self._costs[ahead : ahead + count] - self._costs[:count])[:, None]
            needs = self._standing[more:] + self._advance[:count, ahead]
            possible = np.maximum(
                self._first[1, more - ahead, ahead : ahead + count], self._first[0, ahead - 1, :count]
            )
            self._forbid(cost, needs, possible)
            np.minimum(best, cost, out=best)
        if more:
            for first in map(int, np.flatnonzero(self._inner[:count])):
                np.minimum(best[first], self._whole(first, more, self._levels), out=best[first])
        shift = self._shift[:count]
        self._beside[more, :count] = np.where(shift >= 0, np.take_along_axis(best, shift, axis=1), inf)
        for kind, table in enumerate((self._cost, self._beside)):
            self._first[kind, more, :count] = np.isinf(table[more, :count]).sum(axis=1)

    def _forbid(self, cost: Floats, needs: npt.NDArray[np.int64], possible: npt.NDArray[np.int64]) -> None:
        """Make ``cost`` infinite at levels below ``needs``. Below ``possible`` it is infinite already."""
        lowest = np.searchsorted(self._levels, needs)
        for row in np.flatnonzero(lowest > possible):
            cost[row, : lowest[row]] = inf

    def _whole(self, first: int, more: int, free: npt.NDArray[np.int64]) -> Floats:
        """For each number of ``free`` bytes, the cost of a segment that keeps its first stage whole."""
        last = first + more
        left = free - self._output[first] - self._inner[first]
        level = np.searchsorted(self._levels, left, "right") - 1
        cost = np.where(level >= 0, self._cost[more - 1, first + 1][level], inf) + self._stages[first].cost
        need = max(self._standing[last] + self._taped[first], self._backward[first])
        return np.where(free >= need, cost, inf)

    def moves(self) -> Moves | None:
        """The plan of least cost; ``None`` if every plan holds more than the budget.

        The free bytes of each segment of the plan are exact, not rounded to levels.
        """
        if not np.isfinite(self._cost[-1, 0, -1]):
            return None
        return segment_moves(self._stages, self._budget, self._best_advance)

    def _best_advance(self, first: int, last: int, free: int) -> int:
        """The number of stages to run ahead in a segment; 0 means to keep its first stage whole."""
        more = last - first
        level = bisect_right(self._levels, free) - 1
        ahead = np.arange(1, more + 1)
        left = np.searchsorted(self._levels, free - self._output[first:last], "right") - 1
        cost = np.where(left >= 0, self._cost[more - ahead, first + ahead, left], inf)
        cost += self._cost[ahead - 1, first, level] + self._costs[first + ahead] - self._costs[first]
        cost[free < self._standing[last] + self._advance[first, 1 : more + 1]] = inf
        best = int(cost.argmin())
        if self._inner[first] and self._whole(first, more, np.array([free]))[0] <= cost[best]:
            return 0
        return best + 1


def _levels(stages: Sequence[Stage], budget: int, floor: int, most: int) -> npt.NDArray[np.int64] | None:
    """The levels: bytes ≥ ``floor`` that kept values can leave of ``budget``; ``None`` if above ``most``."""
    sizes = Counter([*(s.output_bytes for s in stages[:-1]), *(s.inner_bytes for s in stages)])
    levels = np.array([budget])
    for size in sorted(sizes - Counter({0: sizes[0]}), reverse=True):
        most_kept = min(sizes[size], max(0, (budget - floor) // size))
        levels = np.unique(np.subtract.outer(levels, size * np.arange(most_kept + 1)))
        levels = levels[levels >= min(floor, budget)]
        if len(levels) > most:
            return None
    return levels


def _rounded_levels(budget: int, floor: int, most: int) -> npt.NDArray[np.int64]:
    """``most`` levels at equal distances from ``floor`` to ``budget``."""
    return np.linspace(min(floor, budget), budget, most).astype(np.int64)
