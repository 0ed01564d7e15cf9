"""Eager updates: their order by hand, the version of a value that each step reads, and the saved bytes."""

from __future__ import annotations

from collections import Counter
from itertools import product
from random import Random

import numpy as np
import pytest
from brute_force import brute_force, check_presence, holder, program, programs, retained
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import Sized, build, mlp
from runs import evaluate, leaf_values, outcome, same_bits

from memtrain.graph.builder import Builder
from memtrain.graph.node import Graph, Node, Phase, Role
from memtrain.graph.ops.activation import Relu, Tanh
from memtrain.graph.ops.arithmetic import Copy, Exp, Scale, add, multiply
from memtrain.graph.ops.source import Fill, Leaf
from memtrain.graph.ops.update import Average, Descend
from memtrain.graph.ops.view import Identity, reshape
from memtrain.models.mlp import ACTIVATIONS
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.run.executor import Run
from memtrain.run.packed import PackedRun
from memtrain.training.iteration import DEFERRED, EAGER, inference, training
from memtrain.training.optimizers import OPTIMIZERS

pytestmark = pytest.mark.no_cover

EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
FLOAT = np.dtype(np.float64)


def both(graph: Graph, asked: list[Node]) -> tuple[Schedule, Schedule]:
    """The schedules with deferred and with eager updates."""
    return make_schedule(graph, asked), make_schedule(graph, asked, eager_updates=True)


def of_program(schedule: Schedule) -> tuple[Schedule, Schedule]:
    return both(schedule.graph, [schedule.graph[i] for i in schedule.asked])


def names(schedule: Schedule) -> list[str]:
    return [schedule.graph[step.node].name for step in schedule.steps]


def leaf(b: Builder, name: str, *shape: int, role: Role = Role.PARAMETER) -> Node:
    return b.apply(Leaf(role, shape or (3,), FLOAT), name=name)


# -- by hand -----------------------------------------------------------------------------------------

FORWARD = ["z1", "h1", "z2", "h2", "o", "logp", "L"]
BY_HAND = {
    "sgd": [
        *("∂L/∂L", "∂L/∂logp", "∂L/∂o"),
        *("∂L/∂W3", "∂L/∂h2", "W3′"),  # ∂L/∂h2 is the last that reads W3
        *("∂L/∂z2", "∂L/∂W2", "∂L/∂h1", "W2′"),
        *("∂L/∂z1", "∂L/∂W1", "W1′"),  # no step computes ∂L/∂x, so W1′ need not wait
    ],
    "momentum": [
        *("∂L/∂L", "∂L/∂logp", "∂L/∂o"),
        *("∂L/∂W3", "v(W3)′", "∂L/∂h2", "W3′"),  # only W3′ has to wait
        *("∂L/∂z2", "∂L/∂W2", "v(W2)′", "∂L/∂h1", "W2′"),
        *("∂L/∂z1", "∂L/∂W1", "v(W1)′", "W1′"),
    ],
    "adam": [
        *("∂L/∂L", "∂L/∂logp", "∂L/∂o"),
        *("∂L/∂W3", "m(W3)′", "v(W3)′", "∂L/∂h2", "W3′"),
        *("∂L/∂z2", "∂L/∂W2", "m(W2)′", "v(W2)′", "∂L/∂h1", "W2′"),
        *("∂L/∂z1", "∂L/∂W1", "m(W1)′", "v(W1)′", "W1′"),
    ],
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_weight_is_updated_right_after_the_last_step_that_reads_it(optimizer):
    spec = mlp(3, 4, (5, 5), 2, l2=0.0)
    assert names(training(build(spec), optimizer, 0.1, EAGER)) == FORWARD + BY_HAND[optimizer]


def test_a_regularised_weight_waits_for_its_regulariser_and_a_bias_for_nothing():
    spec = mlp(3, 4, (5, 5), 2, l2=1e-4, bias=True)
    steps = names(training(build(spec), "sgd", 0.1, EAGER))
    assert steps[steps.index("J") + 1 :] == [
        *("∂J/∂J", "∂s/∂‖W1…W3‖²", "∂L/∂logp", "∂L/∂o"),
        *("∂L/∂b3", "b3′", "∂L/∂W3", "∂J/∂W3", "∂L/∂h2", "W3′"),
        *("∂L/∂z2", "∂L/∂b2", "b2′", "∂L/∂W2", "∂J/∂W2", "∂L/∂h1", "W2′"),
        *("∂L/∂z1", "∂L/∂b1", "b1′", "∂L/∂W1", "∂J/∂W1", "W1′"),
    ]


def test_a_gradient_is_freed_by_the_update_that_reads_it():
    schedule = training(build(mlp(3, 4, (5, 5), 2, l2=0.0)), "sgd", 0.1, EAGER)
    graph = schedule.graph
    for step in schedule.steps:
        if step.phase is Phase.UPDATE:
            gradient = graph[graph[step.node].inputs[1]]
            assert gradient.name == f"∂L/∂{graph[step.node].name.rstrip('′')}"
            assert step.frees == (gradient.id,)


def test_deferred_updates_come_after_all_else_and_are_the_default():
    model = build(mlp(3, 4, (5, 5), 2, bias=True))
    schedule = training(model, "adam", 0.1)
    assert names(schedule) == names(training(build(mlp(3, 4, (5, 5), 2, bias=True)), "adam", 0.1, DEFERRED))
    phases = [step.phase for step in schedule.steps]
    assert phases == sorted(phases, key=list(Phase).index)
    assert phases.count(Phase.UPDATE) == 3 * 6


def test_without_updates_nothing_moves():
    model = build(mlp(3, 4, (5, 5), 2))
    assert make_schedule(model.builder.graph(), [model.outputs[0]], eager_updates=True) == inference(model)


# -- small graphs ------------------------------------------------------------------------------------


def test_an_update_waits_for_a_reader_of_a_view_of_what_it_overwrites():
    b = Builder()
    w, g = leaf(b, "w", 2, 3), leaf(b, "g", 2, 3, role=Role.INPUT)
    seen = reshape(b, w, (6,), name="view of w")
    other = b.apply(Tanh(), g, name="other")
    reader = b.apply(Tanh(), seen, name="reader")
    last = b.apply(Exp(), other, name="last")
    with b.phase(Phase.UPDATE):
        updated = b.apply(Descend(0.1), w, g, name="w′")
    _, eager = both(b.graph(), [reader, last, updated])
    assert names(eager) == ["view of w", "other", "reader", "w′", "last"]


def test_an_update_of_an_unread_leaf_by_a_leaf_comes_first():
    b = Builder()
    w, g = leaf(b, "w"), leaf(b, "g", role=Role.INPUT)
    last = b.apply(Tanh(), g, name="last")
    with b.phase(Phase.UPDATE):
        updated = b.apply(Descend(0.1), w, g, name="w′")
    _, eager = both(b.graph(), [last, updated])
    assert names(eager) == ["w′", "last"]
    check_presence(eager)


def test_an_update_that_reads_another_parameter_stays_before_or_after_its_update():
    b = Builder()
    x = leaf(b, "x", role=Role.INPUT)
    u, v, w = leaf(b, "u"), leaf(b, "v"), leaf(b, "w")
    g = b.apply(Tanh(), x, name="g")
    far = b.apply(Tanh(), g, name="far")
    late = b.apply(Exp(), far, name="late")
    with b.phase(Phase.UPDATE):
        first = b.apply(Descend(0.1), u, v, name="u′ reads old v")  # could be computed first
        second = b.apply(Descend(0.1), v, g, name="v′")
        third = b.apply(Descend(0.1), w, second, name="w′ reads new v")
        fourth = b.apply(Descend(0.1), second, late, name="v″")
    _, eager = both(b.graph(), [first, third, fourth])
    assert names(eager) == ["u′ reads old v", "g", "v′", "w′ reads new v", "far", "late", "v″"]


def test_an_update_waits_for_an_update_that_waits():
    b = Builder()
    x, u, v = leaf(b, "x", role=Role.INPUT), leaf(b, "u"), leaf(b, "v")
    g = b.apply(Tanh(), x, name="g")
    reader = add(b, g, u, name="reader of u")
    last = b.apply(Exp(), reader, name="last")
    with b.phase(Phase.UPDATE):
        first = b.apply(Descend(0.1), u, x, name="u′")  # x exists from the start, but u is still read
        second = b.apply(Descend(0.1), v, first, name="v′")
    _, eager = both(b.graph(), [last, second])
    assert names(eager) == ["g", "reader of u", "u′", "v′", "last"]


def test_a_step_after_the_update_reads_the_new_value():
    b = Builder()
    x, w = leaf(b, "x", role=Role.INPUT), leaf(b, "w")
    g = multiply(b, x, w, name="g")
    with b.phase(Phase.UPDATE):
        updated = b.apply(Descend(0.5), w, g, name="w′")
    again = add(b, updated, x, name="again")
    deferred, eager = both(b.graph(), [again])
    assert names(eager) == names(deferred) == ["g", "w′", "again"]
    (found,), _, _ = outcome(Run(eager), {"x": np.array([1.0, 2, 4]), "w": np.ones(3)})
    assert found.tolist() == [1 + 1 - 0.5, 2 + 1 - 1, 4 + 1 - 2]


def test_an_update_that_needs_nothing_that_is_computed_can_be_made_at_once():
    b = Builder()
    w = leaf(b, "w")
    last = b.apply(Tanh(), leaf(b, "x", role=Role.INPUT), name="last")
    with b.phase(Phase.UPDATE):
        ones = b.apply(Fill(1.0, (3,), FLOAT), name="ones")
        updated = b.apply(Descend(0.1), w, ones, name="w′")
    deferred, eager = both(b.graph(), [last, updated])
    assert names(deferred) == ["last", "ones", "w′"]
    assert names(eager) == ["ones", "w′", "last"]


def test_what_forward_computes_after_an_early_update_is_still_retained():
    # A running mean (for example of a batch norm) is updated during forward, before h and o are computed.
    b = Builder()
    x, mean = leaf(b, "x", role=Role.INPUT), leaf(b, "mean")
    z = b.apply(Tanh(), x, name="z")
    h = b.apply(Exp(), z, name="h")
    o = b.apply(Tanh(), h, name="o")
    with b.phase(Phase.BACKWARD):
        slope = add(b, o, h, name="slope")
    with b.phase(Phase.UPDATE):
        updated = b.apply(Average(0.9), mean, z, name="mean′")
    _, eager = both(b.graph(), [slope, updated])
    assert names(eager) == ["z", "mean′", "h", "o", "slope"]
    assert {"h", "o"} <= {node.name for node in analyse(eager).retained}


# -- the version that each step reads ----------------------------------------------------------------


def versions(schedule: Schedule) -> dict[tuple[int, int], int | None]:
    """For each read (a node and the position of its input): the update whose value it reads, if any."""
    graph, written, found = schedule.graph, {}, {}
    for step in schedule.steps:
        node = graph[step.node]
        for place, i in enumerate(node.inputs):
            found[node.id, place] = written.get(holder(graph, i))
        if node.op.writes is not None:
            written[holder(graph, node.id)] = node.id
    return found


def meant(graph: Graph, index: int) -> int | None:
    """The update that computes value ``index``, or the base of view ``index``; ``None`` if no update does."""
    while graph[index].op.is_view:
        index = graph[index].inputs[0]
    return index if graph[index].op.writes is not None else None


def check_order(deferred: Schedule, eager: Schedule) -> None:
    """Fail unless both orders compute the same nodes from the same values, and each input exists in time."""
    graph = eager.graph
    work = [Counter((step.node, step.phase) for step in s.steps) for s in (deferred, eager)]
    assert work[0] == work[1]
    assert (deferred.asked, deferred.persistent) == (eager.asked, eager.persistent)
    there = set(eager.persistent)
    for step in eager.steps:
        assert there.issuperset(graph[step.node].inputs), f"{graph[step.node]} is computed too early"
        there.add(step.node)
    seen = versions(eager)
    assert seen == versions(deferred)
    for (reader, place), version in seen.items():
        assert version == meant(graph, graph[reader].inputs[place]), f"{graph[reader]} reads another version"
    check_presence(eager)


def updates(schedule: Schedule) -> list[int]:
    return [place for place, step in enumerate(schedule.steps) if step.phase is Phase.UPDATE]


def entangled(seed: int, size: int) -> tuple[Graph, list[Node]]:
    """A random graph in which any value may be updated several times, and read before and after an update.

    Only present values are read. All update nodes are in the phase update, and so are some other nodes.
    """
    rng, b = Random(seed), Builder()
    overwritten: dict[int, int] = {}  # by storage: the update that computed its value
    for k in range(rng.randint(2, 4)):
        leaf(b, f"leaf{k}", role=rng.choice((Role.PARAMETER, Role.INPUT)))
    for done in range(size):
        there = [node for node in b.nodes if node.id >= overwritten.get(node.storage, -1)]
        x = rng.choice(there[-4:] if rng.random() < 0.5 else there)
        others = [node for node in there if node.storage != x.storage]
        phase = Phase.FORWARD if 2 * done < size else Phase.BACKWARD
        kind = rng.choice(("update", "update", "view", "unary", "unary", "binary"))
        if kind == "update" and others:
            op = rng.choice((Descend(0.1), Average(0.5)))
            with b.phase(Phase.UPDATE):
                updated = b.apply(op, x, rng.choice(others))
            overwritten[updated.storage] = updated.id
        elif kind == "view":
            with b.phase(rng.choice((phase, Phase.UPDATE))):
                b.apply(Identity(), x)
        elif kind == "binary":
            with b.phase(phase):
                rng.choice((add, multiply))(b, x, rng.choice(there))
        else:
            with b.phase(rng.choice((phase, phase, Phase.UPDATE))):
                b.apply(rng.choice((Tanh(), Relu(), Copy(), Scale(-0.5))), x)
    there = [node for node in b.nodes if node.id >= overwritten.get(node.storage, -1)]
    last = [node for node in there if node.inputs]
    return b.graph(), rng.sample(last, rng.randint(1, min(6, len(last))))


ENTANGLED = st.builds(entangled, st.integers(0, 2**32 - 1), st.integers(1, 25))


@EXAMPLES
@given(programs())
def test_every_step_of_a_random_program_reads_what_it_would_with_updates_at_the_end(schedule):
    check_order(*of_program(schedule))


@EXAMPLES
@given(ENTANGLED)
def test_every_step_reads_the_value_it_means_where_anything_is_updated_again_and_again(made):
    check_order(*both(*made))


@EXAMPLES
@given(ENTANGLED)
def test_eager_updates_change_no_bit_where_anything_is_updated_again_and_again(made):
    deferred, eager = both(*made)
    leaves = leaf_values(deferred, 1)
    state = dict(leaves)
    with np.errstate(all="ignore"):
        expected = [evaluate(deferred, state) for _ in range(2)]
    expected.append([state[name] for name in sorted(leaves)])
    for run in (Run(deferred), Run(eager), PackedRun(deferred), PackedRun(eager)):
        for got, wanted in zip(outcome(run, leaves), expected, strict=True):
            assert same_bits(got, wanted)


@EXAMPLES
@given(programs())
def test_prediction_and_definition_agree_on_random_programs_with_eager_updates(schedule):
    _, eager = of_program(schedule)
    truth, predicted = brute_force(eager), analyse(eager)
    assert list(predicted.live_bytes) == truth.live_bytes
    assert predicted.peak_step == truth.peak_step
    assert predicted.peak_role_bytes == truth.peak_role_bytes
    assert {node.id for node in predicted.retained} == retained(eager)


@EXAMPLES
@given(ENTANGLED)
def test_prediction_and_definition_agree_where_anything_is_updated_again_and_again(made):
    for schedule in both(*made):
        truth, predicted = brute_force(schedule), analyse(schedule)
        assert list(predicted.live_bytes) == truth.live_bytes
        assert predicted.peak_step == truth.peak_step
        assert predicted.peak_role_bytes == truth.peak_role_bytes


def test_the_random_graphs_reach_updates_that_move_and_that_cannot():
    moved = [of_program(program(seed, 12)) for seed in range(40)]
    assert any(updates(deferred) != updates(eager) for deferred, eager in moved)
    woven = [both(*entangled(seed, 20)) for seed in range(40)]
    assert any(updates(deferred) != updates(eager) for deferred, eager in woven)
    assert any(updates(deferred) == updates(eager) != [] for deferred, eager in woven)
    seen = [version for _, eager in woven for version in versions(eager).values()]
    assert None in seen
    assert any(version is not None for version in seen)


def test_an_update_that_is_made_too_early_is_found_out():
    b = Builder()
    x, w = leaf(b, "x", role=Role.INPUT), leaf(b, "w")
    g = b.apply(Tanh(), x)
    reader = multiply(b, g, w)
    with b.phase(Phase.UPDATE):
        updated = b.apply(Descend(0.1), w, g)
    deferred, eager = both(b.graph(), [reader, updated])
    check_order(deferred, eager)
    first, second, third = eager.steps
    wrong = Schedule(eager.graph, (first, third, second), eager.asked, eager.persistent)
    with pytest.raises(AssertionError):
        check_order(deferred, wrong)


# -- the saved bytes ---------------------------------------------------------------------------------


def gradient_bytes(schedule: Schedule) -> list[int]:
    """The bytes of live gradients at each step."""
    found = [0] * len(schedule.steps)
    for life in analyse(schedule).lives:
        if life.role is Role.GRADIENT:
            for place in range(life.born_step, life.freed_step + 1):
                found[place] += life.node.nbytes
    return found


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_at_most_the_gradients_of_one_layer_are_live_at_a_time(activation, optimizer):
    for bias, l2 in product((False, True), (0.0, 1e-4)):
        spec = mlp(64, 64, (256,) * 8, 10, activation=activation, bias=bias, l2=l2)
        deferred, eager = (training(build(spec), optimizer, 0.1, update) for update in (DEFERRED, EAGER))
        weight, others = 4 * 256 * 256, 4 * (64 * 256 + 256 * 10 + bias * (8 * 256 + 10))
        found = analyse(eager)
        assert eager.steps[found.peak_step].phase in (Phase.BACKWARD, Phase.UPDATE)
        assert found.peak_role_bytes[Role.GRADIENT] <= weight + bias * 4 * 256
        assert max(gradient_bytes(eager)) == weight  # a bias is updated before its weight's gradient
        assert max(gradient_bytes(deferred)) == 7 * weight + others


GRID = list(product((16, 256), (1, 64, 1000), ("relu", "gelu", "tanh"), (False, True), ("sgd", "adam")))


def pairs(depth: int, every: int) -> list[tuple[Sized, str, Schedule, Schedule]]:
    """Networks of a depth (every ``every``-th of the grid), each with its deferred and eager schedules."""
    found = []
    for width, batch, activation, bias, optimizer in GRID[::every]:
        spec = mlp(batch, 64, (width,) * depth, 10, activation=activation, bias=bias)
        trainings = [training(build(spec), optimizer, 0.1, update) for update in (DEFERRED, EAGER)]
        found.append((spec, optimizer, *trainings))
    return found


DEPTHS = (*range(9), 32)


@pytest.mark.parametrize("depth", [depth for depth in DEPTHS if depth != 1])
def test_eager_updates_never_need_more_at_the_peak(depth):
    found = pairs(depth, 1 if depth <= 4 else 5)
    needed = {
        (spec, optimizer): (analyse(eager).peak_bytes, analyse(deferred).peak_bytes)
        for spec, optimizer, deferred, eager in found
    }
    assert {cell: peaks for cell, peaks in needed.items() if peaks[0] > peaks[1]} == {}


def workspace_bytes(schedule: Schedule) -> list[int]:
    """The bytes that the kernel of each step declares."""
    nodes = [schedule.graph[step.node] for step in schedule.steps]
    wanted = [node.op.workspace(*[schedule.graph[i] for i in node.inputs]) for node in nodes]
    return [sum(count * dtype.itemsize for count, dtype in arrays) for arrays in wanted]


def test_with_one_hidden_layer_the_workspace_of_an_eager_update_may_stand_at_the_peak():
    for _, _, deferred, eager in pairs(1, 1):
        before, after = analyse(deferred), analyse(eager)
        of_updates = [
            bytes_of_step
            for step, bytes_of_step in zip(eager.steps, workspace_bytes(eager), strict=True)
            if step.phase is Phase.UPDATE
        ]
        assert after.peak_bytes <= before.peak_bytes + max(of_updates)
        if after.peak_bytes > before.peak_bytes:
            assert eager.steps[after.peak_step].phase is Phase.UPDATE


@pytest.mark.parametrize("depth", DEPTHS)
def test_eager_updates_hold_no_more_at_any_other_step_and_at_their_own_only_workspace(depth):
    for _, _, deferred, eager in pairs(depth, 5):
        before = dict(zip(names(deferred), analyse(deferred).live_bytes, strict=True))
        last = 0  # live bytes of the last step that is no update
        columns = (eager.steps, names(eager), analyse(eager).live_bytes, workspace_bytes(eager))
        for step, name, live, workspace in zip(*columns, strict=True):
            if step.phase is Phase.UPDATE:
                assert live - workspace <= last
            else:
                assert live <= before[name]
                last = live
