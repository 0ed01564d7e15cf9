"""The faster of OpenBLAS's kernels on this machine, measured once. It takes about half a second.

The CPU's flags do not tell: the AVX-512 kernel is twice as fast on some CPUs with AVX-512, and a little
slower than the AVX2 kernel on others. Each kernel needs its own process. The module runs as a program there,
and prints the seconds of one product.
"""

from __future__ import annotations

import os
import subprocess
from math import inf
from time import perf_counter

from memtrain.measure.launch import command_of
from memtrain.run.blas import CORETYPE, KEPT_KERNEL, KERNELS, blas_environment, can_choose

_SIZE, _RUNS, _ROUNDS = 512, 15, 2
"""A product takes a few milliseconds, so that its fastest run is not interrupted on a busy machine."""

_MARGIN = 0.97
"""The AVX2 kernel is chosen if it needs at most this share of the time of the AVX-512 kernel."""


def choose_kernel() -> None:
    """Measure and keep the faster kernel, if there is a choice and no kernel is kept."""
    if can_choose(os.environ) and KEPT_KERNEL.value() is None:
        KEPT_KERNEL.value_or(_faster)


def _faster() -> str:
    seconds = dict.fromkeys(KERNELS, inf)
    for _ in range(_ROUNDS):
        for kernel in KERNELS:
            seconds[kernel] = min(seconds[kernel], _seconds(kernel))
    first, second = KERNELS
    return second if seconds[second] < _MARGIN * seconds[first] else first


def _seconds(kernel: str) -> float:
    """The seconds of a product with ``kernel``, in a new process; infinite if the process fails."""
    settings = {**os.environ, **blas_environment(1, {**os.environ, CORETYPE: kernel}), CORETYPE: kernel}
    command = command_of("memtrain.measure.blas_kernel")
    try:
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
        return float(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return inf


def _fastest_run_s() -> float:
    """The seconds of the fastest of several products, with the kernel of this process."""
    import numpy as np

    x = np.random.default_rng(0).standard_normal((_SIZE, _SIZE), np.float32)
    out = np.empty_like(x)
    best = inf
    for _ in range(_RUNS):
        before = perf_counter()
        np.matmul(x, x, out=out)
        best = min(best, perf_counter() - before)
    return best


if __name__ == "__main__":
    print(_fastest_run_s())
