"""Options from a file: how they are read, refused, printed, and stored with the results."""

from __future__ import annotations

import json
import tomllib

import pytest
from command_line import LEDGER, called, refused, strict_json


def test_a_file_gives_options_and_the_command_line_wins(tmp_path):
    (tmp_path / "s.toml").write_text('depth = [1, 2]\nbatch = "4:8:x2"\nwidth = 8\nbias = true\nl2 = 1e-3\n')
    said = called("sweep", "--config", "s.toml", "--batch", 16, "--dry-run", "--json", cwd=tmp_path)
    rows = strict_json(said.out)["rows"]
    found = {(row["depth"], row["batch"], row["width"], row["bias"], row["l2"]) for row in rows}
    assert found == {(1, 16, 8, True, 1e-3), (2, 16, 8, True, 1e-3)}


def test_the_options_in_force_can_be_written_and_read_again(tmp_path):
    line = ("--depth", "1,2", "--batch", "4", "--width", "8", "--bias", "--dry-run", "--data", "digits")
    said = called("sweep", *line, "--print-config", cwd=tmp_path)
    assert said.code == 0
    assert tomllib.loads(said.out)["depth"] == "1,2"
    (tmp_path / "s.toml").write_text(said.out)
    again = called("sweep", "--config", "s.toml", "--print-config", cwd=tmp_path)
    assert tomllib.loads(again.out) == tomllib.loads(said.out)
    first = called("sweep", *line, cwd=tmp_path)
    assert called("sweep", "--config", "s.toml", cwd=tmp_path).out == first.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dpeth = 1\n", "did you mean depth"),
        ("[depth]\nx = 1\n", "give a number, a text in quotes, or a list"),
        ("depth = \n", "not valid TOML (Invalid value (at line 1"),
        ("depth = 0.5\n", "not a whole number"),
        ("bias = 'perhaps'\n", "true or false"),
        ("repeat = true\n", "a number"),
        ("html = ['a', 'b']\n", "html = ['a', 'b'] cannot be used; give a path in quotes"),
        ("export-csv = 7\n", "a path in quotes"),
        ("export_csv = 'a'\nexport-csv = 'b'\n", "twice"),
        ("depth = 2020-01-01\n", "a number"),
        ("resume = 'x.csv'\n", "not known"),
        ("depth = []\n", "empty"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_line(text, words, tmp_path):
    (tmp_path / "s.toml").write_bytes(text.encode("latin-1"))
    assert words in refused("sweep", "--config", "s.toml", "--dry-run", cwd=tmp_path)


def test_the_options_in_force_are_kept_with_the_results(tmp_path):
    (tmp_path / "s.toml").write_text("width = 8\n")
    called(*LEDGER[:-4], "--config", "s.toml", "--meters", "ledger", "--export-csv", "x.csv", cwd=tmp_path)
    header = json.loads((tmp_path / "x.csv.journal").read_text().splitlines()[0])
    assert header["config"]["width"] == "8"
    assert "--config s.toml" in header["command"]
