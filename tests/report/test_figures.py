"""The figures of a report: their content, by hand; the command; the pictures."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from command_line import called, memtrain, refused

from memtrain import timeline_figure
from memtrain.cells.cell import BOTH, Mode, cell_of
from memtrain.cells.columns import NAMES
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import InputError
from memtrain.report import plots
from memtrain.report.account import account, account_reading, axis_names, environments
from memtrain.report.cell_plots import life_plot, timeline_plot
from memtrain.report.curves import curves_of
from memtrain.report.groups import cells_of, groups_of, opening
from memtrain.report.html import report_html
from memtrain.report.lifelines import of_cell
from memtrain.report.maps import outcomes_of, ratios_of
from memtrain.report.static import draw_pictures
from memtrain.report.ticks import linear_ticks, log_ticks
from memtrain.sweeps.store import rows_csv

SMALL = cell_of(depth=1, batch=1024)
"""Of the book: x 1024×64, h 1024×256, o 1024×10; its steps are counted out in the tests."""

KIB = 1024


def row(depth, batch, mode, peak, **known):
    cell = cell_of(depth=depth, batch=batch, **known.pop("cell", {}))
    return Row(cell, Mode(mode), {"predicted_peak_bytes": peak, **known})


def square():
    """Rows of two depths and two batches in both modes, with round numbers."""
    peaks = {(1, 10): (4, 2), (1, 20): (6, 3), (3, 10): (12, 3), (3, 20): (24, 4)}
    return [
        row(*place, mode, KIB * peak)
        for place, pair in peaks.items()
        for mode, peak in zip(BOTH, pair, strict=True)
    ]


def test_a_line_per_batch_and_mode_against_depth():
    (group,) = groups_of(square())
    found = curves_of(group, "depth")
    lines = {(line.mode, line.fixed): [(p.tick, p.peak_bytes) for p in line.points] for line in found.lines}
    assert lines == {
        ("train", 10): [(1, 4096), (3, 12288)],
        ("infer", 10): [(1, 2048), (3, 3072)],
        ("train", 20): [(1, 6144), (3, 24576)],
        ("infer", 20): [(1, 3072), (3, 4096)],
    }
    assert found.reading == (
        "The peak of training grows 4.0 × from depth 1 to depth 3 (at batch 20): 6 KiB to 24 KiB. "
        "The peak of inference grows 1.3 × from depth 1 to depth 3 (at batch 20): 3 KiB to 4 KiB."
    )


def test_a_line_per_depth_against_batch():
    (group,) = groups_of(square())
    found = curves_of(group, "batch")
    assert [(line.mode, line.fixed) for line in found.lines] == [
        ("train", 1),
        ("infer", 1),
        ("train", 3),
        ("infer", 3),
    ]
    assert found.reading.startswith(
        "The peak of training grows 2.0 × from batch 10 to batch 20 (at depth 3): 12 KiB to 24 KiB. "
    )


def test_one_cell_in_one_mode_still_reads_well():
    (group,) = groups_of([row(2, 8, "infer", 2048)])
    assert curves_of(group, "depth").reading == "The peak of inference is 2 KiB at depth 2, batch 8."
    assert ratios_of(group) is None


def test_the_ratio_stands_at_its_depth_and_batch():
    (group,) = groups_of(square())
    found = ratios_of(group)
    assert (found.depths, found.batches) == ((1, 3), (10, 20))
    assert found.values == ((2.0, 2.0), (4.0, 6.0))
    assert found.reading == (
        "Training needs at least 2.00 × the memory of inference (depth 1, batch 10) and at most 6.00 × "
        "(depth 3, batch 20)."
    )


def test_a_cell_that_is_missing_leaves_a_hole():
    (group,) = groups_of(square()[:-1])
    assert ratios_of(group).values == ((2.0, 2.0), (4.0, None))


def test_a_row_without_any_peak_is_a_gap_and_no_zero():
    rows = [row(1, 8, "train", None, status="error", reason="boom <b>"), row(2, 8, "train", 64)]
    (group,) = groups_of(rows)
    found = curves_of(group, "depth")
    assert [point.peak_bytes for point in found.lines[0].points] == [None, 64]
    (trace,) = plots.peak_curves(found)["data"]
    assert trace["y"] == [None, 64]
    assert trace["marker"]["symbol"] == ["x", "circle"]
    assert trace["customdata"] == ["<br>error: boom &lt;b&gt;", "64 B (64 B)"]


@pytest.mark.parametrize(("budget", "fits"), [(236_552, 2), (236_551, 1), (160_256, 1), (160_255, 0)])
def test_what_fits_is_decided_to_the_byte(budget, fits):
    """Depth 1, batch 64 has peaks of 236,552 B in training and 160,256 B in inference."""
    rows = [predicted_row(cell_of(depth=1, batch=64), mode) for mode in BOTH]
    assert [r["predicted_peak_bytes"] for r in rows] == [236_552, 160_256]
    (group,) = groups_of(rows)
    found = outcomes_of(group, budget)
    assert found.values == ((fits,),)
    assert f"training fits in {int(fits == 2)} of 1 cells" in found.reading
    assert ("only inference in 1" in found.reading) is (fits == 1)
    assert ("nothing in 1" in found.reading) is (fits == 0)


def test_what_fits_is_known_for_several_threads_and_widths_of_layers():
    rows = [predicted_row(cell_of(depth=2, width=(8, 16), batch=4, threads=2), mode) for mode in BOTH]
    (group,) = groups_of(rows)
    assert outcomes_of(group, 10**9).values == ((2,),)


def test_what_varies_besides_depth_and_batch_makes_groups():
    rows = [
        row(1, 8, mode, 64, cell={"activation": a, "width": w})
        for a in ("relu", "gelu")
        for w in (4, 8)
        for mode in BOTH
    ]
    found = groups_of(rows)
    assert [group.name for group in found] == [
        "width 4, activation relu",
        "width 8, activation relu",
        "width 4, activation gelu",
        "width 8, activation gelu",
    ]
    assert all(len(group.rows) == 1 for group in found)


def test_a_peak_that_stays_or_falls_is_not_said_to_grow():
    (group,) = groups_of([row(depth, 8, "train", peak) for depth, peak in ((1, 2048), (2, 1024))])
    assert curves_of(group, "depth").reading == (
        "The peak of training falls from depth 1 to depth 2 (at batch 8): 2 KiB to 1 KiB."
    )
    (group,) = groups_of([row(depth, 8, "train", 2048) for depth in (1, 2)])
    assert curves_of(group, "depth").reading == (
        "The peak of training stays at 2 KiB from depth 1 to depth 2 (at batch 8)."
    )


def test_the_cell_that_shows_the_most_has_the_largest_ratio_and_not_the_largest_peak():
    rows = square()
    rows[4]["predicted_peak_bytes"] = 20 * KIB  # depth 3, batch 10: 20 ÷ 3 is more than 24 ÷ 4
    (group,) = groups_of(rows)
    assert group.rows[group.most_telling].cell == cell_of(depth=3, batch=10)
    (group,) = groups_of([one for one in rows if one.mode is Mode.TRAIN])  # no ratio is known
    assert group.rows[group.most_telling].cell == cell_of(depth=3, batch=20)


def test_the_page_opens_with_the_group_and_cell_that_show_the_most_or_with_a_given_one():
    rows = square() + [
        row(1, batch, mode, peak, cell={"width": 8})
        for batch in (4, 8)
        for mode, peak in (("train", 100 * batch), ("infer", 50))
    ]
    assert opening(groups_of(rows)) == (1, 1)
    assert data_of(report_html(rows))["opening"] == [1, 1]
    given = cell_of(depth=3, batch=10)
    assert data_of(report_html(rows, opening_cell=given))["opening"] == [0, 2]


def test_a_size_may_have_a_cell_in_several_groups_and_an_unknown_one_is_refused():
    rows = [row(1, 8, mode, 64, cell={"width": width}) for width in (4, 8) for mode in BOTH]
    assert [cell["width"] for cell in cells_of(rows, [(1, 8)], "--cell")] == [4, 8]
    with pytest.raises(InputError, match=r"--cell 2x8 .*1x8"):
        cells_of(rows, [(2, 8)], "--cell")


def test_the_timeline_of_the_book_network_step_by_step():
    timeline, _ = of_cell(SMALL)
    train, infer = timeline.train, timeline.infer
    assert train.starts == {"forward": 0, "backward": 10, "update": 20}
    assert (train.step_count, infer.step_count, infer.starts) == (22, 3, {"forward": 0})
    h, logp, o = 4 * 1024 * 256, 4 * 1024 * 10, 4 * 1024 * 10
    assert train.live_bytes("retained")[:4] == [0, h, h, h + logp]
    assert train.live_bytes("retained")[13:18] == [h + logp, h, h, h, 0]
    weights, batch = 4 * (256 * 64 + 10 * 256), 4 * 1024 * 64 + 8 * 1024
    standing = weights + batch + 4 * 10 * 256 + h  # and ∂L/∂W2, and h
    assert train.peak.step == 16
    assert train.peak.total_bytes == standing + h + o + 8  # ∂L/∂h, ∂L/∂o, J and ∂s/∂‖W‖²
    assert infer.peak.total_bytes == weights + 4 * 1024 * 64 + h + o
    assert infer.live_bytes("retained") == [0, 0, 0]
    assert timeline.reading == (
        "At depth 1, batch 1,024, training peaks at 2.4 MiB: in backward, at step 16, which computes ∂L/∂h. "
        "Retained intermediates are 42 % of this peak. Inference peaks at 1.4 MiB and retains nothing."
    )


def test_of_a_packed_cell_it_is_said_that_its_arena_may_be_larger():
    assert "arena" in of_cell(cell_of(allocation="packed"))[0].reading
    assert "arena" not in of_cell(cell_of())[0].reading


def test_the_reason_stands_at_the_step_that_makes_what_is_kept():
    train = of_cell(SMALL)[0].train
    assert set(train.reasons) == {1, 3}
    assert train.reasons[1].startswith("h is kept until step 16, because backward reads it: ∂J/∂W2 = ")
    assert "probabilities exp(logp)" in train.reasons[3]


def test_life_lines_go_from_birth_to_freeing():
    _, lives = of_cell(SMALL)
    found = [(life.name, life.born_step, life.freed_step, life.bytes) for life in lives.lives]
    assert found == [("h", 1, 16, 1_048_576), ("logp", 3, 13, 40_960)]
    assert (lives.backward_step, lives.step_count) == (10, 22)
    assert lives.reading == (
        "Forward keeps 2 intermediates for backward, 1.0 MiB in all. The first to be freed is logp, at step "
        "13; the last is h, at step 16."
    )
    assert [line[:3] for line in lives.kept] == [
        ("h", "1,048,576", "1–16"),
        ("logp", "40,960", "3–13"),
    ]
    assert "probabilities exp(logp)" in lives.kept[1][3]
    before, after = life_plot(lives)["data"]
    assert (before["base"], before["x"]) == ([1, 3], [9, 7])
    assert (after["base"], after["x"]) == ([10, 10], [7, 4])


def test_what_was_made_first_is_freed_last_in_a_deep_network():
    lives = of_cell(cell_of(depth=6))[1].lives
    hidden = [life for life in lives if life.name.startswith("h")]
    assert [life.name for life in hidden] == ["h1", "h2", "h3", "h4", "h5", "h6"]
    assert [life.freed_step for life in hidden] == sorted((life.freed_step for life in hidden), reverse=True)


def test_a_deep_network_is_shown_by_its_highest_steps():
    whole, _ = of_cell(cell_of(depth=130), 10**6)
    found, lives = of_cell(cell_of(depth=130), 50)
    assert len(found.train.moments) <= 50 < found.train.step_count
    assert found.train.peak == whole.train.peak
    assert found.train.peak in found.train.moments
    assert len(lives.lives) == 100
    assert (lives.lives[0].name, lives.lives[-1].name) == ("h1", "logp")
    assert lives.reading.startswith("Forward keeps 131 intermediates")
    assert lives.reading.endswith("The figure shows 100 of them.")
    assert [line[0] for line in lives.kept] == ["h1", "⋮ × 128", "h130", "logp"]


def test_what_all_micro_batches_keep_is_not_said_to_be_kept_at_one_time():
    assert of_cell(cell_of(batch=64, accumulate=4))[1].reading.startswith(
        "In 4 micro-batches, forward keeps 8 intermediates for backward, 66.5 KiB in all."
    )


@pytest.mark.parametrize("update", ["deferred", "eager"])
@pytest.mark.parametrize("policy", ["none", "sqrt", "revolve:2"])
def test_names_of_phases_that_start_close_to_each_other_stand_in_different_lines(policy, update):
    timeline, _ = of_cell(cell_of(depth=16, policy=policy, update=update))
    notes = timeline_plot(timeline)["layout"]["annotations"]
    names = [note for note in notes if note["text"] in timeline.train.starts and note["xref"] == "x"]
    assert len(names) == len(timeline.train.starts)
    boxes = []
    for note in names:
        width = 7 * len(note["text"]) / 270  # on a phone
        left = note["x"] / timeline.train.step_count - width * (note["xanchor"] == "right")
        boxes.append((note.get("yshift", 0), left, left + width))
    for index, (line, left, _) in enumerate(boxes):
        assert all(line != other or left >= right for other, _, right in boxes[:index])


def test_an_area_per_role_in_order_and_nothing_for_roles_without_bytes():
    plot = timeline_plot(of_cell(cell_of(depth=1, optimizer="adam"))[0])
    shown = [trace["name"] for trace in plot["data"] if trace.get("stackgroup") == "train"]
    roles = ["parameter", "gradient", "optimizer", "input", "retained", "transient", "workspace"]
    assert shown == roles
    assert "gradient" not in [t["name"] for t in plot["data"] if t.get("stackgroup") == "infer"]
    assert plot["layout"]["yaxis"]["range"] == plot["layout"]["yaxis2"]["range"]


def test_the_account_holds_the_ledger_against_the_prediction_and_the_rest_against_the_ledger():
    rows = [
        row(1, 8, "train", 1000, ledger_peak_bytes=1000, heap_peak_bytes=1010, resident_peak_bytes=900),
        row(1, 8, "infer", 500, status="killed", reason="by signal 9"),
    ]
    measured, failed = account(rows)
    assert axis_names(rows) == ["depth", "batch", "mode"]
    assert measured.axes == ("1", "8", "train")
    assert [(r.peak_bytes, r.difference_bytes, r.difference) for r in measured.readings] == [
        (1000, 0, "0"),
        (1010, 10, "+1.00"),
        (900, -100, "-10.0"),
    ]
    assert [(r.peak_bytes, r.difference_bytes, r.difference) for r in failed.readings] == [
        (None, None, "")
    ] * 3
    assert (failed.status, failed.reason) == ("killed", "by signal 9")
    assert account_reading(rows) == (
        "In 1 of the 1 rows that ran, the ledger equals the prediction to the byte. "
        "The heap differs from the ledger by at most 10 B."
    )


def test_environments_are_listed_once_and_missing_is_left_out():
    same = {"numpy": "2", "memory_bytes": 2048, "settings": {"A_B": "1"}, "libc": ""}
    rows = [row(1, 8, "train", 1), row(1, 8, "infer", 1), row(2, 8, "train", 1, python="3.11", cpu=None)]
    rows[0].environment = rows[1].environment = same
    assert environments(rows) == [{"numpy": "2", "memory": "2 KiB", "A_B": "1"}, {"python": "3.11"}]


def test_an_environment_shows_the_speed_of_the_machine_in_two_figures():
    (only,) = rows = [row(1, 8, "train", 1)]
    rates = {"flops_per_s": 9.37e10, "bytes_per_s": 2.0 * 2**30, "op_bytes_per_s": {"relu": 1.5}}
    only.environment = {"numpy": "2", "rates": rates}
    assert environments(rows) == [
        {"numpy": "2", "speed of products": "93.7 GFLOP/s", "speed of memory": "2 GiB/s"}
    ]


def test_a_second_environment_shows_only_what_is_different():
    rows = [row(1, 8, "train", 1), row(2, 8, "train", 1)]
    for one, cores in zip(rows, (2, 4), strict=True):
        one.environment = {"platform": "Linux", "cores": cores}
    page = report_html(rows)
    assert page.count("<dt>platform</dt>") == 1
    assert page.count("<dt>cores</dt>") == 2


def test_ticks_are_round_numbers_of_binary_units():
    assert linear_ticks(21 * 2**20) == (
        [i * 5 * 2**20 for i in range(6)],
        ["0 MiB", "5 MiB", "10 MiB", "15 MiB", "20 MiB", "25 MiB"],
    )
    assert log_ticks(300, 5000) == (
        [256, 512, 1024, 2048, 4096, 8192],
        ["256 B", "512 B", "1 KiB", "2 KiB", "4 KiB", "8 KiB"],
    )
    for most in (0, 1, 7, 1023, 10**6, 10**15):
        ticks, texts = linear_ticks(most)
        assert ticks[0] == 0
        assert ticks[-1] >= most
        assert 2 <= len(ticks) == len(set(texts)) <= 8


def test_plotly_accepts_every_figure():
    from plotly.graph_objects import Figure

    (group,) = groups_of(square())
    curves = curves_of(group, "depth")
    timeline, lives = of_cell(SMALL)
    table = ratios_of(group)
    drawn = [plots.peak_curves(curves), plots.ratio_map(table), timeline_plot(timeline), life_plot(lives)]
    drawn.append(plots.outcome_map(outcomes_of(group, 10**5)))
    for plot in drawn:
        Figure(plot)
    for scale in plots.scales(curves).values():
        Figure(drawn[0]).update_layout({name.replace(".", "_"): value for name, value in scale.items()})


def test_the_timeline_is_a_plotly_figure_in_python():
    figure = timeline_figure(cell_of(depth=2, batch=8))
    assert next(trace.name for trace in figure.data if trace.stackgroup == "infer") == "parameter"


def data_of(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])


def test_no_name_of_a_file_ends_the_script_or_becomes_markup():
    evil = "</script><img src=x onerror=alert(1)>.npz"
    rows = [row(1, 8, mode, 64, cell={"data": data}) for data in ("digits", evil) for mode in BOTH]
    rows[0]["status"], rows[0]["reason"] = "error", evil
    page = report_html(rows, commands=[f"memtrain sweep --data {evil}"])
    assert "<img" not in page.replace(page[page.index("<script>") : page.rindex("<script>")], "")
    assert data_of(page)["rows"][2][NAMES.index("data")] == evil


def test_missing_is_empty_in_the_rows():
    values = dict(zip(NAMES, data_of(report_html([row(1, 8, "train", 64)]))["rows"][0], strict=True))
    assert (values["heap_peak_bytes"], values["bias"], values["l2"]) == ("", "false", "0.0001")


def test_a_report_of_the_default_sweep_stays_small():
    cells = [cell_of(depth=depth, batch=batch) for depth in (1, 2, 4, 8, 16) for batch in (64, 256, 1024)]
    page = report_html([predicted_row(cell, mode) for cell in cells for mode in BOTH], budget_bytes=2**22)
    assert len(page.encode()) < 6_000_000
    assert page.count("plotly.js v") == 1


def test_a_report_of_many_deep_cells_stays_small():
    cells = [cell_of(depth=depth, width=4, batch=2) for depth in range(200, 215)]
    page = report_html([predicted_row(cell, Mode.TRAIN) for cell in cells])
    assert len(page.encode()) < 6_000_000


def test_without_plotly_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("memtrain.report.html.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"plotly and jinja2; .* -m pip install .*(plotly|\[report\])"):
        report_html(square())
    with pytest.raises(InputError, match="plotly"):
        timeline_figure(SMALL)


def test_nothing_but_a_report_imports_plotly_or_matplotlib():
    code = "import sys, memtrain.report.html, memtrain.report.static, memtrain.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    assert not {"plotly", "matplotlib", "jinja2.environment"} & set(loaded)


def test_a_picture_has_the_same_bytes_each_time_and_in_each_process(tmp_path):
    """This also holds with other hashes of texts, at another second, and after other pictures."""
    rows = [row(1, 8, "train", 64, status="timeout", reason="$late"), *square()]
    (tmp_path / "a.csv").write_text(rows_csv(rows))
    formats = ("svg", "png", "pdf")
    paths = draw_pictures(rows, tmp_path / "here", formats=formats, budget_bytes=2**20)
    names = ["peak-by-depth", "peak-by-batch", "ratio", "fits", "timeline", "lives"]
    assert [path.name for path in paths] == [f"{name}.{ending}" for name in names for ending in formats]
    options = ("--memory", "1MiB", "--static", "there", "--format", ",".join(formats))
    said = memtrain("report", "a.csv", *options, cwd=tmp_path, PYTHONHASHSEED="1")
    assert said.code == 0, said.err
    for path in paths:
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name
        assert path.read_bytes()[:4] in (b"\x89PNG", b"%PDF", b"<?xm")
    assert all(b"</svg>" in path.read_bytes() for path in paths if path.suffix == ".svg")


def test_pictures_that_are_there_are_drawn_again_only_if_forced(tmp_path):
    rows = [row(0, 8, "infer", 64)]
    paths = draw_pictures(rows, tmp_path, formats=("svg",))
    before = [path.read_bytes() for path in paths]
    with pytest.raises(InputError, match="exists"):
        draw_pictures(rows, tmp_path, formats=("svg",))
    assert draw_pictures(rows, tmp_path, formats=("svg",), force=True) == paths
    assert [path.read_bytes() for path in paths] == before


def test_pictures_of_several_groups_are_numbered(tmp_path):
    rows = [row(0, 8, "infer", 64, cell={"width": width}) for width in (4, 8)]
    names = [path.stem for path in draw_pictures(rows, tmp_path, formats=("svg",))]
    assert names == [
        f"{n}-{name}" for n in (1, 2) for name in ("peak-by-depth", "peak-by-batch", "timeline", "lives")
    ]


def test_both_engines_are_drawn_beside_each_other_and_one_engine_is_not(tmp_path):
    cells = [cell_of(depth=depth, batch=4, engine=name) for name in ("numpy", "torch") for depth in (1, 2)]
    rows = [predicted_row(cell, mode) for cell in cells for mode in BOTH]
    both = [path.stem for path in draw_pictures(rows, tmp_path / "both", formats=("svg",))]
    assert both[-1] == "engines"
    drawn = (tmp_path / "both" / "engines.svg").read_text()
    assert "memtrain and PyTorch" in drawn
    alone = [path.stem for path in draw_pictures(rows[:4], tmp_path / "one", formats=("svg",))]
    assert "engines" not in alone


def test_the_chosen_cells_are_drawn_in_place_of_one_of_each_group(tmp_path):
    rows = square() + [row(1, 10, mode, 64, cell={"width": 8}) for mode in BOTH]
    (tmp_path / "a.csv").write_text(rows_csv(rows))
    cells = ("--cell", "1x10,3×20", "--static", "pictures", "--format", "svg")
    said = called("report", "a.csv", *cells, "-o", "page.html", cwd=tmp_path)
    assert said.code == 0, said.err
    drawn = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert {name for name in drawn if "timeline" in name or "lives" in name} == {
        f"{of}.svg"
        for name in ("timeline", "lives")
        for of in (f"1-{name}-1x10", f"1-{name}-3x20", f"2-{name}-1x10")
    }
    assert data_of((tmp_path / "page.html").read_text())["opening"] == [0, 0]


def test_the_command_refuses_cells_and_formats_that_are_not_there(tmp_path):
    (tmp_path / "a.csv").write_text(rows_csv(square()))

    def said(*options):
        text = refused("report", "a.csv", "-o", "x.html", *options, cwd=tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
        return text

    assert "1x10, 1x20, 3x10, 3x20" in said("--cell", "8x256")
    for wrong in ("8", "8x", "x256", "8x256x2", "ax1", ","):
        assert "--cell" in said("--cell", wrong)
    assert "png" in said("--static", "pictures", "--format", "jpg")
    assert "--static" in said("--format", "pdf")


def test_without_matplotlib_one_line_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr("memtrain.report.static.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"matplotlib; .* -m pip install .*(matplotlib|\[static\])"):
        draw_pictures(square(), tmp_path)


def test_the_command_makes_a_page_of_several_files(tmp_path):
    rows = square()
    (tmp_path / "a.csv").write_text(rows_csv(rows[:4]))
    (tmp_path / "b.csv").write_text(rows_csv(rows[4:]))
    (tmp_path / "out").mkdir()
    said = called("report", "a.csv", "b.csv", "-o", "out/page.html", "--memory", "1MiB", cwd=tmp_path)
    assert (said.code, said.out, said.err) == (0, "", "report: out/page.html\n")
    page = (tmp_path / "out/page.html").read_text()
    assert len(data_of(page)["rows"]) == 8
    assert "What fits into 1 MiB" in page


def test_the_command_refuses_what_it_cannot_use(tmp_path):
    (tmp_path / "a.csv").write_text(rows_csv(square()))
    (tmp_path / "report.html").write_text("mine")
    assert "report.html exists already" in refused("report", "a.csv", cwd=tmp_path)
    assert "b.csv cannot be read" in refused("report", "b.csv", "-o", "x.html", cwd=tmp_path)
    assert "--memory" in refused("report", "a.csv", "-o", "x.html", "--memory", "5M", cwd=tmp_path)
    assert (tmp_path / "report.html").read_text() == "mine"
    assert called("report", "a.csv", "--force", cwd=tmp_path).code == 0


def test_a_sweep_can_end_with_its_page(tmp_path):
    sweep = ("sweep", "--depth", "1,2", "--batch", "4", "--width", "8", "--dry-run", "--html", "page.html")
    assert called(*sweep, cwd=tmp_path).code == 0
    page = (tmp_path / "page.html").read_text()
    assert len(data_of(page)["rows"]) == 4
    assert "sweep --depth 1,2 --batch 4" in re.sub("<[^>]*>", "", page)
    assert "page.html exists already" in refused(*sweep, cwd=tmp_path)
