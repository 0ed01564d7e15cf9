"""Plans for a chain of stages made by rules that use only the number of stages.

A plan is the order in which the stages of a chain are computed and differentiated. It does not name the
checkpoints: a value is kept if a later move reads the value before it is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, comb, sqrt
from typing import NamedTuple


class Move(NamedTuple):
    """One move of a plan: compute a stage (for the first time or again), or run its backward."""

    stage: int
    backward: bool = False


Moves = tuple[Move, ...]


def keep_all(count: int) -> Moves:
    """The plan that computes every stage once and keeps all values until backward."""
    return (*_forward(0, count), *_backward(0, count))


def square_root(count: int) -> Moves:
    """The plan with segments of about √count stages. Each but the last is recomputed before its backward.

    Chen, Xu, Zhang & Guestrin 2016, "Training deep nets with sublinear memory cost", §4.1.
    """
    return segmented(count, range(0, count, max(1, ceil(sqrt(count)))))


def segmented(count: int, starts: Sequence[int]) -> Moves:
    """The plan with segments that begin at the stages ``starts``; the first of these is 0.

    Each segment but the last is recomputed before its backward.
    """
    moves = [*_forward(0, count), *_backward(starts[-1], count)]
    for start, stop in reversed(list(pairwise(starts))):
        moves += [*_forward(start, stop), *_backward(start, stop)]
    return tuple(moves)


def revolve(count: int, checkpoints: int) -> Moves:
    """The binomial plan: the fewest computations of stages with this number of ``checkpoints``.

    Griewank & Walther 2000, "Algorithm 799: Revolve", §2, for stages of equal cost. The input of the chain
    occupies one of the checkpoints, and every stage is computed right before its backward.
    """
    return tuple(_reversed(0, count, checkpoints))


def _reversed(start: int, stop: int, checkpoints: int) -> Iterator[Move]:
    """The moves for the backward of the stages from ``start`` to before ``stop``. Their input is kept."""
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
    """The number of stages that `revolve` recomputes: r·n − r·C(s + r, s)/(s + 1).

    Griewank & Walther 2000, equation 2, for n stages, s checkpoints and r repetitions.
    """
    repetitions = _repetitions(count, checkpoints)
    most = comb(checkpoints + repetitions, checkpoints)
    return repetitions * count - repetitions * most // (checkpoints + 1)


def _repetitions(count: int, checkpoints: int) -> int:
    """The least number r of repetitions with C(s + r, s) ≥ n, for n stages and s checkpoints."""
    if checkpoints == 1:
        return max(0, count - 1)
    repetitions = 0
    while comb(checkpoints + repetitions, checkpoints) < count:
        repetitions += 1
    return repetitions


def _advance(count: int, checkpoints: int) -> int:
    """The number of stages to run ahead before the next checkpoint, or to the last stage if none is left.

    Neither of the two parts needs more repetitions than the whole.
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
