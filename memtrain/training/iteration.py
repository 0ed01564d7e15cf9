"""The schedules of a network: an iteration of training, and inference.

The two differ only in the values that the schedule computes.
"""

from __future__ import annotations

from memtrain.errors import SpecError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import add, scale
from memtrain.graph.ops.view import Slice
from memtrain.graph.size import BATCH, Dim, part
from memtrain.models.network import Model, Network
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.training.optimizers import add_updates

DEFERRED, EAGER = "deferred", "eager"
UPDATES = (DEFERRED, EAGER)
"""The times of an update: for all parameters after backward, or for each as soon as its gradient exists."""

MICRO_BATCH = "micro_batch"
"""The kind of the block that contains the nodes of a micro-batch."""


def training(model: Model, optimizer: str, rate: float, update: str = DEFERRED) -> Schedule:
    """The schedule of one iteration: the objective, backward, and the update of each trainable parameter."""
    b = model.builder
    gradients = gradient(b, model.objective, model.trainable)
    updated = add_updates(b, optimizer, rate, model.trainable, gradients)
    return make_schedule(b.graph(), [model.objective, *updated], eager_updates=update == EAGER)


def accumulating(
    network: Network, batch: int, count: int, optimizer: str, rate: float, update: str = DEFERRED
) -> Schedule:
    """The schedule of an iteration that sums the gradients of ``count`` micro-batches, one after the other.

    The run holds the whole batch, and each micro-batch is a view of some of its rows. Mean loss and gradients
    equal those of the batch up to rounding. The regulariser is added once, in the last micro-batch. Raises
    ``SpecError`` if ``count`` does not divide the batch.
    """
    check_accumulate(count, batch)
    if count == 1:
        return training(network.build(batch), optimizer, rate, update)
    parts = _MicroBatches(network, batch, count)
    sums = parts.add(1)
    for number in range(2, count + 1):
        sums = parts.add(number, sums)
    objective, gradients = sums
    updated = add_updates(parts.builder, optimizer, rate, parts.trainable, gradients)
    return make_schedule(parts.builder.graph(), [objective, *updated], eager_updates=update == EAGER)


Sums = tuple[Node, list[Node]]
"""The objective of some micro-batches, and its gradients."""


class _MicroBatches:
    """A graph to which forward and backward are appended for one micro-batch after another."""

    def __init__(self, network: Network, batch: int, count: int) -> None:
        self._count, self._row_count = count, batch // count
        self._model = network.build(part(Dim(batch, BATCH), count))
        self.builder = b = Builder()
        self._feeds = [feed.leaf(b) for feed in network.feeds(batch)]
        self._shared: dict[int, Node] = {}
        nodes = self._model.builder.nodes
        for parameter in self._model.parameters:
            b.include(nodes, parameter, self._shared)
        self.trainable = tuple(self._shared[node.id] for node in self._model.trainable)

    def add(self, number: int, before: Sums | None = None) -> Sums:
        """Append a micro-batch; returns the sums over it and all micro-batches ``before`` it."""
        b, model, suffix = self.builder, self._model, f"[{number}]"
        known = dict(self._shared)
        with b.block(MICRO_BATCH, number):
            for feed, leaf in zip(self._feeds, model.feeds, strict=True):
                known[leaf.id] = self._rows(feed, number, suffix)
            loss = b.include(model.builder.nodes, model.loss, known, suffix)
            part = scale(b, loss, 1 / self._count, name=f"{loss.name}/{self._count}")
        if number == self._count and model.objective is not model.loss:
            known[model.loss.id] = part
            part = b.rename(b.include(model.builder.nodes, model.objective, known), f"J{suffix}")
        if before is None:
            return part, gradient(b, part, self.trainable)
        objective = add(b, before[0], part, name="J" if number == self._count else f"J[1…{number}]")
        sums = gradient(b, part, self.trainable, before[1])
        return objective, [
            b.rename(total, f"∂{objective.name}/∂{leaf.name}", f"∂J/∂{leaf.label}", leaf.scope)
            for total, leaf in zip(sums, self.trainable, strict=True)
        ]

    def _rows(self, feed: Node, number: int, suffix: str) -> Node:
        """A view of those rows of a feed that belong to the micro-batch ``number``."""
        rest = feed.shape[1:]
        starts = ((number - 1) * self._row_count, *(0 for _ in rest))
        return self.builder.apply(
            Slice(starts, (number * self._row_count, *rest)), feed, name=f"{feed.name}{suffix}"
        )


def check_accumulate(count: int, batch: int) -> None:
    """Raise ``SpecError`` unless a batch can be cut into ``count`` micro-batches of equal size."""
    if batch % count:
        raise SpecError(
            f"accumulate {count} does not divide the batch of {batch:,} into equal micro-batches",
            f"use accumulate {_nearest_divisor(count, batch)} or another batch",
        )


def _nearest_divisor(count: int, batch: int) -> int:
    """The largest divisor of ``batch`` up to ``count``; 1 if it is more than 10,000 below ``count``."""
    largest = min(count, batch)
    near = range(largest, max(0, largest - 10_000), -1)
    return next((number for number in near if batch % number == 0), 1)


def inference(model: Model) -> Schedule:
    """The schedule of inference: forward up to the outputs, without labels and loss."""
    return make_schedule(model.builder.graph(), model.outputs)
