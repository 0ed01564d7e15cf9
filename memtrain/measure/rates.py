"""The rates of this machine: its speed, by which plans weigh steps. A measurement takes about a second.

Only `memtrain.measure.host.Host` requests a measurement. The module runs as a program in its own process: it
measures with one thread, and writes the rates as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from statistics import median
from time import perf_counter

import numpy as np

from memtrain.errors import MeasureError
from memtrain.graph.builder import Builder
from memtrain.graph.node import Graph, Node, Role
from memtrain.graph.ops import OPS
from memtrain.graph.ops.base import Op, Speed
from memtrain.graph.ops.matmul import MatMul
from memtrain.graph.ops.source import Leaf
from memtrain.measure.blas_kernel import choose_kernel
from memtrain.measure.launch import command_of
from memtrain.planning.cost import Rates, flops, moved_bytes
from memtrain.run.blas import blas_environment

_ROWS, _COLUMNS = 1024, 512
_EACH_S = 0.03
_FLOAT = np.dtype(np.float32)


def measured_apart() -> Rates:
    """The rates of this machine, measured in a new process. Raises ``MeasureError``."""
    command = command_of("memtrain.measure.rates")
    choose_kernel()
    settings = {**os.environ, **blas_environment(1, os.environ)}
    try:
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
        return Rates.of(json.loads(done.stdout))
    except (OSError, subprocess.CalledProcessError, ValueError, TypeError) as error:
        raise MeasureError(
            f"the speed of this machine cannot be measured: {error}; use --cost flops"
        ) from error


def measured_rates() -> Rates:
    """The rates of this machine with the BLAS threads of this process."""
    product = _rate(MatMul(transpose_b=True), (_ROWS, _COLUMNS), (_COLUMNS, _COLUMNS), of=flops)
    shape = (_ROWS, _COLUMNS)
    by_op = {
        name: _rate(op(), *[shape] * op.input_count, of=moved_bytes)
        for name, op in OPS.items()
        if op.speed is Speed.OWN
    }
    return Rates(product, by_op["relu"], by_op)


def _rate(op: Op, *shapes: tuple[int, int], of: Callable[[Graph, Node], int]) -> float:
    """The FLOPs or bytes (``of``) per second of a step of ``op``: the median of many runs."""
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
