"""Training on real digits, and the figures in its result."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest
from networks import build, initial_values, mlp

from memtrain.errors import SpecError
from memtrain.models.mlp import MLP
from memtrain.planning.liveness import analyse
from memtrain.run.allocation import ALLOCATIONS, peak_bytes
from memtrain.training.iteration import training
from memtrain.training.loop import check_rate, train
from memtrain.training.sources import load, split


@pytest.fixture(scope="module")
def digits():
    return split(load("digits"), MLP())


def run(digits, spec=None, **options):
    spec = spec or mlp(32, 64, (256, 256), 10)
    return train(*spec, *digits, **{"optimizer": "sgd", "rate": 0.1, "epochs": 2, "seed": 0, **options})


def test_the_default_run_reads_97_percent_of_unseen_digits_in_the_median_of_3_seeds(digits):
    accuracies = [run(digits, epochs=40, seed=seed).test_accuracy for seed in range(3)]
    assert median(accuracies) >= 0.97


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(digits):
    first, second, other = run(digits), run(digits), run(digits, seed=1)
    for name, value in first.parameters.items():
        assert np.array_equal(value, second.parameters[name])
    assert first.epochs == second.epochs
    assert not np.array_equal(first.parameters["W1"], other.parameters["W1"])


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("bias", [False, True])
def test_every_optimiser_lowers_the_loss(digits, optimizer, bias):
    rates = {"sgd": 0.1, "momentum": 0.02, "adam": 0.001}
    trained = run(
        digits, mlp(64, 64, (32,), 10, bias=bias), optimizer=optimizer, rate=rates[optimizer], epochs=3
    )
    assert trained.epochs[-1].loss < trained.epochs[0].loss


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_the_peak_of_a_training_is_the_predicted_one(digits, allocation):
    spec = mlp(64, 64, (32, 32), 10, activation="gelu")
    predicted = peak_bytes(analyse(training(build(spec), "sgd", 0.1)), allocation)
    assert run(digits, spec, epochs=1, allocation=allocation).peak_bytes == predicted


def test_a_batch_larger_than_the_data_is_trained_on(digits):
    assert run(digits, mlp(3000, 64, (8,), 10), epochs=2).test_accuracy > 0.05


def test_epochs_are_told_as_they_end(digits):
    told = []
    trained = run(digits, epochs=3, on_epoch=told.append)
    assert tuple(told) == trained.epochs
    assert [epoch.number for epoch in told] == [1, 2, 3]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_no_positive_number_is_refused(rate):
    with pytest.raises(SpecError, match="lr"):
        check_rate(rate)


def test_start_values_are_seeded_per_layer_and_scaled_by_activation():
    relu = initial_values(mlp(1, 400, (500,), 10), 0)
    tanh = initial_values(mlp(1, 400, (500,), 10, activation="tanh", bias=True), 0)
    assert relu["W1"].shape == (500, 400)
    assert relu["W1"].std() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert tanh["W1"].std() == pytest.approx((2 / 900) ** 0.5, rel=0.02)
    assert not tanh["b1"].any()
    deeper = initial_values(mlp(1, 400, (500, 7), 10), 0)
    assert np.array_equal(relu["W1"], deeper["W1"])
