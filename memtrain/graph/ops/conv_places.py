"""Convolutions as one product for each place of the window, of all pixels at this place.

For many channels, BLAS reads the kernels about as long as it computes with them. So one product for each
place and many pixels is faster than a product for all places and few pixels. Gradients of images with another
stride than 1 are computed in this way for any number of channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.graph.ops.conv_spread import Spread
from memtrain.graph.ops.conv_way import Layer, Sizes, Way, Work, in_order, rows_of
from memtrain.graph.ops.pool_base import Block, add_to, block_size, each_block, gathered
from memtrain.graph.ops.window import Blocks
from memtrain.graph.size import product

_LEAST_CHANNELS = 128
"""From so many inputs and outputs on, a product for each place was measured to be faster than unfolding."""


class ByPlace(Way):
    """One product for each place of the window. Only gradients of images have several groups."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer)
        _, height, width, _ = map(int, layer.results)
        self._spread = Spread.of_groups(layer.window, layer.groups, layer.outputs, layer.inputs)
        self._blocks = Blocks.of((height, width), width * max(self._spread.inputs, self._spread.outputs))

    @staticmethod
    def fits(layer: Layer) -> bool:
        """Whether the layer has many channels in one group."""
        return layer.groups == 1 and min(layer.inputs, layer.outputs) >= _LEAST_CHANNELS

    def _block_of(self, channels: int) -> int:
        return product((block_size(self._blocks, self._layer.results[:3]), channels))

    def _each_block(self, g: Array, x: Array) -> Iterator[Block]:
        return each_block(self._layer.window, self._blocks, g.shape, x.shape)

    def results_work(self) -> Sizes:
        inputs, outputs = self._layer.inputs, self._layer.outputs
        return self._block_of(inputs), self._block_of(outputs), product((outputs, inputs))

    def results(self, out: Array, images: Array, kernels: Array, work: Work) -> None:
        factors = _by_place(kernels)
        for block, places in self._each_block(out, images):
            total = rows_of(out[block])
            pixels = work[0][: len(total) * images.shape[3]].reshape(*out[block].shape[:3], -1)
            found = total
            for place in places:
                factor = in_order(factors[place.number], work[2])
                np.dot(rows_of(gathered(pixels, images, place, 0)), factor.T, out=found)
                if found is total:
                    found = work[1][: total.size].reshape(total.shape)
                else:
                    np.add(total, found, out=total)
            if found is total:  # a block of padding only
                total.fill(0)

    def images_work(self) -> Sizes:
        spread, each = self._spread, self._block_of(self._spread.inputs)
        factor = product((spread.outputs, spread.inputs))
        if self._layer.groups == 1:
            return each, each, factor
        return each, each, factor, self._block_of(spread.outputs), product((spread.groups, spread.group_size))

    def images_gradient(self, out: Array, g: Array, kernels: Array, work: Work) -> None:
        layer, spread = self._layer, self._spread
        larger = layer.by_group(kernels)
        if layer.groups > 1:
            larger = spread.fill(work[4], larger)
        out.fill(0)
        for group, of_group in enumerate(larger):
            x = out[..., group * spread.inputs : (group + 1) * spread.inputs]
            given = g[..., group * spread.outputs : (group + 1) * spread.outputs]
            self._fold(x, given, _by_place(of_group), work)

    def _fold(self, x: Array, g: Array, factors: Array, work: Work) -> None:
        """Add the products of ``g`` with the kernels to the pixels under each window."""
        for block, places in self._each_block(g, x):
            given = g[block]
            if not given.flags.c_contiguous:  # BLAS reads contiguous memory
                given = in_order(given, work[3])
            shape = (*given.shape[:3], x.shape[3])
            found, total = (w[: given.size // given.shape[3] * x.shape[3]].reshape(shape) for w in work[:2])
            for place in places:
                factor = in_order(factors[place.number], work[2])
                np.dot(rows_of(given), factor, out=rows_of(found))
                add_to(x, place, found, total)

    def kernels_work(self) -> Sizes:
        inputs, outputs = self._layer.inputs, self._layer.outputs
        each = product((outputs, inputs))
        return self._block_of(inputs), each, 0 if self._blocks.hold(self._layer.results) else each

    def kernels_gradient(self, out: Array, g: Array, images: Array, work: Work) -> None:
        blocks = list(self._each_block(g, images))
        total, part = work[1].reshape(len(out), -1), work[2]
        for number, gradient in enumerate(_by_place(out)):
            found = [(block, place) for block, places in blocks for place in places if place.number == number]
            if not found:  # the place lies in the padding everywhere
                total.fill(0)
            for position, (block, place) in enumerate(found):
                given = rows_of(g[block])
                pixels = work[0][: len(given) * images.shape[3]].reshape(*g[block].shape[:3], -1)
                rows = rows_of(gathered(pixels, images, place, 0))
                if position == 0:
                    np.dot(given.T, rows, out=total)
                else:
                    np.dot(given.T, rows, out=part.reshape(total.shape))
                    np.add(total, part.reshape(total.shape), out=total)
            np.copyto(gradient, total)


def _by_place(kernels: Array) -> Array:
    """A view of kernels (outputs, rows, columns, inputs) as (places, outputs, inputs)."""
    return kernels.reshape(len(kernels), -1, kernels.shape[3]).transpose(1, 0, 2)
