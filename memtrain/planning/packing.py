"""The offset of each value of a schedule in one arena, so that an iteration allocates nothing.

Buffers that live at the same step must not overlap, and the arena should be no larger than the most bytes
that live at any step (dynamic storage allocation; NP-hard). The largest buffer gets its offset first, and
each buffer the smallest gap that holds it (Pisarchyk & Lee 2020, "Efficient memory management for deep neural
net inference", greedy by size for offset calculation). If the arena is then larger than necessary, two other
orders are tried, and after these a local search over orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.planning.occupancy import Occupancy, bytes_by_step

ALIGNMENT = 64
"""Bytes of a cache line, which is also the widest vector of a CPU."""

_SEARCH_OFFSETS = 60_000
"""Offsets that all attempts of the local search may assign together, in about a second."""

_MOST_ATTEMPTS = 300


class Buffer(NamedTuple):
    """Bytes that are occupied from ``first_step`` to ``last_step``, both included."""

    nbytes: int
    first_step: int
    last_step: int

    @property
    def step_count(self) -> int:
        """The number of steps at which the buffer is occupied."""
        return self.last_step + 1 - self.first_step


@dataclass(frozen=True)
class Packing:
    """The arena of a schedule. It holds all values except leaves, which also live between iterations."""

    value_offsets: dict[int, int]
    """By the step that computes a value: its offset, if the value has bytes of its own.

    A value that takes over a buffer has the offset of the buffer's earlier value.
    """
    work_offsets: tuple[tuple[int, ...], ...]
    """For each step, the offset of each array of its workspace."""
    arena_bytes: int
    least_bytes: int
    """The most (aligned) bytes that live at any step: no packing is smaller."""


def pack(occupancy: Occupancy) -> Packing:
    """The packing of the values and workspaces of a schedule into one arena. Every offset is aligned."""
    buffers, value_buffers, work_buffers = _buffers(occupancy)
    offsets, arena_bytes = assign_offsets(buffers)
    return Packing(
        {step: offsets[i] for step, i in value_buffers.items()},
        tuple(tuple(offsets[i] for i in of_step) for of_step in work_buffers),
        arena_bytes,
        max(_live_bytes(buffers)),
    )


def assign_offsets(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """An offset for each buffer, and the size of the arena. No two buffers of the same step overlap."""
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
        offsets, end = _assign_in(order, buffers)
        if end == least:
            return offsets, end
        tried.append((end, order, offsets))
    return _improved(*min(tried), buffers, least)


def _improved(
    end: int, order: list[int], offsets: list[int], buffers: Sequence[Buffer], least: int
) -> tuple[list[int], int]:
    """The best offsets and arena size that a local search over orders finds, starting with ``order``.

    Each attempt doubles the urgency of the buffers that end beyond ``least``, varies all urgencies by up to
    30 %, and assigns offsets to the most urgent buffers first.
    """
    random = Random(0)
    urgency = [float(buffer.nbytes) for buffer in buffers]
    best, best_end = offsets, end
    for _ in range(min(_MOST_ATTEMPTS, _SEARCH_OFFSETS // max(1, len(buffers)))):
        for i in order:
            if offsets[i] + aligned(buffers[i].nbytes) > least:
                urgency[i] *= 2
        ranks = [-weight * random.uniform(1, 1.3) for weight in urgency]
        order = sorted(order, key=ranks.__getitem__)
        offsets, end = _assign_in(order, buffers)
        if end < best_end:
            best, best_end = offsets, end
        if end == least:
            break
    return best, best_end


def _live_bytes(buffers: Sequence[Buffer]) -> list[int]:
    """For each step, the aligned bytes that live at it. The list has at least one number."""
    spans = ((aligned(buffer.nbytes), buffer.first_step, buffer.last_step) for buffer in buffers)
    return bytes_by_step(spans, 1 + max((buffer.last_step for buffer in buffers), default=0))


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up to whole cache lines."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _buffers(occupancy: Occupancy) -> tuple[list[Buffer], dict[int, int], list[list[int]]]:
    """The buffers of a schedule, and by step their indices: of the buffer of its value, and of its workspace.

    A value that takes over a buffer has the index of this buffer.
    """
    made = {stay.first_step: stay for stay in occupancy.stays}
    last_step = {stay.buffer_step: stay.last_step for stay in occupancy.stays}  # of its last value
    buffers: list[Buffer] = []
    value_buffers: dict[int, int] = {}
    work_buffers: list[list[int]] = []

    def new(nbytes: int, first_step: int, last_step: int) -> int:
        buffers.append(Buffer(nbytes, first_step, last_step))
        return len(buffers) - 1

    for step, wanted in enumerate(occupancy.workspaces):
        stay = made.get(step)
        if stay is not None and stay.buffer_step == step:
            value_buffers[step] = new(stay.node.nbytes, step, last_step[step])
        elif stay is not None:
            value_buffers[step] = value_buffers[stay.buffer_step]
        work_buffers.append([new(count * dtype.itemsize, step, step) for count, dtype in wanted])
    return buffers, value_buffers, work_buffers


def _assign_in(order: Sequence[int], buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """Offsets assigned in this order, and the size of the arena.

    A buffer is put into the smallest gap that holds it, or at the end if no gap does.
    """
    offsets = [0] * len(buffers)
    # The buffers that have offsets, sorted by offset. The rows are first step, last step, offset and end. An
    # arena that is too large for int64 is counted in Python's integers.
    sizes = [aligned(buffer.nbytes) for buffer in buffers]
    assigned = np.empty((4, len(buffers)), np.int64 if sum(sizes) < 2**62 else object)
    for count, i in enumerate(order):
        buffer, size = buffers[i], sizes[i]
        first, last, starts, ends = assigned[:, :count]
        beside = np.flatnonzero((first <= buffer.last_step) & (last >= buffer.first_step))
        offset = _smallest_gap(starts[beside], ends[beside], size)
        row = int(starts.searchsorted(offset))
        assigned[:, row + 1 : count + 1] = assigned[:, row:count]
        assigned[:, row] = buffer.first_step, buffer.last_step, offset, offset + size
        offsets[i] = offset
    return offsets, max((offset + size for offset, size in zip(offsets, sizes, strict=True)), default=0)


def _smallest_gap(starts: Array, ends: Array, size: int) -> int:
    """The start of the smallest gap of at least ``size`` between intervals, or where the last one ends."""
    if not len(starts):
        return 0
    reached = np.maximum.accumulate(ends)
    before = np.empty_like(reached)
    before[0], before[1:] = 0, reached[:-1]
    gaps = starts - before
    large = np.flatnonzero(gaps >= size)
    if not len(large):
        return int(reached[-1])
    return int(before[large[gaps[large].argmin()]])
