"""Values behind one another along an axis. A part of a value is a slice, which is a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Cotangents, Op, same_type
from memtrain.graph.ops.view import Slice
from memtrain.graph.size import total

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Concat(Op):
    """The inputs one after the other along ``axis``; their other axes are equal."""

    axis: int

    name = "concat"
    glyph = "[ , ]"
    strided = True

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"[{', '.join(map(w.term, inputs))}]"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        first = inputs[0]
        if self.axis not in range(len(first.shape)) or {*map(self._rest, inputs)} != {self._rest(first)}:
            raise GraphError(f"{self.name} along axis {self.axis} does not fit {', '.join(map(str, inputs))}")
        size = total([node.shape[self.axis] for node in inputs])
        return (*first.shape[: self.axis], size, *first.shape[self.axis + 1 :]), same_type(self, *inputs)

    def _rest(self, node: Node) -> tuple[Shape, Shape]:
        """The axes before and after ``axis``."""
        return node.shape[: self.axis], node.shape[self.axis + 1 :]

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.concatenate(inputs, axis=self.axis, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        stops = list(accumulate(int(b[i].shape[self.axis]) for i in node.inputs))
        for position in wanted:
            first, last = [0] * len(node.shape), list(node.shape)
            first[self.axis], last[self.axis] = [0, *stops][position], stops[position]
            yield position, b.apply(Slice(tuple(first), tuple(last)), cotangent)


def concat(b: Builder, values: Sequence[Node], axis: int, name: str | None = None) -> Node:
    """The values one after the other along ``axis``. Raises ``GraphError`` if other axes differ."""
    return b.apply(Concat(axis), *values, name=name)
