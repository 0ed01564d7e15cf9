"""The slack of a limited run besides its arrays, by hand."""

from __future__ import annotations

from memtrain.answers.capacity import find_capacity
from memtrain.cells.cell import Mode, cell_of
from memtrain.measure.limits import slack_bytes
from memtrain.planning.liveness import analyse

KIB, MIB = 1024, 1024**2
PAGE = 4096


def slack(cell, mode, budget_bytes=MIB):
    return slack_bytes(analyse(cell.schedule(mode)), budget_bytes)


def test_the_slack_is_384_kib_for_the_interpreter_and_a_page_for_each_array_at_the_peak():
    """Live at the peak of inference are x, the weights, the last hidden values and the output."""
    assert slack(cell_of(depth=1), Mode.INFER) == 384 * KIB + 5 * PAGE
    assert slack(cell_of(depth=4), Mode.INFER) == 384 * KIB + 8 * PAGE
    assert slack(cell_of(depth=4, bias=True), Mode.INFER) == 384 * KIB + 13 * PAGE


def test_the_slack_is_never_more_than_a_mib_or_a_hundredth_of_the_budget():
    deep = cell_of(depth=400, width=8, batch=4)
    assert slack(deep, Mode.TRAIN) == slack(deep, Mode.TRAIN, 100 * MIB) == MIB
    wanted = slack(deep, Mode.TRAIN, 10**9)
    assert wanted == 384 * KIB + PAGE * analyse(deep.schedule(Mode.TRAIN)).peak_array_count
    assert MIB < wanted < 10**7


def test_the_frontier_says_the_limit_that_holds_with_the_slack():
    """Two weights, x, h1 and o are live when the output of the largest batch is computed."""
    found = find_capacity(cell_of(width=16), MIB, [1], [])
    (infer,) = (boundary for boundary in found.boundaries if boundary.mode is Mode.INFER)
    assert infer.limit_bytes == MIB + 384 * KIB + 5 * PAGE
