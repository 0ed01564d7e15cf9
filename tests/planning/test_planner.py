"""The planner and its plans: the smallest case of each kind that is easily wrong."""

import numpy as np
import pytest
from plan_oracle import simulate

from memtrain.cells.cell import Mode, cell_of
from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Phase, Role
from memtrain.graph.ops.activation import Tanh
from memtrain.graph.ops.arithmetic import multiply
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import reshape
from memtrain.planning.cost import flops
from memtrain.planning.liveness import analyse
from memtrain.planning.remat import budget
from memtrain.planning.remat.checkpoints import keep_all, revolve
from memtrain.planning.remat.planner import plan_within
from memtrain.planning.remat.policy import Policy
from memtrain.planning.remat.rematerialisation import rematerialise
from memtrain.planning.remat.stage import Stage
from memtrain.planning.schedule import schedule_in_order


def simple(costs, sizes, inner=()):
    outputs, inner = [*sizes, 0], [*inner, *[0] * len(costs)]
    return [
        Stage(cost, min(1, i), size, i, size, given + size, size + i, i, 0, i)
        for cost, size, given, i in zip(costs, outputs, [0, *outputs], inner, strict=False)
    ]


@pytest.mark.no_cover
def test_no_revolve_within_the_budget_is_cheaper_where_values_have_too_many_sizes(monkeypatch):
    """planner._candidates bisects the checkpoints of revolve, but for unequal stages neither the peak nor the
    cost is monotone in their number."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(6, 12))
        costs, sizes = rng.integers(1, 21, count).tolist(), rng.integers(1, 41, count - 1).tolist()
        stages = simple(costs, sizes)
        monkeypatch.setattr(budget, "MOST_ENTRIES", 5 * count**2)
        rules = [(k, simulate(stages, revolve(count, k))) for k in range(1, count + 1)]
        for _, rule in rules:
            found = simulate(stages, plan_within(stages, rule.peak_bytes))
            for other, outcome in rules:
                if outcome.peak_bytes <= rule.peak_bytes:
                    assert found.cost <= outcome.cost, (seed, costs, sizes, rule.peak_bytes, other)


WIDTHS = (
    259,
    61,
    231,
    195,
    4,
    15,
    222,
    9,
    1825,
    118,
    419,
    16,
    1,
    2218,
    29,
    111,
    15,
    909,
    254,
    955,
    119,
    897,
    149,
    14,
    2631,
    6,
    2965,
    62,
    1363,
    2914,
    1729,
    2746,
    10,
    256,
    1612,
    142,
    125,
    1656,
    89,
    281,
    2763,
    1535,
    15,
    2083,
    25,
    17,
    190,
    16,
    23,
    297,
    88,
    17,
    1,
    18,
    951,
    264,
    296,
    236,
    281,
    2988,
    13,
    2100,
    17,
    842,
    29,
    187,
    2271,
    17,
)


@pytest.mark.no_cover
def test_no_revolve_is_cheaper_in_a_real_network():
    cell = cell_of(depth=68, width=WIDTHS, batch=64, activation="gelu", cost="flops")
    rule = cell.changed(policy="revolve:7").plan(Mode.TRAIN).schedule
    plan = cell.changed(policy=f"budget:{analyse(rule).peak_bytes}").plan(Mode.TRAIN).schedule
    again = [
        sum(flops(s.graph, s.graph[step.node]) for step in s.steps if step.phase is Phase.RECOMPUTE)
        for s in (plan, rule)
    ]
    assert again[0] <= again[1]


def test_a_budget_that_holds_all_computes_nothing_again_where_values_have_too_many_sizes(monkeypatch):
    stages = simple([3, 5, 2], [11, 7], inner=[4, 9, 0])
    all_kept = simulate(stages, keep_all(3))
    assert simulate(stages, plan_within(stages, all_kept.peak_bytes)).cost == all_kept.cost
    monkeypatch.setattr(budget, "MOST_ENTRIES", 2 * 3**2)
    assert simulate(stages, plan_within(stages, all_kept.peak_bytes)).cost == all_kept.cost


def asked_view():
    """A graph in which y, a view of h = tanh x, is asked for, and backward reads h."""
    b = Builder()
    x = b.apply(Leaf(Role.INPUT, (6,), np.dtype(np.float64)), name="x")
    h = b.apply(Tanh(), x, name="h")
    y = reshape(b, h, (2, 3), name="y")
    with b.phase(Phase.BACKWARD):
        slope = multiply(b, h, x, name="slope")
    return b.graph(), x, h, y, slope


def test_a_value_that_is_asked_for_through_a_view_is_not_computed_beside_it():
    graph, x, h, y, slope = asked_view()
    forward = [(h.id, Phase.FORWARD), (y.id, Phase.FORWARD)]
    order = [*forward, (h.id, Phase.RECOMPUTE), (slope.id, Phase.BACKWARD)]
    with pytest.raises(GraphError, match="is recomputed while a later step"):
        schedule_in_order(graph, order, (y.id, slope.id), (x.id,))


@pytest.mark.parametrize("seed", [27, 84, 106, 142, 175, 228, 275, 365, 2228, 2851])
def test_a_budget_is_kept_if_a_value_is_asked_for_through_a_view(seed):
    from random import Random

    from brute_force import program

    from memtrain.planning.remat.rematerialisation import smallest_budget

    schedule = program(seed, Random(seed).randint(3, 25))
    least, most = smallest_budget(schedule), analyse(schedule).peak_bytes
    assert 0 < least <= most
    assert any(
        schedule.graph[i].op.name in ("reshape", "transpose") and schedule.graph[i].phase is Phase.FORWARD
        for step in schedule.steps
        if step.phase is not Phase.FORWARD
        for i in schedule.graph[step.node].inputs
    )
    for count in range(least, most + 1, 4):
        changed = rematerialise(schedule, Policy("budget", count), flops).schedule
        assert analyse(changed).peak_bytes <= count


@pytest.mark.parametrize("policy", ["revolve:2", "revolve:9"])
def test_no_step_frees_a_value_twice(policy):
    cell = cell_of(depth=2, width=8, batch=8, activation="identity", policy=policy)
    for step in cell.schedule(Mode.TRAIN).steps:
        assert len(set(step.frees)) == len(step.frees), step


@pytest.mark.parametrize("given", [{"accumulate": 2}, {"activation": "identity"}])
def test_a_plan_that_computes_nothing_again_says_so(given):
    cell = cell_of(depth=2, width=8, batch=8, cost="flops", **given)
    peak = analyse(cell.keep_all(Mode.TRAIN)).peak_bytes
    plan = cell.changed(policy=f"budget:{peak}").plan(Mode.TRAIN)
    graph = plan.schedule.graph
    again = [graph[step.node] for step in plan.schedule.steps if step.phase is Phase.RECOMPUTE]
    assert sum(flops(graph, node) for node in again) == 0
    assert plan.executed_count == 0
