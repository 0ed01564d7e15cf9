"""Measurements under unusual conditions: another directory, another allocator, many small arrays."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys

import pytest
from command_line import rows_of

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import TOLERANCES, predicted_row
from memtrain.measure.host import Host
from memtrain.measure.launch import command_of
from memtrain.measure.measured import measured_row
from memtrain.measure.workload import Workload
from memtrain.run.ledger import Ledger

SWEEP = ("sweep", "--depth", "2", "--width", "16", "--batch", "32", "--export-csv", "out.csv")

linux = pytest.mark.skipif(sys.platform != "linux", reason="meters and limits need Linux")


def installed(*arguments, cwd, limit_address_space=None, **environment):
    """Run memtrain as the installed command does: the current directory is not searched for modules."""

    def limit():
        if limit_address_space:
            resource.setrlimit(resource.RLIMIT_AS, (limit_address_space, limit_address_space))

    return subprocess.run(
        [*command_of("memtrain"), *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limit,
    )


# -- the current directory -----------------------------------------------------------------------------


@pytest.mark.measure
@linux
def test_a_module_in_the_current_directory_is_not_run_by_the_measuring_processes(tmp_path):
    for name in ("json", "selectors", "numpy"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'w').close()\nraise SystemExit(9)\n")
    done = installed(*SWEEP, "--meters", "ledger,heap", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.measure
@linux
@pytest.mark.parametrize("by_path", [False, True])
def test_measuring_processes_run_this_package_and_not_another_checkout(by_path, tmp_path):
    """Another checkout is in the current directory, or before the package on PYTHONPATH."""
    other = tmp_path / "memtrain"
    (other / "measure").mkdir(parents=True)
    for folder in (other, other / "measure"):
        (folder / "__init__.py").write_text("__version__ = 'other'\n")
    (other / "measure" / "server.py").write_text(
        "print('{\"ready\": true}', flush=True)\nraise SystemExit(7)\n"
    )
    extra = {"PYTHONPATH": str(tmp_path)} if by_path else {}
    done = installed(*SWEEP, "--meters", "ledger,heap", cwd=tmp_path, **extra)
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in rows_of((tmp_path / "out.csv").read_text())} == {"ok"}


# -- the allocator -------------------------------------------------------------------------------------


@pytest.mark.measure
@linux
@pytest.mark.skipif(
    tuple(map(int, (platform.libc_ver()[1] or "0").split(".")[:2])) < (2, 35),
    reason="needs this tunable of glibc",
)
def test_a_memory_limit_with_another_allocator_ends_and_says_that_it_is_not_exact(tmp_path):
    """With huge pages glibc does not use sbrk, so that filling its heap never ended."""
    sweep = (*SWEEP, "--meters", "ledger", "--memory-limit", "1MiB")
    done = installed(
        *sweep, cwd=tmp_path, limit_address_space=6 * 2**30, GLIBC_TUNABLES="glibc.malloc.hugetlb=2"
    )
    assert done.returncode == 0, done.stderr
    assert "memory limits are not exact here" in done.stderr
    usual = installed(*sweep, "--force", cwd=tmp_path)
    assert usual.returncode == 0
    assert "not exact" not in usual.stderr


@pytest.mark.measure
@linux
def test_a_packed_network_runs_within_a_limit_that_its_prediction_fits():
    """Packing needs memory for a moment, and this memory must not count for the network."""
    cell = cell_of(depth=40, width=64, batch=200, optimizer="adam", allocation="packed")
    peak = predicted_row(cell, Mode.TRAIN)["predicted_peak_bytes"]
    for limit, status in ((peak, "ok"), (peak - 1, "memory_limit")):
        limited = cell.changed(memory_limit_bytes=limit)
        with Host() as host:
            row = measured_row(host, limited, Mode.TRAIN, meters=["ledger"])
        assert (row["status"], row["ledger_peak_bytes"]) == (status, peak if status == "ok" else None), row[
            "reason"
        ]


# -- many small arrays ---------------------------------------------------------------------------------


class Counting(Ledger):
    """A ledger that also counts the arrays that are alive at the peak."""

    peak_count = 0

    def born_shared(self, array, role_bytes):
        before = self.peak_bytes
        super().born_shared(array, role_bytes)
        if self.peak_bytes > before:
            self.peak_count = len(self._alive)


@pytest.mark.parametrize("allocation", ["fresh", "packed"])
@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 1},
        {"depth": 6, "activation": "gelu", "bias": True, "optimizer": "adam"},
        {"depth": 9, "policy": "sqrt", "accumulate": 4, "update": "eager"},
    ],
)
def test_the_arrays_at_the_peak_are_those_that_a_run_holds(fields, allocation):
    cell = cell_of(width=32, batch=64, allocation=allocation, **fields)
    work, ledger = Workload(cell, Mode.TRAIN), Counting()
    work.run_all(work.new_run(ledger), iterations=1)
    assert predicted_row(cell, Mode.TRAIN)["peak_array_count"] == ledger.peak_count


def test_a_tolerance_grows_with_the_share_or_with_the_number_of_arrays():
    heap, resident = TOLERANCES["heap"], TOLERANCES["resident"]
    assert heap.bytes(1000, 0) == 16384
    assert heap.bytes(1000, 100) == 16384 + 3200
    assert heap.bytes(10**9, 100) == 10**6
    assert resident.bytes(10**6, 10) == 2**20 + 10 * 4096
    assert str(heap) == "max(0.1 %, 16 KiB + 32 B per array)"


@pytest.mark.measure
@linux
@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 33, "width": 64, "optimizer": "adam", "allocation": "packed"},
        {"depth": 150, "width": 64, "batch": 256, "bias": True, "optimizer": "adam", "allocation": "packed"},
        {"depth": 33, "width": 64, "batch": 800, "accumulate": 2, "activation": "gelu"},
        {
            "depth": 33,
            "width": 32,
            "batch": 1600,
            "accumulate": 4,
            "activation": "gelu",
            "optimizer": "momentum",
        },
    ],
)
def test_heap_and_resident_keep_their_promise_with_many_small_arrays(fields):
    """Bound calls once counted in the heap of a packed run, and freed blocks stayed resident."""
    with Host() as host:
        row = measured_row(host, cell_of(**fields), Mode.TRAIN, meters=["ledger", "heap", "resident"])
    assert row.ok, row["reason"]
    assert (row.agrees("heap"), row.agrees("resident")) == (True, True), (
        row.difference_bytes("heap"),
        row.difference_bytes("resident"),
    )


# -- micro-batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 8])
def test_what_is_retained_at_one_time_is_that_of_one_micro_batch(count):
    """By hand: for each row of a micro-batch, h1…h8 of 256 and 10 log-probabilities, in float32."""
    row = predicted_row(cell_of(depth=8, batch=512, accumulate=count), Mode.TRAIN)
    rows = 512 // count
    assert row["retained_bytes"] == 4 * rows * (8 * 256 + 10)
    assert sum(entry["bytes"] for entry in row.retained) == row["retained_bytes"]
    assert row["retained_bytes"] <= row["predicted_peak_bytes"]
