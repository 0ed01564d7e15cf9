"""The journal and its CSV: both are complete at any moment, and only valid lines count."""

from __future__ import annotations

import json

import pytest
from command_line import called, refused, rows_of
from stored_rows import ABOUT, ENVIRONMENT, HOST, REQUEST, TASKS, rows, stored

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import InputError, StoreError
from memtrain.files import write_new, write_whole
from memtrain.sweeps.journal import MUST_AGREE, Journal, check_same, journal_path
from memtrain.sweeps.request import Request
from memtrain.sweeps.session import begin, check_new, resume
from memtrain.sweeps.store import RowStore


def reread(path):
    journal, found = Journal.reopen(journal_path(path))
    journal.close()
    return found


def same(one: Row, other: Row):
    def shown(row):
        return repr(
            (row.cell, row.mode, row.figures, row.peak_node, row.retained, row.environment, row.notes)
        )

    return shown(one) == shown(other)


def test_a_row_comes_back_from_the_journal_as_it_was(tmp_path):
    path = tmp_path / "o ü.csv"
    stored(path)
    found = reread(path)
    assert found.request == REQUEST
    assert found.environment == ENVIRONMENT
    assert all(same(found.rows[row.cell.key(row.mode)], row) for row in rows())
    assert [found.rows[cell.key(mode)].settled for cell, mode in TASKS] == [
        True,
        True,
        False,
        True,
        True,
        True,
    ]


def test_unequal_widths_and_limits_come_back_too(tmp_path):
    cell = cell_of(depth=2, width=(8, 16), memory_limit_bytes=10**6)
    request = Request({"depth": [2]}, mode="infer")
    with RowStore.create(tmp_path / "x.csv", [(cell, Mode.INFER)], request, ABOUT) as store:
        store.add(predicted_row(cell, Mode.INFER))
    assert reread(tmp_path / "x.csv").rows[cell.key(Mode.INFER)].cell == cell


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_a_torn_last_line_is_left_out_and_written_over(cut, tmp_path):
    path = tmp_path / "x.csv"
    journal = stored(path)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    last = rows()[-1]
    found = reread(path)
    assert len(found.rows) == len(TASKS) - 1
    again, found = Journal.reopen(journal)
    with RowStore.resume(path, TASKS, again, found) as store:
        assert len(rows_of(path.read_text())) == len(TASKS) - 1
        store.add(last)
    assert journal.read_bytes() == whole
    assert len(rows_of(path.read_text())) == len(TASKS)


@pytest.mark.parametrize(
    "garbage", [b"\n", b"{}\n", b"[]\n", b"\xff\xfe\n", b'{"cell": 1}\n', b'{"torn": \n', b"7\n"]
)
def test_a_line_that_is_no_row_is_passed_over(garbage, tmp_path):
    path = tmp_path / "x.csv"
    journal = stored(path)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], lines[1], garbage, *lines[2:]]))
    assert len(reread(path).rows) == len(TASKS)


def test_of_two_rows_of_a_cell_the_last_counts(tmp_path):
    path = tmp_path / "x.csv"
    mended = rows()[2]
    mended["status"], mended["reason"] = "ok", ""
    stored(path, [*rows(), mended])
    found = reread(path)
    cell, mode = TASKS[2]
    assert found.rows[cell.key(mode)].settled
    assert [row["status"] for row in rows_of(path.read_text())] == ["ok"] * len(TASKS)


@pytest.mark.parametrize(
    "content", [b"", b"depth,batch\n1,2\n", b"{}\n", b'{"memtrain_journal": 99}\n', b"\0" * 99]
)
def test_what_is_no_journal_is_refused(content, tmp_path):
    (tmp_path / "x.csv.journal").write_bytes(content)
    with pytest.raises(StoreError):
        Journal.reopen(tmp_path / "x.csv.journal")


@pytest.mark.parametrize(
    "request_", [None, 7, {"axes": 1}, {**REQUEST.as_json(), "mode": "no"}, {**REQUEST.as_json(), "more": 1}]
)
def test_a_request_that_cannot_be_is_refused(request_, tmp_path):
    header = {"memtrain_journal": 1, "request": request_, "environment": {}}
    (tmp_path / "x.csv.journal").write_text(json.dumps(header) + "\n")
    with pytest.raises((StoreError, InputError)):
        Journal.reopen(tmp_path / "x.csv.journal")


def test_the_csv_is_in_the_order_of_the_grid_whatever_finishes_first(tmp_path):
    path = tmp_path / "x.csv"
    stored(path, reversed(rows()))
    found = [(int(row["width"]), int(row["depth"])) for row in rows_of(path.read_text())]
    assert found == sorted(found)


@pytest.mark.parametrize("name", MUST_AGREE)
def test_figures_of_another_machine_or_version_are_not_mixed(name):
    check_same(ENVIRONMENT, ENVIRONMENT | {"other": 1})
    changed = {"MALLOC_X": "there"} if name == "settings" else "there"
    shown = "MALLOC_X" if name == "settings" else name
    with pytest.raises(InputError, match=f"{shown} was here and is there"):
        check_same(ENVIRONMENT, ENVIRONMENT | {name: changed})


def test_a_journal_can_be_written_by_one_at_a_time(tmp_path):
    path = tmp_path / "x.csv"
    with RowStore.create(path, TASKS, REQUEST, ABOUT):
        with pytest.raises(InputError, match="another sweep"):
            Journal.reopen(journal_path(path))
        with pytest.raises(InputError, match="another sweep"):
            RowStore.create(path, TASKS, REQUEST, ABOUT, force=True)
    reread(path)


def test_a_journal_without_its_csv_is_not_overwritten(tmp_path):
    path = tmp_path / "x.csv"
    journal = stored(path)
    path.unlink()
    with pytest.raises(InputError, match="exists already"):
        RowStore.create(path, TASKS, REQUEST, ABOUT)
    with pytest.raises(InputError, match=r"continue it with --resume"):
        check_new(REQUEST, path, {}, force=False)
    assert len(reread(path).rows) == len(TASKS)
    assert journal.exists()


def test_a_file_is_replaced_as_a_whole_with_its_permissions_also_through_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_whole(link, "new")
    assert (link.is_symlink(), target.read_text(), target.stat().st_mode & 0o777) == (True, "new", 0o640)
    write_new(tmp_path / "fresh", "x", False)
    assert (tmp_path / "fresh").stat().st_mode & 0o044
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fresh", "link", "target"]


def test_resume_refuses_options_that_describe_the_sweep(tmp_path):
    said = refused("sweep", "--resume", "x.csv", "--depth", "3", "--width", "8", cwd=tmp_path)
    assert "--depth, --width" in said or "--width, --depth" in said
    assert "there is no" in refused("sweep", "--resume", "x.csv", cwd=tmp_path)


def test_a_sweep_of_another_machine_is_not_resumed(tmp_path):
    stored(tmp_path / "x.csv", rows()[:2])
    before = (tmp_path / "x.csv.journal").read_bytes()
    said = refused("sweep", "--resume", "x.csv", cwd=tmp_path)
    assert "cpu was here and is" in said
    assert (tmp_path / "x.csv.journal").read_bytes() == before


def test_resuming_what_is_whole_measures_nothing_and_shows_it(tmp_path):
    sweep = ("sweep", "--depth", "1,2", "--batch", "4", "--width", "8", "--meters", "ledger")
    first = called(*sweep, "--export-csv", "x.csv", cwd=tmp_path)
    csv = (tmp_path / "x.csv").read_bytes()
    again = called("sweep", "--resume", "x.csv.journal", cwd=tmp_path)
    assert (again.code, again.out) == (0, first.out)
    assert "4 of 4 rows were measured before" in again.err
    assert (tmp_path / "x.csv").read_bytes() == csv


def test_a_key_tells_cells_apart_that_differ_in_their_limit():
    assert cell_of().key(Mode.TRAIN) != cell_of().changed(memory_limit_bytes=5).key(Mode.TRAIN)


# -- hostile files -------------------------------------------------------------------------------------


def data_request(tmp_path, text="1,2,0\n3,4,1\n5,6,0\n"):
    (tmp_path / "d.csv").write_text(text)
    return Request({"data": ["d.csv"], "depth": [1], "batch": [2], "width": [4]}, mode="train")


def test_data_that_have_changed_are_not_mixed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = data_request(tmp_path)
    session = begin(HOST, request, tmp_path / "x.csv", ABOUT, False)
    with session.store:
        for cell, mode in session.tasks:
            session.add(predicted_row(cell, mode))
    with (again := resume(HOST, tmp_path / "x.csv")).store:
        assert len(again.done) == 1
    for text in ("1,2,0\n3,4,1\n5,7,0\n", "1,2,3,0\n3,4,4,1\n5,6,4,0\n"):
        data_request(tmp_path, text)
        with pytest.raises(InputError, match="has changed"):
            resume(HOST, tmp_path / "x.csv")
    (tmp_path / "d.csv").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        resume(HOST, tmp_path / "x.csv")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    with pytest.raises(InputError, match="cd "):
        resume(HOST, tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", ["infer"]),
        ("repeat", "5"),
        ("repeat", 2.5),
        ("meters", 5),
        ("meters", [["a"]]),
        ("axes", None),
        ("axes", {"data": [["x"]]}),
        ("axes", {"data": [7]}),
        ("axes", {"depth": [{}]}),
        ("layers", "abc"),
    ],
)
def test_a_hostile_request_is_refused(field, value, tmp_path):
    values = {"memtrain_journal": 1, "request": {**REQUEST.as_json(), field: value}, **ABOUT}
    (tmp_path / "x.csv.journal").write_text(json.dumps(values) + "\n")
    with pytest.raises((InputError, StoreError)):
        resume(HOST, tmp_path / "x.csv")


@pytest.mark.parametrize(
    "change",
    [
        {"notes": 5},
        {"retained": [1]},
        {"environment": 3},
        {"figures": {"ledger_peak_bytes": "abc"}},
        {"figures": {"status": 7}},
        {"figures": {"unknown": 7}},
        {"cell": {"depth": "x"}},
    ],
)
def test_a_hostile_row_does_not_count(change, tmp_path):
    path = tmp_path / "x.csv"
    journal = stored(path)
    lines = journal.read_text().splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **change})
    journal.write_text("\n".join(lines) + "\n")
    assert len(reread(path).rows) == len(TASKS) - 1


def test_a_line_that_is_nested_without_end_does_not_count(tmp_path):
    (tmp_path / "x.csv.journal").write_text("[" * 200_000 + "\n")
    with pytest.raises(StoreError):
        Journal.reopen(tmp_path / "x.csv.journal")


@pytest.mark.parametrize("name", ["", "/", ".journal", "."])
def test_a_resume_of_nothing_is_refused(name, tmp_path):
    refused("sweep", "--resume", name, cwd=tmp_path, code=2)


@pytest.mark.parametrize(
    ("first", "second"), [("x.journal", None), ("x.csv", ("--export-json", "x.csv.journal"))]
)
def test_no_output_may_be_the_journal(first, second, tmp_path):
    line = ("sweep", "--depth", "1", "--batch", "4", "--meters", "ledger", "--export-csv", first, "--force")
    refused(*line, *(second or ()), cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.csv", "x.csv.journal"])
def test_an_export_does_not_overwrite_the_resumed_sweep(name, tmp_path):
    journal = stored(tmp_path / "x.csv")
    before = journal.read_bytes()
    said = refused("sweep", "--resume", "x.csv", "--export-json", name, "--force", cwd=tmp_path)
    assert "is an input and" in said
    assert journal.read_bytes() == before


def test_a_row_that_met_its_limit_is_settled_and_a_row_that_was_not_tried_is_not():
    row = predicted_row(cell_of(memory_limit_bytes=1000), Mode.TRAIN)
    row["status"] = "memory_limit"
    assert row.settled
    large = predicted_row(cell_of(memory_limit_bytes=10**12), Mode.TRAIN)
    large["status"] = "memory_limit"
    assert not large.settled


def test_a_long_csv_is_whole_at_the_end_though_it_is_not_written_after_every_row(tmp_path, monkeypatch):
    monkeypatch.setattr("memtrain.sweeps.store.QUICK_S", -1.0)
    path = tmp_path / "x.csv"
    with RowStore.create(path, TASKS, REQUEST, ABOUT) as store:
        for row in rows():
            store.add(row)
        assert len(rows_of(path.read_text())) < len(TASKS)
        assert journal_path(path).read_bytes().count(b"\n") == 1 + len(TASKS)
    assert len(rows_of(path.read_text())) == len(TASKS)
