"""Larger kernels, which hold several copies of the kernels of a convolution and zeros.

BLAS and the copy of unfolded images are slow for few channels. There, neighbouring columns of the results, or
neighbouring groups, share one product: a convolution with a larger kernel, whose other places are zero.

    columns: results of 2 columns and a kernel (a b c)     →  one window of 4 columns and (a b c 0), (0 a b c)
    groups:  2 groups of a channel and kernels (a), (b)    →  one group of 2 channels and (a 0), (0 b)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.graph.ops.conv_way import in_order
from memtrain.graph.ops.window import Window

_LEAST_CHANNELS = 16
"""Groups with fewer channels are merged until they have as many."""

_COPY_NS, _RUN_NS, _PRODUCT_NS, _LANES = 0.25, 8.0, 0.02, 16
"""Measured on one core: the time to unfold an element and to begin a run of them, and the time of a
multiplication in a product, which computes 16 results at a time."""

_WORTHWHILE = 0.8
"""Columns share a product if it takes at most this part of the time."""


@dataclass(frozen=True)
class Spread:
    """A convolution with larger kernels: of neighbouring ``columns`` or ``merged`` groups, or neither.

    ``groups``, ``outputs`` and ``inputs`` (of a group) and ``window`` are those of the larger kernels, and
    ``left`` is the column of the larger window at which the first copy begins. If all columns share one
    product, the larger window has no columns of padding, and copies are cut at its sides.
    """

    given: Window
    window: Window
    groups: int
    outputs: int
    inputs: int
    columns: int = 1
    merged: int = 1
    left: int = 0

    @classmethod
    def of(cls, window: Window, groups: int, images: Sequence[int], outputs: int, inputs: int) -> Spread:
        """What is fastest for images of this shape, and groups of ``outputs`` and ``inputs``."""
        if groups > 1:
            return cls.of_groups(window, groups, outputs, inputs)
        across = int(window.positions(images[1], images[2])[1])
        columns, width = _best_columns(window, int(images[2]), across, outputs, inputs), int(images[2])
        if columns == 1:
            return cls(window, window, 1, outputs, inputs)
        (down, padding), stride = window.padding, (window.stride[0], columns * window.stride[1])
        whole = columns == across
        larger = Window(
            (window.size[0], _reach(window, width, across, columns)),
            stride,
            (down, 0 if whole else padding),
            (window.dilation[0], 1),
        )
        return cls(window, larger, 1, columns * outputs, inputs, columns, left=-padding if whole else 0)

    @classmethod
    def of_groups(cls, window: Window, groups: int, outputs: int, inputs: int) -> Spread:
        """Merged groups, if they have few channels."""
        enough = -(-_LEAST_CHANNELS // max(outputs, inputs))
        merged = next(count for count in _divisors(groups) if count >= min(enough, groups))
        return cls(window, window, groups // merged, merged * outputs, merged * inputs, merged=merged)

    @property
    def is_same(self) -> bool:
        """Whether the larger kernels are the given ones."""
        return self.columns == self.merged == 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the larger kernels: (groups, outputs, rows, columns, inputs)."""
        return (self.groups, self.outputs, *self.window.size, self.inputs)

    @property
    def group_size(self) -> int:
        """The elements of the larger kernel of a group."""
        return int(np.prod(self.shape[1:]))

    def fill(self, larger: Array, kernels: Array) -> Array:
        """Copy kernels (groups, outputs, rows, columns, inputs) to ``larger``, and give it its shape."""
        if not self.is_same:
            larger.fill(0)
        for copy, given in self._copies(larger, kernels):
            np.copyto(copy, given)
        return larger.reshape(self.shape)

    def collect(self, kernels: Array, larger: Array, work: Array) -> None:
        """Sum the copies in ``larger``, a gradient, into ``kernels``. ``work`` is twice as large as those.

        Both summands are copied, since numpy would add values that are not contiguous in buffers of its own.
        """
        if self.columns == 1:
            for copy, given in self._copies(larger, kernels):
                np.copyto(given, copy)
            return
        kernels.fill(0)
        for copy, given in self._copies(larger, kernels):
            total = in_order(given, work)
            np.add(total, in_order(copy, work[kernels.size :]), out=total)
            np.copyto(given, total)

    def _copies(self, larger: Array, kernels: Array) -> Iterator[tuple[Array, Array]]:
        """Each copy in ``larger``, and the kernels of which it is a copy, as views of one shape."""
        _, outputs, height, width, inputs = kernels.shape
        if self.columns == 1:
            of_group = (self.merged, outputs, height, width)
            by_group = kernels.reshape(self.groups, *of_group, inputs)
            for number, copies in enumerate(
                np.moveaxis(larger.reshape(self.groups, *of_group, self.merged, inputs), 5, 0)
            ):
                yield copies[:, number], by_group[:, number]
            return
        stride, step = self.given.stride[1], self.given.dilation[1]
        for column, copy in enumerate(larger.reshape(self.columns, outputs, *self.window.size, inputs)):
            start = self.left + column * stride
            first = max(0, -(start // step))
            last = min(width, (self.window.size[1] - 1 - start) // step + 1)
            if first < last:
                at = slice(start + first * step, start + (last - 1) * step + 1, step)
                yield copy[:, :, at], kernels[0][:, :, first:last]


def _reach(window: Window, width: int, across: int, columns: int) -> int:
    """The columns of pixels under neighbouring ``columns`` of results, of ``across``."""
    return width if columns == across else (columns - 1) * window.stride[1] + window.reach[1]


def _best_columns(window: Window, width: int, across: int, outputs: int, inputs: int) -> int:
    """The number of columns that share a product in the shortest time for each column."""

    def time_ns(columns: int) -> float:
        run = _reach(window, width, across, columns) * inputs
        lanes = -(-columns * outputs // _LANES) * _LANES
        return (_RUN_NS + run * (_COPY_NS + lanes * _PRODUCT_NS)) / columns

    if across == 1:
        return 1
    best = min(_divisors(across), key=time_ns)
    return best if time_ns(best) < _WORTHWHILE * time_ns(1) else 1


def _divisors(number: int) -> Iterator[int]:
    """The numbers that divide ``number``, in order."""
    return (found for found in range(1, number + 1) if number % found == 0)
