"""The rates of this machine: measured once, kept, and given to the processes that measure."""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command_line import GIVEN_KERNEL, called

from memtrain.cells.cell import Mode, cell_of
from memtrain.errors import MeasureError
from memtrain.measure import host as host_module
from memtrain.measure import rates as module
from memtrain.measure.environment import environment
from memtrain.measure.host import Host
from memtrain.measure.measured import measured_row
from memtrain.planning.cost import Rates, flops, moved_bytes
from memtrain.run.kept_rates import kept_rates, unkept_rates

RATES = Rates(1e9, 1e8, {"relu": 1e8, "gelu": 1e6})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache for one test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "memtrain" / "rates.json"


@pytest.fixture
def measurements(monkeypatch):
    """A list with an entry for each measurement of the machine."""
    calls = []
    monkeypatch.setattr(host_module, "measured_apart", lambda: calls.append(1) or RATES)
    return calls


def test_rates_are_measured_once_and_then_kept(cache, measurements):
    assert kept_rates() is None
    host = Host()
    assert host.rates == host.rates == RATES
    assert Host().rates == kept_rates() == RATES
    assert len(measurements) == 1
    assert stat.S_ISREG(cache.stat().st_mode)
    assert sorted(os.listdir(cache.parent)) == ["rates.json", "rates.json.lock"]
    assert unkept_rates() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"x": 1}', "null", "\0"])
def test_what_is_no_cache_is_measured_again(cache, measurements, text):
    cache.parent.mkdir(mode=0o700)
    cache.write_text(text)
    assert kept_rates() is None
    assert Host().rates == RATES
    assert len(measurements) == 1
    assert json.loads(cache.read_text())


@pytest.mark.parametrize("value", [0, -1, "fast", None, float("nan"), float("inf")])
def test_rates_that_cannot_be_are_measured_again(cache, measurements, value):
    assert Host().rates == RATES
    kept = json.loads(cache.read_text())
    (key,) = kept
    kept[key]["flops_per_s"] = value
    cache.write_text(json.dumps(kept))
    assert kept_rates() is None
    assert Host().rates == RATES
    assert len(measurements) == 2


def test_threads_that_need_the_rates_at_once_measure_once(cache, monkeypatch):
    """If each thread measured, a sweep would have plans with several rates."""
    calls = []

    def measure():
        calls.append(1)
        time.sleep(0.05)
        return Rates(1e9 + len(calls), 1e8, {})

    monkeypatch.setattr(host_module, "measured_apart", measure)
    host = Host()
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda _: host.rates, range(8)))
    assert len(calls) == 1
    assert set(map(id, found)) == {id(found[0])}


@pytest.mark.measure
def test_processes_that_share_a_cache_take_the_same_rates(tmp_path):
    code = "from memtrain.measure.host import Host; print(Host().rates)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    said = {process.communicate(timeout=60)[0] for process in started}
    assert len(said) == 1
    assert said.pop().startswith(b"Rates(")


@pytest.mark.parametrize("why", ["no home", "no folder", "not ours"])
def test_without_a_cache_rates_are_kept_among_the_temporary_files(cache, measurements, monkeypatch, why):
    if why == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")

        def home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", home)
    elif why == "no folder":
        cache.parent.write_text("a file where the folder should be")
    else:
        cache.parent.mkdir()
        cache.parent.chmod(0o777)
    for _ in range(2):
        assert Host().rates == RATES
    assert len(measurements) == 1
    (folder,) = (cache.parents[1] / "temporary").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert unkept_rates() is None


def test_rates_that_cannot_be_kept_are_told_and_no_link_of_another_user_is_followed(cache, measurements):
    cache.parent.write_text("a file where the folder should be")
    elsewhere = cache.parents[1] / "elsewhere"
    elsewhere.mkdir()
    (cache.parents[1] / "temporary" / f"memtrain.{os.geteuid()}").symlink_to(elsewhere)
    assert Host().rates == RATES
    assert "--cost flops" in unkept_rates()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.measure
def test_a_sweep_records_its_rates_and_goes_on_with_them_on_resume(tmp_path):
    """With rates of another day, the missing row would have another plan than the stored rows."""
    sweep = ("sweep", "--depth", "8", "--width", "32", "--batch", "256", "--activation", "gelu")
    options = ("--policy", "budget:500KiB,budget:520KiB", "--mode", "train", "--meters", "ledger,heap")
    caches = [tmp_path / name for name in ("before", "after")]
    called(*sweep, *options, "--export-csv", "out.csv", cwd=tmp_path, XDG_CACHE_HOME=caches[0])
    first = (tmp_path / "out.csv").read_text()
    journal = tmp_path / "out.csv.journal"
    header, *rows = journal.read_text().splitlines()
    recorded = json.loads(header)["rates"]
    assert all(json.loads(row)["environment"]["rates"] == recorded for row in rows)
    journal.write_text(header + "\n" + rows[0] + "\n")

    kept = caches[0] / "memtrain" / "rates.json"
    values = json.loads(kept.read_text())
    for machine in values.values():
        dear = machine["op_bytes_per_s"]["gelu"] > 1e10
        machine["op_bytes_per_s"]["gelu"] = 1e3 if dear else 1e15
        machine["flops_per_s"] = 1e15 if dear else 1e3
    (caches[1] / "memtrain").mkdir(parents=True, mode=0o700)
    (caches[1] / "memtrain" / "rates.json").write_text(json.dumps(values))
    again = called("sweep", "--resume", "out.csv", cwd=tmp_path, XDG_CACHE_HOME=caches[1])
    assert again.code == 0, again.err
    assert (tmp_path / "out.csv").read_text() == first


def test_rates_that_cannot_be_measured_are_an_error_with_the_way_out(cache, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nothing/python")
    with pytest.raises(MeasureError, match="--cost flops"):
        _ = Host().rates


def test_a_machine_has_rates_above_0():
    found = module.measured_rates()
    assert min(found.flops_per_s, found.bytes_per_s, *found.op_bytes_per_s.values()) > 1e6


def test_a_step_takes_its_flops_or_its_bytes_at_the_rate_of_its_op():
    graph = cell_of(depth=1, width=4, batch=8, activation="gelu").schedule(Mode.TRAIN).graph
    product, gelu, other = (graph.named(name) for name in ("z", "h", "L"))
    assert RATES.seconds(graph, product) == 2 * 8 * 4 * 64 / 1e9
    assert RATES.seconds(graph, gelu) == 2 * 8 * 4 * 4 / 1e6
    assert RATES.seconds(graph, other) == moved_bytes(graph, other) / 1e8
    assert flops(graph, product) == 2 * 8 * 4 * 64


@pytest.mark.measure
@pytest.mark.parametrize("slow", ["gelu", "matmul"])
def test_measuring_processes_plan_with_the_rates_of_their_host(slow):
    rates = Rates(1e12 if slow == "gelu" else 1e3, 1e9, {"gelu": 1e3 if slow == "gelu" else 1e12})
    cell = cell_of(depth=8, width=32, batch=256, activation="gelu", policy="budget:500KiB")
    with Host(rates) as host:
        row = measured_row(host, cell, Mode.TRAIN, ("ledger", "heap"))
    assert row.ok, row["reason"]
    again = [node.name for node, times in cell.plan(Mode.TRAIN, rates).values() if times]
    kept = [node.name for node, times in cell.plan(Mode.TRAIN, rates).values() if not times]
    dear = "h" if slow == "gelu" else "z"
    assert sum(name.startswith(dear) for name in kept) > sum(name.startswith(dear) for name in again)


@pytest.mark.measure
@pytest.mark.parametrize(
    "command",
    [
        (
            "sweep",
            "--policy",
            "budget:1MiB",
            "--meters",
            "ledger",
            "--mode",
            "train",
            "--export-csv",
            "a.csv",
        ),
        ("plan", "--depth", 0, "--memory", "1MiB"),
        ("train", "--depth", 2, "--policy", "budget:1MiB", "--epochs", 1),
    ],
    ids=lambda words: words[0],
)
def test_a_command_says_when_its_plans_can_differ_from_run_to_run(command, tmp_path, measurements):
    blocked = tmp_path / "file"
    blocked.touch()
    (tmp_path / f"memtrain.{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    options = {"XDG_CACHE_HOME": blocked, "TMPDIR": tmp_path, **GIVEN_KERNEL}
    command = (*command, "--width", 32, "--batch", 256)
    said = called(*command, cwd=tmp_path, **options)
    assert said.err.count("can differ from run to run") == 1, said.err
    assert len(measurements) == 1
    quiet = called(*command, "--cost", "flops", "--force", cwd=tmp_path, **options)
    assert "can differ" not in quiet.err


def test_the_platform_is_named_as_python_names_it():
    assert environment()["platform"] == platform.platform()
