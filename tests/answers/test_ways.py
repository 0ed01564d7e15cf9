"""Ways to make a cell fit: how they are found, measured and shown."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from dataclasses import replace

import pytest
from command_line import called
from fake_host import altered

from memtrain.answers.option import Kind, command_of
from memtrain.answers.trial import measure_ways
from memtrain.answers.ways import find_ways
from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.columns import FAMILIES
from memtrain.cells.usual import with_trained
from memtrain.cli.grid import cell_from
from memtrain.errors import ChildFailed
from memtrain.measure.host import Host
from memtrain.planning.liveness import analyse
from memtrain.planning.remat.rematerialisation import smallest_budget
from memtrain.report.html import ways_html
from memtrain.report.markdown import markdown
from memtrain.report.section import Origin
from memtrain.report.ways import COLUMNS, equality, ways_csv, ways_sections
from memtrain.report.ways_findings import ways_sentences
from memtrain.report.ways_problems import ways_problems
from memtrain.units import parse_bytes

CELL = cell_of(depth=12, width=32, batch=256, cost="flops")
SMALL = ("plan", "--depth", "12", "--width", "32", "--batch", "256", "--cost", "flops")


def predicted(cell):
    return analyse(cell.schedule(Mode.TRAIN)).peak_bytes


@pytest.fixture(scope="module")
def measured():
    """The measured frontier of a small cell, with a plan for half of the memory that the cell needs."""
    ways = find_ways(CELL, predicted(CELL) * 2 // 3, points=3)
    rules = [rule for rule in ways.rules if rule.name in ("sqrt", "revolve:4")]
    with Host() as host:
        return measure_ways(host, replace(ways, rules=tuple(rules)))


# -- finding -----------------------------------------------------------------------------------------


def test_a_cell_that_fits_needs_no_plan():
    ways = find_ways(CELL, predicted(CELL))
    assert ways.chosen is ways.keep_all
    assert "fits into" in ways_sentences(ways)[0]


def test_a_byte_less_than_keep_all_gets_a_plan_within_it():
    ways = find_ways(CELL, predicted(CELL) - 1)
    assert ways.chosen.kind is Kind.CHOSEN
    assert ways.chosen.predicted_peak_bytes < predicted(CELL)
    assert ways.chosen.executed_count > 0


def test_if_no_plan_fits_a_lever_is_chosen_and_the_least_bytes_of_a_plan_are_named():
    least = smallest_budget(CELL.keep_all(Mode.TRAIN))
    assert find_ways(CELL, least).chosen.predicted_peak_bytes == least
    ways = find_ways(CELL, least - 1)
    assert ways.chosen.kind is Kind.LEVER
    assert f"{least:,} B" in ways_sentences(ways)[0]


def test_the_points_of_the_frontier_go_from_the_smallest_plan_to_keep_all_and_get_cheaper():
    ways = find_ways(CELL, None, points=20)
    peaks = [point.predicted_peak_bytes for point in ways.points]
    extras = [point.predicted_extra for point in ways.points]
    assert peaks == sorted(set(peaks))
    assert extras == sorted(extras, reverse=True)
    assert (peaks[0], peaks[-1]) == (ways.keep_all.least_bytes, predicted(CELL))
    assert extras[-1] == 0
    assert {option.name for option in ways.rules} >= {"sqrt", "revolve:4"}


def test_no_rule_is_cheaper_than_the_plan_for_its_peak():
    for rule in find_ways(CELL, None, points=2).rules:
        plan = find_ways(CELL, rule.predicted_peak_bytes).chosen
        assert plan.predicted_extra <= rule.predicted_extra + 1e-12


def test_the_levers_are_those_that_are_left():
    assert [lever.name for lever in find_ways(CELL, None).levers] == ["--update eager", "--accumulate 2"]
    adam = CELL.changed(optimizer="adam", update="eager", batch=255, dtype="float64")
    names = ["--optimizer sgd", "--accumulate 3", "--dtype float32"]
    assert [lever.name for lever in find_ways(adam, None).levers] == names


def test_a_lever_that_is_not_enough_alone_is_tried_with_a_plan():
    memory = smallest_budget(CELL.keep_all(Mode.TRAIN)) - 4096
    ways = find_ways(CELL, memory)
    names = [lever.name for lever in ways.levers]
    assert f"--update eager, budget:{memory}" in [re.sub(r"budget:.*", f"budget:{memory}", n) for n in names]
    assert all(lever.predicted_peak_bytes <= memory for lever in ways.levers if lever.cell.policy != "none")


def test_measuring_says_of_each_option_what_it_held_and_took(measured):
    assert measured.chosen.executed_count
    for option in measured.options:
        assert option.ok, (option.name, option.row["reason"])
        assert option.ledger_peak_bytes == option.predicted_peak_bytes
        allowed = max(option.predicted_peak_bytes // 1000, 16 * 1024)
        assert abs(option.heap_peak_bytes - option.predicted_peak_bytes) <= allowed
        assert option.step_s > 0
        if option.kind is not Kind.KEEP_ALL:
            assert option.time_ratio > 0
            assert option.differing is not None


def test_every_plan_gives_the_same_bits(measured):
    for option in (measured.chosen, *measured.points, *measured.rules):
        assert option.differing == ()


def test_accumulation_gives_the_same_up_to_rounding(measured):
    (lever,) = (option for option in measured.levers if option.cell.accumulate > 1)
    assert lever.differing
    assert lever.largest_difference < 1e-13
    assert equality(lever) == f"to {lever.largest_difference:.0e}"


# -- failures ----------------------------------------------------------------------------------------


def only_a_plan():
    """Ways with one plan besides keeping all, so that little is measured."""
    return replace(find_ways(CELL, predicted(CELL) - 1), rules=(), levers=())


def test_gradients_that_differ_are_a_failure():
    def likeness(real, meter, cell, other):
        if meter == "likeness":
            return {"differing": ["∂W1"], "compared_count": 3, "largest_difference": 0.5}
        return real()

    with altered(likeness) as host:
        ways = measure_ways(host, only_a_plan())
    assert not ways.chosen.ok
    assert "these differ from no recomputation in some bit: ∂W1" in ways_problems(ways)[0]


def test_a_pair_that_cannot_be_run_leaves_its_figures_empty_and_says_why():
    def broken(real, meter, cell, other):
        if other is not None:
            raise ChildFailed("killed", "the pace meter's process was ended by SIGKILL")
        return real()

    with altered(broken) as host:
        ways = measure_ways(host, only_a_plan())
    assert (ways.chosen.time_ratio, ways.chosen.differing) == (None, None)
    assert any("SIGKILL" in sentence for sentence in ways_sentences(ways))


def test_a_comparison_that_fails_in_itself_is_a_failure():
    def broken(real, meter, cell, other):
        if meter == "likeness":
            raise ChildFailed("error", "likeness meter: IndexError: tuple index out of range")
        return real()

    with altered(broken) as host:
        ways = measure_ways(host, only_a_plan())
    assert not ways.chosen.ok
    assert any("IndexError" in problem for problem in ways_problems(ways))


def test_the_likeness_meter_sees_a_difference():
    with Host() as host:
        other = CELL.changed(seed=1, steps=2)
        found = host.measure("likeness", CELL.changed(steps=2), Mode.TRAIN, None, other)
        same = host.measure("likeness", other, Mode.TRAIN, None, other)
    assert set(found["differing"]) == {f"{sign}W{k}" for k in range(1, 14) for sign in ("", "∂")}
    assert found["largest_difference"] > 0.1
    assert same == {"differing": [], "compared_count": 26, "largest_difference": 0.0}


# -- output ------------------------------------------------------------------------------------------


def test_the_csv_has_a_row_per_option_with_empty_fields_for_what_was_not_measured(measured):
    rows = list(csv.DictReader(io.StringIO(ways_csv(measured))))
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == len(measured.options)
    assert [row["name"] for row in rows] == [option.name for option in measured.options]
    only_predicted = list(csv.DictReader(io.StringIO(ways_csv(find_ways(CELL, None)))))
    assert {row["ledger_peak_bytes"] for row in only_predicted} == {""}


def test_the_markdown_has_the_command_the_table_and_the_findings(measured):
    text = markdown(ways_sections(measured), "memtrain plan")
    assert text.startswith("`memtrain plan`")
    assert text.count("\n| ") == len(measured.options) + 2
    assert "- Without recomputation, training needs" in text


def test_the_page_shows_peak_against_time_and_every_option(measured):
    page = ways_html(measured, Origin("memtrain plan"))
    assert "Ways to make training fit" in page
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.DOTALL)[1])
    assert {trace["name"] for trace in data["trade"]["data"]} >= {
        "plans, predicted",
        "sqrt",
        "none (no recomputation)",
    }
    assert len(data["rows"]) == len({option.cell for option in measured.options})


def test_each_command_trains_the_network_of_its_option(measured, tmp_path):
    for option in (measured.chosen, *measured.levers):
        words = shlex.split(command_of(option.cell))
        said = called(*words[1:], "--epochs", 1, "--json", cwd=tmp_path)
        found = json.loads(said.out)
        for name in ("policy", "update", "accumulate", "depth", "width", "batch", "cost"):
            assert found[name] == option.cell[name]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_command_of_each_family_trains_this_cell(family):
    for columns in ({}, {"optimizer": "adam"}, {"optimizer": "sgd", "batch": 32}):
        cell = cell_from({"model": family, **columns})
        words = shlex.split(command_of(cell))[2:]
        given = {name[2:]: value for name, value in zip(words[::2], words[1::2], strict=True)}
        numbers = {name: int(value) if value.isdigit() else value for name, value in given.items()}
        trained = cell_from(with_trained(numbers))
        assert trained.changed(allocation=cell.allocation, threads=cell.threads) == cell


def test_the_command_of_synthetic_data_is_a_sweep_of_one_cell(tmp_path):
    cell = cell_of(depth=2, width=(5, 6), batch=4, data="synthetic", input_size=7, output_size=3, bias=True)
    words = shlex.split(command_of(cell.changed(policy="sqrt")))
    said = called(*words[1:], "--dry-run", "--json", cwd=tmp_path)
    (row,) = json.loads(said.out)["rows"]
    assert (row["width"], row["input_size"], row["policy"], row["bias"]) == ("5-6", 7, "sqrt", True)


# -- the command -------------------------------------------------------------------------------------


def test_plan_shows_the_plan_in_80_columns(tmp_path):
    memory = predicted(CELL) - 10_000
    said = called(*SMALL, "--memory", memory, cwd=tmp_path)
    assert said.code == 0, said.err
    assert "recomputed once" in said.out
    assert "gradients and parameters are equal in every bit." in " ".join(said.out.split())
    assert max(map(len, said.out.splitlines())) <= 80
    assert "…" not in re.sub(r"\w+…\w+", "", said.out)


@pytest.mark.no_cover
def test_plan_ends_with_1_where_nothing_fits_and_names_the_least(tmp_path):
    plan = ("plan", "--depth", 4, "--width", 32, "--batch", 64, "--cost", "flops", "--no-measure")
    said = called(*plan, "--memory", "10KiB", cwd=tmp_path)
    assert said.code == 1
    least = re.search(r"\(([\d,]+) B\)", said.out)[1].replace(",", "")
    assert called(*plan, "--memory", least, cwd=tmp_path).code == 0
    assert called(*plan, "--memory", int(least) - 1, cwd=tmp_path).code == 1


def test_plan_gives_its_figures_as_json(tmp_path):
    said = called(
        *SMALL, "--memory", "100KiB", "--pareto", "--points", 3, "--no-measure", "--json", cwd=tmp_path
    )
    document = json.loads(said.out)
    assert document["fits"] is False
    kinds = [option["kind"] for option in document["options"]]
    assert kinds.count("point") == 3
    (keep_all, *_) = document["options"]
    assert keep_all["predicted_peak_bytes"] == predicted(CELL)
    assert all(option["row"] is None for option in document["options"])


def test_plan_asks_for_a_memory_or_for_the_frontier(tmp_path):
    said = called(*SMALL, cwd=tmp_path)
    assert said.code == 2
    assert "--memory" in said.err


def test_the_frontier_is_drawn_and_exported(tmp_path):
    said = called(*SMALL, "--pareto", "--points", 3, "--no-measure", "--export-csv", "p.csv", cwd=tmp_path)
    assert said.code == 0
    assert "Peak against extra FLOPs, predicted" in said.out
    assert re.search(r"\+\d+ % FLOPs\n", said.out)
    assert "time" not in said.out  # the plans minimise FLOPs, and nothing was measured
    assert (tmp_path / "p.csv").read_text().count("\npoint,") == 3
    again = called(*SMALL, "--pareto", "--no-measure", "--export-csv", "p.csv", cwd=tmp_path)
    assert again.code == 2
    assert "--force" in again.err


# -- other commands under a policy -------------------------------------------------------------------


def test_a_sweep_over_policies_has_a_row_each_and_one_that_fails_where_no_plan_fits(tmp_path):
    cell = ("--depth", 12, "--width", 32, "--batch", 256, "--mode", "train", "--meters", "ledger")
    policies = "none,sqrt,revolve:3,budget:500KiB,budget:9KiB"
    said = called("sweep", *cell, "--policy", policies, "--cost", "flops", "--json", cwd=tmp_path)
    assert said.code == 1
    rows = json.loads(said.out)["rows"]
    assert [row["policy"] for row in rows] == policies.split(",")
    *good, bad = rows
    assert all(row["ledger_peak_bytes"] == row["predicted_peak_bytes"] for row in good)
    assert good[3]["ledger_peak_bytes"] <= parse_bytes("500KiB", "")
    assert good[0]["peak_recomputed_bytes"] == 0 < good[1]["peak_recomputed_bytes"]
    assert (bad["status"], bad["ledger_peak_bytes"]) == ("memory_limit", None)
    assert "budget 9KiB is too small: the smallest plan needs" in bad["reason"]


def test_explain_says_what_a_policy_keeps_and_what_it_computes_again(tmp_path):
    network = ("explain", "--depth", 9, "--width", 32, "--batch", 64, "--policy", "sqrt")
    said = called(*network, "--prove", "--json", cwd=tmp_path)
    assert said.code == 0, said.err
    found = json.loads(said.out)
    kept = {entry["name"] for entry in found["retained"]}
    again = {entry["name"] for entry in found["recomputed"]}
    assert kept | again == {f"h{k}" for k in range(1, 10)} | {"logp"}
    assert kept & again == set()
    steps = {moment["step"]: moment for moment in found["timeline"]}
    for entry in found["recomputed"]:
        first, *more = entry["computed_steps"]
        assert (steps[first]["phase"], {steps[step]["phase"] for step in more}) == ("forward", {"recompute"})
        assert {steps[step]["node"] for step in entry["computed_steps"]} == {entry["name"]}
        assert entry["read_by"]
    text = called(*network, "--no-measure", "--full", cwd=tmp_path).out
    assert "Computed again (sqrt)" in text
    assert re.search(r"\d+ recompute +[zh]\d", text)


def test_training_under_a_budget_ends_with_the_same_weights(tmp_path):
    network = ("train", "--depth", 6, "--width", 32, "--batch", 128, "--epochs", 2, "--cost", "flops")
    assert called(*network, "--save", "plain.npz", cwd=tmp_path).code == 0
    plain = json.loads(called(*network, "--json", cwd=tmp_path).out)["training_peak_bytes"]
    budget = plain - 20_000
    said = called(*network, "--policy", f"budget:{budget}", "--save", "planned.npz", "--json", cwd=tmp_path)
    assert json.loads(said.out)["training_peak_bytes"] <= budget
    assert (tmp_path / "plain.npz").read_bytes() == (tmp_path / "planned.npz").read_bytes()
    said = called(*network, "--policy", "budget:1KiB", cwd=tmp_path)
    assert said.code == 2
    least = re.search(r"`--policy (budget:\w+)`", said.err)[1]
    assert called(*network, "--policy", least, cwd=tmp_path).code == 0


# -- rare cases --------------------------------------------------------------------------------------


def test_a_sweep_over_micro_batches_has_its_law(tmp_path):
    cells = ("--depth", "2,4", "--batch", "768,1536", "--meters", "heap", "--mode", "train")
    said = called("sweep", *cells, "--accumulate", "1,3", "--json", cwd=tmp_path)
    assert said.code == 0, said.err
    laws = json.loads(said.out)["laws"]
    assert {law["cells"][0]["accumulate"] for law in laws} == {1, 3}


def test_a_row_without_a_plan_does_not_keep_the_others_from_the_page(tmp_path):
    cells = ("--depth", "4,8", "--batch", 64, "--width", 16, "--mode", "train", "--meters", "ledger")
    least = smallest_budget(cell_of(depth=8, width=16, batch=64).keep_all(Mode.TRAIN))
    policies = ("--policy", f"none,budget:{least - 1}", "--cost", "flops")
    said = called("sweep", *cells, *policies, "--export-csv", "d.csv", "--html", "d.html", cwd=tmp_path)
    assert said.code == 1, said.err
    assert "is too small: the smallest plan needs" in (tmp_path / "d.html").read_text()
    assert called("report", "d.csv", "-o", "again.html", cwd=tmp_path).code == 0


@pytest.mark.parametrize(
    "options", [("--accumulate", 3), ("--policy", "budget:48KiB"), ("--policy", "sqrt")], ids=str
)
def test_a_memory_limit_goes_with_policies_and_micro_batches(tmp_path, options):
    network = ("--depth", 3, "--batch", 96, "--width", 8, "--cost", "flops")
    cell = (*network, "--mode", "train", "--meters", "ledger")
    said = called("sweep", *cell, *options, "--memory-limit", "64MiB", cwd=tmp_path)
    assert said.code == 0, said.out + said.err


def test_the_command_of_the_smallest_plan_runs(tmp_path):
    least = smallest_budget(CELL.keep_all(Mode.TRAIN))
    words = shlex.split(command_of(find_ways(CELL, least).chosen.cell))
    assert called(*words[1:], "--epochs", 1, cwd=tmp_path).code == 0


def test_a_view_that_is_taken_again_is_no_stage_that_is_computed_again():
    cell = cell_of(depth=3, width=8, batch=16, activation="identity", cost="flops")
    ways = find_ways(cell, None, points=6)
    assert ways.points[-1].executed_count == 0
    for point in ways.points:
        assert (point.executed_count > 0) == any(times for _, times in point.values)


@pytest.mark.no_cover
def test_with_many_widths_a_plan_for_the_smallest_budget_is_no_dearer_than_one_for_a_little_more():
    widths = tuple(16 + (k * 7919) % 509 for k in range(40))
    cell = cell_of(depth=40, width=widths, batch=333, cost="flops")
    least = smallest_budget(cell.keep_all(Mode.TRAIN))
    found = find_ways(cell, least).chosen
    more = find_ways(cell, least + least // 500).chosen
    assert found.predicted_peak_bytes <= least
    if more.predicted_peak_bytes <= least:
        assert found.predicted_extra <= more.predicted_extra


def test_a_heap_beyond_its_tolerance_is_a_failure():
    def leaky(real, meter, cell, other):
        figures = real()
        if meter == "heap":
            figures["heap_peak_bytes"] += 10**6
        return figures

    with altered(leaky) as host:
        ways = measure_ways(host, replace(find_ways(CELL, predicted(CELL)), rules=(), levers=()))
    assert any("off the ledger" in problem for problem in ways_problems(ways))
