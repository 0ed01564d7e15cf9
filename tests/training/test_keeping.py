"""What an iteration keeps longer than it needs, in memtrain's engine. Sizes are worked out by hand."""

from __future__ import annotations

from math import isclose

import numpy as np
import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.errors import SpecError
from memtrain.graph.node import Role
from memtrain.measure.workload import Workload
from memtrain.planning.liveness import analyse
from memtrain.run.ledger import Ledger
from memtrain.training.keeping import AFTER_UPDATE, BEFORE_FORWARD, KEPT

BATCH, INPUTS, UNITS, CLASSES = 1024, 64, 256, 10
DEEP = {"depth": 16, "batch": BATCH, "data": "synthetic", "l2": 0.0}
HIDDEN, OUTPUT = BATCH * UNITS * 4, BATCH * CLASSES * 4
PARAMETERS = (INPUTS * UNITS + 15 * UNITS * UNITS + UNITS * CLASSES) * 4
X, Y = BATCH * INPUTS * 4, BATCH * 8
SMALL = {"depth": 3, "width": 5, "batch": 4, "data": "synthetic", "steps": 3}


def ledger_of(mode=Mode.TRAIN, **columns):
    """The ledger of a run of the cell, and its prediction."""
    workload, ledger = Workload(cell_of(**columns), mode), Ledger()
    workload.run_all(workload.new_run(ledger))
    return ledger, analyse(workload.schedule)


def peak_bytes(mode=Mode.TRAIN, **columns):
    """The predicted peak of a cell. Fails unless the ledger counts the same."""
    ledger, liveness = ledger_of(mode, **columns)
    assert ledger.peak_bytes == liveness.peak_bytes
    assert ledger.peak_role_bytes == liveness.peak_role_bytes
    return liveness.peak_bytes


def trained(**columns):
    """The losses and the parameters of a run of three iterations."""
    cell = cell_of(**{**SMALL, **columns})
    workload = Workload(cell, Mode.TRAIN)
    run = workload.new_run()
    losses = workload.run_all(run)
    return losses, [run.value(node.name).copy() for node in cell.network.build(1).parameters]


def test_forward_without_no_grad_holds_what_backward_would_read():
    """Inference needs two hidden layers at a time. With gradients on, all sixteen and the output stay."""
    held = PARAMETERS + X
    assert peak_bytes(Mode.INFER, **DEEP) == held + 2 * HIDDEN == 6_367_232
    assert peak_bytes(Mode.EVAL_GRAD, **DEEP) == held + 16 * HIDDEN + OUTPUT == 21_088_256
    retained = analyse(cell_of(**DEEP).schedule(Mode.EVAL_GRAD)).most_retained
    assert [node.name for node in retained] == [f"h{k}" for k in range(1, 17)]


def test_forward_without_no_grad_is_that_of_eval_mode():
    """Dropout is off, and running statistics stay as they are."""
    cell = cell_of(model="resnet", depth=1, width=4, image=8, batch=2, norm="batch", data="synthetic")
    schedule = cell.schedule(Mode.EVAL_GRAD)
    assert not any(schedule.graph[step.node].op.tracks for step in schedule.steps)
    dropped = cell_of(
        model="transformer", depth=1, width=4, sequence=3, batch=2, dropout=0.5, data="synthetic"
    )
    graph = dropped.schedule(Mode.EVAL_GRAD).graph
    assert not any("drop" in node.op.name for node in graph)


def test_frozen_layers_below_a_trained_one_hold_nothing_without_no_grad_either():
    cell = cell_of(**DEEP, freeze="1-16")
    assert [node.name for node in analyse(cell.schedule(Mode.EVAL_GRAD)).most_retained] == ["h16"]


def test_gradients_that_live_until_the_next_forward_are_all_there_at_the_end():
    ledger, liveness = ledger_of(**SMALL, gradients=BEFORE_FORWARD)
    gradients = liveness.schedule.held
    last = liveness.standing(len(liveness.live_bytes) - 1)
    assert {life.node.id for life in last} >= set(gradients)
    assert len(gradients) == 4
    assert ledger.peak_bytes == liveness.peak_bytes


def test_kept_gradients_stand_at_every_step():
    """The peak is at ∂L/∂h. Without kept gradients only ∂L/∂W2 exists there, and with them both do."""
    n, d, m, q = 512, 8, 64, 10
    sizes = {
        "depth": 1,
        "width": m,
        "batch": n,
        "input_size": d,
        "output_size": q,
        "l2": 0.0,
        "data": "synthetic",
    }
    w1, w2 = d * m * 4, m * q * 4
    held = n * d * 4 + n * 8 + w1 + w2
    passing = n * m * 4 + n * q * 4 + 4 + n * m * 4  # h, ∂L/∂o, the loss and ∂L/∂h
    assert peak_bytes(**sizes) == held + passing + w2
    assert peak_bytes(**sizes, gradients=KEPT) == held + passing + w1 + w2
    liveness = analyse(cell_of(**sizes, gradients=KEPT).schedule(Mode.TRAIN))
    assert liveness.peak_role_bytes[Role.GRADIENT] == w1 + w2


def test_a_retained_graph_stands_until_the_end():
    liveness = analyse(cell_of(**DEEP, retain_graph=True).schedule(Mode.TRAIN))
    last = liveness.standing(len(liveness.live_bytes) - 1)
    assert sum(life.node.nbytes for life in last if life.role is Role.RETAINED) == 16 * HIDDEN + OUTPUT
    plain = cell_of(**DEEP).schedule(Mode.TRAIN)
    assert sum(n.nbytes for n in analyse(plain).most_retained) == 16 * HIDDEN + OUTPUT


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("allocation", ["fresh", "packed"])
def test_what_is_kept_changes_no_bit(optimizer, allocation):
    losses, parameters = trained(optimizer=optimizer)
    for columns in (
        {"gradients": BEFORE_FORWARD},
        {"gradients": KEPT},
        {"gradients": KEPT, "update": "eager"},
        {"retain_graph": True},
        {"gradients": KEPT, "accumulate": 2, "policy": "none"},
        {"gradients": KEPT, "policy": "revolve:1"},
    ):
        found, values = trained(optimizer=optimizer, allocation=allocation, **columns)
        if "accumulate" in columns:  # sums in another order
            assert all(isclose(one, other, rel_tol=1e-5) for one, other in zip(found, losses, strict=True))
            continue
        assert found == losses
        for value, other in zip(values, parameters, strict=True):
            np.testing.assert_array_equal(value, other)


def test_one_step_watches_the_first_iteration():
    columns = {**SMALL, "optimizer": "adam"}
    assert peak_bytes(**{**columns, "steps": 1}) == peak_bytes(
        **columns
    )  # memtrain makes its state at the start


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"retain_graph": True, "policy": "sqrt"}, "retain-graph keeps what policy sqrt frees"),
        ({"retain_graph": True, "accumulate": 2}, "retain-graph keeps what accumulate 2 frees"),
        ({"gradients": "later"}, "gradients"),
        ({"steps": 0}, "steps"),
    ],
)
def test_what_cannot_be_kept_is_refused(columns, said):
    with pytest.raises(SpecError, match=said):
        cell_of(**columns)


def test_the_default_keeps_nothing():
    assert cell_of().keeping == (AFTER_UPDATE, False)
