"""The answer of ``train``: the result and the cost of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.engine import TORCH, check_predicted
from memtrain.cells.row import predicted_row
from memtrain.engines.start import torch_run
from memtrain.errors import SpecError
from memtrain.measure.admission import lacking
from memtrain.measure.host import Host
from memtrain.measure.machine import free_memory_bytes
from memtrain.planning.cost import Rates, flops
from memtrain.planning.remat.policy import read_policy
from memtrain.run.ledger import Ledger
from memtrain.training.data import Part
from memtrain.training.loop import Epoch, Trained, TrainingRun, check_rate, train
from memtrain.training.optimizers import LEARNING_RATES
from memtrain.training.snapshot import Snapshot, snapshot_bytes
from memtrain.training.sources import Source, digest_of


@dataclass(frozen=True)
class Training:
    """A finished training of a cell, at a learning rate."""

    cell: Cell
    rate: float
    trained: Trained

    def snapshot(self, source: Source) -> bytes:
        """The trained network as the content of an .npz file, with a digest of ``source``, its data."""
        network, batch = self.cell.network, self.cell.batch
        return snapshot_bytes(Snapshot(network, batch, self.trained.parameters, digest_of(source)))


def learning_rate(cell: Cell, given: float | None) -> float:
    """The ``given`` learning rate, or else the default of the optimiser. Raises ``SpecError``."""
    return check_rate(LEARNING_RATES[cell.optimizer] if given is None else given)


def training_rates(cell: Cell) -> Rates | None:
    """The rates by which the training of ``cell`` is planned; ``None`` if the plan uses none.

    Raises ``SpecError`` if the training needs more memory than is free.
    """
    rates = Host().rates_for(cell)
    lack = lacking([predicted_row(cell, Mode.TRAIN, rates)], free_memory_bytes())
    if lack is not None:
        raise SpecError(f"this training {lack}", "reduce --batch, or see `memtrain plan --help`")
    return rates


def train_cell(
    cell: Cell,
    training_data: Part,
    test_data: Part,
    *,
    rate: float,
    rates: Rates | None,
    epochs: int,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Training:
    """The training of the network of ``cell`` on ``training_data``, tested on ``test_data``."""
    check_predicted(cell)

    def in_pytorch(ledger: Ledger) -> TrainingRun:
        return torch_run(
            cell.network,
            cell.batch,
            cell.loop,
            rate,
            cell.keep_all(Mode.TRAIN),
            ledger=ledger,
            most_counted=cell.steps,
        )

    trained = train(
        cell.network,
        cell.batch,
        training_data,
        test_data,
        optimizer=cell.optimizer,
        rate=rate,
        epochs=epochs,
        seed=cell.seed,
        update=cell.update,
        keeping=cell.keeping,
        accumulate=cell.accumulate,
        policy=read_policy(cell.policy),
        cost=flops if rates is None else rates.seconds,
        allocation=cell.allocation_for(timing=True),
        threads=cell.threads,
        start=in_pytorch if cell.engine == TORCH else None,
        on_epoch=on_epoch,
    )
    return Training(cell, rate, trained)
