"""Activations and the normal tail, compared with the math module, and for extreme arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from derivatives import evaluate
from examples import (
    compute,
    leaf,
)

from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.ops import OPS, activation, arithmetic, gelu, softmax
from memtrain.models.mlp import ACTIVATIONS

DTYPES = ("float32", "float64")


SPECIAL = [0.0, 5e-324, 1e-300, 1e-20, 1e-8, 5.9, 5.999999, 6, 6.000001, 12.999, 13, 30, 1e30, math.inf]


@pytest.mark.parametrize(("dtype", "error"), [("float64", 1e-15), ("float32", 2e-7)])
def test_the_normal_tail_is_that_of_the_math_module(dtype, error):
    with np.errstate(under="ignore"):
        z = np.concatenate([np.linspace(-14, 14, 140001), SPECIAL]).astype(dtype)
    u, ratio, bell = (np.empty_like(z) for _ in range(3))
    gelu.normal_tail(z, u, ratio, bell)
    exact = np.array([math.erfc(abs(value) / math.sqrt(2)) / 2 for value in z.tolist()])
    assert np.max(np.abs(ratio * bell - exact)) <= error
    np.testing.assert_array_equal(u, np.minimum(np.abs(z), 13))


def scalar_sigmoid(z):
    return 1 / (1 + math.exp(-z)) if z > 0 else math.exp(z) / (1 + math.exp(z))


def scalar_tanh_gelu(z):
    return z / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def scalar_softplus(z):
    return max(z, 0) + math.log1p(math.exp(-abs(z)))


SCALAR = {
    "relu": lambda z: max(z, 0.0),
    "tanh": math.tanh,
    "sigmoid": scalar_sigmoid,
    "gelu": lambda z: z / 2 * math.erfc(-z / math.sqrt(2)),
    "gelu_tanh": scalar_tanh_gelu,
    "identity": lambda z: z,
    "leaky_relu": lambda z: max(z, z / 100),
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "softplus": scalar_softplus,
    "silu": lambda z: z * scalar_sigmoid(z),
    "hard_swish": lambda z: z * min(max(z + 3, 0), 6) / 6,
    "mish": lambda z: z * math.tanh(scalar_softplus(z)),
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
    np.testing.assert_allclose(slope[:3], {"identity": 1, "leaky_relu": 0.01}.get(name, 0), atol=1e-3)
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
    logp = compute(softmax.LogSoftmax(), [x])
    np.testing.assert_allclose(logp, wanted, rtol=1e-6)
    g = compute(softmax.LogSoftmaxGrad(), [np.ones_like(x), logp])
    np.testing.assert_allclose(g, 1 - 3 * np.exp(np.array(wanted)), atol=1e-6)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_an_activation_says_where_its_slope_jumps(name):
    z = np.linspace(-8, 8, 1601)
    below, at, above = (compute(ACTIVATIONS[name](), [z + step]) for step in (-1e-6, 0.0, 1e-6))
    jumps = abs((above - at) - (at - below)) / 1e-6 > 0.4
    assert set(np.round(at[jumps], 9)) == set(ACTIVATIONS[name].kinks)
