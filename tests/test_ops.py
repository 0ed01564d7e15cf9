"""Every registered op: its gradients of first and second order, its formula, its shape rule; and the
helpers, checks and updates that are built from ops.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from examples import (
    CASES,
    EXAMPLES,
    FORMULAS,
    SMALL,
    Sizes,
    compute,
    has_kernel,
    is_differentiable,
    leaf,
    leaves,
    make,
)

from memtrain.errors import GraphError
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Builder, Graph, Phase, Role
from memtrain.graph.ops import OPS, activation, arithmetic, gelu, loss, matmul, source, update, view
from memtrain.graph.ops.base import BLOCK
from memtrain.models.mlp import ACTIVATIONS, MLP, build
from memtrain.plan.schedule import make_schedule
from memtrain.run.executor import Run
from memtrain.train.optimizers import ITERATION, OPTIMIZERS, add_updates

COMPUTED = [(name, place) for name, place in CASES if name != "leaf"]
DIFFERENTIABLE = [(name, place) for name, place in CASES if is_differentiable(name)]
BIG = {
    "square": (131, 257),  # several blocks of rows, the last one shorter
    "tall": (20011, 2),  # more rows than a block has elements
    "wide": (2, 20001),  # a row is longer than a block
}
DTYPES = ("float32", "float64")


def check_gradient(apply, arrays, order=1):
    """Assert that the graph's derivative of ``order`` is that of central differences, in float64.

    The target is Σ f(x) ⊙ r for a random r; for each further order it is the derivative of the last
    target along a random direction of all inputs.
    """
    rng = np.random.default_rng(order)
    b, values = Builder(), {}
    xs = leaves(b, arrays)
    values.update({x.name: array for x, array in zip(xs, arrays, strict=True)})
    floating = [x for x in xs if x.dtype.kind == "f"]

    def projected(value):
        r = leaf(b, f"r{len(values)}", value.shape)
        values[r.name] = rng.standard_normal(value.shape)
        return arithmetic.sum_to(b, arithmetic.multiply(b, value, r), ())

    target = projected(apply(b, *xs))
    for _ in range(order - 1):
        target, *others = [projected(g) for g in gradient(b, target, floating)]
        for other in others:
            target = arithmetic.add(b, target, other)
    gradients = gradient(b, target, floating)
    found = evaluate(b, gradients, values)
    run = Run(make_schedule(b.graph(), [target]))
    run.load(values)
    for x, from_graph in zip(floating, found, strict=True):
        numeric = np.empty(x.shape)
        for place in np.ndindex(x.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = np.array(values[x.name])
                moved[place] += step
                run.feed({x.name: moved})
                ends.append(run.iterate()[0].item())
            run.feed({x.name: values[x.name]})
            numeric[place] = (ends[0] - ends[1]) / 2e-5
        assert from_graph.shape == x.shape
        np.testing.assert_allclose(from_graph, numeric, rtol=1e-6, atol=1e-8, err_msg=str(x))


def evaluate(b, asked, values):
    """The values of nodes, with ``values`` by leaf name."""
    run = Run(make_schedule(b.graph(), asked))
    run.load(values)
    found = dict(zip(run.schedule.asked, run.iterate(), strict=True))  # two gradients may be one node
    return [np.array(found[node.id]) for node in asked]


def test_every_registered_op_has_an_example_and_a_formula():
    assert set(EXAMPLES) == set(OPS)
    assert set(FORMULAS) == set(OPS) - {"leaf"}
    for name, place in CASES:
        assert type(make(name, place)[0]) is OPS[name]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("name", "place"), DIFFERENTIABLE)
def test_the_gradient_is_that_of_central_differences(name, place, order):
    op, arrays = make(name, place)
    check_gradient(lambda b, *xs: b.apply(op, *xs), arrays, order)


@pytest.mark.parametrize("name", [name for name in OPS if not is_differentiable(name) and has_kernel(name)])
def test_an_effect_or_a_constant_refuses_to_be_differentiated(name):
    op, arrays = make(name)
    b = Builder()
    value = b.apply(op, *leaves(b, arrays))
    if arrays:
        with pytest.raises(GraphError, match="not differentiable"):
            gradient(b, arithmetic.sum_to(b, value, ()), [b[0]])
    else:
        with pytest.raises(GraphError, match="not differentiable"):
            op.vjp(b, value, 0, value)


class _SlopeOfOne(activation.Tanh):
    def vjp(self, b, node, position, cotangent):
        return cotangent


class _ForgetsItsOutput(activation.TanhGrad):
    def vjp(self, b, node, position, cotangent):
        return super().vjp(b, node, position, cotangent) if position == 0 else None


class _WrongOnlyTwice(activation.Tanh):
    gradient = _ForgetsItsOutput


class _WrongSecondInput(loss.Mse):
    def vjp(self, b, node, position, cotangent):
        return super().vjp(b, node, 0, cotangent)


def test_the_check_catches_a_wrong_rule():
    x = [np.array([0.3, -0.7])]
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_gradient(lambda b, x: b.apply(_SlopeOfOne(), x), x)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_gradient(lambda b, x, y: b.apply(_WrongSecondInput(), x, y), [*x, np.array([0.4, 0.9])])
    check_gradient(lambda b, x: b.apply(_WrongOnlyTwice(), x), x, order=1)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_gradient(lambda b, x: b.apply(_WrongOnlyTwice(), x), x, order=2)
    assert OPS["tanh"] is activation.Tanh  # the wrong ones have no name of their own, so no entry
    assert OPS["mse"] is loss.Mse


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", ["small", *BIG])
@pytest.mark.parametrize(("name", "place"), COMPUTED)
def test_the_kernel_computes_its_formula(name, place, size, dtype):
    n, q = BIG.get(size, (SMALL.n, SMALL.q))
    op, arrays = make(name, place, Sizes(n, q, np.dtype(dtype)))
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in arrays]
    found = compute(op, arrays)
    expected = FORMULAS[name](op, *wide)
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    long_sum = 30 if name in ("matmul", "sum_to") and n * q > BLOCK else 1  # of 20,000 numbers near 1
    assert found.dtype == dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * long_sum)


PAIRS = [
    ((7, 5), (5,)),
    ((7, 5), (7, 1)),
    ((7, 1), (1, 5)),
    ((7, 5), ()),
    ((), ()),
    ((1,), ()),
    ((1,), (3, 1, 2)),
    ((3, 1, 2), (4, 1)),
    ((2, 1, 3, 1), (5, 1, 4)),
    ((1, 1), (1, 6)),
    ((20001, 1), (1, 3)),
    ((20001, 3), (3,)),
    ((20001, 3), (20001, 1)),
    ((3, 20001), (20001,)),
    ((3, 20001), (3, 1)),
    ((1, 20001), (1, 1)),
    ((70, 1, 300), (3, 1)),
    ((70, 3, 300), (70, 1, 300)),
    ((BLOCK + 1,), (1,)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ufunc", [np.add, np.multiply])
@pytest.mark.parametrize(("left", "right"), PAIRS + [(right, left) for left, right in PAIRS])
def test_operands_are_broadcast_as_numpy_does_to_the_bit(left, right, ufunc, dtype):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in (left, right)]
    found = compute(OPS[ufunc.__name__](), arrays)
    np.testing.assert_array_equal(found, ufunc(*arrays), strict=True)


LEADS = {1: [()], 2: [()], 3: [(2,), (1,)], 4: [(3, 2), (3, 1)]}


@pytest.mark.parametrize(("ta", "tb"), list(product([False, True], repeat=2)))
@pytest.mark.parametrize(("rank_x", "rank_y"), list(product(LEADS, repeat=2)))
def test_matmul_of_any_ranks_is_that_of_numpy_and_differentiable(rank_x, rank_y, ta, tb):
    rng = np.random.default_rng(0)
    for lead_x, lead_y in product(LEADS[rank_x], LEADS[rank_y]):
        x = rng.standard_normal((*lead_x, *((4, 3) if ta else (3, 4)))) if rank_x > 1 else rng.random(4)
        y = rng.standard_normal((*lead_y, *((5, 4) if tb else (4, 5)))) if rank_y > 1 else rng.random(4)
        expected = np.matmul(
            x.swapaxes(-1, -2) if ta and rank_x > 1 else x, y.swapaxes(-1, -2) if tb and rank_y > 1 else y
        )

        def apply(b, x, y):
            return matmul.matmul(b, x, y, transpose_a=ta, transpose_b=tb, name="p")

        b = Builder()
        value = apply(b, *leaves(b, [x, y]))
        assert value.name == "p"
        assert b.graph().named("p") is value
        (found,) = evaluate(b, [value], {"x0": x, "x1": y})
        assert found.shape == value.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
        check_gradient(apply, [x, y])


def test_a_stack_times_a_matrix_is_one_product_and_its_gradient_needs_no_stack():
    b = Builder()
    x, w = leaf(b, "x", (2, 3, 4)), leaf(b, "W", (5, 4))
    value = matmul.matmul(b, x, w, transpose_b=True)
    (dw,) = gradient(b, arithmetic.sum_to(b, value, ()), [w])
    products = [node for node in b.nodes if node.op.name == "matmul"]
    assert [node.shape for node in products] == [(6, 5), (5, 4)]
    assert products[-1].id == dw.id


MISFITS = {
    "add": (arithmetic.Add(), "cannot broadcast", (3, 4), (5,)),
    "multiply": (arithmetic.Multiply(), "cannot broadcast", (2, 1), (3, 4)),
    "add_scaled": (arithmetic.AddScaled(1.0), "one shape", (3, 4), (1,), (3, 4)),
    "sum_to": (arithmetic.SumTo((3,)), r"\[3\] does not broadcast to \[3, 4\]", (3, 4)),
    "broadcast_to": (arithmetic.BroadcastTo((3, 4)), "does not broadcast", (3,)),
    "relu_grad": (activation.ReluGrad(), "one shape", (3, 4), (4, 3)),
    "log_softmax": (loss.LogSoftmax(), "last axis", ()),
    "nll": (loss.Nll(), "integer labels", (3, 4), (3,)),
    "nll_grad": (loss.NllGrad((3, 4)), r"labels \[3\]", (), (4,)),
    "mse": (loss.Mse(), "one shape", (3, 4), (3, 1)),
    "mse_grad": (loss.MseGrad(), "without dimensions", (1,), (3, 4), (3, 4)),
    "matmul": (matmul.MatMul(True, False), "transpose_a=True", (3, 4), (4, 5)),
    "matmul of a vector": (matmul.MatMul(), "needs matrices", (4,), (4, 5)),
    "matmul of other stacks": (matmul.MatMul(), "does not fit", (2, 3, 4), (3, 4, 5)),
    "descend": (update.Descend(0.1), "one shape", (3, 4), (4,)),
    "adam_step": (update.AdamStep(0.1, 0.9, 0.9, 0.1), "as a number", (3,), (3,), (3,), (3,)),
    "transpose": (view.Transpose((0, 0)), "each axis", (3, 4)),
    "reshape": (view.Reshape((5, 2)), r"to \[5, 2\]", (3, 4)),
    "slice": (view.Slice((0, 1), (3, 5)), "outside", (3, 4)),
    "slice of nothing": (view.Slice((2,), (2,)), "outside", (3,)),
    "pad": (view.Pad((1,), (3,), (4,)), "does not fit", (3,)),
}


@pytest.mark.parametrize("case", MISFITS)
def test_inputs_that_do_not_fit_are_refused_by_name_and_shape(case):
    op, words, *shapes = MISFITS[case]
    b = Builder()
    nodes = [leaf(b, f"given{i}", shape) for i, shape in enumerate(shapes)]
    with pytest.raises(GraphError, match=words) as caught:
        b.apply(op, *nodes)
    assert op.name in str(caught.value)
    named = [node for node in nodes if f"{node.name} leaf{list(node.shape)}" in str(caught.value)]
    assert named == {"adam_step": nodes[3:], "mse_grad": nodes[:1]}.get(op.name, nodes)
    assert len(b.nodes) == len(nodes)


@pytest.mark.parametrize("name", ["add", "tanh_grad", "add_scaled", "mse", "mse_grad", "matmul", "descend"])
def test_inputs_of_two_types_are_refused(name):
    op, arrays = make(name)
    b = Builder()
    *nodes, last = leaves(b, arrays)
    with pytest.raises(GraphError, match=r"inputs of one type.*float64.*float32"):
        b.apply(op, *nodes, leaf(b, "narrow", last.shape, "float32"))


@pytest.mark.parametrize(
    ("x", "y"), [((2, 3, 4), (5, 6)), ((4,), (5, 6)), ((5, 6), (4,)), ((2, 3, 4), (3, 4, 5))]
)
def test_matmul_names_the_given_nodes_when_they_do_not_fit(x, y):
    b = Builder()
    given = leaf(b, "given_x", x), leaf(b, "given_y", y)
    with pytest.raises(GraphError) as caught:
        matmul.matmul(b, *given)
    for node in given:
        assert f"{node.name} leaf{list(node.shape)}" in str(caught.value)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_labels_of_an_accepted_type_are_read(dtype):
    logp = np.log(np.array([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]]))
    y = np.array([2, 1], dtype)
    try:
        loss.Nll().result(*leaves(Builder(), [logp, y]))
    except GraphError:
        assert dtype is not np.int64  # other integers may be refused, but not accepted and then not read
        return
    assert compute(loss.Nll(), [logp, y]) == pytest.approx(-(math.log(0.5) + math.log(0.6)) / 2)
    np.testing.assert_allclose(compute(loss.NllGrad((2, 3)), [np.array(1.0), y]).sum(1), -0.5)


@pytest.mark.parametrize(("op", "shape"), [(loss.Nll(), (2, 3)), (loss.NllGrad((2, 3)), ())])
def test_labels_that_are_no_integers_are_refused(op, shape):
    b = Builder()
    with pytest.raises(GraphError, match="labels"):
        b.apply(op, leaf(b, "given", shape), leaf(b, "y", (2,)))


def test_views_have_no_storage_and_a_reshape_of_a_transposed_view_copies():
    b = Builder()
    x = leaf(b, "x", (3, 4))
    flipped = view.transpose(b, x)
    part = b.apply(view.Slice((0, 1), (2, 3)), x)
    flat = view.reshape(b, x, (12,), name="flat")
    for node in (flipped, part, flat):
        assert node.storage == x.id
        assert not node.owns_storage
    assert (flipped.contiguous, part.contiguous, flat.contiguous) == (False, False, True)
    assert len(b.nodes) == 4
    copied = view.reshape(b, flipped, (12,))
    assert b[copied.inputs[0]].op.name == "copy"
    assert copied.storage == copied.inputs[0] != x.id
    array = np.arange(12.0).reshape(3, 4)
    found = evaluate(b, [flipped, part, flat, copied], {"x": array})
    for have, want in zip(found, [array.T, array[:2, 1:3], array.ravel(), array.T.ravel()], strict=True):
        np.testing.assert_array_equal(have, want, strict=True)
    assert np.shares_memory(flipped.op.view(array), array)


@pytest.mark.parametrize("seed", range(40))
def test_any_chain_of_views_is_that_of_numpy_and_knows_whether_its_bytes_lie_in_order(seed):
    rng = np.random.default_rng(seed)
    b = Builder()
    array = wanted = rng.standard_normal((2, 3, 1, 4))
    value = leaf(b, "x", wanted.shape)
    for _ in range(5):
        kind = rng.integers(3)
        if kind == 0:
            axes = tuple(map(int, rng.permutation(wanted.ndim)))
            value, wanted = view.transpose(b, value, axes), wanted.transpose(axes)
        elif kind == 1:
            starts = tuple(int(rng.integers(size)) for size in wanted.shape)
            stops = tuple(
                int(rng.integers(a + 1, size + 1)) for a, size in zip(starts, wanted.shape, strict=True)
            )
            value, wanted = (
                b.apply(view.Slice(starts, stops), value),
                wanted[tuple(map(slice, starts, stops))],
            )
        else:
            shape = (1, *wanted.shape[:-2], wanted.shape[-1] * wanted.shape[-2])
            value, wanted = view.reshape(b, value, shape), wanted.reshape(shape)
        run = Run(make_schedule(b.graph(), [value]))
        run.load({"x": array})
        (found,) = run.iterate()
        np.testing.assert_array_equal(found, wanted, strict=True)
        assert found.flags.c_contiguous or not value.contiguous


def parameter(b, name="W", shape=(3,)):
    return b.apply(source.Leaf(Role.PARAMETER, shape, np.dtype(np.float64)), name=name)


def test_reading_a_value_that_an_update_has_overwritten_is_refused():
    b = Builder()
    w, g = parameter(b), leaf(b, "g", (3,))
    flat = view.reshape(b, w, (3, 1))
    arithmetic.scale(b, w, 2.0)  # before the update: allowed
    updated = b.apply(update.Descend(0.1), w, g, name="W′")
    assert updated.storage == w.id
    assert not updated.owns_storage
    again = b.apply(update.Descend(0.1), updated, g, name="W″")
    arithmetic.scale(b, again, 2.0)
    safe = b.graph()
    for stale in (w, flat, updated):
        late = Builder(safe)
        late.apply(arithmetic.Scale(2.0), stale, name="late")
        with pytest.raises(GraphError, match=f"late scale.*reads {stale.name} .*W″ has overwritten"):
            late.graph()


BROKEN = {
    "shape": ({"shape": (4, 3)}, r"z add\[4, 3\] float64 should be \[3, 4\]"),
    "type": ({"dtype": np.dtype(np.float32)}, "z add.*float32 should be .*float64"),
    "order": ({"inputs": (0, 2)}, "z add.*not all computed before"),
    "number": ({"id": 5}, "z add.*has id 5 at place 2"),
    "storage": ({"storage": 0}, "z add.*storage"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_graph_that_cannot_be_computed_as_it_stands_is_refused(case):
    changes, words = BROKEN[case]
    b = Builder()
    x = leaf(b, "x", (3, 4))
    arithmetic.add(b, x, arithmetic.scale(b, x, 2.0), name="z")
    *before, z = b.graph().nodes
    with pytest.raises(GraphError, match=words):
        Builder(Graph((*before, replace(z, **changes)))).graph()


def scalar_erf(x):
    return np.array([math.erf(value) for value in x.tolist()])


@pytest.mark.parametrize(("dtype", "error"), [("float64", 1e-14), ("float32", 3e-7)])
def test_erf_is_that_of_the_math_module(dtype, error):
    special = [0.0, 5e-324, 1e-300, 1e-20, 1e-8, 5.9, 5.999999, 6, 6.000001, 30, 1e30, math.inf]
    with np.errstate(under="ignore"):
        x = np.concatenate([np.linspace(0, 7, 70001), special]).astype(dtype)
    out, negative, *scratch = (np.empty_like(x) for _ in range(4))
    gelu.erf(x, out, *scratch)
    assert np.max(np.abs(out - scalar_erf(x))) <= error
    gelu.erf(-x, negative, *scratch)
    np.testing.assert_array_equal(negative, -out)
    gelu.erf(x, out, *scratch, factor=0.5)
    assert np.max(np.abs(out - scalar_erf(x * 0.5))) <= error


def scalar_sigmoid(z):
    return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))


def scalar_tanh_gelu(z):
    return z / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


SCALAR = {
    "relu": lambda z: max(z, 0.0),
    "tanh": math.tanh,
    "sigmoid": scalar_sigmoid,
    "gelu": lambda z: z / 2 * math.erfc(-z / math.sqrt(2)),
    "gelu_tanh": scalar_tanh_gelu,
    "identity": lambda z: z,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_that_of_the_math_module(name):
    z = np.concatenate([np.linspace(-40, 40, 16001), [-1e4, 1e4, 1e-300]])
    wanted = np.array([SCALAR[name](value) for value in z.tolist()])
    np.testing.assert_allclose(compute(OPS[name](), [z]), wanted, rtol=1e-14, atol=5e-14)
    found = compute(OPS[name](), [z.astype(np.float32)])
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=5e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_and_two_derivatives_stay_finite_far_out(name, dtype):
    b = Builder()
    z = leaf(b, "z", (6,), dtype)
    value = b.apply(OPS[name](), z)
    asked = [value]
    for _ in range(2):
        asked += gradient(b, arithmetic.sum_to(b, asked[-1], ()), [z])
    far = np.array([-1e4, -100, -10, 10, 100, 1e4], dtype)
    value, slope, curvature = evaluate(b, asked, {"z": far})
    bounded = name in ("tanh", "sigmoid")
    np.testing.assert_allclose(slope[3:], 0 if bounded else 1, atol=1e-3)
    np.testing.assert_allclose(slope[:3], 1 if name == "identity" else 0, atol=1e-3)
    np.testing.assert_allclose(curvature, 0, atol=1e-3)
    assert np.isfinite(value).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_inputs_have_the_limits_as_values(dtype):
    ends = np.array([-np.inf, np.inf], dtype)
    np.testing.assert_array_equal(compute(activation.Relu(), [ends]), [0, np.inf])
    np.testing.assert_array_equal(compute(activation.Tanh(), [ends]), [-1, 1])
    np.testing.assert_array_equal(compute(activation.Sigmoid(), [ends]), [0, 1])
    np.testing.assert_array_equal(compute(arithmetic.Exp(), [np.array([-np.inf, -1e4], dtype)]), [0, 0])
    for op in (gelu.Gelu(), gelu.GeluTanh()):
        np.testing.assert_array_equal(compute(op, [ends[1:]]), [np.inf])


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_softmax_and_its_gradient_survive_extreme_and_masked_scores(dtype):
    x = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [0, -np.inf, 0], [1e4, 1e4, -np.inf]], dtype)
    half, third = -math.log(2), -math.log(3)
    wanted = [[0, -2e4, -1e4], [third] * 3, [half, -np.inf, half], [half, half, -np.inf]]
    logp = compute(loss.LogSoftmax(), [x])
    np.testing.assert_allclose(logp, wanted, rtol=1e-6)
    g = compute(loss.LogSoftmaxGrad(), [np.ones_like(x), logp])
    np.testing.assert_allclose(g, 1 - 3 * np.exp(np.array(wanted)), atol=1e-6)


def test_the_gradients_of_the_books_network_have_the_names_and_values_of_the_book():
    model = build(MLP(batch=5, input_size=4, hidden=(6,), output_size=3, l2=0.1, dtype="float64"))
    b = model.builder
    forward = len(b.nodes)
    gradients = gradient(b, model.objective, model.parameters)
    assert [g.name for g in gradients] == ["∂J/∂W1", "∂J/∂W2"]
    names = [node.name for node in b.nodes[forward:]]
    assert {node.phase for node in b.nodes[forward:]} == {Phase.BACKWARD}
    chain = ["∂L/∂o", "∂L/∂W2", "∂J/∂W2", "∂L/∂h1", "∂L/∂z1", "∂L/∂W1", "∂J/∂W1"]
    assert [name for name in names if name in chain] == chain
    assert {"∂J/∂J", "∂L/∂logp"} <= set(names)

    rng = np.random.default_rng(1)
    x, w1, w2 = (rng.standard_normal(shape) for shape in ((5, 4), (6, 4), (3, 6)))
    y = np.array([0, 2, 1, 1, 0])
    h = np.maximum(x @ w1.T, 0)
    p = np.exp(h @ w2.T)
    do = (p / p.sum(1, keepdims=True) - np.eye(3)[y]) / 5
    dz = (do @ w2) * (h > 0)
    asked = [b.graph().named(name) for name in ("∂L/∂o", "∂L/∂z1", "∂J/∂W1", "∂J/∂W2")]
    found = evaluate(b, asked, {"x": x, "y": y, "W1": w1, "W2": w2})
    for have, want in zip(found, [do, dz, dz.T @ x + 0.1 * w1, do.T @ h + 0.1 * w2], strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-12, atol=1e-14)


def test_the_gradient_of_something_that_has_no_influence_is_zeros():
    b = Builder()
    x, other = leaf(b, "x", (3,)), leaf(b, "other", (2, 2), "float32")
    target = b.apply(loss.SquaredNorm(), x, name="S")
    later = leaf(b, "later", (4,))
    gradients = gradient(b, target, [other, x, later, target])
    found = evaluate(b, gradients, {"x": np.arange(3.0)})
    np.testing.assert_array_equal(found[0], np.zeros((2, 2), np.float32), strict=True)
    np.testing.assert_array_equal(found[1], [0, 2, 4])
    np.testing.assert_array_equal(found[2], np.zeros(4), strict=True)
    np.testing.assert_array_equal(found[3], 1.0)
    assert gradients[0].name == "∂S/∂other"
    (twice,) = gradient(b, arithmetic.sum_to(b, gradients[1], ()), [other])
    np.testing.assert_array_equal(evaluate(b, [twice], {})[0], np.zeros((2, 2)))


def test_only_a_number_can_be_differentiated():
    b = Builder()
    x = leaf(b, "x", (1,))
    with pytest.raises(GraphError, match=r"not x leaf\[1\] float64; sum it first"):
        gradient(b, x, [x])


def test_a_value_used_several_times_gets_the_sum_of_its_cotangents():
    def apply(b, x, w):
        h = b.apply(activation.Tanh(), arithmetic.multiply(b, x, x))
        both = arithmetic.add(b, h, arithmetic.multiply(b, h, w))
        return arithmetic.add(b, both, b.apply(loss.SquaredNorm(), w))

    check_gradient(apply, [np.array([0.5, -1.2]), np.array([0.7, 0.4])])
    check_gradient(apply, [np.array([0.5, -1.2]), np.array([0.7, 0.4])], order=2)


def expected_update(optimizer, rate, w, g, state, t):
    """One iteration as torch.optim has it: the new parameter; ``state`` is changed."""
    if optimizer == "sgd":
        return w - rate * g
    if optimizer == "momentum":
        state["v"] = 0.9 * state.get("v", 0) + g
        return w - rate * state["v"]
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g**2
    return w - rate * (state["m"] / (1 - 0.9**t)) / (np.sqrt(state["v"] / (1 - 0.999**t)) + 1e-8)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimiser_follows_its_formula_over_several_iterations(optimizer):
    rng = np.random.default_rng(2)
    values = {"W": rng.standard_normal((131, 257)), "b": rng.standard_normal(5)}
    states = {name: {} for name in values}
    b = Builder()
    parameters = tuple(parameter(b, name, value.shape) for name, value in values.items())
    gradients = [leaf(b, f"∂{node.name}", node.shape) for node in parameters]
    b.phase = Phase.UPDATE
    updated = add_updates(b, optimizer, 0.05, parameters, gradients)
    assert [node.name for node in updated] == ["W′", "b′"]
    assert [node.storage for node in updated] == [node.id for node in parameters]
    run = Run(make_schedule(b.graph(), updated))
    run.load(values)
    for t in range(1, 6):
        drawn = {name: rng.standard_normal(value.shape) for name, value in values.items()}
        run.feed({ITERATION: np.array(t), **{f"∂{name}": g for name, g in drawn.items()}})
        run.iterate()
        for name, g in drawn.items():
            values[name] = expected_update(optimizer, 0.05, values[name], g, states[name], t)
            np.testing.assert_allclose(run.value(name), values[name], rtol=1e-12, atol=1e-14)
    for name, state in states.items():
        for symbol, value in state.items():
            np.testing.assert_allclose(run.value(f"{symbol}({name})"), value, rtol=1e-12, atol=1e-14)
