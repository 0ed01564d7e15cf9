"""Convolutions in which each channel has its own kernel.

A product of matrices would be one of vectors here. ``np.einsum`` multiplies and adds channel by channel over
a view of the windows, without any copy of them, and without buffers of its own.
"""

from __future__ import annotations

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.graph.ops.conv_way import Layer, Sizes, Way, Work, turned
from memtrain.graph.ops.pool_base import add_to, block_size, each_block
from memtrain.graph.ops.window import Blocks, Moving, Window
from memtrain.graph.size import product

_LEAST_CHANNELS = 16
"""With fewer channels the inner loop of einsum is too short, and products of merged groups are faster."""


class Depthwise(Way):
    """Multiplications and additions of channels."""

    @staticmethod
    def fits(layer: Layer) -> bool:
        """Whether each channel has its own kernel, and there are enough of them."""
        return layer.inputs == layer.outputs == 1 and layer.groups >= _LEAST_CHANNELS

    def _moving(self, window: Window, shape: tuple[int, ...]) -> Moving:
        """The window over images of ``shape``, in blocks whose padded pixels are bounded."""
        width = int(shape[2]) + 2 * window.padding[1]
        return Moving(window, shape, shape[3], width * int(shape[3]) * window.stride[0])

    @property
    def _kernel_size(self) -> int:
        return product(self._layer.kernels)

    def _by_place(self, kernels: Array, work: Array) -> Array:
        """A copy of kernels (channels, 1, rows, columns, 1) as an array (rows, columns, channels)."""
        copy = work.reshape(*self._layer.window.size, len(kernels))
        np.copyto(copy, kernels[:, 0, :, :, 0].transpose(1, 2, 0))
        return copy

    def results_work(self) -> Sizes:
        return self._moving(self._layer.window, self._layer.images).padded_size, self._kernel_size

    def results(self, out: Array, images: Array, kernels: Array, work: Work) -> None:
        self._convolve(self._layer.window, out, images, self._layer.by_group(kernels), work)

    def _convolve(self, window: Window, out: Array, x: Array, kernels: Array, work: Work) -> None:
        factors = self._by_place(kernels, work[1])
        for images, rows, windows in self._moving(window, x.shape).each(x, work[0]):
            np.einsum("nhwijc,ijc->nhwc", windows, factors, out=out[images, rows])

    def images_work(self) -> Sizes:
        layer = self._layer
        if layer.opposite is not None:
            return self._moving(layer.opposite, layer.results).padded_size, self._kernel_size
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
        factors = self._by_place(layer.by_group(kernels), work[1])
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
