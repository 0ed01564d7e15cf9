"""Plans by the number of stages, compared with formulas, exhaustive search and a machine that runs plans."""

from __future__ import annotations

from functools import cache
from heapq import heappop, heappush
from itertools import pairwise
from math import comb
from random import Random

import pytest

from memtrain.planning.remat.checkpoints import Move, Moves, keep_all, revolve, segmented, square_root

COUNTS = (*range(1, 40), 64, 100)

# -- the number of recomputations --------------------------------------------------------------------


def extra_count(moves: Moves) -> int:
    """The number of forward moves beyond one per stage."""
    forward = [stage for stage, backward in moves if not backward]
    return len(forward) - len(set(forward))


def closed_form(n: int, s: int) -> int:
    """r·n − r·C(s + r, s)/(s + 1) for the least r with C(s + r, s) ≥ n: Griewank & Walther 2000, §2."""
    r = next(r for r in range(n) if comb(s + r, s) >= n) if n > 1 else 0
    fraction, rest = divmod(r * comb(s + r, s), s + 1)
    assert rest == 0
    return r * n - fraction


@cache
def by_splitting(n: int, s: int) -> int:
    """The fewest extra steps for n stages and s checkpoints, over all stages for the next checkpoint."""
    if n == 1:
        return 0
    if s == 1:
        return n * (n - 1) // 2  # from the start each time
    return min(m + by_splitting(n - m, s - 1) + by_splitting(m, s) for m in range(1, n))


def by_search(n: int, s: int) -> int:
    """The fewest extra steps that a machine with s checkpoints can take: Dijkstra over its states.

    The machine has one current value. It can store this value, load a stored value, drop a stored value,
    compute the next stage (at a cost of 1), or differentiate the next stage in order if the current value is
    its input.
    """
    start = (frozenset({0}), 0, n)
    best, heap = {start: 0}, [(0, 0, start)]
    while heap:
        cost, _, state = heappop(heap)
        stored, at_work, left = state
        if not left:
            return cost
        if cost > best[state]:
            continue
        following = [(0, (stored, other, left)) for other in stored]
        following += [(0, (stored - {other}, at_work, left)) for other in stored]
        if len(stored) < s:
            following.append((0, (stored | {at_work}, at_work, left)))
        if at_work < left - 1:
            following.append((1, (stored, at_work + 1, left)))
        elif at_work == left - 1:
            following.append((0, (stored, at_work, left - 1)))
        for more, other in following:
            if cost + more < best.get(other, cost + more + 1):
                best[other] = cost + more
                heappush(heap, (cost + more, len(best), other))
    raise AssertionError("no way")


@pytest.mark.parametrize(
    ("count", "checkpoints", "extra"),
    [
        *((10, 1, 45), (10, 2, 20), (10, 3, 15), (10, 5, 13)),
        *((20, 3, 45), (20, 5, 33)),
        *((50, 2, 285), (50, 5, 122), (50, 10, 88)),
    ],
)
def test_revolve_goes_as_many_extra_steps_as_the_literature_says(count, checkpoints, extra):
    assert extra_count(revolve(count, checkpoints)) == extra == closed_form(count, checkpoints)


def test_revolve_goes_as_many_extra_steps_as_the_closed_form_says_and_as_the_best_split_takes():
    for n in range(1, 40):
        for s in range(1, 10):
            assert extra_count(revolve(n, s)) == closed_form(n, s) == by_splitting(n, s), (n, s)


def test_no_machine_with_so_many_checkpoints_goes_fewer_steps_than_revolve():
    for n in range(1, 11):
        for s in range(1, 5):
            assert extra_count(revolve(n, s)) == by_search(n, s), (n, s)


def test_more_checkpoints_than_stages_change_nothing():
    for n in COUNTS:
        assert revolve(n, n) == revolve(n, n + 1) == revolve(n, 10**6)
        assert extra_count(revolve(n, n)) == n - 1


def test_a_chain_of_thousands_of_stages_is_planned_without_recursion():
    moves = revolve(5000, 8)
    assert extra_count(moves) == closed_form(5000, 8)


def test_keep_all_computes_nothing_again_and_square_root_each_stage_but_the_last_segments_once():
    for n in COUNTS:
        assert extra_count(keep_all(n)) == 0
        size = next(k for k in range(1, n + 1) if k * k >= n)
        segment_count = -(-n // size)
        assert extra_count(square_root(n)) == (segment_count - 1) * size


def test_square_root_keeps_the_inputs_of_segments_of_about_the_root():
    assert square_root(10) == (
        *(Move(k) for k in range(10)),
        *(Move(k, backward=True) for k in (9, 8)),
        *(*(Move(k) for k in (4, 5, 6, 7)), *(Move(k, backward=True) for k in (7, 6, 5, 4))),
        *(*(Move(k) for k in (0, 1, 2, 3)), *(Move(k, backward=True) for k in (3, 2, 1, 0))),
    )
    for n in COUNTS:  # at most 2√n + 1 values: the inputs of segments, and one segment
        assert most_held(square_root(n), n) <= 2 * n**0.5 + 1


# -- a machine that runs plans -----------------------------------------------------------------------

Work = tuple[int, bool]
"""A stage, and whether it is computed and differentiated in one step, which reads its input once."""


def works(moves: Moves) -> list[Work]:
    """``moves`` in which a computation right before its own backward is joined with it."""
    found: list[Work] = []
    for stage, backward in moves:
        if backward:
            assert found[-1] == (stage, False), "a backward without its forward right before"
            found.pop()
        found.append((stage, backward))
    return found


def check_machine(moves: Moves, count: int, checkpoints: int) -> int:
    """Run a plan that computes each stage right before its backward; returns the most checkpoints held.

    The machine has one current value, which it computed last, and ``checkpoints`` stored values. After each
    step it stores the current value if a step after the next one reads it. Value k is the input of stage k.
    """
    work = works(moves)
    stored, at_work, left = {0}, 0, count
    most = 1
    for place, (stage, backward) in enumerate(work):
        assert stage in stored or stage == at_work, f"the input of stage {stage} is not there"
        if backward:
            left -= 1
            assert stage == left, f"stage {stage} is differentiated out of turn"
            at_work = None
        else:
            at_work = stage + 1
        later = work[place + 1 :]
        stored = {k for k in stored if read_again(later, k)}
        if at_work is not None and read_again(later[1:], at_work):
            stored.add(at_work)
        most = max(most, len(stored))
        assert len(stored) <= checkpoints, f"after {place + 1} steps {sorted(stored)} are stored"
    assert not left, "some stages are left"
    return most


def read_again(work: list[Work], value: int) -> bool:
    """Whether a value is read before it is recomputed."""
    for stage, backward in work:
        if stage == value:
            return True
        if stage == value - 1 and not backward:
            return False
    return False


def test_revolve_never_holds_more_checkpoints_than_it_is_given():
    for n in (*range(1, 25), 40, 60):
        for s in (*range(1, 8), 12):
            most = check_machine(revolve(n, s), n, s)
            if n > s:
                assert most == s, (n, s)


def test_the_machine_notices_a_checkpoint_too_many_and_an_input_that_is_not_there():
    with pytest.raises(AssertionError, match="are stored"):
        check_machine(revolve(10, 3), 10, 2)
    with pytest.raises(AssertionError, match="is not there"):
        check_machine((Move(1), Move(1, backward=True), Move(0), Move(0, backward=True)), 2, 5)
    with pytest.raises(AssertionError, match="out of turn"):
        check_machine((Move(0), Move(0, backward=True), Move(1), Move(1, backward=True)), 2, 5)


# -- every plan is valid -----------------------------------------------------------------------------


def check_plan(moves: Moves, count: int) -> None:
    """Fail unless each backward runs once, from the last to the first, and each move finds its input.

    Value k is the input of stage k: the stage and its backward read it. Value 0 exists from the start. No
    stage may be computed after its backward.
    """
    there, left = {0}, count
    for stage, backward in moves:
        assert stage in there, f"the input of stage {stage} is not there"
        assert 0 <= stage < left, f"stage {stage} comes after its backward"
        if backward:
            assert stage == left - 1, f"stage {stage} is differentiated out of turn"
            left = stage
        else:
            there.add(stage + 1)
    assert not left, "some stages are left"
    assert {stage for stage, backward in moves if not backward} == set(range(count))


def most_held(moves: Moves, count: int) -> int:
    """The most inputs of stages, except the first, that are held for a later read at one time."""
    waiting, most = set(), 0
    for stage, backward in reversed(moves):
        if not backward:
            waiting.discard(stage + 1)
        waiting |= {stage} - {0}
        most = max(most, len(waiting))
    return most


def test_every_plan_runs_each_backward_once_in_order_and_finds_each_input_where_it_reads_it():
    for n in COUNTS:
        check_plan(keep_all(n), n)
        check_plan(square_root(n), n)
        for s in (1, 2, 3, 5, 10, n):
            check_plan(revolve(n, s), n)


def test_a_plan_of_any_segments_is_valid_and_computes_each_segment_but_the_last_twice():
    rng = Random(1)
    for _ in range(200):
        n = rng.randint(1, 30)
        starts = [0, *sorted(rng.sample(range(1, n), rng.randint(0, n - 1)))]
        moves = segmented(n, starts)
        check_plan(moves, n)
        assert extra_count(moves) == starts[-1]
    assert segmented(7, [0]) == keep_all(7)


def test_revolve_computes_each_stage_right_before_its_backward():
    for n in COUNTS:
        for s in (1, 2, 4, n):
            moves = revolve(n, s)
            assert all(before == Move(after.stage) for before, after in pairwise(moves) if after.backward)


def test_a_single_stage_is_computed_and_differentiated_by_every_plan():
    expected = (Move(0), Move(0, backward=True))
    assert keep_all(1) == square_root(1) == revolve(1, 1) == revolve(1, 5) == segmented(1, [0]) == expected
