"""`memtrain explain`: what it prints, writes and refuses."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import product

import pytest
from command_line import GIVEN_KERNEL, called, refused, strict_json
from rich.console import Console

from memtrain.cells.cell import cell_of
from memtrain.explaining import evidence
from memtrain.explaining.evidence import Explained
from memtrain.report.publish import publication_of

SMALL = ("explain", "--depth", "1", "--width", "16", "--batch", "8")


def one_line(text):
    """``text`` with its line breaks and indents as single spaces."""
    return re.sub(r"\s+", " ", text)


def test_the_default_is_one_screen_that_says_what_is_kept_why_and_when(tmp_path):
    said = called("explain", cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) <= 40
    assert max(map(len, said.out.splitlines())) <= 80
    for sentence in (
        "Forward keeps h1…h16 and logp (16.0 MiB) because backward reads them.",
        "Training needs 21.3 MiB at its peak, inference 6.1 MiB: the ratio is 3.51.",
        "If forward stored nothing, each gradient would recompute its inputs from x: 35.4 GFLOP more, 17.2 ×",
        "Measured: the ledger equals the prediction, and the heap (memray) is within ",
        "Peak: step 80 (of 0–156), at ∂L/∂h15: 21.3 MiB. Second-highest: step 76, 22,155,272 B. "
        "Saving more than 216 KiB at step 80 makes step 76 the peak.",
        "transient 2.0 MiB (∂L/∂z16, ∂L/∂h15)",
        "∂J/∂W2 = ∂L/∂z2 h1ᵀ + λ W2 (needs the factor h1ᵀ)",
        "Kept for backward (waits: steps until freed; shape: an example is a column)",
        "`--full` shows the graph",
    ):
        assert sentence in one_line(said.out), sentence
    assert "256×1024" in said.out
    assert "‖W" not in said.out
    assert "The footprint" not in said.out


@pytest.mark.parametrize(
    ("options", "second"),
    [
        ({"depth": 0}, False),
        ({"depth": 1, "batch": 64}, False),
        ({"depth": 2, "activation": "gelu", "bias": True}, False),
        ({"depth": 1000}, False),
        ({"policy": "sqrt"}, False),
        ({"depth": 2, "input_size": 20, "width": (9, 7), "output_size": 3, "data": "synthetic"}, False),
        ({"depth": 4, "dtype": "float64"}, True),
    ],
    ids=str,
)
def test_no_line_is_wider_than_the_terminal_and_no_words_are_squeezed(options, second):
    cell = cell_of(**{"depth": 16, "batch": 1024} | options)
    short = evidence.explained(cell, None, second=second, measure=False)
    for found, columns in product((short, replace(short, full=True)), (40, 80, 160)):
        out = io.StringIO()
        for part in publication_of(Explained).screen(found, columns, False):
            Console(file=out, width=columns).print(part, markup=False)
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= columns
        if not found.full and columns >= 80 and not second and cell.policy != "sqrt":
            assert len(lines) <= 40


def test_at_40_columns_reasons_stand_below_the_figures(tmp_path):
    said = called("explain", "--no-measure", cwd=tmp_path, COLUMNS="40")
    lines = said.out.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("h1…h16 "))
    assert lines[at + 1 : at + 3] == ["  ∂J/∂W2 = ∂L/∂z2 h1ᵀ + λ W2 (needs the", "    factor h1ᵀ)"]


def test_depth_and_batch_have_defaults_of_their_own_but_layers_give_the_depth(tmp_path):
    def cell(*options):
        return strict_json(called("explain", *options, "--no-measure", "--json", cwd=tmp_path).out)["cell"]

    assert (cell()["depth"], cell()["batch"]) == (16, 1024)
    assert (cell("--depth", "2")["depth"], cell("--batch", "8")["batch"]) == (2, 8)
    layered = cell("--layers", "5,4,3")
    assert (layered["depth"], layered["batch"]) == (1, 1024)


def test_full_shows_all_parts_and_they_fit_into_80_columns(tmp_path):
    options = ("--depth", "9", "--activation", "gelu", "--bias", "--prove", "--second", "--full")
    said = called(*SMALL, *options, cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    for part in (
        "Forward keeps",
        "The graph",
        "The gradients",
        "Kept for backward",
        "Not kept",
        "◄ peak",
        "Second-highest",
        "transient: arrays of one phase only",
        "‖W1…W2‖² … s = λ/2 ‖W1…W10‖²",
    ):
        assert part in said.out
    assert "⋮ × 6" in said.out
    assert "heap (memray)" in said.out
    assert len(re.findall(r"predicted +ledger\n", said.out)) == 2
    assert "Proved" in said.out
    assert "central differences" in said.out
    assert "kept from the gradient" in said.out
    assert "\x1b" not in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_the_json_has_what_it_promises(tmp_path):
    said = called(*SMALL, "--json", "--prove", "--second", cwd=tmp_path)
    document = strict_json(said.out)
    assert set(document["nodes"][0]) == {"name", "op", "phase", "shape", "dtype", "bytes", "inputs"}
    kept = document["retained"]
    assert [entry["name"] for entry in kept] == ["h", "logp"]
    assert set(kept[0]) == {
        *("name", "label", "scope", "shape", "book_sizes", "book_shape", "dtype", "bytes", "formula"),
        *("producer", "read_by", "born_step", "freed_step"),
    }
    assert (kept[0]["shape"], kept[0]["book_sizes"], kept[0]["book_shape"]) == ([8, 16], [16, 8], "m×n")
    assert [entry["left"] for entry in document["forward"]][-3:] == ["‖W1…W2‖²", "s", "J"]
    assert kept[0]["read_by"][0]["formula"] == "∂J/∂W2 = ∂L/∂o hᵀ + λ W2"
    assert {"name", "label", "scope", "bytes", "reason"} == set(document["dropped"][0])
    assert {"step", "phase", "node", "live_bytes"} == set(document["timeline"][0])
    peak = max(sum(moment["live_bytes"].values()) for moment in document["timeline"])
    assert document["peak"]["bytes"] == peak == sum(e["bytes"] for e in document["footprint"]["train"])
    assert document["runner_up"]["bytes"] + document["runner_up"]["margin_bytes"] == peak
    assert document["proof"]["ok"]
    second = document["second_order"]
    assert second["relative_error"] < 1e-6
    standing = second["second_order_peak"]["standing"]
    assert sum(entry["bytes"] for entry in standing) == second["second_order_peak_bytes"]
    assert {"purpose", "names", "number_count", "bytes"} == set(standing[0])
    assert [row["mode"] for row in document["rows"]] == ["train", "infer"]


def test_what_no_machine_can_run_is_explained_in_the_same_way(tmp_path):
    large = ("--depth", "50", "--width", "4096", "--batch", "1048576", "--full")
    said = called("explain", *large, cwd=tmp_path)
    assert said.code == 0
    assert "all figures are predicted" in said.err
    assert "4·(ℓ − 1)·n·m" in said.out


def test_layers_of_their_own_widths_have_symbols_of_their_own(tmp_path):
    said = called("explain", "--layers", "20,9,7,3", "--batch", "1", "--no-measure", "--full", cwd=tmp_path)
    assert said.code == 0
    words = "n = 1 example, d = 20 inputs, m1 = 9 units, m2 = 7 units, q = 3 classes, ℓ = 2 hidden layers."
    assert words in one_line(said.out)
    assert "4·m1·m2" in said.out
    assert "ledger" not in said.out  # nothing was run, so the footprint has no column for it


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("explain --activation reluu", "reluu relu?"),
        ("explain --layers 5,4,3 --depth 2", "layers depth"),
        ("explain --depth 1000000", "depth 1,000,000 most"),
        ("explain --data missing.csv", "missing.csv"),
        ("explain --svg taken", "taken --force"),
        ("explain --backward", "--backward --svg"),
        ("explain --depth 50 --width 4096 --batch 1048576 --prove", "--prove large --batch"),
    ],
)
def test_bad_input_is_one_line(line, words, tmp_path):
    (tmp_path / "taken").touch()
    said = refused(*line.split(), cwd=tmp_path)
    assert all(word in said for word in words.split()), said


@pytest.mark.parametrize("full", [(), ("--full",)])
def test_parts_that_are_asked_for_are_shown_without_full_too(full, tmp_path):
    options = ("--prove", "--second", "--no-measure", "--policy", "sqrt")
    said = called("explain", "--depth", 9, "--width", 16, "--batch", 8, *options, *full, cwd=tmp_path)
    assert said.code == 0, said.err
    for part in ("Proved", "Second order", "Hessian · v takes", "Computed again (sqrt)"):
        assert part in said.out
    assert ("`--full` shows" in said.out) == (not full)


def test_the_second_order_has_time_only_where_rates_are_kept_and_measures_none(tmp_path):
    small, cache = (*SMALL, "--second", "--no-measure"), tmp_path / "cache"
    places = {"XDG_CACHE_HOME": str(cache), "TMPDIR": str(tmp_path), **GIVEN_KERNEL}
    flops = strict_json(called(*small, "--json", cwd=tmp_path, **places).out)["second_order"]
    assert flops["first_order_work"]["seconds"] is None
    assert flops["second_order_work"]["flops"] > flops["first_order_work"]["flops"] > 0
    assert not cache.exists()
    assert "its time" not in called(*small, cwd=tmp_path, **places).out
    timed = called(*SMALL, "--second", cwd=tmp_path, **places)
    assert "its time, as predicted for one thread of this machine" in one_line(timed.out)
    assert "its time" in called(*small, cwd=tmp_path, **places).out


@pytest.mark.parametrize("option", ["--svg", "--dot"])
def test_a_drawing_of_the_second_order_shows_its_graph_and_folds_the_directions(option, tmp_path):
    line = ("explain", "--width", 16, "--batch", 8, "--no-measure", "--second", option, "graph")
    assert called(*line, "--depth", 20, cwd=tmp_path).code == 0
    drawn = (tmp_path / "graph").read_text()
    assert "∂g·v" in drawn
    assert "v(W1)" in drawn
    assert "v(W10)" not in drawn


@pytest.mark.parametrize("option", ["--svg", "--dot"])
def test_a_drawing_is_written_and_not_overwritten(option, tmp_path):
    assert called(*SMALL, "--no-measure", option, "graph", "--backward", cwd=tmp_path).code == 0
    first = (tmp_path / "graph").read_text()
    assert "∂" in first
    assert "--force" in refused(*SMALL, option, "graph", cwd=tmp_path)
    assert (tmp_path / "graph").read_text() == first
