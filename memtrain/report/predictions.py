"""What a network said of examples, as text."""

from __future__ import annotations

import json

import numpy as np

from memtrain.graph.ops.base import Array
from memtrain.report.json import SCHEMA_VERSION
from memtrain.sweeps.files import csv_line
from memtrain.units import format_bytes


def predictions_csv(outputs: Array) -> str:
    """A line per example: the label, and its probability."""
    labels, probabilities = _best(outputs)
    shown = (f"{probability:.6g}" for probability in probabilities)
    return "".join(map(csv_line, [("label", "probability"), *zip(labels, shown, strict=True)]))


def prediction_document(outputs: Array, labels: Array | None, peak_bytes: int) -> str:
    """Labels and probabilities as JSON text, the accuracy where the true labels are known."""
    found, probabilities = _best(outputs)
    document = {
        "schema_version": SCHEMA_VERSION,
        "labels": found.tolist(),
        "probabilities": [float(f"{probability:.6g}") for probability in probabilities],
        "accuracy": None if labels is None else float(np.mean(found == labels)),
        "inference_peak_bytes": peak_bytes,
    }
    return json.dumps(document, indent=2)


def prediction_lines(outputs: Array, labels: Array | None, peak_bytes: int) -> list[str]:
    """How many, how many are right, and what it took."""
    lines = [f"{len(outputs):,} examples, peak memory of a batch {format_bytes(peak_bytes)}"]
    if labels is not None:
        right = int(np.sum(outputs.argmax(axis=1) == labels))
        lines.append(f"right: {right:,} ({right / len(outputs):.2%})")
    return lines


def _best(outputs: Array) -> tuple[Array, Array]:
    """The most probable label of each row, and its probability: the softmax of the outputs."""
    shifted = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
    return outputs.argmax(axis=1), shifted.max(axis=1) / shifted.sum(axis=1)
