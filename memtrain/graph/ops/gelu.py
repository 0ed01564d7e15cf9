"""GELU (Hendrycks & Gimpel 2016), exact and in its tanh form. Both vjp rules read the input z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import DType, Node
from memtrain.graph.ops.activation import ReadsInput, Slope, Tanh, TanhGrad, inverse_sigmoid
from memtrain.graph.ops.arithmetic import Exp, Shift, add, multiply, scale
from memtrain.graph.ops.base import Array, Cotangents, number

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder

_FAR = 13.0
"""Larger |z| are computed as this one. Φ(−13) = 6e-39 vanishes beside any other term of the sum."""
_DENSITY_AT_0 = 1 / sqrt(2 * pi)
_TANH_SLOPE = sqrt(2 / pi)
_TANH_CUBIC = 0.044715

_TAIL = {
    4: (
        (0.4059133483121722, 2.1539933988490194, 4.995283144218311),
        (5.6131283074809355, 12.279389785599976, 9.99056509841747),
    ),
    8: (
        (
            0.3989504284999168, 7.958046078791201, 72.68476702174087, 387.92382377821417,
            1285.7389027720565, 2544.305928209273, 2541.5004595361565,
        ),
        (
            19.948696461403866, 183.17697673690515, 992.5490171626299, 3400.9354551188926,
            7326.041070205324, 9144.259812293127, 5083.000919072314,
        ),
    ),
}  # fmt: skip
"""By bytes of a value: the coefficients of P and Q, highest first. Φ(−u) = P(u)/Q(u) · exp(−u²/2) for u ≥ 0.

The highest coefficient of Q, which is left out, is 1. They were fitted by least squares, with weights that
level the error of Φ: at most 6e-8 for float32 and 3e-16 for float64. All are positive, so nothing cancels.
"""


@cache
def _numbers(dtype: DType) -> tuple[list[Array], list[Array]]:
    """The coefficients of P and of Q in this type."""
    first, second = ([number(c, dtype) for c in row] for row in _TAIL[dtype.itemsize])
    return first, second


def normal_tail(z: Array, u: Array, ratio: Array, bell: Array) -> None:
    """Compute u = |z|, ``bell`` = exp(−u²/2) and ``ratio`` with Φ(−u) = ratio · bell. All arrays must differ.

    The error of Φ is at most 2e-7 in float32 and 1e-15 in float64.
    """
    dtype = z.dtype
    (highest, *middle, last), (first, *rest) = _numbers(dtype)
    z.clip(number(-_FAR, dtype), number(_FAR, dtype), out=u)
    np.absolute(u, out=u)
    np.multiply(u, highest, out=ratio)
    for coefficient in middle:
        np.add(ratio, coefficient, out=ratio)
        np.multiply(ratio, u, out=ratio)
    np.add(ratio, last, out=ratio)
    np.add(u, first, out=bell)
    for coefficient in rest:
        np.multiply(bell, u, out=bell)
        np.add(bell, coefficient, out=bell)
    np.divide(ratio, bell, out=ratio)
    np.multiply(u, u, out=bell)
    np.multiply(bell, number(-0.5, dtype), out=bell)
    np.exp(bell, out=bell)


def _turn(x: Array, z: Array, scratch: Array) -> None:
    """Turn the sign of each x whose z is negative, in half the time of ``np.copysign``."""
    bits = np.dtype(f"u{z.itemsize}")
    sign = number(1 << 8 * z.itemsize - 1, bits)
    of_x, of_z, mask = (array.view(bits) for array in (x, z, scratch))
    np.bitwise_and(of_z, sign, out=mask)
    np.bitwise_xor(of_x, mask, out=of_x)


@dataclass(frozen=True)
class GeluGrad(Slope):
    """g ⊙ (Φ(z) + z φ(z)), with φ the normal density and Φ its integral."""

    name = "gelu_grad"
    activation = "gelu"
    of_output = False
    reuses = (0, 1)
    scratch = 3

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, z = inputs
        u, ratio, bell = work
        normal_tail(z, u, ratio, bell)
        half = number(0.5, z.dtype)
        np.multiply(u, number(_DENSITY_AT_0, z.dtype), out=u)
        np.subtract(u, ratio, out=u)
        np.multiply(u, bell, out=u)  # u φ(u) − Φ(−u): the slope at −u with its sign turned
        np.add(u, half, out=u)  # the slope is symmetric about 1/2
        _turn(u, z, bell)
        np.add(u, half, out=u)
        np.multiply(g, u, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, z = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(GeluGrad(), cotangent, z)
            else:
                yield 1, multiply(b, multiply(b, cotangent, g), _gelu_curvature(b, z))


def _gelu_curvature(b: Builder, z: Node) -> Node:
    """gelu″(z) = φ(z)(2 − z²), with φ the normal density."""
    square = multiply(b, z, z)
    density = scale(b, b.apply(Exp(), scale(b, square, -0.5)), _DENSITY_AT_0)
    return multiply(b, density, b.apply(Shift(2.0), scale(b, square, -1.0)))


@dataclass(frozen=True)
class Gelu(ReadsInput):
    """z Φ(z), exact."""

    name = "gelu"
    halves_variance = True
    scratch = 3

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (z,) = inputs
        u, ratio, bell = work
        normal_tail(z, u, ratio, bell)
        np.multiply(u, ratio, out=u)
        np.multiply(u, bell, out=u)
        z.clip(number(0.0, z.dtype), number(inf, z.dtype), out=out)
        np.subtract(out, u, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(GeluGrad(), cotangent, b[node.inputs[0]])


def _odd_cubic(z: Array, linear: float, cubic: float, out: Array) -> None:
    """Compute z (linear + cubic · z²) into ``out``."""
    np.multiply(z, z, out=out)
    np.multiply(out, number(cubic, z.dtype), out=out)
    np.add(out, number(linear, z.dtype), out=out)
    np.multiply(out, z, out=out)


def _inverse_sigmoid_of_2u(z: Array, out: Array) -> None:
    """Compute 1/s into ``out``, with s = σ(2u) = (1 + tanh u)/2 and u = √(2/π) (z + 0.044715 z³)."""
    _odd_cubic(z, 2 * _TANH_SLOPE, 2 * _TANH_SLOPE * _TANH_CUBIC, out)
    inverse_sigmoid(out, out)


@dataclass(frozen=True)
class GeluTanhGrad(Slope):
    """g ⊙ s (1 + 2 z u′(z) (1 − s)), with s = σ(2u) = (1 + tanh u)/2."""

    name = "gelu_tanh_grad"
    activation = "gelu_tanh"
    of_output = False
    reuses = (0, 1)
    scratch = 2

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, z = inputs
        sigmoid, slope = work
        one = number(1.0, z.dtype)
        _odd_cubic(z, 2 * _TANH_SLOPE, 6 * _TANH_SLOPE * _TANH_CUBIC, slope)  # 2 z u′(z)
        _inverse_sigmoid_of_2u(z, sigmoid)
        np.reciprocal(sigmoid, out=sigmoid)
        # 1 − s first, then s in the same buffer
        np.subtract(one, sigmoid, out=sigmoid)
        np.multiply(slope, sigmoid, out=slope)
        np.add(slope, one, out=slope)
        np.subtract(one, sigmoid, out=sigmoid)
        np.multiply(slope, sigmoid, out=slope)
        np.multiply(g, slope, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, z = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(GeluTanhGrad(), cotangent, z)
            else:
                yield 1, multiply(b, multiply(b, cotangent, g), _gelu_tanh_curvature(b, z))


def _gelu_tanh_curvature(b: Builder, z: Node) -> Node:
    """gelu_tanh″(z) = (1 − t²) (u′ + z u″/2 − z t u′²), with t = tanh u. u′ and u″ are polynomials in z."""
    square = multiply(b, z, z)
    u = multiply(b, z, _polynomial(b, square, _TANH_SLOPE, _TANH_SLOPE * _TANH_CUBIC))
    slope = _polynomial(b, square, _TANH_SLOPE, 3 * _TANH_SLOPE * _TANH_CUBIC)
    bend = scale(b, square, 3 * _TANH_SLOPE * _TANH_CUBIC)  # z u″/2
    t = b.apply(Tanh(), u)
    pull = scale(b, multiply(b, multiply(b, z, t), multiply(b, slope, slope)), -1.0)
    return b.apply(TanhGrad(), add(b, add(b, slope, bend), pull), t)


def _polynomial(b: Builder, square: Node, constant: float, factor: float) -> Node:
    """constant + factor · ``square``."""
    return b.apply(Shift(constant), scale(b, square, factor))


@dataclass(frozen=True)
class GeluTanh(ReadsInput):
    """z (1 + tanh(√(2/π)(z + 0.044715 z³)))/2."""

    name = "gelu_tanh"
    halves_variance = True
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (z,) = inputs
        _inverse_sigmoid_of_2u(z, work[0])
        np.divide(z, work[0], out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(GeluTanhGrad(), cotangent, b[node.inputs[0]])
