"""The steps of a sequence: values (n, d) stacked to (n, t, d), and one of them as a value of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Cotangents, Op, same_shape
from memtrain.graph.ops.view import Pad, reshape

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Stack(Op):
    """The inputs (n, …) as (n, count, …), where ``count`` is their number."""

    count: int

    name = "stack"
    glyph = "stack"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"[{', '.join(map(w.term, inputs))}]"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        shape, dtype = same_shape(self, *inputs)
        if not shape or len(inputs) != self.count:
            raise GraphError(f"{self.name} needs {int(self.count)} values with an axis, not {len(inputs)}")
        return (shape[0], self.count, *shape[1:]), dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        for number, value in enumerate(inputs):
            np.copyto(out[:, number], value)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        for position in wanted:
            yield position, b.apply(Step(position), cotangent)


@dataclass(frozen=True)
class Step(Op):
    """The value (n, …) at a ``number`` of the second axis."""

    number: int

    name = "step"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[0])}[{self.number + 1}]"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (x,) = inputs
        if len(x.shape) < 2 or self.number >= x.shape[1]:
            raise GraphError(f"{self.name} {self.number} is not on the second axis of {x}")
        return (x.shape[0], *x.shape[2:]), x.dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.copyto(out, inputs[0][:, self.number])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        shape = b[node.inputs[0]].shape
        rest = shape[2:]
        part = reshape(b, cotangent, (shape[0], 1, *rest))
        starts, stops = (0, self.number, *[0] * len(rest)), (shape[0], self.number + 1, *rest)
        yield 0, b.apply(Pad(starts, stops, shape), part)
