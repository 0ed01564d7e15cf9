"""The functions in Python: they give the same answers as the commands."""

from __future__ import annotations

import copy
import csv
import json

import pytest
from command_line import called

import memtrain

SMALL = {"width": 16, "batch": 32}
OPTIONS = ("--width", 16, "--batch", 32)


def document(tmp_path, *words):
    """The JSON of a command, without the command line and the environment."""
    said = called(*words, "--json", cwd=tmp_path)
    assert said.code == 0, said.err
    return {k: v for k, v in json.loads(said.out).items() if k not in ("command", "environment", "config")}


def same(answer, wanted):
    """Whether an answer equals ``wanted``, the JSON of a command."""
    return {k: v for k, v in answer.to_dict().items() if k in wanted} == wanted


def test_explain_is_the_command(tmp_path):
    answer = memtrain.explain(depth=2, measure=False, **SMALL)
    assert same(answer, document(tmp_path, "explain", "--depth", 2, *OPTIONS, "--no-measure"))
    assert answer.ok


def test_explain_has_the_defaults_of_the_command(tmp_path):
    cell = memtrain.explain(measure=False).explanation.cell
    assert (cell["depth"], cell.batch) == (16, 1024)
    assert memtrain.explain(measure=False, layers=[8, 4, 2]).explanation.cell["depth"] == 1


def test_plan_is_the_command(tmp_path):
    network = {"depth": 8, "width": 16, "batch": 256, "cost": "flops"}
    answer = memtrain.plan("200KiB", points=3, measure=False, **network)
    words = ("--depth", 8, "--width", 16, "--batch", 256, "--cost", "flops", "--pareto", "--points", 3)
    assert same(answer, document(tmp_path, "plan", "--memory", "200KiB", *words, "--no-measure"))
    assert memtrain.plan(200 * 1024, measure=False, **network).chosen.name == answer.chosen.name


def test_frontier_is_the_command_with_ranges_as_texts_or_lists(tmp_path):
    wanted = document(
        tmp_path, "frontier", "--memory", "1MiB", "--depth", "1,2,4", "--batch", "8,64", "--no-confirm"
    )
    for depth, batch in (("1:4:x2", "8,64"), ([1, 2, 4], [8, 64])):
        answer = memtrain.frontier("1MiB", depth=depth, batch=batch, confirm=False)
        assert same(answer, wanted)


def test_train_is_the_command_and_saves_the_same_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = memtrain.train(epochs=2, depth=1, save="mine.npz", **SMALL)
    said = called(
        "train", "--epochs", 2, "--depth", 1, *OPTIONS, "--threads", 1, "--save", "its.npz", cwd=tmp_path
    )
    assert said.code == 0
    assert f"{100 * answer.trained.test_accuracy:.2f} %" in said.out
    assert len(answer.to_records()) == 2
    predicted = [called("predict", name, cwd=tmp_path).out for name in ("mine.npz", "its.npz")]
    assert predicted[0] == predicted[1]
    with pytest.raises(memtrain.MemtrainError, match=r"mine\.npz"):
        memtrain.train(epochs=1, save="mine.npz", **SMALL)


def test_an_answer_is_saved_in_every_format_of_the_command(tmp_path):
    answer = memtrain.explain(depth=2, measure=False, **SMALL)
    for name in ("a.csv", "a.json", "a.md", "a.html"):
        answer.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    with (tmp_path / "a.csv").open(newline="") as file:
        names = [line["name"] for line in csv.DictReader(file)]
    assert names == [record["name"] for record in answer.to_records()]
    with pytest.raises(memtrain.MemtrainError, match="does not end with"):
        answer.save(tmp_path / "a.xlsx")
    with pytest.raises(memtrain.MemtrainError, match=r"a\.csv"):
        answer.save(tmp_path / "a.csv")


def test_records_have_numbers_and_no_texts_of_numbers():
    (first, *_) = memtrain.explain(depth=2, measure=False, **SMALL).to_records()
    assert first["bytes"] == 32 * 16 * 4
    assert first["computed_steps"] is None


def test_an_answer_can_be_copied_and_says_which_attribute_it_lacks():
    answer = memtrain.explain(depth=1, measure=False, **SMALL)
    assert copy.copy(answer).explanation is answer.explanation
    with pytest.raises(AttributeError, match="nothing_such"):
        answer.nothing_such  # noqa: B018


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: memtrain.explain(depht=2), "did you mean depth"),
        (lambda: memtrain.explain(depth="1,2"), "depth"),
        (lambda: memtrain.plan(), "needs a memory or points"),
        (lambda: memtrain.plan("64M"), "64MiB"),
        (lambda: memtrain.frontier("lots"), "memory"),
        (lambda: memtrain.frontier("1MiB", depth="1:8"), "range without a step"),
        (lambda: memtrain.train(threads=2), "OPENBLAS_NUM_THREADS"),
        (lambda: memtrain.train(lr=-1), "-1"),
        (lambda: memtrain.frontier("1MiB", policy="sqrt"), "grow with batch and depth"),
        (lambda: memtrain.frontier("1MiB", layers=[8, 4]), "varies the depth"),
        (lambda: memtrain.plan("1MiB", allocation="packed"), "in an arena"),
        (lambda: memtrain.explain(threads=2), "one BLAS thread"),
        (lambda: memtrain.train(input_size=3), "from the data"),
        (lambda: memtrain.train(epochs=0), "epochs"),
    ],
)
def test_a_mistake_is_refused_with_a_way_out(call, said):
    with pytest.raises(memtrain.MemtrainError, match=said) as caught:
        call()
    assert len(str(caught.value)) < 500
