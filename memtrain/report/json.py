"""Results as one JSON document: the rows with what a CSV has no column for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from memtrain.measure.cell import Cell
from memtrain.measure.row import Row
from memtrain.sweeps.law import Law
from memtrain.train.loop import Trained

SCHEMA_VERSION = 1


def sweep_document(rows: Sequence[Row], laws: Sequence[Law], command: str) -> str:
    """The sweep as JSON text: command, environment, rows (columns, peak node, retained), laws."""
    environments = [row.environment for row in rows if row.environment]
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "environment": environments[0] if environments else {},
        "rows": [_row(row) for row in rows],
        "laws": [_law(law) for law in laws],
    }
    return _text(document)


def training_document(cell: Cell, rate: float, trained: Trained) -> str:
    """A training as JSON text: the cell, the loss of each epoch, accuracy, time and peaks."""
    document = {
        "schema_version": SCHEMA_VERSION,
        **cell.columns(),
        "lr": rate,
        "epoch_losses": [epoch.loss for epoch in trained.epochs],
        "test_accuracy": trained.test_accuracy,
        "train_s": trained.train_s,
        "training_peak_bytes": trained.peak_bytes,
        "inference_peak_bytes": trained.inference_peak_bytes,
    }
    return _text(document)


def _text(document: dict[str, Any]) -> str:
    return json.dumps(_finite(document), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    """``value`` with null for every number that JSON has no word for (the loss of a diverged run)."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _row(row: Row) -> dict[str, Any]:
    return {**row.columns(), "peak_node": row.peak_node, "retained": row.retained, "notes": row.notes}


def _law(law: Law) -> dict[str, Any]:
    return asdict(law)
