"""The packed run, compared with the fresh run: the same bits, in one arena, without new allocations."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from brute_force import programs
from hypothesis import HealthCheck, given, settings
from networks import Sized, build, initial_values, mlp
from runs import leaf_values, outcome, same_bits

from memtrain.errors import GraphError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Role
from memtrain.graph.ops import ACTIVATIONS
from memtrain.graph.ops.base import BLOCK
from memtrain.graph.ops.source import Leaf
from memtrain.planning.liveness import analyse
from memtrain.planning.occupancy import occupancy_of
from memtrain.planning.packing import pack
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.run.allocation import ALLOCATIONS, FRESH, PACKED, make_run, peak_bytes
from memtrain.run.executor import Run
from memtrain.run.ledger import Ledger
from memtrain.run.packed import PackedRun
from memtrain.training.iteration import DEFERRED, EAGER, UPDATES, inference, training
from memtrain.training.optimizers import ITERATION, LEARNING_RATES, OPTIMIZERS

pytestmark = pytest.mark.no_cover

EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)

# -- the same bits -----------------------------------------------------------------------------------


@EXAMPLES
@given(programs())
def test_a_packed_run_gives_the_bits_of_a_fresh_one_on_random_programs(schedule):
    leaves = leaf_values(schedule, 1)
    expected = outcome(Run(schedule), leaves)
    asked, held = ([schedule.graph[i] for i in ids] for ids in (schedule.asked, schedule.held))
    at_once = make_schedule(schedule.graph, asked, eager_updates=True, held=held)
    for run in (PackedRun(schedule), Run(at_once), PackedRun(at_once)):
        for got, wanted in zip(outcome(run, leaves), expected, strict=True):
            assert same_bits(got, wanted)


def trained(
    spec: Sized, optimizer: str, update: str, allocation: str, count: int
) -> tuple[list[bytes], dict[str, bytes]]:
    """The bytes of the loss of each iteration, and of all arrays that the run holds after them."""
    run = make_run(training(build(spec), optimizer, LEARNING_RATES[optimizer], update), allocation)
    run.load(initial_values(spec, seed=3))
    rng = np.random.default_rng(4)
    losses = []
    for t in range(1, count + 1):
        x = rng.standard_normal((spec.batch, spec.input_size))
        y = rng.integers(0, spec.output_size, spec.batch)
        run.feed({"x": x, "y": y, ITERATION: np.asarray(t)})
        losses.append(run.iterate()[0].tobytes())
    held = [*run.schedule.leaves(Role.PARAMETER), *run.schedule.leaves(Role.OPTIMIZER)]
    return losses, {node.name: run.value(node.name).tobytes() for node in held}


def check_same_training(spec: Sized, optimizer: str, count: int) -> None:
    losses, held = trained(spec, optimizer, DEFERRED, FRESH, count)
    assert len(set(losses)) == count
    assert all(held[name] != value.tobytes() for name, value in initial_values(spec, seed=3).items())
    for update, allocation in ((DEFERRED, PACKED), (EAGER, FRESH), (EAGER, PACKED)):
        assert trained(spec, optimizer, update, allocation, count) == (losses, held), (update, allocation)


@pytest.mark.parametrize(
    ("activation", "dtype"), [*((name, "float32") for name in ACTIVATIONS), ("relu", "float64")]
)
def test_neither_allocation_nor_the_time_of_updates_changes_a_bit_of_a_training(activation, dtype):
    for bias, optimizer, l2 in product((False, True), OPTIMIZERS, (0.0, 1e-4)):
        spec = mlp(21, 16, (19, 32), 5, activation=activation, bias=bias, l2=l2, dtype=dtype)
        check_same_training(spec, optimizer, 6)


@pytest.mark.parametrize(("activation", "optimizer"), [("relu", "momentum"), ("gelu", "adam")])
def test_neither_allocation_nor_update_changes_a_bit_if_kernels_work_in_blocks(activation, optimizer):
    spec = mlp(300, 64, (130, 130), 10, activation=activation, bias=True)
    for size in (300 * 130, 130 * 130):
        assert size > BLOCK
        assert size % BLOCK
    check_same_training(spec, optimizer, 5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_packed_inference_gives_the_bits_of_a_fresh_one(activation):
    for batch, bias in product((1, 300), (False, True)):
        spec = mlp(batch, 20, (130, 60), 10, activation=activation, bias=bias)
        outputs = []
        for allocation in ALLOCATIONS:
            run = make_run(inference(build(spec)), allocation)
            run.load(initial_values(spec, seed=3))
            run.feed({"x": np.random.default_rng(5).standard_normal((batch, 20))})
            outputs.append(run.iterate()[0].copy())
        assert same_bits(outputs[:1], outputs[1:])


# -- no allocations ----------------------------------------------------------------------------------


def traced_peak(run: Run | PackedRun) -> int:
    """The most bytes that an iteration allocates at one time, as numpy and Python request them."""
    tracemalloc.start()  # it sees every array of numpy, in numpy's own domain
    try:
        run.iterate()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run.iterate()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def loaded(spec: Sized, allocation: str, optimizer: str = "adam", update: str = EAGER) -> Run | PackedRun:
    run = make_run(training(build(spec), optimizer, 1e-3, update), allocation)
    run.load(leaf_values(run.schedule, 6) | initial_values(spec, seed=3))
    run.iterate()
    return run


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_iteration_of_a_packed_run_makes_no_array(activation):
    spec = mlp(500, 64, (300, 300), 10, activation=activation, bias=True)
    for optimizer, update in product(OPTIMIZERS, UPDATES):
        run = loaded(spec, PACKED, optimizer, update)
        assert peak_bytes(analyse(run.schedule), PACKED) > 2 * 2**20
        assert traced_peak(run) < 4096


def test_an_iteration_of_a_fresh_run_makes_all_that_is_not_a_leaf():
    run = loaded(mlp(500, 64, (300, 300), 10), FRESH)
    leaves = sum(run.schedule.graph[i].nbytes for i in run.schedule.persistent)
    made = analyse(run.schedule).peak_bytes - leaves
    assert made <= traced_peak(run) <= made + 16_384


def test_all_values_but_leaves_lie_in_one_array():
    spec = mlp(20, 64, (30, 30), 10, activation="gelu", bias=True)
    run = loaded(spec, PACKED)
    persistent = {run.schedule.graph[i].storage for i in run.schedule.persistent}
    bases = {}
    for step in run.schedule.steps:
        if run.schedule.graph[step.node].storage not in persistent:
            array = run.array(step.node)
            bases[id(array.base)] = array.base
    (arena,) = bases.values()
    assert arena.nbytes == pack(occupancy_of(run.schedule)).arena_bytes


def test_every_iteration_gives_its_asked_values_in_the_same_place():
    run = loaded(mlp(5, 4, (6,), 3), PACKED, "sgd")
    first = run.iterate()
    loss = float(first[0])
    second = run.iterate()
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert float(first[0]) != loss


# -- loading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_loading_again_starts_afresh(allocation):
    spec = mlp(7, 16, (19, 32), 5, activation="gelu", bias=True)
    run = make_run(training(build(spec), "adam", 0.01), allocation)
    rng = np.random.default_rng(7)
    batch = {
        "x": rng.standard_normal((7, 16)),
        "y": rng.integers(0, 5, 7),
        ITERATION: np.asarray(1),
    }
    seen = []
    for seed in (0, 0, 1):
        run.load(initial_values(spec, seed))
        assert not any(run.value(node.name).any() for node in run.schedule.leaves(Role.OPTIMIZER))
        run.feed(batch)
        seen.append([run.iterate()[0].tobytes() for _ in range(3)])
    assert seen[0] == seen[1] != seen[2]


def test_iterating_before_loading_says_to_load():
    with pytest.raises(GraphError, match="the run has no values yet; load the leaves first"):
        PackedRun(inference(build(mlp(5, 4, (6,), 3)))).iterate()


def test_after_a_load_that_was_refused_nothing_is_loaded():
    spec = mlp(5, 4, (6,), 3)
    run = loaded(spec, PACKED, "sgd")
    for wrong in ({"W9": np.zeros(3)}, {"W1": np.zeros(3)}):
        run.load(initial_values(spec, 0))
        run.iterate()
        with pytest.raises(GraphError, match=r"W9|W1"):
            run.load(wrong)
        with pytest.raises(GraphError, match="load the leaves first"):
            run.iterate()


def test_feeding_before_loading_says_to_load():
    run = PackedRun(inference(build(mlp(5, 4, (6,), 3))))
    with pytest.raises(GraphError, match="load the leaves first"):
        run.feed({"x": np.zeros((5, 4))})


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_a_schedule_that_asks_for_a_leaf_gives_the_leaf(allocation):
    b = Builder()
    x = b.apply(Leaf(Role.INPUT, (3,), np.dtype(np.float32)), name="x")
    run = make_run(make_schedule(b.graph(), [x]), allocation)
    run.load({"x": np.arange(3.0)})
    assert run.iterate()[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_a_schedule_that_asks_for_nothing_gives_nothing(allocation):
    run = make_run(make_schedule(Builder().graph(), []), allocation)
    run.load({})
    assert run.iterate() == []


# -- its ledger --------------------------------------------------------------------------------------

NETWORKS = [
    mlp(6, 4, (5, 5), 3),
    mlp(3, 4, (5, 7), 2, activation="gelu", bias=True),
    mlp(300, 64, (200, 100), 10, activation="tanh", dtype="float64"),
    mlp(7, 3, (), 4),
]


def schedules(spec: Sized) -> list[Schedule]:
    trainings = [training(build(spec), *options) for options in product(OPTIMIZERS, (0.01,), UPDATES)]
    return [inference(build(spec)), *trainings]


def check_ledger(schedule: Schedule) -> Ledger:
    """The ledger of two iterations. It must count the arena and the leaves, and nothing after their end."""
    predicted, ledger = analyse(schedule), Ledger()
    arena = pack(occupancy_of(schedule)).arena_bytes
    leaves = sum(array.nbytes for array in leaf_values(schedule, 8).values())
    run = make_run(schedule, PACKED, ledger)
    assert ledger.peak_bytes == 0
    outcome(run, leaf_values(schedule, 8))
    assert ledger.peak_bytes == ledger.live_bytes == peak_bytes(predicted, PACKED) == leaves + arena
    assert sum(ledger.peak_role_bytes.values()) == ledger.peak_bytes
    for role in (Role.PARAMETER, Role.OPTIMIZER, Role.INPUT):
        assert ledger.peak_role_bytes[role] == predicted.peak_role_bytes[role]
    assert all(nbytes >= 0 for nbytes in ledger.peak_role_bytes.values())
    peak = ledger.peak_bytes
    del run
    assert ledger.live_bytes == 0
    assert not any(ledger.live_role_bytes.values())
    assert ledger.peak_bytes == peak
    return ledger


@EXAMPLES
@given(programs())
def test_the_ledger_of_a_packed_run_counts_what_is_predicted_on_random_programs(schedule):
    check_ledger(schedule)


@pytest.mark.parametrize("spec", NETWORKS, ids=str)
def test_the_ledger_of_a_packed_run_counts_what_is_predicted_on_the_books_network(spec):
    for schedule in schedules(spec):
        predicted, ledger = analyse(schedule), check_ledger(schedule)
        for role in (Role.GRADIENT, Role.RETAINED, Role.WORKSPACE):
            assert ledger.peak_role_bytes[role] == predicted.peak_role_bytes[role]
        assert ledger.peak_role_bytes[Role.TRANSIENT] >= predicted.peak_role_bytes[Role.TRANSIENT]
        assert ledger.peak_step == predicted.peak_step


def test_the_peak_of_one_hidden_layer_is_as_worked_out_by_hand():
    # n = 3, d = 4, h = 5, q = 2: x 48, y 24, W1 80, W2 40. Each other array is smaller than a line of 64 B.
    # These are h1 and o in inference; in training, at ∂L/∂o, h1, logp, L, ∂L/∂o and three of workspace.
    spec = mlp(3, 4, (5,), 2, l2=0.0)
    infer, train = inference(build(spec)), training(build(spec), "sgd", 0.1)
    assert peak_bytes(analyse(infer), PACKED) == 48 + 80 + 40 + 64 * 2
    assert peak_bytes(analyse(train), PACKED) == 48 + 24 + 80 + 40 + 64 * 7


def test_a_packing_that_is_larger_than_it_must_be_counts_in_full(monkeypatch):
    schedule = training(build(NETWORKS[1]), "sgd", 0.1)
    close = peak_bytes(analyse(schedule), PACKED)
    tight = pack(occupancy_of(schedule))
    wide = replace(tight, arena_bytes=tight.arena_bytes + 640)
    for module in ("allocation", "packed"):
        monkeypatch.setattr(f"memtrain.run.{module}.pack", lambda _: wide)
    ledger = Ledger()
    outcome(make_run(schedule, PACKED, ledger), leaf_values(schedule, 8))
    assert peak_bytes(analyse(schedule), PACKED) == ledger.peak_bytes == close + 640


def test_a_fresh_run_holds_the_predicted_peak():
    for schedule in schedules(NETWORKS[1]):
        predicted = analyse(schedule)
        assert peak_bytes(predicted, FRESH) == predicted.peak_bytes <= peak_bytes(predicted, PACKED)


def test_loading_again_holds_one_arena_at_a_time():
    spec, ledger = NETWORKS[1], Ledger()
    run = make_run(training(build(spec), "adam", 0.01), PACKED, ledger)
    values = leaf_values(run.schedule, 9)
    run.load(values)
    run.iterate()
    peak = ledger.peak_bytes
    run.load(values)
    run.iterate()
    assert ledger.live_bytes == ledger.peak_bytes == peak


def test_an_asked_value_that_is_kept_keeps_the_arena():
    spec, ledger = NETWORKS[1], Ledger()
    run = make_run(inference(build(spec)), PACKED, ledger)
    run.load(initial_values(spec, 0))
    arena = pack(occupancy_of(run.schedule)).arena_bytes
    (output,) = run.iterate()
    del run
    assert ledger.live_bytes == arena
    del output
    assert ledger.live_bytes == 0


def test_a_run_is_of_the_allocation_that_is_named():
    schedule = inference(build(NETWORKS[0]))
    assert [type(make_run(schedule, name)) for name in (FRESH, PACKED)] == [Run, PackedRun]
    assert set(ALLOCATIONS) == {FRESH, PACKED}


# -- an array of several roles -----------------------------------------------------------------------


def test_an_array_of_several_roles_counts_in_each_and_ends_in_all():
    ledger = Ledger()
    ledger.step = 5
    array = np.empty(100, np.uint8)
    ledger.born_shared(array, {Role.GRADIENT: 70, Role.WORKSPACE: 30})
    alone = np.empty(8, np.uint8)
    ledger.born(alone, Role.GRADIENT)
    counted = {role: nbytes for role, nbytes in ledger.live_role_bytes.items() if nbytes}
    assert counted == {Role.GRADIENT: 78, Role.WORKSPACE: 30}
    assert (ledger.peak_bytes, ledger.peak_step) == (108, 5)
    del array
    assert ledger.live_bytes == ledger.live_role_bytes[Role.GRADIENT] == 8
    assert ledger.live_role_bytes[Role.WORKSPACE] == 0
    assert sum(ledger.peak_role_bytes.values()) == 108


def test_an_array_of_several_roles_that_is_relabelled_has_one():
    ledger = Ledger()
    array = np.empty(100, np.uint8)
    ledger.born_shared(array, {Role.GRADIENT: 70, Role.WORKSPACE: 30})
    ledger.relabel(array, Role.TRANSIENT)
    assert {role: n for role, n in ledger.live_role_bytes.items() if n} == {Role.TRANSIENT: 100}
    del array
    assert ledger.live_bytes == 0
