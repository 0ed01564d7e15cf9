"""The memory of each kernel beyond its output and workspace, and kernels in reused buffers.

memray counts the memory in a fresh process. In a reused buffer a kernel must give the same bits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import prod

import numpy as np
import pytest
from examples import Sizes, buffers, compute, make
from kernel_peaks import ALLOWED_BYTES, CONTROL_BYTES, DTYPES, KERNELS, MEASURED, SIZES, STRIDED
from paths import TESTS

from memtrain.graph.ops import OPS, arithmetic
from memtrain.graph.ops.blockwise import Elementwise
from memtrain.run.blas import blas_environment

KNOWN_BYTES = {"add_rows": 4688}
"""By op: bytes that numpy itself allocates in a call, whatever the sizes (the iterator of ``np.add.at``)."""


@pytest.fixture(scope="module")
def peaks():
    environment = {**os.environ, **blas_environment(1, os.environ)}
    environment.pop("PYTHONMALLOC", None)
    command = [sys.executable, "-W", "error", TESTS / "kernel_peaks.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    # Only stderr tells that memray could not write its record. Corrected symbols are harmless.
    said = [line for line in done.stderr.splitlines() if "Memray WARNING: Correcting symbol" not in line]
    assert not said
    return json.loads(done.stdout)


@pytest.mark.measure
def test_the_meter_reads_a_known_allocation_and_catches_a_sloppy_kernel(peaks):
    assert peaks["nothing"] == 0
    assert peaks["control"] == CONTROL_BYTES
    for size, dtype in MEASURED:
        array_bytes = prod(SIZES[size]) * np.dtype(dtype).itemsize
        assert array_bytes <= peaks[f"sloppy {size} {dtype}"] <= array_bytes + ALLOWED_BYTES


@pytest.mark.measure
@pytest.mark.parametrize(
    ("name", "place"), [*KERNELS, *[(name, kind) for name in STRIDED for kind in ("transposed", "sliced")]]
)
def test_a_kernel_takes_no_more_than_its_output_and_workspace(peaks, name, place):
    found = {of: peaks[f"{name} {place} {' '.join(of)}"] for of in MEASURED}
    allowed = ALLOWED_BYTES + KNOWN_BYTES.get(name, 0)
    assert {of: peak for of, peak in found.items() if not 0 <= peak <= allowed} == {}


@pytest.mark.measure
def test_copies_of_a_joined_kernel_are_not_added_in_hidden_buffers(peaks):
    """In small images all columns share a product, whose gradient has several copies of each kernel."""
    assert 0 <= peaks["conv2d_weight_grad of joined columns"] <= 2 * ALLOWED_BYTES


def assert_reuse_keeps_the_bits(op, arrays):
    """Fail unless the op gives the same bits in a fresh buffer and in the buffer of each reusable input."""
    given = [x.copy() for x in arrays]
    fresh = compute(op, arrays)
    for have, want in zip(arrays, given, strict=True):
        np.testing.assert_array_equal(have, want, err_msg="the kernel changed an input")
    for position in op.reuses:
        if given[position].shape != fresh.shape:
            continue
        inputs = [x.copy() for x in given]
        _, work = buffers(op, inputs)
        op.kernel(inputs[position], *inputs, work=work)
        np.testing.assert_array_equal(inputs[position], fresh, strict=True)
        for place, want in enumerate(given):
            if place != position:
                np.testing.assert_array_equal(inputs[place], want, err_msg="the kernel changed an input")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "place"), [case for case in KERNELS if OPS[case[0]].writes is None])
def test_a_kernel_changes_no_input_and_gives_the_same_bits_in_a_reused_buffer(name, place, dtype):
    for n, q in ((3, 4), (131, 257), (20011, 2)):  # the last two have several blocks
        assert_reuse_keeps_the_bits(*make(name, place, Sizes(n, q, np.dtype(dtype))))


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if {0, 1} <= set(op.reuses)])
def test_a_value_that_is_both_operands_may_be_reused(name):
    op, (x, *_) = make(name, 0, Sizes(263, 100))
    fresh = compute(op, [x, x])
    _, work = buffers(op, [x, x])
    op.kernel(x, x, x, work=work)
    np.testing.assert_array_equal(x, fresh, strict=True)


class _WritesTooEarly(Elementwise):
    reuses = (0,)

    def block(self, out, *inputs, work):
        out.fill(1)
        np.multiply(inputs[0], out, out=out)


class _SpoilsItsInput(arithmetic.Scale):
    def block(self, out, *inputs, work):
        np.multiply(inputs[0], self.factor, out=inputs[0])
        np.copyto(out, inputs[0])


@pytest.mark.parametrize("op", [_WritesTooEarly(), _SpoilsItsInput(2.0)])
def test_a_kernel_that_breaks_its_word_is_caught(op):
    with pytest.raises(AssertionError):
        assert_reuse_keeps_the_bits(op, [np.array([2.0, 3.0])])
