"""An oracle of plans: all plans of a chain, simulated from the definitions of the fields of a stage.

Of ``memtrain.planning.remat`` it uses only ``Stage`` and ``Move``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from memtrain.planning.remat.checkpoints import Move, Moves
from memtrain.planning.remat.stage import Stage


@dataclass(frozen=True)
class Truth:
    peak_bytes: int
    cost: int


def simulate(stages: Sequence[Stage], moves: Moves) -> Truth:
    """The peak and the cost of a plan. Values that no move reads are neither computed nor kept.

    The next stage and its backward read an output; the backward of the same stage reads inner values. Each
    value is held from its computation to its last read before it is recomputed. The last stage has no output.
    """
    last = len(stages) - 1

    def until(i: int, stage: int) -> range:
        """The moves after ``i`` and before the stage is recomputed."""
        again = (j for j in range(i + 1, len(moves)) if moves[j] == (stage, False))
        return range(i + 1, next(again, len(moves)))

    @cache
    def output_ends(i: int) -> int | None:
        """The last move that reads the output which move ``i`` computes."""
        k = moves[i].stage
        reads = [j for j in until(i, k) if moves[j].stage == k + 1 and (moves[j].backward or done(j))]
        return max(reads, default=None)

    @cache
    def inner_ends(i: int) -> int | None:
        k = moves[i].stage
        return max((j for j in until(i, k) if moves[j] == (k, True) and stages[k].inner_bytes), default=None)

    @cache
    def done(i: int) -> bool:
        return moves[i].stage == last or output_ends(i) is not None or inner_ends(i) is not None

    kept: dict[tuple[str, int], int] = {}  # by value: its last move
    sizes = {("output", k): stage.output_bytes for k, stage in enumerate(stages)}
    sizes |= {("inner", k): stage.inner_bytes for k, stage in enumerate(stages)}
    peak = cost = 0
    next_backward = last
    for i, (k, backward) in enumerate(moves):
        stage, own = stages[k], ("inner", k)
        given = ("output", k - 1)
        kept = {value: end for value, end in kept.items() if end >= i}
        if not backward and not done(i):
            continue
        assert k == 0 or given in kept, f"move {i}: the input of stage {k} is not there"
        if backward:
            assert k == next_backward
            assert own in kept or not stage.inner_bytes, f"move {i}: an inner value is not there"
            beside = sum(sizes[value] for value in kept if value != own)
            peak = max(peak, beside + stage.backward_peak_bytes)
            next_backward -= 1
            continue
        output, inner = output_ends(i), inner_ends(i)
        goes = k > 0 and kept[given] == i
        beside = sum(sizes[value] for value in kept if not (goes and value == given))
        if k == last or (output is not None and inner is not None):
            assert not goes
            cost, most = cost + stage.cost, stage.taped_peak_bytes
        elif output is not None:
            cost, most = cost + stage.cost, stage.dropped_peak_bytes if goes else stage.kept_peak_bytes
        else:
            cost, most = cost + stage.again_cost, stage.again_peak_bytes
        peak = max(peak, stages[next_backward].standing_bytes + beside + most)
        kept |= {value: end for value, end in ((("output", k), output), (own, inner)) if end is not None}
    assert next_backward == -1
    return Truth(peak, cost)


def persistent_plans(first: int, last: int) -> Iterator[Moves]:
    """All memory-persistent plans for the stages from ``first`` to ``last``. The input of the first is kept.

    Either the plan runs ahead over some stages, keeps the input of the next stage, solves the stages from
    there on and then the stages before. Or it keeps the first stage whole, and solves the rest.
    """
    backward = Move(first, backward=True)
    if first == last:
        yield (Move(first), backward)
        return
    for middle in range(first + 1, last + 1):
        ahead = tuple(map(Move, range(first, middle)))
        for right in persistent_plans(middle, last):
            yield from (ahead + right + left for left in persistent_plans(first, middle - 1))
    yield from ((Move(first), *rest, backward) for rest in persistent_plans(first + 1, last))


PLANS = {count: list(persistent_plans(0, count - 1)) for count in range(1, 7)}


def all_outcomes(stages: Sequence[Stage]) -> dict[Moves, Truth]:
    return {moves: simulate(stages, moves) for moves in PLANS[len(stages)]}


def least_cost(outcomes: dict[Moves, Truth], budget_bytes: int) -> int | None:
    costs = [truth.cost for truth in outcomes.values() if truth.peak_bytes <= budget_bytes]
    return min(costs, default=None)
