"""Where each value of a schedule lies in one arena, so that an iteration allocates nothing.

Buffers that live at the same step must not overlap, and the arena should be no larger than the most
bytes that live at any step (dynamic storage allocation; NP-hard). The largest buffer is placed first, each
into the smallest gap that holds it (Pisarchyk & Lee 2020, "Efficient memory management for deep neural
net inference", greedy by size for offset calculation). Where that leaves the arena larger than it must
be, two other orders are tried, and then a local search over orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.plan.schedule import Schedule

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector of a CPU."""

_SEARCH_PLACEMENTS = 60_000
"""Buffers that the local search may place, over all its attempts: about a second."""

_MOST_ATTEMPTS = 300


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes that are taken from ``first_step`` to ``last_step``, both included."""

    nbytes: int
    first_step: int
    last_step: int

    @property
    def step_count(self) -> int:
        """The steps at which it lives."""
        return self.last_step + 1 - self.first_step


@dataclass(frozen=True)
class Packing:
    """The arena of a schedule: all but its leaves, which live between iterations too."""

    value_offsets: dict[int, int]
    """By step, of each value that has bytes of its own; handed-on buffers keep their place."""
    work_offsets: tuple[tuple[int, ...], ...]
    """For each step, of each array of its workspace."""
    arena_bytes: int
    least_bytes: int
    """The most (aligned) bytes that live at any step: no packing is smaller."""


def pack(schedule: Schedule) -> Packing:
    """Lay the values and workspaces of ``schedule`` into one arena; every offset is aligned."""
    buffers, value_buffers, work_buffers = _buffers(schedule)
    offsets, arena_bytes = place(buffers)
    return Packing(
        {place: offsets[i] for place, i in value_buffers.items()},
        tuple(tuple(offsets[i] for i in of_step) for of_step in work_buffers),
        arena_bytes,
        max(_live_bytes(buffers)),
    )


def place(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """An offset for each buffer, none overlapping another that lives at the same step; and the end."""
    live = _live_bytes(buffers)
    least = max(live)
    peak_step = live.index(least)

    def at_peak(buffer: Buffer) -> bool:
        return buffer.first_step <= peak_step <= buffer.last_step

    def by_size(buffer: Buffer) -> tuple[int, ...]:
        return -buffer.nbytes, buffer.first_step

    def by_area(buffer: Buffer) -> tuple[int, ...]:
        return -buffer.nbytes * buffer.step_count, buffer.first_step

    def peak_first(buffer: Buffer) -> tuple[int, ...]:
        return not at_peak(buffer), -buffer.step_count, -buffer.nbytes

    tried = []
    for rank in (by_size, by_area, peak_first):
        order = sorted(range(len(buffers)), key=lambda i: rank(buffers[i]))
        offsets, end = _place_in(order, buffers)
        if end == least:
            return offsets, end
        tried.append((end, order, offsets))
    return _improved(*min(tried), buffers, least)


def _improved(
    end: int, order: list[int], offsets: list[int], buffers: Sequence[Buffer], least: int
) -> tuple[list[int], int]:
    """Local search: what ends beyond the least twice as urgent, place all again; the best is kept."""
    random = Random(0)
    urgency = [float(buffer.nbytes) for buffer in buffers]
    best, best_end = offsets, end
    for _ in range(min(_MOST_ATTEMPTS, _SEARCH_PLACEMENTS // max(1, len(buffers)))):
        for i in order:
            if offsets[i] + aligned(buffers[i].nbytes) > least:
                urgency[i] *= 2
        ranks = [-weight * random.uniform(1, 1.3) for weight in urgency]
        order = sorted(order, key=ranks.__getitem__)
        offsets, end = _place_in(order, buffers)
        if end < best_end:
            best, best_end = offsets, end
        if end == least:
            break
    return best, best_end


def _live_bytes(buffers: Sequence[Buffer]) -> list[int]:
    """Aligned bytes that live at each step, at least one figure."""
    change = [0] * (max((buffer.last_step for buffer in buffers), default=0) + 2)
    for buffer in buffers:
        change[buffer.first_step] += aligned(buffer.nbytes)
        change[buffer.last_step + 1] -= aligned(buffer.nbytes)
    return list(accumulate(change))


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up to whole cache lines."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _buffers(schedule: Schedule) -> tuple[list[Buffer], dict[int, int], list[list[int]]]:
    """The buffers of a schedule, which of them the value of each step has, and which its workspace."""
    graph, steps = schedule.graph, schedule.steps
    sizes: list[int] = []
    spans: list[tuple[int, int]] = []
    value_buffers: dict[int, int] = {}
    buffer_now: dict[int, int] = {}  # by node: of the value that is there
    work_buffers: list[list[int]] = []

    def new(nbytes: int, first: int, last: int) -> int:
        sizes.append(nbytes)
        spans.append((first, last))
        return len(sizes) - 1

    for here, step in enumerate(steps):
        node = graph[step.node]
        if node.owns_storage:
            if step.reuse is not None:
                buffer = buffer_now[step.reuse]
            else:
                buffer = new(node.nbytes, here, len(steps) - 1)
            buffer_now[node.id] = value_buffers[here] = buffer
        wanted = node.op.workspace(*[graph[i] for i in node.inputs])
        work_buffers.append([new(count * dtype.itemsize, here, here) for count, dtype in wanted])
        for freed in step.frees:
            if freed in buffer_now:  # not a view
                buffer = buffer_now[freed]
                spans[buffer] = (spans[buffer][0], here)
    buffers = [Buffer(nbytes, *span) for nbytes, span in zip(sizes, spans, strict=True)]
    return buffers, value_buffers, work_buffers


def _place_in(order: Sequence[int], buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """Place buffers one after the other, each into the smallest gap that holds it, else at the end."""
    offsets = [0] * len(buffers)
    # What is placed, by offset: a row each of first step, last step, offset, end. Arenas that no machine
    # has are counted in Python's integers.
    whole = sum(aligned(buffer.nbytes) for buffer in buffers)
    placed = np.empty((4, len(buffers)), np.int64 if whole < 2**62 else object)
    for count, i in enumerate(order):
        buffer, size = buffers[i], aligned(buffers[i].nbytes)
        first, last, starts, ends = placed[:, :count]
        beside = np.flatnonzero((first <= buffer.last_step) & (last >= buffer.first_step))
        offset = _smallest_gap(starts[beside], ends[beside], size)
        row = int(starts.searchsorted(offset))
        placed[:, row + 1 : count + 1] = placed[:, row:count]
        placed[:, row] = buffer.first_step, buffer.last_step, offset, offset + size
        offsets[i] = offset
    return offsets, max((offsets[i] + aligned(buffers[i].nbytes) for i in order), default=0)


def _smallest_gap(starts: Array, ends: Array, size: int) -> int:
    """The start of the smallest gap of at least ``size`` between intervals, or where the last one ends."""
    if not len(starts):
        return 0
    reached = np.maximum.accumulate(ends)
    before = np.concatenate((np.zeros_like(reached[:1]), reached[:-1]))
    gaps = starts - before
    fitting = np.flatnonzero(gaps >= size)
    if not len(fitting):
        return int(reached[-1])
    return int(before[fitting[gaps[fitting].argmin()]])
