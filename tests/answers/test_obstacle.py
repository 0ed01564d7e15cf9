"""The obstacle: the peak that shows why no plan of rematerialisation is smaller."""

from __future__ import annotations

import pytest

from memtrain.answers.obstacle import obstacle_of
from memtrain.answers.ways import find_ways
from memtrain.cells.cell import Mode, cell_of
from memtrain.graph.node import Phase, Role
from memtrain.planning.liveness import analyse
from memtrain.report.ways_findings import ways_sentences


def answer(cell, memory_bytes=None):
    return ways_sentences(find_ways(cell, memory_bytes, points=2))[0]


def test_at_the_update_all_gradients_wait_and_no_plan_can_shrink_them():
    """At depth 8, batch 1 and λ = 0, the peak is at the last gradient, when all other gradients are live."""
    cell = cell_of(depth=8, batch=1, l2=0.0, optimizer="adam", cost="flops")
    obstacle = obstacle_of(cell)
    assert (obstacle.phase, obstacle.kept, obstacle.needed) == (Phase.UPDATE, (), True)
    said = answer(cell)
    assert f"No plan is smaller: the peak is at step {obstacle.step} (update, {obstacle.node}), with " in said
    assert "Forward kept nothing that is live there, so recomputation cannot lower it." in said
    assert "With --update eager, the smallest plan needs " in said


def test_a_value_that_backward_reads_at_the_peak_is_named():
    """In the network of the book, step 16 of backward computes ∂L/∂h, and the next step reads h for φ′."""
    cell = cell_of(depth=1, cost="flops")
    assert "No plan is smaller: the peak is at step 16 (backward, ∂L/∂h), with " in answer(cell)
    assert "This part of backward needs all kept values that are still live: h." in answer(cell)


def test_among_equal_peaks_the_one_that_no_plan_can_lower_is_shown():
    """At batch 256 and width 256, each layer adds as many bytes of gradients as it frees of intermediates."""
    cell = cell_of(depth=16, batch=256, cost="flops")
    liveness = analyse(cell.keep_all(Mode.TRAIN))
    obstacle = obstacle_of(cell)
    assert obstacle.step > liveness.peak_step
    assert liveness.live_bytes[obstacle.step] == liveness.peak_bytes == sum(obstacle.role_bytes.values())
    assert ([name.name for name in obstacle.kept], obstacle.needed) == (["h1"], True)
    assert obstacle.role_bytes[Role.RETAINED] == 4 * 256 * 256


@pytest.mark.parametrize(("depth", "batch"), [(12, 1024), (4, 2048)])
def test_no_obstacle_is_mentioned_if_a_plan_is_smaller(depth, batch):
    said = answer(cell_of(depth=depth, batch=batch, cost="flops"))
    assert "No plan is smaller" not in said
    assert "The smallest plan needs " in said


def test_the_obstacle_is_also_named_for_a_memory_that_is_too_small():
    cell = cell_of(depth=16, batch=256, cost="flops")
    peak = analyse(cell.keep_all(Mode.TRAIN)).peak_bytes
    assert "No plan is smaller: " in answer(cell, peak - 1)


def test_only_plans_are_mentioned_if_a_kept_value_is_not_needed():
    """A cell found by random trials: z1 is live at the only peak, and another stage reads z1."""
    cell = cell_of(
        depth=2,
        width=64,
        batch=3,
        activation="gelu",
        bias=True,
        optimizer="adam",
        update="eager",
        accumulate=3,
        cost="flops",
    )
    assert not obstacle_of(cell).needed
    assert "No plan is smaller: each plan holds at least as much at some step." in answer(cell)
