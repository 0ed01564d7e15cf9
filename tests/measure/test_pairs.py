"""The trained values of a cell, and the differences of two cells, for all optimisers and updates."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.measure.pairs import likeness_meter, trained_values
from memtrain.measure.workload import Bench, Workload
from memtrain.training.iteration import UPDATES
from memtrain.training.optimizers import LEARNING_RATES, OPTIMIZERS

STATE = {"sgd": [], "momentum": ["v"], "adam": ["m", "v"]}


@pytest.mark.parametrize(("optimizer", "update", "accumulate"), [*product(OPTIMIZERS, UPDATES, [1, 2])])
def test_the_gradient_of_each_parameter_is_found_and_the_state_besides(optimizer, update, accumulate):
    columns = {"optimizer": optimizer, "update": update, "accumulate": accumulate}
    cell = cell_of(depth=2, width=6, batch=4, bias=True, steps=2, dtype="float64", **columns)
    found = trained_values(Workload(cell, Mode.TRAIN))
    parameters = {f"{letter}{k}" for letter in "Wb" for k in (1, 2, 3)}
    state = {f"{symbol}({name})" for symbol in STATE[optimizer] for name in parameters}
    assert set(found) == parameters | {f"∂{name}" for name in parameters} | state
    for name in parameters:
        assert found[name].shape == found[f"∂{name}"].shape
        assert np.any(found[f"∂{name}"])


def test_the_gradient_is_that_by_which_the_last_update_moves_the_parameter():
    cell = cell_of(depth=2, width=6, batch=4, steps=3, dtype="float64")
    before, after = (trained_values(Workload(cell.changed(steps=steps), Mode.TRAIN)) for steps in (2, 3))
    for name in ("W1", "W2", "W3"):
        moved = (before[name] - after[name]) / LEARNING_RATES["sgd"]
        np.testing.assert_allclose(moved, after[f"∂{name}"], atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_plan_is_compared_for_every_optimiser(optimizer):
    cell = cell_of(depth=6, width=6, batch=4, steps=2, optimizer=optimizer)
    found = likeness_meter(Bench(), cell.changed(policy="sqrt"), Mode.TRAIN, cell)
    assert found == {
        "differing": [],
        "compared_count": 7 * (2 + len(STATE[optimizer])),
        "largest_difference": 0.0,
    }
