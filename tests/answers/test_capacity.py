"""Capacity: the search, compared with brute force, and the limit, tried with real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from command_line import called, rows_of, strict_json
from fake_host import FakeHost
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrain.answers.capacity import default_batches, find_capacity
from memtrain.answers.confirm import confirm
from memtrain.answers.largest import largest_within
from memtrain.answers.sizes import MOST_DEPTH
from memtrain.cells.cell import BOTH, Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.errors import ChildFailed, RangeError, SpecError
from memtrain.measure.client import MEMORY_SETTINGS
from memtrain.measure.host import Host
from memtrain.measure.limits import MOST_SLACK_BYTES, most_slack_bytes, slack_bytes
from memtrain.measure.measured import measured_row
from memtrain.planning.liveness import analyse
from memtrain.report.capacity import problem_lines
from memtrain.report.findings import findings
from memtrain.units import parse_bytes

MIB = 1024**2
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits need Linux")


@given(
    lines=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 40)), min_size=1, max_size=5),
    caps=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 50)), max_size=3),
    budget=st.integers(0, 3000),
    most=st.integers(1, 300),
)
def test_the_search_finds_what_trying_all_sizes_finds(lines, caps, budget, most):
    """Realistic peaks: the maximum of several lines, some with a workspace that stops growing."""

    def peak(size):
        return max(a + b * size for a, b in lines) + sum(min(cap, size * per) for cap, per in caps)

    tried = [size for size in range(1, most + 1) if peak(size) <= budget]
    assert largest_within(peak, budget, 1, most) == (max(tried) if tried else None)


def test_the_search_needs_few_predictions_where_peaks_lie_on_a_line():
    asked = []

    def peak(size):
        asked.append(size)
        return 1_000_000 + 2048 * size

    assert largest_within(peak, 10**12, 1, 2**62) == (10**12 - 1_000_000) // 2048
    assert len(asked) <= 6


@settings(deadline=None, max_examples=40)
@given(
    activation=st.sampled_from(["relu", "gelu", "tanh"]),
    optimizer=st.sampled_from(["sgd", "adam"]),
    depth=st.integers(0, 5),
    width=st.integers(1, 40),
    budget=st.integers(1_000, 400_000),
)
def test_inside_fits_and_one_more_example_does_not(activation, optimizer, depth, width, budget):
    cell = cell_of(width=width, activation=activation, optimizer=optimizer)
    for boundary in find_capacity(cell, budget, [depth], []).boundaries:

        def peak(batch, boundary=boundary):
            row = predicted_row(cell.changed(depth=depth, batch=batch), boundary.mode)
            return row["predicted_peak_bytes"]

        if boundary.second is None:
            assert peak(1) > budget
        else:
            assert peak(boundary.second) == boundary.predicted_peak_bytes <= budget
            assert peak(boundary.second + 1) > budget
        assert peak(boundary.outside) == boundary.outside_predicted_peak_bytes > boundary.limit_bytes
        assert boundary.limit_bytes - budget <= max(MOST_SLACK_BYTES, budget // 100)


def test_the_largest_depth_fits_and_one_more_layer_does_not():
    cell = cell_of(width=32)
    found = find_capacity(cell, 500_000, [1], [1, 64, 100_000])
    assert [(entry.second, entry.mode) for entry in found.largest_firsts] == [
        (batch, mode) for batch in (1, 64, 100_000) for mode in BOTH
    ]
    for entry in found.largest_firsts:
        if entry.second == 100_000:
            assert entry.first is None
            continue
        peaks = [
            predicted_row(cell.changed(depth=depth, batch=entry.second), entry.mode)["predicted_peak_bytes"]
            for depth in (entry.first, entry.first + 1)
        ]
        assert peaks[0] == entry.predicted_peak_bytes <= 500_000 < peaks[1]


@pytest.mark.no_cover
def test_a_network_without_hidden_layers_may_be_the_largest_of_all():
    """With 1000 × 1000 weights, depth 0 exceeds a budget in which many layers of width 1 fit."""
    cell = cell_of(width=1, data="synthetic", input_size=1000, output_size=1000)
    for entry in find_capacity(cell, 100_000, [1], [4]).largest_firsts:
        peaks = [
            predicted_row(cell.changed(depth=depth, batch=entry.second), entry.mode)["predicted_peak_bytes"]
            for depth in (0, entry.first, entry.first + 1)
        ]
        assert peaks[0] > 100_000 >= peaks[1]
        assert peaks[2] > 100_000 or entry.first == MOST_DEPTH


def test_training_never_fits_more_than_inference_and_the_slack_is_bounded():
    found = find_capacity(cell_of(), 64 * MIB, [1, 4, 16, 64], default_batches)
    batches = found.largest_seconds()
    for depth in (1, 4, 16, 64):
        assert batches[depth, Mode.TRAIN] < batches[depth, Mode.INFER]
    assert slack_bytes(analyse(cell_of(depth=400).schedule(Mode.TRAIN)), MIB) == MIB


def fake(fits):
    """A ``measure`` function with which a batch runs if ``fits`` is true for it."""

    def measure(meter, cell, mode, timeout_s):
        assert meter == "limit"
        if not fits(cell):
            raise ChildFailed("memory_limit", "out of memory at step 3 of 9, forward, z2: no room")
        peak = predicted_row(cell, mode)["predicted_peak_bytes"]
        return {"ledger_peak_bytes": peak, "data_peak_bytes": peak + 4096}

    return measure


def test_confirming_says_what_the_runs_said():
    found = find_capacity(cell_of(width=16), MIB, [1, 2], [])
    inside = {(b.first, b.second) for b in found.boundaries}

    def states(fits):
        result = confirm(FakeHost(fake(fits)), found, jobs=2).boundaries
        return {(b.confirmed_inside, b.confirmed_outside) for b in result}, result

    seen, boundaries = states(lambda cell: (cell["depth"], cell.batch) in inside)
    assert seen == {(True, True)}
    assert all(b.ok and b.slack_needed_bytes == 4096 and "z2" in b.outside_reason for b in boundaries)
    assert all(not b.problems() for b in boundaries)
    seen, boundaries = states(lambda cell: True)
    assert seen == {(True, False)}
    assert all("should not fit" in b.problems()[0][0] for b in boundaries)
    (line,) = problem_lines(replace(found, boundaries=boundaries))
    assert f"(and {len(boundaries) - 1} more)" in line
    assert states(lambda cell: False)[0] == {(False, True)}


def test_what_the_machine_has_no_memory_for_stays_unconfirmed():
    found = find_capacity(cell_of(), 2**60, [1], [])
    boundaries = confirm(FakeHost(fake(lambda cell: True)), found, jobs=1).boundaries
    assert {(b.confirmed_inside, b.confirmed_outside) for b in boundaries} == {(None, None)}
    assert all(b.ok and "not tried" in b.inside_reason for b in boundaries)
    most = [replace(b, limit_bytes=b.budget_bytes + most_slack_bytes(b.budget_bytes)) for b in boundaries]
    assert not any("slack" in why for b in most for _, why in b.problems())
    failed = [replace(b, confirmed_inside=False) for b in most]
    assert all("the largest slack" in b.problems()[0][1] for b in failed)


@pytest.mark.no_cover
@pytest.mark.measure
@linux
@pytest.mark.parametrize(
    "options",
    [
        ["--memory", "32MiB", "--depth", "1,4,16,64"],
        ["--memory", "8MiB", "--depth", "0,3", "--activation", "gelu", "--bias", "--optimizer", "adam"],
        ["--memory", "16MiB", "--depth", "2", "--width", "1000", "--dtype", "float64", "--update", "eager"],
    ],
)
def test_under_a_hard_limit_the_inside_runs_and_the_outside_fails_at_a_named_step(options, tmp_path):
    said = called("frontier", *options, "--json", "--export-csv", "f.csv", cwd=tmp_path)
    assert said.code == 0, said.err
    document = strict_json(said.out)
    for row in document["rows"]:
        assert row["confirmed_inside"] is row["confirmed_outside"] is True
        assert row["slack_needed_bytes"] <= row["limit_bytes"] - row["budget_bytes"]
        assert row["outside_reason"].startswith("out of memory at step")
    rows = rows_of((tmp_path / "f.csv").read_text())
    assert (
        ",".join(rows[0]) == "depth,batch,mode,predicted_peak_bytes,budget_bytes,limit_bytes,outside_batch,"
        "outside_predicted_peak_bytes,confirmed_inside,confirmed_outside,training_examples"
    )
    assert {(row["confirmed_inside"], row["confirmed_outside"]) for row in rows} == {("true", "true")}


@pytest.mark.measure
@linux
def test_a_sweep_under_a_limit_shows_that_training_runs_out_of_memory_first(tmp_path):
    sweep = ("sweep", "--depth", "2,8,16", "--batch", "64,1024", "--meters", "ledger,heap")
    said = called(*sweep, "--memory-limit", "5MiB", "--export-json", "rows.json", cwd=tmp_path)
    assert said.code == 1
    rows = strict_json((tmp_path / "rows.json").read_text())["rows"]
    failed = {(row["depth"], row["batch"], row["mode"]) for row in rows if row["status"] == "memory_limit"}
    assert failed == {(8, 1024, "train"), (16, 64, "train"), (16, 1024, "train"), (16, 1024, "infer")}
    for row in rows:
        if row["status"] == "ok":
            assert row["ledger_peak_bytes"] == row["predicted_peak_bytes"] <= 5 * MIB
            assert row["heap_peak_bytes"] is not None
        else:
            assert row["predicted_peak_bytes"] > 5 * MIB
            assert "out of memory at step" in row["reason"]
            assert row["ledger_peak_bytes"] is None
    assert "training runs in 3 of 6 cells" in " ".join(said.out.split())


def marked(text):
    """By depth and mode: whether the row of the table marks the batch that fits."""
    rows = re.findall(r"^ +(\d+)  (train|infer) +([\d,]+)(\*?) ", text, re.MULTILINE)
    return {
        (int(depth), mode): (int(batch.replace(",", "")), bool(mark)) for depth, mode, batch, mark in rows
    }


def test_a_batch_larger_than_the_training_examples_is_marked_and_the_number_is_told(tmp_path):
    """Four fifths of 625 examples are training examples: 500, computed by hand and not by the split."""
    lines = (f"{number / 625},{number % 7},{number % 2}\n" for number in range(625))
    (tmp_path / "d.csv").write_text("".join(lines))
    line = ("frontier", "--memory", "8MiB", "--depth", "1,32", "--no-confirm", "--data", "d.csv")
    files = ("--export-json", "f.json", "--export-csv", "f.csv", "--export-markdown", "f.md")
    said = called(*line, *files, cwd=tmp_path).out
    found = marked(said)
    assert {mark for _, mark in found.values()} == {True, False}
    assert all(mark is (batch > 500) for batch, mark in found.values())
    assert "* marks a batch of more than the 500 training examples of d.csv." in " ".join(said.split())
    assert re.search(r"^depth +64 +256 +1Ki\* ", said, re.MULTILINE)
    document = strict_json((tmp_path / "f.json").read_text())
    assert document["training_examples"] == 500
    assert {row["training_examples"] for row in document["rows"]} == {500}
    rows = rows_of((tmp_path / "f.csv").read_text())
    assert {row["training_examples"] for row in rows} == {"500"}
    assert "the 500 training examples of d.csv" in (tmp_path / "f.md").read_text()


@pytest.mark.parametrize("options", [("--input-size", "64", "--output-size", "10"), ("--batch", "8")])
def test_nothing_is_marked_where_no_batch_is_larger_or_examples_are_made(options, tmp_path):
    line = ("frontier", "--memory", "1MiB", "--depth", "1,16", "--no-confirm", *options)
    said = called(*line, cwd=tmp_path).out
    assert "*" not in said
    assert "training examples" not in said


@linux
def test_an_array_beyond_the_limit_cannot_be_had():
    """The control: numpy gets an array if the limit is 64 KiB larger, and not if it is 64 KiB smaller."""
    code = (
        "import json, numpy as np\n"
        "from memtrain.measure.limits import data_limit\n"
        "size, found = 8 * 1024**2, []\n"
        "for extra in (size + 65536, size - 65536):\n"
        "    with data_limit(extra):\n"
        "        try:\n"
        "            found.append(np.empty(size - 4096, np.uint8).nbytes)\n"
        "        except MemoryError:\n"
        "            found.append(None)\n"
        "print(json.dumps(found))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **MEMORY_SETTINGS},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(out) == [8 * MIB - 4096, None]


@pytest.mark.measure
@linux
def test_a_cell_that_only_runs_in_the_slack_of_the_allocator_does_not_fit():
    peak = predicted_row(cell_of(depth=4), Mode.TRAIN)["predicted_peak_bytes"]
    with Host() as host:
        rows = [
            measured_row(host, cell_of(depth=4, memory_limit_bytes=limit), Mode.TRAIN, meters=["ledger"])
            for limit in (peak, peak - 1)
        ]
    assert [row["status"] for row in rows] == ["ok", "memory_limit"]
    assert "1 B over the limit" in rows[1]["reason"]


def test_a_limit_goes_with_one_thread_and_is_at_least_a_byte():
    with pytest.raises(SpecError, match="one thread"):
        cell_of(memory_limit_bytes=MIB, threads=2)
    with pytest.raises(SpecError, match="memory limit 0"):
        cell_of(memory_limit_bytes=0)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("64MiB", 64 * MIB),
        ("64MB", 64_000_000),
        ("64mib", 64 * MIB),
        ("1.5 GiB", 3 * 2**29),
        ("1GB", 10**9),
        ("123", 123),
        ("123B", 123),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_sizes_are_read_as_people_write_them(text, count):
    assert parse_bytes(text, "--memory") == count


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "0", "0.2B", "1e9", "64XB", "nan", "9" * 40, "9999999TiB", "１MiB"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(RangeError):
        parse_bytes(text, "--memory")


def test_a_bare_letter_is_refused_with_the_two_spellings():
    with pytest.raises(RangeError, match="64MiB or 64MB"):
        parse_bytes("64M", "--memory")


def test_what_a_sweep_under_a_limit_says_is_true_of_every_kind_of_row():
    def row_of(status, limit, ledger=True, depth=1):
        row = predicted_row(cell_of(depth=depth, memory_limit_bytes=limit), Mode.TRAIN)
        row["status"] = status
        if status == "ok" and ledger:
            row["ledger_peak_bytes"] = row["predicted_peak_bytes"]
        return row

    def said(*rows):
        return next(line for line in findings(rows, []) if line.startswith(("Within", "Predicted")))

    large, small = 10 * MIB, 1000
    assert said(row_of("ok", large)) == "Within 10 MiB, training runs in 1 of 1 cells."
    assert "runs in 0 of 1 cells (not in 1×64)" in said(row_of("memory_limit", small))
    assert "runs in 0 of 1 cells (unknown for 1×64)" in said(row_of("killed", large))
    assert "runs in 0 of 1 cells (unknown for 1×64)" in said(row_of("memory_limit", large))  # not tried
    dry = row_of("ok", small, ledger=False)
    assert said(dry) == "Predicted: within 1.0 KiB, training runs in 0 of 1 cells (not in 1×64)."
    mixed = (row_of("ok", large), row_of("killed", large, depth=2), row_of("ok", large, depth=3))
    assert "runs in 2 of 3 cells (unknown for 2×64)" in said(*mixed)


def test_an_arena_can_shrink_as_the_batch_grows_so_that_no_search_would_be_right():
    cells = [
        cell_of(depth=8, batch=batch, activation="gelu", bias=True, optimizer="adam", allocation="packed")
        for batch in (24, 25)
    ]
    smaller, larger = (predicted_row(cell, Mode.TRAIN)["predicted_peak_bytes"] for cell in cells)
    assert smaller > larger
