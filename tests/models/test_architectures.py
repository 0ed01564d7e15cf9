"""Published architectures: their parameters, and what they retain beside what PyTorch saves."""

from __future__ import annotations

import pytest
from architectures import F4, PUBLISHED

from memtrain.cells.cell import cell_of
from memtrain.graph.builder import Builder
from memtrain.graph.node import Role
from memtrain.graph.ops.arithmetic import sum_to
from memtrain.graph.ops.source import Leaf
from memtrain.models.declared import Layers
from memtrain.models.network import Model
from memtrain.models.rnn import TANH, RecurrentLayer
from memtrain.planning.liveness import analyse
from memtrain.training.iteration import training


def retained_bytes(liveness):
    return sum(node.nbytes for node in liveness.most_retained)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.name)
def test_an_architecture_has_its_parameters_and_retains_what_pytorch_saves_but_for_known_parts(published):
    model = published.build(published.batch)
    assert sum(node.size for node in model.trainable) == published.parameters
    assert retained_bytes(analyse(training(model, "sgd", 0.1))) == published.pytorch_bytes - sum(
        published.more.values()
    )


@pytest.mark.oracle
@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.name)
def test_pytorch_saves_what_is_said_of_it(published):
    torch = pytest.importorskip("torch")
    from torch_architectures import MODULES
    from torch_saved import saved_bytes

    module = MODULES[published.name]()
    assert sum(parameter.numel() for parameter in module.parameters()) == published.parameters
    n, side, _, channels = published.build(published.batch).feeds[0].shape
    x, y = torch.zeros(n, channels, side, side), torch.zeros(n, dtype=torch.int64)
    given = [x, y, *module.parameters(), *module.buffers()]
    saved = saved_bytes(lambda: torch.nn.functional.cross_entropy(module(x), y), given)
    assert saved == published.pytorch_bytes


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


def recurrent(steps, n=32, inputs=16, units=64):
    """The liveness of training a layer of tanh on ``steps`` given inputs, with the sum of the last state."""
    b = Builder()
    given = [b.apply(Leaf(Role.INPUT, (n, inputs), F4), name=f"x{step}") for step in range(1, steps + 1)]
    layers = Layers(b, F4, bias=True)
    *_, last = RecurrentLayer(layers, TANH, inputs, units).over(given, n)
    loss = sum_to(b, last, ())
    return analyse(
        training(Model(b, tuple(given), tuple(layers.parameters), (last,), loss, loss), "sgd", 0.1)
    )


@pytest.mark.parametrize(("steps", "retained"), [(10, 90_112), (20, 172_032), (40, 335_872)])
def test_a_recurrent_layer_of_tanh_retains_its_state_before_and_after_each_step(steps, retained):
    liveness = recurrent(steps)
    assert retained_bytes(liveness) == retained == (1 + steps) * 4 * 32 * 64
    assert {node.shape for node in liveness.most_retained} == {(32, 64)}


def test_each_step_costs_training_one_state_and_one_input():
    peaks = [recurrent(steps).peak_bytes for steps in (10, 20, 40)]
    each = 4 * 32 * (64 + 16)
    assert [peaks[1] - peaks[0], peaks[2] - peaks[1]] == [10 * each, 20 * each]
