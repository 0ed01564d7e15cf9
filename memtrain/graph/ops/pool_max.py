"""Max-pooling of images (n, rows, columns, channels). Of equal values in a window the first one counts.

If backward finds the largest value by comparing, it needs the images and the result. Otherwise the index of
the largest value is a value of its own: one byte for each result, if a window has at most 256 places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Cotangents, Workspace, same_type
from memtrain.graph.ops.pool_base import Place, Pooling, add_to, gathered
from memtrain.graph.ops.window import Pair, Window, as_pair

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer

_TRUTH = np.dtype(np.bool_)


@dataclass(frozen=True)
class MaxPool2d(Pooling):
    """The largest value in each window."""

    name = "max_pool2d"
    glyph = "max"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"maxpool({w.term(inputs[0])})"

    def flops(self, node: Node, *inputs: Node) -> int:
        return node.size * self.window.place_count

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.pooled(inputs[0]), inputs[0].dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return ((self.block_size(self.pooled(inputs[0])), inputs[0].dtype),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        for block, places in self.each_block(out.shape, x.shape):
            largest = out[block]
            largest.fill(-np.inf)
            pixels = work[0][: largest.size].reshape(largest.shape)
            for place in places:
                np.maximum(largest, gathered(pixels, x, place, -np.inf), out=largest)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x = b[node.inputs[0]]
        yield 0, b.apply(MaxPool2dGrad(self.window), cotangent, x, node)


@dataclass(frozen=True)
class MaxPool2dGrad(Pooling):
    """The gradient with respect to the images x, from that of the results and from x and the results."""

    name = "max_pool2d_grad"
    reads_statistics = True
    glyph = "max′"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        g, x, y = map(w.term, inputs)
        return f"unpool({g}; {x} = {y})"

    def flops(self, node: Node, *inputs: Node) -> int:
        return max(node.size, inputs[0].size * self.window.place_count)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, x, y = inputs
        if not self.pooled(x) == g.shape == y.shape:
            raise GraphError(f"{self.name} ({self.window}) does not fit {g}, {x} and {y}")
        return x.shape, same_type(self, g, x, y)

    def workspace(self, *inputs: Node) -> Workspace:
        count, dtype = self.block_size(inputs[0].shape), inputs[0].dtype
        return (count, _TRUTH), (count, _TRUTH), (count, dtype), *[(count, dtype)] * self.overlaps

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, x, y = inputs
        out.fill(0)
        for block, places in self.each_block(g.shape, x.shape):
            given, largest = g[block], y[block]
            free, hit, pixels, *masked = (w[: given.size].reshape(given.shape) for w in work)
            free.fill(True)
            for place in places:
                np.equal(gathered(pixels, x, place, -np.inf), largest, out=hit)
                np.logical_and(hit, free, out=hit)
                np.logical_xor(free, hit, out=free)
                _add_where(out, place, given, hit, [pixels, *masked])

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            index = b.apply(MaxPool2dIndex(self.window), b[node.inputs[1]])
            yield 0, b.apply(WindowPick(self.window), cotangent, index)


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
        return self.pooled(inputs[0]), np.min_scalar_type(self.window.place_count - 1)

    def workspace(self, *inputs: Node) -> Workspace:
        count = self.block_size(self.pooled(inputs[0]))
        return (count, inputs[0].dtype), (count, inputs[0].dtype), (count, _TRUTH), (count, _TRUTH)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        for block, places in self.each_block(out.shape, x.shape):
            index = out[block]
            value, best, larger, strange = (w[: index.size].reshape(index.shape) for w in work)
            best.fill(-np.inf)
            _first_places(index, places)
            for place in places:
                gathered(value, x, place, -np.inf)
                np.greater(value, best, out=larger)
                np.not_equal(value, value, out=strange)  # as in PyTorch, NaN is the largest value
                np.logical_or(larger, strange, out=larger)
                np.copyto(best, value, where=larger)
                np.copyto(index, index.dtype.type(place.number), where=larger)


@dataclass(frozen=True)
class WindowPick(Pooling):
    """Of each window of the images the value at an index."""

    name = "window_pick"
    glyph = "pick"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[0])}[{w.term(inputs[1])}]"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        x, index = inputs
        if self.pooled(x) != index.shape or index.dtype != np.min_scalar_type(self.window.place_count - 1):
            raise GraphError(f"{self.name} ({self.window}) does not fit {x} and {index}")
        return index.shape, x.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        return ((self.block_size(inputs[1].shape), _TRUTH),)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, index = inputs
        for block, places in self.each_block(out.shape, x.shape):
            found, numbers = out[block], index[block]
            here = work[0][: found.size].reshape(found.shape)
            for place in places:
                at = place.results
                np.equal(numbers, numbers.dtype.type(place.number), out=here)
                np.copyto(found[at], x[place.pixels], where=here[at])

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
        if g.shape != index.shape or index.dtype != np.min_scalar_type(self.window.place_count - 1):
            raise GraphError(f"{self.name} ({self.window}) does not fit {g} and {index}")
        return self.shape, g.dtype

    def workspace(self, *inputs: Node) -> Workspace:
        count, dtype = self.block_size(inputs[0].shape), inputs[0].dtype
        return (count, _TRUTH), *[(count, dtype)] * (2 * self.overlaps)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, index = inputs
        out.fill(0)
        for block, places in self.each_block(g.shape, out.shape):
            given, numbers = g[block], index[block]
            here, *scratch = (w[: given.size].reshape(given.shape) for w in work)
            for place in places:
                np.equal(numbers, numbers.dtype.type(place.number), out=here)
                _add_where(out, place, given, here, scratch)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        if 0 in wanted:
            yield 0, b.apply(WindowPick(self.window), cotangent, b[node.inputs[1]])


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

    If ``x`` is kept anyway (it is a leaf, or the rule of its own op reads it), backward compares. Otherwise
    an index is kept in place of ``x``.
    """
    window = Window(as_pair(size), as_pair(size if stride is None else stride), as_pair(padding))
    if x.op.reads_output or not x.inputs:
        return b.apply(MaxPool2d(window), x, name=name)
    index = b.apply(MaxPool2dIndex(window), x, name=f"{name}.index" if name else None)
    return b.apply(WindowPick(window), x, index, name=name)


def _first_places(index: Array, places: Sequence[Place]) -> None:
    """Set each index to the first place of its window inside of the image, for windows full of −∞."""
    for place in reversed(places):
        index[place.results].fill(place.number)


def _add_where(images: Array, place: Place, values: Array, where: Array, work: Sequence[Array]) -> None:
    """Add ``values`` to the pixels of a place where a mask is true.

    If windows do not overlap, these pixels are still zero. Otherwise ``work`` has two arrays for the sum.
    """
    if len(work) < 2:
        at = place.results
        np.copyto(images[place.pixels], values[at], where=where[at])
        return
    total, masked = work
    masked.fill(0)
    np.copyto(masked, values, where=where)
    add_to(images, place, masked, total)
