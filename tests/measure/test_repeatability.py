"""Repeatability: a cell gives the same bytes in any process, under any parent; spreads are reported."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from threading import Event, Thread

import pytest
from command_line import LEDGER, called, strict_json
from fake_host import FakeHost, in_turn

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.cli.app import app
from memtrain.measure import doctor, machine
from memtrain.measure.host import Host
from memtrain.measure.machine import Room
from memtrain.measure.measured import measured_row
from memtrain.report.findings import findings
from memtrain.units import format_bytes

MIB = 1024**2
measured = pytest.mark.measure
linux = pytest.mark.skipif(sys.platform != "linux", reason="meters need Linux")


@measured
@linux
def test_twenty_processes_give_the_same_heap_and_ledger_and_nearly_the_same_resident_peak():
    cell = cell_of(depth=4, batch=512)
    with Host() as host:
        found = measured_row(host, cell, Mode.TRAIN, meters=["heap", "resident"], repeat=20)
    assert found["repeat_count"] == 20
    assert (found["ledger_spread_bytes"], found["heap_spread_bytes"]) == (0, 0)
    assert found["resident_spread_bytes"] <= max(0.01 * found["resident_peak_bytes"], MIB)
    assert "ledger not at all, heap not at all, resident" in " ".join(findings([found], []))


@measured
@linux
def test_the_size_of_the_parent_does_not_show():
    code = (
        "import json, sys, numpy, memtrain\n"
        "ballast = numpy.ones(int(sys.argv[1]), numpy.uint8)\n"
        "rows = memtrain.sweep(depth=8, batch=256, meters=['heap', 'resident'])\n"
        "names = [f'{meter}_peak_bytes' for meter in ('ledger', 'heap', 'resident')]\n"
        "print(json.dumps([[row[name] for name in names] for row in rows]))"
    )
    found = []
    for ballast in (0, 1024**3):
        command = [sys.executable, "-c", code, str(ballast)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(out.stdout))
    for small, large in zip(*found, strict=True):
        assert small[:2] == large[:2]
        assert abs(small[2] - large[2]) <= max(0.01 * small[2], MIB)


def test_a_row_of_repetitions_has_medians_and_spreads():
    cell = cell_of()
    peak = predicted_row(cell, Mode.TRAIN)["predicted_peak_bytes"]
    measure = in_turn(heap=[30, 10, 20], resident=[0, 3 * MIB, MIB], time=[0.5, 0.1, 0.2])
    found = measured_row(FakeHost(measure), cell, Mode.TRAIN, repeat=3)
    assert (found["heap_peak_bytes"], found["heap_spread_bytes"]) == (peak + 20, 20)
    assert (found["resident_peak_bytes"], found["resident_spread_bytes"]) == (peak + MIB, 3 * MIB)
    assert (found["step_s"], found["step_spread_s"]) == (0.2, 0.4)
    assert found["ledger_spread_bytes"] == 0
    said = " ".join(findings([found], []))
    assert (
        "Over 3 repetitions, the figures of a row vary: ledger not at all, heap by up to 20 B, "
        "resident by up to 3 MiB, time by up to 200 % of its median."
    ) in said
    assert "Some figures vary MORE than promised" in said
    assert "heap of depth 1, batch 64, train: 20 B" in said


def test_a_single_measurement_has_no_spread():
    found = measured_row(FakeHost(in_turn(time=[0.1])), cell_of(), Mode.TRAIN)
    assert all(found[name] is None for name in ("repeat_count", "heap_spread_bytes", "step_spread_s"))


@measured
@linux
def test_repeat_is_an_option_of_sweep(tmp_path):
    sweep = ("sweep", "--depth", "1", "--batch", "8", "--width", "8", "--meters", "heap", "--repeat", "2")
    rows = strict_json(called(*sweep, "--json", cwd=tmp_path).out)["rows"]
    assert {(row["repeat_count"], row["heap_spread_bytes"]) for row in rows} == {(2, 0)}


def test_a_cell_beyond_the_free_memory_is_not_tried_unless_forced(monkeypatch):
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: MIB)
    large, asked = cell_of(batch=4096), []

    def measure(meter, cell, mode, timeout_s):
        asked.append(meter)
        return in_turn()(meter, cell, mode, timeout_s)

    found = measured_row(FakeHost(measure), large, Mode.TRAIN, meters=["ledger"], force=False)
    assert (found["status"], asked) == ("memory_limit", [])
    peak = found["predicted_peak_bytes"]
    before = found["parameter_bytes"] + 4 * found["input_bytes"]  # of 3 steps
    assert found["reason"] == (
        f"not tried: needs {format_bytes(peak + before)} of memory (peak {format_bytes(peak)}, "
        f"initial values and batches {format_bytes(before)}), 1 MiB free (`--ignore-free-memory` tries it)"
    )
    assert found["ledger_peak_bytes"] is None
    assert measured_row(FakeHost(measure), large, Mode.TRAIN, meters=[], force=True).ok
    assert asked == ["ledger"]


@measured
@linux
def test_what_distorts_a_measurement_is_said_before(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "free_memory_bytes", lambda: 100 * MIB)
    monkeypatch.setattr(doctor, "environment", lambda: {"huge_pages": "[always] madvise never"})
    swap = type("Swap", (), {"total": 10 * MIB, "used": MIB})
    monkeypatch.setattr(doctor.psutil, "swap_memory", lambda: swap)
    app(args=list(LEDGER), standalone_mode=False)
    said = capsys.readouterr().err
    for words in ("memory: 100 MiB free", "close other", "swap: 1 MiB used", "swapoff", "madvise >"):
        assert words in said


def test_large_cells_wait_for_each_other_and_small_ones_do_not(monkeypatch):
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 100)
    room, inside, leave = Room(), [], Event()

    def take(count):
        with room.take(count):
            inside.append(count)
            leave.wait(10)

    threads = [Thread(target=take, args=(count,)) for count in (60, 30, 70)]
    for thread in threads:
        thread.start()
        thread.join(0.1)
    assert inside == [60, 30]
    leave.set()
    for thread in threads:
        thread.join(10)
    assert inside == [60, 30, 70]


def test_whether_there_is_memory_is_judged_when_the_neighbours_have_gone(monkeypatch):
    free = [1000]
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: free[0])
    room, seen = Room(), []

    def run(count):
        with room.take(count) as free_bytes:
            free[0] -= count
            seen.append(free_bytes >= count)
            time.sleep(0.02)
            free[0] += count

    threads = [Thread(target=run, args=(900,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [True] * 4


def test_the_memory_of_our_own_control_group_counts(tmp_path):
    own, groups = tmp_path / "own", tmp_path / "groups"
    inner = groups / "a" / "b"
    inner.mkdir(parents=True)
    own.write_text("0::/a/b\n")
    (inner / "memory.max").write_text("max\n")
    (groups / "a" / "memory.max").write_text("1000000\n")
    (groups / "a" / "memory.current").write_text("700000\n")
    (groups / "a" / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
    assert machine.free_memory_bytes(groups, own) == 350_000
    first = tmp_path / "first" / "memory" / "x"
    first.mkdir(parents=True)
    own.write_text("5:memory:/x\n1:cpu:/y\n")
    (first / "memory.limit_in_bytes").write_text("500\n")
    (first / "memory.usage_in_bytes").write_text("100\n")
    assert machine.free_memory_bytes(tmp_path / "first", own) == 400
