"""Sweeps with inference that keeps gradients on: the table, the finding, and every format."""

from __future__ import annotations

import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.cli import sweep
from memtrain.report.agreement import COPIES, OBJECTS, agreement
from memtrain.report.findings import summary
from memtrain.report.terminal.sweep import sweep_tables
from memtrain.sweeps.request import MODES


def rows_of(*modes, **columns):
    return [predicted_row(cell_of(depth=16, batch=1024, l2=0.0, **columns), mode) for mode in modes]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_finding_says_what_gradients_cost_inference(engine):
    found = " ".join(summary(rows_of(*Mode, engine=engine), []))
    more = {
        "numpy": "20.1 MiB at depth 16, batch 1,024, 3.3",
        "torch": "21.1 MiB at depth 16, batch 1,024, 3.5",
    }
    assert (
        f"With gradients on, inference stores what backward would read: {more[engine]} × the 6.1 MiB" in found
    )


@pytest.mark.parametrize(
    "modes", [[Mode.EVAL_GRAD], [Mode.INFER, Mode.EVAL_GRAD], [Mode.TRAIN, Mode.EVAL_GRAD]]
)
def test_a_table_of_any_modes(modes):
    (table,) = sweep_tables(rows_of(*modes), 80)
    assert any(head.startswith("eval-grad") for head in table.heads)
    assert any("20.11" in cell for cell in table.lines[0])


def test_the_command_knows_the_modes_of_a_sweep():
    assert set(sweep._MODES) == set(MODES)


def test_a_table_without_it_has_no_column_for_it():
    (table,) = sweep_tables(rows_of(Mode.TRAIN, Mode.INFER), 80)
    assert not any("eval-grad" in head for head in table.heads)
    assert not any("gradients on" in sentence for sentence in summary(rows_of(Mode.TRAIN, Mode.INFER), []))


def test_a_heap_beyond_the_tolerance_has_its_reason():
    for columns, reason in (({"model": "rnn", "sequence": 8}, OBJECTS), ({"model": "lenet"}, COPIES)):
        cell = cell_of(**columns, depth=1, batch=4, data="synthetic", engine="torch")
        row = predicted_row(cell, Mode.TRAIN)
        row["ledger_peak_bytes"] = row["predicted_peak_bytes"]
        row["heap_peak_bytes"] = row["predicted_peak_bytes"] + 2**24
        assert reason in agreement([row])[0]
