"""The predictions of a network for examples, as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import numpy as np

from memtrain.cells.kinds import csv_line
from memtrain.report.json import SCHEMA_VERSION
from memtrain.report.section import Origin, Section
from memtrain.training.prediction import Prediction
from memtrain.units import format_bytes, format_percent


def predictions_csv(prediction: Prediction) -> Iterator[str]:
    """A line per example, block by block: the label, and its probability."""
    header = csv_line(("label", "probability"))
    for labels, probabilities in prediction.blocks():
        rows = zip(labels, map(_shown, probabilities), strict=True)
        yield header + "".join(f"{label},{probability}\n" for label, probability in rows)
        header = ""


def predictions_document(prediction: Prediction, origin: Origin) -> Iterator[str]:
    """Labels, probabilities and accuracy as JSON text, in pieces."""
    prediction.finish()
    accuracy, test = prediction.accuracy(), prediction.test_accuracy()
    rest = {
        "accuracy": None if accuracy is None else accuracy.share,
        "trained_on": prediction.trained_on,
        "test_examples": None if test is None else test.count,
        "test_accuracy": None if test is None else test.share,
        "inference_peak_bytes": prediction.peak_bytes,
        "data_bytes": prediction.data_bytes,
    }
    command = json.dumps(origin.command)
    yield f'{{\n  "schema_version": {SCHEMA_VERSION},\n  "command": {command},\n  "labels": ['
    yield from _items(labels.tolist() for labels, _ in prediction.blocks())
    yield '],\n  "probabilities": ['
    yield from _items(
        [float(_shown(value)) for value in block.probabilities] for block in prediction.blocks()
    )
    yield "],\n" + json.dumps(rest, indent=2).removeprefix("{\n")


def predictions_sections(prediction: Prediction) -> list[Section]:
    """For each label how often it is predicted and with which mean probability; then the sentences."""
    counts: dict[int, int] = {}
    sums: dict[int, float] = {}
    for block in prediction.blocks():
        for label in np.unique(block.labels).tolist():
            found = block.probabilities[block.labels == label]
            counts[label] = counts.get(label, 0) + len(found)
            sums[label] = sums.get(label, 0.0) + float(found.sum())
    lines = [
        (str(label), f"{counts[label]:,}", _shown(sums[label] / counts[label])) for label in sorted(counts)
    ]
    heads = ("label", "examples", "mean probability")
    return [Section("", heads, lines, sentences=prediction_lines(prediction))]


def prediction_lines(prediction: Prediction) -> list[str]:
    """Sentences: the number of examples, the memory that they took, and how many are predicted correctly."""
    prediction.finish()
    noun = "bytes of text" if prediction.of_text else "examples"
    lines = [
        f"{prediction.count:,} {noun} were predicted. The peak memory of a batch is "
        f"{format_bytes(prediction.peak_bytes)}; the data take another {format_bytes(prediction.data_bytes)}."
    ]
    accuracy, test = prediction.accuracy(), prediction.test_accuracy()
    if test is not None and accuracy is not None and test.count:
        lines.append(
            f"{format_percent(test.share, 2)} of the {test.count:,} test {noun} are predicted correctly "
            f"({format_percent(accuracy.share, 2)} of all {accuracy.count:,}; the model was trained on the "
            "others)."
        )
    elif accuracy is not None:
        share = format_percent(accuracy.share, 2)
        lines.append(f"{accuracy.right:,} of {accuracy.count:,} {noun} are predicted correctly ({share}).")
        if prediction.trained_on is None:
            lines.append(
                "The model does not record its training data, so it may have been trained on these examples."
            )
    if prediction.of_text and prediction.loss_bits is not None:
        lines.append(f"The loss is {prediction.loss_bits:.3f} bits per byte.")
    return lines


def _items(blocks: Iterable[list[float]]) -> Iterator[str]:
    """The items of a JSON list, in pieces."""
    for number, block in enumerate(blocks):
        yield ", " * bool(number) + json.dumps(block)[1:-1]


def _shown(probability: float) -> str:
    return f"{probability:.6g}"
