"""Norms over all pixels: batch norm (Ioffe & Szegedy 2015) and group norm (Wu & He 2018).

Values are (parts, pixels, groups, channels of a group), and means are over pixels and channels of a group.
For a batch norm, all images are one part, and each channel is a group. Sums over pixels are products with
ones, since BLAS adds short rows several times as fast as ``numpy.add.reduce``.

The gradients of x, γ and β need the same two sums over pixels, Σ g and Σ g ⊙ (x − μ). So these sums are a
value of their own (`ChannelSums`), which all three read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.arithmetic import add, multiply, scale, sum_to
from memtrain.graph.ops.base import Array, Cotangents, same_type
from memtrain.graph.ops.norm_base import InputGrad, Normalise
from memtrain.graph.ops.norm_moments import Channels, add_columns, by_channel, each_block
from memtrain.graph.ops.view import Slice, reshape

if TYPE_CHECKING:
    from memtrain.graph.builder import Builder
    from memtrain.graph.ops.notation import Writer


def _sums_shape(x: Node) -> Shape:
    """The shape of both sums of ``x``: (2, parts, 1, groups, channels of a group)."""
    return (2, x.shape[0], 1, *x.shape[2:])


def _one_sum(b: Builder, sums: Node, index: int) -> Node:
    """A view of Σ g (``index`` 0) or Σ g ⊙ (x − μ) (``index`` 1)."""
    shape = sums.shape[1:]
    return reshape(b, b.apply(Slice((index, 0, 0, 0, 0), (index + 1, *shape)), sums), shape)


@dataclass(frozen=True)
class ChannelSums(Channels):
    """Σ g and Σ g ⊙ (x − μ) over the pixels of each part, in one array. The inputs are g, x and the mean."""

    name = "channel_norm_sums"
    glyph = "Σ"
    reads_statistics = False
    first = 1
    blocks_wanted = 2
    rows_wanted = 1

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        g, x, mean = map(w.term, inputs)
        return f"Σ {g} and Σ {g} ⊙ ({x} − {mean})"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        g, x, mean = inputs
        if g.shape != x.shape or mean.shape != self.statistic_shape(x):
            raise GraphError(f"{self.name} over the axes {self.axes} of {x} does not fit {g}, {mean}")
        return _sums_shape(x), same_type(self, *inputs)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        ones, (product_of, means), (part,) = self.split(work)
        out.fill(0)
        totals, dots = out.reshape(2, len(out[0]), -1)
        for g, x, of_mean, total, dot in zip(*inputs, totals, dots, strict=True):
            np.copyto(means, by_channel(part, of_mean))
            for of_rows, target, mean, of_g, of_x in each_block([ones, product_of, means], g, x):
                add_columns(total, of_rows, of_g, part)
                np.subtract(of_x, mean, out=target)
                np.multiply(target, of_g, out=target)
                add_columns(dot, of_rows, target, part)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        g, x, mean = (b[i] for i in node.inputs)
        of_total, of_dot = (_one_sum(b, cotangent, index) for index in range(2))
        for position in wanted:
            if position == 0:
                centred = add(b, x, scale(b, mean, -1.0))
                yield 0, add(b, multiply(b, centred, of_dot), of_total)
            elif position == 1:
                yield 1, multiply(b, g, of_dot)
            else:
                moved = multiply(b, of_dot, _one_sum(b, node, 0))
                yield 2, scale(b, sum_to(b, moved, mean.shape), -1.0)


@dataclass(frozen=True)
class ChannelInputGrad(InputGrad, Channels):
    """P(γ g) for means over pixels and the channels of a group. The last input is the `ChannelSums`.

    The sums are functions of g and x. The cotangents of g and x include their part.
    """

    name = "channel_norm_input_grad"
    glyph = "norm′"
    reuses = (0,)
    blocks_wanted = 5
    rows_wanted = 3

    def formula(self, w: Writer, node: Node, *inputs: Node) -> str:
        return f"{super().formula(w, node, *inputs[:-1])} with {w.term(inputs[-1])}"

    def result(self, *inputs: Node) -> tuple[Shape, DType]:
        if inputs[-1].shape != _sums_shape(inputs[1]):
            raise GraphError(f"{self.name} needs the sums over the pixels of {inputs[1]}, not {inputs[-1]}")
        return super().result(*inputs[:-1])

    def applied(self, b: Builder, g: Node, x: Node, *rest: Node) -> Node:
        sums = b.apply(ChannelSums(self.axes), g, x, rest[0])
        return b.apply(self, g, x, *rest, sums)

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        _, blocks, (deviation, total, dot) = self.split(work)
        _, means, of_g, of_x, shift = blocks
        *given, gamma, sums = inputs
        share = 1 / (given[1].size // given[2].size)
        for g, x, of_mean, r, target, g_sum, x_sum in zip(*given, out, *sums, strict=True):
            np.copyto(means, by_channel(deviation, of_mean))
            by_channel(deviation, r)
            for found, of_sum in ((total, g_sum), (dot, x_sum)):
                np.multiply(of_sum.reshape(-1), gamma.reshape(-1), out=found)
                _group_means(found, r.size, share)
                np.multiply(found, deviation, out=found)
            np.copyto(shift, total)  # r m(γ g)
            np.multiply(dot, deviation, out=dot)
            np.multiply(dot, deviation, out=dot)
            np.copyto(of_x, dot)  # r³ m(γ g (x − μ))
            np.multiply(deviation, gamma.reshape(-1), out=deviation)
            np.copyto(of_g, deviation)
            self._combine(each_block(blocks, g, x, target))

    def _combine(self, blocks: Iterator[tuple[Array, ...]]) -> None:
        """r γ g − r³ m(γ g (x − μ)) (x − μ) − r m(γ g) for each block."""
        for centred, means, of_g, of_x, shift, g, x, target in blocks:
            np.subtract(x, means, out=centred)
            np.multiply(centred, of_x, out=centred)
            np.multiply(g, of_g, out=target)
            np.subtract(target, centred, out=target)
            np.subtract(target, shift, out=target)


def _group_means(values: Array, groups: int, share: float) -> None:
    """Replace the value of each channel by the sum over its group, times ``share``."""
    by_group = values.reshape(groups, -1)
    if by_group.shape[1] > 1:
        for row in by_group:
            row.fill(np.add.reduce(row))
    np.multiply(values, share, out=values)


@dataclass(frozen=True)
class ChannelNormalise(Normalise, Channels):
    """γ x̂ + β for means over pixels and the channels of a group."""

    name = "channel_norm"
    glyph = "norm"
    reuses = (0,)
    blocks_wanted = 3
    rows_wanted = 1

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, means, deviations, gamma, beta = inputs
        _, blocks, (row,) = self.split(work)
        mean, factor, shift = blocks
        np.copyto(shift, beta.reshape(-1))
        for image, of_mean, r, target in zip(x, means, deviations, out, strict=True):
            np.copyto(mean, by_channel(row, of_mean))
            np.multiply(by_channel(row, r), gamma.reshape(-1), out=row)
            np.copyto(factor, row)
            for of_mean, of_factor, of_shift, block, into in each_block(blocks, image, target):
                np.subtract(block, of_mean, out=into)
                np.multiply(into, of_factor, out=into)
                np.add(into, of_shift, out=into)

    def vjp(self, b: Builder, node: Node, cotangent: Node, wanted: Sequence[int]) -> Cotangents:
        x, mean, r, gamma, beta = (b[i] for i in node.inputs)
        sums = b.apply(ChannelSums(self.axes), cotangent, x, mean)
        for position in wanted:
            if position == 0:
                yield 0, b.apply(ChannelInputGrad(self.axes), cotangent, x, mean, r, gamma, sums)
            elif position == self.after:
                yield position, sum_to(b, multiply(b, _one_sum(b, sums, 1), r), gamma.shape)
            elif position > self.after:
                yield position, sum_to(b, _one_sum(b, sums, 0), beta.shape)
