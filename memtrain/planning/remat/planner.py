"""The cheapest plan within a budget: optimal for a chain of some hundred stages, a good one beyond."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from memtrain.planning.remat.budget import Table
from memtrain.planning.remat.checkpoints import Move, Moves, keep_all, revolve, segmented, square_root
from memtrain.planning.remat.needs import needs_of
from memtrain.planning.remat.replay import replay
from memtrain.planning.remat.stage import Stage, merged

MOST_STAGES = 220
"""A longer chain is planned in blocks, each of them kept whole or by its input only: in seconds."""

BLOCKS = 128


def plan_within(stages: Sequence[Stage], budget_bytes: int) -> Moves | None:
    """The cheapest plan that holds no more than a budget; ``None`` if there is none.

    For a chain that is too long, or whose values have too many sizes, it is the cheapest of some candidates.
    """
    if len(stages) <= MOST_STAGES:
        table = Table(stages, budget_bytes)
        if table.exact:
            return table.moves()
    outcomes = [(replay(stages, moves), moves) for moves in _candidates(stages, budget_bytes)]
    within = [(found.cost, moves) for found, moves in outcomes if found.peak_bytes <= budget_bytes]
    return min(within, default=(0, None))[1]


def _candidates(stages: Sequence[Stage], budget_bytes: int) -> Iterator[Moves]:
    """Plans of blocks, of the other policies, of few dropped values, and of the least bytes."""
    count = len(stages)

    def largest(plan: Callable[[int], Moves]) -> int:
        """The largest size up to which plans are within the budget; 0 if not even size 1 is."""
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
    # More checkpoints may be dearer, or hold less, where stages are unequal: so all are tried, or those near.
    tried = range(1, count + 1) if count <= MOST_STAGES else range(max(1, near - 2), min(count, near + 2) + 1)
    yield from (revolve(count, checkpoints) for checkpoints in tried)
    dear = _dear_first(stages)
    yield _keeping(count, dear[: largest(lambda kept: _keeping(count, dear[:kept]))])
    smallest = needs_of(stages).moves(budget_bytes)
    if smallest is not None:
        yield smallest


def _dear_first(stages: Sequence[Stage]) -> list[int]:
    """The stages, the dearest to recompute per output byte first; equal ones are spread along the chain."""
    bits = len(stages).bit_length()

    def rank(k: int) -> tuple[float, int]:
        spread = int(f"{k:0{bits}b}"[::-1], 2)
        return -stages[k].cost / max(1, stages[k].output_bytes), spread

    return sorted(range(len(stages) - 1), key=rank)


def _keeping(count: int, kept: Sequence[int]) -> Moves:
    """The plan that keeps the outputs of these stages and computes the others once more."""
    return segmented(count, [0, *sorted(k + 1 for k in kept)])
