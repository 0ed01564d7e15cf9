"""Exports of results: to stdout, to files and as JSON; and files that are never overwritten."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import LEDGER, SMALL, called, refused, rows_of, strict_json
from measured_rows import some_rows

from memtrain.sweeps.store import rows_csv

DRY = (*SMALL, "--dry-run")


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ((*DRY, "--export-markdown", "-"), "`memtrain sweep"),
        ((*DRY, "--export-csv", "-"), "model,depth,width"),
        ((*DRY, "--export-json", "-"), "{"),
        ((*LEDGER, "--export-csv", "-"), "model,depth,width"),
        (("frontier", "--memory", "1MiB", "--no-confirm", "--export-csv", "-"), "depth,batch,mode"),
        (("frontier", "--memory", "1MiB", "--no-confirm", "--export-markdown", "-"), "`memtrain frontier"),
    ],
)
def test_a_dash_sends_an_export_to_stdout_instead_of_the_tables(line, start, tmp_path):
    said = called(*line, cwd=tmp_path)
    assert said.code == 0
    assert said.out.startswith(start)
    assert "Peak memory" not in said.out
    assert "What fits" not in said.out


def test_only_one_export_goes_to_stdout(tmp_path):
    said = refused(*DRY, "--export-csv", "-", "--json", cwd=tmp_path)
    assert "--export-csv and --json both write to stdout" in said


def test_files_and_stdout_can_be_had_together(tmp_path):
    said = called(*DRY, "--export-markdown", "x.md", "--export-csv", "x.csv", "--json", cwd=tmp_path)
    rows = strict_json(said.out)["rows"]
    assert len(rows) == len(rows_of((tmp_path / "x.csv").read_text())) == 2
    assert (tmp_path / "x.md").read_text().count("\n|") == 3


def test_json_says_version_command_options_and_environment(tmp_path):
    document = strict_json(called(*LEDGER, "--json", cwd=tmp_path).out)
    assert document["schema_version"] == 1
    assert document["command"].startswith("memtrain sweep --depth 1")
    assert (document["config"]["width"], document["config"]["bias"]) == ("8", False)
    assert document["environment"]["numpy"]


def test_quiet_says_nothing_on_stderr_and_verbose_says_each_row(tmp_path):
    line = (*LEDGER, "--batch", 2000)
    assert called(*line, "-q", cwd=tmp_path).err == ""
    said = called(*line, "-v", cwd=tmp_path).err
    assert "blas: " in said
    assert "depth 1, batch 2,000, train: predicted" in said


@pytest.mark.parametrize(
    "line",
    [
        "report a.csv -o a.csv",
        "compare a.csv a.csv --export-csv a.csv",
        "predict m.npz --export-csv m.npz",
        "train --data d.npz --save d.npz --epochs 1",
        "sweep --data d.npz --export-json d.npz --dry-run",
        "sweep --data d.npz --depth 1 --batch 2 --export-csv d.npz",
        "sweep --config s.toml --export-markdown s.toml --dry-run",
    ],
)
def test_what_a_command_reads_is_never_overwritten(line, tmp_path):
    (tmp_path / "a.csv").write_text(rows_csv(some_rows()))
    (tmp_path / "s.toml").write_text("width = 8\n")
    np.savez(tmp_path / "d.npz", x=np.zeros((20, 2)), y=np.arange(20) % 2)
    (tmp_path / "m.npz").write_bytes((tmp_path / "d.npz").read_bytes())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert "is an input and" in refused(*line.split(), "--force", cwd=tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
