"""Grids: the cells of axes, their order, sizes and layers, and axes that exclude each other."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from memtrain.cells.cell import cell_of
from memtrain.errors import DataError, InputError, SpecError
from memtrain.models.mlp import MLP
from memtrain.sweeps.grid import MOST_CELLS, make_grid, oversized_batches
from memtrain.training.sources import DIGITS, SYNTHETIC


def refused(axes, layers=None, error=SpecError) -> InputError:
    """The error for a grid. It must be one line with the mistake and the remedy."""
    with pytest.raises(error) as caught:
        make_grid(axes, layers)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_plain_grid_is_the_main_job_on_the_digits():
    cells = make_grid({})
    assert [(cell["depth"], cell.batch) for cell in cells] == list(
        product(MLP.usual_axes["depth"], MLP.usual_axes["batch"])
    )
    plain = {
        "width": 256,
        "input_size": 64,
        "output_size": 10,
        "data": DIGITS,
        "activation": "relu",
        "l2": 1e-4,
    }
    assert cells == [cell_of(depth=cell["depth"], batch=cell.batch, **plain) for cell in cells]


def test_batch_varies_fastest_then_depth_then_the_rest_in_the_order_of_the_columns():
    axes = {"batch": [8, 4], "depth": [2, 1], "l2": [0.0, 1.0], "width": [16, 3], "seed": [0, 1]}
    cells = make_grid(axes)
    assert [(c["width"], c["l2"], c.seed, c["depth"], c.batch) for c in cells] == list(
        product([16, 3], [0.0, 1.0], [0, 1], [2, 1], [8, 4])
    )


def test_every_cell_is_different_and_so_is_its_key():
    cells = make_grid(
        {"activation": ["relu", "gelu"], "bias": [False, True], "batch": [1, 2], "depth": [0, 3]}
    )
    assert len(set(cells)) == 16
    assert len({cell.key("train") for cell in cells}) == 16


def test_no_cell_is_made_twice():
    assert len(make_grid({"depth": [1, 1], "batch": [2, 2]})) == 1


def test_numbers_of_numpy_are_as_good_as_pythons():
    axes = {"depth": np.int64(2), "width": [np.int32(5)], "batch": np.int64(4), "l2": np.float32(0.5)}
    (cell,) = make_grid(axes)
    assert cell == make_grid({"depth": 2, "width": 5, "batch": 4, "l2": 0.5})[0]
    assert type(cell["width"]) is int


def test_an_axis_may_be_one_value_a_list_a_tuple_a_range_or_an_array():
    wanted = [1, 2, 3]
    for values in (wanted, tuple(wanted), range(1, 4), np.arange(1, 4)):
        assert [cell["depth"] for cell in make_grid({"depth": values, "batch": 4})] == wanted
    assert [cell["depth"] for cell in make_grid({"depth": 5, "batch": 4})] == [5]


def test_sizes_come_from_the_data(tmp_path):
    path = tmp_path / "three.npz"
    np.savez(path, x=np.zeros((6, 2, 4)), y=np.arange(6) % 3)
    cells = make_grid({"data": [str(path), DIGITS, SYNTHETIC], "depth": 1, "batch": 1})
    assert [(c.data, c["input_size"], c["output_size"]) for c in cells] == [
        (str(path), 8, 3),
        (DIGITS, 64, 10),
        (SYNTHETIC, 64, 10),
    ]


def test_a_path_is_as_good_as_its_text(tmp_path):
    path = tmp_path / "two.npz"
    np.savez(path, x=np.zeros((4, 2)), y=np.arange(4) % 2)
    assert make_grid({"data": path, "batch": 1}) == make_grid({"data": str(path), "batch": 1})


def test_own_sizes_mean_synthetic_data():
    cells = make_grid({"input_size": [5, 6], "output_size": 3, "depth": 1, "batch": 1})
    assert [(c.data, c["input_size"], c["output_size"]) for c in cells] == [
        (SYNTHETIC, 5, 3),
        (SYNTHETIC, 6, 3),
    ]
    assert make_grid({"input_size": 5, "data": SYNTHETIC, "depth": 1, "batch": 1})[0]["output_size"] == 10


@pytest.mark.parametrize("size", ["input_size", "output_size"])
def test_own_sizes_do_not_go_with_a_data_set(size):
    error = refused({size: 5, "data": [SYNTHETIC, DIGITS]})
    assert f"--{size.replace('_', '-')}, or use --data synthetic" in error.remedy
    refused({size: 5, "data": "digits"})


def test_layers_list_all_sizes():
    (cell,) = make_grid({"batch": 4}, layers=[7, 5, 6, 3])
    assert (cell["input_size"], cell["depth"], cell["width"], cell["output_size"]) == (7, 2, (5, 6), 3)
    assert cell.data == SYNTHETIC
    assert cell.network.hidden == (5, 6)
    assert cell.columns()["width"] == "5-6"


def test_layers_of_one_width_are_a_number_however_often_it_is_repeated():
    assert make_grid({"batch": 4}, layers=[7, 5, 5, 5, 3]) == make_grid(
        {"batch": 4, "depth": 3, "width": 5, "input_size": 7, "output_size": 3}
    )


def test_layers_without_a_hidden_one_are_depth_zero():
    (cell,) = make_grid({"batch": 4}, layers=[7, 3])
    assert (cell["depth"], cell.network.hidden) == (0, ())


def test_layers_go_with_every_other_axis():
    cells = make_grid({"batch": [1, 2], "optimizer": ["sgd", "adam"]}, layers=[7, 5, 3])
    assert [(c.optimizer, c.batch) for c in cells] == [("sgd", 1), ("sgd", 2), ("adam", 1), ("adam", 2)]


@pytest.mark.parametrize("axis", ["depth", "width", "input_size", "output_size"])
def test_layers_do_not_go_with_what_they_say_themselves(axis):
    option = f"--{axis.replace('_', '-')}"
    assert str(refused({axis: 2}, layers=[7, 5, 3])) == (
        f"--layers already gives every size; drop --layers or {option}"
    )


def test_layers_do_not_go_with_a_data_set():
    error = refused({"data": DIGITS}, layers=[64, 5, 10])
    assert error.remedy == "drop --layers, or use --data synthetic"


@pytest.mark.parametrize("layers", [[], [7]])
def test_layers_need_an_input_and_an_output(layers):
    assert "784,512,10" in refused({}, layers=layers).remedy


@pytest.mark.parametrize("layers", [[7, 0, 3], [0, 3], [7, 5, -1], [7, 4.5, 3], [7, "5", 3]])
def test_a_layer_that_is_no_width_is_refused(layers):
    assert "≥ 1" in refused({}, layers=layers).remedy


@pytest.mark.parametrize(
    ("name", "nearest"), [("batches", "batch"), ("Depth", "depth"), ("optimiser", "optimizer")]
)
def test_an_unknown_axis_is_refused_with_the_nearest_name(name, nearest):
    error = refused({name: 3})
    assert name in error.mistake
    assert error.remedy.startswith(f"did you mean {nearest}? The choices are ")


@pytest.mark.parametrize(
    ("axis", "value", "nearest"),
    [
        ("activation", "rleu", "relu"),
        ("activation", "RELU", "relu"),
        ("activation", "gelu-tanh", "gelu_tanh"),
        ("optimizer", "adamw", "adam"),
        ("dtype", "f32", "float32"),
        ("dtype", "double", "float64"),
        ("activation", "swish", "silu"),
    ],
)
def test_an_unknown_word_is_refused_with_the_nearest_one(axis, value, nearest):
    error = refused({axis: ["relu", value] if axis == "activation" else value})
    assert repr(value) in error.mistake
    assert error.remedy.startswith(f"did you mean {nearest}? The choices are ")


def test_a_word_without_a_likeness_is_refused_with_all_that_are_allowed():
    error = refused({"activation": "🦄"})
    assert all(word in error.remedy for word in ("relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "identity"))


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("depth", -1),
        ("depth", 2.0),
        ("depth", "1:4:x2"),
        ("depth", True),
        ("width", 0),
        ("batch", 0),
        ("batch", -3),
        ("threads", 0),
        ("steps", 0),
        ("seed", -1),
        ("l2", -1.0),
        ("l2", float("nan")),
        ("l2", float("inf")),
        ("l2", "small"),
        ("bias", "no"),
        ("dtype", np.float16),
        ("activation", None),
        ("width", 2.5),
    ],
)
def test_values_that_no_cell_can_have_are_refused(axis, value):
    refused({axis: [value]}, error=InputError)


@pytest.mark.parametrize("axis", ["depth", "batch", "activation", "data"])
def test_an_axis_without_values_is_refused(axis):
    assert axis in refused({axis: []}).mistake


def test_more_cells_than_anyone_waits_for_are_refused_before_they_are_made():
    error = refused({"depth": range(1, 10_000), "batch": range(1, 10_000)})
    assert "99,980,001 cells" in error.mistake
    assert f"{MOST_CELLS:,}" in error.mistake


def test_data_that_cannot_be_read_are_refused():
    assert "nowhere.csv" in refused({"data": ["digits", "nowhere.csv"]}, error=DataError).mistake


def test_batches_larger_than_the_training_examples_are_named_with_their_number(tmp_path):
    path = tmp_path / "ten.npz"
    np.savez(path, x=np.zeros((10, 2)), y=np.arange(10) % 2)
    axes = {"depth": 1, "data": [str(path), DIGITS, SYNTHETIC]}
    assert oversized_batches(make_grid({**axes, "batch": [1, 8]})) == {}
    assert oversized_batches(make_grid({**axes, "batch": [1, 9]})) == {str(path): 8}
    assert oversized_batches(make_grid({**axes, "batch": [1438]})) == {str(path): 8}
    assert oversized_batches(make_grid({**axes, "batch": [2, 1439]})) == {str(path): 8, DIGITS: 1438}


def test_an_option_of_pytorch_has_no_say_in_the_cells_of_the_other_engine():
    axes = {"engine": ["numpy", "torch"], "depth": 1, "batch": 4}
    both = make_grid({**axes, "foreach": True})
    assert [(cell.engine, cell.foreach) for cell in both] == [("numpy", False), ("torch", True)]
    each = make_grid({**axes, "foreach": [False, True]})
    found = [(cell.engine, cell.foreach) for cell in each]
    assert found == [("numpy", False), ("torch", False), ("torch", True)]
    with pytest.raises(SpecError, match="foreach is an option of PyTorch"):
        make_grid({"foreach": True, "depth": 1, "batch": 4})
