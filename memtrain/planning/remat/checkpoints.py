"""Checkpoints in a chain of stages, placed by rules that know only the number of stages.

A plan is the order in which the stages of a chain are computed and differentiated. It says nothing of memory:
a value is kept if a later part of the plan reads it before it is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, comb, sqrt
from typing import NamedTuple


class Move(NamedTuple):
    """Compute a stage, for the first time or again; or run its backward."""

    stage: int
    backward: bool = False


Moves = tuple[Move, ...]


def keep_all(count: int) -> Moves:
    """Forward once, then backward."""
    return (*_forward(0, count), *_backward(0, count))


def square_root(count: int) -> Moves:
    """Segments of about √count stages; each but the last is computed again before its backward.

    Chen, Xu, Zhang & Guestrin 2016, "Training deep nets with sublinear memory cost", §4.1.
    """
    return segmented(count, range(0, count, max(1, ceil(sqrt(count)))))


def segmented(count: int, starts: Sequence[int]) -> Moves:
    """Segments that begin at the stages ``starts``, the first at 0; each but the last is computed again."""
    moves = [*_forward(0, count), *_backward(starts[-1], count)]
    for start, stop in reversed(list(pairwise(starts))):
        moves += [*_forward(start, stop), *_backward(start, stop)]
    return tuple(moves)


def revolve(count: int, checkpoints: int) -> Moves:
    """The binomial schedule: the fewest forward steps with so many checkpoints, for stages of equal cost.

    Griewank & Walther 2000, "Algorithm 799: Revolve", §2. The input of the chain takes one of the
    checkpoints, and every stage is computed anew right before its backward.
    """
    return tuple(_reversed(0, count, checkpoints))


def _reversed(start: int, stop: int, checkpoints: int) -> Iterator[Move]:
    """Backward of the stages from ``start`` to before ``stop``, whose input is kept in a checkpoint."""
    pending = [(start, stop, checkpoints)]
    while pending:
        start, stop, checkpoints = pending.pop()
        if stop - start == 1:
            yield Move(start)
            yield Move(start, backward=True)
            continue
        middle = start + _advance(stop - start, checkpoints)
        yield from _forward(start, middle)
        pending.append((start, middle, checkpoints))
        pending.append((middle, stop, checkpoints - 1))


def extra_steps(count: int, checkpoints: int) -> int:
    """How many stages `revolve` computes again: r·n − r·C(s + r, s)/(s + 1) (ibid., equation 2)."""
    repetitions = _repetitions(count, checkpoints)
    most = comb(checkpoints + repetitions, checkpoints)
    return repetitions * count - repetitions * most // (checkpoints + 1)


def _repetitions(count: int, checkpoints: int) -> int:
    """The least number of sweeps r for which so many stages are within reach: C(s + r, s) ≥ n."""
    if checkpoints == 1:
        return max(0, count - 1)
    repetitions = 0
    while comb(checkpoints + repetitions, checkpoints) < count:
        repetitions += 1
    return repetitions


def _advance(count: int, checkpoints: int) -> int:
    """How many stages to run ahead before the next checkpoint; up to the last stage when none is left.

    Both parts stay within the sweeps that the whole needs.
    """
    if checkpoints == 1:
        return count - 1
    repetitions = _repetitions(count, checkpoints)
    longest_right = comb(checkpoints - 1 + repetitions, checkpoints - 1)
    shortest_left = comb(checkpoints + repetitions - 2, checkpoints)
    return min(count - 1, max(1, shortest_left, count - longest_right))


def _forward(start: int, stop: int) -> Iterator[Move]:
    return (Move(stage) for stage in range(start, stop))


def _backward(start: int, stop: int) -> Iterator[Move]:
    return (Move(stage, backward=True) for stage in range(stop - 1, start - 1, -1))
