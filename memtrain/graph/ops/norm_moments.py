"""Mean, variance and inverse deviation of channels, for batch norm and group norm.

Values are (parts, pixels, groups, channels of a group), and means are over pixels and channels of a group.
For a batch norm, all images are one part, and each channel is a group. Sums over pixels are products with
ones, since BLAS adds short rows several times as fast as ``numpy.add.reduce``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import BroadcastTo, add, multiply, scale
from memtrain.graph.ops.base import Array, Cotangents, Workspace, rows_per_block
from memtrain.graph.ops.blockwise import Elementwise, row_blocks
from memtrain.graph.ops.norm_base import NormOp, subtract_square
from memtrain.graph.size import least, product

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer

AXES = (1, 3)


class Channels(NormOp):
    """The base of the kernels: ``blocks_wanted`` blocks, ``rows_wanted`` rows of channels, and ones."""

    blocks_wanted: int = 0
    rows_wanted: int = 0

    def workspace(self, *inputs: Node) -> Workspace:
        x = inputs[self.first]
        channels = product(x.shape[2:])
        rows = least(rows_per_block(int(channels)), x.shape[1:2])
        sizes = [rows, *[product((rows, channels))] * self.blocks_wanted, *[channels] * self.rows_wanted]
        return tuple((size, x.dtype) for size in sizes)

    def split(self, work: Sequence[Array]) -> tuple[Array, list[Array], list[Array]]:
        """Ones for the rows of a block, the blocks, and the rows of channels."""
        ones, *rest = work
        ones.fill(1)
        matrices = [w.reshape(len(ones), -1) for w in rest[: self.blocks_wanted]]
        return ones, matrices, rest[self.blocks_wanted :]


def each_block(scratch: Sequence[Array], *arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The workspace of each block of pixels of a part, then the block.

    The first of ``scratch`` has a number for each row of a block. The arrays are (pixels, groups, channels
    of a group).
    """
    return row_blocks(len(scratch[0]), scratch, [a.reshape(len(a), -1) for a in arrays])


def by_channel(target: Array, of_group: Array) -> Array:
    """The number of each group, from (1, groups, 1), repeated for each of its channels."""
    groups = of_group.size
    np.copyto(target.reshape(groups, -1), of_group.reshape(groups, 1))
    return target


def add_columns(total: Array, ones: Array, block: Array, part: Array) -> None:
    """Add the sum of each column of ``block`` to ``total``."""
    np.dot(ones, block, out=part)
    np.add(total, part, out=total)


def group_means(totals: Array, means: Array, count: int) -> None:
    """Write the mean of each group into ``means``, from the sum of each channel and ``count`` numbers."""
    np.add.reduce(totals.reshape(means.size, -1), axis=1, out=means.reshape(-1))
    np.multiply(means, 1 / count, out=means)


@dataclass(frozen=True)
class ChannelMean(Channels):
    """The mean of each group of channels."""

    name = "channel_mean"
    reads_statistics = False
    first = 0
    glyph = "μ"
    rows_wanted = 2

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"mean({w.term(inputs[0])})"

    def flops(self, node: Node, *inputs: Node) -> int:
        return inputs[0].size

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.statistic_shape(inputs[0]), inputs[0].dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        (x,) = inputs
        ones, _, (total, part) = self.split(work)
        for image, mean in zip(x, out, strict=True):
            total.fill(0)
            for of_rows, block in each_block([ones], image):
                add_columns(total, of_rows, block, part)
            group_means(total, mean, x.size // out.size)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x = b[node.inputs[0]]
        yield 0, scale(b, b.apply(BroadcastTo(x.shape), cotangent), 1 / self.count(x))


@dataclass(frozen=True)
class ChannelVariance(Channels):
    """σ² of each group of channels. The inputs are x and its mean."""

    name = "channel_variance"
    first = 0
    glyph = "σ²"
    blocks_wanted = 2
    rows_wanted = 2

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"mean ({w.term(inputs[0])} − {w.term(inputs[1])})²"

    def flops(self, node: Node, *inputs: Node) -> int:
        return 3 * inputs[0].size

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        return f"needs the operand {read.name}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        return self.statistic_shape(inputs[0]), inputs[0].dtype

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, means = inputs
        ones, (square, mean), (total, part) = self.split(work)
        for image, of_group, variance in zip(x, means, out, strict=True):
            total.fill(0)
            for of_rows, target, block in each_block([ones, square], image):
                np.multiply(block, block, out=target)
                add_columns(total, of_rows, target, part)
            group_means(total, variance, x.size // out.size)
            if not subtract_square(variance, of_group, part[: variance.size].reshape(variance.shape)):
                np.copyto(mean, by_channel(part, of_group))
                total.fill(0)
                for of_rows, target, shift, block in each_block([ones, square, mean], image):
                    np.subtract(block, shift, out=target)
                    np.multiply(target, target, out=target)
                    add_columns(total, of_rows, target, part)
                group_means(total, variance, x.size // out.size)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, mean = (b[i] for i in node.inputs)
        if 0 in wanted:
            centred = add(b, x, scale(b, mean, -1.0))
            yield 0, scale(b, multiply(b, centred, cotangent), 2 / self.count(x))


@dataclass(frozen=True)
class InverseRoot(Elementwise):
    """r = 1/√(σ² + ε)."""

    epsilon: float

    name = "inverse_root"
    reuses = (0,)
    reads_output = True
    glyph = "1/√"

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"1/√({w.term(inputs[0])} + {self.epsilon:g})"

    def block(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        np.add(inputs[0], self.epsilon, out=out)
        np.sqrt(out, out=out)
        np.reciprocal(out, out=out)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        cube = multiply(b, multiply(b, node, node), node)
        yield 0, scale(b, multiply(b, cotangent, cube), -0.5)
