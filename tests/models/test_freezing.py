"""Frozen layers: the retained bytes by hand, in both engines, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import planned_row, predicted_row
from memtrain.errors import SpecError
from memtrain.measure.workload import Workload
from memtrain.planning.liveness import analyse
from memtrain.report.frozen import frozen_sentences
from memtrain.run.ledger import Ledger

LOGP, H = 1024 * 10 * 4, 1024 * 256 * 4


def frozen_cell(freeze, **others):
    usual = {"input_size": 256, "data": "synthetic", "batch": 1024, "l2": 0.0}
    return cell_of(**usual | others, freeze=freeze)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        ("none", 8 * H + LOGP),  # z and h of four layers
        ("2-5", 4 * H + LOGP),  # for the gradient of z1: z of all layers, and no h
        ("2-4", 5 * H + LOGP),  # h4 too, for the gradient of W5
        ("1-4", H + LOGP),  # h4 only: backward ends at W5
    ],
)
def test_what_gelu_layers_keep_if_some_are_frozen(engine, freeze, expected):
    cell = frozen_cell(freeze, depth=4, activation="gelu", engine=engine)
    count_of_labels = 4 if engine == "torch" else 0
    assert predicted_row(cell, Mode.TRAIN)["retained_bytes"] == expected + count_of_labels


@pytest.mark.parametrize(
    ("freeze", "expected"), [("1-16", H + LOGP), ("1-13", 4 * H + LOGP), ("2-17", 16 * H + LOGP)]
)
def test_freezing_below_the_trained_layers_pays_and_above_them_does_not(freeze, expected):
    row = predicted_row(frozen_cell(freeze, depth=16), Mode.TRAIN)
    assert row["retained_bytes"] == expected
    (said,) = frozen_sentences([row], lambda cell: "it")
    if freeze == "2-17":
        assert "as without: backward passes through the frozen layers to reach layer1" in said
    else:
        assert "instead of 16.0 MiB. Backward ends at layer" in said


def test_a_sentence_says_of_layers_only_what_these_layers_have():
    above, below = (
        predicted_row(frozen_cell(freeze, depth=4, activation="gelu"), Mode.TRAIN)
        for freeze in ("2-5", "1-4")
    )
    (said,) = frozen_sentences([above], str)
    assert "Frozen layers above it keep only" in said
    assert "below it" not in said
    (said,) = frozen_sentences([below], str)
    assert said.endswith("Layers below it keep nothing.")


def test_a_budget_that_only_the_frozen_network_keeps_is_no_failure():
    cell = cell_of(depth=8, batch=1024, freeze="1-8", policy="budget:5MiB")
    row = planned_row(cell, Mode.TRAIN)
    assert row.ok
    assert not planned_row(cell.changed(freeze="none"), Mode.TRAIN).ok
    (said,) = frozen_sentences([row], lambda cell: "it")
    assert said == "With 1-8 frozen, it keeps 1.0 MiB for backward."


@pytest.mark.parametrize(
    ("columns", "freeze"),
    [
        ({"depth": 3, "activation": "tanh", "bias": True, "optimizer": "adam"}, "1+3"),
        ({"depth": 3, "optimizer": "momentum", "l2": 1e-4}, "2-3"),
        ({"model": "resnet", "depth": 2, "image": 8, "width": 8, "batch": 4}, "stem+1"),
        ({"model": "transformer", "depth": 2, "width": 16, "sequence": 8, "batch": 2}, "E+P+block1"),
        ({"model": "lenet", "depth": 1, "image": 12, "batch": 4}, "linear2+W"),
    ],
)
def test_a_frozen_network_is_predicted_and_its_frozen_parameters_stay(columns, freeze):
    cell = cell_of(data="synthetic", **columns, freeze=freeze)
    workload, ledger = Workload(cell, Mode.TRAIN), Ledger()
    run = workload.new_run(ledger)
    workload.run_all(run)
    assert ledger.peak_bytes == analyse(workload.schedule).peak_bytes
    model, start = cell.network.build(1), cell.network.initial_values(cell.seed)
    trained = {node.name for node in model.trainable}
    for node in model.parameters:
        if node.name.startswith(("mean", "var")):
            continue  # running statistics, which forward updates
        assert np.array_equal(run.value(node.name), start[node.name]) is (node.name not in trained), node.name


@pytest.mark.parametrize(
    ("freeze", "said"),
    [
        ("9", "freeze 9: there is no 9; the network has layer1, layer2"),
        ("1-2", "freeze 1-2 leaves nothing to train"),
        ("W7", "there is no W7"),
        ("", "there is no empty name"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze, said):
    with pytest.raises(SpecError, match=said):
        cell_of(depth=1, freeze=freeze).network.build(1)


def test_layers_frozen_below_the_lowest_trained_one_are_not_said_to_pass_gradients():
    (said,) = frozen_sentences([planned_row(cell_of(depth=2, batch=8, freeze="1"), Mode.TRAIN)], str)
    assert said.endswith("as without: the gradients of the trained layers need all of it.")
