"""The CPU of this machine: its name, its cores, and whether it has AVX-512."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
"""The instruction sets that OpenBLAS's SkylakeX kernels use."""


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
