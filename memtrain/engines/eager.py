"""The ops of an engine that runs each function as soon as it is called: a shape and a name, no kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memtrain.graph.node import DType, Node, Role, Shape
from memtrain.graph.ops.base import Op, Workspace

if TYPE_CHECKING:
    from memtrain.graph.ops.notation import Writer


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
    function: str = ""
    """The function of autograd in whose backward the op runs; empty in forward."""
    saved: tuple[tuple[int, str], ...] = ()
    """The positions of inputs that this function saved, and PyTorch's name of each: ``result``."""
    product_flops: int = 0
    """The FLOPs of a matrix product or convolution. Other ops are counted by their elements."""
    lasts_as: Role | None = None

    strided = True

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.shape, self.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return self.temporaries

    def flops(self, node: Node, *inputs: Node) -> int:
        return self.product_flops or super().flops(node, *inputs)

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        for position, variable in self.saved:
            if inputs[position] is read:
                return f"needs what {self.function} saved as {variable}"
        return super().purpose(w, read, node, *inputs)
