"""The smallest memory in which each segment of a chain can run, ignoring the cost of recomputation.

The recursion is that of `memtrain.planning.remat.budget`, with bytes instead of costs. So each segment has
one number, which does not depend on the budget. The number of the whole chain is the smallest budget of any
memory-persistent plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from memtrain.planning.remat.checkpoints import Move, Moves
from memtrain.planning.remat.stage import Stage

Bytes = npt.NDArray[np.int64]


class Needs:
    """The least bytes of every segment. Its input is kept, but not counted. Computed in O(n³) steps."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages, n = stages, len(stages)
        self._output = np.array([stage.output_bytes for stage in stages])
        self._inner = np.array([stage.inner_bytes for stage in stages])
        self._standing = np.array([stage.standing_bytes for stage in stages])
        self._taped = np.array([stage.taped_peak_bytes for stage in stages])
        self._backward = np.array([stage.backward_peak_bytes for stage in stages])
        self._advance = advance_peaks(stages)
        self._by_start = np.zeros((n, n), np.int64)  # [first stage, last − first stage]
        self._by_stop = np.zeros((n, n), np.int64)  # [last stage, last − first stage]
        self._by_start[:, 0] = self._by_stop[:, 0] = single_needs(stages)
        for more in range(1, n):
            first = np.arange(n - more)
            need = np.minimum(self._advancing(first, more).min(axis=1), self._whole(first, more))
            self._by_start[: n - more, more] = self._by_stop[more:, more] = need

    @property
    def least_bytes(self) -> int:
        """The least bytes of the whole chain."""
        return int(self._by_start[0, -1])

    def _advancing(self, first: Bytes, more: int) -> Bytes:
        """The bytes that segments need if they first run ahead: [segment, stages to run ahead − 1].

        The segments begin at the stages ``first`` and have ``more`` + 1 stages.
        """
        rows = slice(first[0], first[-1] + 1)
        last = slice(first[0] + more, first[-1] + more + 1)
        right = self._by_stop[last, more - 1 :: -1]
        kept = np.lib.stride_tricks.sliding_window_view(self._output, more)[rows]
        need: Bytes = np.maximum(right + kept, self._by_start[rows, :more])
        np.maximum(need, self._standing[last, None] + self._advance[rows, 1 : more + 1], out=need)
        return need

    def _whole(self, first: Bytes, more: int) -> Bytes:
        """For each segment, the bytes that it needs if its first stage is kept whole."""
        rest = self._by_start[first + 1, more - 1] + self._output[first] + self._inner[first]
        own = np.maximum(self._standing[first + more] + self._taped[first], self._backward[first])
        need: Bytes = np.maximum(rest, own)
        return need

    def moves(self, budget_bytes: int) -> Moves | None:
        """A plan within the budget that cuts each segment as near to its middle as possible; or ``None``."""
        if self.least_bytes > budget_bytes:
            return None
        return segment_moves(self._stages, budget_bytes, self._middle_advance)

    def _middle_advance(self, first: int, last: int, free: int) -> int:
        """The number of stages to run ahead, near half of the segment; 0 means to keep the first whole."""
        more = last - first
        possible = np.flatnonzero(self._advancing(np.array([first]), more)[0] <= free) + 1
        if not len(possible):
            return 0
        return int(possible[np.abs(possible - (more + 1) / 2).argmin()])


def segment_moves(
    stages: Sequence[Stage], budget_bytes: int, advance: Callable[[int, int, int], int]
) -> Moves:
    """The plan of a chain that ``advance`` decides, segment by segment.

    ``advance(first, last, free_bytes)`` is the number of stages to run ahead in the segment first…last; 0
    means to keep its first stage whole.
    """
    moves: list[Move] = []
    pending: list[tuple[int, int, int] | Move] = [(0, len(stages) - 1, budget_bytes)]
    while pending:
        task = pending.pop()
        if isinstance(task, Move):
            moves.append(task)
            continue
        first, last, free = task
        if first == last:
            moves += [Move(first), Move(first, backward=True)]
        elif ahead := advance(first, last, free):
            moves += map(Move, range(first, first + ahead))
            pending.append((first, first + ahead - 1, free))
            pending.append((first + ahead, last, free - stages[first + ahead - 1].output_bytes))
        else:
            moves.append(Move(first))
            pending.append(Move(first, backward=True))
            left = free - stages[first].output_bytes - stages[first].inner_bytes
            pending.append((first + 1, last, left))
    return tuple(moves)


def needs_of(stages: Sequence[Stage]) -> Needs:
    """The `Needs` of ``stages``. The latest result is cached, and costs are no part of its key."""
    return _needs(tuple(replace(stage, cost=0, again_cost=0) for stage in stages))


_needs = lru_cache(maxsize=1)(Needs)


def single_needs(stages: Sequence[Stage]) -> Bytes:
    """For each stage, the bytes that its backward needs, including the recomputation before it."""
    forward = [stage.again_peak_bytes for stage in stages[:-1]] + [stages[-1].taped_peak_bytes]
    return np.array(
        [
            max(stage.backward_peak_bytes, stage.standing_bytes + peak)
            for stage, peak in zip(stages, forward, strict=True)
        ]
    )


def advance_peaks(stages: Sequence[Stage]) -> Bytes:
    """[first stage, count]: the most bytes that running ahead over the stages adds to the live bytes."""
    n = len(stages)
    found = np.zeros((n, n + 1), np.int64)
    dropped = np.array([stage.dropped_peak_bytes for stage in stages])
    found[:, 1] = [stage.kept_peak_bytes for stage in stages]
    for ahead in range(2, n + 1):
        rows = n + 1 - ahead
        found[:rows, ahead] = np.maximum(found[:rows, ahead - 1], dropped[ahead - 1 :])
    return found
