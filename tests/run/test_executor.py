"""The run against the prediction, the definition of liveness and a naive evaluator, on random graphs."""

from __future__ import annotations

from weakref import finalize, ref

import numpy as np
import pytest
from brute_force import brute_force, check_presence, held_after, holder, programs, retained
from hypothesis import HealthCheck, Phase, find, given, settings
from networks import Sized, build, mlp

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Phase as Part
from memtrain.graph.node import Role
from memtrain.graph.ops.activation import Relu, Tanh
from memtrain.graph.ops.arithmetic import BroadcastTo, sum_to
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import reshape
from memtrain.plan.liveness import analyse
from memtrain.plan.schedule import Schedule, make_schedule
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger
from memtrain.train.iteration import inference, training
from memtrain.train.optimizers import OPTIMIZERS

EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow]
)

# -- the naive evaluator ----------------------------------------------------------------------------


def evaluate(schedule: Schedule, leaves: dict[str, np.ndarray]) -> list[np.ndarray]:
    """One iteration in which every value has its own array and none is ever freed or overwritten.

    Returns the asked values; ``leaves`` (by name) are replaced by what updates made of them.
    """
    graph = schedule.graph
    values: dict[int, np.ndarray] = {i: leaves[graph[i].name] for i in schedule.persistent}
    for step in schedule.steps:
        node = graph[step.node]
        inputs = [values[i] for i in node.inputs]
        if node.op.is_view:
            values[node.id] = node.op.view(inputs[0])
            continue
        if node.op.writes is not None:
            out = inputs[node.op.writes] = inputs[node.op.writes].copy()
            leaves[graph[holder(graph, node.id)].name] = out
        else:
            out = np.empty(node.shape, node.dtype)
        shapes = [graph[i] for i in node.inputs]
        node.op.kernel(out, *inputs, work=[np.empty(*wanted) for wanted in node.op.workspace(*shapes)])
        values[node.id] = out
    return [values[i] for i in schedule.asked]


def leaf_values(schedule: Schedule, seed: int) -> dict[str, np.ndarray]:
    """A value for every leaf: numbers in [−1, 1], small squares for optimizers, labels, t = 1."""
    rng = np.random.default_rng(seed)
    values = {}
    for index in schedule.persistent:
        node = schedule.graph[index]
        if node.dtype.kind == "i":
            value = rng.integers(0, 2, node.shape) if node.shape else np.ones(())
        else:
            value = rng.uniform(-1, 1, node.shape)
        if node.op.role is Role.OPTIMIZER:
            value = value**2
        values[node.name] = np.array(value, node.dtype)
    return values


def same_bits(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return len(found) == len(expected) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(found, expected, strict=True)
    )


# -- what is watched ---------------------------------------------------------------------------------


def outcome(run: Run, leaves: dict[str, np.ndarray]) -> list[list[np.ndarray]]:
    """Copies of what two iterations were asked for, and of the leaves afterwards."""
    run.load(leaves)
    with np.errstate(all="ignore"):
        found = [[np.array(x) for x in run.iterate()] for _ in range(2)]
    return [*found, [run.value(name).copy() for name in sorted(leaves)]]


class Poisoned(Run):
    """Fills each fresh buffer with rubbish when it is made, and again when the schedule frees it."""

    def iterate(self):
        self.asked_for = []  # a view that was asked for is still read when the run is over
        return super().iterate()

    def _execute(self, call):
        super()._execute(call)
        if call.node in {holder(self.schedule.graph, i) for i in self.schedule.asked}:
            self.asked_for.append(self._values[call.node])

    def _empty(self, shape, dtype, role):
        memory = np.empty(shape, dtype)
        array = memory.view()  # views of it do not keep it alive, so that a freed base shows in them
        _spoil(memory)
        finalize(array, _spoil, memory)
        return array


def _spoil(memory: np.ndarray) -> None:
    memory.fill({"f": np.nan, "b": True}.get(memory.dtype.kind, 77))


class Watched(Run):
    """After each step, asks weak references which values live, and compares with the definition."""

    def iterate(self):
        self.alive, self.references = [], {}
        return super().iterate()

    def _execute(self, call):
        super()._execute(call)
        self.references.pop(call.reuse, None)
        if call.role is not None and self._values[call.node] is not None:
            self.references[call.node] = ref(self._values[call.node])
        alive = {i for i, reference in self.references.items() if reference() is not None}
        place = len(self.alive)
        assert alive == held_after(self.schedule, place) - set(self.schedule.persistent), (
            f"after step {place}"
        )
        self.alive.append(alive)


# -- properties --------------------------------------------------------------------------------------


@EXAMPLES
@given(programs())
def test_prediction_definition_and_ledger_agree_on_random_graphs(schedule):
    truth, predicted, ledger = brute_force(schedule), analyse(schedule), Ledger()
    assert list(predicted.live_bytes) == truth.live_bytes
    outcome(Run(schedule, ledger), leaf_values(schedule, 1))
    assert predicted.peak_bytes == truth.peak_bytes == ledger.peak_bytes
    assert predicted.peak_step == truth.peak_step == ledger.peak_step
    assert predicted.peak_role_bytes == truth.peak_role_bytes == ledger.peak_role_bytes
    assert {node.id for node in predicted.retained} == retained(schedule)


@EXAMPLES
@given(programs())
def test_no_storage_is_freed_or_reused_while_a_later_step_reads_it(schedule):
    check_presence(schedule)
    leaves = leaf_values(schedule, 2)
    found = outcome(Run(schedule), leaves)
    state = dict(leaves)
    with np.errstate(all="ignore"):
        expected = [evaluate(schedule, state) for _ in range(2)]
    expected.append([state[name] for name in sorted(leaves)])
    for got, wanted in zip(found, expected, strict=True):
        assert same_bits(got, wanted)


@EXAMPLES
@given(programs())
def test_rubbish_in_fresh_and_freed_buffers_changes_no_bit(schedule):
    leaves = leaf_values(schedule, 3)
    for got, wanted in zip(outcome(Poisoned(schedule), leaves), outcome(Run(schedule), leaves), strict=True):
        assert same_bits(got, wanted)


@EXAMPLES
@given(programs())
def test_every_array_dies_at_its_step_on_random_graphs(schedule):
    outcome(Watched(schedule), leaf_values(schedule, 4))


def test_a_view_does_not_hold_the_buffer_that_another_value_took_over_and_freed():
    b = Builder()
    x = b.apply(Leaf(Role.INPUT, (10,), np.dtype(np.float32)), name="x")
    z = b.apply(Tanh(), x)
    pair = sum_to(b, reshape(b, z, (2, 5)), (5,))  # reads a view of z
    w = b.apply(Relu(), z)  # takes z's buffer, which is free after the next step
    total = sum_to(b, w, ())
    last = b.apply(BroadcastTo((10,)), total)
    schedule = make_schedule(b.graph(), [last, pair])
    assert z.id in [step.reuse for step in schedule.steps]
    ledger = Ledger()
    outcome(Run(schedule, ledger), leaf_values(schedule, 0))
    assert ledger.peak_bytes == analyse(schedule).peak_bytes == 40 + 20 + 40 + 4


REACHED = {
    "a reused buffer": lambda s: any(step.reuse is not None for step in s.steps),
    "a view whose base is computed": lambda s: any(
        s.graph[step.node].op.is_view and holder(s.graph, step.node) not in s.persistent for step in s.steps
    ),
    "a retained value": retained,
    "an update": lambda s: s.steps[-1].phase is Part.UPDATE,
    "Adam after second order": lambda s: len(s.leaves(Role.OPTIMIZER)) > 1 and len(s.steps) > 60,
}


@pytest.mark.parametrize("what", REACHED)
def test_the_random_graphs_reach(what):
    generate = settings(EXAMPLES, phases=[Phase.generate], max_examples=500)
    assert find(programs(), lambda schedule: bool(REACHED[what](schedule)), settings=generate)


# -- the book's network ------------------------------------------------------------------------------

NETWORKS = [
    mlp(batch=6, input_size=4, hidden=(5, 5), output_size=3),
    mlp(batch=3, input_size=4, hidden=(5, 7), output_size=2, activation="gelu", bias=True),
    mlp(batch=5, input_size=4, hidden=(5,), output_size=5, activation="identity", l2=0.0),
    mlp(batch=1, input_size=1, hidden=(1, 1), output_size=1, bias=True, loss="mean_squared_error"),
    mlp(batch=300, input_size=64, hidden=(200, 100), output_size=10, activation="tanh", dtype="float64"),
    mlp(batch=7, input_size=3, hidden=(), output_size=4),
]


def schedules(spec: Sized) -> list[Schedule]:
    return [inference(build(spec)), *(training(build(spec), optimizer, 0.01) for optimizer in OPTIMIZERS)]


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
def test_prediction_definition_and_ledger_agree_on_the_books_network(spec):
    for schedule in schedules(spec):
        truth, predicted, ledger = brute_force(schedule), analyse(schedule), Ledger()
        outcome(Run(schedule, ledger), leaf_values(schedule, 5))
        assert predicted.peak_bytes == truth.peak_bytes == ledger.peak_bytes
        assert predicted.peak_step == truth.peak_step == ledger.peak_step
        assert predicted.peak_role_bytes == truth.peak_role_bytes == ledger.peak_role_bytes


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
def test_after_forward_exactly_the_retained_arrays_live_and_each_dies_at_its_step(spec):
    for optimizer in OPTIMIZERS:
        model = build(spec)
        run = Watched(training(model, optimizer, 0.01))
        outcome(run, leaf_values(run.schedule, 6))
        forward = [step for step in run.schedule.steps if step.phase is Part.FORWARD]
        kept = {node.id for node in analyse(run.schedule).retained}
        assert run.alive[len(forward) - 1] == kept | {model.objective.id}
        assert run.alive[-1] == {model.objective.id}


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
def test_inference_keeps_nothing_but_the_output(spec):
    model = build(spec)
    run = Watched(inference(model))
    outcome(run, leaf_values(run.schedule, 7))
    assert run.alive[-1] == {model.outputs[0].id}
    assert max(map(len, run.alive)) <= 2


# -- errors ------------------------------------------------------------------------------------------


def test_a_leaf_of_the_wrong_shape_is_refused_by_name():
    run = Run(inference(build(NETWORKS[0])))
    with pytest.raises(GraphError, match=r"W2.*\[5, 5\].*\[5, 4\]"):
        run.load({"W2": np.zeros((5, 4), np.float32)})


def test_a_batch_of_the_wrong_shape_is_refused_by_name():
    run = Run(inference(build(NETWORKS[0])))
    run.load({})
    with pytest.raises(GraphError, match=r"x.*\[6, 4\].*\[7, 4\]"):
        run.feed({"x": np.zeros((7, 4), np.float32)})


def test_a_run_without_leaves_says_to_load_them():
    with pytest.raises(GraphError, match=r"x leaf.*load the leaves first"):
        Run(inference(build(NETWORKS[0]))).iterate()
