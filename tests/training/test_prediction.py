"""Snapshots of trained networks, and their predictions."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from command_line import called, refused, rows_of, strict_json
from networks import initial_values, mlp

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.row import predicted_row
from memtrain.errors import DataError
from memtrain.models.mlp import MLP
from memtrain.training.examples import Examples
from memtrain.training.loop import Epoch, train
from memtrain.training.prediction import Predictor
from memtrain.training.snapshot import Snapshot, load_snapshot, snapshot_bytes
from memtrain.training.sources import load_digits, split

SPEC = mlp(batch=4, input_size=3, hidden=(5, 2), output_size=2, activation="tanh", bias=True, dtype="float64")


def saved(path, spec=SPEC, **changes):
    path.write_bytes(snapshot_bytes(Snapshot(*spec, {**initial_values(spec, 1), **changes})))
    return path


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    found = load_snapshot(saved(tmp_path / "m.npz"))
    assert (found.network, found.batch) == SPEC
    for name, value in initial_values(SPEC, 1).items():
        assert np.array_equal(found.parameters[name], value)


def test_predictions_are_those_of_numpy_whatever_the_batch():
    x = np.random.default_rng(0).standard_normal((11, 3)).astype(np.float32)
    values = initial_values(SPEC, 1)
    h = np.tanh(np.tanh(x @ values["W1"].T + values["b1"]) @ values["W2"].T + values["b2"])
    outputs = Predictor(*SPEC, values).outputs(x)
    assert np.allclose(outputs, h @ values["W3"].T + values["b3"], rtol=1e-12)


def test_the_peak_of_predicting_is_the_inference_peak_of_the_sweep():
    network = cell_of(batch=64).network
    predictor = Predictor(network, 64, network.initial_values(0), "fresh")
    predictor.outputs(load_digits().x[:64])
    assert predictor.peak_bytes == predicted_row(cell_of(batch=64), Mode.INFER)["predicted_peak_bytes"]


def test_training_saves_and_predicting_reads_with_labels_or_without(tmp_path):
    said = called("train", "--epochs", 5, "--save", "my model.npz", cwd=tmp_path)
    assert said.code == 0
    assert "exists already" in refused("train", "--epochs", 1, "--save", "my model.npz", cwd=tmp_path)
    digits = load_digits()
    first = strict_json(called("predict", "my model.npz", "--json", cwd=tmp_path).out)
    assert first["accuracy"] > 0.9
    np.savetxt(tmp_path / "bare.csv", digits.x[:50], delimiter=",")
    np.savetxt(tmp_path / "labelled.csv", np.column_stack([digits.x[:50], digits.y[:50]]), delimiter=",")
    np.savez(tmp_path / "bare.npz", x=digits.x[:50])
    for name in ("bare.csv", "labelled.csv", "bare.npz"):
        said = called("predict", "my model.npz", name, cwd=tmp_path)
        rows = rows_of(said.out)
        assert [int(row["label"]) for row in rows] == first["labels"][:50]
        assert all(0 < float(row["probability"]) <= 1 for row in rows)
        assert ("are predicted correctly" in said.err) is (name == "labelled.csv")
    called("predict", "my model.npz", "bare.csv", "--export-csv", "out.csv", cwd=tmp_path)
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
    saved(tmp_path / "m.npz", SPEC.changed(activation="relu"), **values)
    (tmp_path / "x.csv").write_text("1,2,3\n")
    said = refused("predict", "m.npz", "x.csv", cwd=tmp_path)
    assert "not finite" in said


@pytest.mark.parametrize("labels", [[0, 9], [0, 0.5], [0, -1], [0]])
def test_labels_that_cannot_be_are_refused(labels, tmp_path):
    saved(tmp_path / "m.npz")
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3)), y=np.array(labels))
    assert "labels that do not fit" in refused("predict", "m.npz", "x.npz", cwd=tmp_path)


@pytest.mark.parametrize("options", [(), ("--json",), ("--save", "m.npz")])
def test_a_training_that_has_diverged_is_a_failed_check_and_is_not_saved(options, tmp_path):
    said = called("train", "--lr", "1e9", "--epochs", 1, *options, cwd=tmp_path)
    assert said.code == 1
    assert "diverged" in said.err
    assert "test" in said.out
    assert ("m.npz was not written" in said.err) is ("--save" in options)
    assert not (tmp_path / "m.npz").exists()


def test_parameters_that_are_not_finite_are_a_divergence_too(digits):
    trained = train(
        *mlp(64, 64, (8,), 10), *split(digits, MLP()), optimizer="sgd", rate=0.1, epochs=1, seed=0
    )
    assert not trained.diverged
    assert replace(trained, parameters={"W1": np.array([1, np.inf])}).diverged
    assert replace(trained, epochs=(Epoch(1, float("nan")),)).diverged


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits):
    """A folder with a model of the digits, and the accuracy that its training reported."""
    folder = tmp_path_factory.mktemp("trained")
    said = called("train", "--epochs", 3, "--json", "--save", "model.npz", cwd=folder)
    np.savez(folder / "same.npz", x=digits.x.astype("f8"), y=digits.y.astype("u1"))
    np.savetxt(folder / "same.csv", np.column_stack([digits.x, digits.y]), delimiter=",", header=HEADER)
    np.savez(folder / "other.npz", x=digits.x[::-1], y=digits.y[::-1])
    np.savez(folder / "some.npz", x=digits.x[:-1], y=digits.y[:-1])
    arrays = dict(np.load(folder / "model.npz"))
    np.savez(folder / "old.npz", **{name: array for name, array in arrays.items() if name != "data_digest"})
    return folder, strict_json(said.out)["test_accuracy"]


HEADER = ",".join(f"pixel{number}" for number in range(65))


@pytest.mark.parametrize("data", ["digits", "same.npz", "same.csv"])
def test_the_examples_that_a_model_was_not_trained_on_are_reported_apart(data, trained, digits):
    folder, test_accuracy = trained
    document = strict_json(called("predict", "model.npz", data, "--json", cwd=folder).out)
    right = np.array(document["labels"]) == digits.y
    assert document["trained_on"] is True
    assert document["test_examples"] == 359
    assert document["test_accuracy"] == test_accuracy == right[split(digits, MLP())[1].rows].mean()
    assert document["accuracy"] == right.mean() != test_accuracy
    said = called("predict", "model.npz", data, cwd=folder).err
    assert (
        f"{100 * test_accuracy:.2f} % of the 359 test examples are predicted correctly "
        f"({100 * right.mean():.2f} % of all 1,797;" in said
    )


@pytest.mark.parametrize("data", ["other.npz", "some.npz"])
def test_other_examples_than_those_of_the_training_have_one_accuracy(data, trained):
    document = strict_json(called("predict", "model.npz", data, "--json", cwd=trained[0]).out)
    assert document["trained_on"] is False
    assert document["test_accuracy"] is None
    said = called("predict", "model.npz", data, cwd=trained[0]).err
    assert (
        f"{round(document['accuracy'] * len(document['labels'])):,} of {len(document['labels']):,} examples"
        in said
    )


def test_a_model_that_does_not_say_what_it_was_trained_on_still_predicts_and_that_is_said(trained):
    assert load_snapshot(trained[0] / "old.npz").data_digest is None
    assert strict_json(called("predict", "old.npz", "--json", cwd=trained[0]).out)["trained_on"] is None
    assert "The model does not record its training data" in called("predict", "old.npz", cwd=trained[0]).err


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (os.mkfifo, "a pipe"),
        (os.mkdir, "a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "a character device"),
    ],
)
def test_a_model_that_is_no_regular_file_is_refused_without_waiting_for_it(make, word, tmp_path):
    make(tmp_path / "m.npz")
    assert f"{word}, not a regular file" in refused("predict", "m.npz", cwd=tmp_path)


def test_a_model_beyond_the_free_memory_is_refused_before_it_is_read(tmp_path):
    saved(tmp_path / "m.npz")
    with pytest.raises(DataError, match="its parameters take 304 B, and 303 B are free"):
        load_snapshot(tmp_path / "m.npz", free_bytes=303)
    load_snapshot(tmp_path / "m.npz", free_bytes=304)


def test_more_examples_than_answers_can_be_kept_for_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((100_000, 3)))
    with pytest.raises(DataError, match=r"takes 1\.5 MiB of memory"):
        next(
            Examples(str(tmp_path / "x.npz"), MLP(input_size=3, output_size=2), free_bytes=1_900_000).blocks(
                1
            )
        )
    next(Examples(str(tmp_path / "x.npz"), MLP(input_size=3, output_size=2), free_bytes=2_000_000).blocks(1))


@pytest.mark.parametrize("batch", [1, 3, 7, 40, 1000])
@pytest.mark.parametrize("block", [1, 5, 64])
@pytest.mark.parametrize("name", ["x.csv", "x.npz", "columns.npz"])
def test_examples_come_whole_batches_at_a_time_in_their_order(name, block, batch, tmp_path, monkeypatch):
    x, y = np.arange(300, dtype="f4").reshape(100, 3) / 8, np.arange(100) % 2
    np.savetxt(tmp_path / "x.csv", np.column_stack([x, y]), delimiter=",")
    np.savez(tmp_path / "x.npz", x=x, y=y)
    np.savez(tmp_path / "columns.npz", x=np.asfortranarray(x), y=y)
    monkeypatch.setattr("memtrain.training.csv_file._BLOCK_BYTES", 50 * block)
    monkeypatch.setattr("memtrain.training.table.BLOCK_BYTES", 12 * block)
    examples = Examples(str(tmp_path / name), MLP(input_size=3, output_size=2))
    blocks = list(examples.blocks(batch))
    np.testing.assert_array_equal(np.concatenate([found for found, _ in blocks]), x)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in blocks]), y)
    rows = -(-block // batch) * batch
    assert [len(found) for found, _ in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert len(blocks) == -(-100 // rows)
    whole = name == "columns.npz"
    assert examples.most_bytes == (1200 if whole else max(20 * len(found) for found, _ in blocks))


def test_numbers_that_count_are_names_only_where_the_last_is_no_label(tmp_path):
    (tmp_path / "x.csv").write_text("1,2,3,4\n5,6,7,1\n")
    examples = Examples(str(tmp_path / "x.csv"), MLP(input_size=3, output_size=2))
    ((x, y),) = examples.blocks(10)
    assert (x.tolist(), y.tolist()) == ([[5, 6, 7]], [1])
    assert "names of the columns" in examples.note
    for inputs, outputs in ((3, 5), (4, 2)):
        examples = Examples(str(tmp_path / "x.csv"), MLP(input_size=inputs, output_size=outputs))
        ((x, _),) = examples.blocks(10)
        assert len(x) == 2
        assert "read as an example" in examples.note


def test_a_fault_in_a_late_example_leaves_no_file_and_is_said_with_its_number(tmp_path):
    saved(tmp_path / "m.npz")
    (tmp_path / "x.csv").write_text("1,2,3\n" * 50_000 + "1,x,3\n")
    said = called("predict", "m.npz", "x.csv", cwd=tmp_path)
    assert said.code == 2
    assert "example 50001 is not numeric" in said.err
    assert 1 < said.out.count("\n") <= 50_001
    assert "example 50001" in refused("predict", "m.npz", "x.csv", "--export-csv", "out.csv", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.npz", "x.csv"]


def test_results_are_shown_before_an_output_that_turns_out_to_be_full(tmp_path):
    (tmp_path / "full.npz").symlink_to("/dev/full")
    said = called("train", "--epochs", 1, "--width", 8, "--save", "full.npz", cwd=tmp_path)
    assert (said.code, "test accuracy" in said.out) == (1, True)
    assert "No space left" in said.err
    saved(tmp_path / "m.npz")
    (tmp_path / "x.csv").write_text("1,2,3,1\n" * 40_000)
    said = called("predict", "m.npz", "x.csv", "--json", "--export-csv", "/dev/full", cwd=tmp_path)
    assert said.code == 1
    assert len(strict_json(said.out)["labels"]) == 40_000
    assert "40,000 examples" in said.err
    assert "No space left" in said.err


def test_training_and_predicting_say_what_the_data_take(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((100, 3)), y=np.arange(100) % 2)
    line = ("train", "--data", "x.npz", "--epochs", 1, "--width", 4, "--save", "m.npz")
    # x 1,200 B, y 800 B, a byte per row number, and a byte for the order of each of 80 training examples
    assert strict_json(called(*line, "--json", cwd=tmp_path).out)["data_bytes"] == 2180
    assert "memory of the data" in called(*line, "--force", cwd=tmp_path).out
    assert strict_json(called("predict", "m.npz", "x.npz", "--json", cwd=tmp_path).out)["data_bytes"] == 2000
    assert "the data take another 2.0 KiB." in called("predict", "m.npz", "x.npz", cwd=tmp_path).err


def test_the_peak_of_predicting_names_the_batch_that_it_is_of(tmp_path):
    said = called("train", "--epochs", 1, "--width", 8, "--batch", 2000, cwd=tmp_path)
    assert "peak memory of predicting a batch of 359 " in said.out
