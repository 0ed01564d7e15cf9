"""The BLAS kernel and the number of threads: settings that must be made before numpy is imported."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

_AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
"""The instruction sets that OpenBLAS's SkylakeX kernels use."""

_LARGE_PRODUCT_FLOPS = 64_000_000
"""A product of this size takes about 0.5 ms on one core."""

_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def blas_environment(threads: int, given: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for a process that computes with ``threads`` BLAS threads.

    On AVX-512 CPUs that OpenBLAS does not know, it uses its AVX2 kernel, at half the speed. So the AVX-512
    kernel is requested if the CPU has the instructions and the user chose no kernel in ``given``, the present
    environment.
    """
    chosen = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    if "OPENBLAS_CORETYPE" not in given and has_avx512():
        chosen["OPENBLAS_CORETYPE"] = "SkylakeX"
    return chosen


def useful_threads(product_flops: int) -> int:
    """The number of threads for a product of ``product_flops``: all cores if it is large, otherwise one.

    The threads of OpenBLAS spin while they wait for each other. For a small product, a second thread saves
    microseconds. It costs milliseconds whenever another process occupies the second core.
    """
    if product_flops < _LARGE_PRODUCT_FLOPS:
        return 1
    return usable_cores()


def has_avx512() -> bool:
    """Whether this CPU has the instructions of OpenBLAS's AVX-512 kernels."""
    return _cpu_flags() >= _AVX512


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The model of the first CPU as Linux names it; otherwise the kind of machine."""
    return _of_first_cpu("model name") or platform.machine()


def _cpu_flags() -> set[str]:
    """The instruction sets of the first CPU as Linux names them; empty if they cannot be read."""
    return set(_of_first_cpu("flags").split())


def _of_first_cpu(name: str) -> str:
    """The first entry called ``name`` in /proc/cpuinfo; empty if there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    lines = (line for line in text.splitlines() if line.startswith(name))
    return next(lines, "").partition(":")[2].strip()
