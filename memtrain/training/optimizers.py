"""Optimisers: update nodes, and leaves for their state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from memtrain.graph.builder import Builder
from memtrain.graph.node import Node, Phase, Role
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.update import Accumulate, AdamStep, Average, AverageSquare, Descend

LEARNING_RATES = {"sgd": 0.1, "momentum": 0.02, "adam": 0.001}
"""The default learning rate of each optimiser."""

ITERATION = "t"
"""The name of the input leaf that counts iterations from 1. Only adam needs it."""


def add_updates(
    b: Builder, optimizer: str, rate: float, parameters: tuple[Node, ...], gradients: list[Node]
) -> list[Node]:
    """Append the update of every parameter, in the update phase; returns the nodes of the new values."""
    with b.phase(Phase.UPDATE):
        return _OPTIMIZERS[optimizer](b, rate, parameters, gradients)


def _sgd(b: Builder, rate: float, parameters: tuple[Node, ...], gradients: list[Node]) -> list[Node]:
    return [
        b.apply(Descend(rate), parameter, gradient, name=f"{parameter.name}′")
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ]


def _momentum(b: Builder, rate: float, parameters: tuple[Node, ...], gradients: list[Node]) -> list[Node]:
    updated = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        state = _state(b, parameter, "v")
        velocity = b.apply(Accumulate(0.9), state, gradient, name=f"{state.name}′")
        updated.append(b.apply(Descend(rate), parameter, velocity, name=f"{parameter.name}′"))
    return updated


def _adam(b: Builder, rate: float, parameters: tuple[Node, ...], gradients: list[Node]) -> list[Node]:
    beta1, beta2 = 0.9, 0.999
    t = b.apply(Leaf(Role.INPUT, (), np.dtype(np.int64)), name=ITERATION)
    updated = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        first, second = _state(b, parameter, "m"), _state(b, parameter, "v")
        mean = b.apply(Average(beta1), first, gradient, name=f"{first.name}′")
        square = b.apply(AverageSquare(beta2), second, gradient, name=f"{second.name}′")
        step = AdamStep(rate, beta1, beta2, epsilon=1e-8)
        updated.append(b.apply(step, parameter, mean, square, t, name=f"{parameter.name}′"))
    return updated


def _state(b: Builder, parameter: Node, symbol: str) -> Node:
    leaf = Leaf(Role.OPTIMIZER, parameter.shape, parameter.dtype)
    return b.apply(leaf, name=f"{symbol}({parameter.name})")


_OPTIMIZERS: dict[str, Callable[[Builder, float, tuple[Node, ...], list[Node]], list[Node]]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adam": _adam,
}
OPTIMIZERS = tuple(_OPTIMIZERS)
