"""Examples with their labels: data sets, parts of them, and batches that are drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, Protocol

import numpy as np

from memtrain.graph.node import Shape
from memtrain.graph.ops.base import Array
from memtrain.models.network import Feed, FeedKind


@dataclass(frozen=True)
class Dataset:
    """Examples ``x`` and their int64 labels ``y`` of 0…output_size − 1.

    Features are (examples, input_size) with labels (examples,); tokens are (examples, sequence) with a label
    for each.
    """

    x: Array
    y: Array
    output_size: int
    note: str = ""
    """A sentence on how the first line of the file was understood; empty if it was clear."""

    @property
    def input_size(self) -> int:
        """The number of values of an example."""
        return int(self.x.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of the examples and labels."""
        return self.x.nbytes + self.y.nbytes

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Array) -> Dataset:
        """A copy of the examples with the numbers ``rows``."""
        return Dataset(self.x[rows], self.y[rows], self.output_size)

    def fed(self, feeds: Sequence[Feed]) -> dict[str, Array]:
        """The values of each feed, by its name, with all examples as one batch."""
        return fed(self.x, feeds, self.y)


class Takeable(Protocol):
    """Examples that `Part` takes by their numbers."""

    @property
    def nbytes(self) -> int:
        """Bytes of the data."""

    def take(self, rows: Array) -> Dataset:
        """A copy of the examples with the numbers ``rows``."""


@dataclass(frozen=True)
class Part:
    """Some examples of a data set, given by their row numbers. Only `take` copies examples."""

    data: Takeable
    rows: Array

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Array) -> Dataset:
        """A copy of the examples at ``indices`` of this part."""
        return self.data.take(self.rows[indices])


def split_rows(y: Array, output_size: int, test_share: float = 0.2) -> tuple[Array, Array]:
    """The row numbers of the training and the test examples. They depend only on the labels ``y``."""
    rng = np.random.default_rng(0)
    test = np.zeros(len(y), bool)
    for label in range(output_size):
        rows = np.flatnonzero(y == label)
        test[rng.permutation(rows)[: round(test_share * len(rows))]] = True
    dtype = row_dtype(len(y))
    return np.flatnonzero(~test).astype(dtype), np.flatnonzero(test).astype(dtype)


def row_dtype(examples: int) -> np.dtype[Any]:
    """The smallest integer type that holds the row numbers of ``examples`` rows."""
    return np.min_scalar_type(max(0, examples - 1))


def draw_rows(examples: int, batch: int, seed: int) -> Iterator[Array]:
    """The row numbers of an endless sequence of batches.

    Every row is drawn once before any row is drawn again. So a batch larger than the data has some rows more
    than once.
    """
    rng = np.random.default_rng([seed, examples])
    order = np.empty(examples, row_dtype(examples))
    waiting = order[:0]
    while True:
        rows = np.empty(batch, np.intp)
        filled = 0
        while filled < batch:
            if not len(waiting):
                order[:] = np.arange(examples, dtype=order.dtype)
                rng.shuffle(order)
                waiting = order
            taken = waiting[: batch - filled]
            rows[filled : filled + len(taken)] = taken
            filled += len(taken)
            waiting = waiting[len(taken) :]
        yield rows


def fed(x: Array, feeds: Sequence[Feed], y: Array | None = None) -> dict[str, Array]:
    """The values of each feed, by its name, from all examples ``x`` as one batch and their labels ``y``."""
    found: dict[str, Array] = {}
    for feed in feeds:
        match feed.kind:
            case FeedKind.IMAGE:
                found[feed.name] = as_images(x, feed.shape)
            case FeedKind.FEATURES | FeedKind.TOKENS:
                found[feed.name] = x.reshape(feed.shape)
            case FeedKind.LABELS | FeedKind.TARGETS if y is not None:
                found[feed.name] = y.reshape(feed.shape)
    return found


def as_images(x: Array, shape: Shape) -> Array:
    """Examples (n, channels · k · k) as images (n, side, side, channels), the ``shape`` of a feed.

    As in PyTorch, an example lists the rows of each channel. Images of another side are enlarged or reduced:
    each pixel gets the value of the nearest pixel of the original.
    """
    count, side, _, channels = shape
    original = isqrt(x.shape[1] // channels)
    images = x.reshape(count, channels, original, original).transpose(0, 2, 3, 1)
    if original == side:
        return images
    nearest = np.arange(side) * original // side
    return images[:, nearest[:, None], nearest]
