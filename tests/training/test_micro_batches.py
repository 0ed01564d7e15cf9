"""Micro-batches: their sums of gradients give the same training up to rounding, with less memory."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from brute_force import brute_force, check_presence
from networks import KINDS, Arrays, Sized, build, draw, mlp
from packing_oracle import check_packing
from runs import outcome, same_bits

from memtrain.cells.cell import Mode, cell_of
from memtrain.errors import SpecError
from memtrain.explaining.proof import stale_reads
from memtrain.graph.node import Role
from memtrain.models.mlp import ACTIVATIONS, LOSSES
from memtrain.planning import packing
from memtrain.planning.cost import flops
from memtrain.planning.liveness import analyse
from memtrain.planning.occupancy import occupancy_of
from memtrain.planning.packing import pack
from memtrain.planning.remat.policy import read_policy
from memtrain.planning.remat.rematerialisation import rematerialise, smallest_budget
from memtrain.planning.schedule import Schedule
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger
from memtrain.run.packed import PackedRun
from memtrain.training.iteration import EAGER, UPDATES, accumulating, training
from memtrain.training.optimizers import OPTIMIZERS

pytestmark = pytest.mark.no_cover

SPECS = [
    mlp(12, 5, hidden, 4, activation, bias, l2, "float64", loss)
    for number, (activation, hidden, loss) in enumerate(product(ACTIVATIONS, ((), (7,), (6, 3, 6)), LOSSES))
    for bias, l2 in (((False, 0.0), (True, 0.3)), ((True, 0.0), (False, 0.3)))[number % 2]
    if activation in KINDS or (hidden == (7,) and bias)
]
COUNTS = (2, 3, 4, 12)


@pytest.fixture(autouse=True, scope="module")
def _short_search():
    """Shorten the search for a small arena, which takes a second each time: any arena is good enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_MOST_ATTEMPTS", 2)
        yield


def name_of(spec: Sized) -> str:
    return f"{spec.activation}-{spec.depth}-{spec.loss}{'-bias' * spec.bias}-{spec.l2:g}"


every_network = pytest.mark.parametrize("spec", SPECS, ids=name_of)


def trained(schedule: Schedule, values: Arrays, iterations: int = 1) -> Arrays:
    """J of the last iteration, and parameters and optimiser state after it.

    With momentum, the state after one iteration is the gradient itself.
    """
    run = Run(schedule)
    run.load(values)
    for t in range(1, iterations + 1):
        run.feed({"t": np.array(t)})
        j = float(run.iterate()[0])
    held = [*schedule.leaves(Role.PARAMETER), *schedule.leaves(Role.OPTIMIZER)]
    return {"J": np.array(j)} | {node.name: run.value(node.name).copy() for node in held}


def check_close(found: Arrays, expected: Arrays, tolerance: float = 1e-10) -> None:
    """Fail unless all arrays are equal to ``tolerance`` of their largest entry."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert np.abs(found[name] - value).max() <= tolerance * np.abs(value).max(), name


# -- the same training -------------------------------------------------------------------------------


@every_network
def test_loss_and_gradients_are_those_of_the_whole_batch(spec):
    values = draw(spec, 1)
    expected = trained(training(build(spec), "momentum", 0.1), values)
    assert {name for name in expected if name.startswith("v(")}
    for count in COUNTS:
        check_close(trained(accumulating(*spec, count, "momentum", 0.1), values), expected)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_parameters_and_state_after_some_iterations_are_those_of_the_whole_batch(optimizer, update):
    for spec in SPECS[::5]:
        values = draw(spec, 2)
        expected = trained(training(build(spec), optimizer, 0.01, update), values, 5)
        for count in (2, 4):
            found = trained(accumulating(*spec, count, optimizer, 0.01, update), values, 5)
            check_close(found, expected, 1e-8 if optimizer == "adam" else 1e-10)


def test_with_one_micro_batch_it_is_the_same_schedule():
    spec = SPECS[3]
    one, plain = accumulating(*spec, 1, "adam", 0.1), training(build(spec), "adam", 0.1)
    assert (one.steps, one.asked, one.persistent) == (plain.steps, plain.asked, plain.persistent)
    assert [node.name for node in one.graph] == [node.name for node in plain.graph]


def test_the_time_of_updates_and_the_allocation_change_no_bit():
    for spec, count in product(SPECS[::4], (2, 4)):
        values = draw(spec, 3) | {"t": np.array(1)}
        deferred, eager = (accumulating(*spec, count, "adam", 0.01, update) for update in UPDATES)
        expected = outcome(Run(deferred), values)
        for run in (PackedRun(deferred), Run(eager), PackedRun(eager)):
            for got, wanted in zip(outcome(run, values), expected, strict=True):
                assert same_bits(got, wanted)


def test_a_micro_batch_that_is_left_out_would_be_noticed():
    spec = mlp(12, 5, (7,), 4, dtype="float64", l2=0.0)
    values = draw(spec, 4)
    expected = trained(training(build(spec), "momentum", 0.1), values)
    half = trained(
        training(build(spec.changed(batch=6)), "momentum", 0.1),
        values | {"x": values["x"][:6], "y": values["y"][:6]},
    )
    with pytest.raises(AssertionError):
        check_close(half, expected)


def test_the_regulariser_counts_once():
    spec = mlp(12, 5, (7,), 4, dtype="float64", l2=5.0)  # s is most of J
    values = draw(spec, 5)
    for count in (1, 2, 6):
        schedule = accumulating(*spec, count, "momentum", 0.1)
        names = [schedule.graph[step.node].name for step in schedule.steps]
        assert names.count("s") == names.count("‖W1‖²") == names.count("‖W2‖²") == 1
        norms = sum(np.sum(values[name] ** 2) for name in ("W1", "W2"))
        without = trained(accumulating(*spec.changed(l2=0.0), count, "momentum", 0.1), values)
        found = trained(schedule, values)
        assert found["J"] == pytest.approx(without["J"] + 2.5 * norms, rel=1e-12)
        for name in ("W1", "W2"):
            regularised = without[f"v({name})"] + 5 * values[name]
            np.testing.assert_allclose(found[f"v({name})"], regularised, rtol=1e-12, atol=1e-12)


def test_each_micro_batch_is_a_view_of_its_rows():
    spec = mlp(6, 2, (3,), 2, l2=0.0)
    schedule = accumulating(*spec, 3, "sgd", 0.1)
    graph = schedule.graph
    for number in (1, 2, 3):
        for name in ("x", "y"):
            part = graph.named(f"{name}[{number}]")
            assert part.op.is_view
            assert graph[part.inputs[0]].name == name
            assert part.op.starts[0] == 2 * (number - 1)
            assert part.op.stops[0] == 2 * number
    assert [node.shape for node in schedule.leaves(Role.INPUT)] == [(6, 2), (6,)]


@pytest.mark.oracle
@every_network
def test_loss_gradients_and_parameters_equal_pytorchs_micro_batches_and_whole_batch(spec):
    torch = pytest.importorskip("torch")
    import torch_oracle as oracle

    values = draw(spec, 6)
    found = trained(accumulating(*spec, 3, "momentum", 0.1), values)
    for parts in (1, 3):
        t = oracle.tensors_of(values)
        stepper = torch.optim.SGD(oracle.parameters_of(t), lr=0.1, momentum=0.9)
        total = 0.0
        for rows in np.split(np.arange(spec.batch), parts):
            part = t | {"x": t["x"][rows], "y": t["y"][rows]}
            j = oracle.objective(spec, part) / parts  # each has a part of s
            j.backward()
            total += j.item()
        assert float(found["J"]) == pytest.approx(total, rel=1e-10)
        for name, tensor in t.items():
            if tensor.requires_grad:
                oracle.assert_close(found[f"v({name})"], tensor.grad, 1e-10)
        stepper.step()
        for name, tensor in t.items():
            if tensor.requires_grad:
                oracle.assert_close(found[name], tensor, 1e-10)


# -- live bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_predicted_is_what_is_by_definition_and_what_the_ledger_counts(activation, update):
    for bias, hidden, count in product((False, True), ((), (5,), (5, 3, 5)), (2, 4)):
        spec = mlp(8, 4, hidden, 3, activation, bias)
        schedule = accumulating(*spec, count, "adam", 0.01, update)
        truth, predicted, ledger = brute_force(schedule), analyse(schedule), Ledger()
        outcome(Run(schedule, ledger), draw(spec, 7) | {"t": np.array(1)})
        assert list(predicted.live_bytes) == truth.live_bytes
        assert predicted.peak_bytes == truth.peak_bytes == ledger.peak_bytes
        assert predicted.peak_role_bytes == truth.peak_role_bytes == ledger.peak_role_bytes
        check_presence(schedule)
        check_packing(schedule, pack(occupancy_of(schedule)))
        assert stale_reads(schedule) == []


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_more_micro_batches_hold_less(activation, update):
    spec = mlp(1024, 16, (32,) * 6, 10, activation)
    peaks = [analyse(accumulating(*spec, count, "sgd", 0.1, update)).peak_bytes for count in (1, 2, 4, 8, 16)]
    assert all(after < before for before, after in pairwise(peaks))
    retained = analyse(training(build(spec), "sgd", 0.1, update)).total_bytes(Role.RETAINED)
    assert peaks[0] - peaks[1] > 0.4 * retained
    assert peaks[0] - peaks[4] > 0.8 * retained


def test_the_peak_of_two_micro_batches_is_as_worked_out_by_hand():
    """n = 1000, d = 4, h = 50, q = 2, float32, no regulariser, two hidden layers.

    With the whole batch, live at ∂L/∂h1 are h1, ∂L/∂z2 (in h2's buffer) and ∂L/∂h1 (n·h each), two gradients
    and L. With halves, live at the second ∂L/∂h2 are h1, h2, ∂L/∂h2 (n/2·h each), ∂L/∂o (n/2·q), all
    gradients and J.
    """
    n, d, h, q = 1000, 4, 50, 2
    leaves = 4 * (n * d + h * d + h * h + q * h) + 8 * n
    spec = mlp(n, d, (h, h), q, l2=0.0)
    whole, halves = (analyse(accumulating(*spec, count, "sgd", 0.1)) for count in (1, 2))
    assert whole.peak_node.name == "∂L/∂h1"
    assert whole.peak_bytes == leaves + 4 * (3 * n * h + q * h + h * h + 1)
    assert halves.peak_node.name.endswith("/∂h2[2]")
    assert halves.peak_bytes == leaves + 4 * (3 * n // 2 * h + n // 2 * q + q * h + h * h + h * d + 1)
    assert halves.peak_role_bytes[Role.GRADIENT] == 4 * (q * h + h * h + h * d)
    assert halves.peak_role_bytes[Role.RETAINED] == 4 * n // 2 * 2 * h


def test_eager_updates_wait_for_the_last_micro_batch_and_then_for_nothing():
    schedule = accumulating(*mlp(8, 4, (5, 5), 3, l2=0.0), 2, "sgd", 0.1, EAGER)
    names = [schedule.graph[step.node].name for step in schedule.steps]
    places = [names.index(name) for name in ("J", "W3′", "W2′", "W1′")]
    assert places == sorted(places)
    for layer, name in ((3, "h2[2]"), (2, "h1[2]")):  # the last readers of the weights
        assert names[names.index(f"W{layer}′") - 1].endswith(f"/∂{name}")
    assert names[-1] == "W1′"


# -- with policies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("count", [2, 4])
def test_with_micro_batches_policies_change_no_bit_and_hold_less(count, update):
    spec = mlp(64, 8, (16,) * 9, 4, bias=True)
    schedule = accumulating(*spec, count, "adam", 0.01, update)
    values = draw(spec, 8) | {"t": np.array(1)}
    expected = outcome(Run(schedule), values)
    least, most = smallest_budget(schedule), analyse(schedule).peak_bytes
    assert least < most
    peaks = {}
    for text in ("sqrt", "revolve:1", "revolve:3", f"budget:{least}", f"budget:{(least + most) // 2}"):
        policy = read_policy(text)
        plan = rematerialise(schedule, policy, flops)
        assert len(plan.passes) == count
        for run in (Run(plan.schedule), PackedRun(plan.schedule)):
            for got, wanted in zip(outcome(run, values), expected, strict=True):
                assert same_bits(got, wanted)
        ledger = Ledger()
        outcome(Run(plan.schedule, ledger), values)
        peaks[text] = analyse(plan.schedule).peak_bytes
        assert ledger.peak_bytes == peaks[text] < most
        if policy.kind == "budget":
            assert peaks[text] <= policy.number
    assert min(peaks.values()) == peaks[f"budget:{least}"]


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch"), [(5, 12), (13, 12), (24, 12), (3, 1000), (7, 1234)])
def test_a_count_that_does_not_divide_the_batch_is_refused_with_both(count, batch):
    said = (
        rf"^accumulate {count} does not divide the batch of {batch:,} .*; use accumulate \d+ or another batch"
    )
    with pytest.raises(SpecError, match=said):
        accumulating(*mlp(batch, 5, (7,), 4), count, "sgd", 0.1)
    with pytest.raises(SpecError, match=said):
        cell_of(batch=batch, accumulate=count)


@pytest.mark.parametrize("count", [0, -1, 1.0, True, "2"])
def test_a_count_that_is_no_whole_number_from_one_on_is_refused(count):
    with pytest.raises(SpecError, match="accumulate"):
        cell_of(accumulate=count)


def test_a_cell_trains_with_micro_batches_and_infers_with_the_whole_batch():
    cell = cell_of(depth=2, width=8, batch=12, accumulate=3)
    found = cell.schedule(Mode.TRAIN)
    names = [found.graph[step.node].name for step in found.steps]
    assert {"x[1]", "x[2]", "x[3]", "J"} <= set(names)
    assert cell.schedule(Mode.INFER).steps == cell.changed(accumulate=1).schedule(Mode.INFER).steps
