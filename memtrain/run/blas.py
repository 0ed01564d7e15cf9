"""The BLAS kernel and the number of threads: settings that must be made before numpy is imported."""

from __future__ import annotations

from collections.abc import Mapping

from memtrain.run.cpu import has_avx512, usable_cores
from memtrain.run.user_cache import Kept

CORETYPE = "OPENBLAS_CORETYPE"
"""The environment variable that names OpenBLAS's kernel."""

KERNELS = ("SkylakeX", "Haswell")
"""The kernels among which memtrain chooses on a CPU with AVX-512: with AVX-512, and with AVX2."""

TIMEOUT = "OPENBLAS_THREAD_TIMEOUT"
"""The environment variable for how long OpenBLAS's idle threads spin: 2 to this power of CPU cycles."""

_TIMEOUT = "18"
"""About 0.1 ms. By default they spin for 25 ms. They would occupy the cores of `memtrain.run.helpers`."""

_LARGE_PRODUCT_FLOPS = 64_000_000
"""A product of this size takes about 0.5 ms on one core."""

_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def blas_environment(threads: int, given: Mapping[str, str], kernel: str | None = None) -> dict[str, str]:
    """Environment variables for a process that computes with ``threads`` BLAS threads.

    A kernel is requested where there is a choice (`can_choose`): ``kernel``, or the one that was faster on
    this machine, or the AVX-512 kernel while nothing was measured.
    """
    chosen = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    if threads > 1 and TIMEOUT not in given:
        chosen[TIMEOUT] = _TIMEOUT
    if can_choose(given):
        chosen[CORETYPE] = kernel or KEPT_KERNEL.value() or KERNELS[0]
    return chosen


def can_choose(given: Mapping[str, str]) -> bool:
    """Whether memtrain chooses the kernel: the CPU has AVX-512, and ``given``, the environment, names none.

    OpenBLAS uses its AVX2 kernel on AVX-512 CPUs that it does not know. On some of them its AVX-512 kernel is
    twice as fast, on others (AMD Zen 4) a little slower.
    """
    return CORETYPE not in given and has_avx512()


def _known_kernel(kept: object) -> str:
    """A kept kernel. Raises ``ValueError`` if memtrain does not choose it."""
    if kept not in KERNELS:
        raise ValueError(f"{kept!r} is no kernel of {KERNELS}")
    return str(kept)


KEPT_KERNEL: Kept[str] = Kept("blas.json", _known_kernel, str)
"""The faster kernel of this machine, once `memtrain.measure.blas_kernel` has measured it."""


def useful_threads(product_flops: int) -> int:
    """The number of threads for a product of ``product_flops``: all cores if it is large, otherwise one.

    The threads of OpenBLAS spin while they wait for each other. For a small product, a second thread saves
    microseconds. It costs milliseconds whenever another process occupies the second core.
    """
    if product_flops < _LARGE_PRODUCT_FLOPS:
        return 1
    return usable_cores()
