"""Predictions of a network for examples, block by block. The inference is the one that a sweep measures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np

from memtrain.errors import DataError, MemtrainError
from memtrain.graph.ops.base import Array
from memtrain.models.network import Feed, FeedKind, Network
from memtrain.run.allocation import PACKED, AnyRun, make_run
from memtrain.run.ledger import Ledger
from memtrain.training.data import Part, fed
from memtrain.training.examples import AnyExamples
from memtrain.training.iteration import inference
from memtrain.training.snapshot import Snapshot
from memtrain.training.table import rows_at_a_time


class Predictor:
    """A network with its parameters, ready for any number of predictions."""

    def __init__(
        self, network: Network, batch: int, parameters: Mapping[str, Array], allocation: str = PACKED
    ) -> None:
        self._network, self._batch = network, batch
        self._parameters, self._allocation = parameters, allocation
        self._output = network.build(1).outputs[0]  # of one example, which may have several rows
        self._runs: dict[int, AnyRun] = {}
        self._ledgers: list[Ledger] = []

    def outputs(self, x: Array) -> Array:
        """The outputs o for the examples ``x`` (examples, …), computed batch by batch.

        The result is (rows, classes), with a row for each example, or for each token of each example.
        """
        rows, classes = map(int, self._output.shape)
        outputs = np.empty((len(x) * rows, classes), self._output.dtype)
        for start in range(0, len(x), self._batch):
            batch = x[start : start + self._batch]
            run = self._run(len(batch))
            run.feed(fed(batch, self._inputs(len(batch))))
            with np.errstate(all="ignore"):  # the outputs show values that are not finite
                outputs[start * rows : (start + len(batch)) * rows] = run.iterate()[0]
        return outputs

    @property
    def peak_bytes(self) -> int:
        """The ledger peak of the inference of one batch."""
        return max((ledger.peak_bytes for ledger in self._ledgers), default=0)

    def _inputs(self, batch: int) -> list[Feed]:
        return [feed for feed in self._network.feeds(batch) if feed.kind is self._network.reads]

    def _run(self, batch: int) -> AnyRun:
        """A run for ``batch`` examples: the usual batch, or the smaller rest at the end."""
        if batch not in self._runs:
            self._runs.clear()
            self._ledgers.append(Ledger())
            schedule = inference(self._network.build(batch))
            self._runs[batch] = make_run(schedule, self._allocation, self._ledgers[-1])
            self._runs[batch].load(self._parameters)
        return self._runs[batch]


@dataclass(frozen=True)
class Tested:
    """The result of a test on examples that were not trained on."""

    accuracy: float
    """The share of the labels that are predicted correctly."""
    loss_bits: float
    """The mean of −log₂ p, where p is the probability that the network gives to a label."""
    peak_bytes: int
    """The ledger peak of predicting one batch."""


def evaluate(
    network: Network, batch: int, parameters: Mapping[str, Array], part: Part, allocation: str = PACKED
) -> Tested:
    """The test of a network with these parameters on the examples of ``part``."""
    predictor = Predictor(network, batch, parameters, allocation)
    rows = whole_batches(network, batch)
    right = count = 0
    bits = 0.0
    for start in range(0, len(part), rows):
        block = part.take(np.arange(start, min(start + rows, len(part))))
        outputs, labels = predictor.outputs(block.x), block.y.reshape(-1)
        right += int(np.sum(outputs.argmax(axis=1) == labels))
        bits += float(loss_bits(outputs, labels).sum())
        count += len(labels)
    return Tested(right / count, bits / count, predictor.peak_bytes)


def loss_bits(outputs: Array, labels: Array) -> Array:
    """−log₂ softmax(outputs)[label] for each row of outputs (rows, classes)."""
    shifted = outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True)
    of_label = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    bits: Array = (np.log(np.exp(shifted).sum(axis=1)) - of_label) / np.log(2)
    return bits


def whole_batches(network: Network, batch: int) -> int:
    """The number of examples in a block, which is a multiple of ``batch``."""
    return -(-rows_at_a_time(network.input_count) // batch) * batch


@dataclass(frozen=True)
class Accuracy:
    """The number of correctly labelled examples (``right``) among ``count`` examples."""

    right: int
    count: int

    @property
    def share(self) -> float:
        """The share of correct labels, from 0 to 1."""
        return self.right / self.count


class Predicted(NamedTuple):
    """The predictions for a block of examples."""

    labels: Array
    """The most probable label of each example."""
    probabilities: Array
    """The probability of this label, from 0 to 1."""


class Prediction:
    """The predictions of a saved network, and its accuracy once all examples are predicted."""

    def __init__(self, snapshot: Snapshot, examples: AnyExamples) -> None:
        self._snapshot, self._examples = snapshot, examples
        self._predictor = Predictor(snapshot.network, snapshot.batch, snapshot.parameters)
        self._labels: list[Array] = []
        self._right: list[Array] = []
        self._bits = 0.0
        self._blocks: list[Predicted] = []
        self._rest = self._outputs()
        self._failure: MemtrainError | None = None
        self.count = 0
        """The number of examples predicted so far."""

    def blocks(self) -> Iterator[Predicted]:
        """Labels and probabilities, block by block. Raises ``DataError`` at the first fault in the data.

        Each block is computed once and kept, with about 9 bytes per example. Later calls yield the kept
        blocks.
        """
        for number in count():
            if number == len(self._blocks) and not self._go_on():
                return
            yield self._blocks[number]

    def _go_on(self) -> bool:
        """Predict the next block; returns whether there was one. After a failure, each call fails again."""
        if self._failure is not None:
            raise self._failure
        try:
            outputs = next(self._rest, None)
        except MemtrainError as failure:
            self._failure = failure
            raise
        if outputs is not None:
            self._blocks.append(_predicted(outputs))
        return outputs is not None

    def finish(self) -> None:
        """Predict the remaining examples. Afterwards the other properties cover all examples."""
        deque(self.blocks(), maxlen=0)

    def _outputs(self) -> Iterator[Array]:
        """The outputs o, (rows, …), block by block."""
        network, batch = self._snapshot.network, self._snapshot.batch
        smallest = np.min_scalar_type(network.class_count - 1)
        for x, y in self._examples.blocks(whole_batches(network, batch)):
            outputs = self._predictor.outputs(x)
            _check_finite(outputs, self.count)
            self.count += len(outputs)
            if y is not None:
                labels = y.reshape(-1)
                self._labels.append(labels.astype(smallest))
                self._right.append(outputs.argmax(axis=1) == labels)
                self._bits += float(loss_bits(outputs, labels).sum())
            yield outputs

    @property
    def peak_bytes(self) -> int:
        """The ledger peak of the inference of one batch."""
        return self._predictor.peak_bytes

    @property
    def data_bytes(self) -> int:
        """The most bytes of examples and labels that were held at one time."""
        return self._examples.most_bytes

    @property
    def note(self) -> str:
        """A sentence on how the first line of the data file was understood."""
        return self._examples.note

    @property
    def trained_on(self) -> bool | None:
        """Whether the model was trained with these data; ``None`` if this cannot be known."""
        if self._snapshot.data_digest is None or not self._labels:
            return None
        return self._examples.digest() == self._snapshot.data_digest

    def accuracy(self) -> Accuracy | None:
        """The accuracy over all examples; ``None`` if they have no labels."""
        return Accuracy(sum(int(right.sum()) for right in self._right), self.count) if self._right else None

    def test_accuracy(self) -> Accuracy | None:
        """The accuracy over the test examples of the training; ``None`` for other data than its own."""
        if not self.trained_on:
            return None
        test = self._examples.test_rows(np.concatenate(self._labels))
        return Accuracy(int(np.concatenate(self._right)[test].sum()), len(test))

    @property
    def loss_bits(self) -> float | None:
        """The mean of −log₂ p over all labels; ``None`` if the examples have none."""
        return self._bits / self.count if self._right else None

    @property
    def of_text(self) -> bool:
        """Whether each prediction is the next byte of a text."""
        return self._snapshot.network.reads is FeedKind.TOKENS


def _predicted(outputs: Array) -> Predicted:
    """Labels and probabilities: the largest entry of the softmax of each row of outputs (rows, classes)."""
    shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    labels = outputs.argmax(axis=1).astype(np.min_scalar_type(outputs.shape[1] - 1))
    return Predicted(labels, shifted.max(axis=1) / shifted.sum(axis=1))


def _check_finite(outputs: Array, before: int) -> None:
    """Raise ``DataError`` for outputs that are not finite. ``before`` examples come before them."""
    bad = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if len(bad):
        raise DataError(
            f"the model's outputs for example {before + bad[0] + 1:,} are not finite",
            "scale the examples as in training, or train again",
        )
