"""Files that version 0.1 wrote, before the table of columns: they can be read, resumed and compared."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from fake_host import FakeHost

from memtrain.answers.comparison import compare
from memtrain.cells.cell import Mode
from memtrain.cells.columns import NAMES
from memtrain.report.findings import findings
from memtrain.sweeps.journal import journal_path
from memtrain.sweeps.results import read_results
from memtrain.sweeps.session import resume
from memtrain.sweeps.store import rows_csv
from memtrain.sweeps.stored import read_journal

OLD = Path(__file__).parent / "of_0_1"
FILES = sorted(path.name for path in OLD.glob("*.csv"))


@pytest.mark.parametrize("name", FILES)
def test_every_value_is_read_and_written_as_it_was(name):
    old = list(csv.reader((OLD / name).read_text().splitlines()))
    written = list(csv.reader(rows_csv(read_results(OLD / name).rows).splitlines()))
    assert [line[: len(old[0])] for line in written] == old
    newer = len(old[0])
    for line in written[1:]:  # an MLP has none of the columns of other families
        found = {name: value for name, value in zip(written[0][newer:], line[newer:], strict=True) if value}
        assert found == {
            **{"freeze": "none", "engine": "numpy", "gradients": "after-update"},
            **dict.fromkeys(("foreach", "fused", "inplace", "retain_graph"), "false"),
        }


@pytest.mark.parametrize("name", FILES)
def test_the_journal_gives_the_same_rows_as_the_csv(name):
    stored = read_journal(journal_path(OLD / name))
    with (OLD / name).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(stored.rows) == len(lines)
    assert {row.cell.key(row.mode) for row in read_results(OLD / name).rows} == stored.rows.keys()


@pytest.mark.parametrize("name", FILES)
def test_an_old_sweep_is_resumed_where_it_stopped(name, tmp_path):
    for path in (OLD / name, journal_path(OLD / name)):
        shutil.copy(path, tmp_path)
    journal = journal_path(tmp_path / name)
    whole = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(whole[:-1]))
    recorded = read_journal(journal).environment
    session = resume(FakeHost(lambda *asked: recorded), tmp_path / name)
    with session.store:
        assert len(session.waiting) == 1
        assert len(session.done) == len(session.tasks) - 1 == len(whole) - 2
    old = list(csv.reader((OLD / name).read_text().splitlines()))
    lines = [line[: len(old[0])] for line in csv.reader((tmp_path / name).read_text().splitlines())]
    assert lines == [line for line in old if line in lines]


def test_old_files_equal_themselves_and_differ_from_rows_that_grew():
    rows = read_results(OLD / "first.csv").rows
    assert compare(rows, rows).regressions(0) == []
    grown = read_results(OLD / "first.csv").rows
    grown[3]["heap_peak_bytes"] *= 2
    ((pairing, said),) = compare(rows, grown).regressions(0)
    assert (pairing.cell, said) == (rows[3].cell, "heap +100.00 %")


def test_a_file_without_the_columns_that_came_later_has_their_defaults(tmp_path):
    lines = list(csv.reader((OLD / "second.csv").read_text().splitlines()))
    first = NAMES.index("memtrain") + 1
    (tmp_path / "contract.csv").write_text("".join(f"{','.join(line[:first])}\n" for line in lines))
    train, infer = read_results(tmp_path / "contract.csv").rows
    assert (train.mode, infer.mode) == (Mode.TRAIN, Mode.INFER)
    assert (train["accumulate"], train["cost"], train["peak_array_count"]) == (1, "seconds", None)
    assert train["width"] == (7, 50)


def test_what_is_kept_is_folded_though_the_old_journal_has_no_blocks():
    rows = [row for row in read_results(OLD / "first.csv").rows if row.cell["depth"] == 3]
    said = " ".join(findings(rows, []))
    assert "forward keeps h1[1]…h3[1] and logp[1] for backward" in said, said
