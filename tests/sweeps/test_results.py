"""Results: reading a file gives the rows that were written."""

from __future__ import annotations

import csv
import re
from math import nan

import pytest
from stored_rows import ABOUT, REQUEST, TASKS, rows, stored

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.columns import NAMES
from memtrain.cells.kinds import csv_line
from memtrain.cells.row import predicted_row
from memtrain.errors import DataError
from memtrain.sweeps.journal import journal_path
from memtrain.sweeps.results import read_results
from memtrain.sweeps.store import RowStore, rows_csv


def test_rows_come_back_with_what_the_journal_knows(tmp_path):
    path = tmp_path / "x.csv"
    made = rows()
    for row in made:
        row["loss_last"] = 0.25
    with RowStore.create(path, TASKS, REQUEST, {**ABOUT, "command": "memtrain sweep …"}) as store:
        for row in made:
            store.add(row)
    found = read_results(path)
    assert found.command == "memtrain sweep …"
    assert [vars(row) for row in found.rows] == [vars(row) for row in made]


def test_without_the_journal_the_columns_come_back(tmp_path):
    path = tmp_path / "x.csv"
    stored(path)
    journal_path(path).unlink()
    found = read_results(path)
    assert found.command == ""
    assert repr([row.columns() for row in found.rows]) == repr([row.columns() for row in rows()])
    assert [row.retained for row in found.rows] == [row.retained for row in rows()]


@pytest.mark.parametrize(
    "cell",
    [
        cell_of(depth=2, width=(8, 16), bias=True, l2=0.0, dtype="float64", optimizer="adam"),
        cell_of(depth=0, memory_limit_bytes=10**12, update="eager", data='a "file", with\nodd name.csv'),
    ],
)
def test_every_kind_of_cell_comes_back(cell, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(rows_csv([predicted_row(cell, Mode.INFER)]))
    (row,) = read_results(path).rows
    assert (row.cell, row.mode) == (cell, Mode.INFER)


def test_a_file_from_before_the_later_columns_and_one_with_more_can_be_read(tmp_path):
    path = tmp_path / "x.csv"
    lines = [line.split(",") for line in rows_csv(rows()[:2]).splitlines()]
    path.write_text("\n".join(",".join([*line[:-5], "more"]) for line in lines) + "\n")
    assert [row["ledger_peak_bytes"] for row in read_results(path).rows] == [
        row["ledger_peak_bytes"] for row in rows()[:2]
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "", "no rows"),
        (lambda text: text.splitlines()[0], "no rows"),
        (lambda text: "a,b\n1,2\n", "no column model"),
        (lambda text: text.replace(",train,", ",fly,"), "line 2"),
        (lambda text: text.replace("mlp,1,", "mlp,one,"), "line 2"),
        (lambda text: text.replace("mlp,2,", "mlp,-2,"), "line 3"),
        (lambda text: text.replace(",false,", ",no,"), "bias 'no' is not true or false"),
        (lambda text: text[:-300], "ends before|cannot be read"),
        (lambda text: "\0" * 100, "holds no rows"),
        (
            lambda text: re.sub(r",ok,,\d+,", f",ok,,{'9' * 400},", text, count=1),
            "line 2: parameter_bytes .* is not a number of bytes",
        ),
        (
            lambda text: re.sub(r",ok,,\d+,", ",ok,,-5,", text, count=1),
            "line 2: parameter_bytes .* is not a number of bytes",
        ),
        (lambda text: text.replace(",ok,", ",weird,"), "weird"),
        (lambda text: text.replace("\n", ",more\n").replace(",more\n", "\n", 1), "line 2 has more fields"),
        (lambda text: text + text.splitlines()[1] + "\n", "repeats a cell"),
        (lambda text: text.replace("mlp,1,", "mlp,1_0,"), "depth '1_0' is not a whole number"),
        (lambda text: re.sub(r"mlp,1,\d+", "mlp,1,0_1", text), "width '0_1' is not a whole number"),
    ],
)
def test_what_is_no_result_is_refused_with_the_line(change, words, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(change(rows_csv(rows())))
    with pytest.raises(DataError, match=words):
        read_results(path)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "1e999", "1x"])
def test_what_is_no_number_is_refused_in_every_numeric_column_but_a_loss_that_diverged(text, tmp_path):
    path = tmp_path / "x.csv"
    cell = cell_of(memory_limit_bytes=10**9)
    whole = dict(
        zip(
            NAMES,
            next(csv.reader([rows_csv([predicted_row(cell, Mode.TRAIN)]).splitlines()[1]])),
            strict=True,
        )
    )
    words = {"model", "activation", "bias", "optimizer", "dtype", "data", "policy", "update", "allocation"}
    words |= {"mode", "status", "reason", "peak_phase", "blas", "cpu", "python", "numpy", "memtrain", "cost"}
    words |= {"freeze"}
    for name in set(NAMES) - words:
        path.write_text(csv_line(NAMES) + csv_line({**whole, name: text}.values()))
        if name.startswith("loss") and text != "1x":
            assert repr(read_results(path).rows[0][name]) == repr(float(text))
        else:
            with pytest.raises(DataError, match=f"line 2: .*{name}"):
                read_results(path)


def test_a_row_whose_loss_is_no_number_keeps_what_the_journal_knows(tmp_path):
    path = tmp_path / "x.csv"
    made = rows()
    made[0]["loss_first"], made[0]["loss_last"] = 2.5, nan
    made[0].environment, made[0].notes = {"numpy": "2"}, ["a note"]
    with RowStore.create(path, TASKS, REQUEST, ABOUT) as store:
        for row in made:
            store.add(row)
    found = read_results(path).rows[0]
    assert (found.environment, found.notes) == ({"numpy": "2"}, ["a note"])
    assert (found.peak_node, found.retained) == (made[0].peak_node, made[0].retained)
    path.write_text(path.read_text().replace(",2.5,nan,", ",2.25,nan,"))  # no longer the row of the journal
    assert read_results(path).rows[0].notes == []


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_results(tmp_path / "no.csv")
