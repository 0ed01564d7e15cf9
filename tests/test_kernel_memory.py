"""What each kernel takes beyond its output and declared workspace, seen by memray in a fresh process.

Run as a script this file is that process: it prints the heap peak of every kernel as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import memray
import numpy as np
import pytest
from examples import CASES, Sizes, buffers, has_kernel, make

from memtrain.graph.ops import OPS, activation
from memtrain.graph.ops.base import BLOCK, Array, Op
from memtrain.run.blas import blas_environment

ALLOWED_BYTES = 2048
CONTROL_BYTES = 1 << 20
SIZES = {"1024x256": (1024, 256), "26215x10": (26215, 10), "263x1000": (263, 1000), "1x262144": (1, 262144)}
DTYPES = ("float32", "float64")
KERNELS = [(name, place) for name, place in CASES if has_kernel(name)]
STRIDED = [name for name, _ in KERNELS if OPS[name].strided]


class _Sloppy(activation.Relu):
    """A kernel that makes an array that it did not declare."""

    def kernel(self, out, *inputs, work):
        np.copyto(out, np.maximum(inputs[0], 0))


def fits(name, size):
    return name != "pad" or SIZES[size][0] > 1


def label(name, place, size, dtype):
    return f"{name} {place} {size} {dtype}"


def measure_all() -> dict[str, int]:
    """Heap peak of every kernel at every size, of a known allocation, and of a sloppy kernel."""
    peaks = {}
    for dtype in DTYPES:
        for size, (n, q) in SIZES.items():
            sizes = Sizes(n, q, np.dtype(dtype))
            for name, place in KERNELS:
                if fits(name, size):
                    peaks[label(name, place, size, dtype)] = kernel_peak(*make(name, place, sizes))
            for name in STRIDED:
                op, (x,) = make(name, 0, sizes)
                peaks[label(name, "transposed", size, dtype)] = kernel_peak(op, [x.T])
        x = np.ones((1024, 256), dtype)
        peaks[f"sloppy {dtype}"] = kernel_peak(_Sloppy(), [x])
    peaks["control"] = heap_peak(lambda: np.empty(CONTROL_BYTES, np.uint8))
    peaks["nothing"] = heap_peak(lambda: None)
    return peaks


def kernel_peak(op: Op, arrays: list[Array]) -> int:
    """Heap peak of one call after a warm-up, with its buffers made before."""
    out, work = buffers(op, arrays)

    def call():
        op.kernel(out, *arrays, work=work)

    call()
    return heap_peak(call)


def heap_peak(call: Callable[[], object]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.bin")
        with memray.Tracker(record):
            call()
        return memray.FileReader(record).metadata.peak_memory


@pytest.fixture(scope="module")
def peaks():
    environment = {**os.environ, **blas_environment(1, os.environ)}
    environment.pop("PYTHONMALLOC", None)
    command = [sys.executable, "-W", "error", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # memray tells only here that it could not write its record
    return json.loads(done.stdout)


@pytest.mark.measure
def test_the_meter_reads_a_known_allocation_and_catches_a_sloppy_kernel(peaks):
    assert peaks["nothing"] == 0
    assert peaks["control"] == CONTROL_BYTES
    for dtype in DTYPES:
        assert peaks[f"sloppy {dtype}"] >= 1024 * 256 * np.dtype(dtype).itemsize


@pytest.mark.measure
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "place"), [*KERNELS, *[(name, "transposed") for name in STRIDED]]
)
def test_a_kernel_takes_no_more_than_its_output_and_workspace(peaks, name, place, size, dtype):
    if not fits(name, size):
        pytest.skip("the example has no such shape")
    assert peaks[label(name, place, size, dtype)] <= ALLOWED_BYTES


if __name__ == "__main__":
    json.dump(measure_all(), sys.stdout)
