"""How fast this machine computes: what plans weigh steps by. Measured once in about a second and kept.

Run as a program it measures in a process of its own, with one thread, and writes the rates as JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import median
from threading import Lock
from time import perf_counter
from typing import Any

import numpy as np

from memtrain.cells.cell import Cell
from memtrain.errors import MeasureError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Graph, Node, Role
from memtrain.graph.ops import OPS
from memtrain.graph.ops.base import Op, Speed
from memtrain.graph.ops.matmul import MatMul
from memtrain.graph.ops.source import Leaf
from memtrain.measure.environment import environment
from memtrain.measure.launch import command_of
from memtrain.plan.cost import Rates, flops, moved_bytes
from memtrain.run.blas import blas_environment

_ROWS, _COLUMNS = 1024, 512
_EACH_S = 0.03
_FLOAT = np.dtype(np.float32)

_FILE = "rates.json"

_given: list[Rates] = []
_measuring = Lock()


def rates() -> Rates:
    """The rates to plan with: those that were handed in, kept from before, or measured now.

    Several threads, or processes with one cache, measure once and take the same. Raises ``MeasureError``.
    """
    if _given:
        return _given[-1]
    with _measuring:
        return _kept_or_measured()


def rates_for(cell: Cell) -> Rates | None:
    """The rates that a cell is planned with; ``None`` for one that needs none. Raises ``MeasureError``."""
    return rates() if cell.plans_by_time else None


def kept_rates() -> Rates | None:
    """The rates that were handed in or are kept from before; ``None`` where there are none."""
    return _given[-1] if _given else next(filter(None, map(_kept, _folders())), None)


@contextmanager
def known_rates(values: Mapping[str, Any] | None) -> Iterator[None]:
    """Plan with these rates while the context lasts: then plans are those of whoever recorded them.

    ``None`` stands for those of this machine. Raises ``ValueError`` or ``TypeError`` for what are no rates.
    """
    if values is None:
        yield
        return
    _given.append(Rates.of(values))
    try:
        yield
    finally:
        _given.pop()


@cache
def _kept_or_measured() -> Rates:
    measured: Rates | None = None
    for folder in _folders():
        with suppress(OSError), _locked(folder):
            kept = _kept(folder)
            if kept is not None:
                return kept
            measured = measured or _measured_apart()
            new = folder / f"rates.{os.getpid()}"
            new.write_text(json.dumps({_machine(): asdict(measured)}), encoding="utf-8")
            new.replace(folder / _FILE)
            return measured
    return measured or _measured_apart()


def unkept_rates() -> str | None:
    """Why plans that spare time can differ from run to run here; ``None`` where the rates are kept."""
    if any(_kept(folder) is not None for folder in _folders()):
        return None
    return (
        "the rates of this machine cannot be kept and are measured anew each time: plans that spare time can "
        "differ from run to run; set XDG_CACHE_HOME to a folder that can be written, or take --cost flops"
    )


def _kept(folder: Path) -> Rates | None:
    """What a folder has for this machine; ``None`` where it has nothing that can be used."""
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return Rates.of(json.loads((folder / _FILE).read_text(encoding="utf-8"))[_machine()])
    return None


def _machine() -> str:
    """What rates depend on."""
    return "; ".join(str(environment()[name]) for name in ("cpu", "cores", "numpy", "memtrain"))


def _folders() -> Iterator[Path]:
    """Where rates can be kept: the user's cache, else a folder of the user's among the temporary files."""
    with suppress(RuntimeError):  # there may be no home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "memtrain")
    yield Path(tempfile.gettempdir(), f"memtrain.{os.geteuid()}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder of ours alone. Raises ``OSError`` where that cannot be, or it is another user's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder that only this user can write")
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _measured_apart() -> Rates:
    command = command_of("memtrain.measure.rates")
    settings = {**os.environ, **blas_environment(1, os.environ)}
    try:
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
        return Rates.of(json.loads(done.stdout))
    except (OSError, subprocess.CalledProcessError, ValueError, TypeError) as error:
        raise MeasureError(
            f"the rates of this machine cannot be measured: {error}; take --cost flops"
        ) from error


def measured_rates() -> Rates:
    """Measure, with the threads that this process has."""
    product = _rate(MatMul(transpose_b=True), (_ROWS, _COLUMNS), (_COLUMNS, _COLUMNS), of=flops)
    shape = (_ROWS, _COLUMNS)
    by_op = {
        name: _rate(op(), *[shape] * op.input_count, of=moved_bytes)
        for name, op in OPS.items()
        if op.speed is Speed.OWN
    }
    return Rates(product, by_op["relu"], by_op)


def _rate(op: Op, *shapes: tuple[int, int], of: Callable[[Graph, Node], int]) -> float:
    """What a step of the op does in a second, in the middle of many runs."""
    b = Builder()
    leaves = [b.apply(Leaf(Role.INPUT, shape, _FLOAT)) for shape in shapes]
    node = b.apply(op, *leaves)
    work = [np.empty(count, dtype) for count, dtype in op.workspace(*leaves)]
    arrays = [np.random.default_rng(0).standard_normal(leaf.shape, _FLOAT) for leaf in leaves]
    call = op.bind(np.empty(node.shape, _FLOAT), *arrays, work=work)
    call()
    seconds: list[float] = []
    while sum(seconds) < _EACH_S:
        before = perf_counter()
        call()
        seconds.append(perf_counter() - before)
    return of(b.graph(), node) / median(seconds)


if __name__ == "__main__":
    print(json.dumps(asdict(measured_rates())))
