"""Leaky ReLU (Maas et al. 2013), ELU with α = 1 (Clevert et al. 2015) and softplus (Dugas et al. 2001).

Each function is increasing, so its slope is a function of its output. PyTorch's rules read the input, so
PyTorch keeps the input as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import Node
from memtrain.graph.ops.activation import ReadsOutput, ReluGrad, Slope
from memtrain.graph.ops.arithmetic import Exp, multiply, scale
from memtrain.graph.ops.base import Array, Call, Cotangents, number

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder

LEAK = 0.01
"""The slope of leaky ReLU below 0. It is PyTorch's default."""


@dataclass(frozen=True)
class LeakyReluGrad(Slope):
    """g where h > 0, else 0.01 g. A NaN without a minus sign counts as positive.

    As in `ReluGrad`, the bits of h, read as an integer, tell whether h is positive. The bits of the slope are
    those of 0.01, plus the distance to the bits of 1 where h is positive. They are computed in the buffer of
    the result.
    """

    name = "leaky_relu_grad"
    activation = "leaky_relu"
    reuses = (1,)

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        g, h = inputs
        bits = np.dtype(f"i{out.itemsize}")
        low, high = np.array([LEAK, 1], out.dtype).view(bits).tolist()
        return partial(_leak, out, g, out.view(bits), h.view(bits), low, high - low)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            yield 0, b.apply(LeakyReluGrad(), cotangent, b[node.inputs[1]])


def _leak(out: Array, g: Array, out_bits: Array, h_bits: Array, low: int, distance: int) -> None:
    h_bits.clip(0, 1, out=out_bits)
    np.multiply(out_bits, distance, out=out_bits)
    np.add(out_bits, low, out=out_bits)
    np.multiply(out, g, out=out)


@dataclass(frozen=True)
class LeakyRelu(ReadsOutput):
    """max(z, 0.01 z)."""

    name = "leaky_relu"
    kinks = (0.0,)
    halves_variance = True
    scratch = 1
    gradient = LeakyReluGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.multiply(inputs[0], number(LEAK, out.dtype), out=work[0])
        np.maximum(inputs[0], work[0], out=out)


@dataclass(frozen=True)
class EluGrad(Slope):
    """g ⊙ (min(h, 0) + 1)."""

    name = "elu_grad"
    activation = "elu"
    reuses = (1,)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, h = inputs
        h.clip(number(-inf, h.dtype), number(0.0, h.dtype), out=out)
        np.add(out, number(1.0, h.dtype), out=out)
        np.multiply(g, out, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, h = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(EluGrad(), cotangent, h)
            else:
                yield 1, b.apply(ReluGrad(), multiply(b, cotangent, g), scale(b, h, -1.0))  # where h < 0


@dataclass(frozen=True)
class Elu(ReadsOutput):
    """z where z > 0, else exp(z) − 1; computed without overflow as max(z, 0) + expm1(min(z, 0))."""

    name = "elu"
    halves_variance = True
    scratch = 1
    gradient = EluGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (z,), (below,) = inputs, work
        zero = number(0.0, z.dtype)
        z.clip(number(-inf, z.dtype), zero, out=below)
        np.expm1(below, out=below)
        z.clip(zero, number(inf, z.dtype), out=out)
        np.add(out, below, out=out)


@dataclass(frozen=True)
class SoftplusGrad(Slope):
    """g ⊙ (1 − exp(−h)). The factor is the sigmoid of z, precise to the last digits also near 0."""

    name = "softplus_grad"
    activation = "softplus"
    reuses = (1,)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, h = inputs
        np.negative(h, out=out)
        np.expm1(out, out=out)
        np.negative(out, out=out)
        np.multiply(g, out, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, h = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(SoftplusGrad(), cotangent, h)
            else:
                falling = b.apply(Exp(), scale(b, h, -1.0))
                yield 1, multiply(b, multiply(b, cotangent, g), falling)


@dataclass(frozen=True)
class Softplus(ReadsOutput):
    """log(1 + exp(z)), computed without overflow as max(z, 0) + log(1 + exp(−|z|))."""

    name = "softplus"
    scratch = 1
    gradient = SoftplusGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (z,), (rest,) = inputs, work
        np.absolute(z, out=rest)
        np.negative(rest, out=rest)
        np.exp(rest, out=rest)
        np.log1p(rest, out=rest)
        z.clip(number(0.0, z.dtype), number(inf, z.dtype), out=out)
        np.add(out, rest, out=out)
