"""The difference between the engines: its parts add up, and the sentence names what they are."""

from __future__ import annotations

import pytest

from memtrain.answers.engine_gap import SAVED, TEMPORARIES, engine_gaps
from memtrain.cells.cell import BOTH, Mode, cell_of
from memtrain.cells.engine import NUMPY, TORCH
from memtrain.cells.row import planned_row, predicted_row
from memtrain.report.engines import engine_sentences
from memtrain.report.findings import findings


def rows_of(**columns):
    cells = [cell_of(**columns, engine=engine) for engine in ("numpy", "torch")]
    return [predicted_row(cell, mode) for cell in cells for mode in BOTH]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_parts_of_a_gap_add_up_to_it(optimizer):
    for depth, batch in ((1, 1024), (4, 64), (8, 256)):
        rows = rows_of(depth=depth, batch=batch, optimizer=optimizer)
        (gap,) = engine_gaps(rows)
        peaks = [row["predicted_peak_bytes"] for row in rows if row.mode is Mode.TRAIN]
        assert [gap.numpy_bytes, gap.torch_bytes] == peaks
        assert sum(gap.kinds.values()) == gap.torch_bytes - gap.numpy_bytes


def test_the_gap_of_relu_layers_is_a_buffer_that_pytorch_does_not_reuse():
    """With h of 1 MiB: PyTorch holds h, ∂L/∂h and ∂L/∂z, and memtrain writes ∂L/∂z into h."""
    (gap,) = engine_gaps(rows_of(depth=4, batch=1024, l2=0.0))
    assert gap.kinds[SAVED] == 1024 * 256 * 4
    assert gap.saved_more_bytes == 4  # the count of labels
    (sentence,) = [text for text in engine_sentences([gap], str) if "ratio" in text]
    assert "MiB more of values that are kept for backward (PyTorch computes no result in" in sentence


def test_weight_decay_and_adam_hold_whole_arrays():
    (decayed,) = engine_gaps(rows_of(depth=2, batch=64, l2=1e-4))
    assert decayed.kinds[TEMPORARIES] == 256 * 256 * 4  # g + λW, in an array of its own
    (adam,) = engine_gaps(rows_of(depth=2, batch=64, l2=0.0, optimizer="adam"))
    # the square root and its quotient, while the denominator of the parameter before still lives
    assert adam.kinds[TEMPORARIES] == (2 * 256 * 256 + 64 * 256) * 4


def test_the_sentences_count_the_cells_and_explain_the_largest_ratio():
    rows = [*rows_of(depth=1, batch=1024), *rows_of(depth=8, batch=256)]
    first, second = engine_sentences(engine_gaps(rows), lambda cell: f"depth {cell['depth']}")
    assert first == "PyTorch needs more memory than memtrain in 1 of 2 cells of training."
    assert second.startswith("The ratio of the engines is largest at depth 1: PyTorch's 3.3 MiB, at ")
    assert "more of other temporary arrays (PyTorch computes no result in the buffer of an input)" in second
    assert engine_sentences(engine_gaps(rows[:2]), str) == []


def test_a_cell_that_pytorch_refuses_has_no_gap_and_loses_no_sentence():
    """PyTorch trains no batch norm with one value per channel."""
    refused = {"model": "cnn", "depth": 1, "image": 2, "pool": 2, "kernel": 1, "width": 4, "norm": "batch"}
    cells = [
        cell_of(**refused | {"image": image}, batch=1, engine=e) for image in (1, 2) for e in (NUMPY, TORCH)
    ]
    rows = [planned_row(cell, Mode.TRAIN) for cell in cells]
    assert [row.ok for row in rows] == [True, False, True, True]
    (gap,) = engine_gaps(rows)
    assert gap.cell["image"] == 2
    assert "of 1 cells of training" in " ".join(findings(rows, []))
