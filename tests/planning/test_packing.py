"""The packing, checked by its invariant. `packing_oracle` shares no code with the packing."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from random import Random

import numpy as np
import pytest
from brute_force import check_presence, program, programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import Sized, build, mlp
from packing_oracle import LINE, Owner, check_packing, least_bytes, present, reused, rounded

from memtrain.graph.builder import Builder
from memtrain.graph.node import Node, Role
from memtrain.graph.ops.activation import Relu, Tanh
from memtrain.graph.ops.arithmetic import Exp
from memtrain.graph.ops.gelu import Gelu
from memtrain.graph.ops.source import Leaf
from memtrain.graph.ops.view import reshape
from memtrain.planning.occupancy import occupancy_of
from memtrain.planning.packing import Buffer, Packing, aligned, assign_offsets, pack
from memtrain.planning.schedule import Schedule, make_schedule
from memtrain.training.iteration import UPDATES, inference, training

pytestmark = pytest.mark.no_cover

EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)

# -- the oracle for single buffers -------------------------------------------------------------------


def packed(schedule: Schedule) -> Packing:
    return pack(occupancy_of(schedule))


def check_offsets(buffers: list[Buffer], offsets: list[int], end: int) -> None:
    """Fail unless the offsets of single buffers satisfy the invariant, pair by pair."""
    for (a, start), (b, other) in combinations(zip(buffers, offsets, strict=True), 2):
        together = set(range(a.first_step, a.last_step + 1)) & set(range(b.first_step, b.last_step + 1))
        if together and a.nbytes and b.nbytes:
            assert start + a.nbytes <= other or other + b.nbytes <= start, f"{a} at {start}, {b} at {other}"
    assert all(offset >= 0 and offset % LINE == 0 for offset in offsets)
    assert end == max((o + rounded(b.nbytes) for o, b in zip(offsets, buffers, strict=True)), default=0)


def fullest(buffers: list[Buffer]) -> int:
    """The most rounded bytes at any step, computed step by step."""
    last = max((buffer.last_step for buffer in buffers), default=0)
    return max(
        sum(rounded(b.nbytes) for b in buffers if b.first_step <= step <= b.last_step)
        for step in range(last + 1)
    )


def eager(schedule: Schedule) -> Schedule:
    asked, held = ([schedule.graph[i] for i in ids] for ids in (schedule.asked, schedule.held))
    return make_schedule(schedule.graph, asked, eager_updates=True, held=held)


def leaf(b: Builder, *shape: int) -> Node:
    return b.apply(Leaf(Role.INPUT, shape, np.dtype(np.float32)), name=f"leaf{len(b.nodes)}")


# -- the invariant -----------------------------------------------------------------------------------


@EXAMPLES
@given(programs())
def test_no_two_arrays_that_live_at_the_same_step_overlap_in_random_programs(schedule):
    for order in (schedule, eager(schedule)):
        check_presence(order)
        packing = packed(order)
        check_packing(order, packing)
        assert packing.least_bytes == least_bytes(order) <= packing.arena_bytes
        own = {i for arrays in present(order) for kind, i in arrays if kind == "value"}
        assert packing.value_offsets.keys() == own


SIZES = st.integers(0, 20) | st.integers(0, 700) | st.integers(0, 2**16)
BUFFERS = st.lists(
    st.builds(
        lambda nbytes, first, more: Buffer(nbytes, first, first + more),
        SIZES,
        st.integers(0, 12),
        st.integers(0, 5),
    ),
    max_size=24,
)


@EXAMPLES
@given(BUFFERS)
def test_no_two_buffers_that_live_at_the_same_step_overlap(buffers):
    offsets, end = assign_offsets(buffers)
    check_offsets(buffers, offsets, end)
    assert end >= fullest(buffers)


@settings(EXAMPLES, max_examples=60)
@given(BUFFERS)
def test_the_same_buffers_always_get_the_same_offsets(buffers):
    assert assign_offsets(buffers) == assign_offsets(list(buffers))


def origins(schedule: Schedule) -> dict[int, int]:
    """For each value, the first value in its buffer. Values are named by the steps that compute them."""
    found: dict[int, int] = {}
    for here in range(len(schedule.steps)):
        found[here] = found.get(reused(schedule).get(here, here), here)
    return found


def forged(schedule: Schedule, packing: Packing, here: int, owner: Owner, offset: int) -> Packing:
    """``packing`` with an array of step ``here`` at another offset during its whole life."""
    kind, index = owner
    if kind == "work":
        work = [list(offsets) for offsets in packing.work_offsets]
        work[here][index] = offset
        return replace(packing, work_offsets=tuple(map(tuple, work)))
    first = origins(schedule)
    moved = {i: offset for i in packing.value_offsets if first[i] == first[index]}
    return replace(packing, value_offsets=packing.value_offsets | moved)


def small_training() -> Schedule:
    spec = mlp(6, 5, (7,), 3, activation="gelu", bias=True)
    return training(build(spec), "adam", 0.1)


def test_an_array_that_is_moved_onto_another_of_its_step_is_found_out():
    schedule = small_training()
    packing = packed(schedule)
    check_packing(schedule, packing)
    packing = replace(packing, arena_bytes=2 * packing.arena_bytes)  # so that no array ends outside of it
    tried = set()
    for here, arrays in enumerate(present(schedule)):
        offsets = {("work", k): offset for k, offset in enumerate(packing.work_offsets[here])}
        offsets |= {(kind, i): packing.value_offsets[i] for kind, i in arrays if kind == "value"}
        for moved, onto in product(arrays, arrays):
            if moved != onto:
                tried.add((moved[0], onto[0]))
                wrong = forged(schedule, packing, here, moved, offsets[onto])
                with pytest.raises(AssertionError, match="overlaps"):
                    check_packing(schedule, wrong)
    assert tried == set(product(("value", "work"), repeat=2))


def test_an_array_that_is_moved_off_its_line_or_out_of_the_arena_is_found_out():
    schedule = small_training()
    packing = packed(schedule)
    (here, owner), *_ = [(here, owner) for here, arrays in enumerate(present(schedule)) for owner in arrays]
    with pytest.raises(AssertionError, match="middle of a line"):
        check_packing(schedule, forged(schedule, packing, here, owner, 4))
    with pytest.raises(AssertionError, match="outside of the arena"):
        check_packing(schedule, forged(schedule, packing, here, owner, packing.arena_bytes))
    with pytest.raises(AssertionError, match="outside of the arena"):
        check_packing(schedule, replace(packing, arena_bytes=packing.arena_bytes - LINE))


def test_a_taken_over_buffer_that_moves_is_found_out():
    b = Builder()
    z = b.apply(Tanh(), leaf(b, 100))
    h = b.apply(Relu(), z)
    schedule = make_schedule(b.graph(), [h])
    packing = packed(schedule)
    assert packing.value_offsets == {0: 0, 1: 0}  # z and h
    wrong = replace(packing, value_offsets={0: 0, 1: 448})
    with pytest.raises(AssertionError, match="has moved"):
        check_packing(schedule, wrong)


# -- the size of the arena ---------------------------------------------------------------------------

SHAPES = list(product((*range(9), 32), (16, 256), (1, 64, 1000)))  # depth, width, batch
OPTIONS = list(product(("relu", "gelu", "tanh"), (False, True), ("sgd", "adam"), UPDATES))
PER_SHAPE = 5  # coprime with the number of options


def network(depth: int, width: int, batch: int, activation: str, bias: bool) -> Sized:
    return mlp(batch, 64, (width,) * depth, 10, activation=activation, bias=bias)


def check_least(schedule: Schedule) -> None:
    packing = packed(schedule)
    check_packing(schedule, packing)
    assert packing.arena_bytes == packing.least_bytes == least_bytes(schedule)


@pytest.mark.parametrize("depth", sorted({depth for depth, _, _ in SHAPES}))
def test_the_arena_of_a_network_is_as_large_as_what_lives_at_the_peak(depth):
    # Every shape, with alternating options, so that each option occurs with every width and batch.
    for number, shape in enumerate(SHAPES):
        if shape[0] != depth:
            continue
        for turn in range(PER_SHAPE):
            activation, bias, optimizer, update = OPTIONS[(PER_SHAPE * number + turn) % len(OPTIONS)]
            spec = network(*shape, activation, bias)
            check_least(training(build(spec), optimizer, 0.1, update))
        check_least(inference(build(spec)))


@pytest.mark.parametrize(
    ("depth", "activation", "bias"), [(6, "relu", False), (6, "gelu", True), (8, "gelu", False)]
)
def test_the_arena_is_as_small_if_each_gradient_is_freed_at_once_and_no_other_value_is_large(
    depth, activation, bias
):
    check_least(training(build(network(depth, 256, 1, activation, bias)), "sgd", 0.1, "eager"))


def test_the_arena_of_a_random_program_is_within_5_percent_of_what_lives_at_the_peak():
    near = 0
    for seed in range(200):
        schedule = program(seed, 1 + seed % 20)
        near += packed(schedule).arena_bytes <= 1.05 * least_bytes(schedule)
    assert near >= 190


def test_the_arena_of_a_random_program_with_very_different_sizes_is_within_5_percent_too():
    near = 0
    for seed in range(40):
        rng = Random(seed)
        lives: dict[tuple, list[int]] = {}
        for here, arrays in enumerate(present(program(seed, 1 + seed % 20))):
            for kind, i in arrays:
                lives.setdefault((kind, i, here if kind == "work" else None), []).append(here)
        buffers = [Buffer(int(2 ** rng.uniform(0, 16)), steps[0], steps[-1]) for steps in lives.values()]
        offsets, end = assign_offsets(buffers)
        check_offsets(buffers, offsets, end)
        near += end <= 1.05 * fullest(buffers)
    assert near >= 38


# -- by hand, in lines of 64 bytes -------------------------------------------------------------------


def lines(*wanted: tuple[int, int, int]) -> list[Buffer]:
    """Buffers, each given by its number of cache lines, its first step and its last step."""
    return [Buffer(LINE * count, first, last) for count, first, last in wanted]


def end_of_offsets_in(order: list[int], buffers: list[Buffer]) -> int:
    """The end of the arena if each buffer in this order gets the lowest offset that is free all its life."""
    offsets: dict[int, int] = {}
    for i in order:
        busy = sorted(
            (offsets[j], offsets[j] + buffers[j].nbytes)
            for j in offsets
            if buffers[j].first_step <= buffers[i].last_step and buffers[i].first_step <= buffers[j].last_step
        )
        at = 0
        for start, stop in busy:
            if start - at >= buffers[i].nbytes:
                break
            at = max(at, stop)
        offsets[i] = at
    return max(offsets[i] + buffers[i].nbytes for i in order)


def test_a_hole_that_order_of_birth_leaves_is_avoided():
    # At step 0 there are two buffers of one line, and the first is freed. At step 1 a buffer of two lines is
    # allocated, for which the hole is too small. In order of birth it ends at 4 lines, while 3 live at most.
    buffers = lines((1, 0, 0), (1, 0, 1), (2, 1, 1))
    assert end_of_offsets_in([0, 1, 2], buffers) == 4 * LINE
    offsets, end = assign_offsets(buffers)
    check_offsets(buffers, offsets, end)
    assert end == fullest(buffers) == 3 * LINE
    assert offsets == [0, 2 * LINE, 0]


def test_a_hole_between_the_values_of_a_graph_is_avoided():
    b = Builder()
    first = b.apply(Tanh(), leaf(b, 16))  # one line, which only the next step reads
    second = b.apply(Exp(), reshape(b, first, (4, 4)))  # one line
    third = b.apply(Tanh(), leaf(b, 32))  # two lines
    schedule = make_schedule(b.graph(), [second, third])
    packing = packed(schedule)
    check_packing(schedule, packing)
    assert packing.arena_bytes == packing.least_bytes == 3 * LINE
    assert packing.value_offsets[[step.node for step in schedule.steps].index(third.id)] == 0


HOLES = {
    # buffers, the end of the arena by largest first, and the most live lines
    "mended by area first": (lines((2, 1, 1), (1, 2, 3), (3, 3, 3), (2, 1, 2)), 5, 4),
    "mended by the peak first": (lines((2, 0, 1), (3, 3, 3), (2, 1, 2), (1, 2, 3)), 5, 4),
    "mended by search": (lines((1, 2, 3), (1, 3, 4), (3, 4, 4), (3, 2, 2)), 5, 4),
}


@pytest.mark.parametrize("name", HOLES)
def test_a_hole_that_the_largest_first_leaves_is(name):
    buffers, greedy_lines, least_lines = HOLES[name]
    largest_first = sorted(range(len(buffers)), key=lambda i: (-buffers[i].nbytes, buffers[i].first_step))
    assert end_of_offsets_in(largest_first, buffers) == greedy_lines * LINE
    offsets, end = assign_offsets(buffers)
    check_offsets(buffers, offsets, end)
    assert end == fullest(buffers) == least_lines * LINE


def test_the_smallest_gap_that_holds_a_buffer_is_taken():
    # After step 0 the buffers of 4 and 2 lines leave gaps. At step 2 each new buffer must take its own size.
    buffers = lines((8, 0, 2), (8, 0, 2), (4, 0, 0), (2, 0, 0), (2, 2, 2), (4, 2, 2))
    offsets, end = assign_offsets(buffers)
    check_offsets(buffers, offsets, end)
    assert end == 22 * LINE
    assert (offsets[4], offsets[5]) == (offsets[3], offsets[2])


def test_workspace_lives_in_its_own_step_only():
    b = Builder()
    h = b.apply(Gelu(), leaf(b, 32))  # 2 lines, and 3 × 2 lines of workspace
    last = b.apply(Gelu(), h)
    schedule = make_schedule(b.graph(), [last])
    packing = packed(schedule)
    check_packing(schedule, packing)
    assert packing.arena_bytes == 8 * LINE  # the workspaces of both steps lie in the same bytes
    assert [len(offsets) for offsets in packing.work_offsets] == [3, 3]
    assert sorted(packing.work_offsets[0]) == sorted(packing.work_offsets[1])


# -- small ones --------------------------------------------------------------------------------------


def test_a_schedule_without_steps_needs_no_arena():
    b = Builder()
    x = leaf(b, 10)
    for asked in ([x], []):
        assert packed(make_schedule(b.graph(), asked)) == Packing({}, (), 0, 0)


def test_a_single_value_begins_at_0_and_takes_whole_lines():
    b = Builder()
    h = b.apply(Tanh(), leaf(b, 17))  # 68 B
    assert packed(make_schedule(b.graph(), [h])) == Packing({0: 0}, ((),), 2 * LINE, 2 * LINE)


def test_no_buffers_end_at_0():
    assert assign_offsets([]) == ([], 0)


@pytest.mark.parametrize(("nbytes", "end"), [(0, 0), (1, 64), (64, 64), (65, 128), (2**45 + 1, 2**45 + 64)])
def test_a_single_buffer_ends_at_its_own_size_in_whole_lines(nbytes, end):
    assert assign_offsets([Buffer(nbytes, 3, 5)]) == ([0], end)
    assert aligned(nbytes) == rounded(nbytes) == end


def test_buffers_without_bytes_take_no_room():
    buffers = [Buffer(0, 0, 4), Buffer(100, 1, 2), Buffer(0, 1, 2), Buffer(28, 2, 4)]
    offsets, end = assign_offsets(buffers)
    check_offsets(buffers, offsets, end)
    assert end == 3 * LINE


def test_buffers_that_never_meet_share_the_same_bytes():
    assert assign_offsets([Buffer(1000 + step, step, step) for step in range(5)]) == ([0] * 5, 1024)
