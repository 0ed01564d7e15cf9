"""Laws of a swept number besides depth and batch: found where they hold, checked at other numbers."""

from __future__ import annotations

import pytest

from memtrain.answers.axis_law import fit_axis_laws
from memtrain.cells.cell import BOTH, Mode
from memtrain.cells.row import predicted_row
from memtrain.cli.grid import cell_from
from memtrain.report.findings import summary


def cells(axis, numbers, **columns):
    return [cell_from({**columns, axis: number}) for number in numbers]


def predicted_heap(cell, mode):
    return predicted_row(cell, mode)["predicted_peak_bytes"]


def measured(cell, mode=Mode.TRAIN, extra=0):
    """A row whose heap figure is the prediction + ``extra`` bytes. No process is started."""
    row = predicted_row(cell, mode)
    row["heap_peak_bytes"] = row["predicted_peak_bytes"] + extra
    return row


OF_TEXT = {"model": "transformer", "depth": 1, "width": 64, "batch": 4}


def test_attention_by_parts_grows_with_the_square_of_the_sequence():
    """At the peak, the probabilities of 4 heads and 4 examples and their gradient live: 2·4·4·4 B × T²."""
    rows = [measured(cell) for cell in cells("sequence", (64, 128, 256, 512), **OF_TEXT)]
    (law,) = fit_axis_laws(rows, predicted_heap)
    assert (law.first, law.last) == (256, 512)  # for shorter ones the peak is elsewhere
    assert law.square_bytes == 128
    (cell,) = cells("sequence", (417,), **OF_TEXT)
    assert law.peak_bytes(417) == pytest.approx(predicted_heap(cell, Mode.TRAIN), rel=1e-6)
    (said,) = (text for text in summary(rows, [law]) if text.startswith("Against the sequence"))
    assert "the peak of training is 128 B × sequence² + 7,520 B × sequence + " in said
    assert "at depth 1, batch 4, from sequence 256 to 512. " in said


def test_the_errors_are_those_of_the_coefficients_that_are_shown():
    rows = [measured(cell, extra=90 * k) for k, cell in enumerate(cells("width", (64, 128, 256), batch=99))]
    (law,) = fit_axis_laws(rows, predicted_heap)
    assert law.linear_bytes == round(law.linear_bytes)
    for row in rows:
        off = abs(law.peak_bytes(row.cell["width"]) / row["heap_peak_bytes"] - 1)
        assert off <= law.largest_error * (1 + 1e-9)


def test_attention_in_blocks_has_no_square():
    rows = [measured(cell) for cell in cells("sequence", (256, 512, 1024), **OF_TEXT, attention="blocks")]
    (law,) = fit_axis_laws(rows, predicted_heap)
    assert law.square_bytes == 0
    (said,) = (text for text in summary(rows, [law]) if text.startswith("Against the sequence"))
    assert "sequence²" not in said


def test_the_law_of_the_largest_depth_and_batch_is_stated_for_each_mode():
    rows = [
        measured(cell, mode)
        for depth, batch in ((1, 64), (2, 256))
        for cell in cells("width", (64, 128, 256), depth=depth, batch=batch)
        for mode in BOTH
    ]
    laws = fit_axis_laws(rows, predicted_heap)
    assert [(law.mode, law.cell["depth"], law.cell.batch) for law in laws] == [
        (Mode.TRAIN, 2, 256),
        (Mode.INFER, 2, 256),
    ]
    for law in laws:
        (cell,) = cells("width", (201,), depth=2, batch=256)
        assert law.peak_bytes(201) == pytest.approx(predicted_heap(cell, law.mode), rel=1e-3)


def test_there_is_no_law_for_two_numbers_for_noise_or_for_recomputation():
    found = cells("width", (64, 128, 256), depth=2, batch=256)
    assert fit_axis_laws([measured(cell) for cell in found[:2]], predicted_heap) == []
    noisy = [measured(cell, extra=20_000 * (number == 1)) for number, cell in enumerate(found)]
    assert fit_axis_laws(noisy, predicted_heap) == []
    planned = [measured(cell.changed(policy="sqrt")) for cell in found]
    assert fit_axis_laws(planned, predicted_heap) == []
    assert fit_axis_laws([measured(cell) for cell in found], lambda cell, mode: None) == []
