"""SwiGLU, the gated unit silu(a) ⊙ c of Shazeer 2020.

Its rule reads a and c. PyTorch, which composes it, keeps silu(a) besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import multiply
from memtrain.graph.ops.base import Array, Cotangents, Speed
from memtrain.graph.ops.blockwise import Elementwise
from memtrain.graph.ops.swish import SiluGrad, silu

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Swiglu(Elementwise):
    """a σ(a) ⊙ c for two values of one shape."""

    name = "swiglu"
    reuses = (0, 1)
    scratch = 1
    speed = Speed.OWN
    input_count = 2
    glyph = "silu⊙"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"silu({w.term(inputs[0])}) ⊙ {w.term(inputs[1])}"

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (a, c), (gate,) = inputs, work
        silu(a, gate, gate)
        np.multiply(gate, c, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        a, c = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(SiluGrad(), multiply(b, cotangent, c), a)
            else:
                yield 1, b.apply(Swiglu(), a, cotangent)


def swiglu(b: Builder, a: Node, c: Node, name: str | None = None) -> Node:
    """silu(a) ⊙ c, for two values of one shape."""
    return b.apply(Swiglu(), a, c, name=name)
