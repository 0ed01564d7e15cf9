"""Pages, pictures and tables with cells that failed, that have no plan, or that lack one mode."""

from __future__ import annotations

import io
import json
import re

import pytest
from command_line import called, refused
from rich.console import Console

from memtrain import timeline_figure
from memtrain.answers.swept import Swept
from memtrain.cells.cell import BOTH, Mode, cell_of
from memtrain.cells.columns import STATUSES
from memtrain.cells.row import Row, planned_row, predicted_row
from memtrain.report.cell_plots import timeline_plot
from memtrain.report.groups import groups_of
from memtrain.report.html import report_html
from memtrain.report.lifelines import of_cell
from memtrain.report.maps import outcomes_of
from memtrain.report.markdown import markdown
from memtrain.report.static import draw_pictures
from memtrain.report.swept import swept_sections
from memtrain.report.terminal.sweep import sweep_tables
from memtrain.report.terminal.table import fitted
from memtrain.sweeps.results import read_results
from memtrain.sweeps.store import rows_csv

MODES = {"both": tuple(Mode), "train": (Mode.TRAIN,), "infer": (Mode.INFER,)}

NO_PLAN = "budget:30KiB"
"""A budget that is too small for any plan of training at depth 3, width 16 and batch 64."""


def failing_cell(policy="none", **known):
    return cell_of(depth=3, width=16, batch=64, policy=policy, cost="flops", **known)


def failed(row, status, known):
    """A copy of ``row`` that ended with ``status``, with its prediction if ``known``."""
    if status != "ok":
        row.figures |= {} if known else dict.fromkeys(row.figures)
        row.figures |= {"status": status, "reason": f"<{status}>"}
    return row


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("known", [True, False], ids=["predicted", "nothing"])
@pytest.mark.parametrize("modes", MODES)
@pytest.mark.parametrize("policy", ["none", NO_PLAN])
def test_a_file_of_any_status_makes_a_page_with_its_rows_and_reasons(status, known, modes, policy, tmp_path):
    path = tmp_path / "x.csv"
    rows = [failed(planned_row(failing_cell(policy), mode), status, known) for mode in MODES[modes]]
    path.write_text(rows_csv(rows))
    page = report_html(read_results(path).rows, budget_bytes=45_000)
    data = data_of(page)
    assert len(data["rows"]) == len(rows)
    (cell,) = data["groups"][0]["cells"]
    assert all(len(cell[figure]["reading"]) > 20 for figure in ("timeline", "lives"))
    if status != "ok":
        assert len(re.findall(rf'<td class="text">{status}: &lt;{status}&gt;', page)) == len(rows)


@pytest.mark.parametrize("policy", ["none", NO_PLAN])
def test_pictures_are_drawn_of_cells_of_every_status(policy, tmp_path):
    kinds = [(status, known, modes) for status in STATUSES for known in (True, False) for modes in MODES]
    rows = [
        failed(planned_row(failing_cell(policy).changed(batch=64 + place), mode), status, known)
        for place, (status, known, modes) in enumerate(kinds)
        for mode in MODES[modes]
    ]
    paths = draw_pictures(rows, tmp_path, formats=("svg",), budget_bytes=45_000)
    names = {path.stem for path in paths}
    assert names >= {"peak-by-batch", "fits", "timeline", "lives"}
    assert "peak-by-depth" not in names  # all cells have one depth
    assert all(path.stat().st_size > 1000 for path in paths)


def test_a_training_without_a_plan_is_said_and_inference_is_drawn():
    timeline, lives = of_cell(failing_cell(NO_PLAN))
    assert (timeline.train, lives.lives) == (None, ())
    assert [track.mode for track in timeline.tracks] == [Mode.INFER]
    assert timeline.reading.startswith(
        "At depth 3, batch 64, inference peaks at 30.6 KiB and retains nothing."
    )
    assert "Training has no plan: budget 30KiB" in timeline.reading
    assert lives.reading.startswith("Training has no plan: budget 30KiB")
    layout = timeline_plot(timeline)["layout"]
    assert layout["yaxis"]["title"]["text"] == "inference"
    assert "yaxis2" not in layout
    assert timeline_figure(failing_cell(NO_PLAN)).layout.yaxis.title.text == "inference"


def test_a_budget_without_a_plan_for_training_loses_no_page(tmp_path):
    cell = ("--depth", 3, "--width", 16, "--batch", 64, "--cost", "flops", "--policy", f"none,{NO_PLAN}")
    files = ("--export-csv", "b.csv", "--html", "b.html")
    said = called("sweep", *cell, "--meters", "ledger", *files, cwd=tmp_path)
    assert said.code == 1
    assert "budget:30KiB, train: memory_limit:" in " ".join(said.out.split())
    assert len(data_of((tmp_path / "b.html").read_text())["rows"]) == 4
    drawn = ("--static", "pictures", "--format", "svg")
    said = called("report", "b.csv", "-o", "again.html", *drawn, cwd=tmp_path)
    assert (said.code, said.err.splitlines()[-1]) == (0, "report: again.html")


# --- what fits ---------------------------------------------------------------------------------------------


def test_what_fits_with_micro_batches_is_decided_to_the_byte_and_their_number_divides_the_batch():
    rows = [predicted_row(cell_of(depth=2, batch=64, accumulate=8), mode) for mode in BOTH]
    train, infer = (row["predicted_peak_bytes"] for row in rows)
    (group,) = groups_of(rows)
    for budget, fits in (
        (train, 2),
        (train - 1, 1),
        (infer, 1 if infer < train else 2),
        (min(train, infer) - 1, 0),
    ):
        assert outcomes_of(group, budget).values == ((fits,),), budget
    reading = outcomes_of(group, 2_000_000).reading
    largest = [
        int(text.replace(",", "")) for text in re.findall(r"([\d,]+) for (?:training|inference)", reading)
    ]
    assert "the largest batch of 8 micro-batches that fits is " in reading
    for batch, mode in zip(largest, BOTH, strict=True):
        assert batch % 8 == 0
        peaks = [
            predicted_row(cell_of(depth=2, batch=size, accumulate=8), mode)["predicted_peak_bytes"]
            for size in (batch, batch + 8)
        ]
        assert peaks[0] <= 2_000_000 < peaks[1]


def test_what_fits_with_a_budget_is_known_of_the_cells_and_not_of_other_batches():
    rows = [planned_row(failing_cell(policy), mode) for policy in ("budget:60KiB", NO_PLAN) for mode in BOTH]
    found = [outcomes_of(group, budget) for group in groups_of(rows) for budget in (60 * 1024, 1)]
    assert [table.values for table in found] == [((2,),), ((0,),), ((1,),), ((0,),)]
    assert all(
        "not known, because each batch would need a plan of its own" in table.reading for table in found
    )


def test_what_fits_counts_a_mode_that_was_not_measured():
    train = predicted_row(cell_of(depth=1, batch=64), Mode.TRAIN)
    (group,) = groups_of([train])
    peak = train["predicted_peak_bytes"]
    assert [outcomes_of(group, budget).values for budget in (peak, peak - 1, 1)] == [
        ((2,),),
        ((1,),),
        ((0,),),
    ]


def test_the_command_shows_what_fits_of_micro_batches_and_budgets(tmp_path):
    cells = [cell_of(depth=2, batch=64, accumulate=8), failing_cell("budget:60KiB"), failing_cell(NO_PLAN)]
    (tmp_path / "a.csv").write_text(rows_csv([planned_row(cell, mode) for cell in cells for mode in BOTH]))
    said = called("report", "a.csv", "--memory", "1MiB", cwd=tmp_path)
    assert said.code == 0, said.err
    groups = data_of((tmp_path / "report.html").read_text())["groups"]
    assert all(group["fits"]["reading"].startswith("Within 1 MiB, ") for group in groups)


# --- one mode is missing -----------------------------------------------------------------------------------


def interrupted():
    """Depth 1 in both modes; depth 2 in inference only; depth 3 in training only."""
    rows = [
        predicted_row(cell_of(depth=depth, batch=64), mode)
        for depth, modes in ((1, BOTH), (2, (Mode.INFER,)), (3, (Mode.TRAIN,)))
        for mode in modes
    ]
    for row in rows:
        row["ledger_peak_bytes"] = row["heap_peak_bytes"] = row["predicted_peak_bytes"]
        row["peak_parameter_bytes"], row["step_s"] = row["predicted_peak_bytes"], 0.001
    return rows


def shown(tables, width):
    out = io.StringIO()
    for table in tables:
        Console(file=out, width=width).print(fitted(table, width))
    return out.getvalue()


def test_an_inference_row_is_not_shown_as_what_the_peak_of_training_is_made_of():
    text = shown(sweep_tables(interrupted(), 70), 70)
    above, below = text.split("Parts of the peak of training, in percent")
    assert re.findall(r"^ +(\d) +64 ", below, re.M) == ["1", "3"]
    (line,) = (line for line in above.splitlines() if re.match(" +2 +64 ", line))
    assert re.sub("[█░ ]+$", "", line).split() == ["2", "64", "0.46"]  # its peak, and nothing of training
    wide = shown(sweep_tables(interrupted(), 140), 140)
    assert [("parameter 100 %" in line) for line in wide.splitlines() if re.match(" +[123] +64 ", line)] == [
        True,
        False,
        True,
    ]


def test_the_markdown_leaves_what_only_training_has_empty_for_inference():
    lines = markdown(swept_sections(Swept(interrupted())), "memtrain sweep").splitlines()
    cells = [cell.strip() for cell in next(line for line in lines if re.match(r"\| +2 ", line)).split("|")]
    assert cells[1:-1] == ["2", "64", "", "0.46", "", "", "", ""]


def test_a_table_of_inference_alone_is_of_inference():
    rows = [row for row in interrupted() if row.mode is Mode.INFER]
    assert "Parts of the peak of inference, in percent" in shown(sweep_tables(rows, 70), 70)
    lines = markdown(swept_sections(Swept(rows)), "memtrain sweep").splitlines()
    retained = [line.split("|")[6].strip() for line in lines if re.match(r"\| +[12] ", line)]
    assert retained == ["0.00", "0.00"]


# --- several files -----------------------------------------------------------------------------------------


def test_files_that_are_no_sweep_are_skipped_in_words_as_long_as_one_is(tmp_path):
    (tmp_path / "a.csv").write_text(rows_csv([predicted_row(cell_of(), mode) for mode in BOTH]))
    (tmp_path / "bench.csv").write_text("engine,depth,batch\ntorch,1,64\n")
    (tmp_path / "begun.csv").write_text(rows_csv([]))
    said = called("report", "bench.csv", "a.csv", "begun.csv", cwd=tmp_path)
    assert said.code == 0
    skipped, begun, made = said.err.splitlines()
    assert skipped.startswith(
        "memtrain: skipped: bench.csv holds no rows of a sweep (it has no column model, "
    )
    assert begun == "memtrain: skipped: begun.csv holds no rows of a sweep (it has no rows)"
    assert made == "report: report.html"
    assert "bench.csv holds no rows" in refused(
        "report", "bench.csv", "begun.csv", "-o", "x.html", cwd=tmp_path
    )
    (tmp_path / "broken.csv").write_text(
        rows_csv([predicted_row(cell_of(), Mode.TRAIN)]).replace("mlp,1,", "mlp,x,")
    )
    assert "line 2" in refused("report", "a.csv", "broken.csv", "-o", "x.html", cwd=tmp_path)
    assert "no.csv cannot be read" in refused("report", "a.csv", "no.csv", "-o", "x.html", cwd=tmp_path)


def test_the_page_plans_with_the_rates_that_were_recorded_with_the_row():
    """With other rates the same budget keeps other values, so the page would show another plan."""
    cell = cell_of(depth=8, width=32, batch=256, activation="gelu", policy="budget:500KiB")
    kept = {}
    for dear in ("gelu", "matmul"):
        rates = {
            "flops_per_s": 1e3 if dear == "matmul" else 1e15,
            "bytes_per_s": 1e9,
            "op_bytes_per_s": {"gelu": 1e3 if dear == "gelu" else 1e15},
        }
        row = Row(cell, Mode.TRAIN, environment={"rates": rates})
        _, lives = of_cell(row.cell, rates=row.rates)
        kept[dear] = [life.name for life in lives.lives]
    assert kept["gelu"] != kept["matmul"]
