"""Activations and their gradients. Each vjp rule reads as few bytes as its formula allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import add, multiply, scale
from memtrain.graph.ops.base import Array, Call, Cotangents, Op, Speed, number
from memtrain.graph.ops.blockwise import Elementwise

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


class Activation(Op):
    """h = φ(z) for each element: an op that a layer can apply between its products."""

    is_activation = True
    glyph = "φ"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"φ({w.term(inputs[0])})"


class ReadsInput(Activation, Elementwise):
    """An activation whose derivative is a function of its input, so backward keeps the input."""

    reuses = (0,)
    speed = Speed.OWN


class ReadsOutput(Activation, Elementwise):
    """An activation whose derivative is a function of its output, so the input can be freed at once."""

    reuses = (0,)
    speed = Speed.OWN
    reads_output = True
    gradient: type[Op]

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(self.gradient(), cotangent, node)


class Slope(Elementwise):
    """g ⊙ φ′, with φ′ computed from the output h of ``activation`` or from its input z (``of_output``)."""

    activation: ClassVar[str]
    of_output: ClassVar[bool] = True
    speed = Speed.OWN
    input_count = 2
    glyph = "⊙φ′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        incoming, argument = w.term(inputs[0]), self._argument(w, inputs[1])
        return f"{incoming} ⊙ {w.factor(f'φ′({argument.name})', argument)}"

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        if read is inputs[0]:
            return super().purpose(w, read, node, *inputs)
        source = "output" if self.of_output else "input"
        slope = f"φ′({self._argument(w, read).name})"
        return f"needs {slope}: {self.activation}'s rule reads its {source} {read.name}"

    def _argument(self, w: Writer, read: Node) -> Node:
        """The input z of the activation, given the value ``read``, which is z or the output h."""
        return w.inputs(read)[0] if self.of_output and read.inputs else read


def inverse_sigmoid(z: Array, out: Array) -> None:
    """Compute 1/σ(z) = 1 + exp(−z) into ``out``, which may be z. It is infinite where exp overflows."""
    np.negative(z, out=out)
    with np.errstate(over="ignore"):
        np.exp(out, out=out)
    np.add(out, number(1.0, z.dtype), out=out)


@dataclass(frozen=True)
class ReluGrad(Slope):
    """g ⊙ [h > 0]. A NaN without a minus sign counts as positive.

    A float is positive if its bits, read as a signed integer, are positive. So the mask consists of integers
    in the buffer of the result. float × bool would make numpy allocate a buffer for the cast.
    """

    name = "relu_grad"
    activation = "relu"
    reuses = (1,)

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        bits = np.dtype(f"i{out.itemsize}")
        return partial(_masked, *[x.view(bits) for x in (out, *inputs)])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            yield 0, b.apply(ReluGrad(), cotangent, b[node.inputs[1]])


def _masked(out: Array, g: Array, h: Array) -> None:
    """Compute g where h > 0, else 0. All three arrays are the bits of floats, read as integers."""
    h.clip(0, 1, out=out)
    np.multiply(out, g, out=out)


@dataclass(frozen=True)
class Relu(ReadsOutput):
    """max(z, 0)."""

    name = "relu"
    kinks = (0.0,)
    halves_variance = True
    gradient = ReluGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (z,) = inputs
        z.clip(number(0.0, z.dtype), number(inf, z.dtype), out=out)  # twice as fast as np.maximum


@dataclass(frozen=True)
class TanhGrad(Slope):
    """g ⊙ (1 − h²)."""

    name = "tanh_grad"
    activation = "tanh"
    reuses = (1,)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, h = inputs
        np.multiply(h, h, out=out)
        np.subtract(number(1.0, h.dtype), out, out=out)
        np.multiply(g, out, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, h = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(TanhGrad(), cotangent, h)
            else:
                yield 1, scale(b, multiply(b, multiply(b, cotangent, g), h), -2.0)


@dataclass(frozen=True)
class Tanh(ReadsOutput):
    """tanh(z)."""

    name = "tanh"
    gradient = TanhGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.tanh(inputs[0], out=out)


@dataclass(frozen=True)
class SigmoidGrad(Slope):
    """g ⊙ h ⊙ (1 − h)."""

    name = "sigmoid_grad"
    activation = "sigmoid"
    reuses = (0, 1)
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, h = inputs
        (slope,) = work
        np.subtract(number(1.0, h.dtype), h, out=slope)
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
class Sigmoid(ReadsOutput):
    """1 / (1 + exp(−z))."""

    name = "sigmoid"
    gradient = SigmoidGrad

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        inverse_sigmoid(inputs[0], out)
        np.reciprocal(out, out=out)
