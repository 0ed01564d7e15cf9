"""Max-pooling of images (n, rows, columns, channels), as in PyTorch.

Of equal values in a window the first one counts, and NaN is larger than all values. Backward needs the index
of the largest value. It finds the index in the images again, or the index is a value of its own: one byte for
each result, if a window has at most 256 places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Cotangents, Workspace, same_type
from memtrain.graph.ops.pool_base import Pooling, gathered, index_type
from memtrain.graph.ops.pool_index import (
    MaxPool2dIndex,
    WindowPick,
    WindowSpread,
    find_index,
    index_workspace,
    spread,
    spread_workspace,
)
from memtrain.graph.ops.window import Pair, Window, as_pair

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class MaxPool2d(Pooling):
    """The largest value in each window. The index, a second input, is read by the vjp rule if it is given."""

    name = "max_pool2d"
    glyph = "max"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        x, *index = map(w.term, inputs)
        return f"{x}[{index[0]}]" if index else f"maxpool({x})"

    def flops(self, node: Node, *inputs: Node) -> int:
        return node.size * self.window.place_count

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        x, *index = inputs
        for given in index:
            self.check_index(x, given)
        return self.pooled(x), x.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return ((self.block_size(self.pooled(inputs[0])), inputs[0].dtype),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x = inputs[0]
        for block, places in self.each_block(out.shape, x.shape):
            largest = out[block]
            largest.fill(-np.inf)
            pixels = work[0][: largest.size].reshape(largest.shape)
            for place in places:
                np.maximum(largest, gathered(pixels, x, place, -np.inf), out=largest)

    def inference(self, b: Builder, *inputs: Node) -> Node | None:
        return b.apply(self, inputs[0])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, *index = (b[i] for i in node.inputs)
        if 0 not in wanted:
            return
        if index:
            yield 0, b.apply(WindowSpread(self.window, x.shape), cotangent, index[0])
        else:
            yield 0, b.apply(MaxPool2dGrad(self.window), cotangent, x)


@dataclass(frozen=True)
class MaxPool2dGrad(Pooling):
    """The gradient with respect to the images x, from that of the results and from x."""

    name = "max_pool2d_grad"
    glyph = "max′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        g, x = map(w.term, inputs)
        return f"unpool({g}; argmaxpool({x}))"

    def flops(self, node: Node, *inputs: Node) -> int:
        return max(node.size, inputs[0].size * self.window.place_count)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, x = inputs
        if self.pooled(x) != g.shape:
            raise GraphError(f"{self.name} ({self.window}) does not fit {g} and {x}")
        return x.shape, same_type(self, g, x)

    def workspace(self, *inputs: Node) -> Workspace:
        count, dtype = self.block_size(inputs[0].shape), inputs[0].dtype
        index = index_workspace(self.window, count, dtype)
        return (count, index_type(self.window)), *index, *spread_workspace(count, dtype, self.overlaps)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, x = inputs
        out.fill(0)
        for block, places in self.each_block(g.shape, x.shape):
            given = g[block]
            index, *scratch = (w[: given.size].reshape(given.shape) for w in work)
            find_index(index, x, places, scratch[:4])
            spread(out, given, index, places, scratch[4:])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            index = b.apply(MaxPool2dIndex(self.window), b[node.inputs[1]])
            yield 0, b.apply(WindowPick(self.window), cotangent, index)


def max_pool2d(
    b: Builder,
    x: Node,
    size: int | Pair,
    *,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    name: str | None = None,
) -> Node:
    """The largest value of each window of the images; the stride is the size unless given.

    If ``x`` is kept anyway (it is a leaf, or the rule of its own op reads it), backward finds the index of
    the largest value again. Otherwise the index is kept in place of ``x``.
    """
    window = Window(as_pair(size), as_pair(size if stride is None else stride), as_pair(padding))
    if x.op.reads_output or not x.inputs:
        return b.apply(MaxPool2d(window), x, name=name)
    index = b.apply(MaxPool2dIndex(window), x, name=f"{name}.index" if name else None)
    return b.apply(MaxPool2d(window), x, index, name=name)
