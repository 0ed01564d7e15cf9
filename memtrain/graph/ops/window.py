"""Windows that move over images, and the copy of their values into rows of a matrix (unfolding).

Images are (n, rows, columns, channels). Unfolding copies some images, or some rows of one image, at a time.
So the workspace is about 1 MiB instead of kernel-size times the images (Chellapilla et al. 2006 unfold all).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from memtrain.errors import GraphError
from memtrain.graph.node import Node
from memtrain.graph.ops.base import Array
from memtrain.graph.size import least, part

Pair = tuple[int, int]

UNFOLDED = 2**18
"""The most elements that are unfolded at a time, unless a single row of windows has more."""


@dataclass(frozen=True)
class Window:
    """The size of a window and how it moves: by ``stride``, over images with ``padding`` zeros around them.

    ``dilation`` is the distance of neighbouring places in the window. Each pair is (rows, columns).
    """

    size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @property
    def place_count(self) -> int:
        """The number of places in the window."""
        return self.size[0] * self.size[1]

    @property
    def reach(self) -> Pair:
        """The rows and columns that the window spans."""
        (height, width), (down, across) = self.size, self.dilation
        return (height - 1) * down + 1, (width - 1) * across + 1

    def positions(self, height: int, width: int) -> Pair:
        """The rows and columns of positions over an image; a number below 1 if the window is too large."""
        down, across = (
            _positions(size, reach, stride, padding)
            for size, reach, stride, padding in zip(
                (height, width), self.reach, self.stride, self.padding, strict=True
            )
        )
        return down, across

    def places(self) -> Iterator[tuple[int, int, int]]:
        """Each place of the window: its number, its row and its column, row by row."""
        for number in range(self.place_count):
            row, column = divmod(number, self.size[1])
            yield number, row, column

    def overlap(self, axis: int, place: int, size: int, count: int) -> tuple[slice, slice]:
        """The positions whose ``place`` lies inside of the image, and the pixels at which it lies there.

        ``axis`` is 0 for rows and 1 for columns; ``size`` and ``count`` are the pixels and positions of it.
        """
        stride = self.stride[axis]
        first = place * self.dilation[axis] - self.padding[axis]
        start = max(0, -(first // stride))
        stop = min(count, (size - 1 - first) // stride + 1)
        if stop <= start:
            return slice(0, 0), slice(0, 0)
        return slice(start, stop), slice(first + start * stride, first + (stop - 1) * stride + 1, stride)


def _positions(size: int, reach: int, stride: int, padding: int) -> int:
    count = (size + 2 * padding - reach) // stride + 1
    if count == size:
        return size
    return part(size, int(size) // count) if count > 0 and int(size) % count == 0 else int(count)


def as_pair(value: int | Pair) -> Pair:
    """A number as (number, number)."""
    return (value, value) if isinstance(value, int) else value


def check_images(name: str, window: Window, x: Node) -> Pair:
    """The positions of ``window`` over the images ``x``. Raises ``GraphError`` if they are none."""
    if len(x.shape) != 4 or x.dtype.kind != "f":
        raise GraphError(f"{name} needs images (n, rows, columns, channels), not {x}")
    if min(*window.size, *window.stride, *window.dilation) < 1 or min(window.padding) < 0:
        raise GraphError(f"{name} needs a size, stride and dilation ≥ 1 and a padding ≥ 0, not {window}")
    found = window.positions(x.shape[1], x.shape[2])
    if min(found) < 1:
        raise GraphError(f"{name}: a window of {window.reach} with padding {window.padding} does not fit {x}")
    return found


class Blocks(NamedTuple):
    """The part of a batch that is worked on at a time: several whole images, or some rows of one image."""

    images: int
    rows: int

    @classmethod
    def of(cls, positions: Pair, row_size: int) -> Blocks:
        """Blocks of images, of which a row of positions unfolds to ``row_size`` elements."""
        whole = int(positions[0]) * row_size
        if whole <= UNFOLDED:
            return cls(UNFOLDED // whole, int(positions[0]))
        most = max(1, UNFOLDED // row_size)
        block_count = -(-int(positions[0]) // most)
        return cls(1, -(-int(positions[0]) // block_count))  # blocks of about equal size

    def hold(self, positions: Sequence[int]) -> bool:
        """Whether all ``positions`` (n, rows, …) are one block."""
        return self.images >= positions[0] and self.rows >= positions[1]

    def parts(self, count: int, rows: int) -> Iterator[tuple[slice, slice]]:
        """The images and rows of each block."""
        for image in range(0, count, self.images):
            images = slice(image, min(image + self.images, count))
            for row in range(0, rows, self.rows):
                yield images, slice(row, min(row + self.rows, rows))


class Moving:
    """A window moving over images of a shape: its blocks, and a view of the windows over each block."""

    def __init__(self, window: Window, shape: Sequence[int], channels: int, row_size: int) -> None:
        """``shape`` is that of the images, of which ``channels`` neighbouring ones are read at a time.

        A block has about ``UNFOLDED`` elements, where a row of positions counts for ``row_size``.
        """
        self._window, self._channels = window, int(channels)
        self._count, self._height, self._width = shape[0], int(shape[1]), int(shape[2])
        down, across = window.positions(shape[1], shape[2])
        self.positions = int(down), int(across)
        self.blocks = Blocks.of(self.positions, row_size)

    @property
    def padded_size(self) -> int:
        """The most elements of the padded part of the images; 0 without padding."""
        if self._window.padding == (0, 0):
            return 0
        return self.bounded(self._span(self.blocks.rows) * self._padded_width * self._channels)

    @property
    def is_one_block(self) -> bool:
        """Whether all images are one block."""
        return self.blocks.hold((self._count, *self.positions))

    def bounded(self, of_image: int) -> int:
        """``of_image`` elements for each image of a block. A batch may be smaller than a block."""
        if self.blocks.images == 1:
            return of_image
        return least(self.blocks.images * of_image, (self._count, of_image))

    def each(self, x: Array, padded: Array) -> Iterator[tuple[slice, slice, Array]]:
        """The images and rows of each block, and its windows (images, rows, columns, *size, channels).

        ``x`` has the channels that are read. ``padded`` is overwritten by the next block.
        """
        padded.fill(0)
        for images, rows in self.blocks.parts(len(x), self.positions[0]):
            source = self._source(x[images], rows, padded)
            image, row, column, channel = source.strides
            (down, across), (far_down, far_across) = self._window.stride, self._window.dilation
            shape = (len(source), rows.stop - rows.start, self.positions[1], *self._window.size)
            strides = (image, down * row, across * column, far_down * row, far_across * column)
            yield images, rows, as_strided(source, (*shape, self._channels), (*strides, channel))

    @property
    def _padded_width(self) -> int:
        return self._width + 2 * self._window.padding[1]

    def _span(self, rows: int) -> int:
        """The rows of pixels that ``rows`` rows of positions span."""
        return (rows - 1) * self._window.stride[0] + self._window.reach[0]

    def _source(self, x: Array, rows: slice, padded: Array) -> Array:
        """The pixels under ``rows`` of positions, with their padding, whose columns are 0 already."""
        first, span = rows.start * self._window.stride[0], self._span(rows.stop - rows.start)
        (above, left), width = self._window.padding, self._width
        if not padded.size:
            return x[:, first : first + span]
        source = padded[: len(x) * span * self._padded_width * self._channels]
        source = source.reshape(len(x), span, self._padded_width, self._channels)
        start, stop = max(0, first - above), max(0, min(self._height, first - above + span))
        stop = max(start, stop)
        top = min(span, start - (first - above))
        bottom = top + stop - start
        if self.blocks.rows < self.positions[0]:  # the block before had pixels there
            source[:, :top].fill(0)
            source[:, bottom:].fill(0)
        np.copyto(source[:, top:bottom, left : left + width], x[:, start:stop])
        return source


class Unfolding(Moving):
    """The unfolding of images of a shape: its blocks, its workspace, and the copy of each block."""

    def __init__(self, window: Window, shape: Sequence[int], channels: int) -> None:
        """``shape`` is that of the images, of which ``channels`` neighbouring ones are unfolded at a time."""
        self.inner = window.place_count * int(channels)
        self._row_size = int(window.positions(shape[1], shape[2])[1]) * self.inner
        super().__init__(window, shape, channels, self._row_size)

    @property
    def sizes(self) -> tuple[int, int]:
        """Elements of the workspace: the padded part of the images, and the unfolded part."""
        return self.padded_size, self.bounded(self.blocks.rows * self._row_size)

    @property
    def row_count(self) -> int:
        """The most rows of the matrix of a block."""
        return self.bounded(self.blocks.rows * self.positions[1])

    def each_matrix(self, x: Array, padded: Array, unfolded: Array) -> Iterator[tuple[slice, slice, Array]]:
        """The images and rows of each block, and its matrix (positions, places · channels).

        ``x`` has the channels that are unfolded. The matrix is overwritten by the next block.
        """
        for images, rows, windows in self.each(x, padded):
            target = unfolded[: windows.size]
            np.copyto(target.reshape(windows.shape), windows)
            yield images, rows, target.reshape(-1, self.inner)


def whole_product(window: Window) -> bool:
    """Whether the convolution is one product of matrices: 1×1, at every pixel."""
    return window.size == (1, 1) and window.stride == (1, 1) and window.padding == (0, 0)
