"""The notebook in results/ runs from top to bottom, uses every function, and draws its figures."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from paths import ROOT

import memtrain

NOTEBOOK = ROOT / "results" / "tour.ipynb"
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The code of each cell with its outputs. An error in a cell ends the process with a failure."""
    path = tmp_path_factory.mktemp("notebook") / "executed.ipynb"
    command = [sys.executable, "-c", EXECUTE, NOTEBOOK, path]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [("".join(cell["source"]), cell["outputs"]) for cell in cells if cell["cell_type"] == "code"]


def data(outputs):
    """The forms in which a notebook shows the last value of a cell, by type."""
    return outputs[-1]["data"]


def test_the_notebook_uses_every_function():
    source = NOTEBOOK.read_text(encoding="utf-8")
    used = set(re.findall(r"memtrain\.(\w+)", source))
    functions = {name for name in memtrain.__all__ if name[0].islower()}
    assert functions <= used


def test_every_figure_is_drawn(executed):
    figures = [data(outputs) for source, outputs in executed if "figure(" in source]
    assert len(figures) == 5
    for figure in figures:
        traces = figure["application/vnd.plotly.v1+json"]["data"]
        assert traces
        assert all("y" in trace for trace in traces)


def test_every_answer_shows_itself_as_tables(executed):
    for name in ("explained", "rows", "fits", "plans", "training"):
        shown = next(data(outputs) for source, outputs in executed if source.endswith(f"\n{name}"))
        assert "<table" in "".join(shown["text/html"])
        assert "Shown object" not in "".join(shown["text/plain"])


def test_a_row_is_one_short_line(executed):
    (text,) = (data(outputs)["text/plain"] for source, outputs in executed if source == "rows[0]")
    assert len("".join(text).splitlines()) == 1
    assert len("".join(text)) < 120
