"""The meters, each a function that runs in a process of its own and watches one cell.

All of them warm up with one iteration of the cell's own schedule first (BLAS maps its buffers, numpy
its caches), free it, and give the freed memory back to the kernel; what the process holds then is the
baseline, and peaks are above it.
"""

from __future__ import annotations

import ctypes
import gc
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from memtrain.errors import MeasureError, MeterUnavailable
from memtrain.graph.ops.base import Array
from memtrain.measure.cell import Cell, Mode
from memtrain.measure.environment import environment
from memtrain.models.mlp import initial_values
from memtrain.run.allocation import AnyRun, make_run
from memtrain.run.ledger import Ledger
from memtrain.train.data import SYNTHETIC, Dataset, draw_rows, load, split, synthetic
from memtrain.train.optimizers import ITERATION

CONTROL_BYTES = 4 * 1024**2
"""A known allocation that the heap meter must see; it is subtracted from its figure."""

TIMED_S = 0.05
"""The time meter goes on until it has measured this long, if the cell's steps are done sooner."""

Figures = dict[str, Any]


class Workload:
    """All that a run of the cell needs, made before any meter starts: it belongs to the baseline."""

    def __init__(self, cell: Cell, mode: Mode, *, timing: bool = False) -> None:
        self.schedule = cell.schedule(mode)
        self._allocation = cell.allocation_for(timing=timing)
        self.mode = mode
        self.steps = cell.steps
        self._reserve: list[bytes] = []
        self._start = initial_values(cell.spec(), cell.seed)
        self._batches = list(islice(batches(cell), cell.steps))

    def new_run(self, ledger: Ledger | None = None) -> AnyRun:
        """A run of the cell, nothing loaded yet."""
        return make_run(self.schedule, self._allocation, ledger)

    def load(self, run: AnyRun) -> None:
        """Make the run's parameters, state and input buffers."""
        run.load(self._start)

    def iterate(self, run: AnyRun, number: int) -> float | None:
        """One iteration on batch ``number``; the objective when training."""
        run.feed(self._batches[number % len(self._batches)])
        asked = run.iterate()
        return float(asked[0]) if self.mode is Mode.TRAIN else None

    def run_all(self, run: AnyRun) -> list[float | None]:
        """Load, then every step of the cell: what a memory meter watches."""
        self.load(run)
        return [self.iterate(run, number) for number in range(self.steps)]

    def warm_up(self) -> None:
        """One iteration, freed, and the memory given back to the kernel."""
        run = self.new_run()
        self.load(run)
        self.iterate(run, 0)
        del run
        gc.collect()
        self._reserve = _reserve_pools()
        _trim()


def batches(cell: Cell) -> Iterator[dict[str, Array]]:
    """The batches of a cell by leaf name, for ever: examples, labels and the count of iterations."""
    if cell.data == SYNTHETIC:
        data = synthetic(cell.input_size, cell.output_size, cell.batch, cell.seed)
    else:
        data = training_data(cell.data)
    for number, rows in enumerate(draw_rows(len(data), cell.batch, cell.seed), start=1):
        yield {"x": data.x[rows], "y": data.y[rows], ITERATION: np.asarray(number)}


@cache
def training_data(name: str) -> Dataset:
    """The training examples of a data set, loaded once in a process."""
    return split(load(name))[0]


def ledger_meter(cell: Cell, mode: Mode) -> Figures:
    """Our own count of real arrays, with what stood at the peak; also the losses and the environment."""
    work = Workload(cell, mode)
    ledger = Ledger()
    losses = work.run_all(work.new_run(ledger))
    steps = work.schedule.steps
    return {
        "ledger_peak_bytes": ledger.peak_bytes,
        **{f"peak_{role}_bytes": count for role, count in ledger.peak_role_bytes.items()},
        "peak_phase": steps[ledger.peak_step].phase,
        "peak_step": ledger.peak_step,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "environment": environment(),
    }


def heap_meter(cell: Cell, mode: Mode) -> Figures:
    """Bytes requested from the allocator at the peak, counted by memray."""
    try:
        import memray
    except ImportError as error:
        raise MeterUnavailable(f"the heap meter needs memray ({error})") from error
    work = Workload(cell, mode)
    work.warm_up()
    run = work.new_run()
    with tempfile.TemporaryDirectory(prefix="memtrain-") as folder:
        file = Path(folder, "heap.bin")
        with memray.Tracker(file):
            control = np.empty(CONTROL_BYTES, np.uint8)
            work.run_all(run)
            del control
        with memray.FileReader(file) as reader:
            peak = int(reader.metadata.peak_memory)
    if peak < CONTROL_BYTES:
        raise MeasureError(f"memray read {peak} B, less than the control allocation of {CONTROL_BYTES} B")
    return {"heap_peak_bytes": peak - CONTROL_BYTES}


def resident_meter(cell: Cell, mode: Mode) -> Figures:
    """The kernel's high-water mark of the memory that the process really occupied."""
    work = Workload(cell, mode)
    work.warm_up()
    run = work.new_run()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # VmHWM starts anew
        baseline = _status_bytes("VmRSS")
    except OSError as error:
        raise MeterUnavailable(f"the resident meter needs Linux's /proc/self/clear_refs ({error})") from error
    work.run_all(run)
    return {"resident_peak_bytes": _status_bytes("VmHWM") - baseline, "baseline_bytes": baseline}


def time_meter(cell: Cell, mode: Mode) -> Figures:
    """Median seconds of an iteration."""
    work = Workload(cell, mode, timing=True)
    run = work.new_run()
    work.load(run)
    work.iterate(run, 0)
    seconds: list[float] = []
    while len(seconds) < work.steps or sum(seconds) < TIMED_S:
        before = perf_counter()
        work.iterate(run, len(seconds))
        seconds.append(perf_counter() - before)
    return {"step_s": median(seconds)}


METERS: dict[str, Callable[[Cell, Mode], Figures]] = {
    "ledger": ledger_meter,
    "heap": heap_meter,
    "resident": resident_meter,
    "time": time_meter,
}


def _reserve_pools() -> list[bytes]:
    """Make Python hold a few MiB of free pools for its small objects, as long as the result lives.

    It maps them from the system 1 MiB at a time, whenever the address layout of the process happens to
    leave none: that would show in a heap peak as one array of 1 MiB more.
    """
    small = [bytes(400) for _ in range(8000)]
    return small[::500]  # a few stay in every MiB, so that none is given back


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise MeasureError(f"/proc/self/status has no {name}")


def _trim() -> None:
    """Give freed memory back to the kernel, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
