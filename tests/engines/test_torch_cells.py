"""PyTorch's own training, counted, beside what is predicted of it without PyTorch."""

from __future__ import annotations

import random

import pytest
from torch_cells import assert_predicted, assert_same_training, cell_in_pytorch, counted

from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.cells.columns import ACTIVATIONS
from memtrain.models.mlp import LOSSES, MLP
from memtrain.planning.liveness import analyse

pytestmark = pytest.mark.oracle
pytest.importorskip("torch")


def drawn_mlp(number: int) -> Cell:
    """A cell of a multilayer perceptron. Every activation, loss, optimiser and form of it is drawn."""
    draw = random.Random(number)
    network = MLP(
        depth=draw.choice((0, 1, 2, 5)),
        width=draw.choice((1, 7, 64, 300)),
        activation=ACTIVATIONS[number % len(ACTIVATIONS)],
        bias=draw.random() < 0.5,
        l2=draw.choice((0.0, 1e-4)),
        dtype=draw.choice(("float32", "float64")),
        loss=draw.choice(LOSSES),
    )
    return cell_in_pytorch(network, draw, (1, 3, 64, 1000))


@pytest.mark.parametrize("number", range(24))
def test_what_is_predicted_of_pytorch_is_what_it_holds(number):
    assert_predicted(drawn_mlp(number))


@pytest.mark.parametrize("number", range(6))
def test_both_engines_compute_the_same_training(number):
    assert_same_training(drawn_mlp(100 + number).changed(dtype="float64", foreach=False))


def test_the_roles_at_the_peak_are_what_pytorch_saves_and_accumulates():
    cell = cell_of(depth=8, width=256, batch=1024, optimizer="adam", engine="torch", data="synthetic")
    ledger, _, workload = counted(cell, Mode.TRAIN)
    liveness = analyse(workload.schedule)
    assert {role: n for role, n in ledger.peak_role_bytes.items() if n} == {
        role: n for role, n in liveness.peak_role_bytes.items() if n
    }
