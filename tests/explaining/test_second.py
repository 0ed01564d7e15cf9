"""The Hessian-vector product: its peaks, compared with PyTorch's, and the values that are live at them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from memtrain.cells.cell import cell_of
from memtrain.explaining import second as explain_second
from memtrain.explaining.second import second_order
from memtrain.models.mlp import ACTIVATIONS

PYTORCH_PEAK_BYTES = {
    ("tanh", 8): 35_608_628,
    ("tanh", 16): 67_171_288,
    ("relu", 8): 28_000_072,
    ("relu", 16): 53_263_784,
    ("gelu", 8): 47_928_656,
    ("gelu", 16): 89_977_200,
}
"""Heap peaks of PyTorch 2.13's double backward on 64-256×L-10 with 1,024 examples, by activation and L."""


@pytest.fixture(autouse=True)
def _only_predicted(monkeypatch):
    monkeypatch.setattr(explain_second, "MOST_CHECKED_BYTES", 0)


@pytest.mark.parametrize(("activation", "depth"), PYTORCH_PEAK_BYTES)
def test_the_product_holds_no_more_than_pytorchs(activation, depth):
    second = second_order(cell_of(depth=depth, width=256, batch=1024, activation=activation)).second
    assert second.peak_bytes <= PYTORCH_PEAK_BYTES[activation, depth]


def test_a_further_layer_costs_its_output_two_cotangents_its_weight_and_the_direction():
    """By hand for tanh, in float32: h, ∂L/∂h and ∂L/∂z of 1,024 × 256, and W and v(W) of 256 × 256."""
    peaks = [
        second_order(cell_of(depth=depth, width=256, batch=1024, activation="tanh")).second.peak_bytes
        for depth in range(4, 12)
    ]
    assert {more - less for less, more in pairwise(peaks)} == {3 * 1024 * 256 * 4 + 2 * 256 * 256 * 4}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [0, 1, 5])
def test_what_stands_at_the_peak_adds_up_to_it(activation, depth):
    found = second_order(cell_of(depth=depth, width=32, batch=20, activation=activation, bias=True))
    assert sum(entry.bytes for entry in found.second_standing) == found.second.peak_bytes
    purposes = [entry.purpose for entry in found.second_standing]
    assert len(set(purposes)) == len(purposes)
    assert {"parameters", "batch", "direction v"} <= set(purposes)
    graph = found.second.schedule.graph
    by_name = {node.name: node.nbytes for node in graph}
    for entry in found.second_standing:
        if entry.purpose != "workspace":
            number_bytes = entry.bytes - sum(by_name[called.name] for called in entry.names)
            assert number_bytes == 4 * entry.number_count
    (directions,) = [entry for entry in found.second_standing if entry.purpose == "direction v"]
    (parameters,) = [entry for entry in found.second_standing if entry.purpose == "parameters"]
    assert [called.name for called in directions.names] == [
        f"v({called.name})" for called in parameters.names
    ]
