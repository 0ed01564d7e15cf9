"""Norms over all pixels: batch norm (Ioffe & Szegedy 2015) and group norm (Wu & He 2018).

Values are (parts, pixels, groups, channels of a group), and means are over pixels and channels of a group.
For a batch norm, all images are one part, and each channel is a group. Sums over pixels are products with
ones, since BLAS adds short rows several times as fast as ``numpy.add.reduce``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.graph.ops.norm_base import GammaGrad, InputGrad, Normalise
from memtrain.graph.ops.norm_moments import Channels, add_columns, by_channel, each_block

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class ChannelInputGrad(InputGrad, Channels):
    """P(γ g) for means over pixels and the channels of a group."""

    name = "channel_norm_input_grad"
    glyph = "norm′"
    reuses = (0,)
    blocks_wanted = 4
    rows_wanted = 4

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        ones, matrices, rows = self.scratch(work)
        mean, scaled, by_g, by_x = matrices
        gammas, total, dot, part = rows
        *given, gamma = inputs
        share = 1 / (given[1].size // given[2].size)
        for g, x, of_mean, r, target in zip(*given, out, strict=True):
            np.copyto(mean, by_channel(part, of_mean))
            np.copyto(by_g, gamma.reshape(-1))
            total.fill(0)
            dot.fill(0)
            for of_g, of_x in each_block(len(ones), g, x):
                count = len(of_g)
                np.multiply(of_g, by_g[:count], out=scaled[:count])
                add_columns(total, ones, scaled[:count], part)
                np.subtract(of_x, mean[:count], out=by_x[:count])
                np.multiply(by_x[:count], scaled[:count], out=by_x[:count])
                add_columns(dot, ones, by_x[:count], part)
            deviation = by_channel(gammas, r)
            _group_means(total, r.size, share)
            _group_means(dot, r.size, share)
            np.multiply(total, deviation, out=total)  # r m(γ g)
            for _ in range(3):
                np.multiply(dot, deviation, out=dot)  # r³ m(γ g (x − μ))
            np.multiply(deviation, gamma.reshape(-1), out=part)
            np.copyto(by_g, part)
            np.copyto(by_x, dot)
            for of_g, of_x, into in each_block(len(ones), g, x, target):
                count = len(of_g)
                np.subtract(of_x, mean[:count], out=scaled[:count])
                np.multiply(scaled[:count], by_x[:count], out=scaled[:count])
                np.multiply(of_g, by_g[:count], out=into)
                np.subtract(into, scaled[:count], out=into)
                np.copyto(scaled[:count], total)
                np.subtract(into, scaled[:count], out=into)


def _group_means(values: Array, groups: int, share: float) -> None:
    """Replace the value of each channel by the sum over its group, times ``share``."""
    by_group = values.reshape(groups, -1)
    if by_group.shape[1] > 1:
        for row in by_group:
            row.fill(np.add.reduce(row))
    np.multiply(values, share, out=values)


@dataclass(frozen=True)
class ChannelGammaGrad(GammaGrad, Channels):
    """Σ g ⊙ x̂ over all parts and pixels."""

    name = "channel_norm_gamma_grad"
    glyph = "Σ"
    gradient = ChannelInputGrad
    blocks_wanted = 2
    rows_wanted = 2

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        ones, (product_of, mean), (total, part) = self.scratch(work)
        found = out.reshape(-1)
        found.fill(0)
        for g, x, of_mean, r in zip(*inputs, strict=True):
            np.copyto(mean, by_channel(part, of_mean))
            total.fill(0)
            for of_g, of_x in each_block(len(ones), g, x):
                target = product_of[: len(of_g)]
                np.subtract(of_x, mean[: len(of_g)], out=target)
                np.multiply(target, of_g, out=target)
                add_columns(total, ones, target, part)
            np.multiply(total, by_channel(part, r), out=total)
            np.add(found, total, out=found)


@dataclass(frozen=True)
class ChannelNormalise(Normalise, Channels):
    """γ x̂ + β for means over pixels and the channels of a group."""

    name = "channel_norm"
    glyph = "norm"
    reuses = (0,)
    gradient = ChannelInputGrad
    gamma_gradient = ChannelGammaGrad
    blocks_wanted = 3
    rows_wanted = 1

    def kernel(self, out: Array, *inputs: Array, work: Sequence[Array]) -> None:
        x, means, deviations, gamma, beta = inputs
        ones, (mean, factor, shift), (row,) = self.scratch(work)
        np.copyto(shift, beta.reshape(-1))
        for image, of_mean, r, target in zip(x, means, deviations, out, strict=True):
            np.copyto(mean, by_channel(row, of_mean))
            np.multiply(by_channel(row, r), gamma.reshape(-1), out=row)
            np.copyto(factor, row)
            for block, into in each_block(len(ones), image, target):
                count = len(block)
                np.subtract(block, mean[:count], out=into)
                np.multiply(into, factor[:count], out=into)
                np.add(into, shift[:count], out=into)
