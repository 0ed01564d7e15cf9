"""``memtrain predict``: what a trained network says of examples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from memtrain.cli.exports import STDOUT, check_exports, export
from memtrain.cli.options import Force, Quiet


def predict(
    model: Annotated[Path, typer.Argument(help="What memtrain train --save wrote.")],
    data: Annotated[
        str, typer.Argument(help="digits, or a .npz or .csv file, with labels or without.")
    ] = "digits",
    export_csv: Annotated[
        Path, typer.Option(help="A line per example: its label and how probable that is; - for stdout.")
    ] = STDOUT,
    json: Annotated[bool, typer.Option("--json", help="The same as JSON to stdout.")] = False,
    quiet: Quiet = False,
    force: Force = False,
) -> None:
    """Predict the label of each example: the inference that a sweep measures.

    How many are right, if the data have labels, and the peak memory go to stderr.

    \b
    Examples:
      memtrain predict model.npz
      memtrain predict model.npz --json
      memtrain predict model.npz digits --export-csv labels.csv
    """
    from memtrain.run.blas import blas_environment

    os.environ.update(blas_environment(1, os.environ))  # before numpy loads

    from memtrain.cli.console import messages, say
    from memtrain.report.predictions import prediction_document, prediction_lines, predictions_csv
    from memtrain.train.data import load_examples
    from memtrain.train.loop import check_finite
    from memtrain.train.loop import predict as run_prediction
    from memtrain.train.snapshot import load_snapshot

    csv_to = None if json and export_csv == STDOUT else export_csv
    check_exports({"--export-csv": csv_to}, force, [model, data])
    snapshot = load_snapshot(model)
    examples, labels = load_examples(data, snapshot.spec.input_size, snapshot.spec.output_size)
    outputs, peak_bytes = run_prediction(snapshot.spec, snapshot.parameters, examples)
    check_finite(outputs)
    export(
        {
            "--export-csv": (csv_to, lambda: predictions_csv(outputs)),
            "--json": (STDOUT if json else None, lambda: prediction_document(outputs, labels, peak_bytes)),
        },
        force,
    )
    log = messages(quiet)
    for line in prediction_lines(outputs, labels, peak_bytes):
        say(log, line)
