"""Nodes without inputs: leaves, whose values the run is given, and constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memtrain.graph.node import DType, Node, Role, Shape
from memtrain.graph.ops.base import Array, Op

if TYPE_CHECKING:
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Leaf(Op):
    """A value that the run is given and keeps between iterations: parameter, optimiser state or input."""

    role: Role
    shape: Shape
    dtype: DType

    name = "leaf"

    @property
    def leaf_role(self) -> Role:
        return self.role

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.shape, self.dtype


@dataclass(frozen=True)
class Fill(Op):
    """An array filled with one constant. It has no inputs, so it needs no vjp rule."""

    value: float
    shape: Shape
    dtype: DType

    name = "fill"

    @property
    def drawn(self) -> str:
        return f"{self.value:g}"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{self.value:g}"

    def constant(self, w: Writer, *inputs: Node) -> float:
        return self.value

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.shape, self.dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        out.fill(self.value)
