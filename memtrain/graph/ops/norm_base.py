"""Normalisation: y = γ x̂ + β with x̂ = (x − μ) r, where r = 1/√(σ² + ε). μ and r are values of their own.

``axes`` are the axes of x over which μ and σ² are means. γ and β have the last axes of x. Without centring
(RMS norm) there is no μ and no β, and σ² is the mean of x².

The derivative through μ and r is part of the cotangent of x. With m(·) the mean over ``axes`` and

    P(a) = r (a − m(a) − x̂ m(a x̂))        (Ioffe & Szegedy 2015, §3, with all terms collected)

∂L/∂x is P(γ g). Its own derivative with respect to x, for a cotangent d, is

    −r (x̂ m(d P(a)) + m(a x̂) P(d) + m(d x̂) P(a)),  a = γ g.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import BroadcastTo, add, multiply, scale, sum_to
from memtrain.graph.ops.base import Array, Cotangents, Op, same_type
from memtrain.graph.ops.source import Fill

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer

FLOPS_PER_ELEMENT = 5


@dataclass(frozen=True)
class NormOp(Op):
    """The base of all ops of a norm. ``centred`` says whether the mean is subtracted."""

    axes: tuple[int, ...]
    centred: bool = True

    reads_statistics = True
    first: ClassVar[int]
    """The position of x. The mean (if centred) and the inverse deviation follow it."""

    @property
    def statistics(self) -> tuple[int, ...]:
        """The positions of the mean (if centred) and of the inverse deviation."""
        return tuple(range(self.first + 1, self.first + 2 + self.centred))

    @property
    def after(self) -> int:
        """The position after the statistics."""
        return self.first + 2 + self.centred

    def flops(self, node: Node, *inputs: Node) -> int:
        return FLOPS_PER_ELEMENT * inputs[self.first].size

    def statistic_shape(self, x: Node) -> Shape:
        """The shape of a mean over the axes, which are kept with size 1."""
        return tuple(1 if axis in self.axes else size for axis, size in enumerate(x.shape))

    def count(self, x: Node) -> int:
        """The number of values of each mean."""
        return prod(int(x.shape[axis]) for axis in self.axes)

    def check(self, inputs: Sequence[Node], parameters: Sequence[Node]) -> None:
        """Raise ``GraphError`` unless the statistics and the parameters belong to x."""
        x = inputs[self.first]
        wanted = self.statistic_shape(x)
        wrong = [inputs[i] for i in self.statistics if inputs[i].shape != wanted]
        wrong += [node for node in parameters if node.shape != x.shape[len(x.shape) - len(node.shape) :]]
        if wrong:
            raise GraphError(f"{self.name} over the axes {self.axes} of {x} does not fit {wrong[0]}")

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        if self.reads_statistics and any(read is inputs[i] for i in (self.first, *self.statistics)):
            x, r = inputs[self.first], inputs[self.after - 1]
            centred = f"({x.name} − {inputs[self.first + 1].name})" if self.centred else x.name
            return f"needs the normalised value {centred} {r.name}"
        return super().purpose(w, read, node, *inputs)

    def normalised(self, w: Writer, *inputs: Node) -> str:
        """The text of x̂."""
        x, r = w.term(inputs[self.first]), w.term(inputs[self.after - 1])
        return f"({x} − {w.term(inputs[self.first + 1])}) {r}" if self.centred else f"{x} {r}"

    def mean(self, b: Builder, x: Node, value: Node) -> Node:
        """The mean of ``value`` over the axes, repeated to the shape of ``x``."""
        total = sum_to(b, value, self.statistic_shape(x))
        return b.apply(BroadcastTo(x.shape), scale(b, total, 1 / self.count(x)))

    def normal(self, b: Builder, x: Node, statistics: Sequence[Node]) -> Node:
        """x̂, built from primitives."""
        *mean, r = statistics
        centred = add(b, x, scale(b, mean[0], -1.0)) if mean else x
        return multiply(b, centred, r)


def subtract_square(mean_square: Array, mean: Array, scratch: Array) -> bool:
    """Compute σ² = m(x²) − μ² in the array ``mean_square``; returns whether it is as exact as m((x − μ)²).

    It is, if μ² is nowhere larger than σ²: then the subtraction loses at most one bit. Otherwise digits
    cancel, and σ² must be computed from x − μ.
    """
    np.multiply(mean, mean, out=scratch)
    np.subtract(mean_square, scratch, out=mean_square)
    np.subtract(mean_square, scratch, out=scratch)
    least: float = np.minimum.reduce(scratch, axis=None).item()
    return least >= 0


class Normalise(NormOp):
    """y = γ x̂ + β. The inputs are x, its statistics, γ and (if centred) β."""

    first = 0

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        beta = f" + {w.term(inputs[-1])}" if self.centred else ""
        return f"{w.term(inputs[self.after])} ⊙ {self.normalised(w, *inputs)}{beta}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        self.check(inputs, inputs[self.after :])
        return inputs[0].shape, same_type(self, *inputs)


class InputGrad(NormOp):
    """∂L/∂x = P(γ g). The inputs are g, x, its statistics and γ."""

    first = 1

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        gamma, g = w.term(inputs[-1]), w.term(inputs[0])
        return f"P({gamma} ⊙ {g}; {self.normalised(w, *inputs)})"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        self.check(inputs, [inputs[0], inputs[-1]])
        return inputs[0].shape, same_type(self, *inputs)

    def flops(self, node: Node, *inputs: Node) -> int:
        return 2 * FLOPS_PER_ELEMENT * node.size

    def applied(self, b: Builder, g: Node, x: Node, *rest: Node) -> Node:
        """P(γ g) for another g or γ; ``rest`` are the statistics and γ."""
        return b.apply(self, g, x, *rest)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, x, *statistics, gamma = self._known(b, node)
        one = b.apply(Fill(1.0, gamma.shape, gamma.dtype))
        passed = self.applied(b, cotangent, x, *statistics, one)  # P(d)
        for position in wanted:
            if position == 0:
                yield 0, multiply(b, passed, gamma)
            elif position == self.after:
                yield position, sum_to(b, multiply(b, g, passed), gamma.shape)
            elif position == 1:
                yield 1, self._of_input(b, node, cotangent, passed)

    def _known(self, b: Builder, node: Node) -> list[Node]:
        """g, x, the statistics and γ."""
        return [b[i] for i in node.inputs[: self.after + 1]]

    def _of_input(self, b: Builder, node: Node, d: Node, passed: Node) -> Node:
        g, x, *statistics, gamma = self._known(b, node)
        normal, scaled = self.normal(b, x, statistics), multiply(b, g, gamma)
        parts = (
            multiply(b, normal, self.mean(b, x, multiply(b, d, node))),
            multiply(b, passed, self.mean(b, x, multiply(b, scaled, normal))),
            multiply(b, node, self.mean(b, x, multiply(b, d, normal))),
        )
        total = add(b, add(b, parts[0], parts[1]), parts[2])
        return scale(b, multiply(b, total, statistics[-1]), -1.0)
