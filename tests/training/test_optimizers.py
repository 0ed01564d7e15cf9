"""Optimisers, compared with plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from examples import (
    leaf,
    parameter,
)

from memtrain.graph.builder import Builder
from memtrain.planning.schedule import make_schedule
from memtrain.run.executor import Run
from memtrain.training.optimizers import ITERATION, OPTIMIZERS, add_updates


def expected_update(optimizer, rate, w, g, state, t):
    """The new parameter after one iteration, by the formulas of torch.optim. ``state`` is changed."""
    if optimizer == "sgd":
        return w - rate * g
    if optimizer == "momentum":
        state["v"] = 0.9 * state.get("v", 0) + g
        return w - rate * state["v"]
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * g**2
    return w - rate * (state["m"] / (1 - 0.9**t)) / (np.sqrt(state["v"] / (1 - 0.999**t)) + 1e-8)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimiser_follows_its_formula_over_several_iterations(optimizer):
    rng = np.random.default_rng(2)
    values = {"W": rng.standard_normal((131, 257)), "b": rng.standard_normal(5)}
    states = {name: {} for name in values}
    b = Builder()
    parameters = tuple(parameter(b, name, value.shape) for name, value in values.items())
    gradients = [leaf(b, f"∂{node.name}", node.shape) for node in parameters]
    updated = add_updates(b, optimizer, 0.05, parameters, gradients)
    assert [node.name for node in updated] == ["W′", "b′"]
    assert [node.storage for node in updated] == [node.id for node in parameters]
    run = Run(make_schedule(b.graph(), updated))
    run.load(values)
    for t in range(1, 6):
        drawn = {name: rng.standard_normal(value.shape) for name, value in values.items()}
        run.feed({ITERATION: np.array(t), **{f"∂{name}": g for name, g in drawn.items()}})
        run.iterate()
        for name, g in drawn.items():
            values[name] = expected_update(optimizer, 0.05, values[name], g, states[name], t)
            np.testing.assert_allclose(run.value(name), values[name], rtol=1e-12, atol=1e-14)
    for name, state in states.items():
        for symbol, value in state.items():
            np.testing.assert_allclose(run.value(f"{symbol}({name})"), value, rtol=1e-12, atol=1e-14)
