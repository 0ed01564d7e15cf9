"""``memtrain predict``: what a trained network says of examples."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memtrain.cli.exports import STDOUT, Exports, export_options
from memtrain.cli.options import Quiet

if TYPE_CHECKING:
    from memtrain.cli.console import Console
    from memtrain.training.prediction import Prediction


@export_options
def predict(
    model: Annotated[Path, typer.Argument(help="What memtrain train --save wrote.")],
    data: Annotated[
        str, typer.Argument(help="digits, or a .npz or .csv file, with labels or without.")
    ] = "digits",
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Predict the label of each example: the inference that a sweep measures.

    Examples are read, predicted and written a block at a time. The peak memory, what the data take, and how
    many are right if the data have labels, go to stderr. Where the data are those of the training, the test
    examples are reported apart: the model was trained on the others.

    \b
    Examples:
      memtrain predict model.npz
      memtrain predict model.npz --json
      memtrain predict model.npz digits --export-csv labels.csv
    """
    from memtrain.run.blas import blas_environment

    os.environ.update(blas_environment(1, os.environ))  # before numpy loads

    from memtrain.cli.console import messages
    from memtrain.errors import StoreError
    from memtrain.measure.machine import free_memory_bytes
    from memtrain.training.examples import Examples
    from memtrain.training.prediction import Prediction
    from memtrain.training.snapshot import load_snapshot

    if exports.export_csv is None and not exports.to_stdout:
        exports = replace(exports, export_csv=STDOUT)
    exports.check(Prediction, [model, data])
    free_bytes = free_memory_bytes()
    snapshot = load_snapshot(model, free_bytes)
    prediction = Prediction(
        snapshot, Examples(data, snapshot.network.input_count, snapshot.network.class_count, free_bytes)
    )
    try:
        exports.publish(prediction)
    except StoreError:  # what was found is said all the same
        _say(messages(quiet), prediction)
        raise
    _say(messages(quiet), prediction)


def _say(log: Console, prediction: Prediction) -> None:
    """How the prediction did, and how the file was understood."""
    from memtrain.cli.console import say
    from memtrain.report.predictions import prediction_lines

    for text in filter(None, [prediction.note, *prediction_lines(prediction)]):
        say(log, text)
