"""``memtrain predict``: the labels that a trained network predicts for examples."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memtrain.cli.completing import data_set
from memtrain.cli.config import config_options
from memtrain.cli.exports import STDOUT, Exports, export_options
from memtrain.cli.options import Quiet

if TYPE_CHECKING:
    from memtrain.cli.console import Console
    from memtrain.training.prediction import Prediction


@export_options
@config_options
def predict(
    model: Annotated[Path, typer.Argument(help="A network that `memtrain train --save` wrote")],
    data: Annotated[
        str | None,
        typer.Argument(
            help="Data set: digits, topics, or a .npz, .csv or .txt file, with or without labels",
            autocompletion=data_set(["digits", "topics"]),
            show_default="digits, or topics for a language model",
        ),
    ] = None,
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Predict the label of each example with a trained network.

    This is the inference that `memtrain sweep` measures. Examples are read, predicted and written block by
    block. The command reports on stderr the peak memory, the memory of the data and, for data with labels,
    the accuracy. If the network was trained on these data, the accuracy on the test examples is reported
    separately, because the network has seen the others.

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
    from memtrain.training.examples import examples_for
    from memtrain.training.prediction import Prediction
    from memtrain.training.snapshot import load_snapshot
    from memtrain.training.sources import usual_data

    if exports.export_csv is None and not exports.to_stdout:
        exports = replace(exports, export_csv=STDOUT)
    exports.check(Prediction, [model, *([] if data is None else [data])])
    free_bytes = free_memory_bytes()
    snapshot = load_snapshot(model, free_bytes)
    data = data or usual_data(snapshot.network.reads)
    prediction = Prediction(snapshot, examples_for(snapshot.network, data, free_bytes))
    try:
        exports.publish(prediction)
    except StoreError:  # the findings are printed all the same
        _say(messages(quiet), prediction)
        raise
    _say(messages(quiet), prediction)


def _say(log: Console, prediction: Prediction) -> None:
    """Print how the file of data was read, and the findings."""
    from memtrain.cli.console import say
    from memtrain.report.predictions import prediction_lines

    for text in filter(None, [prediction.note, *prediction_lines(prediction)]):
        say(log, text)
