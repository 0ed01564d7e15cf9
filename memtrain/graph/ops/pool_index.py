"""The index of the largest value of each window, and the ops that read and write images at an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Cotangents, Workspace
from memtrain.graph.ops.pool_base import Place, Pooling, add_to, gathered, index_type
from memtrain.graph.ops.window import Window

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer

_TRUTH = np.dtype(np.bool_)


@dataclass(frozen=True)
class MaxPool2dIndex(Pooling):
    """The number of the place in each window that holds its largest value, row by row."""

    name = "max_pool2d_index"
    glyph = "argmax"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"argmaxpool({w.term(inputs[0])})"

    def flops(self, node: Node, *inputs: Node) -> int:
        return node.size * self.window.place_count

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.pooled(inputs[0]), index_type(self.window)

    def workspace(self, *inputs: Node) -> Workspace:
        return index_workspace(self.window, self.block_size(self.pooled(inputs[0])), inputs[0].dtype)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        for block, places in self.each_block(out.shape, x.shape):
            index = out[block]
            find_index(index, x, places, [w[: index.size].reshape(index.shape) for w in work])


@dataclass(frozen=True)
class WindowPick(Pooling):
    """Of each window of the images the value at an index."""

    name = "window_pick"
    glyph = "pick"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[0])}[{w.term(inputs[1])}]"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        x, index = inputs
        self.check_index(x, index)
        return index.shape, x.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        count, dtype = self.block_size(inputs[1].shape), inputs[0].dtype
        return spread_workspace(count, dtype, overlaps=True)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, index = inputs
        for block, places in self.each_block(out.shape, x.shape):
            found, numbers = out[block], index[block]
            here, bits, chosen, pixels = (w[: found.size].reshape(found.shape) for w in work)
            found.fill(0)
            for place in places:
                np.equal(numbers, numbers.dtype.type(place.number), out=here)
                gathered(pixels, x, place, 0)
                _keep(pixels, here, bits, out=chosen)
                np.bitwise_or(found.view(bits.dtype), chosen.view(bits.dtype), out=found.view(bits.dtype))

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, index = (b[i] for i in node.inputs)
        if 0 in wanted:
            yield 0, b.apply(WindowSpread(self.window, x.shape), cotangent, index)


@dataclass(frozen=True)
class WindowSpread(Pooling):
    """Images of the given ``shape`` with each value added at the index of its window, and zero elsewhere."""

    shape: Shape

    name = "window_spread"
    glyph = "spread"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"unpool({w.term(inputs[0])}; {w.term(inputs[1])})"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, index = inputs
        if g.shape != index.shape or index.dtype != index_type(self.window):
            raise GraphError(f"{self.name} ({self.window}) does not fit {g} and {index}")
        return self.shape, g.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return spread_workspace(self.block_size(inputs[0].shape), inputs[0].dtype, self.overlaps)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, index = inputs
        out.fill(0)
        for block, places in self.each_block(g.shape, out.shape):
            given = g[block]
            spread(out, given, index[block], places, [w[: given.size].reshape(given.shape) for w in work])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            yield 0, b.apply(WindowPick(self.window), cotangent, b[node.inputs[1]])


def index_workspace(window: Window, count: int, dtype: DType) -> Workspace:
    """The workspace of `find_index` for blocks of ``count`` results."""
    return (count, dtype), (count, dtype), (count, _TRUTH), (count, index_type(window))


def find_index(index: Array, x: Array, places: Sequence[Place], work: Sequence[Array]) -> None:
    """Compute the index of the largest value of each window of a block: the first one, or the last NaN.

    The places come in order. So the largest number of a place at which the value grew is the index, and no
    copy with a mask is needed, which is slow.
    """
    value, best, larger, number = work
    for place in reversed(places):  # the first place inside of the image, for windows full of −∞
        index[place.results].fill(place.number)
    best.fill(-np.inf)
    for place in places:
        np.greater(gathered(value, x, place, -np.inf), best, out=larger)
        np.maximum(value, best, out=best)
        np.copyto(number, larger)
        np.multiply(number, number.dtype.type(place.number), out=number)
        np.maximum(index, number, out=index)
    if np.isnan(best.max()):
        for place in places:
            np.isnan(gathered(value, x, place, -np.inf), out=larger)
            np.copyto(index, index.dtype.type(place.number), where=larger)


def spread_workspace(count: int, dtype: DType, overlaps: bool) -> Workspace:
    """The workspace of `spread` for blocks of ``count`` results; one more array if windows overlap."""
    return (count, _TRUTH), (count, _bits(dtype)), *[(count, dtype)] * (1 + overlaps)


def spread(out: Array, g: Array, index: Array, places: Sequence[Place], work: Sequence[Array]) -> None:
    """Add the values ``g`` of a block to the pixels at the index."""
    here, bits, chosen, *total = work
    for place in places:
        np.equal(index, index.dtype.type(place.number), out=here)
        _keep(g, here, bits, out=chosen)
        if total:
            add_to(out, place, chosen, total[0])
        else:  # no other window has these pixels
            np.copyto(out[place.pixels], chosen[place.results])


def _keep(values: Array, where: Array, bits: Array, out: Array) -> None:
    """The values at which ``where`` is true, and zero elsewhere.

    The bits of a value are kept or cleared: a copy with a mask takes four times as long, and a product with
    0 would be NaN for infinite values.
    """
    np.copyto(bits, where)
    np.negative(bits, out=bits)  # all bits are 1 where the value is kept
    np.bitwise_and(values.view(bits.dtype), bits, out=out.view(bits.dtype))


def _bits(dtype: DType) -> DType:
    """Integers as large as numbers of the type ``dtype``."""
    return np.dtype(f"i{dtype.itemsize}")
