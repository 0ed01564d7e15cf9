"""Convolutions as products of unfolded images with the kernels: the usual way, for any layer.

A block of the images is unfolded into the workspace: a row for each position of the window, with the pixels
under it. The gradient of images for stride 1 is a convolution as well, with turned kernels.
"""

from __future__ import annotations

import numpy as np

from memtrain.graph.node import Shape
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.conv_places import ByPlace
from memtrain.graph.ops.conv_spread import Spread
from memtrain.graph.ops.conv_way import Layer, Sizes, Way, Work, in_order, rows_of, turned
from memtrain.graph.ops.window import Unfolding, Window
from memtrain.graph.size import product


class Unfolded(Way):
    """Products of unfolded images with the kernels."""

    @staticmethod
    def fits(layer: Layer) -> bool:
        """Any layer can be computed in this way."""
        return True

    def results_work(self) -> Sizes:
        layer = self._layer
        products = _Products(layer.window, layer.groups, layer.images, layer.outputs, layer.inputs)
        return products.work(kernels_copied=False)

    def results(self, out: Array, images: Array, kernels: Array, work: Work) -> None:
        layer = self._layer
        products = _Products(layer.window, layer.groups, images.shape, layer.outputs, layer.inputs)
        products.compute(out, images, layer.by_group(kernels), work)

    def images_work(self) -> Sizes:
        layer = self._layer
        if layer.opposite is None:
            return ByPlace(layer).images_work()
        products = _Products(layer.opposite, layer.groups, layer.results, layer.inputs, layer.outputs)
        return products.work(kernels_copied=True)

    def images_gradient(self, out: Array, g: Array, kernels: Array, work: Work) -> None:
        layer = self._layer
        if layer.opposite is None:
            ByPlace(layer).images_gradient(out, g, kernels, work)
            return
        products = _Products(layer.opposite, layer.groups, g.shape, layer.inputs, layer.outputs)
        products.compute(out, g, turned(layer.by_group(kernels)), work)

    def kernels_work(self) -> Sizes:
        layer = self._layer
        products = _Products(layer.window, layer.groups, layer.images, layer.outputs, layer.inputs)
        return products.gradient_work()

    def kernels_gradient(self, out: Array, g: Array, images: Array, work: Work) -> None:
        layer = self._layer
        products = _Products(layer.window, layer.groups, images.shape, layer.outputs, layer.inputs)
        products.gradient(layer.by_group(out), g, images, work)


class _Products:
    """The products of unfolded images with kernels, spread where this is faster."""

    def __init__(self, window: Window, groups: int, images: Shape, outputs: int, inputs: int) -> None:
        self._spread = Spread.of(window, groups, images, outputs, inputs)
        self._unfolding = Unfolding(self._spread.window, images, self._spread.inputs)
        self._kernel_size = groups * outputs * window.place_count * inputs

    @property
    def _larger_size(self) -> int:
        return self._spread.groups * self._spread.group_size

    @property
    def _product_size(self) -> int:
        """The elements of the product of a block. BLAS reads and writes contiguous memory."""
        return product((self._unfolding.row_count, self._spread.outputs)) if self._spread.groups > 1 else 0

    def work(self, *, kernels_copied: bool) -> Sizes:
        """The workspace of `compute`. Kernels that do not lie in row order are copied."""
        larger = self._larger_size if kernels_copied or not self._spread.is_same else 0
        return (*self._unfolding.sizes, larger, self._product_size)

    def compute(self, out: Array, x: Array, kernels: Array, work: Work) -> None:
        """Compute the convolution of ``x`` with kernels (groups, outputs, rows, columns, inputs)."""
        padded, unfolded, larger, product_of_group = work
        if larger.size:
            kernels = self._spread.fill(larger, kernels)
        for group, of_group in enumerate(kernels):
            matrix = of_group.reshape(len(of_group), -1).T
            images, results = self._of_group(group, x, out)
            for part, rows, patches in self._unfolding.each_matrix(images, padded, unfolded):
                target = results[part, rows]
                if not product_of_group.size:
                    np.dot(patches, matrix, out=rows_of(target))
                    continue
                found = product_of_group[: target.size].reshape(target.shape)
                np.dot(patches, matrix, out=rows_of(found))
                np.copyto(target, found)

    def _of_group(self, group: int, x: Array, results: Array) -> tuple[Array, Array]:
        """The images and results of a group, with a row of results for each row of a product."""
        spread = self._spread
        n, height, width, _ = results.shape
        by_product = results.reshape(n, height, width // spread.columns, -1)
        inputs = slice(group * spread.inputs, (group + 1) * spread.inputs)
        return x[..., inputs], by_product[..., group * spread.outputs : (group + 1) * spread.outputs]

    def gradient_work(self) -> Sizes:
        """The workspace of `gradient`."""
        spread, unfolding = self._spread, self._unfolding
        part = 0 if unfolding.is_one_block else spread.group_size
        larger, copies = (0, 0) if spread.is_same else (self._larger_size, 2 * self._kernel_size)
        return (*unfolding.sizes, part, larger, copies, self._product_size)

    def gradient(self, out: Array, g: Array, x: Array, work: Work) -> None:
        """Compute the gradient of kernels (groups, outputs, rows, columns, inputs) from that of results."""
        padded, unfolded, part_of_sum, larger, copies, of_group = work
        spread = self._spread
        gradients = larger.reshape(spread.shape) if larger.size else out
        for group, gradient in enumerate(gradients):
            total = gradient.reshape(len(gradient), -1)
            images, results = self._of_group(group, x, g)
            found = total
            for part, rows, patches in self._unfolding.each_matrix(images, padded, unfolded):
                given = results[part, rows]
                if of_group.size:
                    given = in_order(given, of_group)
                np.dot(rows_of(given).T, patches, out=found)
                if found is not total:
                    np.add(total, found, out=total)
                elif part_of_sum.size:
                    found = part_of_sum.reshape(total.shape)
        if larger.size:
            spread.collect(out, larger, copies)
