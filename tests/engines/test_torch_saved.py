"""The list of what autograd saves, beside what ``saved_tensors_hooks`` of PyTorch shows."""

from __future__ import annotations

import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.explaining.explanation import explain
from memtrain.measure.workload import Workload

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")

CELLS = {
    "mlp": {"depth": 3, "width": 32, "activation": "elu", "bias": True},
    "one frozen layer": {"depth": 3, "width": 32, "activation": "gelu", "freeze": "2"},
    "all but the last frozen": {"depth": 3, "width": 32, "freeze": "1-3"},
    "lenet": {"model": "lenet", "depth": 2, "image": 28},
    "cnn": {"model": "cnn", "depth": 2, "width": 8, "image": 8, "norm": "group"},
    "resnet": {"model": "resnet", "depth": 2, "width": 8, "image": 8},
}


@pytest.mark.parametrize("name", CELLS)
def test_each_entry_of_autograds_list_is_there_once_and_none_is_missing(name):
    cell = cell_of(batch=4, data="synthetic", engine="torch", **CELLS[name])
    workload = Workload(cell, Mode.TRAIN)
    run = workload.new_run()
    workload.load(run)
    shown: list[int] = []

    def keep(tensor):
        shown.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        workload.iterate(run, 0)
    saved = explain(cell).saved
    assert sorted(entry.bytes for entry in saved) == sorted(shown)
    storages = {entry.name: entry.bytes for entry in saved if entry.role == "kept"}
    first = [entry for entry in saved if entry.role == "kept" and not entry.again]
    assert sum(storages.values()) == sum(entry.bytes for entry in first)


def test_the_layers_of_both_engines_stand_beside_each_other_with_the_reason():
    explanation = explain(cell_of(depth=2, width=32, batch=4, activation="elu", engine="torch"))
    pairs = {pair.name: pair for pair in explanation.beside}
    h = 4 * 32 * 4
    assert (pairs["layer2"].torch_bytes, pairs["layer2"].numpy_bytes) == (2 * h, h)
    assert pairs["layer2"].why == "ELU saves its input, where memtrain reads the output"
    assert explain(cell_of(depth=2)).saved == []
