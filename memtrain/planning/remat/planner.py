"""The cheapest plan within a budget. For chains of more than some hundred stages it may not be optimal."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from memtrain.planning.remat.budget import Table
from memtrain.planning.remat.checkpoints import Move, Moves, keep_all, revolve, segmented, square_root
from memtrain.planning.remat.needs import needs_of
from memtrain.planning.remat.replay import replay
from memtrain.planning.remat.stage import Stage, merged

MOST_STAGES = 220
"""A longer chain is planned in blocks of stages, so that planning takes seconds.

Of each block, either all values are kept or only its input.
"""

BLOCKS = 128


def plan_within(stages: Sequence[Stage], budget_bytes: int) -> Moves | None:
    """The cheapest plan that holds no more than a budget; ``None`` if there is none.

    For a chain that is too long, or whose values have too many different sizes, the result is the cheapest of
    some candidates.
    """
    if len(stages) <= MOST_STAGES:
        table = Table(stages, budget_bytes)
        if table.exact:
            return table.moves()
    outcomes = [(replay(stages, moves), moves) for moves in _candidates(stages, budget_bytes)]
    within = [(found.cost, moves) for found, moves in outcomes if found.peak_bytes <= budget_bytes]
    return min(within, default=(0, None))[1]


def _candidates(stages: Sequence[Stage], budget_bytes: int) -> Iterator[Moves]:
    """Plans of blocks, plans of the other policies, one that drops few values, and the smallest plan."""
    count = len(stages)

    def largest(plan: Callable[[int], Moves]) -> int:
        """The largest size for which ``plan(size)`` is within the budget; 0 if size 1 is not."""
        return bisect_left(
            range(1, count + 1), True, key=lambda k: replay(stages, plan(k)).peak_bytes > budget_bytes
        )

    size = 1 if count <= MOST_STAGES else -(-count // BLOCKS)
    blocks = [range(count)[start : start + size] for start in range(0, count, size)]
    merged_stages = [merged([stages[k] for k in block]) for block in blocks]
    smallest_value = min((stage.output_bytes for stage in stages[:-1] if stage.output_bytes), default=0)
    # Where bytes are rounded up, a plan made for a little more may still be within the budget.
    for allowance in (0, budget_bytes // 1000, smallest_value):
        of_blocks = Table(merged_stages, budget_bytes + allowance).moves()
        if of_blocks is not None:
            yield tuple(
                Move(k, backward)
                for block, backward in of_blocks
                for k in (reversed(blocks[block]) if backward else blocks[block])
            )
    yield square_root(count)
    yield keep_all(count)
    near = largest(lambda checkpoints: revolve(count, checkpoints))
    # With unequal stages, more checkpoints may cost more, or hold less: try all numbers, or those near.
    tried = range(1, count + 1) if count <= MOST_STAGES else range(max(1, near - 2), min(count, near + 2) + 1)
    yield from (revolve(count, checkpoints) for checkpoints in tried)
    dear = _dear_first(stages)
    yield _keeping(count, dear[: largest(lambda kept: _keeping(count, dear[:kept]))])
    smallest = needs_of(stages).moves(budget_bytes)
    if smallest is not None:
        yield smallest


def _dear_first(stages: Sequence[Stage]) -> list[int]:
    """The stages by falling cost per output byte. Stages of equal cost are spread along the chain."""
    bits = len(stages).bit_length()

    def rank(k: int) -> tuple[float, int]:
        spread = int(f"{k:0{bits}b}"[::-1], 2)
        return -stages[k].cost / max(1, stages[k].output_bytes), spread

    return sorted(range(len(stages) - 1), key=rank)


def _keeping(count: int, kept: Sequence[int]) -> Moves:
    """The plan that keeps the outputs of the stages ``kept`` and computes the other stages twice."""
    return segmented(count, [0, *sorted(k + 1 for k in kept)])
