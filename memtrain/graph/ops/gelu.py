"""GELU (Hendrycks & Gimpel 2016), exact and in its tanh form. Both vjp rules read the input z."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import erfc, log, log1p, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import Node
from memtrain.graph.ops.activation import ReadsInput, Slope, Tanh, TanhGrad
from memtrain.graph.ops.arithmetic import Exp, Shift, add, multiply, scale
from memtrain.graph.ops.base import Array, Cotangents

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder

_FAR = 6.0
"""For larger arguments erf is 1 to the last bit of a float64 (1 − erf(6) = 2e-17)."""
_FAR_SINGLE = 5.4
"""For larger z, Φ(z) is 1 to the last bit of a float32 (1 − Φ(5.4) = 3e-8)."""
_SQRT_HALF = sqrt(0.5)
_DENSITY_AT_0 = 1 / sqrt(2 * pi)
_TANH_SLOPE = sqrt(2 / pi)
_TANH_CUBIC = 0.044715


@cache
def _erfc_polynomial() -> tuple[float, ...]:
    """Coefficients, highest first, of the polynomial p with erfc(u) = (1 − v)·exp(v·p(v) − u²).

    v = u/(2 + u), 0 ≤ u ≤ 6, after Numerical Recipes §6.2.2. The factor 1 − v stands outside of the exponent
    so that erf keeps its digits near 0. p interpolates ``math.erfc`` at Chebyshev nodes.
    """

    def exponent(v: float) -> float:
        u = 2 * v / (1 - v)
        return (log(erfc(u)) + u * u - log1p(-v)) / v

    chebyshev = np.polynomial.Chebyshev.interpolate(
        np.vectorize(exponent, otypes=[float]), 18, [0, _FAR / (2 + _FAR)]
    )
    return tuple(chebyshev.convert(kind=np.polynomial.Polynomial).coef[::-1].tolist())


@cache
def _tanh_polynomial() -> tuple[float, ...]:
    """Coefficients, highest first, of a polynomial q with Φ(z) = (1 + tanh(z q(z²)))/2, for |z| ≤ 5.4.

    q is fitted by least squares. The weight of each z is the error of Φ(z) that an error of q causes, so the
    fit may be coarse where tanh is flat. The error of Φ is at most 3e-8.
    """
    squares = _FAR_SINGLE**2 / 2 * (1 + np.polynomial.chebyshev.chebpts1(500))
    z = np.sqrt(squares)
    beyond = np.vectorize(erfc)(z * _SQRT_HALF) / 2  # 1 − Φ(z)
    q = np.log((1 - beyond) / beyond) / (2 * z)
    fit = np.polynomial.Polynomial.fit(squares, q, 6, w=z * beyond * (1 - beyond))
    return tuple(fit.convert().coef[::-1].tolist())


def _horner(coefficients: Sequence[float], x: Array, out: Array) -> None:
    """Compute the polynomial with these coefficients, highest first, at x into ``out``."""
    highest, second, *rest = coefficients
    np.multiply(x, highest, out=out)
    np.add(out, second, out=out)
    for coefficient in rest:
        np.multiply(out, x, out=out)
        np.add(out, coefficient, out=out)


def erf(x: Array, out: Array, a: Array, b: Array, factor: float = 1.0) -> None:
    """Compute erf(factor · x) into ``out``, with ``a`` and ``b`` as workspace. All four arrays must differ.

    The error is at most 1e-14 in float64.
    """
    np.absolute(x, out=a)
    np.multiply(a, factor, out=a)
    np.minimum(a, _FAR, out=a)  # a = u
    np.add(a, 2, out=b)
    np.divide(a, b, out=b)  # b = v
    _horner(_erfc_polynomial(), b, out)
    np.multiply(out, b, out=out)
    np.multiply(a, a, out=a)
    np.subtract(out, a, out=out)
    np.exp(out, out=out)
    np.subtract(1, b, out=b)
    np.multiply(out, b, out=out)  # out = erfc(u)
    np.subtract(1, out, out=out)
    np.copysign(out, x, out=out)


def normal_integral(z: Array, out: Array, a: Array, b: Array) -> None:
    """Compute Φ(z) = (1 + erf(z/√2)) / 2 into ``out``, with ``a`` and ``b`` as workspace.

    The error is at most 1e-14 in float64, and 1e-7 in float32, which needs half as many passes.
    """
    if z.itemsize == 4:
        z.clip(-_FAR_SINGLE, _FAR_SINGLE, out=a)
        np.multiply(a, a, out=a)
        _horner(_tanh_polynomial(), a, out)
        np.multiply(out, z, out=out)
        np.tanh(out, out=out)
    else:
        erf(z, out, a, b, factor=_SQRT_HALF)
    np.add(out, 1, out=out)
    np.multiply(out, 0.5, out=out)


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
        slope, density, scratch = work
        normal_integral(z, slope, density, scratch)
        np.multiply(z, z, out=density)
        np.multiply(density, -0.5, out=density)
        np.exp(density, out=density)
        np.multiply(density, _DENSITY_AT_0, out=density)
        np.multiply(density, z, out=density)
        np.add(slope, density, out=slope)
        np.multiply(g, slope, out=out)

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
        normal_integral(z, *work)
        np.multiply(z, work[0], out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(GeluGrad(), cotangent, b[node.inputs[0]])


def _tanh_argument(z: Array, out: Array) -> None:
    """Compute u(z) = √(2/π) (z + 0.044715 z³) into ``out``."""
    np.multiply(z, z, out=out)
    np.multiply(out, _TANH_CUBIC, out=out)
    np.add(out, 1, out=out)
    np.multiply(out, z, out=out)
    np.multiply(out, _TANH_SLOPE, out=out)


@dataclass(frozen=True)
class GeluTanhGrad(Slope):
    """g ⊙ ((1 + t)/2 + z (1 − t²) u′(z)/2), with t = tanh u(z)."""

    name = "gelu_tanh_grad"
    activation = "gelu_tanh"
    of_output = False
    reuses = (0, 1)
    scratch = 2

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, z = inputs
        t, slope = work
        np.multiply(z, z, out=slope)
        np.multiply(slope, 3 * _TANH_CUBIC, out=slope)
        np.add(slope, 1, out=slope)
        np.multiply(slope, z, out=slope)
        np.multiply(slope, _TANH_SLOPE, out=slope)  # z u′(z)
        _tanh_argument(z, t)
        np.tanh(t, out=t)
        # the slope is (1 + t)/2 · (1 + (1 − t) z u′): (1 − t) first, then (1 + t) in the same buffer
        np.subtract(1, t, out=t)
        np.multiply(slope, t, out=slope)
        np.add(slope, 1, out=slope)
        np.subtract(2, t, out=t)
        np.multiply(slope, t, out=slope)
        np.multiply(slope, 0.5, out=slope)
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
        (t,) = work
        _tanh_argument(z, t)
        np.tanh(t, out=t)
        np.add(t, 1, out=t)
        np.multiply(t, 0.5, out=t)
        np.multiply(z, t, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(GeluTanhGrad(), cotangent, b[node.inputs[0]])
