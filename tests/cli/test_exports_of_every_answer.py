"""The options that export an answer: they are the same for every command, and each format is complete."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from command_line import called, refused, strict_json

from memtrain.errors import DataError
from memtrain.report.publish import PUBLICATIONS
from memtrain.training.prediction import Prediction

SMALL = ("--width", "8", "--batch", "8")
COMMANDS = {
    "sweep": ("sweep", "--depth", "1,2", *SMALL, "--dry-run"),
    "explain": ("explain", "--depth", "2", *SMALL, "--no-measure"),
    "frontier": ("frontier", "--memory", "1MiB", "--depth", "1,2", "--no-confirm"),
    "plan": ("plan", "--memory", "1MiB", "--depth", "2", *SMALL, "--no-measure", "--cost", "flops"),
    "compare": ("compare", "rows.csv", "rows.csv", "--meters", "ledger"),
    "predict": ("predict", "model.npz"),
    "train": ("train", "--epochs", "2", *SMALL),
    "doctor": ("doctor",),
}
"""For each command, a command line that gives a small answer."""

FIRST_COLUMN = {"sweep": "model", "explain": "name", "frontier": "depth", "plan": "kind"}
FIRST_COLUMN |= {"compare": "model", "predict": "label", "train": "epoch", "doctor": "subject"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the rows and the model that commands read."""
    path = tmp_path_factory.mktemp("exports")
    row = ("sweep", "--depth", "1", *SMALL, "--meters", "ledger", "--export-csv", "rows.csv")
    assert called(*row, cwd=path).code == 0
    assert called("train", "--epochs", "2", *SMALL, "--save", "model.npz", cwd=path).code == 0
    return path


def test_every_answer_is_registered_for_one_command():
    assert len(PUBLICATIONS) == len(COMMANDS)


def test_every_command_words_its_exports_alike(tmp_path):
    def exports(command):
        said = called(command, "--help", cwd=tmp_path).out
        said = re.sub(r"\n {10,}", " ", said)  # one line for each option
        texts = re.findall(r"^  ((?:--export-\w+|--html|--json|--force) .*)$", said, re.M)
        return {text.split()[0]: " ".join(text.split()) for text in texts}

    first = exports("sweep")
    assert list(first) == [
        "--export-csv",
        "--export-json",
        "--export-markdown",
        "--html",
        "--json",
        "--force",
    ]
    for command in COMMANDS:
        assert exports(command) == first, command
    of_report = exports("report")  # it always writes a page
    assert first.pop("--html")
    assert of_report == first


class Page(HTMLParser):
    """A parser for the titles of a page, the texts of its table cells, and the addresses that it loads."""

    def __init__(self, text):
        super().__init__()
        self.titles, self.cells, self.loaded, self._into = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.loaded += [attrs[name] for name in ("src", "href") if name in attrs]
        if tag in ("h1", "td", "th"):
            self._into = self.titles if tag == "h1" else self.cells
            self._into.append("")

    def handle_endtag(self, tag):
        if tag in ("h1", "td", "th"):
            self._into = None

    def handle_data(self, data):
        if self._into is not None:
            self._into[-1] += data


@pytest.mark.parametrize("command", COMMANDS)
def test_every_answer_is_written_in_every_format(command, folder, tmp_path):
    files = [tmp_path / name for name in ("a.csv", "a.json", "a.md", "a.html")]
    options = ("--export-csv", "--export-json", "--export-markdown", "--html")
    line = (*COMMANDS[command], *(word for pair in zip(options, files, strict=True) for word in pair))
    assert called(*line, cwd=folder).code == 0
    as_csv, as_json, as_markdown, as_html = (path.read_text() for path in files)
    header, *rows = csv.reader(io.StringIO(as_csv))
    assert header[0] == FIRST_COLUMN[command]
    assert rows
    assert {len(row) for row in rows} == {len(header)}
    document = strict_json(as_json)
    assert document["schema_version"] == 1
    assert document["command"].startswith(f"memtrain {command}")
    assert as_markdown.startswith(f"`memtrain {command} ")
    assert "| -" in as_markdown
    page = Page(as_html)
    assert len(page.titles) == 1
    assert not page.loaded


@pytest.mark.parametrize("command", COMMANDS)
def test_json_to_stdout_is_all_that_stdout_has(command, folder, capfd):
    said = called(*COMMANDS[command], "--json", cwd=folder)
    assert said.code == 0
    assert strict_json(said.out)["schema_version"] == 1
    assert capfd.readouterr().out == ""  # by its children, or past Python's stream


@pytest.mark.parametrize("command", COMMANDS)
def test_an_export_that_is_there_is_refused_before_anything_runs(command, folder, tmp_path):
    (tmp_path / "a.md").write_text("mine")
    assert "--force" in refused(*COMMANDS[command], "--export-markdown", tmp_path / "a.md", cwd=folder)
    assert (tmp_path / "a.md").read_text() == "mine"


def test_a_report_exports_the_rows_of_all_its_files(folder, tmp_path):
    other = ("sweep", "--depth", "2", *SMALL, "--meters", "ledger", "--export-csv", tmp_path / "other.csv")
    assert called(*other, cwd=folder).code == 0
    page = ("report", "rows.csv", tmp_path / "other.csv", "-o", tmp_path / "page.html", "--quiet")
    said = called(*page, "--export-csv", tmp_path / "all.csv", "--json", cwd=folder)
    assert (said.code, said.err) == (0, "")
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["depth"], row["mode"]) for row in rows] == [
        (depth, mode) for depth in ("1", "2") for mode in ("train", "infer")
    ]
    assert [str(row["depth"]) for row in strict_json(said.out)["rows"]] == [row["depth"] for row in rows]
    assert (tmp_path / "page.html").stat().st_size > 10**5
    assert called(*page, "--force", cwd=folder).out == ""


def test_a_page_of_tables_shows_each_cell_as_it_is(folder, tmp_path):
    page = tmp_path / "e.html"
    assert called(*COMMANDS["explain"], "--html", page, cwd=folder).code == 0
    found = Page(page.read_text())
    assert found.titles == ["Why each intermediate is kept"]
    assert "∂J/∂W3 = ∂L/∂o h2ᵀ + λ W3" in found.cells


def test_a_failure_while_predicting_is_raised_again_and_never_taken_for_the_end():
    def blocks(rows):
        raise DataError("example 1 is not numeric", "correct it")
        yield

    network = SimpleNamespace(class_count=2, input_count=3)
    prediction = Prediction.__new__(Prediction)
    prediction._blocks, prediction._failure = [], None
    prediction._rest = blocks(network)
    for _ in range(2):
        with pytest.raises(DataError, match="not numeric"):
            prediction.finish()
