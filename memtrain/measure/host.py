"""The host: everything that the measurements on this machine share. It is created when measuring starts."""

from __future__ import annotations

import atexit
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from threading import Condition, Lock
from typing import Any

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.engine import NUMPY
from memtrain.errors import ChildFailed
from memtrain.measure.client import Server, figures_of
from memtrain.measure.machine import Room
from memtrain.measure.rates import measured_apart
from memtrain.planning.cost import Rates
from memtrain.run.blas import KERNELS
from memtrain.run.kept_rates import KEPT_RATES


class Host:
    """One machine that measures: its servers, its gate, its room and its rates.

    Servers run only inside its context, which may be nested. All servers end when the outermost context ends,
    and at once when any context ends with an exception.
    """

    def __init__(self, rates: Rates | None = None) -> None:
        """Start no server. ``rates`` are for plans that minimise time; by default they are this machine's."""
        self.servers = Servers()
        self.gate = Gate()
        self.room = Room()
        self._rates = rates
        self._finding = Lock()
        self._entered = 0

    def __enter__(self) -> Host:
        self._entered += 1
        self.servers.open()
        return self

    def __exit__(self, failure: object, *rest: object) -> None:
        self._entered -= 1
        if failure is not None or not self._entered:
            self.servers.close()

    @property
    def rates(self) -> Rates:
        """The rates for plans that minimise time. They are measured at most once. Raises ``MeasureError``."""
        with self._finding:
            if self._rates is None:
                self._rates = KEPT_RATES.value_or(measured_apart)
            return self._rates

    def plan_with(self, rates: Rates) -> None:
        """Use rates that were recorded earlier, so that plans are the same as then."""
        self._rates = rates

    def compute_with(self, kernel: object) -> None:
        """Use the BLAS kernel that was recorded earlier, if memtrain has chosen it."""
        if kernel in KERNELS:
            self.servers.kernel = str(kernel)

    def rates_for(self, cell: Cell) -> Rates | None:
        """The rates for the plan of ``cell``; ``None``, without measuring, if it does not minimise time."""
        return self.rates if cell.plans_by_time else None

    def measure(
        self, meter: str, cell: Cell, mode: Mode, timeout_s: float | None = None, other: Cell | None = None
    ) -> dict[str, Any]:
        """The figures of one meter for one cell, or for a pair of cells, from a fresh process.

        Raises ``ChildFailed`` if the process gives no figures, and ``MeterUnavailable`` if this platform does
        not have the meter.
        """
        request: dict[str, Any] = {"meter": meter, "cell": cell.values(), "mode": mode}
        if other is not None:
            request["other"] = other.values()
        rates = self.rates_for(cell) or (None if other is None else self.rates_for(other))
        if rates is not None:
            request["rates"] = asdict(rates)  # so that the child makes the same plan
        timing = meter in ("time", "pace")
        turn = self.gate.alone() if timing else self.gate.shared()
        with turn, self.servers.lend(timing, cell.threads, cell.engine) as server:
            reply = server.ask(request, timeout_s)
        figures = figures_of(meter, reply)
        if "environment" in figures and rates is not None:
            figures["environment"]["rates"] = request["rates"]
        return figures

    def environment(self, cell: Cell) -> dict[str, Any]:
        """The environment of the processes that measure this cell."""
        return self.measure("environment", cell, Mode.INFER)


class Servers:
    """Warm servers. Each is lent to one caller at a time; a new one is started when none is idle."""

    def __init__(self) -> None:
        self._idle: dict[tuple[bool, int, str], list[Server]] = defaultdict(list)
        self._busy: set[Server] = set()
        self._closed = True
        self._lock = Lock()
        self.kernel: str | None = None
        """The BLAS kernel of the servers; ``None`` for the faster one of this machine."""

    @contextmanager
    def lend(self, timing: bool, threads: int, engine: str = NUMPY) -> Iterator[Server]:
        """A context with a server of these settings, for one measurement. A failed server is closed."""
        key = (timing, threads, engine)
        with self._lock:
            if self._closed:
                raise ChildFailed("error", "measuring was stopped")
            server = (
                self._idle[key].pop() if self._idle[key] else Server(timing, threads, self.kernel, engine)
            )
            self._busy.add(server)
        usable = False
        try:
            yield server
            usable = True
        finally:
            with self._lock:
                self._busy.discard(server)
                usable = usable and not self._closed
                if usable:
                    self._idle[key].append(server)
            if not usable:
                server.close()

    def open(self) -> None:
        """Allow that servers are started."""
        with self._lock:
            if self._closed:
                self._closed = False
                atexit.register(self.close)

    def close(self) -> None:
        """End all servers and their children. No server is started until `open` is called again."""
        with self._lock:
            atexit.unregister(self.close)
            self._closed = True
            idle = [server for servers in self._idle.values() for server in servers]
            self._idle.clear()
            for server in self._busy:
                server.kill()  # the caller that borrowed it closes it
        for server in idle:
            server.close()


class Gate:
    """A gate: several callers may measure memory at one time, but a caller that measures time runs alone."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._running = 0
        self._timers = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """A context that others may share. It waits while a caller runs, or waits to run, alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._timers)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which no other caller runs."""
        with self._changed:
            self._timers += 1
            self._changed.wait_for(lambda: not self._running)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._timers -= 1
                self._changed.notify_all()
