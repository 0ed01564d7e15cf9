"""Frontiers over other axes than depth × batch: the search against brute force, runs, words and refusals."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace

import pytest
from command_line import called, refused, rows_of, strict_json
from fake_host import FakeHost
from rich.console import Console

import memtrain
from memtrain.answers import sizes
from memtrain.answers.axes import axes_of
from memtrain.answers.capacity import Capacity, capacity_of, find_capacity
from memtrain.answers.confirm import confirm
from memtrain.answers.sizes import Sizes
from memtrain.cells.cell import BOTH, cell_of
from memtrain.cells.row import predicted_row
from memtrain.errors import SpecError
from memtrain.report.capacity import plural, problem_lines
from memtrain.report.publish import publication_of

KIB, MIB = 1024, 1024**2
MOST = 24
"""The largest size that brute force tries."""

TRANSFORMER = {"model": "transformer", "data": "synthetic", "depth": 1, "width": 8, "vocabulary": 16}
SMALL = {**TRANSFORMER, "sequence": 8, "heads": 4, "batch": 2}
CNN = {"model": "cnn", "data": "synthetic", "depth": 1, "width": 4, "image": 8, "batch": 2, "pool": 1}


def peak(cell, mode, **columns):
    """The predicted peak; ``None`` if there is no such network."""
    try:
        return predicted_row(cell.changed(**columns), mode)["predicted_peak_bytes"]
    except SpecError:
        return None


def check_by_trying_all(cell, mode, budget, axis, largest, **other):
    """Of all sizes up to `MOST`, those fit that are at most ``largest``, and no others.

    The peak of a convolution may fall when its image or width grows, so that some below do not fit.
    """
    falls = cell["model"] == "cnn" and axis in ("image", "width")
    for size in range(1, MOST + 1):
        found = peak(cell, mode, **other, **{axis: size})
        if found is not None and not (falls and size < (largest or 0)):
            assert (found <= budget) is (size <= (largest or 0)), (axis, size, other)
    assert largest is None or peak(cell, mode, **other, **{axis: largest}) <= budget


@pytest.mark.parametrize(
    ("columns", "axes", "firsts", "seconds", "budget"),
    [
        (SMALL, ("sequence", "batch"), [1, 5, 16], [1, 3, 12], 60 * KIB),
        ({**SMALL, "attention": "blocks"}, ("sequence", "batch"), [4, 16], [2, 9], 60 * KIB),
        (SMALL, ("width", "batch"), [4, 12], [1, 8], 60 * KIB),
        (SMALL, ("width", "sequence"), [4, 12], [3, 16], 60 * KIB),
        (SMALL, ("depth", "sequence"), [1, 2, 4], [4, 16], 40 * KIB),
        ({**SMALL, "width": 64, "heads": 2}, ("vocabulary", "batch"), [2, 40], [1, 4], 250 * KIB),
        ({**SMALL, "model": "rnn", "heads": None}, ("sequence", "batch"), [2, 9], [1, 5], 20 * KIB),
        (CNN, ("depth", "image"), [1, 3, 5], [4, 16], 40 * KIB),
        (CNN, ("image", "batch"), [6, 9], [1, 4], 40 * KIB),
        (CNN, ("width", "image"), [3, 5], [7, 9], 42_000),
        ({"depth": 2, "input_size": 4, "output_size": 3}, ("width", "batch"), [1, 8], [1, 16], 5 * KIB),
    ],
    ids=lambda value: "×".join(value) if isinstance(value, tuple) else None,
)
def test_the_frontier_is_what_trying_all_values_finds(columns, axes, firsts, seconds, budget):
    cell = cell_of(**columns)
    found = find_capacity(cell, budget, firsts, seconds, axes=axes)
    for one in found.boundaries:
        given = {axes[0]: one.first}
        check_by_trying_all(cell, one.mode, budget, axes[1], one.second, **given)
        inside = None if one.second is None else peak(cell, one.mode, **given, **{axes[1]: one.second})
        assert one.predicted_peak_bytes == inside
        outside = peak(cell, one.mode, **given, **{axes[1]: one.outside})
        assert one.outside_predicted_peak_bytes == outside > one.limit_bytes
    for one in found.largest_firsts:
        check_by_trying_all(cell, one.mode, budget, axes[0], one.first, **{axes[1]: one.second})


def test_a_depth_is_limited_by_the_image():
    """With a pool after each block, 4 pixels allow 2 blocks (4 → 2 → 1), and 16 allow 4."""
    found = find_capacity(cell_of(**CNN), MIB, [1], [4, 16], axes=("depth", "image"))
    assert {(one.second, one.first, one.more) for one in found.largest_firsts} == {
        (4, 2, False),
        (16, 4, False),
    }
    assert found.outcome(1, 16) == "train"
    assert found.outcome(3, 4) is None


def test_widths_that_the_heads_do_not_divide_are_skipped():
    """With 4 heads: 4, 8, 12, … (a peak of a byte per unit makes the budget the width)."""
    cell = cell_of(**SMALL)
    widths = Sizes("width", lambda width: cell.changed(width=width))
    assert (widths.least, widths.after(8), widths.after(9), widths.after(None)) == (4, 12, 12, 4)
    for budget, largest in ((3, None), (4, 4), (15, 12), (16, 16), (1_000_003, 1_000_000)):
        assert widths.largest(lambda cell: (cell["width"], 0), budget) == largest


def test_where_the_search_ends_nothing_must_fail_and_nothing_is_run_outside(monkeypatch):
    monkeypatch.setattr(sizes, "MOST_NODES", 300)
    cell = cell_of(**{**SMALL, "model": "rnn", "heads": None})
    found = find_capacity(cell, 64 * MIB, [1], [2], axes=("depth", "sequence"))
    nodes = [len(cell.network.changed(sequence=one).build(1).builder.nodes) for one in (1, 2)]
    most = 1 + (300 - nodes[0]) // (nodes[1] - nodes[0])
    assert {(one.second, one.outside) for one in found.boundaries} == {(most, None)}
    assert all(one.more for one in found.largest_firsts)
    ran = []

    def measure(meter, cell, mode, timeout_s):
        ran.append(cell["sequence"])
        counted = predicted_row(cell, mode)["predicted_peak_bytes"]
        return {"ledger_peak_bytes": counted, "data_peak_bytes": counted}

    said = confirm(FakeHost(measure), found, jobs=1)
    assert ran == [most, most]
    assert all(one.ok and one.confirmed_outside is None for one in said.boundaries)
    assert not problem_lines(said)
    assert f"≥{most}" in shown(said, 80)


def test_columns_with_several_values_are_the_axes_and_batch_or_depth_completes_them():
    def names(**given):
        axes = axes_of(given)
        return axes.names, axes.fixed

    assert names() == (("depth", "batch"), {})
    assert names(depth=4, batch=8) == (("depth", "batch"), {})
    assert names(batch="1,2", width=8) == (("depth", "batch"), {"width": 8})
    assert names(width=[8, 16], depth="3") == (("width", "batch"), {"depth": 3})
    assert names(depth="1:4:x2", width=[8, 16], batch=7) == (("depth", "width"), {"batch": 7})
    synthetic = {"data": "synthetic"}
    assert names(sequence="8,16", batch=4) == (("sequence", "batch"), synthetic)
    assert names(sequence="8,16", vocabulary="9,20") == (("sequence", "vocabulary"), synthetic)


def test_families_have_their_own_depths_and_batches():
    """The depths and least batches are those of a sweep; 16 MiB hold a batch of 4 and not one of 256."""
    axes = axes_of({"model": "transformer"})
    assert (axes.firsts, axes.seconds) == ((1, 2, 4), None)
    assert axes_of({}).firsts == (1, 2, 4, 8, 16, 32, 64)
    given = {**SMALL, "sequence": None, "batch": None}
    found = capacity_of(
        axes_of({"sequence": [64, 128]}), lambda **fixed: cell_of(**given_with(given, fixed)), MIB
    )
    assert next(iter(found.largest_firsts)).second == 4


def given_with(columns, fixed):
    return {name: value for name, value in {**columns, **fixed}.items() if value is not None}


def shown(capacity, width):
    """What a terminal of this width shows; every line fits."""
    out = io.StringIO()
    for part in publication_of(Capacity).screen(capacity, width, False):
        Console(file=out, width=width).print(part, markup=False)
    assert max(map(len, out.getvalue().splitlines())) <= width
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 160])
def test_each_axis_is_called_by_its_name_in_every_format(width):
    found = find_capacity(cell_of(**SMALL), 60 * KIB, [4, 12], [3, 16], axes=("width", "sequence"))
    said, text = shown(found, width), publication_of(Capacity).csv(found)
    plain = " ".join(said.split())
    assert "What fits into 60 KiB: width × sequence" in plain
    assert "For each width: the largest sequence that fits" in plain
    assert "For each sequence: the largest width that fits" in plain
    assert not re.search("batch|depth", said)
    rows = rows_of(text)
    assert list(rows[0])[:7] == [
        "width",
        "sequence",
        "mode",
        "predicted_peak_bytes",
        "budget_bytes",
        "limit_bytes",
        "outside_sequence",
    ]
    for row in rows:
        line = rf"^ *{row['width']} +{row['mode']} .*\b{int(row['outside_predicted_peak_bytes']):,}\b"
        assert re.search(line, said, re.MULTILINE)


def test_the_map_is_empty_where_there_is_no_network():
    found = find_capacity(cell_of(**CNN), MIB, [1, 4], [4, 16], axes=("depth", "image"))
    lines = shown(found, 80).splitlines()
    assert [line.split() for line in lines[3:5]] == [["1", "███", "███"], ["4", "███"]]
    assert "where nothing stands, there is no such network" in " ".join(" ".join(lines).split())


LINE = ("frontier", "--model", "transformer", "--width", "16", "--vocabulary", "32", "--depth", "1")


def test_json_csv_page_and_python_have_the_names_of_the_axes(tmp_path):
    line = (*LINE, "--memory", "1MiB", "--sequence", "16,32", "--batch", "2,4", "--no-confirm", "--json")
    said = called(*line, "--export-csv", "f.csv", "--html", "f.html", cwd=tmp_path)
    document = strict_json(said.out)
    assert not {"sequence", "batch"} & set(document["cell"])
    assert (document["cell"]["depth"], document["cell"]["data"]) == (1, "synthetic")
    rows = rows_of((tmp_path / "f.csv").read_text())
    for name in ("sequence", "batch", "outside_batch"):
        assert [str(row[name]) for row in document["rows"]] == [row[name] for row in rows]
    assert {(one["batch"], one["mode"]) for one in document["largest_sequences"]} == {
        (batch, mode) for batch in (2, 4) for mode in BOTH
    }
    assert set(document["largest_sequences"][0]) == {"batch", "mode", "sequence", "predicted_peak_bytes"}
    page = " ".join((tmp_path / "f.html").read_text().split())
    assert f"At sequence 16, the largest batch is {rows[0]['batch']} for training" in page
    network = {"model": "transformer", "width": 16, "vocabulary": 32, "depth": 1}
    answer = memtrain.frontier("1MiB", sequence=[16, 32], batch="2,4", confirm=False, **network)
    assert [(one.first, one.second) for one in answer.boundaries] == [
        (row["sequence"], row["batch"]) for row in document["rows"]
    ]


def test_the_plural_of_an_axis():
    assert [plural(name) for name in ("depth", "vocabulary")] == ["depths", "vocabularies"]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (
            ("--depth", "1,2", "--sequence", "8,16", "--batch", "1,2"),
            ["--depth, --sequence and --batch have several values each", "two axes", "one value for --batch"],
        ),
        (("--sequence", "8,16", "--data", "topics"), ["--sequence has several values", "drop --data"]),
        (("--width", "6,10", "--heads", "4"), ["width 6", "4 heads", "multiple of --heads"]),
        (("--heads", "2,4"), ["--heads takes one number"]),
        (("--depth", "0,1"), ["depth 0", "≥ 1"]),
        (("--image", "8,16"), ["transformer has no image"]),
        (("--sequence", "8:16"), ["--sequence '8:16' is a range without a step"]),
    ],
)
def test_what_is_no_frontier_is_refused_in_plain_words(options, parts, tmp_path):
    said = refused("frontier", "--memory", "1MiB", "--model", "transformer", *options, cwd=tmp_path)
    assert [part for part in parts if part not in said] == []


@pytest.mark.no_cover
@pytest.mark.measure
@pytest.mark.skipif(sys.platform != "linux", reason="limits need Linux")
@pytest.mark.parametrize(
    ("axes", "options"),
    [
        (("sequence", "batch"), ("--sequence", "32,64", "--batch", "2,8")),
        (("width", "sequence"), ("--sequence", "32,64", "--width", "8,16")),
    ],
)
def test_the_largest_values_run_under_the_limit_and_those_outside_fail(axes, options, tmp_path):
    said = called(*LINE, *options, "--memory", "4MiB", "--json", cwd=tmp_path)
    assert said.code == 0, said.err
    rows = strict_json(said.out)["rows"]
    assert len(rows) == 4
    for row in rows:
        assert row["confirmed_inside"] is row["confirmed_outside"] is True
        assert row[axes[1]] < row[f"outside_{axes[1]}"]
        assert row["outside_reason"].startswith("out of memory at step")


def test_a_problem_names_the_axes():
    found = find_capacity(cell_of(**SMALL), 60 * KIB, [4], [3], axes=("width", "sequence"))
    boundaries = [replace(one, confirmed_inside=False, inside_reason="x") for one in found.boundaries]
    (line,) = problem_lines(replace(found, boundaries=tuple(boundaries)))
    assert line.startswith(
        f"width 4, train: sequence {boundaries[0].second}, which should fit (and 1 more): x"
    )
