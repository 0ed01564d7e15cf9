"""A trained network on disk, and what it says of examples."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import memtrain, refused, rows_of, strict_json

from memtrain.errors import DataError
from memtrain.measure.cell import Cell, Mode
from memtrain.measure.row import predicted_row
from memtrain.models.mlp import MLP, initial_values
from memtrain.train.data import load_digits
from memtrain.train.prediction import Predictor
from memtrain.train.snapshot import Snapshot, load_snapshot, snapshot_bytes

SPEC = MLP(batch=4, input_size=3, hidden=(5, 2), output_size=2, activation="tanh", bias=True, dtype="float64")


def saved(path, spec=SPEC, **changes):
    path.write_bytes(snapshot_bytes(Snapshot(spec, {**initial_values(spec, 1), **changes})))
    return path


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    found = load_snapshot(saved(tmp_path / "m.npz"))
    assert found.spec == SPEC
    for name, value in initial_values(SPEC, 1).items():
        assert np.array_equal(found.parameters[name], value)


def test_predictions_are_those_of_numpy_whatever_the_batch():
    x = np.random.default_rng(0).standard_normal((11, 3)).astype(np.float32)
    values = initial_values(SPEC, 1)
    h = np.tanh(np.tanh(x @ values["W1"].T + values["b1"]) @ values["W2"].T + values["b2"])
    outputs = Predictor(SPEC, values).outputs(x)
    assert np.allclose(outputs, h @ values["W3"].T + values["b3"], rtol=1e-12)


def test_it_takes_what_the_sweep_says_that_inference_takes():
    spec = Cell(batch=64).spec()
    predictor = Predictor(spec, initial_values(spec, 0), "fresh")
    predictor.outputs(load_digits().x[:64])
    assert predictor.peak_bytes == predicted_row(Cell(batch=64), Mode.INFER)["predicted_peak_bytes"]


def test_training_saves_and_predicting_reads_with_labels_or_without(tmp_path):
    said = memtrain("train", "--epochs", 5, "--save", "my model.npz", cwd=tmp_path)
    assert said.code == 0
    assert "exists already" in refused("train", "--epochs", 1, "--save", "my model.npz", cwd=tmp_path)
    digits = load_digits()
    first = strict_json(memtrain("predict", "my model.npz", "--json", cwd=tmp_path).out)
    assert first["accuracy"] > 0.9
    np.savetxt(tmp_path / "bare.csv", digits.x[:50], delimiter=",")
    np.savetxt(tmp_path / "labelled.csv", np.column_stack([digits.x[:50], digits.y[:50]]), delimiter=",")
    np.savez(tmp_path / "bare.npz", x=digits.x[:50])
    for name in ("bare.csv", "labelled.csv", "bare.npz"):
        said = memtrain("predict", "my model.npz", name, cwd=tmp_path)
        rows = rows_of(said.out)
        assert [int(row["label"]) for row in rows] == first["labels"][:50]
        assert all(0 < float(row["probability"]) <= 1 for row in rows)
        assert ("right:" in said.err) is (name == "labelled.csv")
    memtrain("predict", "my model.npz", "bare.csv", "--export-csv", "out.csv", cwd=tmp_path)
    assert (tmp_path / "out.csv").read_text().startswith("label,probability\n")


@pytest.mark.parametrize(
    "change",
    [
        {"W2": np.zeros((2, 4))},
        {"W2": np.zeros((2, 5), np.float32)},
        {"b1": np.full(5, np.nan)},
        {"network": np.array("{}")},
        {"network": np.array("[1]")},
        {"network": np.array(json.dumps({"batch": -1}))},
        {
            "network": np.array(
                json.dumps({"batch": 10**30, "input_size": 3, "hidden": [5, 2], "output_size": 2})
            )
        },
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(change, tmp_path):
    path = saved(tmp_path / "m.npz")
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, **change})
    with pytest.raises(DataError, match="cannot be read"):
        load_snapshot(path)


def test_a_model_with_objects_is_refused_and_not_executed(tmp_path):
    class Payload:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    np.savez(tmp_path / "m.npz", network=np.array([Payload()], object), allow_pickle=True)
    with pytest.raises(DataError):
        load_snapshot(tmp_path / "m.npz")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"x" * 99])
def test_what_is_no_model_is_refused(content, tmp_path):
    (tmp_path / "m.npz").write_bytes(content)
    assert "cannot be read" in refused("predict", "m.npz", cwd=tmp_path)


@pytest.mark.parametrize("text", ["1,2\n", "1,2,3,4,5\n", "a,b,c\n1,x,3\n", "nan,1,2\n", ""])
def test_examples_that_do_not_fit_are_refused(text, tmp_path):
    saved(tmp_path / "m.npz")
    (tmp_path / "x.csv").write_text(text)
    refused("predict", "m.npz", "x.csv", cwd=tmp_path)


def test_outputs_that_are_not_finite_are_no_answer(tmp_path):
    values = {name: value * 1e200 for name, value in initial_values(SPEC, 1).items()}
    saved(tmp_path / "m.npz", replace(SPEC, activation="relu"), **values)
    (tmp_path / "x.csv").write_text("1,2,3\n")
    said = refused("predict", "m.npz", "x.csv", cwd=tmp_path)
    assert "not finite" in said


@pytest.mark.parametrize("labels", [[0, 9], [0, 0.5], [0, -1], [0]])
def test_labels_that_cannot_be_are_refused(labels, tmp_path):
    saved(tmp_path / "m.npz")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3)), y=np.array(labels))
    assert "labels that do not fit" in refused("predict", "m.npz", "x.npz", cwd=tmp_path)


def test_a_network_that_has_diverged_is_not_saved(tmp_path):
    said = memtrain("train", "--lr", "1e30", "--epochs", 1, "--save", "m.npz", cwd=tmp_path)
    assert said.code == 1
    assert "m.npz is not written" in said.err
    assert not (tmp_path / "m.npz").exists()


def test_the_peak_of_predicting_names_the_batch_that_it_is_of(tmp_path):
    said = memtrain("train", "--epochs", 1, "--width", 8, "--batch", 2000, cwd=tmp_path)
    assert "peak memory of predicting 359 " in said.out
