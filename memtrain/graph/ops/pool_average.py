"""Average pooling of images (n, rows, columns, channels). As in PyTorch, padding counts as zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import scale, sum_to
from memtrain.graph.ops.base import Array, Cotangents, Workspace
from memtrain.graph.ops.pool_base import Pooling, add_to, gathered
from memtrain.graph.ops.view import reshape
from memtrain.graph.ops.window import Pair, Window, as_pair
from memtrain.graph.size import product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class AvgPool2d(Pooling):
    """The mean of each window."""

    name = "avg_pool2d"
    glyph = "mean"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"avgpool({w.term(inputs[0])})"

    def flops(self, node: Node, *inputs: Node) -> int:
        return node.size * self.window.place_count

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.pooled(inputs[0]), inputs[0].dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return ((self.block_size(self.pooled(inputs[0])), inputs[0].dtype),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        for block, places in self.each_block(out.shape, x.shape):
            total = out[block]
            total.fill(0)
            pixels = work[0][: total.size].reshape(total.shape)
            for place in places:
                np.add(total, gathered(pixels, x, place, 0), out=total)
            np.multiply(total, 1 / self.window.place_count, out=total)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(AvgPool2dGrad(self.window, b[node.inputs[0]].shape), cotangent)


@dataclass(frozen=True)
class AvgPool2dGrad(Pooling):
    """The gradient with respect to the images, of the given ``shape``. It reads no value of forward."""

    shape: Shape

    name = "avg_pool2d_grad"
    glyph = "mean′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"avgunpool({w.term(inputs[0])})"

    def flops(self, node: Node, *inputs: Node) -> int:
        return max(node.size, inputs[0].size * self.window.place_count)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        (g,) = inputs
        if len(g.shape) != 4 or g.shape[1:3] != self.window.positions(self.shape[1], self.shape[2]):
            raise GraphError(f"{self.name} ({self.window}) to {list(map(int, self.shape))} does not fit {g}")
        return self.shape, g.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return ((self.block_size(inputs[0].shape), inputs[0].dtype),) * (1 + self.overlaps)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (g,) = inputs
        out.fill(0)
        for block, places in self.each_block(g.shape, out.shape):
            given = g[block]
            shares, *total = (w[: given.size].reshape(given.shape) for w in work)
            np.multiply(given, 1 / self.window.place_count, out=shares)
            for place in places:
                if total:
                    add_to(out, place, shares, total[0])
                else:
                    np.copyto(out[place.pixels], shares[place.results])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        yield 0, b.apply(AvgPool2d(self.window), cotangent)


def avg_pool2d(
    b: Builder,
    x: Node,
    size: int | Pair,
    *,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    name: str | None = None,
) -> Node:
    """The mean of each window of the images; the stride is the size unless given."""
    window = Window(as_pair(size), as_pair(size if stride is None else stride), as_pair(padding))
    return b.apply(AvgPool2d(window), x, name=name)


def global_avg_pool2d(b: Builder, x: Node, *, name: str | None = None) -> Node:
    """The mean of all pixels of each image: (n, channels)."""
    n, height, width, channels = x.shape
    pixels = reshape(b, x, (n, product((height, width)), channels))
    total = sum_to(b, pixels, (n, 1, channels))
    return scale(b, reshape(b, total, (n, channels)), 1 / (height * width), name=name)
