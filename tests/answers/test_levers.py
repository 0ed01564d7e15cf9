"""Combinations of levers, compared with trying all of them, and the answer if nothing fits."""

from __future__ import annotations

import json
import random
import shlex
from dataclasses import replace
from itertools import product

import pytest
from command_line import called
from fake_host import altered

from memtrain.answers.lever_peaks import Peaks
from memtrain.answers.levers import MOST_MICRO_BATCHES, WORTHWHILE, most_accumulate
from memtrain.answers.option import ROUNDING, Kind
from memtrain.answers.trial import measure_ways
from memtrain.answers.ways import find_ways
from memtrain.cells.cell import Mode, cell_of
from memtrain.measure.pairs import likeness_meter
from memtrain.measure.workload import Bench
from memtrain.models.mlp import ACTIVATIONS
from memtrain.planning.cost import flops
from memtrain.planning.liveness import analyse
from memtrain.planning.remat.rematerialisation import smallest_budget
from memtrain.report.ways import ways_sections
from memtrain.report.ways_findings import advice, ways_sentences
from memtrain.report.ways_problems import ways_problems
from memtrain.training.optimizers import OPTIMIZERS

WIDE = cell_of(
    depth=1, width=256, output_size=50_000, batch=512, l2=0, data="synthetic", cost="flops"
)  # 64, 256, 50000
DEEP = cell_of(depth=16, batch=256, cost="flops")


def kept_bytes(cell):
    return analyse(cell.keep_all(Mode.TRAIN)).peak_bytes


def least_bytes(cell):
    return smallest_budget(cell.keep_all(Mode.TRAIN))


def combinations(cell):
    """All combinations of levers of a cell, without any shortcut."""
    divisors = [count for count in range(1, cell.batch + 1) if cell.batch % count == 0]
    choices = ({cell.update, "eager"}, {cell.optimizer, "sgd"}, {cell["dtype"], "float32"}, divisors)
    names = ("update", "optimizer", "dtype", "accumulate")
    return [cell.changed(**dict(zip(names, values, strict=True))) for values in product(*choices)]


def changes(cell, other):
    """The number of settings that change the training: optimiser and dtype."""
    return (cell.optimizer != other.optimizer) + (cell["dtype"] != other["dtype"])


def random_cell(rng):
    depth = rng.randint(0, 4)
    return cell_of(
        depth=depth,
        width=tuple(rng.choice([1, 3, 8, 30]) for _ in range(depth)) or 1,
        batch=rng.choice([6, 8, 12, 15, 30]),
        activation=rng.choice(["relu", "gelu", "tanh", "identity"]),
        bias=rng.random() < 0.5,
        optimizer=rng.choice(OPTIMIZERS),
        l2=rng.choice([0, 1e-4]),
        dtype=rng.choice(["float32", "float64"]),
        update=rng.choice(["deferred", "eager"]),
        data="synthetic",
        input_size=rng.choice([1, 5, 40]),
        output_size=rng.choice([2, 10, 100]),
        cost="flops",
        steps=2,
    )


# -- by hand -------------------------------------------------------------------------------------------


def test_where_only_micro_batches_fit_the_fewest_that_do_are_the_answer():
    """The peak is at ∂W2 of the last micro-batch, with the sums, the parameters and the batch live."""
    weights = 4 * (64 * 256 + 256 * 50_000)

    def peak(count):
        rows = 512 // count
        batch = 512 * (4 * 64 + 8)
        product = 4 * 256 * 50_000  # ∂W2, before it is added to its sum
        return batch + 2 * weights + product + 4 * rows * (50_000 + 256) + 4  # ∂o, h1 and the loss

    ways = find_ways(WIDE, 160 * 2**20)
    assert (ways.chosen.kind, ways.chosen.name) == (Kind.LEVER, "--accumulate 8")
    assert ways.chosen.predicted_peak_bytes == peak(8) == 166_731_780
    assert peak(4) > 160 * 2**20
    assert kept_bytes(WIDE.changed(update="eager")) > 160 * 2**20
    assert least_bytes(WIDE.changed(update="eager")) > 160 * 2**20


def test_where_only_a_combination_fits_it_is_the_answer():
    memory = 6 * 2**20
    ways = find_ways(DEEP, memory)
    assert ways.chosen.name == "--update eager, budget:6MiB"
    assert ways.chosen in ways.levers
    assert ways.chosen.predicted_peak_bytes <= memory
    singles = [DEEP.changed(update="eager"), *(DEEP.changed(accumulate=2**k) for k in range(1, 7))]
    assert min(map(kept_bytes, singles)) > memory
    assert min(map(least_bytes, [DEEP, *singles[1:]])) > memory


def test_where_nothing_fits_the_answer_is_the_largest_batch_that_does():
    memory = 4_718_592
    ways = find_ways(DEEP, memory)
    assert ways.chosen is None
    batch = ways.smaller.cell.batch
    assert ways.smaller.predicted_peak_bytes <= memory
    assert find_ways(DEEP.changed(batch=batch), memory).chosen is not None
    assert find_ways(DEEP.changed(batch=batch + 1), memory).chosen is None
    assert f"The largest batch that fits is {batch}" in ways_sentences(ways)[0]
    assert f"--batch {batch} " in advice(ways)


def test_where_not_even_one_example_fits_the_answer_is_the_memory_that_is_needed():
    parameters = 4 * (64 * 256 + 15 * 256 * 256 + 256 * 10)
    ways = find_ways(DEEP, parameters)
    assert (ways.chosen, ways.smaller) == (None, None)
    assert ways.parameter_bytes == parameters == 4_007_936
    assert "The parameters alone need 3.8 MiB" in ways_sentences(ways)[0]
    assert "Not even a batch of one example fits." in ways_sentences(ways)[0]
    assert f"--memory {ways.least_bytes}B " in advice(ways)
    assert find_ways(DEEP, ways.least_bytes).chosen.predicted_peak_bytes <= ways.least_bytes
    assert find_ways(DEEP, ways.least_bytes - 1).chosen is None


def test_a_lever_that_needs_more_than_changing_nothing_is_no_option_but_a_sentence():
    cell = DEEP.changed(batch=4)
    ways = find_ways(cell, kept_bytes(cell) - 1)
    ((name, peak),) = ways.left_out
    assert (name, peak) == ("--accumulate 4", kept_bytes(cell.changed(accumulate=4)))
    assert peak > kept_bytes(cell)
    assert all(option.predicted_peak_bytes <= kept_bytes(cell) for option in ways.options)
    assert any("--accumulate 4 is left out" in sentence for sentence in ways_sentences(ways))


def test_what_changes_the_training_comes_last():
    adam = DEEP.changed(depth=4, optimizer="adam", dtype="float64", batch=64)
    memory = min(least_bytes(cell) for cell in combinations(adam) if not changes(adam, cell))
    assert changes(adam, find_ways(adam, memory).chosen.cell) == 0
    assert changes(adam, find_ways(adam, memory - 1).chosen.cell) == 1
    both = find_ways(adam, least_bytes(adam.changed(optimizer="sgd", dtype="float32", update="eager")))
    assert (both.chosen.cell.optimizer, both.chosen.cell["dtype"]) == ("sgd", "float32")


def test_a_cheaper_lever_is_named_beside_a_plan():
    cell = cell_of(depth=32, batch=2048, cost="flops")
    ways = find_ways(cell, 64 * 2**20)
    assert ways.chosen.kind is Kind.CHOSEN
    assert ways_sentences(ways)[1] == (
        "--accumulate 2 fits too: an iteration takes the same FLOPs (predicted). "
        "The plan comes first because it leaves every bit of the gradients as it is."
    )


# -- against trying all --------------------------------------------------------------------------------


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(1, 9))
def test_peaks_of_many_micro_batches_are_foreseen_to_the_byte(seed):
    cell, peaks = random_cell(random.Random(seed)), Peaks()
    for other in combinations(cell):
        assert peaks.kept_bytes(other) == kept_bytes(other)
        assert peaks.least_bytes(other) == least_bytes(other)
        assert peaks.standing_bytes(other) <= least_bytes(other)


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(1, 9))
def test_the_least_memory_is_that_of_the_best_of_all_combinations(seed):
    cell = random_cell(random.Random(100 + seed))
    least = min(map(least_bytes, combinations(cell)))
    assert find_ways(cell, least).chosen.predicted_peak_bytes <= least
    ways = find_ways(cell, least - 1)
    assert (ways.chosen, ways.least_bytes) == (None, least)


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(1, 9))
def test_the_answer_is_as_cheap_as_the_best_of_all_combinations(seed):
    rng = random.Random(200 + seed)
    cell = random_cell(rng)

    def cost(schedule):
        return sum(flops(schedule.graph, schedule.graph[step.node]) for step in schedule.steps)

    least = min(map(least_bytes, combinations(cell)))
    memory = rng.randint(least, kept_bytes(cell))
    found = {}
    for other in combinations(cell):
        schedule = other.keep_all(Mode.TRAIN)
        if analyse(schedule).peak_bytes > memory:
            if smallest_budget(schedule) > memory:
                continue
            schedule = other.changed(policy=f"budget:{memory}").schedule(Mode.TRAIN)
        found.setdefault(changes(cell, other), []).append(cost(schedule))
    chosen = find_ways(cell, memory).chosen
    assert chosen.predicted_peak_bytes <= memory
    assert changes(cell, chosen.cell) == min(found)
    if chosen.kind is Kind.LEVER:
        best = min(found[min(found)]) / cost(cell.keep_all(Mode.TRAIN)) - 1
        assert chosen.predicted_extra <= best + WORTHWHILE


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", [1, 3, 4, 5, 6, 8])  # trying all takes many seconds with some others
def test_the_largest_batch_is_that_of_trying_all(seed):
    rng = random.Random(300 + seed)
    cell = random_cell(rng)
    least = min(map(least_bytes, combinations(cell)))
    memory = rng.randint(least // 2, least - 1)
    batches = range(cell.batch, 0, -1)
    fitting = (
        batch
        for batch in batches
        if min(map(least_bytes, combinations(cell.changed(batch=batch, accumulate=1)))) <= memory
    )
    smaller = find_ways(cell, memory).smaller
    assert (smaller and smaller.cell.batch) == next(fitting, None)
    assert smaller is None or smaller.predicted_peak_bytes <= memory


def test_more_micro_batches_than_can_be_written_down_are_not_tried_and_that_is_said():
    cell = cell_of(depth=0, batch=4 * MOST_MICRO_BATCHES, cost="flops")
    assert most_accumulate(cell) == MOST_MICRO_BATCHES
    ways = find_ways(cell, 2**20)
    assert ways.chosen is None
    assert "More than 1,024 micro-batches were not tried." in ways_sentences(ways)[0]
    assert ways.smaller.predicted_peak_bytes <= 2**20


# -- gradients of micro-batches ------------------------------------------------------------------------


@pytest.mark.no_cover
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_micro_batches_are_equal_in_float64_with_every_seed(activation):
    bench = Bench()
    for seed in range(8):
        cell = cell_of(
            depth=4, width=64, batch=96, activation=activation, seed=seed, steps=2, dtype="float64"
        )
        found = likeness_meter(bench, cell.changed(accumulate=2), Mode.TRAIN, cell)
        assert found["largest_difference"] < 1e-13


BASE = cell_of(depth=6, width=16, batch=64, cost="flops", steps=2)


@pytest.fixture
def planned():
    """The ways of a small cell, with a plan on two micro-batches as the only option."""
    micro = BASE.changed(accumulate=2)
    memory = (least_bytes(micro) + kept_bytes(micro)) // 2
    cell = micro.changed(policy=f"budget:{memory}")
    ways = find_ways(BASE, None)
    peak = analyse(cell.schedule(Mode.TRAIN)).peak_bytes
    lever = replace(ways.levers[-1], name="both", cell=cell, predicted_peak_bytes=peak, exact=False)
    return replace(ways, levers=(lever,))


def test_micro_batches_and_a_plan_on_top_are_compared_one_after_the_other(planned):
    asked = []

    def spy(real, meter, cell, other):
        if meter == "likeness":
            asked.append((cell, other))
        return real()

    with altered(spy) as host:
        (found,) = measure_ways(host, planned).levers
    micro = BASE.changed(accumulate=2)
    assert asked == [
        (planned.levers[0].cell, micro),
        (micro.changed(dtype="float64"), BASE.changed(dtype="float64")),
    ]
    assert found.ok
    assert found.changed_by_plan == ()
    assert 0 < found.largest_difference < 1e-13


def test_the_note_on_micro_batches_is_there_if_and_only_if_the_table_compares_some(planned):
    compared = replace(planned.levers[0], differing=(), largest_difference=1e-15)
    for ways, noted in (
        (planned, False),
        (replace(planned, levers=()), False),
        (replace(planned, levers=(compared,)), True),
    ):
        (section,) = ways_sections(ways)
        assert any("are compared in float64" in sentence for sentence in section.sentences) is noted
        assert any("to 1e-15" in line for line in section.lines) is noted


@pytest.mark.parametrize(
    ("dtype", "said"), [("float32", "the plan changes bits of ∂W1"), ("float64", "more than rounding")]
)
def test_a_difference_that_rounding_cannot_make_is_a_failure(planned, dtype, said):
    def likeness(real, meter, cell, other):
        figures = real()
        if meter == "likeness" and cell["dtype"] == dtype:
            figures |= {"differing": ["∂W1"], "largest_difference": 2 * ROUNDING}
        return figures

    with altered(likeness) as host:
        found = measure_ways(host, planned)
    assert not found.levers[0].ok
    (problem,) = ways_problems(found)
    assert said in problem


# -- the command ---------------------------------------------------------------------------------------


def test_a_lever_that_fits_is_an_answer_and_ends_with_0(tmp_path):
    network = ("--depth", 6, "--width", 64, "--batch", 128)
    small = ("plan", *network, "--memory", "245KiB", "--cost", "flops")
    said = called(*small, "--export-json", "p.json", cwd=tmp_path)
    assert said.code == 0
    predicted, running = said.err.splitlines()  # before the options are run
    assert predicted.startswith("Without recomputation, training needs 374 KiB")
    assert running == "Each option is run now (4); --no-measure leaves this out."
    assert "Training fits with --update eager, budget:245KiB (peak " in " ".join(said.out.split())
    document = json.loads((tmp_path / "p.json").read_text())
    assert document["fits"] is True
    assert document["chosen"] == "--update eager, budget:245KiB"
    (option,) = (each for each in document["options"] if each["name"] == document["chosen"])
    assert option["ledger_peak_bytes"] == option["predicted_peak_bytes"] <= 245 * 2**10
    assert option["differing"] == []
    assert document["advice"] == option["command"]
    assert called(*shlex.split(option["command"])[1:], "--epochs", 1, cwd=tmp_path).code == 0


def test_where_nothing_fits_the_advice_can_be_followed(tmp_path):
    said = called(
        *("plan", "--depth", 16, "--batch", 256, "--memory", "4.5MiB", "--cost", "flops"),
        *("--no-measure", "--json"),
        cwd=tmp_path,
    )
    assert said.code == 1
    assert "nothing fits into 4.5 MiB" in said.err
    document = json.loads(said.out)
    assert (document["fits"], document["chosen"]) == (False, None)
    assert document["parameter_bytes"] == 4_007_936
    words = shlex.split(document["advice"])
    assert words[words.index("--batch") + 1] == str(document["largest_batch"])
    trained = called(*words[1:], "--epochs", 1, "--json", cwd=tmp_path)
    assert json.loads(trained.out)["training_peak_bytes"] <= 4.5 * 2**20


def test_results_are_shown_and_other_exports_written_where_one_cannot_be(tmp_path):
    said = called(
        *("plan", "--depth", 2, "--memory", "4MiB", "--no-measure", "--cost", "flops"),
        *("--export-csv", "/dev/full", "--export-json", "p.json", "--export-markdown", "p.md"),
        cwd=tmp_path,
    )
    assert said.code == 1
    assert "This fits into 4 MiB: nothing has to change." in " ".join(said.out.split())
    assert "/dev/full" in said.err
    assert json.loads((tmp_path / "p.json").read_text())["fits"] is True
    assert (tmp_path / "p.md").exists()


def test_another_number_is_no_misspelling(tmp_path):
    said = called("plan", "--memory", "1MiB", "--dtype", "float16", cwd=tmp_path)
    assert said.code == 2
    assert "dtype 'float16' is not known; choose float32 or float64" in said.err
    assert "did you mean gelu_tanh?" in called("train", "--activation", "gelutanh", cwd=tmp_path).err
