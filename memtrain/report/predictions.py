"""What a network said of examples, as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.report.json import SCHEMA_VERSION
from memtrain.sweeps.files import csv_line
from memtrain.train.prediction import Prediction
from memtrain.units import format_bytes

Answers = tuple[Array, Array]
"""The most probable label of each example of a block, and its probability."""


def answers(outputs: Array) -> Answers:
    """What the outputs o, (rows, output_size), say: their softmax is the probabilities."""
    shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    labels = outputs.argmax(axis=1).astype(np.min_scalar_type(outputs.shape[1] - 1))
    return labels, shifted.max(axis=1) / shifted.sum(axis=1)


def predicted(prediction: Prediction, kept: list[Answers] | None) -> Iterator[Answers]:
    """The answers block by block, each also appended to ``kept`` if there is one."""
    for outputs in prediction.outputs():
        found = answers(outputs)
        if kept is not None:
            kept.append(found)
        yield found


def predictions_csv(blocks: Iterable[Answers]) -> Iterator[str]:
    """A line per example, block by block: the label, and its probability."""
    header = csv_line(("label", "probability"))
    for labels, probabilities in blocks:
        rows = zip(labels, map(_shown, probabilities), strict=True)
        yield header + "".join(f"{label},{probability}\n" for label, probability in rows)
        header = ""


def prediction_document(prediction: Prediction, blocks: Sequence[Answers]) -> Iterator[str]:
    """Labels and probabilities as JSON text, and how the prediction did, in pieces."""
    accuracy, test = prediction.accuracy(), prediction.test_accuracy()
    rest = {
        "accuracy": None if accuracy is None else accuracy.share,
        "trained_on": prediction.trained_on,
        "test_examples": None if test is None else test.count,
        "test_accuracy": None if test is None else test.share,
        "inference_peak_bytes": prediction.peak_bytes,
        "data_bytes": prediction.data_bytes,
    }
    yield f'{{\n  "schema_version": {SCHEMA_VERSION},\n  "labels": ['
    yield from _items(labels.tolist() for labels, _ in blocks)
    yield '],\n  "probabilities": ['
    yield from _items([float(_shown(value)) for value in probabilities] for _, probabilities in blocks)
    yield "],\n" + json.dumps(rest, indent=2).removeprefix("{\n")


def prediction_lines(prediction: Prediction) -> list[str]:
    """How many examples there were, what they took, and how many are right."""
    lines = [
        f"{prediction.count:,} examples, peak memory of a batch {format_bytes(prediction.peak_bytes)}; "
        f"the data, besides the network: {format_bytes(prediction.data_bytes)} at a time"
    ]
    accuracy, test = prediction.accuracy(), prediction.test_accuracy()
    if test is not None and accuracy is not None and test.count:
        lines.append(
            f"right: {test.share:.2%} of the {test.count:,} test examples ({accuracy.share:.2%} of all "
            f"{accuracy.count:,}: the model was trained on the others)"
        )
    elif accuracy is not None:
        lines.append(f"right: {accuracy.right:,} ({accuracy.share:.2%})")
        if prediction.trained_on is None:
            lines.append("the model does not say what it was trained on: these examples may be among it")
    return lines


def _items(blocks: Iterable[list[float]]) -> Iterator[str]:
    """The items of a JSON list, in pieces."""
    for number, block in enumerate(blocks):
        yield ", " * bool(number) + json.dumps(block)[1:-1]


def _shown(probability: float) -> str:
    return f"{probability:.6g}"
