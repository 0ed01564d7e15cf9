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
ALLOWED_BYTES, ENOUGH_BYTES = 2048, 1024
SIZES = {"1024x256": (1024, 256), "26215x10": (26215, 10), "263x1000": (263, 1000), "2x131072": (2, 131072)}
"""About 262,144 elements each, in rows of very different lengths: sixteen blocks."""
DTYPES = ("float32", "float64")
FIRST = next(iter(SIZES))
MEASURED = [(size, dtype) for size, dtype in product(SIZES, DTYPES) if size == FIRST or dtype == DTYPES[0]]
"""The sizes in float32, and the first of them in float64, too."""
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
    for name in dict(KERNELS):
        peaks |= peaks_of(
            {
                f"{name} {place} {' '.join(of)}": prepared(*case)
                for of in MEASURED
                for place, case in cases_of(name, Sizes(*SIZES[of[0]], np.dtype(of[1])))
            }
        )
    for size, dtype in MEASURED:
        arrays = make("relu", 0, Sizes(*SIZES[size], np.dtype(dtype)))[1]
        peaks[f"sloppy {size} {dtype}"] = kernel_peak(_Sloppy(), arrays)
    given = [np.ones((8, 2, 2, channels), np.float32) for channels in (128, 64)]
    gradient = Conv2dWeightGrad(Window((3, 3), padding=(1, 1)), 1, (128, 3, 3, 64))
    peaks["conv2d_weight_grad of joined columns"] = kernel_peak(gradient, given)
    return peaks


def cases_of(name: str, sizes: Sizes) -> list[tuple[object, tuple[Op, list[Array]]]]:
    """The examples of an op by their places. A strided op also has inputs that are no whole arrays."""
    cases = [(place, make(name, place, sizes)) for known, place in KERNELS if known == name]
    if name in STRIDED:
        op, arrays = cases[0][1]
        cases += [("transposed", (op, [*map(transposed, arrays)])), ("sliced", (op, [*map(sliced, arrays)]))]
    return cases


def transposed(x: Array) -> Array:
    """The values of ``x`` in an array whose last two axes lie in the other order."""
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) if x.ndim > 1 else x


def sliced(x: Array) -> Array:
    """The values of ``x`` in a part of a larger array."""
    larger = np.zeros([size + 1 for size in x.shape], x.dtype)
    part = larger[tuple(slice(1, None) for _ in x.shape)]
    part[...] = x
    return part


def peaks_of(calls: dict[str, Callable[[], None]]) -> dict[str, int]:
    """By name: the heap peak of a call.

    memray takes far longer to start than a call takes, so all calls are measured as one. Its peak is at least
    that of each of them. If it is too large, each is measured alone.
    """

    def call_all() -> None:
        for call in calls.values():
            call()

    peak = settled_peak(call_all)
    if peak <= ALLOWED_BYTES:
        return dict.fromkeys(calls, peak)
    return {name: settled_peak(call) for name, call in calls.items()}


def kernel_peak(op: Op, arrays: list[Array]) -> int:
    """The heap peak of one call after a warm-up, without its buffers; −1 for inputs that the op refuses."""
    try:
        return settled_peak(prepared(op, arrays))
    except GraphError:
        return -1


def prepared(op: Op, arrays: list[Array]) -> Callable[[], None]:
    """A call of a kernel that has been called once, with the same buffers."""
    out, work = buffers(op, arrays)

    def call() -> None:
        op.kernel(out, *arrays, work=work)

    call()
    return call


def settled_peak(call: Callable[[], None]) -> int:
    """The heap peak of ``call``."""
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
