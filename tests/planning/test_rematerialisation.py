"""Rematerialisation: the same bits, live bytes by definition and by ledger, and refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from brute_force import (
    brute_force,
    check_presence,
    holder,
    program,
    programs,
    recomputed,
    retained,
    with_repeats,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import build, mlp
from packing_oracle import check_packing
from runs import Poisoned, Watched, leaf_values, outcome, same_bits

from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.errors import BudgetError, GraphError
from memtrain.explaining.proof import stale_reads
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Graph, Node, Phase, Role
from memtrain.graph.ops.activation import Relu, Tanh
from memtrain.graph.ops.arithmetic import Exp, add, multiply, sum_to
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.update import Average
from memtrain.graph.ops.view import reshape
from memtrain.models.mlp import ACTIVATIONS
from memtrain.planning import packing
from memtrain.planning.cost import flops
from memtrain.planning.liveness import analyse
from memtrain.planning.occupancy import occupancy_of
from memtrain.planning.packing import pack
from memtrain.planning.remat.chain import chains
from memtrain.planning.remat.policy import Policy, read_policy
from memtrain.planning.remat.rematerialisation import Plan, rematerialise, smallest_budget
from memtrain.planning.remat.replay import replay
from memtrain.planning.remat.stage import stages
from memtrain.planning.schedule import Schedule, make_schedule, schedule_in_order
from memtrain.run.allocation import PACKED, peak_bytes
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger
from memtrain.run.packed import PackedRun
from memtrain.training.iteration import UPDATES, inference, training
from memtrain.training.optimizers import OPTIMIZERS, add_updates

EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)
SEEDS = st.integers(0, 2**32 - 1)
FLOAT = np.dtype(np.float64)


@pytest.fixture(autouse=True, scope="module")
def _short_search():
    """Shorten the search for a small arena, which takes a second each time: any arena is good enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_MOST_ATTEMPTS", 2)
        yield


def again(schedule: Schedule) -> list[str]:
    """The names of the recomputed nodes, in order."""
    return [schedule.graph[s.node].name for s in schedule.steps if s.phase is Phase.RECOMPUTE]


def forward_cost(schedule: Schedule) -> int:
    graph = schedule.graph
    phases = (Phase.FORWARD, Phase.RECOMPUTE)
    return sum(flops(graph, graph[step.node]) for step in schedule.steps if step.phase in phases)


def check_same(schedule: Schedule, expected: list[list[np.ndarray]]) -> None:
    """Fail unless two iterations, with fresh arrays and in an arena, give the expected bits."""
    for run in (Run(schedule), PackedRun(schedule)):
        for got, wanted in zip(outcome(run, leaf_values(schedule, 1)), expected, strict=True):
            assert same_bits(got, wanted), type(run).__name__


def check_ledgers(schedule: Schedule) -> None:
    """Fail unless predicted = ledger, with fresh arrays and in an arena."""
    predicted, fresh, packed = analyse(schedule), Ledger(), Ledger()
    outcome(Run(schedule, fresh), leaf_values(schedule, 1))
    assert fresh.peak_bytes == predicted.peak_bytes
    assert fresh.peak_step == predicted.peak_step
    assert fresh.peak_role_bytes == predicted.peak_role_bytes
    outcome(PackedRun(schedule, packed), leaf_values(schedule, 1))
    assert packed.peak_bytes == peak_bytes(predicted, PACKED)
    for role in set(Role) - {Role.TRANSIENT, Role.RECOMPUTED}:
        assert packed.peak_role_bytes[role] == predicted.peak_role_bytes[role]


def check_sound(schedule: Schedule) -> None:
    """Fail if a step reads a freed value, or two arrays overlap."""
    assert stale_reads(schedule) == []
    check_presence(schedule)
    check_packing(schedule, pack(occupancy_of(schedule)))


def check_definition(schedule: Schedule) -> None:
    """Fail unless liveness agrees with its definition at every step."""
    truth, predicted = brute_force(schedule), analyse(schedule)
    assert list(predicted.live_bytes) == truth.live_bytes
    assert predicted.peak_step == truth.peak_step
    assert predicted.peak_role_bytes == truth.peak_role_bytes
    assert {node.id for node in predicted.retained} == retained(schedule)
    assert {life.node.id for life in predicted.lives if life.role is Role.RECOMPUTED} == recomputed(schedule)


# -- random networks ---------------------------------------------------------------------------------


def network(seed: int) -> Cell:
    """A small random network, with the policy none."""
    rng = Random(seed)
    depth = rng.choice((0, 1, 2, 3, 4, 6, 9, 14, 20))
    accumulate = rng.choice((1, 1, 1, 2, 4))
    return cell_of(
        depth=depth,
        width=rng.randint(1, 9) if rng.random() < 0.5 else tuple(rng.randint(1, 9) for _ in range(depth)),
        batch=accumulate * rng.randint(1, 5),
        activation=rng.choice(list(ACTIVATIONS)),
        bias=rng.random() < 0.5,
        optimizer=rng.choice(OPTIMIZERS),
        l2=rng.choice((0.0, 1e-2)),
        dtype=rng.choice(("float32", "float64")),
        input_size=rng.randint(1, 9),
        output_size=rng.randint(2, 6),
        update=rng.choice(UPDATES),
        accumulate=accumulate,
        cost="flops",
    )


def policies(schedule: Schedule, seed: int) -> list[Policy]:
    """Policies of every kind, among them the smallest and the largest useful budget."""
    rng = Random(seed)
    least, most = smallest_budget(schedule), analyse(schedule).peak_bytes
    return [
        Policy("none"),
        Policy("sqrt"),
        Policy("revolve", rng.randint(1, 6)),
        *(Policy("budget", count) for count in (least, rng.randint(least, most), most)),
    ]


@cache
def plans(seed: int) -> tuple[Plan, ...]:
    cell = network(seed)
    wanted = policies(cell.keep_all(Mode.TRAIN), seed)
    return tuple(cell.changed(policy=str(policy)).plan(Mode.TRAIN) for policy in wanted)


FEW, MORE = range(3), range(3, 24)
every_network = pytest.mark.parametrize(
    "seed", [*FEW, *(pytest.param(seed, marks=pytest.mark.no_cover) for seed in MORE)]
)


@every_network
def test_no_policy_changes_a_bit_of_loss_parameters_or_state(seed):
    schedule = network(seed).keep_all(Mode.TRAIN)
    expected = outcome(Run(schedule), leaf_values(schedule, 1))
    assert len(expected[0]) == len(schedule.asked)
    for plan in plans(seed):
        check_same(plan.schedule, expected)


@every_network
def test_what_is_predicted_is_what_the_ledger_counts_and_a_budget_is_kept(seed):
    for plan in plans(seed):
        check_ledgers(plan.schedule)
        if plan.policy.kind == "budget":
            assert analyse(plan.schedule).peak_bytes <= plan.policy.number


@every_network
def test_no_step_reads_a_freed_value_and_no_two_arrays_overlap(seed):
    for plan in plans(seed):
        check_sound(plan.schedule)


@every_network
def test_live_bytes_under_every_policy_are_what_the_definition_says(seed):
    for plan in plans(seed):
        if len(plan.schedule.steps) < 200:
            check_definition(plan.schedule)


def within(cell: Cell, budget_bytes: int) -> Plan:
    """The plan of a cell within a budget, or else within the least budget that the error names."""
    try:
        return cell.changed(policy=f"budget:{budget_bytes}").plan(Mode.TRAIN)
    except BudgetError as error:
        least = error.least_bytes
    assert budget_bytes < least
    return cell.changed(policy=f"budget:{least}").plan(Mode.TRAIN)


@every_network
def test_an_arena_keeps_its_budget_too(seed):
    cell = replace(network(seed), allocation=PACKED)
    schedule = cell.keep_all(Mode.TRAIN)
    most = peak_bytes(analyse(schedule), PACKED)
    expected = outcome(Run(schedule), leaf_values(schedule, 1))
    for count in (most, smallest_budget(schedule) + Random(seed).randint(0, most // 2)):
        plan = within(cell, count)
        ledger = Ledger()
        outcome(PackedRun(plan.schedule, ledger), leaf_values(plan.schedule, 1))
        assert ledger.peak_bytes <= plan.policy.number
        check_same(plan.schedule, expected)


@every_network
def test_a_plan_holds_and_costs_what_going_through_its_stages_finds(seed):
    schedule = network(seed).keep_all(Mode.TRAIN)
    for plan in plans(seed):
        numbers = stages(schedule, [one.chain for one in plan.passes], flops)
        found = [replay(each, one.moves) for each, one in zip(numbers, plan.passes, strict=True)]
        if found:
            assert analyse(plan.schedule).peak_bytes <= max(outcome.peak_bytes for outcome in found)
            assert forward_cost(plan.schedule) == sum(outcome.cost for outcome in found)


@every_network
def test_a_budget_that_holds_all_computes_nothing_again_and_each_byte_less_costs_as_much_or_more(seed):
    cell = network(seed)
    schedule = cell.keep_all(Mode.TRAIN)
    least, most = smallest_budget(schedule), analyse(schedule).peak_bytes
    budgets = sorted({least, most, *(least + (most - least) * k // 5 for k in range(6))})
    costs = []
    for count in budgets:
        plan = cell.changed(policy=f"budget:{count}").plan(Mode.TRAIN)
        costs.append(forward_cost(plan.schedule))
    assert costs[-1] == forward_cost(schedule)
    assert all(before >= after for before, after in pairwise(costs))
    with pytest.raises(BudgetError) as raised:
        cell.changed(policy=f"budget:{least - 1}").plan(Mode.TRAIN)
    assert raised.value.least_bytes == least


def test_the_random_networks_reach_what_is_kept_and_what_is_computed_again():
    kinds = {}
    for seed in range(12):
        for plan in plans(seed):
            roles = analyse(plan.schedule).peak_role_bytes
            found = kinds.setdefault(plan.policy.kind, set())
            found.add("again" if again(plan.schedule) else "not again")
            found.update(role for role in (Role.RETAINED, Role.RECOMPUTED) if roles[role])
    assert kinds["none"] == {"not again", Role.RETAINED}
    for kind in ("sqrt", "revolve", "budget"):
        assert kinds[kind] == {"again", "not again", Role.RETAINED, Role.RECOMPUTED}


# -- random programs with values that are computed more than once ---------------------------------------

REPEATING = st.builds(
    lambda schedule, eager, seed: (schedule, with_repeats(at_once(schedule) if eager else schedule, seed)),
    programs(),
    st.booleans(),
    SEEDS,
)


def at_once(schedule: Schedule) -> Schedule:
    asked, held = ([schedule.graph[i] for i in ids] for ids in (schedule.asked, schedule.held))
    return make_schedule(schedule.graph, asked, eager_updates=True, held=held)


@pytest.mark.no_cover
@EXAMPLES
@given(REPEATING)
def test_live_bytes_of_values_computed_again_and_again_are_what_the_definition_says(made):
    _, repeating = made
    check_definition(repeating)
    ledger, predicted = Ledger(), analyse(repeating)
    outcome(Run(repeating, ledger), leaf_values(repeating, 1))
    assert ledger.peak_bytes == predicted.peak_bytes
    assert ledger.peak_step == predicted.peak_step
    assert ledger.peak_role_bytes == predicted.peak_role_bytes


@pytest.mark.no_cover
@EXAMPLES
@given(REPEATING)
def test_no_storage_is_freed_or_reused_while_a_later_step_reads_what_was_computed_in_it(made):
    check_sound(made[1])


@pytest.mark.no_cover
@EXAMPLES
@given(REPEATING)
def test_computing_again_changes_no_bit_whatever_was_in_the_buffers_before(made):
    schedule, repeating = made
    leaves = leaf_values(schedule, 1)
    expected = outcome(Run(schedule), leaves)
    for run in (Run(repeating), PackedRun(repeating), Poisoned(repeating), Watched(repeating)):
        for got, wanted in zip(outcome(run, leaves), expected, strict=True):
            assert same_bits(got, wanted), type(run).__name__


def test_the_random_orders_reach_what_is_computed_three_times_and_what_is_only_read_by_others_again():
    counts, roles, in_forward = set(), set(), False
    for seed in range(60):
        repeating = with_repeats(program(seed, 12), seed)
        nodes = [step.node for step in repeating.steps]
        counts.update(map(nodes.count, nodes))
        roles.update(life.role for life in analyse(repeating).lives)
        phases = [step.phase for step in repeating.steps]
        in_forward |= (Phase.RECOMPUTE, Phase.FORWARD) in set(pairwise(phases))
        assert len(phases) == len(program(seed, 12).steps) + phases.count(Phase.RECOMPUTE)
    assert {1, 2, 3} <= counts
    assert {Role.RETAINED, Role.RECOMPUTED, Role.TRANSIENT, Role.GRADIENT} <= roles
    assert in_forward


@settings(EXAMPLES, max_examples=100)
@given(programs(), st.booleans(), SEEDS)
def test_every_policy_gives_the_same_bits_and_keeps_its_budget_on_random_programs(schedule, eager, seed):
    if any(schedule.graph[i].op.is_view for i in schedule.asked):
        return
    schedule = at_once(schedule) if eager else schedule
    expected = outcome(Run(schedule), leaf_values(schedule, 1))
    for policy in policies(schedule, seed) if chains(schedule) else [Policy("sqrt"), Policy("revolve", 2)]:
        changed = rematerialise(schedule, policy, flops).schedule
        check_same(changed, expected)
        check_definition(changed)
        check_sound(changed)
        if policy.kind == "budget":
            assert analyse(changed).peak_bytes <= policy.number


# -- faults that the oracles notice ------------------------------------------------------------------


def forged(schedule: Schedule, place: int, **changes) -> Schedule:
    steps = list(schedule.steps)
    steps[place] = replace(steps[place], **changes)
    return replace(schedule, steps=tuple(steps))


def test_a_value_that_is_freed_before_it_is_computed_again_and_read_is_found_out():
    schedule = rematerialise(training(build(BOOK), "sgd", 0.1), Policy("sqrt"), flops).schedule
    check_sound(schedule)
    place = last_place(schedule, "h1")
    assert schedule.steps[place].phase is Phase.RECOMPUTE
    index = schedule.steps[place].node
    for wrong in (
        forged(schedule, place, frees=(index,)),  # h1 is freed before h2 is recomputed
        forged(schedule, place - 1, frees=(schedule.steps[place - 1].node,)),  # z1 is freed too early
        replace(schedule, steps=schedule.steps[:place] + schedule.steps[place + 1 :]),  # h1 is not computed
    ):
        with pytest.raises((AssertionError, KeyError)):
            check_presence(wrong)
        assert stale_reads(wrong)


def test_a_value_that_is_kept_though_it_is_computed_again_is_found_out():
    schedule = rematerialise(training(build(BOOK), "sgd", 0.1), Policy("sqrt"), flops).schedule
    graph = schedule.graph
    h1 = graph.named("h1").id
    (place,) = [p for p, step in enumerate(schedule.steps) if h1 in step.frees and p < 9]
    wrong = forged(schedule, place, frees=tuple(i for i in schedule.steps[place].frees if i != h1))
    with pytest.raises(AssertionError):
        check_presence(wrong)
    with pytest.raises(AssertionError):
        check_definition(wrong)


# -- by hand -----------------------------------------------------------------------------------------

BOOK = mlp(3, 4, (5, 5, 5), 2, l2=0.0)

# n = 3, d = 4, h = 5, q = 2, float32. Always there: x 48, y 24, W1 80, W2 and W3 100 each, W4 40.
LEAVES = 48 + 24 + 80 + 100 + 100 + 40
BY_HAND = [
    ("z1", LEAVES + 60),
    ("h1", LEAVES + 60),  # in z1's buffer
    ("z2", LEAVES + 60 + 60),  # then h1 is freed; its segment will recompute it
    ("h2", LEAVES + 60),
    ("z3", LEAVES + 60 + 60),  # then h2 is freed
    ("h3", LEAVES + 60),  # the input of the last segment
    ("o", LEAVES + 60 + 24),
    ("logp", LEAVES + 60 + 24 + 36),  # in o's buffer; workspace: 3 figures and 3×2 floats
    ("L", LEAVES + 60 + 24 + 4 + 36),  # workspace: 3 int64 and 3 floats
    ("∂L/∂L", LEAVES + 60 + 24 + 4 + 4),
    ("∂L/∂logp", LEAVES + 60 + 24 + 4 + 4 + 24 + 24),  # workspace: 3 int64; then ∂L/∂L is freed
    ("∂L/∂o", LEAVES + 60 + 24 + 4 + 24 + 60),  # in place; workspace: 3 and 2·3×2 floats; then logp is freed
    ("∂L/∂W4", LEAVES + 60 + 4 + 24 + 40),
    ("∂L/∂h3", LEAVES + 60 + 4 + 24 + 40 + 60),  # then ∂L/∂o is freed
    ("∂L/∂z3", LEAVES + 60 + 4 + 40 + 60),  # in h3's buffer; then ∂L/∂h3 is freed
    ("z1", LEAVES + 60 + 4 + 40 + 60),  # recomputed while ∂L/∂z3 is live
    ("h1", LEAVES + 60 + 4 + 40 + 60),
    ("z2", LEAVES + 60 + 4 + 40 + 60 + 60),  # h1 stays
    ("h2", LEAVES + 60 + 4 + 40 + 60 + 60),  # no later step reads h3, so it is not recomputed
    ("∂L/∂W3", LEAVES + 60 + 4 + 40 + 60 + 60 + 100),
    ("∂L/∂h2", LEAVES + 60 + 4 + 40 + 60 + 60 + 100 + 60),  # then ∂L/∂z3 is freed
    ("∂L/∂z2", LEAVES + 4 + 40 + 60 + 60 + 100 + 60),  # in h2's buffer; then ∂L/∂h2 is freed
    ("∂L/∂W2", LEAVES + 4 + 40 + 60 + 60 + 100 + 100),
    ("∂L/∂h1", LEAVES + 4 + 40 + 60 + 60 + 100 + 100 + 60),  # then ∂L/∂z2 is freed
    ("∂L/∂z1", LEAVES + 4 + 40 + 60 + 100 + 100 + 60),  # in h1's buffer; then ∂L/∂h1 is freed
    ("∂L/∂W1", LEAVES + 4 + 40 + 60 + 100 + 100 + 80),  # then ∂L/∂z1 is freed
    ("W1′", LEAVES + 4 + 40 + 100 + 100 + 80 + 80),  # workspace as large as the gradient, which is then freed
    ("W2′", LEAVES + 4 + 40 + 100 + 100 + 100),
    ("W3′", LEAVES + 4 + 40 + 100 + 100),
    ("W4′", LEAVES + 4 + 40 + 40),
]


def last_place(schedule: Schedule, name: str) -> int:
    return max(p for p, step in enumerate(schedule.steps) if schedule.graph[step.node].name == name)


def test_three_hidden_layers_under_sqrt_are_as_worked_out_by_hand():
    """The stages end with h1, h2, h3, log p and L. For five stages, sqrt makes segments of three."""
    plan = rematerialise(training(build(BOOK), "sgd", 0.1), Policy("sqrt"), flops)
    found = analyse(plan.schedule)
    names = [found.schedule.graph[step.node].name for step in found.schedule.steps]
    assert list(zip(names, found.live_bytes, strict=True)) == BY_HAND
    assert again(plan.schedule) == ["z1", "h1", "z2", "h2"]
    assert [step.phase for step in found.schedule.steps] == (
        [Phase.FORWARD] * 9 + [Phase.BACKWARD] * 6 + [Phase.RECOMPUTE] * 4 + [Phase.BACKWARD] * 7
    ) + [Phase.UPDATE] * 4
    assert (found.peak_bytes, found.peak_node.name) == (LEAVES + 424, "∂L/∂h1")
    assert found.peak_role_bytes == {
        Role.PARAMETER: 320,
        Role.GRADIENT: 40 + 100 + 100,
        Role.OPTIMIZER: 0,
        Role.INPUT: 72,
        Role.RETAINED: 0,
        Role.RECOMPUTED: 60,  # h1
        Role.TRANSIENT: 4 + 60 + 60,  # L, ∂L/∂z2 and ∂L/∂h1
        Role.WORKSPACE: 0,
    }
    assert [node.name for node in found.retained] == ["h3", "logp"]
    assert [life.node.name for life in found.lives if life.role is Role.RECOMPUTED] == ["h1", "h2"]
    check_definition(plan.schedule)


def test_the_counts_of_a_plan_are_as_computed_by_hand():
    """The moves recompute h1, h2 and h3, but no later step reads h3."""
    plan = rematerialise(training(build(BOOK), "sgd", 0.1), Policy("sqrt"), flops)
    assert (plan.abstract_count, plan.executed_count) == (3, 2)
    assert [(node.name, count) for node, count in plan.values()] == [
        ("h1", 1),
        ("h2", 1),
        ("h3", 0),
        ("logp", 0),
    ]


def test_with_one_checkpoint_each_layer_begins_with_x():
    plan = rematerialise(training(build(BOOK), "sgd", 0.1), Policy("revolve", 1), flops)
    first, second, third = ["z1", "h1"], ["z2", "h2"], ["z3", "h3"]
    # log p is freed, too, before ∂L/∂o is computed; each backward reads only the input of its stage
    assert again(plan.schedule) == [*first, *second, *third, *first, *second, *first]
    assert {node.name for node in analyse(plan.schedule).retained} == {"logp"}


# -- values inside a stage ---------------------------------------------------------------------------


def leaf(b: Builder, name: str, *shape: int, role: Role = Role.PARAMETER) -> Node:
    return b.apply(Leaf(role, shape or (3,), FLOAT), name=name)


def gated(layers: int, crossing: bool = False) -> Schedule:
    """Layers of m = h ⊙ t, with t = tanh(e) and e = e^h. Backward reads h, e and t; the next layer reads m.

    With ``crossing``, the next layer reads m plus the h of the layer before, so that two values cross over.
    """
    b = Builder()
    x = leaf(b, "x", 4, 5, role=Role.INPUT)
    weights = [leaf(b, f"W{k}", 5, 5) for k in range(layers)]
    value = before = x
    for k, weight in enumerate(weights):
        h = b.apply(Tanh(), matmul(b, value, weight, name=f"z{k}"), name=f"h{k}")
        t = b.apply(Tanh(), b.apply(Exp(), h, name=f"e{k}"), name=f"t{k}")
        product = multiply(b, h, t, name=f"m{k}")
        value, before = (add(b, product, before, name=f"r{k}") if crossing else product), h
    loss = sum_to(b, multiply(b, value, value, name="square"), ())
    updated = add_updates(b, "momentum", 0.1, tuple(weights), gradient(b, loss, weights))
    return make_schedule(b.graph(), [loss, *updated])


def named(graph: Graph, nodes: tuple[int, ...]) -> list[str]:
    return [graph[i].name for i in nodes]


def test_a_value_that_only_backward_reads_beside_the_boundary_is_inside_of_its_stage():
    schedule = gated(2)
    graph = schedule.graph
    (chain,) = chains(schedule)
    assert named(graph, chain.outputs) == ["h0", "m0", "h1", "m1"]
    assert [named(graph, nodes) for nodes in chain.forward] == [
        ["z0", "h0"],
        ["e0", "t0", "m0"],
        ["z1", "h1"],
        ["e1", "t1", "m1"],
        ["square", graph[schedule.asked[0]].name],
    ]
    assert [named(graph, nodes) for nodes in chain.inner] == [[], ["e0", "t0"], [], ["e1", "t1"], []]
    cut = [place for steps in reversed(chain.backward) for place in steps]
    assert cut == list(range(12, len(schedule.steps)))


@pytest.mark.parametrize("crossing", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 5])
def test_plans_with_values_inside_of_stages_give_the_same_bits_and_keep_their_budgets(layers, crossing):
    schedule = gated(layers, crossing)
    assert any(inner for chain in chains(schedule) for inner in chain.inner)
    expected = outcome(Run(schedule), leaf_values(schedule, 1))
    least, most = smallest_budget(schedule), analyse(schedule).peak_bytes
    budgets = {least, most, *(least + (most - least) * k // 4 for k in range(5))}
    counts = set()
    for text in ("sqrt", *(f"revolve:{k}" for k in range(1, 6)), *(f"budget:{count}" for count in budgets)):
        policy = read_policy(text)
        changed = rematerialise(schedule, policy, flops).schedule
        check_same(changed, expected)
        check_definition(changed)
        check_sound(changed)
        check_ledgers(changed)
        counts.add(len(again(changed)))
        if policy.kind == "budget":
            assert analyse(changed).peak_bytes <= policy.number
    assert len(counts) > 1
    with pytest.raises(BudgetError):
        rematerialise(schedule, Policy("budget", least - 1), flops)


def test_a_graph_that_no_value_cuts_in_two_is_a_chain_of_few_stages():
    schedule = gated(3, crossing=True)
    graph = schedule.graph
    (chain,) = chains(schedule)
    assert named(graph, chain.outputs) == ["h0", "r2"]  # forward still reads h0 after r0, and h1 after r1
    assert {"r0", "r1", "h1", "h2", "t0", "t1", "t2"} <= set(named(graph, chain.inner[1]))


def read_in_order(*reads: str) -> Schedule:
    """a = tanh x, b = e^a, c = tanh b, and a backward that reads them in this order."""
    b = Builder()
    value = leaf(b, "x", role=Role.INPUT)
    values = {}
    for name, op in (("a", Tanh), ("b", Exp), ("c", Tanh)):
        value = values[name] = b.apply(op(), value, name=name)
    with b.phase(Phase.BACKWARD):
        total = b.apply(Exp(), leaf(b, "seed", role=Role.INPUT))
        for name in reads:
            total = multiply(b, total, values[name])
    return make_schedule(b.graph(), [total])


@pytest.mark.parametrize(
    ("reads", "outputs"),
    [
        ("cba", ["a", "b", "c"]),
        ("ccbbaa", ["a", "b", "c"]),
        ("ca", ["a", "c"]),  # no step of backward reads b
        ("cab", ["c"]),  # the last read of a comes before that of b, which is later in forward
        ("acb", []),
        ("aba", ["a"]),  # a is read before b and after it
        ("cbab", ["c"]),
        ("bcba", ["a", "b"]),
        ("bca", ["a"]),
    ],
)
def test_a_value_cuts_backward_if_it_is_read_last_after_later_values_and_before_earlier_ones(reads, outputs):
    schedule = read_in_order(*reads)
    (chain,) = chains(schedule)
    assert named(schedule.graph, chain.outputs) == outputs
    inside = {name for inner in chain.inner for name in named(schedule.graph, inner)}
    assert inside == set(reads) - set(outputs)


# -- inference, and what is refused -------------------------------------------------------------------


@pytest.mark.parametrize("text", ["none", "sqrt", "revolve:1", "budget:1", "budget:1GiB"])
def test_inference_stays_as_it_is(text):
    schedule = inference(build(BOOK))
    plan = rematerialise(schedule, read_policy(text), flops)
    assert plan.schedule is schedule
    assert plan.passes == ()
    cell = cell_of(depth=3, width=5, batch=3, cost="flops")
    steps = cell.changed(policy=text).schedule(Mode.INFER).steps
    assert steps == cell.schedule(Mode.INFER).steps


def test_none_leaves_training_as_it_is():
    schedule = training(build(BOOK), "sgd", 0.1)
    assert rematerialise(schedule, Policy("none"), flops).schedule is schedule


def test_a_value_may_not_be_computed_again_while_an_old_view_of_it_is_still_read():
    b = Builder()
    x = leaf(b, "x", 6, role=Role.INPUT)
    z = b.apply(Tanh(), x, name="z")
    view = reshape(b, z, (2, 3), name="view")
    total = b.apply(Exp(), view, name="total")
    graph = b.graph()
    forward = [(z.id, Phase.FORWARD), (view.id, Phase.FORWARD)]
    base, both = [(z.id, Phase.RECOMPUTE)], [(z.id, Phase.RECOMPUTE), (view.id, Phase.RECOMPUTE)]
    last = [(total.id, Phase.BACKWARD)]
    with pytest.raises(GraphError, match=r"^z tanh\[6\] float64 is recomputed while a later step"):
        schedule_in_order(graph, forward + base + last, (total.id,), (x.id,))
    for order in (forward + both + last, forward + last + both, forward + both[1:] + last):
        check_sound(schedule_in_order(graph, order, (total.id,), (x.id,)))


def test_a_value_may_not_be_computed_again_from_a_parameter_that_is_updated_by_then():
    """For example a mean of gradients that forward adds, and that is updated during backward."""
    b = Builder()
    x, mean = leaf(b, "x"), leaf(b, "mean")
    h = add(b, x, mean, name="h0")
    for k in range(1, 6):
        h = b.apply(Tanh(), h, name=f"h{k}")
    loss = sum_to(b, multiply(b, h, h), ())
    (slope,) = gradient(b, loss, [x])
    early = next(node for node in b.nodes if node.phase is Phase.BACKWARD and node.shape == (3,))
    with b.phase(Phase.UPDATE):
        updated = b.apply(Average(0.9), mean, early, name="mean′")
    eager, deferred = (
        make_schedule(b.graph(), [loss, slope, updated], eager_updates=eager) for eager in (True, False)
    )
    names = [eager.graph[step.node].name for step in eager.steps]
    assert names.index("mean′") < len(names) - 3
    with pytest.raises(
        GraphError, match=r"^mean′ average\[3\] float64 overwrites a value that a later recomputation reads"
    ):
        rematerialise(eager, Policy("sqrt"), flops)
    changed = rematerialise(deferred, Policy("sqrt"), flops).schedule
    assert "h0" in again(changed)
    check_same(changed, outcome(Run(deferred), leaf_values(deferred, 1)))


def test_what_is_computed_again_keeps_the_roles_apart():
    """h is retained in forward, transient if only the next step reads it, and recomputed for backward."""
    b = Builder()
    x = leaf(b, "x", 10, role=Role.INPUT)
    z = b.apply(Relu(), x, name="z")
    h = b.apply(Exp(), z, name="h")
    with b.phase(Phase.BACKWARD):
        slope = multiply(b, h, z, name="slope")
    order = [
        *((z.id, Phase.FORWARD), (h.id, Phase.FORWARD)),
        *((z.id, Phase.RECOMPUTE), (h.id, Phase.RECOMPUTE)),
        (slope.id, Phase.BACKWARD),
    ]
    schedule = schedule_in_order(b.graph(), order, (slope.id,), (x.id,))
    lives = [(life.node.name, life.born_step, life.freed_step, life.role) for life in analyse(schedule).lives]
    assert lives == [
        ("x", 0, 4, Role.INPUT),
        ("z", 0, 0, Role.TRANSIENT),  # h takes over its buffer
        ("h", 1, 1, Role.TRANSIENT),  # no step of backward reads it before it is recomputed
        ("z", 2, 4, Role.RECOMPUTED),
        ("h", 3, 3, Role.RECOMPUTED),  # slope takes over its buffer
        ("slope", 4, 4, Role.TRANSIENT),
    ]
    check_definition(schedule)
    assert holder(schedule.graph, h.id) == h.id


@pytest.mark.parametrize("text", ["sqrt", "revolve:1", "revolve:2"])
@pytest.mark.parametrize("asked", [True, False])
def test_an_effect_in_forward_happens_once_whatever_is_computed_again(text, asked):
    """For example a running mean that one layer updates and a later layer of the same forward pass reads."""
    b = Builder()
    x, y, mean = leaf(b, "x"), leaf(b, "y"), leaf(b, "mean")
    h = x
    for k in range(8):
        if k == 4:
            updated = b.apply(Average(0.9), mean, y, name="mean′")
            h = add(b, h, updated, name="h4")
        else:
            h = b.apply(Tanh(), h, name=f"h{k}")
    loss = sum_to(b, multiply(b, h, h), ())
    (slope,) = gradient(b, loss, [x])
    schedule = make_schedule(b.graph(), [loss, slope, *([updated] if asked else [])])
    changed = rematerialise(schedule, read_policy(text), flops).schedule
    assert [step.node for step in changed.steps].count(updated.id) == 1
    assert "h4" in again(changed)
    check_same(changed, outcome(Run(schedule), leaf_values(schedule, 1)))
