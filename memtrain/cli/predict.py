"""``memtrain predict``: what a trained network says of examples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memtrain.cli.exports import STDOUT, check_exports
from memtrain.cli.options import Force, Quiet

if TYPE_CHECKING:
    from memtrain.errors import StoreError


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

    from memtrain.cli.console import messages, say
    from memtrain.measure.machine import free_memory_bytes
    from memtrain.report.predictions import (
        Answers,
        predicted,
        prediction_document,
        prediction_lines,
        predictions_csv,
    )
    from memtrain.train.examples import Examples
    from memtrain.train.prediction import Prediction
    from memtrain.train.snapshot import load_snapshot

    csv_to = None if json and export_csv == STDOUT else export_csv
    check_exports({"--export-csv": csv_to}, force, [model, data])
    free_bytes = free_memory_bytes()
    snapshot = load_snapshot(model, free_bytes)
    prediction = Prediction(
        snapshot, Examples(data, snapshot.network.input_count, snapshot.network.class_count, free_bytes)
    )
    found: list[Answers] = []
    blocks = predicted(prediction, found if json else None)
    failure = _write(csv_to, predictions_csv(blocks), force)
    if json:
        for text in prediction_document(prediction, found):
            typer.echo(text, nl=False)
        typer.echo()
    log = messages(quiet)
    for text in filter(None, [prediction.note, *prediction_lines(prediction)]):
        say(log, text)
    if failure is not None:
        raise failure


def _write(path: Path | None, texts: Iterator[str], force: bool) -> StoreError | None:
    """Write the texts as they are made, and make the rest of them also where they cannot be written.

    The error, if they could not, is given back: what was found is shown first.
    """
    from memtrain.errors import StoreError
    from memtrain.sweeps.files import write_new

    failure = None
    if path is not None and path != STDOUT:
        try:
            write_new(path, texts, force)
        except StoreError as error:
            failure = error
    for text in texts:
        if path == STDOUT:
            typer.echo(text, nl=False)
    return failure
