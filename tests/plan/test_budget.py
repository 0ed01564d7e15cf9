"""Plans within a budget against all plans there are, each gone through as the fields of a stage define it.

The enumeration and the simulation read nothing of ``memtrain.plan.remat`` but ``Stage`` and ``Move``.

``compare_with_all_orders`` tells how much cheaper plans can be that drop a kept value before its backward
and compute it again: ``PYTHONPATH=. python tests/plan/test_budget.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from heapq import heappop, heappush
from itertools import pairwise
from random import Random

import pytest

from memtrain.plan.remat import budget, planner
from memtrain.plan.remat.checkpoints import Move, Moves, keep_all, revolve, square_root
from memtrain.plan.remat.needs import Needs
from memtrain.plan.remat.planner import plan_within
from memtrain.plan.remat.replay import replay
from memtrain.plan.remat.stage import Stage, merged

# -- the oracle --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    peak_bytes: int
    cost: int


def simulate(stages: Sequence[Stage], moves: Moves) -> Truth:
    """What a plan holds and costs when what nobody reads is neither computed nor kept.

    An output is read by the next stage and its backward, inner values by their own backward. Each is there
    from when it is computed to its last read before it is computed again. The last stage has no output.
    """
    last = len(stages) - 1

    def until(i: int, stage: int) -> range:
        """The moves from after ``i`` until a stage is computed again."""
        again = (j for j in range(i + 1, len(moves)) if moves[j] == (stage, False))
        return range(i + 1, next(again, len(moves)))

    @cache
    def output_ends(i: int) -> int | None:
        """The last move that reads the output that move ``i`` computes."""
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

    kept: dict[tuple[str, int], int] = {}  # until which move
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
    """All plans for the stages from ``first`` to ``last`` that keep what they keep until its backward.

    The input of the first is kept. Either some stages are gone through, the input of the next is kept, all
    from there on is worked off and then the rest; or the first is kept with its inner values.
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


# -- random chains -----------------------------------------------------------------------------------


def chain(seed: int, count: int, most: int = 40) -> list[Stage]:
    """Stages of any sizes and costs: some with inner values, some whose peaks are as large as must be."""
    rng = Random(f"{seed} {count}")
    inner_share, extra = rng.choice((0.0, 0.3, 0.7)), rng.choice((0, most // 4, most))
    standing, rises = rng.randint(0, most), rng.random() < 0.5
    stages: list[Stage] = []
    for k in range(count):
        given = stages[-1].output_bytes if k else 0
        output = rng.randint(1, most) if k < count - 1 else 0
        inner = rng.randint(1, most) if rng.random() < inner_share else 0
        cost = rng.randint(1, 20)
        kept = output + rng.randint(0, extra)
        taped = inner + max(kept, output + rng.randint(0, extra)) if inner else kept
        stages.append(
            Stage(
                cost=cost,
                again_cost=rng.randint(1, cost) if inner else 0,
                output_bytes=output,
                inner_bytes=inner,
                kept_peak_bytes=kept,
                dropped_peak_bytes=max(given + output, output + rng.randint(0, extra)),
                taped_peak_bytes=taped,
                again_peak_bytes=inner + rng.randint(0, taped - inner) if inner else 0,
                standing_bytes=standing,
                backward_peak_bytes=standing + inner + rng.randint(0, extra),
            )
        )
        standing = max(0, standing + rng.randint(-most // 4, most // 4) - rises * most // 8)
    return stages


def wild_chain(seed: int, count: int) -> list[Stage]:
    """Stages whose fields have little to do with each other.

    What is empty costs nothing, and what stands before a backward stands in it.
    """
    rng = Random(f"wild {seed} {count}")
    stages = []
    for k in range(count):
        stage = Stage(rng.randint(0, 9), rng.randint(0, 9), *(rng.randint(0, 15) for _ in range(8)))
        stage = replace(stage, output_bytes=stage.output_bytes + 1)
        if rng.random() < 0.5:
            stage = replace(stage, inner_bytes=0)
        if not stage.inner_bytes:
            stage = replace(stage, again_cost=0, again_peak_bytes=0, taped_peak_bytes=stage.kept_peak_bytes)
        least = stage.standing_bytes + stage.inner_bytes
        stage = replace(stage, backward_peak_bytes=max(least, stage.backward_peak_bytes))
        stages.append(replace(stage, output_bytes=0) if k == count - 1 else stage)
    return stages


def equal_chain(count: int, inner: int = 0) -> list[Stage]:
    """Equal stages, in which nothing but values of the chain is held."""
    one = Stage(1, inner and 1, 4, inner, 4, 8, 4 + inner, inner, 0, inner)
    last = replace(one, output_bytes=0, kept_peak_bytes=0, dropped_peak_bytes=4, taped_peak_bytes=inner)
    return [*[one] * (count - 1), last]


CHAINS = [
    *((chain, seed, count) for count in range(1, 6) for seed in range(8)),
    *((chain, seed, 6) for seed in range(3)),
    *((wild_chain, seed, count) for count in range(1, 6) for seed in range(4)),
]


def every_chain() -> Iterator[list[Stage]]:
    return (make(seed, count) for make, seed, count in CHAINS)


# -- all plans of short chains -----------------------------------------------------------------------


def test_there_are_as_many_plans_as_the_large_schroeder_numbers_say():
    assert [len(PLANS[count]) for count in PLANS] == [1, 2, 6, 22, 90, 394]
    assert all(len(set(plans)) == len(plans) for plans in PLANS.values())


@pytest.mark.parametrize("count", PLANS)
def test_the_cheapest_plan_is_found_for_every_budget_that_matters(count):
    for stages in every_chain():
        if len(stages) != count:
            continue
        outcomes = all_outcomes(stages)
        peaks = {truth.peak_bytes for truth in outcomes.values()}
        for budget_bytes in sorted(peaks | {peak - 1 for peak in peaks}):
            expected = least_cost(outcomes, budget_bytes)
            moves = plan_within(stages, budget_bytes)
            if moves is None:
                assert expected is None, f"{budget_bytes} of {stages}"
                assert budget_bytes < min(peaks)
            else:
                assert outcomes[moves].peak_bytes <= budget_bytes
                assert outcomes[moves].cost == expected, f"{budget_bytes} of {stages}"


def test_the_least_bytes_of_a_chain_are_those_of_the_smallest_plan():
    for stages in every_chain():
        outcomes = all_outcomes(stages)
        least = min(truth.peak_bytes for truth in outcomes.values())
        needs = Needs(stages)
        assert needs.least_bytes == least
        assert needs.moves(least - 1) is None
        for beyond in (0, 1, 10, 10**6):
            assert outcomes[needs.moves(least + beyond)].peak_bytes <= least + beyond


def test_going_through_a_plan_finds_the_peak_and_the_cost_that_the_definition_says():
    for stages in every_chain():
        for moves, truth in all_outcomes(stages).items():
            found = replay(stages, moves)
            assert (found.peak_bytes, found.cost) == (truth.peak_bytes, truth.cost), moves


def test_so_it_does_for_plans_of_other_policies_on_longer_chains():
    for seed in range(12):
        stages = chain(seed, 8 + seed)
        count = len(stages)
        for moves in (keep_all(count), square_root(count), *(revolve(count, k) for k in (1, 2, 3, 5))):
            found, truth = replay(stages, moves), simulate(stages, moves)
            assert (found.peak_bytes, found.cost) == (truth.peak_bytes, truth.cost)


def test_a_plan_of_neighbours_as_one_stage_holds_and_costs_what_it_does_of_each():
    for seed in range(30):
        rng = Random(seed)
        stages = chain(seed, 6)
        cuts = [0, *sorted(rng.sample(range(1, 6), rng.randint(0, 4))), 6]
        blocks = [range(a, b) for a, b in pairwise(cuts)]
        coarse = [merged([stages[k] for k in block]) for block in blocks]
        for moves in PLANS[len(blocks)]:
            fine = tuple(
                Move(k, backward)
                for block, backward in moves
                for k in (reversed(blocks[block]) if backward else blocks[block])
            )
            rough, truth = simulate(coarse, moves), simulate(stages, fine)
            assert truth.peak_bytes <= rough.peak_bytes
            assert truth.cost <= rough.cost


def test_a_larger_budget_never_costs_more():
    for seed in range(6):
        stages = chain(seed, 9)
        least = Needs(stages).least_bytes
        most = simulate(stages, keep_all(9)).peak_bytes
        costs = []
        for budget_bytes in range(least, most + 2, max(1, (most - least) // 25)):
            truth = simulate(stages, plan_within(stages, budget_bytes))
            assert truth.peak_bytes <= budget_bytes
            costs.append(truth.cost)
        assert costs == sorted(costs, reverse=True)
        assert plan_within(stages, least - 1) is None


def test_with_enough_memory_nothing_is_computed_again():
    for seed in range(6):
        stages = chain(seed, 7)
        enough = simulate(stages, keep_all(7))
        found = simulate(stages, plan_within(stages, enough.peak_bytes))
        assert found.cost == enough.cost == sum(stage.cost for stage in stages)
        assert plan_within(stages, 10 * enough.peak_bytes) is not None


# -- other policies ----------------------------------------------------------------------------------


def rules(count: int) -> Iterator[Moves]:
    yield square_root(count)
    yield from (revolve(count, checkpoints) for checkpoints in range(1, count + 1))


@pytest.mark.parametrize("inner", [0, 3])
def test_on_equal_stages_no_rule_is_cheaper_at_its_own_peak(inner):
    for count in range(1, 13):
        stages = equal_chain(count, inner)
        for moves in rules(count):
            rule = simulate(stages, moves)
            found = simulate(stages, plan_within(stages, rule.peak_bytes))
            assert found.peak_bytes <= rule.peak_bytes
            assert found.cost <= rule.cost


def test_nor_is_it_on_unequal_ones():
    for seed in range(10):
        stages = chain(seed, 9)
        for moves in rules(9):
            rule = simulate(stages, moves)
            found = simulate(stages, plan_within(stages, rule.peak_bytes))
            assert found.peak_bytes <= rule.peak_bytes
            assert found.cost <= rule.cost


# -- long chains and values of many sizes ------------------------------------------------------------


def check_good(stages: Sequence[Stage], cheaper: Sequence[Moves]) -> None:
    """Fail unless plans are within their budgets, there where there is one, and none of ``cheaper`` is."""
    least = Needs(stages).least_bytes
    most = simulate(stages, keep_all(len(stages))).peak_bytes
    others = [simulate(stages, moves) for moves in cheaper]
    between = range(least, most + 1, max(1, (most - least) // 6))
    for budget_bytes in sorted({least, most, *between, *(other.peak_bytes for other in others)}):
        moves = plan_within(stages, budget_bytes)
        if budget_bytes < least:
            assert moves is None
            continue
        found = simulate(stages, moves)
        assert found.peak_bytes <= budget_bytes
        for other in others:
            if other.peak_bytes <= budget_bytes:
                assert found.cost <= other.cost, f"{budget_bytes} of {stages}"
    assert plan_within(stages, least - 1) is None


@pytest.mark.parametrize(("most_stages", "blocks"), [(4, 4), (6, 5), (4, 1000)])
def test_a_chain_too_long_for_the_table_is_planned_within_the_budget_and_no_rule_is_cheaper(
    monkeypatch, most_stages, blocks
):
    monkeypatch.setattr(planner, "MOST_STAGES", most_stages)
    monkeypatch.setattr(planner, "BLOCKS", blocks)
    for seed in range(8):
        count = most_stages + 1 + seed
        check_good(chain(seed, count), [square_root(count)])
    for count in (7, 11, 16):
        check_good(equal_chain(count), [keep_all(count), *rules(count)])


@pytest.mark.parametrize("levels", [2, 5, 30])
def test_so_is_one_with_values_of_too_many_sizes(monkeypatch, levels):
    for seed, count in ((0, 3), (1, 5), (2, 8), (3, 11)):
        monkeypatch.setattr(budget, "MOST_ENTRIES", levels * count**2)
        check_good(chain(seed, count, most=1000), [square_root(count)])
        check_good(equal_chain(count), [keep_all(count), *rules(count)])


def test_a_table_says_whether_each_value_counts_with_its_own_bytes(monkeypatch):
    stages = chain(1, 6, most=1000)
    peak = simulate(stages, keep_all(6)).peak_bytes
    assert budget.Table(stages, peak).exact
    monkeypatch.setattr(budget, "MOST_ENTRIES", 5 * 6**2)
    assert not budget.Table(stages, peak).exact


def test_rounding_makes_a_plan_dearer_at_most(monkeypatch):
    for seed in range(6):
        stages = chain(seed, 5, most=1000)
        outcomes = all_outcomes(stages)
        monkeypatch.setattr(budget, "MOST_ENTRIES", 6 * 5**2)
        for budget_bytes in sorted({truth.peak_bytes for truth in outcomes.values()})[::4]:
            moves = budget.Table(stages, budget_bytes).moves()
            if moves is not None:
                assert outcomes[moves].peak_bytes <= budget_bytes
                assert outcomes[moves].cost >= least_cost(outcomes, budget_bytes)


# -- plans that drop a value and compute it again ------------------------------------------------------


def simple_chain(costs: Sequence[int], sizes: Sequence[int]) -> list[Stage]:
    """Stages of which nothing is held but their outputs; the last has none."""
    outputs = [*sizes, 0]
    return [
        Stage(cost, 0, output, 0, output, given + output, output, 0, 0, 0)
        for cost, output, given in zip(costs, outputs, [0, *outputs], strict=False)
    ]


def cheapest_of_all_orders(costs: Sequence[int], sizes: Sequence[int], budget_bytes: int) -> int | None:
    """The least cost when any value may go at any time, to be computed again: Dijkstra over what is held.

    Value k (from 1) is computed from value k − 1 at the cost c_k while both stand; value 0 costs and holds
    nothing. The backward of stage k needs value k − 1; that of the last comes after the last stage, which
    leaves no value.
    """
    last = len(costs)
    start = (
        frozenset({0}),
        last,
        False,
    )  # values that are held, next backward, whether the last was computed
    best, heap = {start: 0}, [(0, 0, start)]
    held = [0, *sizes]
    while heap:
        cost, _, state = heappop(heap)
        values, waiting, finished = state
        if not waiting:
            return cost
        if cost > best[state]:
            continue
        following = [(0, (values - {k}, waiting, finished)) for k in values if k]
        following += [
            (costs[k], (values | {k + 1}, waiting, finished))
            for k in values
            if k + 1 < waiting and k + 1 not in values
        ]
        if waiting - 1 in values:
            if finished:
                following.append((0, (values, waiting - 1, True)))
            else:
                following.append((costs[-1], (values, waiting, True)))
        for more, other in following:
            fits = sum(held[k] for k in other[0]) <= budget_bytes
            if fits and cost + more < best.get(other, cost + more + 1):
                best[other] = cost + more
                heappush(heap, (cost + more, len(best), other))
    return None


def cheapest_persistent(costs: Sequence[int], sizes: Sequence[int], budget_bytes: int) -> int | None:
    """The least cost of plans that keep what they keep until its backward."""
    stages = simple_chain(costs, sizes)
    moves = plan_within(stages, budget_bytes)
    return None if moves is None else simulate(stages, moves).cost


@dataclass(frozen=True)
class Comparison:
    """One chain with one budget at which not all can be kept."""

    costs: tuple[int, ...]
    sizes: tuple[int, ...]
    budget_bytes: int
    of_all: int
    """The least cost of any order."""
    persistent: int
    """That of plans that keep what they keep until its backward."""

    @property
    def saving(self) -> float:
        """Of the whole cost of forward steps."""
        return 1 - self.of_all / self.persistent

    @property
    def extra_saving(self) -> float:
        """Of what is computed again only."""
        again = self.persistent - sum(self.costs)
        return (self.persistent - self.of_all) / again if again else 0.0


def compare_with_all_orders(count: int, seeds: range) -> Iterator[Comparison]:
    """Random chains, each with every whole budget that some order can do with, but not keeping all."""
    for seed in seeds:
        rng = Random(f"orders {count} {seed}")
        costs = tuple(rng.randint(1, 10) for _ in range(count))
        sizes = tuple(rng.randint(1, 10) for _ in range(count - 1))
        for budget_bytes in range(1, sum(sizes)):
            of_all = cheapest_of_all_orders(costs, sizes, budget_bytes)
            persistent = cheapest_persistent(costs, sizes, budget_bytes)
            assert (of_all is None) == (persistent is None)  # neither needs less than the other
            if of_all is not None:
                yield Comparison(costs, sizes, budget_bytes, of_all, persistent)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_no_order_at_all_is_dearer_than_a_persistent_plan_nor_needs_less(count):
    for found in compare_with_all_orders(count, range(6)):
        assert found.of_all <= found.persistent


def test_with_seven_stages_an_order_that_drops_a_value_and_computes_it_again_can_be_cheaper():
    costs, sizes, budget_bytes = (3, 6, 2, 1, 1, 1, 5), (1, 5, 4, 10, 6, 6), 19
    outcomes = {moves: simulate(simple_chain(costs, sizes), moves) for moves in persistent_plans(0, 6)}
    assert least_cost(outcomes, budget_bytes) == 34
    assert cheapest_of_all_orders(costs, sizes, budget_bytes) == 31


def inner_chain(costs: Sequence[int], sizes: Sequence[int], inner: Sequence[int]) -> list[Stage]:
    """The same with inner values, which a stage computes beside its output and its own backward reads."""
    outputs = [*sizes, 0]
    return [
        Stage(cost, cost, output, own, output, given + output, output + own, own, 0, own)
        for cost, output, own, given in zip(costs, outputs, inner, [0, *outputs], strict=False)
    ]


NOTHING, OUTPUT, WHOLE = range(3)


def cheapest_of_all_orders_of_inner(
    costs: Sequence[int], sizes: Sequence[int], inner: Sequence[int], budget_bytes: int
) -> int | None:
    """As `cheapest_of_all_orders`, of stages held not at all, by their output, or whole."""
    last, held = len(costs), [0, *sizes, 0]

    def nbytes(state: tuple[tuple[int, ...], int, bool]) -> int:
        kept, waiting, _ = state
        return sum(
            (inner[k - 1] if what == WHOLE else 0) + (held[k] if k < waiting else 0)
            for k, what in enumerate(kept)
            if what and k
        )

    def changed(kept: tuple[int, ...], k: int, what: int) -> tuple[int, ...]:
        return (*kept[:k], what, *kept[k + 1 :])

    start = ((OUTPUT, *[NOTHING] * last), last, False)
    best, heap = {start: 0}, [(0, 0, start)]
    while heap:
        cost, _, state = heappop(heap)
        kept, waiting, finished = state
        if not waiting:
            return cost
        if cost > best[state]:
            continue
        following = [
            (0, (changed(kept, k, what), waiting, finished))
            for k in range(1, last + 1)
            for what in range(kept[k])
        ]
        for k in range(min(last, waiting)):
            if kept[k] and k + 1 == last and waiting == last:
                following.append((costs[k], (changed(kept, last, WHOLE), waiting, True)))
            elif kept[k] and k + 1 < last:
                more = range(kept[k + 1] + 1, WHOLE + 1)
                following += [(costs[k], (changed(kept, k + 1, what), waiting, finished)) for what in more]
        if kept[waiting - 1] and kept[waiting] == WHOLE and (finished or waiting < last):
            following.append((0, (changed(kept, waiting, NOTHING), waiting - 1, finished)))
        for more, other in following:
            if nbytes(other) <= budget_bytes and cost + more < best.get(other, cost + more + 1):
                best[other] = cost + more
                heappush(heap, (cost + more, len(best), other))
    return None


def compare_with_all_orders_of_inner(count: int, seeds: range) -> Iterator[Comparison]:
    """As `compare_with_all_orders`, of chains with inner values."""
    for seed in seeds:
        rng = Random(f"inner {count} {seed}")
        costs, inner = (tuple(rng.randint(1, 10) for _ in range(count)) for _ in range(2))
        sizes = tuple(rng.randint(1, 10) for _ in range(count - 1))
        stages = inner_chain(costs, sizes, inner)
        for budget_bytes in range(1, sum(sizes) + sum(inner)):
            of_all = cheapest_of_all_orders_of_inner(costs, sizes, inner, budget_bytes)
            moves = plan_within(stages, budget_bytes)
            assert (of_all is None) == (moves is None)
            if of_all is not None:
                yield Comparison(costs, sizes, budget_bytes, of_all, int(simulate(stages, moves).cost))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_with_inner_values_no_order_is_dearer_and_some_are_cheaper_from_three_stages_on(count):
    found = list(compare_with_all_orders_of_inner(count, range(12)))
    assert all(pair.of_all <= pair.persistent for pair in found)
    assert any(pair.of_all < pair.persistent for pair in found) == (count > 2)


def main() -> None:
    """How much orders save that are not memory-persistent: the figures of the README."""
    for title, compare, sizes in (
        ("outputs only", compare_with_all_orders, ((4, 2000), (6, 1000), (8, 400), (10, 50))),
        ("with inner values", compare_with_all_orders_of_inner, ((3, 500), (4, 300), (5, 60))),
    ):
        print(title)
        for count, chains in sizes:
            _print_savings(count, chains, list(compare(count, range(chains))))


def _print_savings(count: int, chains: int, found: list[Comparison]) -> None:
    better = [pair for pair in found if pair.of_all < pair.persistent]
    share = len(better) / len(found)
    line = f"{count} stages, {chains} chains: {len(better)} of {len(found)} pairs ({share:.2%})"
    if better:
        savings = [pair.saving for pair in better]
        extra = [pair.extra_saving for pair in better]
        line += (
            f", there {sum(savings) / len(better):.1%} of the cost saved (most {max(savings):.1%}), "
            f"{sum(extra) / len(better):.1%} of what is computed again (most {max(extra):.1%})"
        )
    print(line, flush=True)


if __name__ == "__main__":
    main()
