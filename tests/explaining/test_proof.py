"""The proof by NaN: it holds for the networks of the book, and fails for wrong schedules and rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from brute_force import programs
from hypothesis import HealthCheck, assume, given, settings
from networks import KINDS, build, mlp
from runs import leaf_values

from memtrain.errors import GraphError
from memtrain.explaining.proof import prove, stale_reads
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Role
from memtrain.graph.ops import ACTIVATIONS, base
from memtrain.graph.ops.activation import Tanh, TanhGrad
from memtrain.graph.ops.arithmetic import Scale, sum_to
from memtrain.graph.ops.loss import Nll
from memtrain.graph.ops.softmax import LogSoftmax
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import transpose
from memtrain.models.mlp import LOSSES
from memtrain.models.network import DTYPES
from memtrain.planning.schedule import make_schedule
from memtrain.training.iteration import training
from memtrain.training.optimizers import OPTIMIZERS

READ_INPUT = ("gelu", "gelu_tanh", "silu", "hard_swish", "mish")
"""Activations whose rule reads the input. So both the input and the output are retained."""

BOOK = mlp(batch=5, input_size=4, hidden=(7,), output_size=3)


def spec(depth, **given):
    return BOOK.changed(depth=depth, width=(7,) * depth, **given)


def schedule_of(spec, optimizer="sgd"):
    return training(build(spec), optimizer, 0.1)


def proof_of(schedule):
    return prove(schedule, leaf_values(schedule, 1), {})


def called(values):
    return tuple(value.name for value in values)


def forged(schedule, place, **changes):
    steps = list(schedule.steps)
    steps[place] = replace(steps[place], **changes)
    return replace(schedule, steps=tuple(steps))


def place_of(schedule, name):
    return [schedule.graph[step.node].name for step in schedule.steps].index(name)


# -- where it holds ----------------------------------------------------------------------------------


@pytest.mark.no_cover
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("activation", "depth"),
    [(name, depth) for name in ACTIVATIONS for depth in (range(7) if name in KINDS else (1, 3))],
)
def test_it_holds_for_every_network_of_the_book(activation, bias, depth):
    for dtype in DTYPES:
        for loss in LOSSES:
            network = spec(depth, activation=activation, bias=bias, dtype=dtype, loss=loss)
            proof = proof_of(schedule_of(network))
            assert proof.failures() == []
            assert len(proof.needed) == depth * (1 + (activation in READ_INPUT)) + 1


@pytest.mark.no_cover
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_holds_for_every_optimizer(optimizer, batch, l2):
    for activation in ACTIVATIONS:
        proof = proof_of(schedule_of(spec(2, batch=batch, l2=l2, activation=activation), optimizer))
        assert proof.ok, proof.failures()


def test_the_hidden_layer_of_the_book_changes_both_gradients():
    """∂J/∂W2 = ∂L/∂o hᵀ reads h. ∂L/∂z reads [h > 0], and so ∂J/∂W1 depends on it."""
    both = ("∂J/∂W1", "∂J/∂W2")
    needed = [("h", 4 * 5 * 7, both), ("logp", 4 * 5 * 3, both)]
    proof = proof_of(schedule_of(BOOK))
    assert [(x.name, x.nbytes, called(x.changes)) for x in proof.needed] == needed
    assert proof.poisoned_changes == proof.stale_reads == ()


def test_the_output_of_a_gelu_changes_the_gradient_of_the_next_layer_only():
    proof = proof_of(schedule_of(spec(1, activation="gelu", loss="mean_squared_error")))
    first, second = "∂J/∂W1", "∂J/∂W2"
    expected = {"z": (first,), "h": (second,), "o": (first, second)}
    assert {x.name: called(x.changes) for x in proof.needed} == expected


def test_gradients_that_are_asked_for_need_no_update():
    model = build(BOOK)
    gradients = gradient(model.builder, model.objective, model.parameters)
    proof = proof_of(make_schedule(model.builder.graph(), gradients))
    assert proof.ok
    assert [called(x.changes) for x in proof.needed] == [("∂J/∂W1", "∂J/∂W2")] * 2


def test_retained_integers_are_spoiled_too():
    b = Builder()
    o = b.apply(Leaf(Role.PARAMETER, (2, 3, 4), np.dtype(np.float64)), name="o")
    y = b.apply(Leaf(Role.INPUT, (3, 2), np.dtype(np.int64)), name="y")
    labels = b.contiguous(transpose(b, y))
    total = b.apply(Nll(), b.apply(LogSoftmax(), o, name="logp"), labels, name="L")
    (slope,) = gradient(b, total, [o])
    proof = proof_of(make_schedule(b.graph(), [slope]))
    needed = [(x.name, called(x.changes)) for x in proof.needed]
    assert needed == [(labels.name, ("∂L/∂o",)), ("logp", ("∂L/∂o",))]


@pytest.mark.no_cover
@settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_nothing_freed_matters_in_random_graphs_of_up_to_second_order(schedule):
    try:
        proof = proof_of(schedule)
    except GraphError:
        assume(False)  # a gradient that is not finite
    assert proof.stale_reads == proof.poisoned_changes == ()


# -- where it must fail ------------------------------------------------------------------------------


@pytest.fixture
def workshop(monkeypatch):
    """A function that makes networks of one hidden layer with a local op as the activation."""
    monkeypatch.setattr(base, "OPS", dict(base.OPS))

    def network_of(op):
        monkeypatch.setitem(ACTIVATIONS, op.name, op)
        return schedule_of(spec(1, activation=op.name))

    return network_of


def test_a_rule_that_asks_for_more_than_its_formula_reads_is_named_with_what_it_keeps(workshop):
    class WastefulGrad(TanhGrad):
        name = "wasteful_grad"

        def block(self, out, g, h, z, *, work):
            super().block(out, g, h, work=work)

    class Wasteful(Tanh):
        name = "wasteful"

        def vjp(self, b, node, cotangent, wanted):
            yield 0, b.apply(WastefulGrad(), cotangent, node, b[node.inputs[0]])

    proof = proof_of(workshop(Wasteful))
    assert [(x.name, bool(x.changes)) for x in proof.needed] == [("z", False), ("h", True), ("logp", True)]
    assert proof.failures() == [
        "z (140 B) is kept for backward, but no gradient differs in any bit when it is NaN: "
        "backward does not need it"
    ]


def test_an_array_that_a_schedule_holds_though_nobody_reads_it_is_named():
    schedule = schedule_of(BOOK)
    # the buffer of z is neither taken over nor freed
    (found,) = proof_of(forged(schedule, place_of(schedule, "h"), reuse=None)).failures()
    assert found.startswith("z (140 B) is kept for backward")


@pytest.mark.parametrize("reuses", [(), (0,)])
def test_a_rule_that_reads_a_freed_value_behind_the_back_of_the_graph_is_found(workshop, reuses):
    stash = []

    class ForgetfulGrad(TanhGrad):
        name = "forgetful_grad"

        def kernel(self, out, *inputs, work):
            np.multiply(inputs[0], 1 - np.tanh(stash[-1]) ** 2, out=out)

    class Forgetful(Tanh):
        name = "forgetful"

        def kernel(self, out, *inputs, work):
            stash.append(inputs[0])
            super().kernel(out, *inputs, work=work)

        def vjp(self, b, node, cotangent, wanted):
            yield 0, b.apply(ForgetfulGrad(), cotangent, node)

    Forgetful.reuses = reuses
    proof = proof_of(workshop(Forgetful))
    assert called(proof.poisoned_changes) == ("∂J/∂W1", "W1′")
    assert "∂J/∂W1 differs when every storage is NaN before and after its life" in proof.failures()[0]


@pytest.mark.parametrize("leak", ["workspace not yet written", "workspace of a step before", "output"])
def test_a_kernel_that_reads_memory_that_is_not_its_own_to_read_is_found(workshop, leak):
    past = []

    class LeakyGrad(TanhGrad):
        name = "leaky_grad"
        scratch = 1

        def block(self, out, *inputs, work):
            memory = {"workspace of a step before": past[-1], "output": out}.get(leak, work[0])
            np.multiply(inputs[0], np.isnan(memory), out=out)

    class Leaky(Tanh):
        name = "leaky"
        gradient = LeakyGrad
        scratch = 1

        def block(self, out, *inputs, work):
            np.tanh(inputs[0], out=out)
            work[0].fill(1)
            past.append(work[0])

    assert "∂J/∂W1" in called(proof_of(workshop(Leaky)).poisoned_changes)


# -- forged schedules --------------------------------------------------------------------------------


def test_a_value_that_is_freed_too_early_is_named_with_its_reader():
    schedule = schedule_of(BOOK)
    h1 = schedule.graph.named("h").id
    place = place_of(schedule, "o")
    proof = proof_of(forged(schedule, place, frees=(h1,)))
    reader = place_of(schedule, "∂J/∂W2") - 1  # ∂L/∂W2, into which λW2 is added
    assert proof.stale_reads[0].endswith(f"(step {reader}) reads h, which was freed at step {place}")
    assert proof.failures()[0].endswith("the schedule ends a value that is still needed")
    (found,) = stale_reads(forged(schedule, len(schedule.steps) - 1, frees=(schedule.asked[0],)))
    assert found.startswith("the end reads J, which was freed")


def test_a_buffer_that_is_taken_while_a_view_of_it_is_still_read_is_named():
    b = Builder()
    x = b.apply(Leaf(Role.PARAMETER, (2, 3), np.dtype(np.float64)), name="x")
    z = b.apply(Tanh(), x, name="z")
    seen = transpose(b, z, name="zᵀ")
    w = b.apply(Scale(2.0), z, name="w")
    total = sum_to(b, b.contiguous(seen), ())
    schedule = make_schedule(b.graph(), [w, total])
    assert stale_reads(schedule) == []
    place = place_of(schedule, "w")
    (found,) = stale_reads(forged(schedule, place, reuse=z.id))
    assert found == f"copy#4 (step {place + 1}) reads zᵀ, which gave its buffer to w at step {place}"


def test_a_value_that_is_computed_again_may_be_read_again():
    schedule = schedule_of(BOOK)
    h1, o = schedule.graph.named("h"), place_of(schedule, "o")
    again = place_of(schedule, "z"), place_of(schedule, "h")
    steps = list(forged(schedule, o, frees=(*schedule.steps[o].frees, h1.id)).steps)
    steps[o + 1 : o + 1] = [steps[place] for place in again]
    assert stale_reads(replace(schedule, steps=tuple(steps))) == []


def test_values_that_are_not_finite_are_refused_by_the_name_of_the_gradient():
    schedule = schedule_of(BOOK)
    values = leaf_values(schedule, 1)
    with pytest.raises(GraphError, match=r"∂J/∂W1.*not finite"):
        prove(schedule, values, {"x": np.full_like(values["x"], np.inf)})
