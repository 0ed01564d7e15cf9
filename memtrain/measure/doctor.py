"""A check of this machine before measuring: findings on everything that figures depend on, with remedies."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum

import psutil

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import TOLERANCES, Row
from memtrain.measure.environment import environment
from memtrain.measure.host import Host
from memtrain.measure.machine import free_memory_bytes
from memtrain.measure.measured import measured_row
from memtrain.run.blas import CORETYPE, KEPT_KERNEL, KERNELS
from memtrain.run.cpu import has_avx512, usable_cores
from memtrain.units import format_bytes, format_seconds

TRIAL = cell_of(depth=4, batch=512)
"""The cell with which the meters are tried. Its memory figures are known in advance."""

CHANGING = ("LD_PRELOAD", "GLIBC_TUNABLES", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONDEVMODE")
"""Environment variables that measuring processes inherit, and that change how much an allocator takes."""

LEAST_TEMPORARY_BYTES = 256 * 1024**2
LEAST_FREE_BYTES = 1024**3


class State(StrEnum):
    """The seriousness of a finding."""

    FINE = "fine"
    NOT_IDEAL = "not ideal"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """The result for one thing that was examined, with a remedy unless the thing is fine."""

    subject: str
    found: str
    state: State = State.FINE
    remedy: str = ""


@dataclass(frozen=True)
class Examination:
    """The answer of ``doctor``: all findings."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return all(finding.state is not State.BROKEN for finding in self.findings)


def examine(host: Host) -> list[Finding]:
    """Examine everything that figures depend on, and try each meter with `TRIAL`."""
    row = measured_row(host, TRIAL, Mode.TRAIN)
    return [
        *_software(),
        _cpu(),
        _blas(row),
        _ledger(row),
        *(_meter(row, name) for name in TOLERANCES),
        _time(row),
        *examine_memory(),
        _allocator(),
        _temporary_files(),
    ]


def examine_memory() -> list[Finding]:
    """The findings that need no measurement: settings that distort figures, and too little memory."""
    return [_memory(), _swap(), _huge_pages()]


def _software() -> list[Finding]:
    recorded = environment()
    return [Finding(name, str(recorded[name])) for name in ("memtrain", "python", "numpy", "platform")]


def _cpu() -> Finding:
    instructions = "with AVX-512" if has_avx512() else "without AVX-512"
    cores = usable_cores()
    named = f"{environment()['cpu']}, {instructions}, {cores} core{'s' if cores > 1 else ''} usable"
    return Finding("cpu", named)


def _blas(row: Row) -> Finding:
    """The finding on the BLAS kernel that measuring processes load, which can differ from this process's."""
    if row["blas"] is None:
        return Finding("blas", "unknown: no measurement succeeded", State.BROKEN, row["reason"])
    settings = row.environment.get("settings", {})
    chosen = "by you" if CORETYPE in os.environ else "by memtrain"
    kernel, best = settings.get(CORETYPE), KEPT_KERNEL.value() or KERNELS[0]
    named = f"{row['blas']}, {TRIAL.threads} thread" + (f", {kernel} chosen {chosen}" if kernel else "")
    if has_avx512() and "openblas" in row["blas"] and best not in row["blas"]:
        remedy = f"unset {CORETYPE}: memtrain then uses the kernel that is faster here"
        return Finding("blas", named, State.NOT_IDEAL, remedy)
    return Finding("blas", named)


def _ledger(row: Row) -> Finding:
    figures = row.figures
    if (
        figures["ledger_peak_bytes"] is None
        or figures["ledger_peak_bytes"] != figures["predicted_peak_bytes"]
    ):
        said = (
            figures["reason"]
            or f"counted {figures['ledger_peak_bytes']} B, predicted {figures['predicted_peak_bytes']} B"
        )
        return Finding("ledger", said, State.BROKEN, "report this as a bug, with the blas line")
    return Finding("ledger", f"{figures['ledger_peak_bytes']:,} B as predicted, {_trial()}")


def _meter(row: Row, meter: str) -> Finding:
    """The finding on the heap or resident meter, compared with the ledger."""
    off = row.difference_bytes(meter)
    if off is None:
        notes = [note for note in row.notes if meter in note]
        if notes:  # a platform without the meter is no defect
            return Finding(meter, notes[0], State.NOT_IDEAL, f"the {meter} column stays empty")
        return Finding(
            meter, row["reason"] or "no figure", State.BROKEN, "fix the cause and run doctor again"
        )
    said = f"{off:+,} B from the ledger, allowed {TOLERANCES[meter]}"
    if not row.agrees(meter):
        remedy = f"do not trust {meter} figures; close programs that use much memory, and run doctor again"
        return Finding(meter, said, State.BROKEN, remedy)
    return Finding(meter, said)


def _time(row: Row) -> Finding:
    seconds = row["step_s"]
    if seconds is None:
        return Finding(
            "time", row["reason"] or "no figure", State.BROKEN, "fix the cause and run doctor again"
        )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    said = f"{format_seconds(seconds)} an iteration of the trial, load {load:.1f} on {usable_cores()} cores"
    if load > usable_cores():
        return Finding("time", said, State.NOT_IDEAL, "other programs slow measurements; wait until they end")
    return Finding("time", said)


def _memory() -> Finding:
    free, total = free_memory_bytes(), psutil.virtual_memory().total
    said = f"{format_bytes(free)} free of {format_bytes(total)}"
    if free < LEAST_FREE_BYTES:
        return Finding("memory", said, State.NOT_IDEAL, "close other programs, or measure small cells only")
    return Finding("memory", said)


def _swap() -> Finding:
    swap = psutil.swap_memory()
    if not swap.total:
        return Finding("swap", "none")
    said = f"{format_bytes(swap.used)} used of {format_bytes(swap.total)}"
    if swap.used:
        remedy = "the resident meter misses swapped pages; free memory, then swapoff -a && swapon -a"
        return Finding("swap", said, State.NOT_IDEAL, remedy)
    return Finding("swap", said)


def _huge_pages() -> Finding:
    setting = environment()["huge_pages"]
    if not setting:
        return Finding("huge pages", "not known on this platform")
    if "[always]" in setting:
        remedy = (
            "one written byte makes a whole page of 2 MiB resident; as root: "
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
        )
        return Finding("huge pages", setting, State.NOT_IDEAL, remedy)
    return Finding("huge pages", setting)


def _allocator() -> Finding:
    libc, settings = environment()["libc"], environment()["settings"]
    changing = [name for name in CHANGING if name in settings]
    if changing:
        found = ", ".join(f"{name}={settings[name]}" for name in changing)
        return Finding(
            "allocator", found, State.NOT_IDEAL, f"unset {' '.join(changing)}: it can change peaks"
        )
    if libc.startswith("glibc"):
        return Finding("allocator", f"{libc}; memory meters set MALLOC_MMAP_THRESHOLD_")
    remedy = "memory that this C library keeps after a free may show in resident peaks"
    return Finding("allocator", libc or "unknown C library", State.NOT_IDEAL, remedy)


def _temporary_files() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    said = f"{format_bytes(free)} free in {folder}"
    if free < LEAST_TEMPORARY_BYTES:
        remedy = "the heap meter writes there; free some space, or set TMPDIR"
        return Finding("temporary files", said, State.NOT_IDEAL, remedy)
    return Finding("temporary files", said)


def _trial() -> str:
    return f"depth {TRIAL['depth']}, batch {TRIAL.batch}"
