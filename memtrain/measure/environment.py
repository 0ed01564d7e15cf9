"""The environment of a process. Figures depend on it, so it is recorded with them."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import threadpoolctl

from memtrain import __version__
from memtrain.run.cpu import cpu_name, usable_cores

_SETTINGS = (
    *("OPENBLAS_", "OMP_", "MKL_", "NUMPY_"),
    *("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"),
    *("PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONDEVMODE"),
)
"""Prefixes of environment variables of BLAS, numpy, the allocator and Python that affect memory or speed."""


def environment() -> dict[str, Any]:
    """Versions, CPU, BLAS, memory and the settings of this process, as JSON values."""
    return {
        "memtrain": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "memray": _version("memray"),
        **({"torch": _version("torch")} if "torch" in sys.modules else {}),
        "blas": _blas(),
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "platform": _platform(),
        "libc": " ".join(platform.libc_ver()),
        "memory_bytes": psutil.virtual_memory().total,
        "swap_bytes": psutil.swap_memory().total,
        "huge_pages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "settings": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(_SETTINGS)},
    }


def _platform() -> str:
    """The text of ``platform.platform``. On Linux no process is started for it, as the function would do."""
    if sys.platform != "linux":
        return platform.platform()
    system = os.uname()
    return "-".join([system.sysname, system.release, system.machine, "with", "".join(platform.libc_ver())])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _blas() -> str:
    found = [entry for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "blas"]
    return "; ".join(
        " ".join(str(entry[key]) for key in ("internal_api", "version", "architecture") if entry.get(key))
        for entry in found
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
