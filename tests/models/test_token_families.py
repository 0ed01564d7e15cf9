"""Language models: predicted = ledger, PyTorch's losses and parameters, masks, and what they retain."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from memtrain.cells.cell import BOTH, Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.errors import DataError, SpecError
from memtrain.explaining.proof import prove
from memtrain.explaining.second import second_order
from memtrain.graph.node import Role
from memtrain.measure.workload import batches
from memtrain.planning.liveness import analyse
from memtrain.planning.remat.chain import chains
from memtrain.run.allocation import make_run
from memtrain.run.ledger import Ledger
from memtrain.sweeps.grid import make_cell

SMALL = {
    "transformer": {"depth": 2, "width": 8, "heads": 2, "sequence": 5, "batch": 6},
    "transformer with dropout": {
        "depth": 2,
        "width": 8,
        "sequence": 5,
        "batch": 6,
        "dropout": 0.2,
        "norm": "rms",
    },
    "transformer tied": {"depth": 1, "width": 8, "sequence": 5, "batch": 6, "tied": True, "bias": True},
    "transformer in blocks": {"width": 8, "sequence": 5, "batch": 6, "attention": "blocks"},
    "rnn of tanh": {"depth": 2, "width": 6, "sequence": 4, "batch": 6, "unit": "tanh", "bias": True},
    "rnn of lstm": {"depth": 2, "width": 6, "sequence": 4, "batch": 6, "unit": "lstm", "bias": True},
    "rnn of gru": {"depth": 1, "width": 6, "sequence": 4, "batch": 6, "unit": "gru", "bias": True},
}


def small(name, **columns):
    return make_cell({"model": name.split()[0], **SMALL[name], **columns})


@pytest.mark.parametrize("name", SMALL)
def test_predicted_is_what_the_ledger_counts(name):
    for policy, accumulate, optimizer, update in [
        ("none", 1, "sgd", "deferred"),
        ("sqrt", 1, "adam", "eager"),
        ("none", 3, "momentum", "eager"),
    ]:
        cell = small(name, policy=policy, accumulate=accumulate, optimizer=optimizer, update=update)
        for mode in BOTH:
            schedule, ledger = cell.schedule(mode), Ledger()
            run = make_run(schedule, "fresh", ledger)
            run.load(cell.network.initial_values(0))
            for batch in islice(batches(cell), 2):
                run.feed(batch)
                run.iterate()
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
    """The parameters after some iterations, by name."""
    run = make_run(cell.schedule(Mode.TRAIN), "fresh")
    run.load(cell.network.initial_values(0))
    for batch in islice(batches(cell), steps):
        run.feed(batch)
        run.iterate()
    return {node.name: run.value(node.name).copy() for node in run.schedule.leaves(Role.PARAMETER)}


def test_the_blocks_of_a_transformer_are_stages_which_a_policy_computes_again():
    cell = small("transformer", depth=4, sequence=32)
    (chain,) = chains(cell.schedule(Mode.TRAIN))
    graph = cell.schedule(Mode.TRAIN).graph
    assert {"y1", "y2", "y3", "y4"} <= {graph[i].name for i in chain.outputs}
    kept, again = (predicted_row(cell.changed(policy=policy), Mode.TRAIN) for policy in ("none", "revolve:1"))
    assert again["predicted_peak_bytes"] < 0.6 * kept["predicted_peak_bytes"]


@pytest.mark.parametrize("name", ["transformer with dropout", "rnn of gru"])
def test_recomputation_changes_no_bit_also_of_random_masks(name):
    kept = trained(small(name))
    for leaf, values in trained(small(name, policy="sqrt")).items():
        np.testing.assert_array_equal(values, kept[leaf], err_msg=leaf)


def test_masks_differ_between_iterations_and_micro_batches_and_vanish_in_inference():
    cell = small("transformer with dropout", accumulate=2)
    first, second = islice(batches(cell), 2)
    assert first["key"].shape == (2, 2)
    assert len({tuple(key) for batch in (first, second) for key in batch["key"]}) == 4
    ops = {node.op.name for node in cell.network.build(2).builder.nodes}
    steps = cell.schedule(Mode.INFER)
    assert "dropout" in ops
    assert {"dropout", "random_mask"}.isdisjoint(steps.graph[step.node].op.name for step in steps.steps)


def test_a_language_model_reads_a_text_and_no_other_data(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"to be, or not to be, that is the question: " * 20)
    cell = small("transformer", data=str(tmp_path / "a.txt"))
    batch = next(batches(cell))
    np.testing.assert_array_equal(batch["x"][:, 1:], batch["y"][:, :-1])
    with pytest.raises(DataError, match="this network reads a text, and the data are numbers"):
        small("rnn of gru", data="digits")
    with pytest.raises(DataError, match="the data topics are a text, and this network reads numbers"):
        make_cell({"data": "topics"})
    with pytest.raises(SpecError, match="width 10 cannot be divided among 4 heads"):
        cell_of(model="transformer", width=10)
    with pytest.raises(SpecError, match="dropout 1"):
        cell_of(model="transformer", dropout=1.0)


@pytest.mark.oracle
@pytest.mark.parametrize("name", [name for name in SMALL if "dropout" not in name])
def test_losses_and_parameters_after_adam_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    import torch_tokens

    cell = small(name, dtype="float64", optimizer="adam", l2=0.0)
    start = cell.network.initial_values(0)
    tensors = {leaf: torch.tensor(value, requires_grad=True) for leaf, value in start.items()}
    optimizer = torch.optim.Adam(tensors.values(), lr=0.001)
    run = make_run(cell.schedule(Mode.TRAIN), "fresh")
    run.load(start)
    for batch in islice(batches(cell), 3):
        run.feed(batch)
        ours = run.iterate()[0]
        optimizer.zero_grad()
        loss = torch_tokens.loss(cell.network, tensors, torch.tensor(batch["x"]), torch.tensor(batch["y"]))
        loss.backward()
        optimizer.step()
        np.testing.assert_allclose(ours, loss.item(), rtol=1e-9)
    for leaf in start:
        found = tensors[leaf].detach().numpy()
        np.testing.assert_allclose(run.value(leaf), found, rtol=1e-7, atol=1e-8, err_msg=leaf)
