"""Predicted peaks, compared with figures by hand, with the book, and with the definition of liveness."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from brute_force import brute_force, check_presence, holder, retained
from networks import build, mlp

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Node, Phase, Role
from memtrain.graph.ops.activation import Relu, Tanh
from memtrain.graph.ops.arithmetic import Exp, add, sum_to
from memtrain.graph.ops.gelu import Gelu
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.scaled_sum import AddScaled
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import Identity, reshape
from memtrain.models.mlp import ACTIVATIONS, LOSSES
from memtrain.planning.liveness import Liveness, analyse
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.training.iteration import inference, training
from memtrain.training.optimizers import OPTIMIZERS, add_updates

FLOAT = np.dtype(np.float32)


def leaf(b: Builder, *shape: int, role: Role = Role.INPUT) -> Node:
    return b.apply(Leaf(role, shape, FLOAT), name=f"leaf{len(b.nodes)}")


def liveness_of(b: Builder, *asked: Node) -> Liveness:
    return analyse(make_schedule(b.graph(), asked))


def named_steps(schedule: Schedule) -> list[tuple]:
    """The steps by name, so that schedules of graphs with different ids can be compared."""
    names = [node.name for node in schedule.graph]
    return [
        (names[s.node], s.phase, None if s.reuse is None else names[s.reuse], [names[i] for i in s.frees])
        for s in schedule.steps
    ]


# -- peaks by hand; x has 10 floats, 40 B ------------------------------------------------------------


def test_a_chain_of_elementwise_ops_lives_in_one_buffer():
    b = Builder()
    x = leaf(b, 10)
    z = b.apply(Tanh(), x)  # x is a leaf, so z needs a new buffer
    h = b.apply(Relu(), z)
    found = liveness_of(b, b.apply(Exp(), h))
    assert found.live_bytes == (80, 80, 80)
    assert [step.reuse for step in found.schedule.steps] == [None, z.id, h.id]
    assert found.peak_role_bytes[Role.INPUT] == found.peak_role_bytes[Role.TRANSIENT] == 40


def test_a_value_that_is_read_again_keeps_its_buffer():
    b = Builder()
    z = b.apply(Tanh(), leaf(b, 10))
    h = b.apply(Relu(), z)  # z is read by the sum, so h cannot have its buffer
    found = liveness_of(b, add(b, z, h))
    assert found.live_bytes == (80, 120, 120)
    assert found.schedule.steps[2].reuse == z.id
    assert found.peak_step == 1


def test_an_asked_value_keeps_its_buffer():
    b = Builder()
    z = b.apply(Tanh(), leaf(b, 10))
    h = b.apply(Relu(), z)
    assert liveness_of(b, z, h).live_bytes == (80, 120)


def test_a_value_that_the_op_also_reads_elsewhere_keeps_its_buffer():
    b = Builder()
    z = b.apply(Tanh(), leaf(b, 10))
    c = leaf(b)
    last = b.apply(AddScaled(2.0), z, c, z)  # may take over the buffer of its first input, not of its third
    assert liveness_of(b, last).live_bytes == (40 + 4 + 40, 40 + 4 + 40 + 40 + 40)


def test_a_value_that_the_op_also_reads_through_a_view_keeps_its_buffer():
    b = Builder()
    z = b.apply(Tanh(), leaf(b, 10))
    last = add(b, z, b.apply(Identity(), z))
    assert liveness_of(b, last).live_bytes == (80, 80, 120)


def test_a_view_costs_nothing_and_keeps_its_base_alive():
    b = Builder()
    z = b.apply(Tanh(), leaf(b, 10))
    v = reshape(b, z, (2, 5))
    u = b.apply(Exp(), leaf(b, 10))  # no later step reads z itself, but its bytes must stay
    w = b.apply(Relu(), v)
    found = liveness_of(b, add(b, reshape(b, w, (10,)), u))
    # both leaves 80; + z; the view; + u; + w, then z is freed; a view of w; the sum takes over u's buffer
    assert found.live_bytes == (120, 120, 160, 200, 160, 160)
    assert found.schedule.steps[3].frees == (z.id, v.id)
    check_presence(found.schedule)


def test_an_output_stands_together_with_the_inputs_that_die_as_it_is_made():
    b = Builder()
    x = leaf(b, 2, 3)  # 24 B
    a = matmul(b, x, leaf(b, 3, 100))  # weights 1200 B, a 800 B
    found = liveness_of(b, matmul(b, a, leaf(b, 100, 50)))  # weights 20,000 B, output 400 B
    leaves = 24 + 1200 + 20_000
    assert found.live_bytes == (leaves + 800, leaves + 800 + 400)
    assert found.peak_step == 1
    assert found.schedule.steps[1].frees == (a.id,)


def test_workspace_is_counted_in_its_step_only():
    b = Builder()
    h = b.apply(Gelu(), leaf(b, 10))  # three blocks of 10 floats: 120 B
    found = liveness_of(b, b.apply(Relu(), h))
    assert found.live_bytes == (80 + 120, 80)
    assert found.peak_role_bytes[Role.WORKSPACE] == 120
    assert found.peak_node == h


def test_a_schedule_that_asks_for_a_leaf_only_holds_the_leaf():
    b = Builder()
    found = liveness_of(b, leaf(b, 10))
    assert found.peak_bytes == found.peak_role_bytes[Role.INPUT] == 40
    assert found.peak_node is None


def test_a_retained_value_whose_buffer_a_gradient_takes_over_is_still_retained():
    b = Builder()
    w = leaf(b, 10, role=Role.PARAMETER)
    h = b.apply(Relu(), w)
    slopes = gradient(b, sum_to(b, add(b, h, b.apply(Tanh(), w)), ()), [w])
    updated = add_updates(b, "sgd", 0.1, (w,), slopes)
    found = liveness_of(b, *updated)
    assert h.id in [step.reuse for step in found.schedule.steps]
    assert h.id in [node.id for node in found.retained]


def test_a_value_whose_buffer_the_first_backward_step_takes_over_is_retained():
    b = Builder()
    h = b.apply(Tanh(), leaf(b, 10))
    with b.phase(Phase.BACKWARD):
        slope = b.apply(Exp(), h)
    found = liveness_of(b, slope)
    assert [step.reuse for step in found.schedule.steps] == [None, h.id]
    assert found.retained == [h]


# -- the book ----------------------------------------------------------------------------------------

# n = 3, d = 4, h = 5, q = 2, float32, no regulariser. Always there: x 48, y 24, W1 80, W2 40.
LEAVES = 48 + 24 + 80 + 40
BY_HAND = {
    "z": LEAVES + 60,
    "h": LEAVES + 60,  # in z's buffer
    "o": LEAVES + 60 + 24,
    "logp": LEAVES + 60 + 24 + 36,  # in o's buffer; workspace: 3 figures and 3×2 floats
    "L": LEAVES + 60 + 24 + 4 + 36,  # workspace: 3 int64 and 3 floats
    "∂L/∂L": LEAVES + 60 + 24 + 4 + 4,
    "∂L/∂logp": LEAVES + 60 + 24 + 4 + 4 + 24 + 24,  # workspace: 3 int64; then ∂L/∂L is freed
    "∂L/∂o": LEAVES + 60 + 24 + 4 + 24 + 60,  # in place; workspace: 3 and 2·3×2 floats; then logp is freed
    "∂L/∂W2": LEAVES + 60 + 4 + 24 + 40,
    "∂L/∂h": LEAVES + 60 + 4 + 24 + 40 + 60,  # then ∂L/∂o is freed
    "∂L/∂z": LEAVES + 60 + 4 + 40 + 60,  # in h's buffer; then ∂L/∂h is freed
    "∂L/∂W1": LEAVES + 4 + 40 + 60 + 80,  # then ∂L/∂z is freed
    "W1′": LEAVES + 4 + 40 + 80 + 80,  # workspace: 20 floats; then ∂L/∂W1 is freed
    "W2′": LEAVES + 4 + 40 + 40,
}


def test_one_hidden_layer_of_the_book_is_as_worked_out_by_hand():
    found = analyse(training(build(mlp(3, 4, (5,), 2, l2=0.0)), "sgd", 0.1))
    names = [found.schedule.graph[step.node].name for step in found.schedule.steps]
    assert dict(zip(names, found.live_bytes, strict=True)) == BY_HAND
    assert list(BY_HAND) == names
    assert (found.peak_bytes, found.peak_node.name) == (396, "W1′")
    assert found.peak_role_bytes == {
        Role.PARAMETER: 120,
        Role.GRADIENT: 120,  # ∂L/∂W2 and ∂L/∂W1
        Role.OPTIMIZER: 0,
        Role.INPUT: 72,
        Role.RETAINED: 0,
        Role.RECOMPUTED: 0,
        Role.TRANSIENT: 4,  # L
        Role.WORKSPACE: 80,
    }


@pytest.mark.parametrize(
    ("activation", "names"),
    [
        ("relu", ["h", "logp"]),
        ("tanh", ["h", "logp"]),
        ("sigmoid", ["h", "logp"]),
        ("gelu", ["z", "h", "logp"]),
        ("gelu_tanh", ["z", "h", "logp"]),
        ("identity", ["z", "logp"]),  # h is a view of z
    ],
)
def test_what_forward_leaves_for_backward_is_what_the_formulas_read(activation, names):
    found = analyse(training(build(mlp(3, 4, (5,), 2, activation=activation)), "sgd", 0.1))
    assert [node.name for node in found.retained] == names


def test_relu_takes_the_buffer_of_its_input_and_gelu_does_not():
    for activation, taken in (("relu", "z"), ("gelu", None)):
        steps = named_steps(training(build(mlp(3, 4, (5,), 2, activation=activation)), "sgd", 0.1))
        assert [reuse for name, _, reuse, _ in steps if name == "h"] == [taken]


def test_mean_squared_error_retains_the_output():
    found = analyse(training(build(mlp(3, 4, (5,), 2, loss="mean_squared_error")), "sgd", 0.1))
    assert [node.name for node in found.retained] == ["h", "o"]


def test_sixteen_layers_of_256_on_the_digits_have_the_peaks_worked_out_in_the_design():
    n, d, h, q, depth = 1024, 64, 256, 10, 16
    model = mlp(n, d, (h,) * depth, q)
    parameters = d * h + (depth - 1) * h * h + h * q
    # live at ∂L/∂h15: h1…h15, ∂L/∂z16, ∂L/∂h15, ∂J/∂W17, ∂J/∂W16, J and λ's cotangent
    train = 4 * (parameters + n * d + (depth - 1) * n * h + 2 * n * h + q * h + h * h + 2) + 8 * n
    infer = 4 * (parameters + n * d + 2 * n * h)
    assert analyse(training(build(model), "sgd", 0.1)).peak_bytes == train == 22_376_456
    assert analyse(inference(build(model))).peak_bytes == infer == 6_367_232
    assert (round(train / 2**20, 1), round(infer / 2**20, 1), round(train / infer, 1)) == (21.3, 6.1, 3.5)


def test_totals_count_each_buffer_of_a_role_once():
    found = analyse(training(build(mlp(3, 4, (5,), 2)), "adam", 0.1))  # with ∂L/∂W + λW in one buffer
    totals = {role: found.total_bytes(role) for role in (Role.PARAMETER, Role.GRADIENT, Role.RETAINED)}
    assert totals == {Role.PARAMETER: 120, Role.GRADIENT: 120, Role.RETAINED: 60 + 24}
    assert found.total_bytes(Role.INPUT) == 48 + 24 + 8  # x, y, t
    assert found.total_bytes(Role.OPTIMIZER) == 2 * 120
    assert analyse(inference(build(mlp(3, 4, (5,), 2)))).total_bytes(Role.GRADIENT) == 0


@pytest.mark.parametrize("width", [8, 64, 200])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_layer_costs_training_4h_bytes_per_example_and_inference_nothing(width, activation):
    def peak(depth: int, batch: int, train: bool) -> int:
        model = build(mlp(batch, 64, (width,) * depth, 10, activation=activation))
        return analyse(training(model, "sgd", 0.1) if train else inference(model)).peak_bytes

    for depth, batch, train in product((3, 9), (512, 1000), (True, False)):
        per_layer = [peak(depth + 5, n, train) - peak(depth, n, train) for n in (batch, batch + 7)]
        assert per_layer[1] - per_layer[0] == (5 * 7 * 4 * width if train else 0)


def test_inference_and_training_differ_only_in_what_is_asked_for():
    spec = mlp(3, 4, (5, 6), 2, activation="gelu", bias=True)
    model = build(spec)
    train = training(model, "adam", 0.1)
    asked = [train.graph[i] for i in train.asked]
    assert [node.name for node in asked] == ["J", "W1′", "b1′", "W2′", "b2′", "W3′", "b3′"]
    assert make_schedule(train.graph, asked) == train
    only_o = make_schedule(train.graph, [model.outputs[0]])
    assert inference(model) == only_o
    assert named_steps(inference(build(spec))) == named_steps(only_o)
    assert {step.phase for step in only_o.steps} == {Phase.FORWARD}
    assert "y" not in [only_o.graph[i].name for i in only_o.persistent]
    train_forward = [step.node for step in train.steps if step.phase is Phase.FORWARD]
    assert [step.node for step in only_o.steps] == train_forward[: len(only_o.steps)]


# -- the definition ----------------------------------------------------------------------------------

SIZES = [
    {"batch": 6, "input_size": 4, "hidden": ()},
    {"batch": 6, "input_size": 4, "hidden": (5,)},
    {"batch": 5, "input_size": 5, "hidden": (5, 5, 5)},  # every matrix has one shape
    {"batch": 1, "input_size": 1, "hidden": (1, 1)},
    {"batch": 400, "input_size": 64, "hidden": (300, 20, 100)},  # more than a block
]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_live_bytes_agree_with_their_definition_at_every_step(activation, loss):
    for size, bias, l2 in product(SIZES, (False, True), (0.0, 1e-4)):
        model = mlp(**size, output_size=5, activation=activation, loss=loss, bias=bias, l2=l2)
        schedules = [training(build(model), name, 0.1) for name in OPTIMIZERS] + [inference(build(model))]
        for schedule in schedules:
            truth, found = brute_force(schedule), analyse(schedule)
            assert list(found.live_bytes) == truth.live_bytes
            assert (found.peak_bytes, found.peak_step) == (truth.peak_bytes, truth.peak_step)
            assert found.peak_role_bytes == truth.peak_role_bytes
            assert {node.id for node in found.retained} == retained(schedule)
            assert all(holder(schedule.graph, node.id) == node.id for node in found.retained)
            check_presence(schedule)


@pytest.mark.parametrize(("depth", "batch"), [(1, 64), (1, 512), (4, 64), (16, 1024)])
def test_a_bias_adds_at_most_an_eighth_of_a_layer_to_inference(depth, batch):
    """With a workspace as large as a layer, inference needed nearly as much as training."""
    plain, biased = (
        analyse(inference(build(mlp(batch, 64, (256,) * depth, 10, bias=bias)))) for bias in (False, True)
    )
    biases = 4 * (256 * depth + 10)
    assert biased.peak_bytes - plain.peak_bytes - biases <= 4 * batch * 256 // 8
    training_peak = analyse(
        training(build(mlp(batch, 64, (256,) * depth, 10, bias=True)), "sgd", 0.1)
    ).peak_bytes
    assert training_peak / biased.peak_bytes > 1.3
