"""Networks of images: predicted = ledger, PyTorch's losses and parameters, and what they retain."""

from __future__ import annotations

from itertools import islice, product

import numpy as np
import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.errors import SpecError
from memtrain.explaining.proof import prove
from memtrain.explaining.second import second_order
from memtrain.graph.node import Phase, Role
from memtrain.measure.workload import batches
from memtrain.planning import packing
from memtrain.planning.liveness import analyse
from memtrain.planning.remat.rematerialisation import smallest_budget
from memtrain.run.allocation import ALLOCATIONS, make_run
from memtrain.run.ledger import Ledger

SMALL = {
    "lenet": {"depth": 2, "image": 16, "batch": 6},
    "cnn": {"depth": 3, "width": 6, "image": 8, "batch": 6},
    "cnn of batch norms": {"depth": 2, "width": 6, "image": 8, "batch": 6, "norm": "batch", "bias": True},
    "cnn of group norms": {"depth": 2, "width": 6, "image": 8, "batch": 6, "norm": "group", "kernel": 5},
    "resnet": {"depth": 3, "width": 6, "image": 8, "batch": 6},
    "resnet with bias": {"depth": 2, "width": 4, "image": 8, "batch": 6, "bias": True},
}


def small(name, **columns):
    return cell_of(model=name.split()[0], **{**SMALL[name], **columns})


@pytest.mark.parametrize("name", SMALL)
def test_predicted_is_what_the_ledger_counts(name, monkeypatch):
    monkeypatch.setattr(packing, "_MOST_ATTEMPTS", 2)
    for policy, accumulate, optimizer, update in [
        ("none", 1, "sgd", "deferred"),
        ("sqrt", 1, "adam", "deferred"),
        ("none", 3, "momentum", "eager"),
        ("revolve:2", 2, "sgd", "eager"),
    ]:
        cell = small(name, policy=policy, accumulate=accumulate, optimizer=optimizer, update=update)
        for mode, allocation in product(Mode, ALLOCATIONS):
            schedule, ledger = cell.schedule(mode), Ledger()
            run = make_run(schedule, allocation, ledger)
            run.load(cell.network.initial_values(0))
            for batch in islice(batches(cell), 2):
                run.feed(batch)
                run.iterate()
            if allocation == "fresh":
                assert ledger.peak_bytes == analyse(schedule).peak_bytes


@pytest.mark.parametrize("columns", [{}, {"policy": "sqrt", "update": "eager"}])
@pytest.mark.parametrize("name", SMALL)
def test_every_retained_value_is_needed_and_every_freed_one_is_not(name, columns):
    cell = small(name, **columns)
    proof = prove(cell.schedule(Mode.TRAIN), cell.network.initial_values(0), next(batches(cell)))
    assert proof.failures() == []


@pytest.mark.parametrize("name", SMALL)
def test_the_second_derivative_agrees_with_differences_of_the_gradient(name):
    found = second_order(small(name))
    assert found.relative_error < 1e-6
    assert sum(entry.bytes for entry in found.second_standing) == found.second.peak_bytes


def trained(cell, steps=3):
    """The values of all parameters after some iterations, by name."""
    run = make_run(cell.schedule(Mode.TRAIN), cell.allocation_for(timing=False))
    run.load(cell.network.initial_values(0))
    for batch in islice(batches(cell), steps):
        run.feed(batch)
        run.iterate()
    return {node.name: run.value(node.name).copy() for node in run.schedule.leaves(Role.PARAMETER)}


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", ["cnn of batch norms", "resnet"])
def test_no_way_to_run_a_cell_changes_a_bit_or_updates_a_statistic_twice(name, accumulate, monkeypatch):
    monkeypatch.setattr(packing, "_MOST_ATTEMPTS", 2)
    cell = small(name, accumulate=accumulate, cost="flops")
    kept, statistics = trained(cell, 2), len(cell.network.build(6).frozen)
    budget = f"budget:{smallest_budget(cell.schedule(Mode.TRAIN)) + 2048}"
    for policy, update, allocation in [
        ("none", "eager", "fresh"),
        ("sqrt", "deferred", "fresh"),
        ("sqrt", "eager", "packed"),
        ("revolve:1", "eager", "fresh"),
        (budget, "deferred", "fresh"),
    ]:
        changed = cell.changed(policy=policy, update=update, allocation=allocation)
        schedule = changed.schedule(Mode.TRAIN)
        again = sum(step.phase is Phase.RECOMPUTE for step in schedule.steps)
        assert (again > 5) == (policy != "none")
        assert sum(schedule.graph[step.node].op.tracks for step in schedule.steps) == statistics * accumulate
        for leaf, values in trained(changed, 2).items():
            np.testing.assert_array_equal(values, kept[leaf], err_msg=f"{leaf} {policy} {update}")


@pytest.mark.parametrize("columns", [{}, {"policy": "sqrt", "update": "eager", "allocation": "packed"}])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_running_statistics_are_updated_once_for_each_micro_batch(accumulate, columns):
    cell = small("cnn of batch norms", accumulate=accumulate, dtype="float64", **columns)
    batch = next(batches(cell))
    found = trained(cell, 1)
    mean, variance = np.zeros(6), np.ones(6)
    kernel, bias = (cell.network.initial_values(0)[leaf] for leaf in ("K1", "b1"))
    padded = np.pad(batch["x"], ((0, 0), (1, 1), (1, 1), (0, 0)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    z = np.einsum("nhwcij,oijc->nhwo", seen, kernel) + bias
    for part in np.split(z, accumulate):
        mean = 0.9 * mean + 0.1 * part.mean((0, 1, 2))
        variance = 0.9 * variance + 0.1 * part.reshape(-1, 6).var(0, ddof=1)
    np.testing.assert_allclose(found["mean1"], mean, rtol=1e-12)
    np.testing.assert_allclose(found["var1"], variance, rtol=1e-12)


def test_what_a_family_lacks_and_images_that_are_too_small_are_refused():
    with pytest.raises(SpecError, match="family lenet has no width; drop width"):
        cell_of(model="lenet", width=8)
    with pytest.raises(SpecError, match="too small for 3 convolutions with pools; use --depth 2"):
        cell_of(model="lenet", depth=3)
    with pytest.raises(SpecError, match="can be halved for 11 blocks, not for 12"):
        cell_of(model="cnn", depth=12)
    with pytest.raises(SpecError, match="kernel 4 is even"):
        cell_of(model="cnn", kernel=4)
    with pytest.raises(SpecError, match="norm 'layer'"):
        cell_of(model="resnet", norm="layer")


@pytest.mark.oracle
@pytest.mark.parametrize("name", SMALL)
def test_losses_statistics_and_parameters_after_adam_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    import torch_images

    cell = small(name, dtype="float64", optimizer="adam", l2=0.0)
    start = cell.network.initial_values(0)
    tensors = {leaf: torch.tensor(torch_images.as_torch(value)) for leaf, value in start.items()}
    learnt = [leaf for leaf in start if not leaf.startswith(("mean", "var"))]
    for leaf in learnt:
        tensors[leaf].requires_grad_()
    optimizer = torch.optim.Adam([tensors[leaf] for leaf in learnt], lr=0.001)
    run = make_run(cell.schedule(Mode.TRAIN), "fresh")
    run.load(start)
    for batch in islice(batches(cell), 3):
        run.feed(batch)
        ours = run.iterate()[0]
        optimizer.zero_grad()
        loss = torch_images.loss(
            cell.network, tensors, torch.tensor(torch_images.as_torch(batch["x"].astype(float))), batch["y"]
        )
        loss.backward()
        optimizer.step()
        np.testing.assert_allclose(ours, loss.item(), rtol=1e-9)
    for leaf in start:
        found = torch_images.as_torch(run.value(leaf))
        np.testing.assert_allclose(found, tensors[leaf].detach().numpy(), rtol=1e-7, atol=1e-9, err_msg=leaf)
