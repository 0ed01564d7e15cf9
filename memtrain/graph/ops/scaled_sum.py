"""The sum of a value and a multiple of another value, without an array for the multiple."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import multiply, scale, sum_to
from memtrain.graph.ops.base import Array, Cotangents, same_type
from memtrain.graph.ops.blockwise import Elementwise

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class AddScaled(Elementwise):
    """a + factor · c · w, with c a value without dimensions. So λW is added to a gradient in place."""

    factor: float

    name = "add_scaled"
    reuses = (0,)
    scratch = 1
    summands = (0,)
    glyph = "+λ"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        a, c, x = inputs
        return f"{w.term(a)} + {w.coefficient(self.factor, c)}{w.term(x)}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        a, c, w = inputs
        if a.shape != w.shape or c.shape != ():
            raise GraphError(
                f"{self.name} needs a and w of one shape and c without dimensions, not {a}, {c}, {w}"
            )
        return a.shape, same_type(self, a, c, w)

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        a, c, w = inputs
        add_product(out, a, w, self.factor * c.item(), work[0])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        _, c, w = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, cotangent
                continue
            product = multiply(b, cotangent, (w, c)[position - 1])
            yield position, scale(b, sum_to(b, product, (c, w)[position - 1].shape), self.factor)


def add_product(out: Array, a: Array, w: Array, factor: Array | float, scratch: Array) -> None:
    """Compute a + factor · w into ``out``. The product is rounded before it is added."""
    np.multiply(w, factor, out=scratch)
    np.add(a, scratch, out=out)
