"""Workloads: before a meter starts, examples are loaded once, the plan is made, and pools are free."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.measure import workload as module
from memtrain.measure.workload import Bench, Workload, batches
from memtrain.models.mlp import MLP
from memtrain.planning.cost import Rates
from memtrain.training.sources import SYNTHETIC, load_digits, split

SMALL = cell_of(depth=1, width=8, batch=4)


def test_a_bench_loads_each_data_set_once_and_synthetic_data_never(monkeypatch):
    loaded = []

    def load(data):
        loaded.append(data)
        return load_digits()

    monkeypatch.setattr(module, "load", load)
    bench = Bench()
    assert loaded == []
    for seed in range(3):
        bench.workload(cell_of(depth=1, width=8, batch=4, seed=seed), Mode.TRAIN)
    bench.workload(cell_of(depth=1, width=8, batch=4, data=SYNTHETIC), Mode.TRAIN)
    assert loaded == ["digits"]
    assert Bench() is not bench
    Bench().workload(SMALL, Mode.TRAIN)
    assert loaded == ["digits", "digits"]


def test_batches_are_the_same_whether_examples_are_handed_in_or_loaded():
    given = batches(SMALL, split(load_digits(), MLP())[0])
    for here, there in islice(zip(given, batches(SMALL), strict=True), 5):
        assert here.keys() == there.keys()
        assert all(np.array_equal(here[name], there[name]) for name in here)


@pytest.mark.parametrize("slow", ["gelu", "matmul"])
def test_a_workload_runs_the_plan_of_the_rates_of_its_bench(slow):
    rates = Rates(1e12 if slow == "gelu" else 1e3, 1e9, {"gelu": 1e3 if slow == "gelu" else 1e12})
    cell = cell_of(depth=8, width=32, batch=256, activation="gelu", policy="budget:500KiB")
    work = Bench(rates).workload(cell, Mode.TRAIN)
    assert work.schedule.steps == cell.schedule(Mode.TRAIN, rates).steps
    others = Rates(1e3 if slow == "gelu" else 1e12, 1e9, {"gelu": 1e12 if slow == "gelu" else 1e3})
    assert work.schedule.steps != cell.schedule(Mode.TRAIN, others).steps


# -- Python's free pools -------------------------------------------------------------------------------

SMALL_OBJECTS = """
import gc, sys
from contextlib import contextmanager
from memtrain.measure import limits
from memtrain.cells.cell import Mode, cell_of
from memtrain.measure.machine import status_bytes
from memtrain.measure.workload import Bench, give_back

def growth():
    '''By how much the process grows for 3 MB of small objects.'''
    before = status_bytes("VmData")
    objects = [bytes(400) for _ in range(7000)]
    return status_bytes("VmData") - before

bench = Bench()
cell = cell_of(depth=1, width=8, batch=4, memory_limit_bytes=2**20)
work = bench.workload(cell, Mode.TRAIN)
"""
WARMED_UP = "work.warm_up()\ngc.disable()\nprint(growth())"
LIMITED = """
@contextmanager
def limit(extra_bytes):
    gc.disable()
    print(growth())
    yield

limits.data_limit = limit
limits.run_limited(bench, work, cell)
"""
AS_IT_IS = "gc.disable()\nprint(growth())"


def grown_bytes(code):
    ran = subprocess.run([sys.executable, "-c", SMALL_OBJECTS + code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


@pytest.mark.measure
@pytest.mark.skipif(sys.platform != "linux", reason="meters need Linux")
@pytest.mark.parametrize("ready", [WARMED_UP, LIMITED], ids=["warmed up", "limited"])
def test_what_python_makes_during_a_run_maps_no_memory(ready):
    """Python maps pools 1 MiB at a time, which a meter would count as an array. The control shows this."""
    assert grown_bytes(AS_IT_IS) >= 2 * 2**20
    assert grown_bytes(ready) < 2**18


def test_more_pools_are_held_for_more_steps():
    few, many = (Workload(cell_of(depth=depth, width=2, batch=2), Mode.TRAIN) for depth in (1, 100))
    for work in (few, many):
        assert work._reserve == []
        work.reserve()
    assert 16 <= len(few._reserve) < len(many._reserve)
