"""`memtrain explain` as a child process: what it prints, writes and refuses."""

from __future__ import annotations

import re

import pytest
from command_line import memtrain, refused, strict_json

SMALL = ("explain", "--width", "16", "--batch", "8")


def test_all_parts_are_there_and_fit_into_80_columns(tmp_path):
    said = memtrain(
        *SMALL, "--depth", "9", "--activation", "gelu", "--bias", "--prove", "--second", cwd=tmp_path
    )
    assert (said.code, said.err) == (0, "")
    for part in (
        "forward keeps",
        "The graph",
        "The gradients",
        "Kept from",
        "Not kept",
        "◄ peak",
        "Runner-up",
    ):
        assert part in said.out
    assert "⋮ × 6" in said.out
    assert "heap (memray)" in said.out
    assert "Proved" in said.out
    assert "central differences" in said.out
    assert "kept from the gradient" in said.out
    assert "\x1b" not in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_the_json_has_what_it_promises(tmp_path):
    said = memtrain(*SMALL, "--json", "--prove", "--second", cwd=tmp_path)
    document = strict_json(said.out)
    assert set(document["nodes"][0]) == {"name", "op", "phase", "shape", "dtype", "bytes", "inputs"}
    kept = document["retained"]
    assert [entry["name"] for entry in kept] == ["h", "logp"]
    assert set(kept[0]) == {
        *("name", "label", "scope", "shape", "dtype", "bytes", "formula", "producer", "read_by"),
        *("born_step", "freed_step"),
    }
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
    said = memtrain("explain", "--depth", "200", "--width", "4096", "--batch", "1048576", cwd=tmp_path)
    assert said.code == 0
    assert "all figures are predicted" in said.err
    assert "4·(L − 1)·n·h" in said.out


def test_layers_of_their_own_widths_have_symbols_of_their_own(tmp_path):
    said = memtrain("explain", "--layers", "20,9,7,3", "--no-measure", cwd=tmp_path)
    assert said.code == 0
    assert "d = 20, w1 = 9, w2 = 7, q = 3" in re.sub(r"\s+", " ", said.out)
    assert "4·w1·w2" in said.out


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


@pytest.mark.parametrize("option", ["--svg", "--dot"])
def test_a_drawing_is_written_and_not_overwritten(option, tmp_path):
    assert memtrain(*SMALL, "--no-measure", option, "graph", "--backward", cwd=tmp_path).code == 0
    first = (tmp_path / "graph").read_text()
    assert "∂" in first
    assert "--force" in refused(*SMALL, option, "graph", cwd=tmp_path)
    assert (tmp_path / "graph").read_text() == first
