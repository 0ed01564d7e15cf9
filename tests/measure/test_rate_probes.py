"""The probes of rates: steps with the sizes of real networks, and the median of many runs."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest

from memtrain.graph.ops.activation import Relu
from memtrain.measure import rates as module
from memtrain.planning.cost import flops, moved_bytes


@pytest.fixture
def probes(monkeypatch):
    """Op name, shapes and unit of each probe. The rate of each probe is its position in the list."""
    asked = []

    def rate(op, *shapes, of):
        asked.append((op.name, shapes, of))
        return float(len(asked))

    monkeypatch.setattr(module, "_rate", rate)
    return asked


def test_the_product_is_one_of_536_million_flops(probes):
    """The product has the size of those in wide networks: a small product needs most of its time to start."""
    module.measured_rates()
    (product,) = (probe for probe in probes if probe[2] is flops)
    name, (left, right), _ = product
    assert (name, left, right) == ("matmul", (1024, 512), (512, 512))
    assert 2 * 1024 * 512 * 512 == 536_870_912


def test_elementwise_steps_read_arrays_of_2_mib(probes):
    """Smaller arrays would stay in the cache of a core, unlike the arrays of a network."""
    module.measured_rates()
    found = [(name, shapes) for name, shapes, of in probes if of is moved_bytes]
    assert len(found) >= 11
    for name, shapes in found:
        assert len(shapes) == (2 if name.endswith("grad") or name == "swiglu" else 1), name
        assert {4 * rows * columns for rows, columns in shapes} == {2 * 2**20}, name


def test_each_rate_stands_under_its_own_name(probes):
    rates = module.measured_rates()
    names = [name for name, _, of in probes if of is moved_bytes]
    assert list(rates.op_bytes_per_s) == names
    assert rates.bytes_per_s == rates.op_bytes_per_s["relu"]
    assert len({rates.flops_per_s, *rates.op_bytes_per_s.values()}) == len(probes)


@pytest.mark.parametrize(
    ("seconds", "middle"),
    [([0.01, 0.01, 0.5], 0.01), ([0.5, 0.01, 0.01], 0.5), ([0.004, 0.002, 0.003] * 4, 0.003)],
)
def test_a_rate_is_the_work_of_a_step_in_the_median_of_at_least_30_ms(monkeypatch, seconds, middle):
    """Neither a disturbed run nor the fastest run determines the rate."""
    now, takes = [0.0], cycle(seconds)
    calls = []

    def clock():
        if len(calls) % 2:
            now[0] += next(takes)
        calls.append(now[0])
        return now[0]

    monkeypatch.setattr(module, "perf_counter", clock)
    found = module._rate(Relu(), (8, 16), of=moved_bytes)
    assert found == pytest.approx(2 * 8 * 16 * np.dtype(np.float32).itemsize / middle)
    assert calls[-1] >= 0.03 > calls[-2] - calls[0]
