"""Examples to predict, with or without labels, read one block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from memtrain.errors import DataError
from memtrain.graph.ops.base import Array
from memtrain.models.network import FeedKind, Network
from memtrain.training.csv_file import CsvTable
from memtrain.training.data import split_rows
from memtrain.training.digest import DataDigest
from memtrain.training.npz_file import Npz
from memtrain.training.sources import DIGITS, check_suits, load, load_digits
from memtrain.training.table import (
    NPZ,
    as_float32,
    check_numeric,
    check_room,
    filled,
    matrix_shape,
    open_data,
    require,
    rows_at_a_time,
)
from memtrain.training.text import TOPICS, TXT, Text, Windows

Block = tuple[Array, Array | None]
"""Examples (rows, input_size) of float32, and their labels (rows,) of int64 if the data have them."""


_KEPT_BYTES = 16
"""The most bytes that are kept per example until the accuracy is computed at the end."""


class Examples:
    """The examples of the data set ``data`` (a name or a path), for a network of features or images.

    A ``.csv`` has labels if it has a column more than the network has inputs, and a ``.npz`` if it has an
    array ``y``.
    """

    def __init__(self, data: str, network: Network, free_bytes: int | None = None) -> None:
        self._data, self._path = data, Path(data)
        self._network = network
        self._input_size, self._output_size = network.input_count, network.class_count
        self._free_bytes = free_bytes
        self._digest = DataDigest()
        self._held_bytes = 0
        self.most_bytes = 0
        """The most bytes of examples and labels that were held at one time."""
        self.note = ""
        """A sentence on how the first line of the file was understood; known after the first block."""

    def blocks(self, batch: int) -> Iterator[Block]:
        """Blocks of whole batches; the last block has the rest. Raises ``DataError`` at the first fault."""
        rows = -(-rows_at_a_time(self._input_size) // batch) * batch
        for x, y in _regrouped(self._read(rows), rows):
            held = self._held_bytes or x.nbytes + (0 if y is None else y.nbytes)
            self.most_bytes = max(self.most_bytes, held)
            if y is not None:
                self._digest.add(x, y)
            yield x, y

    def digest(self) -> str:
        """The digest of the labelled examples read so far."""
        return self._digest.text()

    def test_rows(self, labels: Array) -> Array:
        """The numbers of the test examples, given the labels of all examples."""
        return split_rows(labels, self._output_size)[1]

    def _read(self, rows: int) -> Iterator[Block]:
        if self._data == DIGITS:
            digits = load_digits()
            self._check_inputs(digits.input_size)
            self._held_bytes = digits.nbytes
            yield digits.x, self._checked(digits.y, 0)
            return
        with open_data(self._path) as file:
            if self._path.suffix.lower() == NPZ:
                yield from self._read_npz(Npz(file), rows)
            else:
                yield from self._read_csv(CsvTable(self._path, file))

    def _read_npz(self, arrays: Npz, rows: int) -> Iterator[Block]:
        require(self._path, arrays, "x")
        x, y = arrays.open("x"), arrays.open("y") if "y" in arrays else None
        count, inputs = matrix_shape(self._path, x)
        self._check_inputs(inputs)
        if y is not None:
            check_numeric(self._path, y.dtype, "labels ")
            if y.shape != (count,):
                raise self._misfit(f"y has the shape {list(y.shape)} for {count:,} examples")
        check_room(self._path, _KEPT_BYTES * count, self._free_bytes)
        rows = min(rows, count)
        if x.by_rows:
            blocks = x.rows(rows)
        else:  # the values of one example are scattered over the file
            check_room(self._path, 4 * count * inputs, self._free_bytes)
            whole = filled(self._path, x)
            self._held_bytes = whole.nbytes
            blocks = (whole[first : first + rows] for first in range(0, count, rows))
        first = 0
        for block in blocks:
            labels = None if y is None else self._checked(y.read(len(block)), first)
            yield as_float32(self._path, block, first), labels
            first += len(block)
        if y is not None:
            y.end()

    def _read_csv(self, table: CsvTable) -> Iterator[Block]:
        first = 0
        for block in table.numbers():
            labelled = self._network.takes(table.columns - 1)
            skip = 0
            if first == 0:
                self._check_inputs(table.columns - labelled)
                self._input_size = table.columns - labelled
                named = table.counts and labelled and len(block) > 1 and block[0, -1] >= self._output_size
                self.note, skip = table.note(named), int(named)
            x = as_float32(self._path, block[skip:, : self._input_size], first + skip)
            yield x, self._checked(block[skip:, -1], first + skip) if labelled else None
            first += len(block)

    def _check_inputs(self, inputs: int) -> None:
        if not self._network.takes(inputs):
            raise DataError(
                f"data {self._data!r} have {inputs} numbers per example; the model takes {self._input_size}",
                "give examples like those of the training, all with a label behind them or all without",
            )

    def _checked(self, y: Array, first: int) -> Array:
        """Labels as int64. ``first`` examples come before them. Raises ``DataError`` for an invalid label."""
        bad = np.flatnonzero(~np.isin(y, np.arange(self._output_size)))
        if len(bad):
            raise self._misfit(f"example {first + bad[0] + 1} has the label {float(y[bad[0]]):g}")
        return y.astype(np.int64)

    def _misfit(self, why: str) -> DataError:
        return DataError(
            f"data {self._data!r} have labels that do not fit the model: {why}",
            f"give each example a label of 0…{self._output_size - 1}, or give no labels",
        )


class TextExamples:
    """The windows of a text as examples for a network of tokens. The label of a token is the next one."""

    note = ""

    def __init__(self, text: Text, network: Network) -> None:
        self._text, self._windows = text, Windows(text, network.feeds(1)[0].shape[1])
        self.most_bytes = text.nbytes

    def blocks(self, batch: int) -> Iterator[Block]:
        """Blocks of ``batch`` windows; the last block has the rest."""
        for start in range(0, len(self._windows), batch):
            data = self._windows.take(np.arange(start, min(start + batch, len(self._windows))))
            yield data.x, data.y

    def digest(self) -> str:
        """The digest of the text."""
        return self._text.digest()

    def test_rows(self, labels: Array) -> Array:
        """The numbers of the test tokens, which lie in the last fifth of the windows."""
        first = self._windows.rows()[1][0] * self._windows.sequence
        return np.arange(first, len(labels))


AnyExamples = Examples | TextExamples


def examples_for(network: Network, data: str, free_bytes: int | None = None) -> AnyExamples:
    """The examples of ``data`` for a network. Raises ``DataError`` if it cannot be given such data."""
    if network.reads is not FeedKind.TOKENS and Path(data).suffix.lower() != TXT and data != TOPICS:
        return Examples(data, network, free_bytes)
    source = load(data, free_bytes)
    check_suits(network.reads, source)
    assert isinstance(source, Text)
    return TextExamples(source, network)


def _regrouped(blocks: Iterator[Block], rows: int) -> Iterator[Block]:
    """The same examples in blocks of ``rows`` rows; the last block may have fewer."""
    waiting: list[Block] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block[0])
        if count >= rows:
            x, y = _joined(waiting)
            whole = count - count % rows
            for start in range(0, whole, rows):
                stop = start + rows
                yield x[start:stop], None if y is None else y[start:stop]
            waiting = [(x[whole:], None if y is None else y[whole:])] if whole < count else []
            count -= whole
    if count:
        yield _joined(waiting)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    labels = [y for _, y in blocks if y is not None]
    return np.concatenate([x for x, _ in blocks]), np.concatenate(labels) if labels else None
