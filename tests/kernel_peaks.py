"""The heap peak of every kernel, of a known allocation and of a sloppy kernel, by memray.

Run as a program, the module prints them as JSON. It needs its own process, since a process can have only one
active tracker.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import memray
import numpy as np
from examples import CASES, Sizes, buffers, has_kernel, make

from memtrain.errors import GraphError
from memtrain.graph.ops import OPS, activation
from memtrain.graph.ops.base import Array, Op
from memtrain.graph.ops.conv import Conv2dWeightGrad
from memtrain.graph.ops.window import Window

CONTROL_BYTES = 1 << 20
ENOUGH_BYTES = 1024
SIZES = {"1024x256": (1024, 256), "26215x10": (26215, 10), "263x1000": (263, 1000), "2x131072": (2, 131072)}
"""About 262,144 elements each, in rows of very different lengths: sixteen blocks."""
DTYPES = ("float32", "float64")
FIRST = next(iter(SIZES))
MEASURED = [(size, dtype) for size, dtype in product(SIZES, DTYPES) if size == FIRST or dtype == DTYPES[0]]
"""The sizes in float32, and the first of them in float64, too."""
LABEL_TYPES = ("int32", "uint8")
KERNELS = [(name, place) for name, place in CASES if has_kernel(name)]
STRIDED = [name for name in OPS if has_kernel(name) and OPS[name].strided]


class _Sloppy(activation.Relu):
    """A kernel that allocates an array which it does not declare."""

    def kernel(self, out, *inputs, work):
        np.copyto(out, np.maximum(inputs[0], 0))


def measure_all() -> dict[str, int]:
    """The heap peaks of every kernel at every size, of a known allocation, and of a sloppy kernel."""
    peaks = {"nothing": heap_peak(lambda: None)}
    peaks["control"] = heap_peak(lambda: np.empty(CONTROL_BYTES, np.uint8))
    for size, dtype in MEASURED:
        sizes = Sizes(*SIZES[size], np.dtype(dtype))
        for name, place in KERNELS:
            peaks[f"{name} {place} {size} {dtype}"] = kernel_peak(*make(name, place, sizes))
        for name in STRIDED:
            op, arrays = make(name, 0, sizes)
            peaks[f"{name} transposed {size} {dtype}"] = kernel_peak(op, [*map(transposed, arrays)])
            peaks[f"{name} sliced {size} {dtype}"] = kernel_peak(op, [*map(sliced, arrays)])
        peaks[f"sloppy {size} {dtype}"] = kernel_peak(_Sloppy(), make("relu", 0, sizes)[1])
    given = [np.ones((8, 2, 2, channels), np.float32) for channels in (128, 64)]
    gradient = Conv2dWeightGrad(Window((3, 3), padding=(1, 1)), 1, (128, 3, 3, 64))
    peaks["conv2d_weight_grad of joined columns"] = kernel_peak(gradient, given)
    sizes = Sizes(*SIZES["26215x10"])
    for dtype in LABEL_TYPES:
        for name in ("nll", "nll_grad"):
            op, (given, labels) = make(name, 0, sizes)
            peaks[f"{name} {dtype}"] = kernel_peak(op, [given, labels.astype(dtype)])
    return peaks


def transposed(x: Array) -> Array:
    """The values of ``x`` in an array whose last two axes lie in the other order."""
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) if x.ndim > 1 else x


def sliced(x: Array) -> Array:
    """The values of ``x`` in a part of a larger array."""
    larger = np.zeros([size + 1 for size in x.shape], x.dtype)
    part = larger[tuple(slice(1, None) for _ in x.shape)]
    part[...] = x
    return part


def kernel_peak(op: Op, arrays: list[Array]) -> int:
    """The heap peak of one call after a warm-up, without its buffers; −1 for inputs that the op refuses."""
    try:
        out, work = buffers(op, arrays)
    except GraphError:
        return -1

    def call() -> None:
        op.kernel(out, *arrays, work=work)

    call()
    peak = heap_peak(call)
    # Python itself allocates when it specialises a function, so a large peak is measured once more.
    return peak if peak < ENOUGH_BYTES else min(peak, heap_peak(call))


def heap_peak(call: Callable[[], object]) -> int:
    """The most bytes that were requested at one time while ``call`` ran."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record.bin")
        with memray.Tracker(record):
            call()
        return memray.FileReader(record).metadata.peak_memory


if __name__ == "__main__":
    json.dump(measure_all(), sys.stdout)
