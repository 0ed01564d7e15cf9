"""The host: which measurements may run at the same time, when servers end, and where rates come from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from threading import Barrier, Event, Lock, Thread
from types import SimpleNamespace

import psutil
import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.errors import ChildFailed
from memtrain.measure import host as module
from memtrain.measure.host import Gate, Host
from memtrain.planning.cost import Rates

SMALL = cell_of(depth=1, width=8, batch=4)
BY_TIME, BY_FLOPS = cell_of(policy="budget:1MiB"), cell_of(policy="budget:1MiB", cost="flops")
RATES = Rates(1e9, 1e8, {"relu": 1e8})
WAIT_S = 10
measured = pytest.mark.measure
linux = pytest.mark.skipif(sys.platform != "linux", reason="meters need Linux")


# -- the gate ------------------------------------------------------------------------------------------


class Visitors:
    """Threads that enter a gate, and stay inside until `leave` is called."""

    def __init__(self, gate):
        self.gate, self.inside, self._leave, self._threads = gate, [], {}, []

    def come(self, name, way):
        self._leave[name] = Event()

        def visit():
            with getattr(self.gate, way)():
                self.inside.append(name)
                self._leave[name].wait(WAIT_S)
                self.inside.remove(name)

        thread = Thread(target=visit)
        self._threads.append(thread)
        thread.start()
        thread.join(0.05)  # now it waits at the gate, or is inside

    def leave(self, name):
        self._leave[name].set()
        end = time.monotonic() + WAIT_S
        while name in self.inside and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.05)

    def all_leave(self):
        for event in self._leave.values():
            event.set()
        for thread in self._threads:
            thread.join(WAIT_S)


@pytest.fixture
def visitors():
    found = Visitors(Gate())
    yield found
    found.all_leave()


def test_several_measure_memory_at_the_same_time(visitors):
    visitors.come("a", "shared")
    visitors.come("b", "shared")
    assert visitors.inside == ["a", "b"]


def test_a_timer_waits_until_the_others_have_gone(visitors):
    visitors.come("a", "shared")
    visitors.come("b", "shared")
    visitors.come("timer", "alone")
    visitors.leave("a")
    assert visitors.inside == ["b"]
    visitors.leave("b")
    assert visitors.inside == ["timer"]


def test_a_caller_after_a_waiting_timer_waits_for_the_timer(visitors):
    visitors.come("a", "shared")
    visitors.come("timer", "alone")
    visitors.come("later", "shared")
    assert visitors.inside == ["a"]
    visitors.leave("a")
    assert visitors.inside == ["timer"]
    visitors.leave("timer")
    assert visitors.inside == ["later"]


def test_one_timer_runs_at_a_time(visitors):
    visitors.come("first", "alone")
    visitors.come("second", "alone")
    assert visitors.inside == ["first"]
    visitors.leave("first")
    assert visitors.inside == ["second"]


def test_a_measurement_that_fails_lets_the_next_through(visitors):
    for way in ("shared", "alone"):
        with pytest.raises(ChildFailed), getattr(visitors.gate, way)():
            raise ChildFailed("killed", "by someone")
    visitors.come("timer", "alone")
    assert visitors.inside == ["timer"]


class Counting:
    """Servers without a process. They count the requests at the same time, by meter."""

    def __init__(self):
        self._lock, self._asked = Lock(), Counter()
        self.most = Counter()
        self.beside = set()

    @contextmanager
    def lend(self, timing, threads, engine="numpy"):
        yield self

    def ask(self, request, timeout_s):
        meter = request["meter"]
        with self._lock:
            self._asked[meter] += 1
            running = +self._asked
            self.most[meter] = max(self.most[meter], sum(running.values()))
            if running.total() > 1:
                self.beside |= set(running)
        time.sleep(0.005)
        with self._lock:
            self._asked[meter] -= 1
        return {"status": 0, "output": '{"figures": {"x": 1}}', "messages": ""}


def test_meters_of_time_run_alone_and_meters_of_memory_do_not():
    host = Host()
    host.servers = servers = Counting()
    meters = ["ledger", "heap", "time", "resident", "pace", "likeness", "limit"] * 6
    start = Barrier(8)

    def measure(place):
        if place < 8:
            start.wait(WAIT_S)
        other = SMALL if meters[place] in ("pace", "likeness") else None
        host.measure(meters[place], SMALL, Mode.TRAIN, None, other)

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(measure, range(len(meters))))
    assert servers.most["time"] == servers.most["pace"] == 1
    assert not servers.beside & {"time", "pace"}
    assert max(servers.most.values()) > 1


# -- servers -------------------------------------------------------------------------------------------


def children():
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


def test_outside_of_its_context_a_host_starts_nothing():
    before = children()
    for host in (Host(), left()):
        with pytest.raises(ChildFailed, match="stopped"):
            host.measure("ledger", SMALL, Mode.INFER)
    assert children() == before


def left():
    """A host whose context has ended."""
    with Host() as host:
        pass
    return host


@measured
@linux
def test_servers_stay_warm_within_a_context_and_end_with_the_outermost_one():
    before = children()
    with Host() as host:
        with host:
            host.measure("ledger", SMALL, Mode.INFER)
            (server,) = children() - before
        host.measure("ledger", SMALL, Mode.INFER)
        assert children() - before == {server}
    assert children() == before
    with host:  # it can be used again
        assert host.measure("ledger", SMALL, Mode.INFER)["ledger_peak_bytes"] > 0
    assert children() == before


@measured
@linux
def test_an_exception_ends_the_servers_whatever_context_is_around():
    """After Ctrl-C no thread waits for a running measurement."""
    before = children()

    def interrupted():
        with host:
            host.measure("ledger", SMALL, Mode.INFER)
            raise KeyboardInterrupt

    with Host() as host:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert children() == before
        with pytest.raises(ChildFailed, match="stopped"):
            host.measure("ledger", SMALL, Mode.INFER)
    assert children() == before


@measured
@linux
def test_two_hosts_do_not_share_servers():
    before = children()
    with Host() as one, Host() as other:
        for host in (one, other):
            host.measure("ledger", SMALL, Mode.INFER)
        assert len(children() - before) == 2
        with one:
            pass
    assert children() == before


@measured
@linux
def test_a_context_that_nobody_leaves_ends_with_the_interpreter(tmp_path):
    code = (
        "import psutil\nfrom memtrain.cells.cell import cell_of\nfrom memtrain.measure.host import Host\n"
        "host = Host().__enter__()\nhost.environment(cell_of())\n"
        "print(*(child.pid for child in psutil.Process().children()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    (pid,) = map(int, ran.stdout.split())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert list(tmp_path.iterdir()) == []


# -- rates ---------------------------------------------------------------------------------------------


@pytest.fixture
def measurements(monkeypatch):
    """A list with an entry for each measurement of the machine. No rates are kept."""
    calls = []
    monkeypatch.setattr(module, "measured_apart", lambda: calls.append(1) or RATES)
    monkeypatch.setattr(module, "KEPT_RATES", SimpleNamespace(value_or=lambda measure: measure()))
    return calls


def test_a_host_measures_rates_once_and_only_for_plans_that_spare_time(measurements):
    host = Host()
    assert host.rates_for(cell_of()) is host.rates_for(BY_FLOPS) is None
    assert measurements == []
    assert host.rates_for(BY_TIME) is host.rates_for(BY_TIME) is host.rates is RATES
    assert measurements == [1]


def test_a_host_that_is_given_rates_measures_none(measurements):
    recorded = Rates(1.0, 2.0, {})
    assert Host(recorded).rates is recorded
    host = Host()
    host.plan_with(recorded)
    assert host.rates_for(BY_TIME) is recorded
    assert measurements == []


def test_a_measuring_process_is_told_the_rates_where_either_plan_needs_them():
    asked = []

    class Noting(Counting):
        def ask(self, request, timeout_s):
            asked.append(request.get("rates"))
            return super().ask(request, timeout_s)

    host = Host(RATES)
    host.servers = Noting()
    for cell, other in (
        (SMALL, None),
        (BY_TIME, None),
        (SMALL, BY_TIME),
        (BY_TIME, SMALL),
        (BY_FLOPS, SMALL),
    ):
        host.measure("likeness" if other else "ledger", cell, Mode.TRAIN, None, other)
    told = json.loads(json.dumps(asdict(RATES)))
    assert asked == [None, told, told, told, None]
