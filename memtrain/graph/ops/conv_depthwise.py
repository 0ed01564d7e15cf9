"""Convolutions in which each channel has its own kernel.

A product of matrices would be one of vectors here. ``np.einsum`` multiplies and adds channel by channel over
a view of the windows. It copies nothing and has no buffers of its own. Its inner loop is over channels, so
some neighbouring columns stand for more channels where the stride allows it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from memtrain.graph.ops.base import Array
from memtrain.graph.ops.conv_way import Layer, Sizes, Way, Work, turned
from memtrain.graph.ops.pool_base import add_to, block_size, each_block
from memtrain.graph.ops.window import Blocks, Moving, Window
from memtrain.graph.size import product

_LEAST_CHANNELS = 16
"""With fewer channels the inner loop of einsum is too short, and products of merged groups are faster."""

_INNER = 1024
"""Neighbouring columns stand for channels up to about this length of the inner loop. It was measured."""


class Depthwise(Way):
    """Multiplications and additions of channels."""

    @staticmethod
    def fits(layer: Layer) -> bool:
        """Whether each channel has its own kernel, and there are enough of them."""
        return layer.inputs == layer.outputs == 1 and layer.groups >= _LEAST_CHANNELS

    def _moving(self, window: Window, shape: Sequence[int]) -> Moving:
        """The window over images of ``shape``, in blocks whose padded pixels are bounded."""
        width = int(shape[2]) + 2 * window.padding[1]
        return Moving(window, shape, shape[3], width * int(shape[3]) * window.stride[0])

    @property
    def _kernel_size(self) -> int:
        return product(self._layer.kernels)

    def _by_place(self, kernels: Array, work: Array) -> Array:
        """Kernels (channels, 1, rows, columns, 1) as an array (rows, columns, repetitions, channels)."""
        copy = work.reshape(*self._layer.window.size, -1, len(kernels))
        np.copyto(copy, kernels[:, 0, :, :, 0].transpose(1, 2, 0)[:, :, None])
        return copy

    def results_work(self) -> Sizes:
        return self._convolution_work(self._layer.window, self._layer.images)

    def results(self, out: Array, images: Array, kernels: Array, work: Work) -> None:
        self._convolve(self._layer.window, out, images, self._layer.by_group(kernels), work)

    def _convolution_work(self, window: Window, shape: Sequence[int]) -> Sizes:
        moving = self._moving(window, shape)
        return moving.padded_size, product((_joined(window, moving, shape[3]), self._kernel_size))

    def _convolve(self, window: Window, out: Array, x: Array, kernels: Array, work: Work) -> None:
        moving, channels = self._moving(window, x.shape), x.shape[3]
        columns = _joined(window, moving, channels)
        factors = self._by_place(kernels, work[1]).reshape(*window.size, -1)
        for images, rows, windows in moving.each(x, work[0]):
            target = out[images, rows]
            n, down, across, _ = target.shape
            joined = windows[:, :, ::columns]
            joined = as_strided(joined, (*joined.shape[:5], columns * channels), joined.strides)
            by_column = target.reshape(n, down, across // columns, -1)
            np.einsum("nhwijc,ijc->nhwc", joined, factors, out=by_column)

    def images_work(self) -> Sizes:
        layer = self._layer
        if layer.opposite is not None:
            return self._convolution_work(layer.opposite, layer.results)
        each = product((block_size(self._blocks, layer.results[:3]), layer.results[3]))
        return each, self._kernel_size, each

    @property
    def _blocks(self) -> Blocks:
        _, height, width, channels = map(int, self._layer.results)
        return Blocks.of((height, width), width * channels)

    def images_gradient(self, out: Array, g: Array, kernels: Array, work: Work) -> None:
        layer = self._layer
        if layer.opposite is not None:
            self._convolve(layer.opposite, out, g, turned(layer.by_group(kernels)), work)
            return
        out.fill(0)
        factors = self._by_place(layer.by_group(kernels), work[1])[:, :, 0]
        for block, places in each_block(layer.window, self._blocks, g.shape, out.shape):
            given = g[block]
            found, total = (work[i][: given.size].reshape(given.shape) for i in (0, 2))
            for place in places:
                factor = factors[divmod(place.number, layer.window.size[1])]
                np.einsum("nhwc,c->nhwc", given, factor, out=found)
                add_to(out, place, found, total)

    def kernels_work(self) -> Sizes:
        moving = self._moving(self._layer.window, self._layer.images)
        return moving.padded_size, self._kernel_size, 0 if moving.is_one_block else self._kernel_size

    def kernels_gradient(self, out: Array, g: Array, images: Array, work: Work) -> None:
        shape = (*self._layer.window.size, len(out))
        total, moving = work[1].reshape(shape), self._moving(self._layer.window, images.shape)
        found = total
        for part, rows, windows in moving.each(images, work[0]):
            np.einsum("nhwijc,nhwc->ijc", windows, g[part, rows], out=found)
            if found is total:
                found = work[2].reshape(shape) if work[2].size else total
            else:
                np.add(total, found, out=total)
        np.copyto(out[..., 0], total.transpose(2, 0, 1))


def _joined(window: Window, moving: Moving, channels: int) -> int:
    """The number of neighbouring columns that stand for more channels: a part of the columns."""
    across = moving.positions[1]
    most = max(1, _INNER // int(channels)) if window.stride[1] == 1 else 1
    return max(count for count in range(1, min(most, across) + 1) if across % count == 0)
