"""The expected time of a sweep, by hand."""

from __future__ import annotations

import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.sweeps.sweep import expected_s

START_S, FLOPS_PER_S = 0.06, 5e10


def test_a_row_takes_a_start_for_each_meter_and_three_products_a_layer_for_each_step_and_the_warm_up():
    cell = cell_of(depth=2, width=1000, batch=500, steps=3)
    products = 64 * 1000 + 1000 * 1000 + 1000 * 10
    forward_s = 2 * 500 * products / FLOPS_PER_S
    training = expected_s(cell, Mode.TRAIN, ("ledger", "heap"))
    assert training == pytest.approx(2 * (START_S + 4 * 3 * forward_s))
    assert training == pytest.approx(0.63552, abs=1e-5)
    assert expected_s(cell, Mode.INFER, ("ledger",)) == pytest.approx(START_S + 4 * forward_s)


def test_a_linear_network_and_layers_of_their_own_widths_count_their_products():
    linear = expected_s(cell_of(depth=0, batch=10**6), Mode.INFER, ("ledger",))
    assert linear == pytest.approx(START_S + 4 * 2 * 10**6 * 640 / FLOPS_PER_S)
    uneven = expected_s(cell_of(depth=2, width=(100, 10_000), batch=1000), Mode.INFER, ("ledger",))
    products = 64 * 100 + 100 * 10_000 + 10_000 * 10
    assert uneven == pytest.approx(START_S + 4 * 2 * 1000 * products / FLOPS_PER_S)


def test_small_cells_are_expected_to_take_as_long_as_their_processes_take_to_start():
    assert expected_s(cell_of(width=8, batch=4), Mode.TRAIN, ("ledger",)) == pytest.approx(START_S, rel=1e-3)
