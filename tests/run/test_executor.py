"""The fresh run, compared with the prediction, the definition of liveness and a naive evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from brute_force import brute_force, check_presence, holder, program, programs, retained
from hypothesis import HealthCheck, Phase, find, given, settings
from networks import Sized, build, mlp
from runs import Poisoned, Watched, evaluate, leaf_values, outcome, same_bits

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Phase as Part
from memtrain.graph.node import Role
from memtrain.graph.ops import OPS
from memtrain.graph.ops.activation import Relu, Tanh
from memtrain.graph.ops.arithmetic import BroadcastTo, sum_to
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import reshape
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger
from memtrain.training.iteration import inference, training
from memtrain.training.optimizers import OPTIMIZERS

EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow]
)

# -- properties --------------------------------------------------------------------------------------


@pytest.mark.no_cover
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


@pytest.mark.no_cover
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


@pytest.mark.no_cover
@EXAMPLES
@given(programs())
def test_rubbish_in_fresh_and_freed_buffers_changes_no_bit(schedule):
    leaves = leaf_values(schedule, 3)
    for got, wanted in zip(outcome(Poisoned(schedule), leaves), outcome(Run(schedule), leaves), strict=True):
        assert same_bits(got, wanted)


@pytest.mark.no_cover
@EXAMPLES
@given(programs())
def test_every_array_dies_at_its_step_on_random_graphs(schedule):
    outcome(Watched(schedule), leaf_values(schedule, 4))


def test_a_view_does_not_hold_the_buffer_that_another_value_took_over_and_freed():
    b = Builder()
    x = b.apply(Leaf(Role.INPUT, (10,), np.dtype(np.float32)), name="x")
    z = b.apply(Tanh(), x)
    pair = sum_to(b, reshape(b, z, (2, 5)), (5,))  # reads a view of z
    w = b.apply(Relu(), z)  # takes over z's buffer, which is freed after the next step
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


def test_the_random_graphs_reach_every_op():
    missing = set(OPS)
    for seed in range(3000):
        missing -= {node.op.name for node in program(seed, 25).graph}
        if not missing:
            return
    raise AssertionError(f"no random graph has {missing}")


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
