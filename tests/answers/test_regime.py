"""Regimes in constructed peaks: maxima of lines, with and without deviations."""

from __future__ import annotations

from itertools import product

import pytest

from memtrain.answers.regime import Regime, regimes, tried


def peaks(depths, batches, rule):
    return {(depth, batch): rule(depth, batch) for depth, batch in product(depths, batches)}


@pytest.mark.parametrize(
    ("values", "step", "found"),
    [
        ([1, 2, 4, 8, 16], 1, [1, 2, 3, 4, 6, 8, 12, 16]),
        ([16], 1, [16, 24, 32]),
        ([1], 1, [1, 2, 3]),
        ([2], 1, [2, 3, 4]),
        ([1, 2], 1, [1, 2, 3, 4]),
        ([6, 9], 3, [6, 9, 12, 18]),
        ([4, 16], 1, [4, 10, 16]),
        ([8], 8, [8, 16, 24]),
    ],
)
def test_values_between_are_tried_and_beyond_where_these_are_too_few(values, step, found):
    assert tried(values, step) == found


def test_one_line_is_one_regime():
    depths, batches = [1, 2, 3, 4], [10, 15, 20]
    found = regimes(depths, batches, peaks(depths, batches, lambda L, B: 7 + 5 * L + 3 * B + 2 * L * B))
    assert found == [Regime((1, 2, 3, 4), (10, 15, 20))]


def test_where_another_line_is_larger_another_regime_begins():
    """The constant 100 is the maximum up to L·B = 50: depth 5 with batch 10, depth 2.5 with batch 20."""
    depths, batches = [1, 2, 3, 4, 5, 6, 7, 8], [10, 15, 20]
    found = regimes(depths, batches, peaks(depths, batches, lambda L, B: max(100, 50 + L * B)))
    assert found == [Regime((5, 6, 7, 8), (10, 15, 20))]
    batches = [10, 11, 12]
    found = regimes(depths, batches, peaks(depths, batches, lambda L, B: max(100, 50 + L * B)))
    assert found == [Regime((1, 2, 3, 4), (10, 11, 12)), Regime((5, 6, 7, 8), (10, 11, 12))]


def test_a_line_that_two_depths_share_is_none():
    depths, batches = [1, 2, 3, 4], [10, 15, 20]
    bent = {1: 0, 2: 5, 3: 5, 4: 11}
    assert regimes(depths, batches, peaks(depths, batches, lambda L, B: bent[L] + B)) == []


def test_peaks_with_steps_have_no_regime_across_a_step():
    depths, batches = [1, 2, 3, 4, 5, 6], [10, 15, 20]
    found = regimes(depths, batches, peaks(depths, batches, lambda L, B: B * (L // 4 + L)))
    assert found == [Regime((1, 2, 3), (10, 15, 20)), Regime((4, 5, 6), (10, 15, 20))]


def test_a_bend_in_the_batch_alone_divides_the_batches():
    depths, batches = [1, 2, 3], [16, 32, 64, 128, 256]
    found = regimes(depths, batches, peaks(depths, batches, lambda L, B: 1000 * L + min(B, 64)))
    assert [regime.batches for regime in found] == [(16, 32, 64), (64, 128, 256)]
    assert (2, 100) in found[1]
    assert (2, 63) not in found[1]
    assert (4, 100) not in found[1]
