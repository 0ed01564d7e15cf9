"""``memtrain train``: train the network and see what it took."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memtrain.cells.columns import BY_NAME
from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, export_options
from memtrain.cli.options import OUTPUT, TRAINING, Quiet, cell_options

if TYPE_CHECKING:
    from memtrain.cells.cell import Cell
    from memtrain.planning.cost import Rates
    from memtrain.training.data import Dataset
    from memtrain.training.loop import Trained

_DEFAULTS = {"depth": 2, "batch": 32, "allocation": "packed"}
"""What the book's procedure is shown with."""


@cell_options(
    shown={
        "depth": "2",
        "batch": "32",
        "allocation": "packed",
        "threads": "all cores; 1 if layers are small",
    },
)
@export_options
@config_options
def train(
    columns: dict[str, Any],
    epochs: Annotated[
        int,
        typer.Option(
            metavar="<n>", min=1, help="Passes over the training examples", rich_help_panel=TRAINING
        ),
    ] = 40,
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

    from memtrain.answers.training import Training
    from memtrain.cli.console import messages, say, warn, warn_of_rates
    from memtrain.cli.grid import cell_from
    from memtrain.errors import SpecError
    from memtrain.measure.machine import free_memory_bytes
    from memtrain.training.data import load
    from memtrain.training.loop import check_rate
    from memtrain.training.optimizers import LEARNING_RATES

    exports.check(Training, [columns["data"]], {"--save": save})
    if save is not None and save.suffix != ".npz":
        raise SpecError(f"--save {save} does not end with .npz", f"use {save.with_suffix('.npz')}")
    cell = cell_from(columns)
    examples = load(cell.data, free_memory_bytes())
    rates = _rates_for(cell)
    rate = check_rate(LEARNING_RATES[cell.optimizer] if lr is None else lr)
    log = messages(quiet)
    if examples.note:
        say(log, examples.note)
    warn_of_rates(log, cell.plans_by_time)
    trained = _trained(cell, examples, rate, rates, epochs, quiet)
    exports.publish(Training(cell, rate, trained))
    if trained.diverged:
        kept = "" if save is None else f"; {save} was not written"
        warn(log, f"the training diverged; use a smaller --lr than {rate:g}, or scale the inputs{kept}")
        raise typer.Exit(1)
    if save is not None:
        _save(save, cell, examples, trained, exports.force)


def _with_defaults(columns: dict[str, Any]) -> dict[str, Any]:
    """``columns`` with what this command chooses itself; BLAS gets the threads."""
    from memtrain.run.blas import blas_environment, useful_threads

    columns = {**columns, **{name: value for name, value in _DEFAULTS.items() if columns[name] is None}}
    widest = columns["batch"] * (columns["width"] or BY_NAME["width"].default) ** 2
    columns["threads"] = columns["threads"] or useful_threads(2 * widest)
    os.environ.update(blas_environment(columns["threads"], os.environ))
    return columns


def _rates_for(cell: Cell) -> Rates | None:
    """The rates that the plan of ``cell`` is made with. Raises ``SpecError`` where memory is lacking."""
    from memtrain.cells.cell import Mode
    from memtrain.cells.row import predicted_row
    from memtrain.errors import SpecError
    from memtrain.measure.admission import lacking
    from memtrain.measure.host import Host
    from memtrain.measure.machine import free_memory_bytes

    rates = Host().rates_for(cell)
    lack = lacking([predicted_row(cell, Mode.TRAIN, rates)], free_memory_bytes())
    if lack is not None:
        raise SpecError(f"this training {lack}", "reduce --batch, or see `memtrain plan --help`")
    return rates


def _trained(
    cell: Cell, examples: Dataset, rate: float, rates: Rates | None, epochs: int, quiet: bool
) -> Trained:
    """Train behind a progress bar."""
    from memtrain.cli.console import messages, progress_bar, warn
    from memtrain.planning.cost import flops
    from memtrain.planning.remat.policy import read_policy
    from memtrain.training.data import split
    from memtrain.training.loop import Epoch, train

    training_data, test_data = split(examples)
    if cell.batch > len(training_data):
        said = f"the batch is larger than the {len(training_data):,} training examples, so it repeats some"
        warn(messages(quiet), said)
    with progress_bar(quiet) as progress:
        bar = progress.add_task("loss …", total=epochs, count="")

        def show(epoch: Epoch) -> None:
            count, loss = f"{epoch.number}/{epochs}", f"loss {epoch.loss:.4f}"
            progress.update(bar, completed=epoch.number, description=loss, count=count)

        return train(
            cell.network,
            cell.batch,
            training_data,
            test_data,
            optimizer=cell.optimizer,
            rate=rate,
            epochs=epochs,
            seed=cell.seed,
            update=cell.update,
            accumulate=cell.accumulate,
            policy=read_policy(cell.policy),
            cost=flops if rates is None else rates.seconds,
            allocation=cell.allocation_for(timing=True),
            on_epoch=show,
        )


def _save(path: Path, cell: Cell, examples: Dataset, trained: Trained, force: bool) -> None:
    """Write the trained network, with a digest of the data that it was trained on."""
    from memtrain.files import write_new
    from memtrain.training.digest import DataDigest
    from memtrain.training.snapshot import Snapshot, snapshot_bytes

    digest = DataDigest()
    digest.add(examples.x, examples.y)
    snapshot = Snapshot(cell.network, cell.batch, trained.parameters, digest.text())
    write_new(path, snapshot_bytes(snapshot), force)
