"""The ops of an engine that runs each function as soon as it is called: a shape and a name, no kernel."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Op, Workspace


@dataclass(frozen=True)
class Eager(Op):
    """One tensor that a function of the engine allocates, or overwrites in place.

    The op is not registered: nothing runs it, and nothing differentiates it.
    """

    name: str  # type: ignore[misc]
    shape: Shape
    dtype: DType
    writes: int | None = None  # type: ignore[misc]
    temporaries: Workspace = ()

    strided = True

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.shape, self.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return self.temporaries
