"""The training procedure of the book: initialise, then alternate forward, backward and update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from math import ceil, isfinite
from time import perf_counter
from typing import Protocol

import numpy as np

from memtrain.errors import DataError, SpecError
from memtrain.graph.ops.base import Array
from memtrain.models.network import Network
from memtrain.planning.cost import CostOf, flops
from memtrain.planning.remat.policy import KEEP_ALL, Policy
from memtrain.run.allocation import PACKED, make_run, planned
from memtrain.run.ledger import Ledger
from memtrain.training.data import Part, draw_rows
from memtrain.training.iteration import DEFERRED, accumulating, counted
from memtrain.training.keeping import NOTHING, Keeping
from memtrain.training.prediction import evaluate
from memtrain.training.writing import Written, write


class TrainingRun(Protocol):
    """What trains: one of our own runs, or that of another engine."""

    def load(self, values: Mapping[str, Array]) -> None:
        """Set the parameters."""

    def feed(self, values: Mapping[str, Array]) -> None:
        """Copy a batch into the input buffers."""

    def iterate(self) -> list[Array]:
        """Run one iteration; returns the objective."""

    def value(self, name: str) -> Array:
        """The values of a parameter."""


@dataclass(frozen=True)
class Epoch:
    """The result of one pass over the training data."""

    number: int
    loss: float
    """The mean of the objective J over the iterations of the epoch."""


@dataclass(frozen=True)
class Trained:
    """The result of a finished training."""

    parameters: dict[str, Array]
    epochs: tuple[Epoch, ...]
    test_accuracy: float
    test_loss_bits: float
    """The mean of −log₂ p over the test labels. For a text this is in bits per byte."""
    written: Written | None
    """Text that a trained language model writes."""
    train_s: float
    peak_bytes: int
    """Ledger peak of the training iterations."""
    inference_peak_bytes: int
    """Ledger peak of predicting one batch."""
    inference_batch: int
    """The number of examples in this batch: the training batch, or all test examples if they are fewer."""
    data_bytes: int
    """Bytes of the data: examples, labels, and the row numbers of the split and of the order."""

    @property
    def diverged(self) -> bool:
        """Whether the training ended with values that are not finite."""
        finite = all(np.isfinite(value).all() for value in self.parameters.values())
        return not (finite and isfinite(self.epochs[-1].loss))


def train(
    network: Network,
    batch: int,
    train_data: Part,
    test_data: Part,
    *,
    optimizer: str,
    rate: float,
    epochs: int,
    seed: int,
    update: str = DEFERRED,
    keeping: Keeping = NOTHING,
    accumulate: int = 1,
    policy: Policy = KEEP_ALL,
    cost: CostOf = flops,
    allocation: str = PACKED,
    threads: int = 1,
    start: Callable[[Ledger], TrainingRun] | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Train ``network`` and test it. ``on_epoch`` is called at the end of each epoch.

    ``threads`` compute large elementwise steps; those of BLAS are a setting of the process. If ``policy`` is
    a budget, its plan minimises ``cost``. ``start`` makes the run of another engine. Raises ``DataError`` if
    there are no test examples.
    """
    if not len(test_data):
        raise DataError(
            "the data have too few examples to set some aside for the test",
            "give three or more examples of at least one label",
        )
    ledger = Ledger()
    run: TrainingRun
    if start is None:
        schedule = accumulating(network, batch, accumulate, optimizer, rate, update, keeping)
        run = make_run(planned(schedule, policy, cost, allocation).schedule, allocation, ledger, threads)
    else:
        run = start(ledger)
    run.load(network.initial_values(seed))
    feeds = network.feeds(batch)
    rows = draw_rows(len(train_data), batch, seed)
    history: list[Epoch] = []
    iterations = count(1)
    started = perf_counter()
    with np.errstate(all="ignore"):  # a loss that diverges shows in the result
        for number in range(1, epochs + 1):
            losses = []
            for _ in range(ceil(len(train_data) / batch)):
                examples = train_data.take(next(rows)).fed(feeds)
                run.feed({**examples, **counted(feeds, next(iterations), seed, accumulate)})
                losses.append(float(run.iterate()[0]))
            history.append(Epoch(number, sum(losses) / len(losses)))
            on_epoch(history[-1])
    train_s = perf_counter() - started

    parameters = {node.name: run.value(node.name).copy() for node in network.build(1).parameters}
    with np.errstate(all="ignore"):
        tested = evaluate(network, batch, parameters, test_data, allocation)
        written = write(network, parameters, test_data, seed, allocation)
    order_bytes = train_data.rows.nbytes
    return Trained(
        parameters,
        tuple(history),
        tested.accuracy,
        tested.loss_bits,
        written,
        train_s,
        ledger.peak_bytes,
        tested.peak_bytes,
        inference_batch=min(batch, len(test_data)),
        data_bytes=train_data.data.nbytes + train_data.rows.nbytes + order_bytes + test_data.rows.nbytes,
    )


def check_rate(rate: float) -> float:
    """``rate``, unchanged. Raises ``SpecError`` unless it is a finite number > 0."""
    if not (isfinite(rate) and rate > 0):
        raise SpecError(f"--lr {rate:g} cannot be used", "give a finite number > 0, for instance 0.1")
    return rate
