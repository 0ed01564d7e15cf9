"""Predictions start no process: they plan with kept rates or by FLOPs, and say with which."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile

import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import planned_row, predicted_row
from memtrain.cli.app import app
from memtrain.measure import rates as rates_module
from memtrain.planning.cost import Rates
from memtrain.report.lifelines import of_cell
from memtrain.run.kept_rates import KEPT_RATES, UNKNOWN, kept_rates

CELL = cell_of(depth=8, width=32, batch=256, activation="gelu", policy="budget:500KiB")
NETWORK = ("--depth", "8", "--width", "32", "--batch", "256", "--activation", "gelu")
DRY = ("sweep", *NETWORK, "--policy", "budget:500KiB", "--dry-run", "--json")
EXPLAIN = ("explain", *NETWORK, "--policy", "budget:500KiB", "--no-measure", "--json")
PLAN = ("plan", *NETWORK, "--memory", "500KiB", "--no-measure", "--json")
COMMANDS = pytest.mark.parametrize("command", [DRY, EXPLAIN, PLAN], ids=lambda words: words[0])
RATES = {
    "gelu": Rates(1e15, 1e9, {"gelu": 1e3, "gelu_grad": 1e9}),
    "matmul": Rates(1e3, 1e9, {"gelu": 1e15, "gelu_grad": 1e9}),
}
"""Two sets of rates, by the op that is expensive. With each, the same budget keeps other values."""


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch, tmp_path):
    """Make the start of a process and the measurement of rates fail. No rates are kept yet."""

    def refuse(*asked, **named):
        raise AssertionError(f"a process was started: {asked}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(rates_module, "_rate", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def keep(rates):
    KEPT_RATES.value_or(lambda: rates)
    assert kept_rates() == rates


def run(command, capsys):
    """The JSON and the messages that a command writes."""
    app(args=list(command), standalone_mode=False)
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def retained(rates):
    """The retained values of the cell, if it is planned with ``rates``."""
    return predicted_row(CELL, Mode.TRAIN, rates).retained


def test_the_two_rates_make_two_plans():
    assert retained(RATES["gelu"]) != retained(RATES["matmul"])


def test_the_refusal_works():
    with pytest.raises(AssertionError, match="a process was started"):
        subprocess.run(["true"])


@COMMANDS
def test_without_kept_rates_a_command_plans_by_flops_and_says_so_once(command, capsys, tmp_path):
    document, said = run(command, capsys)
    assert said.count(UNKNOWN) == 1
    again, quiet = run((*command, "--cost", "flops"), capsys)
    assert UNKNOWN not in quiet
    for each in (document, again):
        for row in each.get("rows", []):
            row.pop("notes"), row.pop("cost")
        for name in ("command", "config", "environment"):
            each.pop(name, None)
    assert document == again
    assert list(tmp_path.rglob("rates.json")) == []


@COMMANDS
def test_with_kept_rates_the_plan_is_theirs_and_they_are_only_read(command, capsys, tmp_path):
    found = []
    for rates in RATES.values():
        kept = tmp_path / "cache" / "memtrain" / "rates.json"
        kept.unlink(missing_ok=True)
        keep(rates)
        before = kept.stat().st_mtime_ns, kept.read_bytes()
        document, said = run(command, capsys)
        assert UNKNOWN not in said
        assert (kept.stat().st_mtime_ns, kept.read_bytes()) == before
        document.pop("command")
        found.append(document)
    assert found[0] != found[1]


def test_a_predicted_row_takes_the_rates_that_it_is_given_then_those_kept_then_flops():
    by_flops = predicted_row(CELL, Mode.TRAIN)
    assert by_flops.notes == [UNKNOWN]
    assert by_flops.retained == predicted_row(CELL.changed(cost="flops"), Mode.TRAIN).retained
    keep(RATES["gelu"])
    kept = predicted_row(CELL, Mode.TRAIN)
    assert (kept.retained, kept.notes) == (retained(RATES["gelu"]), [])
    given = planned_row(CELL, Mode.TRAIN, RATES["matmul"])
    assert (given.retained, given.notes) == (retained(RATES["matmul"]), [])
    assert predicted_row(CELL, Mode.INFER).notes == []


def test_plans_that_need_no_seconds_read_no_rates(monkeypatch):
    def refuse():
        raise AssertionError("kept rates were read")

    monkeypatch.setattr("memtrain.cells.row.kept_rates", refuse)
    for fields in (
        {},
        {"policy": "sqrt"},
        {"policy": "revolve:3"},
        {"policy": "budget:8MiB", "cost": "flops"},
    ):
        assert predicted_row(cell_of(depth=8, **fields), Mode.TRAIN).notes == []


def test_a_key_starts_nothing_and_depends_on_no_rates():
    before = CELL.key(Mode.TRAIN)
    keep(RATES["gelu"])
    assert CELL.key(Mode.TRAIN) == before


def test_a_picture_of_a_cell_starts_nothing_and_says_what_it_was_planned_by():
    timeline, _ = of_cell(CELL)
    assert UNKNOWN[1:] in timeline.reading
    for rates in (None, RATES["matmul"]):
        keep(RATES["gelu"])
        timeline, lives = of_cell(CELL, rates=rates)
        assert UNKNOWN[1:] not in timeline.reading
        names = [kept["name"] for kept in retained(rates or RATES["gelu"])]
        assert [life.name for life in lives.lives] == names
