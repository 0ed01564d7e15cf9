"""A training as plain data: its loss by epoch, its accuracy, and its memory."""

from __future__ import annotations

from dataclasses import replace

from memtrain.answers.training import Training
from memtrain.cells.kinds import csv_line
from memtrain.models.network import FeedKind
from memtrain.report.section import Section
from memtrain.units import format_bytes, format_percent, format_seconds


def training_csv(training: Training) -> str:
    """A line per epoch: its number, and its mean objective."""
    lines = [(epoch.number, epoch.loss) for epoch in training.trained.epochs]
    return "".join(map(csv_line, [("epoch", "loss"), *lines]))


def training_sections(training: Training) -> list[Section]:
    """Accuracy, loss, time and memory of the training, in one table."""
    cell, trained = training.cell, training.trained
    lines = [
        ("test accuracy", format_percent(trained.test_accuracy, 2)),
        *(
            [("test loss", f"{trained.test_loss_bits:.3f} bits per byte")]
            if cell.network.reads is FeedKind.TOKENS
            else []
        ),
        ("loss, first → last epoch", f"{trained.epochs[0].loss:.4f} → {trained.epochs[-1].loss:.4f}"),
        ("time", format_seconds(trained.train_s)),
        ("peak memory of training", format_bytes(trained.peak_bytes)),
        (
            f"peak memory of predicting a batch of {trained.inference_batch:,}",
            format_bytes(trained.inference_peak_bytes),
        ),
        ("memory of the data", format_bytes(trained.data_bytes)),
    ]
    width = "" if cell["width"] is None else f", width {cell.columns()['width']}"
    title = f"Trained on {cell.data}: depth {cell['depth']}{width}"
    section = Section(title, ("figure", "value"), lines, frozenset({0}))
    if trained.written is None:
        return [section]
    written = trained.written
    return [replace(section, sentences=[f"It goes on with “{written.beginning}”: “{written.continuation}”."])]
