"""The schedules of a network: one iteration of training, and inference.

They differ in one place: what is asked for.
"""

from __future__ import annotations

from memtrain.errors import SpecError
from memtrain.graph.builder import Builder
from memtrain.graph.gradient import gradient
from memtrain.graph.node import Node
from memtrain.graph.ops.arithmetic import add, scale
from memtrain.graph.ops.view import Slice
from memtrain.models.mlp import MLP, Leaves, Model, build, forward, make_leaves, regulariser
from memtrain.plan.schedule import Schedule, make_schedule
from memtrain.train.optimizers import add_updates

DEFERRED, EAGER = "deferred", "eager"
UPDATES = (DEFERRED, EAGER)
"""When parameters are updated: all after backward, or each as soon as its gradient exists."""


def training(model: Model, optimizer: str, rate: float, update: str = DEFERRED) -> Schedule:
    """Forward, backward, and the update of every parameter; asks for the objective too."""
    b = model.builder
    gradients = gradient(b, model.objective, model.parameters)
    updated = add_updates(b, optimizer, rate, model.parameters, gradients)
    return make_schedule(b.graph(), [model.objective, *updated], eager_updates=update == EAGER)


def accumulating(spec: MLP, count: int, optimizer: str, rate: float, update: str = DEFERRED) -> Schedule:
    """The same from ``count`` micro-batches, one after the other, whose gradients add up.

    The whole batch is there; each micro-batch is a view of its rows. Mean loss and gradients are those of
    the batch up to rounding. The regulariser counts once, with the last. Raises ``SpecError`` for a
    ``count`` that does not divide the batch.
    """
    check_accumulate(count, spec.batch)
    if count == 1:
        return training(build(spec), optimizer, rate, update)
    b = Builder()
    leaves = make_leaves(b, spec)
    objective, gradients = _micro_batch(b, spec, leaves, 1, count)
    for number in range(2, count + 1):
        objective, gradients = _micro_batch(b, spec, leaves, number, count, (objective, gradients))
    updated = add_updates(b, optimizer, rate, leaves.parameters, gradients)
    return make_schedule(b.graph(), [objective, *updated], eager_updates=update == EAGER)


Sums = tuple[Node, list[Node]]
"""The objective of some micro-batches and its gradients."""


def _micro_batch(
    b: Builder, spec: MLP, leaves: Leaves, number: int, count: int, before: Sums | None = None
) -> Sums:
    """Append forward and backward of a micro-batch; returns the sums with those of the ones ``before``."""
    rows, suffix = spec.batch // count, f"[{number}]"

    def cut(leaf: Node) -> Node:
        rest = leaf.shape[1:]
        part = Slice(((number - 1) * rows, *(0 for _ in rest)), (number * rows, *rest))
        return b.apply(part, leaf, name=f"{leaf.name}{suffix}")

    _, loss = forward(b, spec, leaves, cut(leaves.inputs), cut(leaves.labels), suffix)
    part = scale(b, loss, 1 / count, name=f"{loss.name}/{count}")
    if number == count and (total := regulariser(b, spec, leaves)):
        part = add(b, part, total, name=f"J{suffix}")
    if before is None:
        return part, gradient(b, part, leaves.parameters)
    objective = add(b, before[0], part, name="J" if number == count else f"J[1…{number}]")
    return objective, gradient(b, part, leaves.parameters, before[1])


def check_accumulate(count: int, batch: int) -> None:
    """Raise ``SpecError`` unless a batch can be cut into so many micro-batches of one size."""
    if batch % count:
        raise SpecError(
            f"accumulate {count} with a batch of {batch:,}",
            "allowed: a number that divides the batch, so that all micro-batches have one size",
            "change one of the two",
        )


def inference(model: Model) -> Schedule:
    """Forward only, up to the output o: no labels, no loss."""
    return make_schedule(model.builder.graph(), [model.output])
