"""A run of a multilayer perceptron in JAX, as its users write it: one compiled step, with donated inputs.

It needs JAX. Nothing is predicted for it, since the compiler decides what is kept and what is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from jax import nn
from jax import numpy as jnp

from memtrain.engines.groups import decays
from memtrain.engines.networks import loss, output
from memtrain.graph.ops.base import Array
from memtrain.models.network import Network

_MOMENTUM, _BETA1, _BETA2, _EPSILON = 0.9, 0.9, 0.999, 1e-8

Values = dict[str, Any]
"""JAX's arrays by name."""


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    product = x @ weight.T
    return product if bias is None else product + bias


def _cross_entropy(x: Any, y: Any) -> Any:
    return -jnp.take_along_axis(nn.log_softmax(x), y[:, None], axis=1).mean()


_F = SimpleNamespace(
    linear=_linear,
    relu=nn.relu,
    tanh=jnp.tanh,
    sigmoid=nn.sigmoid,
    gelu=lambda x, approximate="none": nn.gelu(x, approximate == "tanh"),
    leaky_relu=nn.leaky_relu,
    elu=nn.elu,
    softplus=nn.softplus,
    silu=nn.silu,
    hardswish=nn.hard_swish,
    mish=nn.mish,
    cross_entropy=_cross_entropy,
    mse_loss=lambda x, y: ((x - y) ** 2).mean(),
    block=lambda *_: nullcontext(),
    inplace=False,
)
"""JAX's functions by the names that the networks call."""


class JaxRun:
    """A network in JAX with one batch size. It trains at the learning ``rate``; with ``None`` it predicts."""

    def __init__(self, network: Network, batch: int, optimizer: str, rate: float | None) -> None:
        jax.config.update("jax_enable_x64", True)  # the types are those of the arrays
        model = network.build(batch)
        self._nodes, self._trains = model.parameters, rate is not None
        self._feeds = [node.name for node in model.feeds[: 2 if self._trains else 1]]
        self._step = _predicting(network) if rate is None else _training(network, optimizer, rate)
        self._count = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer] if self._trains else 0
        self._t: Values = {}
        self._states: tuple[Values, ...] = ()
        self._given: Values = {}
        self._iteration = 0

    def load(self, values: Mapping[str, Array]) -> None:
        """Make the parameters with these values, and the state of the optimiser."""
        self._iteration, self._given = 0, {}
        self._t = {node.name: jnp.array(values[node.name]) for node in self._nodes}
        self._states = tuple(jax.tree.map(jnp.zeros_like, self._t) for _ in range(self._count))

    def feed(self, values: Mapping[str, Array]) -> None:
        """Copy a batch (values by name)."""
        self._given = {name: jnp.array(values[name]) for name in self._feeds}

    def prepare(self) -> None:
        """Do nothing. The method exists because other runs have one."""

    def iterate(self) -> list[Array]:
        """Run one iteration; returns the objective, or the outputs in inference."""
        given = [self._given[name] for name in self._feeds]
        if not self._trains:
            return [np.asarray(self._step(self._t, *given))]
        self._iteration += 1
        self._t, self._states, found = self._step(self._t, self._states, float(self._iteration), *given)
        jax.block_until_ready(self._t)
        return [np.asarray(found)]

    def value(self, name: str) -> Array:
        """The values of a parameter."""
        return np.asarray(self._t[name])


@cache
def _predicting(network: Network) -> Callable[..., Any]:
    """The compiled prediction of ``network``."""
    compiled: Callable[..., Any] = jax.jit(lambda t, x: output(network, _F, t, x))
    return compiled


@cache
def _training(network: Network, optimizer: str, rate: float) -> Callable[..., Any]:
    """The compiled step: from parameters, state, number of the iteration and batch to the new ones, and J."""
    groups = decays(network, [node.name for node in network.build(1).parameters])

    def objective(t: Values, x: Any, y: Any) -> Any:
        squares = [decay / 2 * (t[name] ** 2).sum() for names, decay in groups if decay for name in names]
        return sum(squares, loss(network, _F, output(network, _F, t, x), y))

    def step(t: Values, states: tuple[Values, ...], number: Any, x: Any, y: Any) -> Any:
        found, slopes = jax.value_and_grad(objective)(t, x, y)
        states, moves = _UPDATES[optimizer](states, slopes, number)
        return jax.tree.map(lambda w, move: w - rate * move, t, moves), states, found

    compiled: Callable[..., Any] = jax.jit(step, donate_argnums=(0, 1))
    return compiled


def _sgd(states: Any, slopes: Values, number: Any) -> Any:
    return states, slopes


def _momentum(states: Any, slopes: Values, number: Any) -> Any:
    velocity = jax.tree.map(lambda v, g: _MOMENTUM * v + g, states[0], slopes)
    return (velocity,), velocity


def _adam(states: Any, slopes: Values, number: Any) -> Any:
    means = jax.tree.map(lambda m, g: _BETA1 * m + (1 - _BETA1) * g, states[0], slopes)
    squares = jax.tree.map(lambda v, g: _BETA2 * v + (1 - _BETA2) * g * g, states[1], slopes)

    def move(mean: Any, square: Any) -> Any:
        corrected = jnp.sqrt(square / (1 - _BETA2**number).astype(square.dtype)) + _EPSILON
        return mean / (1 - _BETA1**number).astype(mean.dtype) / corrected

    return (means, squares), jax.tree.map(move, means, squares)


_UPDATES: dict[str, Callable[..., Any]] = {"sgd": _sgd, "momentum": _momentum, "adam": _adam}
