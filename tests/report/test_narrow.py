"""Tables at 40, 80 and 160 columns: no line is longer, and no figure or word is cut or broken."""

from __future__ import annotations

import csv
import io
import re

import pytest
from command_line import called
from fake_host import FakeHost, in_turn
from measured_rows import grown, some_rows
from rich.console import Console

from memtrain.answers.capacity import Capacity, find_capacity
from memtrain.answers.swept import Swept
from memtrain.cells.cell import BOTH, cell_of
from memtrain.measure.doctor import Finding, State
from memtrain.measure.measured import measured_row
from memtrain.report.publish import publication_of
from memtrain.report.section import Section
from memtrain.report.terminal.doctor import doctor_table
from memtrain.report.terminal.sweep import swept_screen
from memtrain.report.terminal.table import command_lines, fitted, prose
from memtrain.sweeps.grid import training_examples
from memtrain.sweeps.store import rows_csv

WIDTHS = (40, 80, 160)


def lines_of(parts, width):
    """The lines that a terminal of this width shows."""
    out = io.StringIO()
    for part in parts:
        Console(file=out, width=width).print(part, markup=False)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def words_of(lines):
    return {word.strip(";") for word in " ".join(lines).split()}


def rows():
    """Rows of cells with long figures and options."""
    cells = [
        cell_of(depth=depth, batch=2048, activation=activation, policy=policy, cost="flops")
        for depth in (1, 12)
        for activation, policy in (("relu", "none"), ("hard_swish", "sqrt"))
    ]
    return [
        measured_row(FakeHost(in_turn(heap=[2000], resident=[10**5], time=[0.1234])), cell, mode)
        for cell in cells
        for mode in BOTH
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sweep_fits_and_loses_no_figure(width):
    found = Swept(rows())
    lines = lines_of(swept_screen(found, width, False), width)
    assert max(map(len, lines)) <= width
    wide = lines_of(swept_screen(found, 400, False), 400)
    bars = re.compile("[█░]+")
    roles = {
        word for word in words_of(wide) if re.fullmatch(r"\d+|%,?", word)
    }  # shares stand in another table
    missing = words_of(bars.sub("", line) for line in wide) - words_of(lines) - roles
    assert not {word for word in missing if re.search(r"\d", word)}


@pytest.fixture(scope="module")
def frontier():
    """What fits into 64 GiB. Batches smaller than these would need graphs of 100,000 nodes."""
    return find_capacity(cell_of(batch=1), 2**36, [1, 8], [16_384], training_examples(cell_of()))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_frontier_fits_and_its_figures_are_those_of_the_csv(width, frontier):
    publication = publication_of(Capacity)
    lines = lines_of(publication.screen(frontier, width, False), width)
    assert max(map(len, lines)) <= width
    shown, rows = "\n".join(lines), list(csv.reader(publication.csv(frontier).splitlines()))[1:]
    assert len(rows) == 4
    for depth, batch, mode, peak, _, _, outside, outside_peak, *_ in rows:
        for figure in (batch, peak, outside, outside_peak):
            assert re.search(rf"^ *{depth} +{mode} .*\b{int(figure):,}\b", shown, re.M), (figure, width)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "options",
    [
        ("--memory", "700KiB", "--depth", "12", "--width", "64", "--batch", "256"),
        (
            "--pareto",
            "--points",
            "4",
            "--depth",
            "12",
            "--width",
            "64",
            "--batch",
            "256",
            "--optimizer",
            "adam",
        ),
        ("--memory", "1MiB", "--depth", "16", "--batch", "256", "--optimizer", "adam"),
    ],
    ids=["plan", "pareto", "levers"],
)
def test_a_plan_fits_and_loses_no_figure(options, width, tmp_path):
    line = ("plan", *options, "--cost", "flops", "--no-measure")
    shown = called(*line, cwd=tmp_path, COLUMNS=str(width)).out
    assert max(map(len, shown.splitlines())) <= width
    for row in called(*line, "--export-csv", "-", cwd=tmp_path).out.splitlines()[1:]:
        peak = re.search(r",(\d+),,,", row)[1]
        mebibytes = int(peak) / 2**20
        assert f"{mebibytes:.2f}" in shown or f"{mebibytes:.4f}" in shown


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_fits_and_shows_each_ratio(width, tmp_path):
    found = some_rows(heap=[1000])
    (tmp_path / "a.csv").write_text(rows_csv(found))
    (tmp_path / "b.csv").write_text(rows_csv(grown(found, 1.0)))
    shown = called("compare", "a.csv", "b.csv", cwd=tmp_path, COLUMNS=str(width)).out
    assert max(map(len, shown.splitlines())) <= width
    assert "2.000" in shown
    assert all(meter in shown for meter in ("ledger", "heap", "resident", "time"))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_training_and_its_findings_fit(width, tmp_path):
    shown = called("train", "--epochs", "1", cwd=tmp_path, COLUMNS=str(width)).out
    assert max(map(len, shown.splitlines())) <= width
    assert {"test", "accuracy", "→", "memory"} <= words_of(shown.splitlines())
    findings = [
        Finding("allocator", "glibc 2.36; the memory meters set MALLOC_MMAP_THRESHOLD_"),
        Finding("temporary files", "3 MiB free in /tmp", State.NOT_IDEAL, "free some space, or set TMPDIR"),
    ]
    lines = lines_of([doctor_table(findings)], width)
    assert max(map(len, lines)) <= width
    assert {"MALLOC_MMAP_THRESHOLD_", "TMPDIR"} <= words_of(lines)


def test_where_no_two_columns_fit_the_figures_stand_below_the_keys():
    lines = [("budget:123456789012", "9,999,999,999", "3.2")]
    section = Section("", ("policy", "peak\nB", "ratio"), lines)
    assert lines_of([fitted(section, 24)], 24) == [
        "policy",
        "  budget:123456789012",
        "  peak B 9,999,999,999;",
        "  ratio 3.2",
    ]


def test_a_number_and_its_unit_stay_on_one_line():
    text = "It needs 16.0 MiB and 3 % more, max(0.1 %, 16 KiB)."
    for width in range(12, 60):
        lines = lines_of([prose([text], width)], width)
        assert " ".join(lines) == text
        assert not [line for line in lines if re.match(r"(MiB|KiB|%)", line)]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_command_in_several_lines_is_one_command_for_a_shell(width):
    command = "memtrain train --depth 16 --width 256 --batch 512 --policy budget:12MiB --allocation fresh"
    lines = command_lines(command, width)
    assert max(map(len, lines)) <= width
    assert " ".join("\n".join(lines).replace("\\\n", " ").split()) == command
