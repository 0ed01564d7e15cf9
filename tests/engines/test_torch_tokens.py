"""PyTorch's own training of language models, counted, beside what is predicted of it without PyTorch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from torch_cells import assert_predicted, assert_same_training, cell_in_pytorch
from torch_saved import saved_names

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import ACTIVATIONS
from memtrain.measure.workload import Workload
from memtrain.models.network import Network
from memtrain.models.rnn import GATES, RNN
from memtrain.models.transformer import ATTENTIONS, NORMS, Transformer

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")


def drawn_transformer(draw: random.Random) -> Transformer:
    """A transformer. A head has more than one value, or else watching PyTorch changes what it does."""
    heads = draw.choice((1, 2, 4))
    return Transformer(
        depth=draw.choice((1, 2, 3)),
        width=heads * draw.choice((2, 3, 8, 16)),
        heads=heads,
        sequence=draw.choice((1, 2, 5, 33)),
        vocabulary=draw.choice((2, 7, 300)),
        norm=draw.choice(NORMS),
        dropout=draw.choice((0.0, 0.1)),
        attention=draw.choice(ATTENTIONS),
        tied=draw.random() < 0.5,
        bias=draw.random() < 0.5,
        l2=draw.choice((0.0, 1e-4)),
        dtype=draw.choice(("float32", "float64")),
        activation=draw.choice(ACTIVATIONS),
    )


def drawn_rnn(draw: random.Random) -> RNN:
    """A recurrent network."""
    return RNN(
        depth=draw.choice((1, 2, 3)),
        width=draw.choice((1, 3, 8, 32)),
        sequence=draw.choice((1, 2, 5, 16)),
        vocabulary=draw.choice((2, 7, 300)),
        unit=draw.choice(tuple(GATES)),
        bias=draw.random() < 0.5,
        l2=draw.choice((0.0, 1e-4)),
        dtype=draw.choice(("float32", "float64")),
    )


FAMILIES = {"transformer": drawn_transformer, "rnn": drawn_rnn}
Drawn = Callable[[random.Random], Network]


def drawn(family: Drawn, number: int) -> Cell:
    """A cell of a family. Every size, form and optimiser of it is drawn."""
    draw = random.Random(number)
    return cell_in_pytorch(family(draw), draw, (1, 2, 3, 8))


@pytest.mark.parametrize("number", range(24))
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_is_predicted_of_pytorch_is_what_it_holds(family, number):
    assert_predicted(drawn(family, number))


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_both_engines_compute_the_same_training(family, number):
    cell = drawn(family, 100 + number).changed(dtype="float64", foreach=False)
    if family is drawn_transformer:
        cell = cell.changed(dropout=0.0)
    assert_same_training(cell)


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_autograd_saves_what_is_predicted_under_its_names(family, number):
    cell = drawn(family, 200 + number).changed(accumulate=1)
    workload = Workload(cell, Mode.TRAIN)
    run = workload.new_run()
    workload.load(run)
    found = saved_names(run.loss())
    assert found == Counter((each.function, each.variable) for each in cell.recorded(Mode.TRAIN).saved)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_heads_of_one_value_without_bias(attention):
    """Their results lie in another order, so PyTorch copies them before the next product."""
    network = Transformer(depth=1, width=4, heads=4, sequence=5, vocabulary=7, attention=attention)
    assert_predicted(Cell(network, batch=3, data="synthetic", engine="torch"))
