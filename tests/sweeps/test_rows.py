"""The rows of a sweep in Python and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass

import pytest
from command_line import COLUMNS
from measured_rows import some_rows

import memtrain
from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.errors import InputError
from memtrain.sweeps import sweep as module
from memtrain.sweeps.rows import Rows


def test_rows_show_themselves_as_a_table_and_give_records():
    rows = Rows(some_rows(heap=[1000]))
    html = rows._repr_html_()
    assert html.count("<tr>") == 1 + len(rows)
    assert "<th>heap peak bytes</th>" in html
    assert "<th>width</th>" not in html  # it does not vary
    assert "reason" not in html
    records = rows.to_records()
    assert [record["depth"] for record in records] == [1] * 4 + [2] * 4
    assert list(records[0]) == COLUMNS
    rows[0]["status"], rows[0]["reason"] = "error", "<script>alert(1)</script>"
    assert "&lt;script&gt;" in rows._repr_html_()
    assert "<script>" not in rows._repr_html_()
    assert Rows()._repr_html_().count("<tr>") == 1


def test_a_row_shows_itself_in_one_line():
    row = predicted_row(cell_of(depth=8, batch=256), Mode.TRAIN)
    peak = row["predicted_peak_bytes"]
    assert repr(row) == f"<Row depth 8, batch 256, train: predicted {peak:,} B>"
    row["heap_peak_bytes"] = 1_234_567
    row["status"] = "killed"
    assert repr(row) == f"<Row depth 8, batch 256, train: killed, predicted {peak:,} B, heap 1,234,567 B>"
    assert repr(Rows([row, row])) == f"[{row!r},\n {row!r}]"


def test_a_row_is_a_mapping_of_its_columns_and_no_data_class():
    """pandas makes columns from the keys of a mapping, but from the fields of a data class."""
    row = predicted_row(cell_of(width=(8, 16), depth=2), Mode.TRAIN)
    assert isinstance(row, Mapping)
    assert not is_dataclass(row)
    assert list(row) == COLUMNS == list(dict(row))
    assert len(row) == len(COLUMNS)
    assert (row["width"], row.columns()["width"]) == ((8, 16), "8-16")
    assert row == row.changed()
    assert row != row.changed(mode=Mode.INFER)


def test_pandas_makes_a_column_of_each_column():
    pandas = pytest.importorskip("pandas")
    rows = Rows(some_rows(heap=[1000]))
    frame = pandas.DataFrame(rows)
    assert list(frame.columns) == COLUMNS
    assert frame["depth"].tolist() == [1] * 4 + [2] * 4
    assert frame["heap_peak_bytes"].tolist() == [row["heap_peak_bytes"] for row in rows]


def asked(monkeypatch, **options):
    """The cells and meters that a call of ``memtrain.sweep`` measures."""
    found = {}

    def run_sweep(host, tasks, *, meters, **others):
        found["meters"] = meters
        found["cells"] = list(dict.fromkeys(cell for cell, _ in tasks))
        return []

    monkeypatch.setattr(module, "run_sweep", run_sweep)
    memtrain.sweep(**options)
    return found


def test_a_sweep_in_python_takes_ranges_and_lists_as_text(monkeypatch):
    text = asked(
        monkeypatch,
        depth="1:16:x2",
        batch="64,256",
        activation="relu, gelu",
        bias="false,true",
        l2="0,1e-4",
        memory_limit_bytes="8MiB",
        meters="heap,ledger",
    )
    listed = asked(
        monkeypatch,
        depth=[1, 2, 4, 8, 16],
        batch=(64, 256),
        activation=["relu", "gelu"],
        bias=[False, True],
        l2=[0, 1e-4],
        memory_limit_bytes=8 * 2**20,
        meters=["ledger", "heap"],
    )
    assert text == listed
    assert len(text["cells"]) == 5 * 2 * 2 * 2 * 2
    layers = asked(monkeypatch, layers="784,512,10", batch="8")
    assert layers == asked(monkeypatch, layers=[784, 512, 10], batch=8)


@pytest.mark.parametrize(
    "options", [{"depth": "1:16"}, {"smell": "1"}, {"bias": "perhaps"}, {"batch": "many"}]
)
def test_a_text_that_is_no_range_is_refused(options):
    with pytest.raises(InputError):
        memtrain.sweep(**options)
