"""Plans within a budget, compared with all plans of a chain, which an oracle simulates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from all_orders import (
    cheapest_of_all_orders,
    compare_with_all_orders,
    compare_with_all_orders_of_inner,
    simple_chain,
)
from plan_oracle import PLANS, all_outcomes, least_cost, persistent_plans, simulate

from memtrain.planning.remat import budget, planner
from memtrain.planning.remat.checkpoints import Move, Moves, keep_all, revolve, square_root
from memtrain.planning.remat.needs import Needs
from memtrain.planning.remat.planner import plan_within
from memtrain.planning.remat.replay import replay
from memtrain.planning.remat.stage import Stage, merged

# -- random chains -----------------------------------------------------------------------------------


def chain(seed: int, count: int, most: int = 40) -> list[Stage]:
    """Stages of random sizes and costs. Some have inner values, and some have the smallest possible peaks."""
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
    """Stages whose fields are almost independent of each other.

    Only inner values of no bytes cost nothing, and values that are live before a backward are live in it.
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
    """Equal stages, in which only values of the chain are held."""
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


def test_going_through_plans_of_other_policies_on_longer_chains_finds_peak_and_cost():
    for seed in range(12):
        stages = chain(seed, 8 + seed)
        count = len(stages)
        for moves in (keep_all(count), square_root(count), *(revolve(count, k) for k in (1, 2, 3, 5))):
            found, truth = replay(stages, moves), simulate(stages, moves)
            assert (found.peak_bytes, found.cost) == (truth.peak_bytes, truth.cost)


def test_a_plan_of_merged_stages_holds_and_costs_the_same_as_one_of_the_single_stages():
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


def test_on_unequal_stages_no_rule_is_cheaper_at_its_own_peak():
    for seed in range(10):
        stages = chain(seed, 9)
        for moves in rules(9):
            rule = simulate(stages, moves)
            found = simulate(stages, plan_within(stages, rule.peak_bytes))
            assert found.peak_bytes <= rule.peak_bytes
            assert found.cost <= rule.cost


# -- long chains and values of many sizes ------------------------------------------------------------


def check_good(stages: Sequence[Stage], cheaper: Sequence[Moves]) -> None:
    """Fail unless plans are within their budgets, exist if one must, and none of ``cheaper`` costs less."""
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
def test_a_chain_with_values_of_too_many_sizes_is_planned_within_the_budget(monkeypatch, levels):
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


# -- plans that drop a value and recompute it ----------------------------------------------------------


@pytest.mark.no_cover
@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_no_order_at_all_is_dearer_than_a_persistent_plan_nor_needs_less(count):
    for found in compare_with_all_orders(count, range(6)):
        assert found.of_all <= found.persistent


@pytest.mark.no_cover
def test_with_seven_stages_an_order_that_drops_a_value_and_computes_it_again_can_be_cheaper():
    costs, sizes, budget_bytes = (3, 6, 2, 1, 1, 1, 5), (1, 5, 4, 10, 6, 6), 19
    outcomes = {moves: simulate(simple_chain(costs, sizes), moves) for moves in persistent_plans(0, 6)}
    assert least_cost(outcomes, budget_bytes) == 34
    assert cheapest_of_all_orders(costs, sizes, budget_bytes) == 31


@pytest.mark.no_cover
@pytest.mark.parametrize("count", [2, 3, 4])
def test_with_inner_values_no_order_is_dearer_and_some_are_cheaper_from_three_stages_on(count):
    found = list(compare_with_all_orders_of_inner(count, range(12)))
    assert all(pair.of_all <= pair.persistent for pair in found)
    assert any(pair.of_all < pair.persistent for pair in found) == (count > 2)
