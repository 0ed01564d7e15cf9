"""Networks of images in PyTorch: predicted = ledger, and the training of both engines is the same."""

from __future__ import annotations

import random
from contextlib import nullcontext

import pytest
from torch_cells import assert_predicted, assert_same_training, cell_in_pytorch, counted

from memtrain.cells.cell import Cell, Mode, cell_of
from memtrain.cells.columns import ACTIVATIONS
from memtrain.errors import SpecError
from memtrain.graph.node import Phase, Role
from memtrain.models.families import make_network
from memtrain.planning.liveness import analyse
from memtrain.run.ledger import Ledger

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")
torch_run = pytest.importorskip("memtrain.engines.torch_run")

FAMILIES = {
    "lenet": {"depth": (1, 2, 3), "image": (28, 29, 44)},
    "cnn": {
        "depth": (1, 2, 3, 5),
        "image": (4, 8, 9, 16),
        "width": (1, 3, 12, 20),
        "kernel": (1, 3, 5),
        "pool": (2, 3),
        "norm": ("none", "batch", "group"),
    },
    "resnet": {
        "depth": (1, 2, 3, 5),
        "image": (5, 8, 9, 16),
        "width": (1, 3, 12, 20),
        "norm": ("batch", "group"),
    },
}
"""The columns from which the networks of each family are drawn."""


def drawn(family: str, number: int) -> Cell:
    """A cell of the family. The activations and the norms take turns; all else is drawn."""
    draw = random.Random(f"{family} {number}")
    columns = {name: draw.choice(values) for name, values in FAMILIES[family].items()}
    if "norm" in columns:
        columns["norm"] = FAMILIES[family]["norm"][number % len(FAMILIES[family]["norm"])]
    if family == "lenet" and columns["image"] < 44:
        columns["depth"] = min(columns["depth"], 2)
    network = make_network(
        family,
        {
            **columns,
            "activation": ACTIVATIONS[number % len(ACTIVATIONS)],
            "bias": draw.random() < 0.5,
            "l2": draw.choice((0.0, 1e-4)),
            "dtype": draw.choice(("float32", "float64")),
            "channels": draw.choice((1, 3)),
        },
    )
    return cell_in_pytorch(network, draw, (1, 2, 3, 17))


@pytest.mark.parametrize("number", range(14))
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_predicted_of_networks_of_images_is_what_pytorch_holds(family, number):
    assert_predicted(drawn(family, number))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("family", FAMILIES)
def test_both_engines_train_networks_of_images_to_the_same_parameters(family, number):
    assert_same_training(drawn(family, 100 + number).changed(dtype="float64"))


def test_running_statistics_are_parameters_that_forward_updates_and_nothing_else_holds():
    cell = cell_of(model="cnn", depth=2, width=8, image=8, batch=4, norm="batch", engine="torch")
    model = cell.network.build(4)
    parameters = sum(node.nbytes for node in model.parameters)
    assert len(model.frozen) == 4
    for mode in Mode:
        ledger, _, workload = counted(cell, mode)
        graph = workload.schedule.graph
        written = [graph[step.node] for step in workload.schedule.steps if graph[step.node].op.writes == 0]
        running = [node for node in written if node.label == "native_batch_norm"]
        assert len(running) == (4 if mode is Mode.TRAIN else 0)
        assert ledger.peak_role_bytes[Role.PARAMETER] == parameters
        assert analyse(workload.schedule).peak_role_bytes[Role.PARAMETER] == parameters


@pytest.mark.parametrize(("norm", "refused"), [("batch", [Mode.TRAIN]), ("group", list(Mode))])
def test_a_norm_of_one_value_is_refused_where_pytorch_refuses_it(norm, refused):
    cell = cell_of(model="resnet", depth=1, image=1, batch=1, norm=norm, width=8, engine="torch")
    for mode in Mode:
        run = torch_run.TorchRun(cell.network, 1, cell.loop, 0.1 if mode is Mode.TRAIN else None)
        run.load(cell.network.initial_values(0))
        if mode in refused:
            with pytest.raises(SpecError, match=f"a {norm} norm with one value per .*; use a larger batch"):
                cell.schedule(mode)
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                run.iterate()
        else:
            cell.schedule(mode)
            run.iterate()
    assert_predicted(cell.changed(batch=2))


def two_own(h, a, b):
    return torch.tanh(h) + torch.sigmoid(h) + a + b


def one_shared(h, a, b):
    return torch.sigmoid(h + a) + torch.tanh(h) + b


def both_shared(h, a, b):
    return torch.sigmoid(h + a) + torch.tanh(h + b)


def place_of_the_sum(function, count):
    """Which of the two gradients of h takes the sum: the number of it, or ``None`` if it gets new storage."""
    x = torch.ones(1000, requires_grad=True)
    a, b, h = x.sin(), x.cos(), x.exp()
    given, taken = [], []
    with count or nullcontext():
        loss = function(h, a, b).sum()
        # The gradients of h come from those functions that have it as an input.
        waiting = [loss.grad_fn]
        while waiting:
            node = waiting.pop()
            for at, (below, _) in enumerate(node.next_functions):
                if below is h.grad_fn:
                    node.register_hook(lambda found, _, at=at: given.append(found[at].data_ptr()))
                elif below is not None:
                    waiting.append(below)
        h.grad_fn.register_prehook(lambda arrived: taken.append(arrived[0].data_ptr()))
        with count.during(Phase.BACKWARD) if count else nullcontext():
            loss.backward()
    assert len(given) == 2
    return given.index(taken[0]) if taken[0] in given else None


@pytest.mark.parametrize(
    ("function", "place"), [(two_own, 0), (one_shared, 0), (both_shared, None)], ids=lambda it: str(it)[:20]
)
def test_the_count_adds_gradients_as_the_engine_of_autograd_does_without_it(function, place):
    assert place_of_the_sum(function, None) == place
    assert place_of_the_sum(function, torch_run.Count(Ledger(), ())) == place
