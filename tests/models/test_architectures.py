"""Published architectures: their parameters, and what they retain beside what PyTorch saves."""

from __future__ import annotations

import pytest
from architectures import NUMBER, PUBLISHED

from memtrain.cells.cell import cell_of
from memtrain.planning.liveness import analyse
from memtrain.training.iteration import training


def retained_bytes(model):
    return sum(node.nbytes for node in analyse(training(model, "sgd", 0.1)).most_retained)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.name)
def test_an_architecture_has_its_parameters_and_retains_what_pytorch_saves_but_for_known_parts(published):
    model = published.model()
    assert sum(node.size for node in model.trainable) == published.parameters
    assert retained_bytes(model) == published.pytorch_bytes - sum(published.more.values())


def test_lenet_has_the_parameters_of_the_book_and_retains_what_pytorch_saves_but_for_a_number():
    model = cell_of(model="lenet", batch=256).network.build(256)
    assert sum(node.size for node in model.trainable) == 61_706
    assert retained_bytes(model) == 8_288_260 - sum(NUMBER.values())


def test_gpt_2_has_its_parameters():
    network = cell_of(
        model="transformer",
        depth=12,
        width=768,
        heads=12,
        sequence=1024,
        vocabulary=50257,
        tied=True,
        bias=True,
    ).network
    assert sum(node.size for node in network.build(1).trainable) == 124_439_808
