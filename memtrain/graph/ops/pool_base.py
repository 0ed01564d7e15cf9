"""The base of pools: ops that relate the pixels of images to the results of a window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from memtrain.errors import GraphError
from memtrain.graph.node import DType, Node, Shape
from memtrain.graph.ops.base import Array, Op
from memtrain.graph.ops.window import Blocks, Window, check_images
from memtrain.graph.size import least, product

if TYPE_CHECKING:
    from memtrain.graph.ops.notation import Writer


_ARRAYS = 4
"""The arrays of a block that a pool works with at a time, so that together they are as large as a block."""


class Place(NamedTuple):
    """A place of the window: its number, and the results and pixels of a block that it relates."""

    number: int
    results: tuple[slice, ...]
    pixels: tuple[slice, ...]
    whole: bool
    """Whether the place lies inside of the images for all results of the block."""


Block = tuple[tuple[slice, slice], list[Place]]
"""The images and rows of a block of results, and the places of the window over it."""


@dataclass(frozen=True)
class Pooling(Op):
    """The base of ops that relate the pixels of images to the results of a window."""

    window: Window

    def purpose(self, w: Writer, read: Node, node: Node, *inputs: Node) -> str:
        if read is inputs[0]:
            return super().purpose(w, read, node, *inputs)
        return f"needs {read.name} to find the largest value of each window"

    def pooled(self, x: Node) -> Shape:
        """The shape of the results for the images ``x``. Raises ``GraphError``."""
        check_images(self.name, self.window, x)
        half = tuple(size // 2 for size in self.window.reach)  # so that each window has a pixel
        if any(pad > most for pad, most in zip(self.window.padding, half, strict=True)):
            raise GraphError(f"{self.name} needs a padding of at most half the window, not {self.window}")
        return (x.shape[0], *check_images(self.name, self.window, x), x.shape[3])

    def check_index(self, x: Node, index: Node) -> None:
        """Raise ``GraphError`` unless ``index`` has an index for each window over the images ``x``."""
        if self.pooled(x) != index.shape or index.dtype != index_type(self.window):
            raise GraphError(f"{self.name} ({self.window}) does not fit {x} and {index}")

    def block_size(self, shape: Shape) -> int:
        """The most results of a block, for results of ``shape``."""
        return product((block_size(self._blocks(shape), shape[:3]), shape[3]))

    def _blocks(self, shape: Sequence[int]) -> Blocks:
        return Blocks.of((int(shape[1]), int(shape[2])), _ARRAYS * int(shape[2]) * int(shape[3]))

    def each_block(self, results: Sequence[int], pixels: Sequence[int]) -> Iterator[Block]:
        """The images and rows of each block of results, with the places of the window over it."""
        return each_block(self.window, self._blocks(results), results, pixels)

    @property
    def overlaps(self) -> bool:
        """Whether two windows can share a pixel."""
        return any(r > s for r, s in zip(self.window.reach, self.window.stride, strict=True))


def index_type(window: Window) -> DType:
    """The type of an index of a place of the window: one byte, if it has at most 256 places."""
    return np.min_scalar_type(window.place_count - 1)


def block_size(blocks: Blocks, shape: Sequence[int]) -> int:
    """The most positions of a block, for results of ``shape`` (n, rows, columns)."""
    count, rows, columns = shape
    if blocks.images == 1:
        return min(blocks.rows, int(rows)) * int(columns)
    whole = int(rows) * int(columns)
    return least(blocks.images * whole, (count, whole))


def each_block(
    window: Window, blocks: Blocks, results: Sequence[int], pixels: Sequence[int]
) -> Iterator[Block]:
    """The images and rows of each block of results, with the places of the window over it."""
    stride = window.stride[0]
    downs, acrosses = (
        [
            window.overlap(axis, place, pixels[1 + axis], results[1 + axis])
            for place in range(window.size[axis])
        ]
        for axis in (0, 1)
    )
    for images, rows in blocks.parts(results[0], results[1]):
        found = []
        for number, i, j in window.places():
            (down, pixels_down), (across, pixels_across) = downs[i], acrosses[j]
            start, stop = max(down.start, rows.start), min(down.stop, rows.stop)
            if stop <= start or across.stop <= across.start:
                continue
            first = pixels_down.start + (start - down.start) * stride
            last = first + (stop - 1 - start) * stride
            at = (slice(None), slice(start - rows.start, stop - rows.start), across)
            inside = stop - start == rows.stop - rows.start and across.stop - across.start == results[2]
            under = (images, slice(first, last + 1, stride), pixels_across)
            found.append(Place(number, at, under, inside))
        yield (images, rows), found


def gathered(target: Array, images: Array, place: Place, filler: float) -> Array:
    """The pixels of a place for each result, in ``target``; ``filler`` for places outside of the images.

    Arithmetic on these contiguous values needs no buffer, unlike arithmetic on every second pixel.
    """
    if not place.whole:
        target.fill(filler)
    np.copyto(target[place.results], images[place.pixels])
    return target


def add_to(images: Array, place: Place, values: Array, work: Array) -> None:
    """Add ``values``, one for each result, to the pixels of a place."""
    total = gathered(work, images, place, 0)
    np.add(total, values, out=total)
    np.copyto(images[place.pixels], total[place.results])
