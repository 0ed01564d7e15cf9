"""Convolution of images, and its gradients with respect to the images and to the kernels.

Images are (n, rows, columns, channels), kernels (outputs, rows, columns, channels / groups). As in all
frameworks, the kernel is not flipped. Each of the three ops is the gradient of the two others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Cotangents, Workspace, same_type
from memtrain.graph.ops.conv_base import Convolution, in_order, like, rows_of
from memtrain.graph.ops.pool_base import add_to, block_size, each_block
from memtrain.graph.ops.window import Pair, Unfolding, Window, as_pair, check_images
from memtrain.graph.size import product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


@dataclass(frozen=True)
class Conv2d(Convolution):
    """The convolution of images with kernels."""

    name = "conv2d"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[1])} ∗ {w.term(inputs[0])}"

    def flops(self, node: Node, *inputs: Node) -> int:
        return self.work_of(node.shape, inputs[1].shape)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        x, kernel = inputs
        shape = (x.shape[0], *check_images(self.name, self.window, x), *kernel.shape[:1])
        self.check(shape, x, kernel.shape)
        return shape, same_type(self, x, kernel)

    def workspace(self, *inputs: Node) -> Workspace:
        x, kernel = inputs
        if self.is_product:
            return ()
        unfolding = Unfolding(self.window, x.shape, kernel.shape[3])
        padded, unfolded = unfolding.sizes
        sizes = [padded, unfolded]
        if self.groups > 1:  # a product is written to contiguous memory
            sizes.append(product((unfolding.row_count, int(kernel.shape[0]) // self.groups)))
        return tuple((size, x.dtype) for size in sizes)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, kernel = inputs
        if not work:
            np.dot(rows_of(x), kernel.reshape(len(kernel), -1).T, out=rows_of(out))
            return
        unfolding = Unfolding(self.window, x.shape, kernel.shape[3])
        padded, unfolded, *product_of_group = work
        for images, weights, results in self.each_group(x, kernel, out):
            matrix = weights.reshape(len(weights), -1).T
            for part, rows, patches in unfolding.each(images, padded, unfolded):
                target = results[part, rows]
                if not product_of_group:
                    np.dot(patches, matrix, out=rows_of(target))
                    continue
                found = product_of_group[0][: target.size].reshape(len(patches), -1)
                np.dot(patches, matrix, out=found)
                np.copyto(target, found.reshape(target.shape))

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, kernel = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(Conv2dInputGrad(self.window, self.groups, x.shape), cotangent, kernel)
            else:
                yield 1, b.apply(Conv2dWeightGrad(self.window, self.groups, kernel.shape), cotangent, x)


@dataclass(frozen=True)
class Conv2dInputGrad(Convolution):
    """The gradient with respect to the images, of the given ``shape``, from that of the results."""

    shape: Shape

    name = "conv2d_input_grad"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[1])} ∗ᵀ {w.term(inputs[0])}"

    def flops(self, node: Node, *inputs: Node) -> int:
        return self.work_of(inputs[0].shape, inputs[1].shape)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, kernel = inputs
        self.check(g.shape, like(g, self.shape), kernel.shape)
        return self.shape, same_type(self, g, kernel)

    @property
    def _opposite(self) -> Window | None:
        """The window with which the gradient is a convolution with turned kernels: for stride 1 only."""
        reach, padding = self.window.reach, self.window.padding
        if (
            self.window.stride != (1, 1)
            or self.groups > 1
            or any(p >= r for p, r in zip(padding, reach, strict=True))
        ):
            return None
        opposite = (reach[0] - 1 - padding[0], reach[1] - 1 - padding[1])
        return Window(self.window.size, (1, 1), opposite, self.window.dilation)

    def workspace(self, *inputs: Node) -> Workspace:
        g, kernel = inputs
        if self.is_product:
            return ()
        if self._opposite is not None:
            padded, unfolded = Unfolding(self._opposite, g.shape, kernel.shape[0]).sizes
            return (product(kernel.shape), g.dtype), (padded, g.dtype), (unfolded, g.dtype)
        positions = block_size(self.fold_blocks(g.shape, int(kernel.shape[3])), g.shape[:3])
        each = product((positions, kernel.shape[3]))
        sizes = [product((self.window.place_count, each)), each]
        if self.groups > 1:
            sizes.append(product((positions, int(kernel.shape[0]) // self.groups)))
        return tuple((size, g.dtype) for size in sizes)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, kernel = inputs
        if not work:
            np.dot(rows_of(g), kernel.reshape(len(kernel), -1), out=rows_of(out))
        elif self._opposite is not None:
            self._convolve(self._opposite, out, g, kernel, work)
        else:
            out.fill(0)
            for images, weights, results in self.each_group(out, kernel, g):
                self._fold(images, results, weights, work)

    def _convolve(self, window: Window, out: Array, g: Array, kernel: Array, work: Sequence[Array]) -> None:
        """A convolution of ``g`` with the kernels, turned by 180° and with inputs and outputs exchanged."""
        turned, padded, unfolded = work
        outputs, height, width, inputs = kernel.shape
        exchanged = kernel.transpose(1, 2, 0, 3)[::-1, ::-1]
        np.copyto(turned.reshape(height, width, outputs, inputs), exchanged)
        matrix = turned.reshape(-1, inputs)
        for part, rows, patches in Unfolding(window, g.shape, outputs).each(g, padded, unfolded):
            np.dot(patches, matrix, out=rows_of(out[part, rows]))

    def _fold(self, x: Array, g: Array, kernel: Array, work: Sequence[Array]) -> None:
        """Add the products of ``g`` with the kernels to the pixels under each window."""
        products, total, *of_group = work
        by_place = kernel.reshape(len(kernel), self.window.place_count, -1).transpose(1, 0, 2)
        for block, places in each_block(self.window, self.fold_blocks(g.shape, x.shape[3]), g.shape, x.shape):
            given = g[block]
            if of_group:  # BLAS reads contiguous memory
                given = in_order(given, of_group[0])
            shape = (*given.shape[:3], x.shape[3])
            size = given.size // given.shape[3] * x.shape[3]
            found = products[: len(by_place) * size].reshape(len(by_place), -1, x.shape[3])
            np.matmul(rows_of(given)[None], by_place, out=found)
            for place in places:
                add_to(x, place, found[place.number].reshape(shape), total[:size].reshape(shape))

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, kernel = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(Conv2d(self.window, self.groups), cotangent, kernel)
            else:
                yield 1, b.apply(Conv2dWeightGrad(self.window, self.groups, kernel.shape), g, cotangent)


@dataclass(frozen=True)
class Conv2dWeightGrad(Convolution):
    """The gradient with respect to the kernels, of the given ``shape``, from that of the results."""

    shape: Shape

    name = "conv2d_weight_grad"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{w.term(inputs[0])} ⋆ {w.term(inputs[1])}"

    def flops(self, node: Node, *inputs: Node) -> int:
        return self.work_of(inputs[0].shape, self.shape)

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, x = inputs
        self.check(g.shape, x, self.shape)
        return self.shape, same_type(self, g, x)

    def _plan(self, x: Shape) -> tuple[Unfolding, bool]:
        """The unfolding, and whether all of it is one block."""
        unfolding = Unfolding(self.window, x, self.shape[3])
        whole = unfolding.blocks.images >= x[0] and unfolding.blocks.rows >= unfolding.positions[0]
        return unfolding, whole

    def workspace(self, *inputs: Node) -> Workspace:
        x = inputs[1]
        if self.is_product:
            return ()
        unfolding, whole = self._plan(x.shape)
        padded, unfolded = unfolding.sizes
        outputs = int(self.shape[0]) // self.groups
        sizes = [padded, unfolded, 0 if whole else product((outputs, *self.shape[1:]))]
        if self.groups > 1:
            sizes.append(product((unfolding.row_count, outputs)))
        return tuple((size, x.dtype) for size in sizes)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        g, x = inputs
        if not work:
            np.dot(rows_of(g).T, rows_of(x), out=out.reshape(len(out), -1))
            return
        unfolding, _ = self._plan(x.shape)
        padded, unfolded, part_of_sum, *of_group = work
        for images, target, results in self.each_group(x, out, g):
            total, first = target.reshape(len(target), -1), True
            for part, rows, patches in unfolding.each(images, padded, unfolded):
                given = results[part, rows]
                if of_group:
                    given = in_order(given, of_group[0])
                if first:
                    np.dot(rows_of(given).T, patches, out=total)
                else:
                    found = part_of_sum.reshape(total.shape)
                    np.dot(rows_of(given).T, patches, out=found)
                    np.add(total, found, out=total)
                first = False

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, x = (b[i] for i in node.inputs)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(Conv2d(self.window, self.groups), x, cotangent)
            else:
                yield 1, b.apply(Conv2dInputGrad(self.window, self.groups, x.shape), g, cotangent)


def conv2d(
    b: Builder,
    x: Node,
    kernel: Node,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    name: str | None = None,
) -> Node:
    """The convolution of images (n, rows, columns, channels) with kernels (outputs, rows, columns, …)."""
    if len(kernel.shape) != 4:
        raise GraphError(f"conv2d needs kernels (outputs, rows, columns, channels), not {kernel}")
    size = (int(kernel.shape[1]), int(kernel.shape[2]))
    window = Window(size, as_pair(stride), as_pair(padding), as_pair(dilation))
    return b.apply(Conv2d(window, groups), x, kernel, name=name)
