"""The schedules of a network: an iteration of training, and inference.

The two differ only in the values that the schedule computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

import numpy as np

from memtrain.errors import SpecError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.inference import effects, inference_form
from memtrain.graph.node import Node, Role
from memtrain.graph.ops.arithmetic import add, scale, sum_to
from memtrain.graph.ops.base import Array
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import Slice, reshape
from memtrain.graph.size import BATCH, Dim, part
from memtrain.models.network import KEY, Feed, FeedKind, Model, Network
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.training.keeping import BEFORE_FORWARD, KEPT, NOTHING, Keeping, read_by_backward, stored
from memtrain.training.optimizers import ITERATION, add_updates

DEFERRED, EAGER = "deferred", "eager"
UPDATES = (DEFERRED, EAGER)
"""The times of an update: for all parameters after backward, or for each as soon as its gradient exists."""

Sums = tuple[Node, list[Node]]
"""The objective of a batch, or of some micro-batches, and its gradients."""

MICRO_BATCH = "micro_batch"
"""The kind of the block that contains the nodes of a micro-batch."""


def training(
    model: Model, optimizer: str, rate: float, update: str = DEFERRED, keeping: Keeping = NOTHING
) -> Schedule:
    """The schedule of one iteration: the objective, backward, and the update of each trainable parameter."""
    b = model.builder
    sums = model.objective, gradient(b, model.objective, model.trainable)
    return _with_updates(b, optimizer, rate, model.trainable, sums, update, keeping)


def _with_updates(
    b: Builder,
    optimizer: str,
    rate: float,
    parameters: tuple[Node, ...],
    sums: Sums,
    update: str,
    keeping: Keeping,
) -> Schedule:
    """The schedule of an iteration whose forward and backward are in the graph. Updates are appended."""
    objective, gradients = sums
    tracked = effects(b.nodes)
    held: list[Node] = []
    stores: list[Node] = []
    if keeping.retain_graph:
        held += read_by_backward(b.nodes)
    if keeping.gradients == BEFORE_FORWARD:
        held += gradients
    if keeping.gradients == KEPT:
        gradients = stores = stored(b, parameters, gradients)
    updated = add_updates(b, optimizer, rate, parameters, gradients)
    asked = [objective, *tracked, *updated]
    return make_schedule(b.graph(), asked, eager_updates=update == EAGER, early=stores, held=held)


def accumulating(
    network: Network,
    batch: int,
    count: int,
    optimizer: str,
    rate: float,
    update: str = DEFERRED,
    keeping: Keeping = NOTHING,
) -> Schedule:
    """The schedule of an iteration that sums the gradients of ``count`` micro-batches, one after the other.

    The run holds the whole batch, and each micro-batch is a view of some of its rows. Mean loss and gradients
    equal those of the batch up to rounding. The regulariser is added once, in the last micro-batch. Raises
    ``SpecError`` if ``count`` does not divide the batch.
    """
    check_accumulate(count, batch)
    if count == 1:
        return training(network.build(batch), optimizer, rate, update, keeping)
    parts = _MicroBatches(network, batch, count)
    sums = parts.add(1)
    for number in range(2, count + 1):
        sums = parts.add(number, sums)
    return _with_updates(parts.builder, optimizer, rate, parts.trainable, sums, update, keeping)


def counted(feeds: Sequence[Feed], iteration: int, seed: int, count: int = 1) -> dict[str, Array]:
    """The number of the iteration, from 1, and the key of each of ``count`` micro-batches, by leaf name.

    There are keys only if ``feeds`` ask for one. No two micro-batches have the same key.
    """
    found = {ITERATION: np.asarray(iteration)}
    if any(feed.kind is FeedKind.KEY for feed in feeds):
        keys = np.array([[seed, count * iteration + number] for number in range(count)], np.uint64)
        found[KEY] = keys if count > 1 else keys[0]
    return found


class _MicroBatches:
    """A graph to which forward and backward are appended for one micro-batch after another."""

    def __init__(self, network: Network, batch: int, count: int) -> None:
        self._count, self._row_count = count, batch // count
        self._model = network.build(part(Dim(batch, BATCH), count))
        self.builder = b = Builder()
        self._feeds = [
            b.apply(Leaf(Role.INPUT, (count, *feed.shape), feed.dtype), name=feed.name)
            if feed.kind is FeedKind.KEY
            else feed.leaf(b)
            for feed in network.feeds(batch)
        ]
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
            for effect in effects(model.builder.nodes):  # before the loss, so that no statistic waits for it
                b.include(model.builder.nodes, effect, known, suffix)
                self._shared[effect.inputs[0]] = known[effect.id]  # the next micro-batch goes on from there
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
        """A view of those rows of a feed that belong to the micro-batch ``number``. Each has its own key."""
        if feed.name == KEY:
            key = self.builder.apply(Slice((number - 1, 0), (number, 2)), feed)
            return reshape(self.builder, key, (2,), f"{feed.name}{suffix}")
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
    b, outputs = inference_form(model.builder, model.outputs)
    return make_schedule(b.graph(), outputs)


def evaluation(model: Model) -> Schedule:
    """The schedule of inference that keeps all that backward would read, as without ``torch.no_grad``."""
    b, outputs = inference_form(model.builder, model.outputs)
    names = {node.name for node in model.trainable}
    trained = [node for node in b.nodes if node.role is Role.PARAMETER and node.name in names]
    gradient(b, reduce(partial(add, b), [sum_to(b, output, ()) for output in outputs]), trained)
    return make_schedule(b.graph(), outputs, held=read_by_backward(b.nodes))
