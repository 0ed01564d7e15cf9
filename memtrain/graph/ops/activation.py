"""Activations and their gradients. Each rule reads the fewest bytes that its formula allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import add, multiply, scale
from memtrain.graph.ops.base import Array, Call, Cotangents, Elementwise, Op

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


class _ReadsOutput(Elementwise):
    """An activation whose derivative is a function of its output: the input can go at once."""

    reuses = (0,)
    gradient: type[Op]

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(self.gradient(), cotangent, node)


@dataclass(frozen=True)
class ReluGrad(Elementwise):
    """g ⊙ [h > 0], with h = NaN taken as positive.

    A float is positive just where its bits, read as a signed integer, are. So the mask is made in
    integers, in the place of the result: no float × bool, which numpy casts in a buffer of its own.
    """

    name = "relu_grad"
    reuses = (1,)

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        bits = np.dtype(f"i{out.itemsize}")
        return partial(_masked, *[x.view(bits) for x in (out, *inputs)])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            yield 0, b.apply(ReluGrad(), cotangent, b[node.inputs[1]])


def _masked(out: Array, g: Array, h: Array) -> None:
    """g where h > 0, else 0, in integers."""
    h.clip(0, 1, out=out)
    np.multiply(out, g, out=out)


@dataclass(frozen=True)
class Relu(_ReadsOutput):
    """max(z, 0)."""

    name = "relu"
    kinked = True
    gradient = ReluGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.maximum(inputs[0], 0, out=out)


@dataclass(frozen=True)
class TanhGrad(Elementwise):
    """g ⊙ (1 − h²)."""

    name = "tanh_grad"
    reuses = (1,)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, h = inputs
        np.multiply(h, h, out=out)
        np.subtract(1, out, out=out)
        np.multiply(g, out, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, h = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(TanhGrad(), cotangent, h)
            else:
                yield 1, scale(b, multiply(b, multiply(b, cotangent, g), h), -2.0)


@dataclass(frozen=True)
class Tanh(_ReadsOutput):
    """tanh(z)."""

    name = "tanh"
    gradient = TanhGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.tanh(inputs[0], out=out)


@dataclass(frozen=True)
class SigmoidGrad(Elementwise):
    """g ⊙ h ⊙ (1 − h)."""

    name = "sigmoid_grad"
    reuses = (0, 1)
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, h = inputs
        (slope,) = work
        np.subtract(1, h, out=slope)
        np.multiply(h, slope, out=slope)
        np.multiply(g, slope, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, h = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(SigmoidGrad(), cotangent, h)
            else:
                product = multiply(b, cotangent, g)
                yield 1, add(b, product, scale(b, multiply(b, product, h), -2.0))


@dataclass(frozen=True)
class Sigmoid(_ReadsOutput):
    """1 / (1 + exp(−z)), computed as (1 + tanh(z/2)) / 2, which cannot overflow."""

    name = "sigmoid"
    gradient = SigmoidGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.multiply(inputs[0], 0.5, out=out)
        np.tanh(out, out=out)
        np.multiply(out, 0.5, out=out)
        np.add(out, 0.5, out=out)
