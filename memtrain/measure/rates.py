"""How fast this machine computes: what plans weigh steps by. To measure it takes half a second.

Only a `memtrain.measure.host.Host` asks for a measurement. Run as a program this module measures in a process
of its own, with one thread, and writes the rates as JSON.
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
from memtrain.graph.ops.activation import Relu, ReluGrad, Sigmoid, SigmoidGrad, Tanh, TanhGrad
from memtrain.graph.ops.base import Op
from memtrain.graph.ops.gelu import Gelu, GeluGrad, GeluTanh, GeluTanhGrad
from memtrain.graph.ops.loss import LogSoftmax
from memtrain.graph.ops.matmul import MatMul
from memtrain.graph.ops.source import Leaf
from memtrain.measure.launch import command_of
from memtrain.plan.cost import Rates, flops, moved_bytes, read_rates
from memtrain.run.blas import blas_environment

_OPS = (Relu(), Tanh(), Sigmoid(), Gelu(), GeluTanh(), LogSoftmax())
_GRADIENT_OPS = (ReluGrad(), TanhGrad(), SigmoidGrad(), GeluGrad(), GeluTanhGrad())
"""The elementwise steps of a network that take most of the time beside its products."""

_ROWS, _COLUMNS = 1024, 512
_EACH_S = 0.03
_FLOAT = np.dtype(np.float32)


def measured_apart() -> Rates:
    """The rates of this machine, measured in a process of its own. Raises ``MeasureError``."""
    command = command_of("memtrain.measure.rates")
    settings = {**os.environ, **blas_environment(1, os.environ)}
    try:
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
        return read_rates(json.loads(done.stdout))
    except (OSError, subprocess.CalledProcessError, ValueError, TypeError) as error:
        raise MeasureError(
            f"the rates of this machine cannot be measured: {error}; take --cost flops"
        ) from error


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
