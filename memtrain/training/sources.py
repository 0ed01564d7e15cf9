"""The sources of data: the digits that ship with memtrain, a text, the user's own file, or seeded noise.

The digits are the UCI "Optical Recognition of Handwritten Digits" test set (E. Alpaydin, C. Kaynak, 1998;
CC BY 4.0), 1,797 images of 8×8 pixels, in the copy that scikit-learn distributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from memtrain.errors import DataError
from memtrain.graph.ops.base import Array
from memtrain.models.network import Feed, FeedKind, Network
from memtrain.training.data import Dataset, Part, Takeable, split_rows
from memtrain.training.digest import DataDigest
from memtrain.training.table import load_table
from memtrain.training.text import BYTE_COUNT, TOPICS, TXT, Text, Windows, load_text, load_topics

DIGITS = "digits"
SYNTHETIC = "synthetic"
NAMES = (DIGITS, TOPICS, SYNTHETIC)
"""Data that are no file."""

Source = Dataset | Text
"""Data as they are loaded."""


def usual_data(kind: FeedKind) -> str:
    """The default data of a network whose inputs are of this kind."""
    return TOPICS if kind is FeedKind.TOKENS else DIGITS


def load(data: str, free_bytes: int | None = None) -> Source:
    """The data ``data``, which is a name or a path. Raises ``DataError`` if they cannot be used.

    A file whose data would need more than ``free_bytes`` is not read.
    """
    if data == DIGITS:
        return load_digits()
    if data == TOPICS:
        return load_topics()
    if Path(data).suffix.lower() == TXT:
        return load_text(Path(data), free_bytes)
    return load_file(Path(data), free_bytes)


def load_digits() -> Dataset:
    """The 1,797 handwritten digits, with pixels scaled to −1…1."""
    with resources.files("memtrain.training").joinpath("digits.npz").open("rb") as file:
        arrays = np.load(file)
        return Dataset(arrays["x"].astype(np.float32) / 8 - 1, arrays["y"].astype(np.int64), 10)


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


def sizes_of(family: type[Network], source: Source) -> dict[str, Any]:
    """The columns of a network of ``family`` that the data determine. Raises ``InputError``."""
    check_suits(family.reads, source)
    if isinstance(source, Text):
        return family.sizes_of(1, BYTE_COUNT)
    return family.sizes_of(source.input_size, source.output_size)


def split(source: Source, network: Network) -> tuple[Part, Part]:
    """The training and the test examples for ``network``. The split is the same on every call.

    It is stratified by label. Of a text, the last fifth is for the test. Raises ``InputError``.
    """
    check_suits(network.reads, source)
    data: Takeable
    if isinstance(source, Text):
        data = windows = Windows(source, network.feeds(1)[0].shape[1])
        training, test = windows.rows()
    else:
        data = source
        training, test = split_rows(source.y, source.output_size)
    return Part(data, training), Part(data, test)


def digest_of(source: Source) -> str:
    """A digest of the data, which a snapshot keeps."""
    if isinstance(source, Text):
        return source.digest()
    digest = DataDigest()
    digest.add(source.x, source.y)
    return digest.text()


def synthetic(feeds: Sequence[Feed], seed: int) -> Dataset:
    """Random values for all feeds of a batch: normal noise (also as targets), random tokens and labels."""
    rng = np.random.default_rng(seed)
    given, target = feeds[0], feeds[1]
    x: Array
    if given.kind is FeedKind.TOKENS:
        x = rng.integers(0, given.class_count or 1, given.shape)
    else:
        x = rng.standard_normal((given.shape[0], given.example_size), np.float32)
    if target.kind is FeedKind.TARGETS:
        return Dataset(x, rng.standard_normal(target.shape, np.float32), 1)
    classes = target.class_count or 1
    return Dataset(x, rng.integers(0, classes, target.shape), classes)


def check_suits(kind: FeedKind, source: Source) -> None:
    """Raise ``DataError`` if a network that reads ``kind`` cannot be given these data."""
    if isinstance(source, Text) and kind is not FeedKind.TOKENS:
        raise DataError(
            f"the data {source.name} are a text, and this network reads numbers",
            f"use {DIGITS}, {SYNTHETIC}, or a .npz or .csv file",
        )
    if not isinstance(source, Text) and kind is FeedKind.TOKENS:
        raise DataError(
            "this network reads a text, and the data are numbers",
            f"use {TOPICS}, {SYNTHETIC}, or a {TXT} file",
        )
