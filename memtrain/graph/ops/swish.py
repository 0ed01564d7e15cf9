"""SiLU (Elfwing et al. 2017), hard-swish (Howard et al. 2019) and Mish (Misra 2019).

Each function falls before it rises, so its slope is not a function of its output. So the vjp rules read the
input z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import Node
from memtrain.graph.ops.activation import (
    ReadsInput,
    ReluGrad,
    Sigmoid,
    SigmoidGrad,
    Slope,
    Tanh,
    TanhGrad,
    inverse_sigmoid,
)
from memtrain.graph.ops.arithmetic import Shift, add, multiply, scale
from memtrain.graph.ops.base import Array, Cotangents, number
from memtrain.graph.ops.rectified import Softplus

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder

_FAR = 20.0
"""For larger z, tanh(softplus(z)) is 1 to the last bit of a float64, and its slope is 0."""


def silu(z: Array, out: Array, scratch: Array) -> None:
    """Compute z σ(z) into ``out``, which may be z or ``scratch``."""
    inverse_sigmoid(z, scratch)
    np.divide(z, scratch, out=out)


@dataclass(frozen=True)
class SiluGrad(Slope):
    """g ⊙ σ(z) (1 + z (1 − σ(z)))."""

    name = "silu_grad"
    activation = "silu"
    of_output = False
    reuses = (0, 1)
    scratch = 2

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, z = inputs
        sigmoid, slope = work
        one = number(1.0, z.dtype)
        inverse_sigmoid(z, sigmoid)
        np.reciprocal(sigmoid, out=sigmoid)
        np.subtract(one, sigmoid, out=slope)
        np.multiply(slope, z, out=slope)
        np.add(slope, one, out=slope)
        np.multiply(slope, sigmoid, out=slope)
        np.multiply(g, slope, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, z = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(SiluGrad(), cotangent, z)
            else:
                yield 1, _silu_bend(b, multiply(b, cotangent, g), z)


def _silu_bend(b: Builder, x: Node, z: Node) -> Node:
    """x ⊙ silu″ = x ⊙ σ (1 − σ) (2 + z (1 − 2σ))."""
    sigmoid = b.apply(Sigmoid(), z)
    bend = b.apply(Shift(2.0), multiply(b, z, b.apply(Shift(1.0), scale(b, sigmoid, -2.0))))
    return multiply(b, b.apply(SigmoidGrad(), x, sigmoid), bend)


@dataclass(frozen=True)
class Silu(ReadsInput):
    """z σ(z)."""

    name = "silu"
    halves_variance = True
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        silu(inputs[0], out, work[0])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(SiluGrad(), cotangent, b[node.inputs[0]])


def _ramp(z: Array, out: Array) -> None:
    """Compute (z + 3)/6, but at least 0 and at most 1, into ``out``."""
    six = number(6.0, z.dtype)
    np.add(z, number(3.0, z.dtype), out=out)
    out.clip(number(0.0, z.dtype), six, out=out)
    np.divide(out, six, out=out)


@dataclass(frozen=True)
class HardSwishGrad(Slope):
    """g ⊙ (z/3 + 1/2) where |z| < 3; 0 below −3, and g above 3.

    The bits of positive floats, read as integers, have the order of the floats. So |z| < 3 is decided by
    integers, without an array of bool.
    """

    name = "hard_swish_grad"
    activation = "hard_swish"
    of_output = False
    reuses = (0, 1)
    scratch = 2

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, z = inputs
        slope, bend = work
        bits = np.dtype(f"i{out.itemsize}")
        inside, bend_bits = slope.view(bits), bend.view(bits)
        np.absolute(z, out=slope)
        np.subtract(number(3.0, z.dtype).view(bits), inside, out=inside)
        inside.clip(0, 1, out=inside)
        np.divide(z, number(6.0, z.dtype), out=bend)
        np.multiply(bend_bits, inside, out=bend_bits)
        _ramp(z, slope)
        np.add(slope, bend, out=slope)
        np.multiply(g, slope, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, z = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(HardSwishGrad(), cotangent, z)
            else:
                bend = scale(b, multiply(b, cotangent, g), 1 / 3)
                above = b.apply(ReluGrad(), bend, b.apply(Shift(3.0), z))  # where z > −3
                yield 1, b.apply(ReluGrad(), above, b.apply(Shift(3.0), scale(b, z, -1.0)))  # and z < 3


@dataclass(frozen=True)
class HardSwish(ReadsInput):
    """z min(max(z + 3, 0), 6)/6."""

    name = "hard_swish"
    kinks = (0.0, 3.0)
    halves_variance = True
    scratch = 1

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        _ramp(inputs[0], work[0])
        np.multiply(inputs[0], work[0], out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(HardSwishGrad(), cotangent, b[node.inputs[0]])


@dataclass(frozen=True)
class MishGrad(Slope):
    """g ⊙ (t + z (1 − t²) σ(z)), with t = tanh(softplus(z)).

    With w = exp(z) and m = w (w + 2): t = m/(m + 2), and (1 − t²) σ(z) = 4 w (1 + w)/(m + 2)². In this form
    no digits cancel.
    """

    name = "mish_grad"
    activation = "mish"
    of_output = False
    reuses = (0, 1)
    scratch = 3

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, z = inputs
        slope, w, m = work
        one, two, four, far = (number(value, z.dtype) for value in (1.0, 2.0, 4.0, _FAR))
        np.minimum(z, far, out=slope)
        np.exp(slope, out=w)
        np.multiply(slope, four, out=slope)
        np.multiply(slope, w, out=slope)
        np.add(w, two, out=m)
        np.multiply(m, w, out=m)
        np.add(w, one, out=w)
        np.multiply(slope, w, out=slope)  # 4 z w (1 + w)
        np.add(m, two, out=w)
        np.multiply(m, w, out=m)
        np.add(slope, m, out=slope)
        np.multiply(w, w, out=w)
        np.divide(slope, w, out=slope)
        np.multiply(g, slope, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, z = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(MishGrad(), cotangent, z)
            else:
                yield 1, _mish_bend(b, multiply(b, cotangent, g), z)


def _mish_bend(b: Builder, x: Node, z: Node) -> Node:
    """x ⊙ mish″ = x ⊙ (1 − t²) σ (2 + z (1 − σ − 2 t σ)), with t = tanh(softplus(z))."""
    t, sigmoid = b.apply(Tanh(), b.apply(Softplus(), z)), b.apply(Sigmoid(), z)
    fall = add(b, sigmoid, scale(b, multiply(b, t, sigmoid), 2.0))
    bend = b.apply(Shift(2.0), multiply(b, z, b.apply(Shift(1.0), scale(b, fall, -1.0))))
    return b.apply(TanhGrad(), multiply(b, multiply(b, x, sigmoid), bend), t)


@dataclass(frozen=True)
class Mish(ReadsInput):
    """z tanh(softplus(z)), computed as z m/(m + 2) with m = w (w + 2) and w = exp(z)."""

    name = "mish"
    halves_variance = True
    scratch = 2

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (z,), (m, other) = inputs, work
        two = number(2.0, z.dtype)
        np.minimum(z, number(_FAR, z.dtype), out=m)
        np.exp(m, out=m)
        np.add(m, two, out=other)
        np.multiply(m, other, out=m)
        np.add(m, two, out=other)
        np.divide(m, other, out=m)
        np.multiply(z, m, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(MishGrad(), cotangent, b[node.inputs[0]])
