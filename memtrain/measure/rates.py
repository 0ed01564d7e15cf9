"""How fast this machine computes: what plans weigh steps by. Measured once in half a second and kept.

Run as a program it measures in a process of its own, with one thread, and writes the rates as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from math import isfinite
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from memtrain.errors import MeasureError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Graph, Node, Role
from memtrain.graph.ops.activation import Relu, ReluGrad, Sigmoid, SigmoidGrad, Tanh, TanhGrad
from memtrain.graph.ops.base import Op
from memtrain.graph.ops.gelu import Gelu, GeluGrad, GeluTanh, GeluTanhGrad
from memtrain.graph.ops.loss import LogSoftmax
from memtrain.graph.ops.matmul import MatMul
from memtrain.graph.ops.source import Leaf
from memtrain.measure.environment import environment
from memtrain.measure.launch import command_of
from memtrain.plan.cost import Rates, flops, moved_bytes
from memtrain.run.blas import blas_environment

_OPS = (Relu(), Tanh(), Sigmoid(), Gelu(), GeluTanh(), LogSoftmax())
_GRADIENT_OPS = (ReluGrad(), TanhGrad(), SigmoidGrad(), GeluGrad(), GeluTanhGrad())
"""The elementwise steps of a network that take most of the time beside its products."""

_ROWS, _COLUMNS = 1024, 512
_EACH_S = 0.03
_FLOAT = np.dtype(np.float32)

_given: list[Rates] = []


def rates() -> Rates:
    """The rates of this machine: those it was told, kept from before, or measured now."""
    return _given[-1] if _given else _kept_or_measured()


def use_rates(values: dict[str, Any]) -> None:
    """Take the rates that the asking process plans with, so that both make the same plan."""
    _given.append(Rates(**values))


@cache
def _kept_or_measured() -> Rates:
    path = _path()
    key = "; ".join(str(environment()[name]) for name in ("cpu", "cores", "numpy", "memtrain"))
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return _checked(json.loads(path.read_text(encoding="utf-8"))[key])
    found = _measured_apart()
    with suppress(OSError):  # then it is measured again the next time
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({key: asdict(found)}), encoding="utf-8")
        new.replace(path)
    return found


def _path() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder, "memtrain", "rates.json")


def _measured_apart() -> Rates:
    command = command_of("memtrain.measure.rates")
    settings = {**os.environ, **blas_environment(1, os.environ)}
    try:
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
        return _checked(json.loads(done.stdout))
    except (OSError, subprocess.CalledProcessError, ValueError, TypeError) as error:
        raise MeasureError(
            f"the rates of this machine cannot be measured: {error}; take --cost flops"
        ) from error


def _checked(values: dict[str, Any]) -> Rates:
    """Rates from their JSON. Raises ``ValueError`` or ``TypeError`` for what cannot be one."""
    found = Rates(**values)
    each = [found.flops_per_s, found.bytes_per_s, *found.op_bytes_per_s.values()]
    if not all(isfinite(rate) and rate > 0 for rate in each):
        raise ValueError(f"there are no such rates: {each}")
    return found


def measured_rates() -> Rates:
    """Measure, with the threads that this process has."""
    product = _rate(MatMul(transpose_b=True), (_ROWS, _COLUMNS), (_COLUMNS, _COLUMNS), of=flops)
    shape = (_ROWS, _COLUMNS)
    by_op = {op.name: _rate(op, shape, of=moved_bytes) for op in _OPS}
    by_op |= {op.name: _rate(op, shape, shape, of=moved_bytes) for op in _GRADIENT_OPS}
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
