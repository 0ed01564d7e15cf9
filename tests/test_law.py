"""The fitted law: planted lines are found, regimes are kept apart, and too little gives no law."""

from __future__ import annotations

import pytest

from memtrain.measure.cell import Cell, Mode
from memtrain.measure.row import predicted_row
from memtrain.sweeps.law import SPARE_CELLS, fit_laws, places


def measured(cell, mode=Mode.TRAIN, extra=0):
    """A row whose heap figure is the prediction and ``extra`` bytes: no process is started."""
    row = predicted_row(cell, mode)
    row.figures.heap_peak_bytes = row.figures.predicted_peak_bytes + extra
    return row


def predicted_heap(cell, mode):
    return predicted_row(cell, mode).figures.predicted_peak_bytes


def refuse(cell, mode):
    raise AssertionError(f"{cell} was measured without need")


def grid(depths, batches, **fields):
    return [Cell(depth=depth, batch=batch, **fields) for depth in depths for batch in batches]


def test_a_further_layer_costs_training_its_activations_and_its_weights():
    (law,) = fit_laws([measured(cell) for cell in grid([2, 4, 8], [512, 1024])], refuse)
    assert law.layer_example_bytes == pytest.approx(4 * 256, rel=1e-9)
    assert law.layer_bytes == pytest.approx(4 * 256 * 256, rel=1e-6)
    assert law.largest_error < 1e-9
    assert not law.probes
    assert not law.others


def test_a_further_layer_costs_inference_its_weights_only():
    (law,) = fit_laws([measured(cell, Mode.INFER) for cell in grid([2, 4, 8], [512, 1024])], refuse)
    assert law.layer_example_bytes == pytest.approx(0, abs=1e-6)
    assert law.layer_bytes == pytest.approx(4 * 256 * 256, rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "per_example"),
    [({"dtype": "float64"}, 8 * 256), ({"activation": "gelu"}, 2 * 4 * 256), ({"width": 128}, 4 * 128)],
)
def test_the_slope_is_the_bytes_that_a_layer_retains_per_example(fields, per_example):
    (law,) = fit_laws([measured(cell) for cell in grid([2, 4, 8], [512, 1024], **fields)], refuse)
    assert law.layer_example_bytes == pytest.approx(per_example, rel=1e-6)


def test_a_constant_that_every_process_adds_goes_into_the_base():
    rows = [measured(cell) for cell in grid([2, 4, 8], [512, 1024])]
    shifted = [measured(cell, extra=5000) for cell in grid([2, 4, 8], [512, 1024])]
    (law,), (moved,) = fit_laws(rows, refuse), fit_laws(shifted, refuse)
    assert moved.base_bytes - law.base_bytes == pytest.approx(5000, abs=1)
    assert moved.layer_example_bytes == pytest.approx(law.layer_example_bytes, abs=1e-6)


def test_cells_whose_peak_falls_elsewhere_are_named_and_left_out():
    rows = [measured(cell) for cell in grid([1, 4, 16], [128, 1024])]
    (law,) = fit_laws(rows, predicted_heap)
    assert {(cell.depth, cell.batch) for cell in law.others} == {(1, 128), (1, 1024), (4, 128), (16, 128)}
    assert law.place == "∂L/∂h(L−1)"
    assert law.layer_example_bytes == pytest.approx(1024, rel=1e-9)


def test_a_regime_with_too_few_cells_is_completed_by_cells_that_are_measured_for_it():
    asked = []

    def heap(cell, mode):
        asked.append(cell)
        return predicted_heap(cell, mode)

    rows = [measured(cell) for cell in grid([4, 16], [1024])]
    (law,) = fit_laws(rows, heap)
    assert law.probes == tuple(asked)
    assert len(law.cells) == 4 + SPARE_CELLS
    assert {places(predicted_row(cell, Mode.TRAIN))[1] for cell in law.cells} == {law.place}
    assert law.layer_example_bytes == pytest.approx(1024, rel=1e-9)


def test_cells_that_cannot_be_measured_leave_no_law():
    rows = [measured(cell) for cell in grid([4, 16], [1024])]
    assert fit_laws(rows, lambda cell, mode: None) == []


def test_a_single_cell_has_no_law():
    assert fit_laws([measured(Cell())], refuse) == []


def test_rows_without_a_heap_figure_have_no_law():
    assert fit_laws([predicted_row(cell, Mode.TRAIN) for cell in grid([2, 4, 8], [512, 1024])], refuse) == []


def test_modes_and_activations_have_laws_of_their_own():
    rows = [
        measured(cell, mode)
        for activation in ("relu", "gelu")
        for mode in Mode
        for cell in grid([2, 4, 8], [512, 1024], activation=activation)
    ]
    laws = fit_laws(rows, predicted_heap)
    assert [(law.mode, law.cells[0].activation) for law in laws] == [
        (mode, activation) for activation in ("relu", "gelu") for mode in Mode
    ]


def test_places_count_from_the_first_layer_and_from_the_last():
    row = predicted_row(Cell(depth=16, batch=1024), Mode.TRAIN)
    assert places(row) == ("∂L/∂h15", "∂L/∂h(L−1)")
