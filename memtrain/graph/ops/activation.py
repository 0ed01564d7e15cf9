"""Activations and their gradients. Each rule reads the fewest bytes that its formula allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import add, multiply, scale
from memtrain.graph.ops.base import BLOCK, BOOL, Array, Elementwise, Op, Workspace

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder


class _ReadsOutput(Elementwise):
    """An activation whose derivative is a function of its output: the input can go at once."""

    reuses = (0,)
    gradient: type[Op]

    def vjp(self, b: Builder, node: Node, position: int, cotangent: Node) -> Node:
        return b.apply(self.gradient(), cotangent, node)


@dataclass(frozen=True)
class ReluGrad(Elementwise):
    """g ⊙ [h > 0]."""

    name = "relu_grad"
    reuses = (0, 1)

    def workspace(self, *inputs: Node) -> Workspace:
        count = min(BLOCK, inputs[0].size)
        return (count, BOOL), (count, inputs[0].dtype)

    scratch = 2

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, h = inputs
        positive, mask = work
        np.greater(h, 0, out=positive)
        np.copyto(mask, positive)  # float × bool would be cast in a hidden buffer
        np.multiply(g, mask, out=out)

    def vjp(self, b: Builder, node: Node, position: int, cotangent: Node) -> Node | None:
        return b.apply(ReluGrad(), cotangent, b[node.inputs[1]]) if position == 0 else None


@dataclass(frozen=True)
class Relu(_ReadsOutput):
    """max(z, 0)."""

    name = "relu"
    gradient = ReluGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.maximum(inputs[0], 0, out=out)


@dataclass(frozen=True)
class TanhGrad(Elementwise):
    """g ⊙ (1 − h²)."""

    name = "tanh_grad"
    reuses = (0, 1)
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, h = inputs
        (slope,) = work
        np.multiply(h, h, out=slope)
        np.subtract(1, slope, out=slope)
        np.multiply(g, slope, out=out)

    def vjp(self, b: Builder, node: Node, position: int, cotangent: Node) -> Node:
        g, h = (b[i] for i in node.inputs)
        if position == 0:
            return b.apply(TanhGrad(), cotangent, h)
        return scale(b, multiply(b, multiply(b, cotangent, g), h), -2.0)


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

    def vjp(self, b: Builder, node: Node, position: int, cotangent: Node) -> Node:
        g, h = (b[i] for i in node.inputs)
        if position == 0:
            return b.apply(SigmoidGrad(), cotangent, h)
        product = multiply(b, cotangent, g)
        return add(b, product, scale(b, multiply(b, product, h), -2.0))


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
