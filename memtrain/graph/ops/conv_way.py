"""What the ways to compute a convolution have in common. Each way has a module of its own.

A way has three tasks: the results of a layer, the gradient of its images, and the gradient of its kernels.
For each it says what workspace it needs, as numbers of elements.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memtrain.graph.node import Shape
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.window import Window, whole_product

Sizes = Sequence[int]
Work = Sequence[Array]


class Layer(NamedTuple):
    """The window and groups of a convolution, and the shapes of its images, kernels and results."""

    window: Window
    groups: int
    images: Shape
    kernels: Shape
    results: Shape

    @property
    def inputs(self) -> int:
        """The channels of the images in a group."""
        return int(self.kernels[3])

    @property
    def outputs(self) -> int:
        """The channels of the results in a group."""
        return int(self.kernels[0]) // self.groups

    def by_group(self, kernels: Array) -> Array:
        """The kernels as an array (groups, outputs, rows, columns, inputs)."""
        return kernels.reshape(self.groups, self.outputs, *kernels.shape[1:])

    @property
    def opposite(self) -> Window | None:
        """The window with which the gradient of the images is a convolution with turned kernels.

        ``None`` if there is none: the stride must be 1, and the padding less than the reach of the window.
        """
        window = self.window
        (down, across), (height, width) = window.padding, window.reach
        if window.stride != (1, 1) or down >= height or across >= width:
            return None
        return Window(window.size, (1, 1), (height - 1 - down, width - 1 - across), window.dilation)


class Way(ABC):
    """A way to compute the three tasks of a layer."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    @staticmethod
    @abstractmethod
    def fits(layer: Layer) -> bool:
        """Whether this is the way for the layer."""

    @abstractmethod
    def results_work(self) -> Sizes:
        """The workspace of `results`."""

    @abstractmethod
    def results(self, out: Array, images: Array, kernels: Array, work: Work) -> None:
        """Compute the results of the layer."""

    @abstractmethod
    def images_work(self) -> Sizes:
        """The workspace of `images_gradient`."""

    @abstractmethod
    def images_gradient(self, out: Array, g: Array, kernels: Array, work: Work) -> None:
        """Compute the gradient of the images from that of the results, ``g``."""

    @abstractmethod
    def kernels_work(self) -> Sizes:
        """The workspace of `kernels_gradient`."""

    @abstractmethod
    def kernels_gradient(self, out: Array, g: Array, images: Array, work: Work) -> None:
        """Compute the gradient of the kernels from that of the results, ``g``."""


class OneProduct(Way):
    """One product of matrices: 1×1 kernels at every pixel, in one group."""

    @staticmethod
    def fits(layer: Layer) -> bool:
        """Whether the layer is one product."""
        return layer.groups == 1 and whole_product(layer.window)

    def results_work(self) -> Sizes:
        return ()

    images_work = kernels_work = results_work

    def results(self, out: Array, images: Array, kernels: Array, work: Work) -> None:
        np.dot(rows_of(images), kernels.reshape(len(kernels), -1).T, out=rows_of(out))

    def images_gradient(self, out: Array, g: Array, kernels: Array, work: Work) -> None:
        np.dot(rows_of(g), kernels.reshape(len(kernels), -1), out=rows_of(out))

    def kernels_gradient(self, out: Array, g: Array, images: Array, work: Work) -> None:
        np.dot(rows_of(g).T, rows_of(images), out=out.reshape(len(out), -1))


def turned(kernels: Array) -> Array:
    """A view of kernels (groups, outputs, rows, columns, inputs) turned by 180°, with inputs first."""
    return kernels[:, :, ::-1, ::-1].transpose(0, 4, 2, 3, 1)


def in_order(value: Array, work: Array) -> Array:
    """A copy of ``value`` in ``work``, with its bytes in row order."""
    copy = work[: value.size].reshape(value.shape)
    np.copyto(copy, value)
    return copy


def rows_of(x: Array) -> Array:
    """Images as a matrix (pixels, channels)."""
    return x.reshape(-1, x.shape[-1])
