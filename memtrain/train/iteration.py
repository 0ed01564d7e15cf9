"""The two schedules of a model: one iteration of training, and inference.

They differ in one place: what is asked for.
"""

from __future__ import annotations

from memtrain.graph.gradient import gradient
from memtrain.graph.node import Phase
from memtrain.models.mlp import Model
from memtrain.plan.schedule import Schedule, make_schedule
from memtrain.train.optimizers import add_updates

DEFERRED, EAGER = "deferred", "eager"
UPDATES = (DEFERRED, EAGER)
"""When parameters are updated: all after backward, or each as soon as its gradient exists."""


def training(model: Model, optimizer: str, rate: float, update: str = DEFERRED) -> Schedule:
    """Forward, backward, and the update of every parameter; asks for the objective too."""
    b = model.builder
    gradients = gradient(b, model.objective, model.parameters)
    b.phase = Phase.UPDATE
    updated = add_updates(b, optimizer, rate, model.parameters, gradients)
    return make_schedule(b.graph(), [model.objective, *updated], eager_updates=update == EAGER)


def inference(model: Model) -> Schedule:
    """Forward only, up to the output o: no labels, no loss."""
    return make_schedule(model.builder.graph(), [model.output])
