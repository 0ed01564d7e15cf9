"""Examples and labels: the digits that ship with memtrain, the user's own file, or seeded noise.

The digits are the UCI "Optical Recognition of Handwritten Digits" test set (E. Alpaydin, C. Kaynak, 1998;
CC BY 4.0), 1,797 images of 8×8 pixels, in the copy that scikit-learn distributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from memtrain.errors import DataError
from memtrain.graph.ops.base import Array
from memtrain.models.network import Feed, FeedKind
from memtrain.training.table import load_table

DIGITS = "digits"
SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Dataset:
    """Examples ``x``: (examples, input_size), and int64 labels ``y``: (examples,), 0…output_size − 1."""

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
        of_kind = {FeedKind.FEATURES: self.x, FeedKind.LABELS: self.y}
        return {feed.name: of_kind[feed.kind].reshape(feed.shape) for feed in feeds}


@dataclass(frozen=True)
class Part:
    """Some examples of a data set, given by their row numbers. Only `take` copies examples."""

    data: Dataset
    rows: Array

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Array) -> Dataset:
        """A copy of the examples at ``indices`` of this part."""
        return self.data.take(self.rows[indices])


def load(data: str, free_bytes: int | None = None) -> Dataset:
    """The data set ``data``, which is a name or a path. Raises ``DataError`` if it cannot be used.

    A file whose data would need more than ``free_bytes`` is not read.
    """
    return load_digits() if data == DIGITS else load_file(Path(data), free_bytes)


def load_digits() -> Dataset:
    """The 1,797 handwritten digits, with pixels scaled to −1…1."""
    with resources.files("memtrain.training").joinpath("digits.npz").open("rb") as file:
        arrays = np.load(file)
        return Dataset(arrays["x"].astype(np.float32) / 8 - 1, arrays["y"].astype(np.int64), 10)


def synthetic(input_size: int, output_size: int, examples: int, seed: int) -> Dataset:
    """Normal noise with random labels, for any sizes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, input_size), np.float32)
    return Dataset(x, rng.integers(0, output_size, examples), output_size)


def load_file(path: Path, free_bytes: int | None = None) -> Dataset:
    """The data in an ``.npz`` (arrays x and y) or ``.csv`` (a row per example with its label last).

    A ``.csv`` may begin with the names of its columns.
    """
    x, y, note = load_table(path, free_bytes)
    classes = np.unique(y)
    if not np.array_equal(classes, np.arange(len(classes))):
        shown = ", ".join(f"{label:g}" for label in classes[:8]) + (", …" if len(classes) > 8 else "")
        raise DataError(
            f"data file {path} has the labels {shown}",
            f"number its {len(classes)} classes 0…{len(classes) - 1}, without gaps",
        )
    return Dataset(x, y.astype(np.int64, copy=False), len(classes), note)


def split(data: Dataset) -> tuple[Part, Part]:
    """The training and the test examples: a stratified split, which is the same on every call."""
    training, test = split_rows(data.y, data.output_size)
    return Part(data, training), Part(data, test)


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
