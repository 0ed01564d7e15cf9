"""Values with many readers: peaks by hand, vjp rules applied once, and sums compared with two oracles.

The oracles are central differences and late sums (`late_sums`).
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from derivatives import check_gradient, evaluate
from examples import leaf
from late_sums import late_gradient, reached

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.ops.activation import Sigmoid, Tanh
from memtrain.graph.ops.arithmetic import Exp, Multiply, add, multiply, sum_to
from memtrain.graph.ops.gelu import Gelu
from memtrain.graph.ops.loss import Mse, MseGrad, SquaredNorm
from memtrain.graph.ops.matmul import matmul
from memtrain.graph.ops.softmax import LogSoftmax, LogSoftmaxGrad
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule

UNIT = 8 * 6 * 6
"""Bytes of a 6 by 6 matrix of float64."""


def peak_of(b, asked):
    return analyse(make_schedule(b.graph(), asked)).peak_bytes


# -- by hand -----------------------------------------------------------------------------------------


def reading_network(readers):
    """S = Σ over k of tanh(h Wk), with h = tanh(x): ``readers`` products read h. All are 6 by 6."""
    b = Builder()
    x, *weights = (leaf(b, name, (6, 6)) for name in ("x", *(f"W{k}" for k in range(readers))))
    h, total = b.apply(Tanh(), x), None
    for weight in weights:
        part = sum_to(b, b.apply(Tanh(), matmul(b, h, weight)), ())
        total = part if total is None else add(b, total, part)
    return b, total, [x, *weights]


@pytest.mark.parametrize("readers", [2, 3, 6])
def test_a_value_that_several_read_holds_one_sum_and_one_part(readers):
    """By hand for k readers, right before the j-th part is added, in arrays of 6 by 6.

    Live are the leaves (1 + k), h, the outputs that are still to be read (k − j), the cotangent at the j-th
    reader, the gradients of j weights, the sum and the part; and the number 1, while a later reader needs it.
    With late sums, live at the first part are the leaves, h, the cotangents at k readers, the gradients of k
    weights, and the part.
    """
    b, total, leaves = reading_network(readers)
    assert peak_of(b, gradient(b, total, leaves)) == (2 * readers + 5) * UNIT + 8 * (readers > 2)
    b, total, leaves = reading_network(readers)
    assert peak_of(b, late_gradient(b, total, leaves)) == (3 * readers + 3) * UNIT


def used_layer(uses, build_gradient):
    """The peak of ∂‖hk‖²/∂W for h1 = tanh(x Wᵀ), h2 = tanh(h1 Wᵀ), …: one layer of 256, batch 128."""
    b = Builder()
    x, w = leaf(b, "x", (128, 256), "float32"), leaf(b, "W", (256, 256), "float32")
    value = x
    for _ in range(uses):
        value = b.apply(Tanh(), matmul(b, value, w, transpose_b=True))
    return peak_of(b, build_gradient(b, b.apply(SquaredNorm(), value), [w]))


def test_each_use_of_a_shared_layer_adds_the_bytes_of_its_output():
    """By hand for k uses, in arrays of 131,072 B: x, W (2), h1…h(k−2), ∂/∂z(k−1), the sum (2), a part (2).

    With late sums, the cotangent of each use is held as well as its output.
    """
    early = [used_layer(uses, gradient) for uses in range(2, 21)]
    assert early == [131_072 * (uses + 6) for uses in range(2, 21)]
    late = [used_layer(uses, late_gradient) for uses in range(2, 21)]
    assert {more - less for less, more in pairwise(late)} == {262_144}


# -- one rule, several gradients ---------------------------------------------------------------------


def count_asks(monkeypatch, op):
    asks, rule = [], op.vjp

    def counted(self, b, node, cotangent, wanted):
        asks.append((node.id, tuple(wanted)))
        return rule(self, b, node, cotangent, wanted)

    monkeypatch.setattr(op, "vjp", counted)
    return asks


def test_a_rule_is_asked_once_for_all_inputs_that_are_wanted_leaves_first(monkeypatch):
    asks = count_asks(monkeypatch, Multiply)
    b = Builder()
    x, w, other = (leaf(b, name, (3,)) for name in ("x", "w", "other"))
    h = b.apply(Tanh(), x)
    both, one, none = multiply(b, h, w), multiply(b, other, h), multiply(b, other, other)
    gradient(b, sum_to(b, add(b, both, add(b, one, none)), ()), [x, w])
    assert asks == [(one.id, (1,)), (both.id, (1, 0))]


def ops_built(build, *leaf_shapes):
    """The number of nodes that backward appends, by op."""
    b = Builder()
    xs = [leaf(b, f"x{k}", shape) for k, shape in enumerate(leaf_shapes)]
    target = build(b, *xs)
    count = len(b.nodes)
    gradient(b, target, xs)
    names = [node.op.name for node in b.nodes[count:]]
    return {name: names.count(name) for name in names}


def test_what_the_gradients_of_a_node_share_is_built_once():
    def error(b, x, y):
        return b.apply(Mse(), x, y)

    assert ops_built(error, (4,), (4,)) == {"fill": 1, "mse_grad": 1, "scale": 1}

    def squares(b, x):
        return b.apply(SquaredNorm(), multiply(b, x, x))

    assert ops_built(squares, (4,))["multiply"] == 2  # one for the norm, and one for both factors

    def slope(b, g, x, y):
        return b.apply(SquaredNorm(), b.apply(MseGrad(), g, x, y))

    assert ops_built(slope, (), (4,), (4,))["multiply"] == 3  # for the norm, for g, and for x and y

    def soft(b, g, x):
        return b.apply(SquaredNorm(), b.apply(LogSoftmaxGrad(), g, b.apply(LogSoftmax(), x)))

    assert ops_built(soft, (2, 4), (2, 4))["exp"] == 1


def test_a_cotangent_that_is_one_number_everywhere_makes_no_array():
    b = Builder()
    x, w = leaf(b, "x", (6, 6)), leaf(b, "w", (6, 6))
    found = gradient(b, sum_to(b, multiply(b, x, w), ()), [x, w])
    assert [node.id for node in found] == [w.id, x.id]
    b = Builder()
    x, w, c = leaf(b, "x", (6, 6)), leaf(b, "w", (6, 6)), leaf(b, "c", ())
    found = gradient(b, multiply(b, c, sum_to(b, multiply(b, x, w), ())), [x])
    assert peak_of(b, found) == 2 * UNIT + 8  # w and c w, and the number c
    arrays = [np.array([0.3, -0.2]), np.array([1.5, 0.5]), np.array(0.7)]
    check_gradient(lambda b, x, w, c: multiply(b, c, sum_to(b, multiply(b, x, w), ())), arrays)


# -- parts that are added in place -------------------------------------------------------------------


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("readers", [0, 1, 2])
def test_a_part_that_can_be_added_in_place_waits_for_an_array(readers, norm_first):
    def apply(b, x):
        h = b.apply(Tanh(), x)
        terms = [sum_to(b, b.apply(Exp(), h), ()) for _ in range(readers)]
        norms = [b.apply(SquaredNorm(), h), b.apply(SquaredNorm(), h)]
        total, *others = norms + terms if norm_first else terms + norms
        for other in others:
            total = add(b, total, other)
        return total

    check_gradient(apply, [np.array([0.5, -1.2, 0.1])])
    check_gradient(apply, [np.array([0.5, -1.2, 0.1])], order=2)
    built = ops_built(apply, (3,))
    assert built["add_scaled"] == (2 if readers else 1)
    assert built.get("multiply", 0) == readers + (not readers)


# -- random graphs -----------------------------------------------------------------------------------


def grown(seed, size, *, one_way):
    """A function that appends a random graph to leaves, and returns its last value.

    Many of its values have several readers.
    With ``one_way``, each node except sums has only one input that depends on x; its other inputs are leaves.
    """

    def apply(b, *leaves):
        rng = Random(seed)
        x, *others = leaves
        pool = [b.apply(Tanh(), x)]
        for _ in range(size):
            value = rng.choice(pool[-3:] if rng.random() < 0.6 else pool)
            kind = rng.choice(("unary", "unary", "matmul", "times", "sum", "sum"))
            second = rng.choice(others if one_way else pool)
            if kind == "unary":
                node = b.apply(rng.choice((Tanh, Sigmoid, Gelu))(), value)
            elif kind == "matmul":
                node = b.apply(Tanh(), matmul(b, value, second, transpose_b=rng.random() < 0.5))
            elif kind == "times":
                node = multiply(b, value, second)
            else:
                node = add(b, value, rng.choice(pool))
            pool.append(node)
        return pool[-1]

    return apply


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_gradients_of_random_graphs_with_shared_values_are_those_of_central_differences(seed, order):
    rng = np.random.default_rng(seed)
    arrays = [0.4 * rng.standard_normal((2, 2)) for _ in range(3)]
    check_gradient(grown(seed, 3 + seed % 8, one_way=seed % 2 == 0), arrays, order)


def built(seed, size, one_way, build_gradient):
    b = Builder()
    leaves = [leaf(b, name, (6, 6)) for name in "xvw"]
    target = sum_to(b, grown(seed, size, one_way=one_way)(b, *leaves), ())
    return b, build_gradient(b, target, [node for node in leaves if node.id in reached(b, target)])


@pytest.mark.parametrize("seed", range(40))
def test_early_and_late_sums_are_the_same_gradients(seed):
    rng = np.random.default_rng(seed)
    values = {name: 0.3 * rng.standard_normal((6, 6)) for name in "xvw"}
    early, late = (
        evaluate(*built(seed, 4 + seed % 15, seed % 2 == 0, way), values) for way in (gradient, late_gradient)
    )
    for found, expected in zip(early, late, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
