"""The training procedure of the book: initialise, then alternate forward, backward and update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from math import ceil, isfinite
from time import perf_counter

import numpy as np

from memtrain.errors import DataError, SpecError
from memtrain.graph.node import Role
from memtrain.graph.ops.base import Array
from memtrain.models.mlp import MLP, build, initial_values
from memtrain.plan.cost import CostOf, flops
from memtrain.plan.policy import KEEP_ALL, Policy
from memtrain.run.allocation import PACKED, make_run, planned
from memtrain.run.ledger import Ledger
from memtrain.train.data import Dataset, draw_rows
from memtrain.train.iteration import DEFERRED, accumulating, inference
from memtrain.train.optimizers import ITERATION


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training data gave."""

    number: int
    loss: float
    """Mean objective J over its iterations."""


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    parameters: dict[str, Array]
    epochs: tuple[Epoch, ...]
    test_accuracy: float
    train_s: float
    peak_bytes: int
    """Ledger peak of the training iterations."""
    inference_peak_bytes: int
    """Ledger peak of predicting one batch."""
    inference_batch: int
    """How many examples that batch has: as many as in training, if there are so many to test on."""


def train(
    spec: MLP,
    train_data: Dataset,
    test_data: Dataset,
    *,
    optimizer: str,
    rate: float,
    epochs: int,
    seed: int,
    update: str = DEFERRED,
    accumulate: int = 1,
    policy: Policy = KEEP_ALL,
    cost: CostOf = flops,
    allocation: str = PACKED,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Train ``spec`` and test it. ``on_epoch`` is told of each epoch as it ends.

    A ``policy`` that has a budget spares ``cost``. Raises ``DataError`` when there is nothing to test on.
    """
    if not len(test_data):
        raise DataError(
            "the data have too few examples to set some aside for the test",
            "allowed: three examples or more of some label",
            "give more examples",
        )
    started = perf_counter()
    ledger = Ledger()
    schedule = accumulating(spec, accumulate, optimizer, rate, update)
    run = make_run(planned(schedule, policy, cost, allocation).schedule, allocation, ledger)
    run.load(initial_values(spec, seed))
    rows = draw_rows(len(train_data), spec.batch, seed)
    history: list[Epoch] = []
    iterations = count(1)
    with np.errstate(all="ignore"):  # a loss that diverges shows in the result
        for number in range(1, epochs + 1):
            losses = []
            for _ in range(ceil(len(train_data) / spec.batch)):
                batch = train_data.take(next(rows))
                run.feed({"x": batch.x, "y": batch.y, ITERATION: np.asarray(next(iterations))})
                losses.append(float(run.iterate()[0]))
            history.append(Epoch(number, sum(losses) / len(losses)))
            on_epoch(history[-1])
    train_s = perf_counter() - started

    parameters = {node.name: run.value(node.name).copy() for node in run.schedule.leaves(Role.PARAMETER)}
    with np.errstate(all="ignore"):
        accuracy, inference_peak = evaluate(spec, parameters, test_data, allocation)
    tested = min(spec.batch, len(test_data))
    return Trained(parameters, tuple(history), accuracy, train_s, ledger.peak_bytes, inference_peak, tested)


def check_rate(rate: float) -> float:
    """``rate`` itself. Raises ``SpecError`` unless it is a finite number > 0."""
    if not (isfinite(rate) and rate > 0):
        raise SpecError(f"lr {rate}", "allowed: a finite number > 0", "give 0.1, say")
    return rate


def evaluate(
    spec: MLP, parameters: Mapping[str, Array], data: Dataset, allocation: str = PACKED
) -> tuple[float, int]:
    """The share of ``data`` that the network labels rightly, and the ledger peak of a batch."""
    outputs, peak = predict(spec, parameters, data.x, allocation)
    return float(np.mean(outputs.argmax(axis=1) == data.y)), peak


def predict(
    spec: MLP, parameters: Mapping[str, Array], x: Array, allocation: str = PACKED
) -> tuple[Array, int]:
    """The outputs o for examples ``x`` (examples, input_size), a batch at a time; the ledger peak of a batch.

    It is the inference that a sweep measures.
    """
    outputs = np.empty((len(x), spec.output_size), spec.dtype)
    peak, whole = 0, len(x) - len(x) % spec.batch
    for start, stop, batch in ((0, whole, spec.batch), (whole, len(x), len(x) - whole)):
        if start == stop:
            continue
        ledger = Ledger()
        run = make_run(inference(build(replace(spec, batch=batch))), allocation, ledger)
        run.load(parameters)
        for place in range(start, stop, batch):
            run.feed({"x": x[place : place + batch]})
            with np.errstate(all="ignore"):  # what is not finite shows in the outputs
                outputs[place : place + batch] = run.iterate()[0]
        peak = max(peak, ledger.peak_bytes)
    return outputs, peak


def check_finite(outputs: Array) -> None:
    """Raise ``DataError`` for outputs of which no label can be told."""
    bad = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if len(bad):
        raise DataError(
            f"the outputs for {len(bad):,} examples (the first is {bad[0] + 1}) are not finite",
            "allowed: a model and examples that go together",
            "scale the examples as in training, or train again",
        )
