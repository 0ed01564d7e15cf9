"""The meters. Each is a function that runs in its own process and watches one cell.

The heap and the resident meter warm up with one iteration of the cell's schedule, in which BLAS and numpy
allocate their own buffers. Then they free the arrays and give the memory back to the kernel. The bytes that
the process still holds are the baseline, and peaks are bytes above it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from memtrain.cells.cell import Cell, Mode
from memtrain.errors import MeasureError, MeterUnavailable
from memtrain.files import reason
from memtrain.measure.limits import inexact_limits, run_limited
from memtrain.measure.machine import status_bytes
from memtrain.measure.workload import Bench
from memtrain.run.ledger import Ledger
from memtrain.units import format_bytes

CONTROL_BYTES = 4 * 1024**2
"""Bytes of a known allocation that the heap meter must count. They are subtracted from its figure."""

CLOSING_BYTES = CONTROL_BYTES - 4099
"""Bytes of a known allocation at the end. If the heap meter counted it, it also counted all before it.

It is smaller than the first control, so that it does not raise the peak. Its number of bytes is odd, so that
it cannot be taken for an array of numbers.
"""

LEAST_SPACE_BYTES, RECORD_BYTES = 1024**2, 128
"""The most bytes that memray writes: a fixed part, and a part for each step."""

TIMED_S = 0.05
"""The least seconds that the time meter measures, with more iterations than the cell has if necessary."""

Figures = dict[str, Any]


def ledger_meter(bench: Bench, cell: Cell, mode: Mode) -> Figures:
    """The ledger: bytes of real arrays at the peak, by role; also the losses and the environment.

    If the cell has a memory limit, it runs under this limit. Then a ``MemoryError`` names the step at which
    memory ran out. JAX has no ledger, since only its compiler knows the arrays.
    """
    workload = bench.workload(cell, mode)
    if not workload.is_predicted:
        losses = workload.run_all(workload.new_run())
        return {"loss_first": losses[0], "loss_last": losses[-1], "environment": bench.environment}
    ledger: Ledger
    notes: list[str] = []
    if cell.memory_limit_bytes is not None:
        ledger, losses = run_limited(bench, workload, cell)
        notes += filter(None, [inexact_limits()])
    else:
        ledger = Ledger()
        losses = workload.run_all(workload.new_run(ledger))
    steps = workload.schedule.steps
    return {
        "ledger_peak_bytes": ledger.peak_bytes,
        **{f"peak_{role}_bytes": count for role, count in ledger.peak_role_bytes.items()},
        "peak_phase": steps[ledger.peak_step].phase,
        "peak_step": ledger.peak_step,
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "environment": bench.environment,
        "notes": notes,
    }


def heap_meter(bench: Bench, cell: Cell, mode: Mode) -> Figures:
    """Bytes requested from the allocator at the peak, counted by memray."""
    try:
        import memray
    except ImportError as error:
        raise MeterUnavailable(f"the heap meter needs memray ({error})") from error
    workload = bench.workload(cell, mode)

    def requested(file: str, action: Callable[[], object]) -> tuple[int, int]:
        """The most bytes that ``action`` held at one time, and the bytes that it left, counted by memray."""
        path = Path(folder, file)
        with memray.Tracker(path):
            control = np.empty(CONTROL_BYTES, np.uint8)
            action()
            del control
            closing = np.empty(CLOSING_BYTES, np.uint8)
        with memray.FileReader(path) as reader:
            peak = int(reader.metadata.peak_memory)
            kept = [record.size for record in reader.get_leaked_allocation_records(merge_threads=True)]
        path.unlink(missing_ok=True)
        if peak < CONTROL_BYTES:
            raise MeasureError(
                f"memray counted {peak:,} B, less than its control allocation of {CONTROL_BYTES:,} B"
            )
        if closing.nbytes not in kept:
            raise MeasureError("memray stopped before the end of the run: its closing control is missing")
        return peak - CONTROL_BYTES, sum(kept) - CLOSING_BYTES

    with tempfile.TemporaryDirectory(prefix="memtrain-") as folder:
        check_space(folder, RECORD_BYTES * workload.step_count * cell.steps)
        # A first call under a tracker makes Python keep a table of lines for each function: about 1 KiB.
        with memray.Tracker(Path(folder, "warm-up.bin")):
            workload.warm_up()
        Path(folder, "warm-up.bin").unlink(missing_ok=True)
        run = workload.new_run()
        load_peak, lasting = requested("load.bin", lambda: workload.load(run))
        run.prepare()  # the bound calls of a packed run belong to the baseline
        passing, _ = requested("iterate.bin", lambda: workload.iterate_all(run))
    return {"heap_peak_bytes": max(load_peak, lasting + passing)}


def check_space(folder: str, needed_bytes: int) -> None:
    """Raise ``MeasureError`` if the disk has no room for memray's file. memray would raise no error."""
    free = shutil.disk_usage(folder).free
    if free < LEAST_SPACE_BYTES + needed_bytes:
        raise MeasureError(
            f"memray writes up to {format_bytes(LEAST_SPACE_BYTES + needed_bytes)} into "
            f"{tempfile.gettempdir()}, which has {format_bytes(free)} free; free some space, or set TMPDIR"
        )


def resident_meter(bench: Bench, cell: Cell, mode: Mode) -> Figures:
    """The most physical memory that the process occupied above its baseline, counted by the kernel."""
    workload = bench.workload(cell, mode)
    workload.warm_up()
    run = workload.new_run()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
        baseline = status_bytes("VmRSS")
    except OSError as error:
        raise MeterUnavailable(
            f"the resident meter needs Linux's /proc/self/clear_refs ({reason(error)})"
        ) from error
    workload.run_all(run)
    return {"resident_peak_bytes": status_bytes("VmHWM") - baseline, "baseline_bytes": baseline}


def time_meter(bench: Bench, cell: Cell, mode: Mode) -> Figures:
    """The median seconds of an iteration. One iteration before these is not timed."""
    workload = bench.workload(cell, mode, timing=True)
    run = workload.new_run()
    workload.load(run)
    workload.iterate(run, 0)
    seconds: list[float] = []
    while len(seconds) < workload.steps or sum(seconds) < TIMED_S:
        before = perf_counter()
        workload.iterate(run, len(seconds))
        seconds.append(perf_counter() - before)
    return {"step_s": median(seconds)}


def limit_meter(bench: Bench, cell: Cell, mode: Mode) -> Figures:
    """The ledger peak of an iteration under the cell's memory limit, and the bytes that the process took.

    Raises ``MeterUnavailable`` if the limit is not exact, because it proves nothing then.
    """
    inexact = inexact_limits()
    if inexact is not None:
        raise MeterUnavailable(inexact)
    ledger, _ = run_limited(bench, bench.workload(cell, mode), cell, iterations=1)
    return {"ledger_peak_bytes": ledger.peak_bytes, "data_peak_bytes": ledger.taken_bytes}


METERS: dict[str, Callable[[Bench, Cell, Mode], Figures]] = {
    "ledger": ledger_meter,
    "heap": heap_meter,
    "resident": resident_meter,
    "time": time_meter,
}
