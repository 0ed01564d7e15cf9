"""SiLU, leaky ReLU, ELU, softplus, hard-swish and Mish: near 0, at extreme arguments, and beside PyTorch."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import pytest
from derivatives import check_gradient, evaluate
from examples import compute, leaf

from memtrain.cells.cell import Mode, cell_of
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Role
from memtrain.graph.ops import ACTIVATIONS, OPS, arithmetic
from memtrain.graph.ops.source import Leaf
from memtrain.models.layers import activate, linear, parameter
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import make_schedule

DTYPES = ("float32", "float64")
KEPT_ARRAYS = {"leaky_relu": 3, "elu": 3, "softplus": 3, "silu": 6, "hard_swish": 6, "mish": 6}


def derivatives(name, z):
    """The value, the slope and the curvature of an activation at z."""
    b = Builder()
    given = leaf(b, "z", z.shape, z.dtype)
    asked = [b.apply(ACTIVATIONS[name](), given)]
    for _ in range(2):
        asked += gradient(b, arithmetic.sum_to(b, asked[-1], ()), [given])
    return evaluate(b, asked, {"z": z})


@pytest.mark.parametrize("name", KEPT_ARRAYS)
def test_three_layers_keep_the_output_alone_or_the_input_besides(name):
    """The same number of arrays as PyTorch keeps, or half if the slope is a function of the output."""
    found = analyse(cell_of(depth=3, batch=128, activation=name).schedule(Mode.TRAIN))
    assert [node.nbytes for node in found.retained].count(131_072) == KEPT_ARRAYS[name]
    assert found.peak_role_bytes[Role.RETAINED] <= 131_072 * KEPT_ARRAYS[name]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", KEPT_ARRAYS)
def test_derivatives_are_those_of_central_differences_on_every_piece(name, order):
    z = np.array([-7.0, -3.5, -2.9, -1.3, -0.4, 0.3, 1.1, 2.9, 3.4, 8.0])
    check_gradient(lambda b, x: b.apply(OPS[name](), x), [z], order=order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KEPT_ARRAYS)
def test_near_zero_nothing_is_lost(name, dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    small = np.finfo(dtype).tiny
    z = np.array([-1e-3, -small, -tiny, 0.0, tiny, small, 1e-3], dtype)
    value, slope, _ = derivatives(name, z)
    at_zero = {"leaky_relu": 0.0, "elu": 0.0, "softplus": math.log(2)}.get(name, 0.0)
    np.testing.assert_allclose(value, at_zero, atol=2e-3)
    below, above = {"leaky_relu": (0.01, 1), "elu": (1, 1), "mish": (0.6, 0.6)}.get(name, (0.5, 0.5))
    np.testing.assert_allclose(slope[:4], below, atol=2e-3)  # z = 0 counts as below
    np.testing.assert_allclose(slope[4:], above, atol=2e-3)
    if name != "softplus":
        assert (np.sign(value[[0, 6]]) == [-1, 1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KEPT_ARRAYS)
def test_far_out_values_and_slopes_reach_their_limits(name, dtype):
    large = np.finfo(dtype).max / 4
    z = np.array([-1000, 1000, large, np.inf], dtype)
    value, slope, _ = derivatives(name, z[:2])
    left = {"leaky_relu": -10.0, "elu": -1.0}.get(name, 0.0)
    np.testing.assert_allclose(value, [left, 1000], rtol=1e-6)
    np.testing.assert_allclose(slope, [0.01 if name == "leaky_relu" else 0, 1], rtol=1e-6)
    np.testing.assert_array_equal(compute(OPS[name](), [z[2:]]), z[2:])
    ends = z[2:3] if name == "silu" else z[2:]  # as for GELU, its vjp rule has no limit at infinity
    slopes = compute(OPS[f"{name}_grad"](), [np.ones_like(ends), ends])
    np.testing.assert_allclose(slopes, 1, rtol=4e-16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KEPT_ARRAYS)
def test_nan_stays_nan(name, dtype):
    z = np.array([np.nan, 1.0], dtype)
    assert np.isnan(compute(OPS[name](), [z])).tolist() == [True, False]
    g = compute(OPS[f"{name}_grad"](), [z, z])
    assert np.isnan(g).tolist() == [True, False]


def test_minus_infinity_has_the_limit_as_value_where_the_output_is_kept():
    z = np.array([-np.inf])
    found = [compute(OPS[name](), [z]).item() for name in ("leaky_relu", "elu", "softplus")]
    assert found == [-np.inf, -1, 0]
    slopes = [
        compute(OPS[f"{name}_grad"](), [np.ones(1), np.array([value])]).item()
        for name, value in zip(("leaky_relu", "elu", "softplus"), found, strict=True)
    ]
    assert slopes == [0.01, 0, 0]


def test_the_slope_of_softplus_keeps_its_digits_where_it_is_small():
    z = np.array([-700.0, -50.0, -1.0])
    h = compute(OPS["softplus"](), [z])
    np.testing.assert_allclose(h, [math.log1p(math.exp(x)) for x in z], rtol=1e-15)
    slope = compute(OPS["softplus_grad"](), [np.ones(3), h])
    np.testing.assert_allclose(slope, [1 / (1 + math.exp(-x)) for x in z], rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slope_of_leaky_relu_is_exactly_that_of_its_definition(dtype):
    h = np.array([-np.inf, -1, -0.0, 0, 1e-30, 2, np.inf], dtype)
    g = np.array([3, -1.5, 7, 0.1, -0.3, 1e5, 2], dtype)
    found = compute(OPS["leaky_relu_grad"](), [g, h])
    np.testing.assert_array_equal(found, np.where(h > 0, g, g * np.asarray(0.01, dtype)), strict=True)


@pytest.mark.oracle
@pytest.mark.skipif(not find_spec("torch"), reason="needs PyTorch")
@pytest.mark.parametrize(("dtype", "error"), [("float64", 1e-13), ("float32", 1e-5)])
@pytest.mark.parametrize("name", KEPT_ARRAYS)
def test_values_slopes_and_curvatures_are_pytorchs(name, dtype, error):
    import torch
    from torch.nn import functional

    theirs = {
        "leaky_relu": functional.leaky_relu,
        "elu": functional.elu,
        "softplus": lambda x: functional.softplus(x, threshold=1e9),
        "silu": functional.silu,
        "hard_swish": functional.hardswish,
        "mish": functional.mish,
    }[name]
    z = np.linspace(-12, 12, 4801)[1:-1:7].astype(dtype) + np.asarray(1e-3, dtype)
    found = derivatives(name, z)
    given = torch.tensor(z, requires_grad=True)
    value = theirs(given)
    (slope,) = torch.autograd.grad(value.sum(), given, create_graph=True)
    wanted = [value.detach(), slope.detach()]
    if slope.requires_grad and name != "hard_swish":  # PyTorch lacks its second derivative
        wanted.append(torch.autograd.grad(slope.sum(), given)[0])
    for have, want in zip(found, wanted, strict=False):
        np.testing.assert_allclose(have, want.numpy(), rtol=error, atol=error)


@pytest.mark.parametrize(
    ("activation", "kept"),
    [
        *((name, "z1 h1 z2 h2 z3") for name in ("silu", "hard_swish", "mish")),
        *((name, "h1 h2 h3") for name in ("leaky_relu", "elu", "softplus")),
    ],
)
def test_three_layers_of_256_keep_five_arrays_or_three_at_batch_128(activation, kept):
    """No more arrays than PyTorch's fused rules keep: 5, or 3 with an in-place leaky ReLU."""
    b, dtype = Builder(), np.dtype(np.float32)
    value = b.apply(Leaf(Role.INPUT, (128, 256), dtype), name="x")
    weights = [parameter(b, f"W{k}", "W", (256, 256), dtype) for k in (1, 2, 3)]
    for k, weight in enumerate(weights, start=1):
        value = activate(b, activation, linear(b, value, weight, name=f"z{k}"), name=f"h{k}")
    total = arithmetic.sum_to(b, value, ())
    asked = [total, *gradient(b, total, weights)]
    retained = analyse(make_schedule(b.graph(), asked)).retained
    assert [node.name for node in retained] == kept.split()
    assert {node.nbytes for node in retained} == {131_072}
