"""The rates of this machine: kept, given to the processes that measure, measured again where they are not."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest

from memtrain.errors import MeasureError
from memtrain.measure import rates as module
from memtrain.measure.cell import Cell, Mode
from memtrain.measure.client import SERVERS
from memtrain.measure.row import measured_row
from memtrain.plan.cost import Rates, flops, moved_bytes

RATES = Rates(1e9, 1e8, {"relu": 1e8, "gelu": 1e6})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "_given", [])
    module._kept_or_measured.cache_clear()
    yield tmp_path / "memtrain" / "rates.json"
    module._kept_or_measured.cache_clear()


@pytest.fixture
def measurements(monkeypatch):
    """How often the machine was measured."""
    calls = []
    monkeypatch.setattr(module, "_measured_apart", lambda: calls.append(1) or RATES)
    return calls


def test_rates_are_measured_once_and_then_kept(cache, measurements):
    assert module.rates() == RATES
    module._kept_or_measured.cache_clear()  # as in another process
    assert module.rates() == RATES
    assert len(measurements) == 1
    assert stat.S_ISREG(cache.stat().st_mode)
    assert os.listdir(cache.parent) == ["rates.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"x": 1}', "null", "\0"])
def test_what_is_no_cache_is_measured_again(cache, measurements, text):
    cache.parent.mkdir()
    cache.write_text(text)
    assert module.rates() == RATES
    assert len(measurements) == 1
    assert json.loads(cache.read_text())


@pytest.mark.parametrize("value", [0, -1, "fast", None, float("nan"), float("inf")])
def test_rates_that_cannot_be_are_measured_again(cache, measurements, value):
    module.rates()
    kept = json.loads(cache.read_text())
    (key,) = kept
    kept[key]["flops_per_s"] = value
    cache.write_text(json.dumps(kept))
    module._kept_or_measured.cache_clear()
    assert module.rates() == RATES
    assert len(measurements) == 2


def test_a_cache_that_cannot_be_written_is_no_failure(cache, measurements):
    cache.parent.write_text("a file where the folder should be")
    assert module.rates() == RATES


def test_rates_that_cannot_be_measured_are_an_error_with_the_way_out(cache, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nothing/python")
    with pytest.raises(MeasureError, match="--cost flops"):
        module.rates()


def test_a_machine_has_rates_above_0():
    found = module.measured_rates()
    assert min(found.flops_per_s, found.bytes_per_s, *found.op_bytes_per_s.values()) > 1e6


def test_a_step_takes_its_flops_or_its_bytes_at_the_rate_of_its_op():
    graph = Cell(depth=1, width=4, batch=8, activation="gelu").schedule(Mode.TRAIN).graph
    product, gelu, other = (graph.named(name) for name in ("z1", "h1", "L"))
    assert RATES.seconds(graph, product) == 2 * 8 * 4 * 64 / 1e9
    assert RATES.seconds(graph, gelu) == 2 * 8 * 4 * 4 / 1e6
    assert RATES.seconds(graph, other) == moved_bytes(graph, other) / 1e8
    assert flops(graph, product) == 2 * 8 * 4 * 64


@pytest.mark.measure
@pytest.mark.parametrize("slow", ["gelu", "matmul"])
def test_measuring_processes_plan_with_the_rates_of_the_asking_one(monkeypatch, slow):
    rates = Rates(1e12 if slow == "gelu" else 1e3, 1e9, {"gelu": 1e3 if slow == "gelu" else 1e12})
    monkeypatch.setattr(module, "_given", [rates])
    cell = Cell(depth=8, width=32, batch=256, activation="gelu", policy="budget:500KiB")
    with SERVERS:
        row = measured_row(cell, Mode.TRAIN, ("ledger", "heap"))
    assert row.ok, row.figures.reason
    again = [node.name for node, times in cell.plan(Mode.TRAIN).values() if times]
    kept = [node.name for node, times in cell.plan(Mode.TRAIN).values() if not times]
    dear = "h" if slow == "gelu" else "z"
    assert sum(name.startswith(dear) for name in kept) > sum(name.startswith(dear) for name in again)
