"""Derivatives of first to third order of every op, compared with central differences; names of gradients."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import check_gradient, evaluate
from examples import (
    CASES,
    EXAMPLES,
    FORMULAS,
    has_free_inputs,
    has_kernel,
    is_differentiable,
    leaf,
    leaves,
    make,
)
from networks import build, mlp

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Phase
from memtrain.graph.ops import OPS, activation, arithmetic, loss

DIFFERENTIABLE = [(name, place) for name, place in CASES if has_free_inputs(name)]


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
        with pytest.raises(GraphError, match=r"not differentiable|has no gradient"):
            gradient(b, arithmetic.sum_to(b, value, ()), [b[0]])
    else:
        with pytest.raises(GraphError, match="not differentiable"):
            op.vjp(b, value, value, [0])


class _SlopeOfOne(activation.Tanh):
    def vjp(self, b, node, cotangent, wanted):
        yield 0, cotangent


class _ForgetsItsOutput(activation.TanhGrad):
    def vjp(self, b, node, cotangent, wanted):
        return super().vjp(b, node, cotangent, [position for position in wanted if position == 0])


class _WrongOnlyTwice(activation.Tanh):
    gradient = _ForgetsItsOutput


class _WrongSecondInput(loss.Mse):
    def vjp(self, b, node, cotangent, wanted):
        (_, first) = next(super().vjp(b, node, cotangent, [0]))
        return ((position, first) for position in wanted)


def test_the_check_catches_a_wrong_rule():
    x = [np.array([0.3, -0.7])]
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_gradient(lambda b, x: b.apply(_SlopeOfOne(), x), x)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_gradient(lambda b, x, y: b.apply(_WrongSecondInput(), x, y), [*x, np.array([0.4, 0.9])])
    check_gradient(lambda b, x: b.apply(_WrongOnlyTwice(), x), x, order=1)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_gradient(lambda b, x: b.apply(_WrongOnlyTwice(), x), x, order=2)
    assert OPS["tanh"] is activation.Tanh  # a wrong op has no name of its own, so it is not registered
    assert OPS["mse"] is loss.Mse


def test_the_gradients_of_the_books_network_have_the_names_and_values_of_the_book():
    model = build(mlp(batch=5, input_size=4, hidden=(6,), output_size=3, l2=0.1, dtype="float64"))
    b = model.builder
    forward = len(b.nodes)
    gradients = gradient(b, model.objective, model.parameters)
    assert [g.name for g in gradients] == ["∂J/∂W1", "∂J/∂W2"]
    names = [node.name for node in b.nodes[forward:]]
    assert {node.phase for node in b.nodes[forward:]} == {Phase.BACKWARD}
    chain = ["∂L/∂o", "∂L/∂W2", "∂J/∂W2", "∂L/∂h", "∂L/∂z", "∂L/∂W1", "∂J/∂W1"]
    assert [name for name in names if name in chain] == chain
    assert {"∂J/∂J", "∂L/∂logp"} <= set(names)

    rng = np.random.default_rng(1)
    x, w1, w2 = (rng.standard_normal(shape) for shape in ((5, 4), (6, 4), (3, 6)))
    y = np.array([0, 2, 1, 1, 0])
    h = np.maximum(x @ w1.T, 0)
    p = np.exp(h @ w2.T)
    do = (p / p.sum(1, keepdims=True) - np.eye(3)[y]) / 5
    dz = (do @ w2) * (h > 0)
    asked = [b.graph().named(name) for name in ("∂L/∂o", "∂L/∂z", "∂J/∂W1", "∂J/∂W2")]
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
