"""The two products of attention, per head, for values (n, t, heads, d) as projections give them.

BLAS reads the rows of a head where they lie, between those of the other heads. So no value is transposed or
copied (Vaswani et al. 2017, §3.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Call, Cotangents, Op, Speed, number, same_type

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


class _HeadProduct(Op):
    """A product of matrices for each example and head, times a constant."""

    speed = Speed.PRODUCT
    scale: float

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        self.bind(out, *inputs, work=work)()

    def bind(self, out: Array, *inputs: Array, work: Sequence[Array]) -> Call:
        return partial(_scaled_product, *self.factors(out, *inputs), out, self.scale)

    def factors(self, out: Array, *inputs: Array) -> tuple[Array, Array, Array]:
        """Views of both factors and of the result, each with the axes examples, heads, rows, columns."""
        raise GraphError(f"{self.name} has no kernel")

    def _scale_text(self) -> str:
        return "" if self.scale == 1 else f"{self.scale:g} "


def _scaled_product(x: Array, y: Array, product: Array, out: Array, scale: float) -> None:
    np.matmul(x, y, out=product)
    if scale != 1:
        np.multiply(out, number(scale, out.dtype), out=out)


@dataclass(frozen=True)
class Scores(_HeadProduct):
    """scale · x yᵀ per head: x (n, t, heads, d), y (n, s, heads, d), result (n, heads, t, s)."""

    scale: float = 1.0

    name = "scores"
    glyph = "q kᵀ"

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: 2 · d for each score."""
        return 2 * node.size * int(inputs[0].shape[-1])

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        x, y = inputs
        return f"{self._scale_text()}{w.term(x)} {w.term(y, True)}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        x, y = inputs
        fits = len(x.shape) == len(y.shape) == 4
        if not fits or x.shape[0] != y.shape[0] or x.shape[2:] != y.shape[2:]:
            raise GraphError(f"{self.name} needs (n, t, heads, d) and (n, s, heads, d), not {x} and {y}")
        return (x.shape[0], x.shape[2], x.shape[1], y.shape[1]), same_type(self, x, y)

    def factors(self, out: Array, *inputs: Array) -> tuple[Array, Array, Array]:
        x, y = inputs
        return x.transpose(0, 2, 1, 3), y.transpose(0, 2, 3, 1), out

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, y = (b[i] for i in node.inputs)
        for position in wanted:
            yield position, b.apply(Mix(position == 1, self.scale), cotangent, x if position else y)


@dataclass(frozen=True)
class Mix(_HeadProduct):
    """scale · p v per head: p (n, heads, t, s), v (n, s, heads, d), result (n, t, heads, d).

    With ``transpose``, p is (n, heads, s, t) and the product is pᵀ v.
    """

    transpose: bool = False
    scale: float = 1.0

    name = "mix"
    glyph = "p v"

    def flops(self, node: Node, *inputs: Node) -> int:
        """Floating-point operations: 2 · d for each element of p."""
        return 2 * inputs[0].size * int(node.shape[-1])

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        p, v = inputs
        return f"{self._scale_text()}{w.term(p, self.transpose)} {w.term(v)}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        p, v = inputs
        if len(p.shape) != 4 or len(v.shape) != 4:
            raise GraphError(f"{self.name} needs (n, heads, t, s) and (n, s, heads, d), not {p} and {v}")
        n, heads, rows, columns = p.shape
        if self.transpose:
            rows, columns = columns, rows
        if v.shape[:3] != (n, columns, heads):
            raise GraphError(f"{self.name} (transpose={self.transpose}) does not fit {p} and {v}")
        return (n, rows, heads, v.shape[3]), same_type(self, p, v)

    def factors(self, out: Array, *inputs: Array) -> tuple[Array, Array, Array]:
        p, v = inputs
        left = p.swapaxes(-1, -2) if self.transpose else p
        return left, v.transpose(0, 2, 1, 3), out.transpose(0, 2, 1, 3)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        p, v = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 1:
                yield 1, b.apply(Mix(not self.transpose, self.scale), p, cotangent)
            else:
                x, y = (v, cotangent) if self.transpose else (cotangent, v)
                yield 0, b.apply(Scores(self.scale), x, y)
