"""``memtrain train``: train a network, test it, and report its peak memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrain.cells.columns import BY_NAME
from memtrain.cells.usual import EPOCHS_SHOWN, TRAINED_SHOWN, usual_epochs, with_trained
from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, export_options
from memtrain.cli.groups import OUTPUT, TRAINING
from memtrain.cli.options import Quiet, cell_options

if TYPE_CHECKING:
    from memtrain.answers.training import Training
    from memtrain.cells.cell import Cell
    from memtrain.planning.cost import Rates
    from memtrain.training.sources import Source


@cell_options(shown={**TRAINED_SHOWN, "threads": "all cores; 1 if layers are small"})
@export_options
@config_options
def train(
    columns: dict[str, Any],
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="<n>",
            min=1,
            help="Passes over the training examples",
            show_default=EPOCHS_SHOWN,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            metavar="<number>",
            help="Learning rate",
            show_default="0.1 for sgd, 0.02 for momentum, 0.001 for adam",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="<file>", help="Save the trained network as .npz", rich_help_panel=OUTPUT),
    ] = None,
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Train a network, test it, and report its peak memory.

    Four fifths of the examples are for training, the others for testing; the split is stratified and always
    the same. A training that diverges is not saved, and the exit code is 1.

    Examples:
      memtrain train
      memtrain train --depth 4 --optimizer adam --epochs 20
      memtrain train --activation tanh --batch 64 --lr 0.05 --save model.npz
    """
    columns = _with_defaults(columns)  # before numpy loads, since threads are set for it

    from memtrain.answers.training import Training, learning_rate, training_rates
    from memtrain.cli.console import messages, say, warn, warn_of_rates
    from memtrain.cli.grid import cell_from
    from memtrain.errors import SpecError
    from memtrain.files import write_new
    from memtrain.measure.machine import free_memory_bytes
    from memtrain.training.sources import load

    exports.check(Training, [columns["data"]], {"--save": save})
    if save is not None and save.suffix != ".npz":
        raise SpecError(f"--save {save} does not end with .npz", f"use {save.with_suffix('.npz')}")
    cell = cell_from(columns)
    examples = load(cell.data, free_memory_bytes())
    rates = training_rates(cell)
    rate = learning_rate(cell, lr)
    log = messages(quiet)
    if examples.note:
        say(log, examples.note)
    warn_of_rates(log, cell.plans_by_time)
    training = _trained(cell, examples, rate, rates, epochs or usual_epochs(columns), quiet)
    exports.publish(training)
    if training.trained.diverged:
        kept = "" if save is None else f"; {save} was not written"
        warn(
            messages(), f"the training diverged; use a smaller --lr than {rate:g}, or scale the inputs{kept}"
        )
        raise typer.Exit(1)
    if save is not None:
        write_new(save, training.snapshot(examples), exports.force)


def _with_defaults(columns: dict[str, Any]) -> dict[str, Any]:
    """``columns`` with the defaults of this command. Sets the threads of BLAS for this process."""
    from memtrain.measure.blas_kernel import choose_kernel
    from memtrain.run.blas import blas_environment, useful_threads

    columns = with_trained(columns)
    batch, width = (columns[name] or BY_NAME[name].default for name in ("batch", "width"))
    rows = batch * (columns["sequence"] or 1)
    columns["threads"] = columns["threads"] or useful_threads(2 * rows * width**2)
    choose_kernel()
    os.environ.update(blas_environment(columns["threads"], os.environ))
    return columns


def _trained(
    cell: Cell, examples: Source, rate: float, rates: Rates | None, epochs: int, quiet: bool
) -> Training:
    """The training of ``cell``, with a progress bar."""
    from memtrain.answers.training import train_cell
    from memtrain.cli.console import messages, progress_bar, warn
    from memtrain.training.loop import Epoch
    from memtrain.training.sources import split

    training_data, test_data = split(examples, cell.network)
    if cell.batch > len(training_data):
        said = f"the batch is larger than the {len(training_data):,} training examples, so it repeats some"
        warn(messages(quiet), said)
    with progress_bar(quiet) as progress:
        bar = progress.add_task("loss …", total=epochs, count="")

        def show(epoch: Epoch) -> None:
            count, loss = f"{epoch.number}/{epochs}", f"loss {epoch.loss:.4f}"
            progress.update(bar, completed=epoch.number, description=loss, count=count)

        return train_cell(
            cell, training_data, test_data, rate=rate, rates=rates, epochs=epochs, on_epoch=show
        )
