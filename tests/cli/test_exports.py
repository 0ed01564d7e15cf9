"""Results in other forms: markdown, stdout, options from a file, two results side by side, a notebook."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from dataclasses import replace
from fractions import Fraction
from html import escape as html_escape

import numpy as np
import pytest
from command_line import COLUMNS, LEDGER, SMALL, memtrain, refused, rows_of, strict_json
from fake_host import FakeHost
from markdown_it import MarkdownIt
from test_repeatability import fake

from memtrain.answers.comparison import MEASURED, compare
from memtrain.answers.swept import Swept
from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.kinds import csv_line
from memtrain.cells.row import predicted_row
from memtrain.errors import RangeError, SpecError
from memtrain.measure.measured import measured_row
from memtrain.report.columns import peak_columns
from memtrain.report.comparison import judgement_lines
from memtrain.report.markdown import markdown, markdown_code, markdown_list, markdown_table
from memtrain.report.swept import swept_sections
from memtrain.sweeps.rows import Rows
from memtrain.sweeps.store import rows_csv
from memtrain.units import parse_percent

DRY = (*SMALL, "--dry-run")
MIB = 1024**2


def some_rows(**extra):
    """Rows of four cells in both modes, measured by a fake."""
    cells = [cell_of(depth=depth, batch=batch) for depth in (1, 2) for batch in (4, 64)]
    return [
        measured_row(
            FakeHost(fake(**{meter: list(more) for meter, more in extra.items()} | {"time": [0.1]})),
            cell,
            mode,
        )
        for cell in cells
        for mode in Mode
    ]


def test_a_markdown_table_is_aligned_and_its_cells_cannot_break_it():
    table = markdown_table(["a", "long\ntitle"], [["1", "x|y"], ["22", ""]])
    assert table == (
        "|   a | long title |\n| --: | ---------: |\n|   1 |       x\\|y |\n|  22 |            |\n"
    )


EVIL = [
    "a|b",
    "`x` and ``y``",
    "<b>bold</b> & &amp; <script>",
    "=1+1",
    "*a* _b_ __c__ ~~d~~ gelu_tanh",
    "[a](http://b) ![c](d)",
    "\\ \\| \\` $x$",
]
"""Names that mean something in markdown, HTML or a spreadsheet."""


def rendered(text):
    """Markdown as HTML, by a parser that shares no code with what wrote it."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


@pytest.mark.parametrize("name", EVIL)
def test_whatever_a_name_holds_markdown_shows_it_and_nothing_else(name):
    table = rendered(markdown_table([name, "b"], [[name, "1"]]))
    assert re.findall(r"<t[hd][^>]*>(.*)</t[hd]>", table) == [html_escape(name), "b", html_escape(name), "1"]
    assert rendered(markdown_list([name])) == f"<ul>\n<li>{html_escape(name)}</li>\n</ul>\n"
    assert rendered(markdown_code(name)) == f"<p><code>{html_escape(name)}</code></p>\n"


@pytest.mark.parametrize("name", EVIL)
def test_no_cell_of_the_text_begins_with_a_formula(name):
    cells = markdown_table([name, "b"], [[name, "1"]]).split(" | ")
    assert not any(cell.strip("| \n").startswith("=") for cell in cells)


def test_the_markdown_of_a_sweep_with_any_name_keeps_its_form():
    rows = some_rows()
    for row in rows[:4]:
        row.cell = row.cell.changed(data="`<i>`|x.npz")
    rows[0]["status"], rows[0]["reason"] = "error", "<b>`|boom"
    page = rendered(markdown(swept_sections(Swept(rows)), "memtrain sweep --data '`<i>`|x.npz'"))
    assert "<i>" not in page
    assert "<b>" not in page
    assert page.startswith("<p><code>memtrain sweep --data '`&lt;i&gt;`|x.npz'</code></p>")
    assert page.count("<td") == page.count("<th ") * 4
    assert "error: &lt;b&gt;`|boom</li>" in page


def test_the_markdown_of_a_sweep_has_a_line_per_cell_and_the_findings():
    text = markdown(swept_sections(Swept(some_rows())), "memtrain sweep")
    lines = text.splitlines()
    assert lines[0] == "`memtrain sweep`"
    assert sum(line.startswith("|") for line in lines) == 2 + 4
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert any(line.startswith("- The ratio is largest") for line in lines)


@pytest.mark.parametrize(
    ("ran", "unit", "retained"),
    [([], "TiB", "23.84"), ([cell_of(depth=1, batch=1024)], "MiB", "23.8 TiB")],
)
def test_what_a_cell_beyond_memory_retains_has_a_unit(ran, unit, retained):
    """Depth 100, width 65,536, a million examples: 4·(100·65,536 + 10)·10⁶ = 26,214,440,000,000 B."""
    rows = [
        predicted_row(cell, Mode.TRAIN) for cell in (*ran, cell_of(depth=100, width=65536, batch=1000000))
    ]
    rows[-1]["status"] = "memory_limit"
    columns = dict(peak_columns(rows))
    assert columns[f"retained\n{unit}"]({Mode.TRAIN: rows[-1]}) == retained
    assert columns[f"train\n{unit}"]({Mode.TRAIN: rows[-1]}) == "limit"


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ((*DRY, "--export-markdown", "-"), "`memtrain sweep"),
        ((*DRY, "--export-csv", "-"), "model,depth,width"),
        ((*DRY, "--export-json", "-"), "{"),
        ((*LEDGER, "--export-csv", "-"), "model,depth,width"),
        (("frontier", "--memory", "1MiB", "--no-confirm", "--export-csv", "-"), "depth,batch,mode"),
        (("frontier", "--memory", "1MiB", "--no-confirm", "--export-markdown", "-"), "`memtrain frontier"),
    ],
)
def test_a_dash_sends_an_export_to_stdout_instead_of_the_tables(line, start, tmp_path):
    said = memtrain(*line, cwd=tmp_path)
    assert said.code == 0
    assert said.out.startswith(start)
    assert "Peak memory" not in said.out
    assert "What fits" not in said.out


def test_only_one_export_goes_to_stdout(tmp_path):
    said = refused(*DRY, "--export-csv", "-", "--json", cwd=tmp_path)
    assert "--export-csv and --json to stdout" in said


def test_files_and_stdout_can_be_had_together(tmp_path):
    said = memtrain(*DRY, "--export-markdown", "x.md", "--export-csv", "x.csv", "--json", cwd=tmp_path)
    rows = strict_json(said.out)["rows"]
    assert len(rows) == len(rows_of((tmp_path / "x.csv").read_text())) == 2
    assert (tmp_path / "x.md").read_text().count("\n|") == 3


def test_json_says_version_command_options_and_environment(tmp_path):
    document = strict_json(memtrain(*LEDGER, "--json", cwd=tmp_path).out)
    assert document["schema_version"] == 1
    assert document["command"].startswith("memtrain sweep --depth 1")
    assert (document["config"]["width"], document["config"]["bias"]) == ("8", False)
    assert document["environment"]["numpy"]


# --- options from a file ---------------------------------------------------------------------------------


def test_a_file_gives_options_and_the_command_line_wins(tmp_path):
    (tmp_path / "s.toml").write_text('depth = [1, 2]\nbatch = "4:8:x2"\nwidth = 8\nbias = true\nl2 = 1e-3\n')
    said = memtrain("sweep", "--config", "s.toml", "--batch", 16, "--dry-run", "--json", cwd=tmp_path)
    rows = strict_json(said.out)["rows"]
    found = {(row["depth"], row["batch"], row["width"], row["bias"], row["l2"]) for row in rows}
    assert found == {(1, 16, 8, True, 1e-3), (2, 16, 8, True, 1e-3)}


def test_the_options_in_force_can_be_written_and_read_again(tmp_path):
    line = ("--depth", "1,2", "--batch", "4", "--width", "8", "--bias", "--dry-run", "--data", "digits")
    said = memtrain("sweep", *line, "--print-config", cwd=tmp_path)
    assert said.code == 0
    assert tomllib.loads(said.out)["depth"] == "1,2"
    (tmp_path / "s.toml").write_text(said.out)
    again = memtrain("sweep", "--config", "s.toml", "--print-config", cwd=tmp_path)
    assert tomllib.loads(again.out) == tomllib.loads(said.out)
    first = memtrain("sweep", *line, cwd=tmp_path)
    assert memtrain("sweep", "--config", "s.toml", cwd=tmp_path).out == first.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dpeth = 1\n", "did you mean depth"),
        ("[depth]\nx = 1\n", "a text, a number"),
        ("depth = \n", "cannot be read"),
        ("depth = 0.5\n", "not a whole number"),
        ("bias = 'perhaps'\n", "true or false"),
        ("repeat = true\n", "a number"),
        ("html = ['a', 'b']\n", "a file in quotes"),
        ("export-csv = 7\n", "a file in quotes"),
        ("export_csv = 'a'\nexport-csv = 'b'\n", "twice"),
        ("depth = 2020-01-01\n", "a number"),
        ("resume = 'x.csv'\n", "not known"),
        ("depth = []\n", "empty"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_line(text, words, tmp_path):
    (tmp_path / "s.toml").write_bytes(text.encode("latin-1"))
    assert words in refused("sweep", "--config", "s.toml", "--dry-run", cwd=tmp_path)


def test_the_options_in_force_are_kept_with_the_results(tmp_path):
    (tmp_path / "s.toml").write_text("width = 8\n")
    memtrain(*LEDGER[:-4], "--config", "s.toml", "--meters", "ledger", "--export-csv", "x.csv", cwd=tmp_path)
    header = json.loads((tmp_path / "x.csv.journal").read_text().splitlines()[0])
    assert header["config"]["width"] == "8"
    assert "--config s.toml" in header["command"]


# --- manners -----------------------------------------------------------------------------------------------


def test_quiet_says_nothing_on_stderr_and_verbose_says_each_row(tmp_path):
    line = (*LEDGER, "--batch", 2000)
    assert memtrain(*line, "-q", cwd=tmp_path).err == ""
    said = memtrain(*line, "-v", cwd=tmp_path).err
    assert "blas: " in said
    assert "depth 1, batch 2,000, train: predicted" in said


# --- comparison --------------------------------------------------------------------------------------------


def grown(rows, share, meter="heap_peak_bytes", which=3):
    """The same rows, of which one has grown."""
    changed = [replace(row, figures={**row.figures}) for row in rows]
    figures = changed[which].figures
    figures[meter] = type(figures[meter])(figures[meter] * (1 + share))
    return changed


@pytest.mark.parametrize("meter", ["ledger_peak_bytes", "heap_peak_bytes"])
@pytest.mark.parametrize(("share", "code"), [(0.06, 1), (0.04, 0)])
def test_a_regression_of_6_percent_is_caught_at_5_and_one_of_4_is_not(share, code, meter, tmp_path):
    rows = some_rows(heap=[1000])
    (tmp_path / "a.csv").write_text(rows_csv(rows))
    (tmp_path / "b.csv").write_text(rows_csv(grown(rows, share, meter)))
    said = memtrain("compare", "a.csv", "b.csv", "--fail-over", "5%", cwd=tmp_path)
    assert said.code == code, said.err
    name = "depth 1, batch 64, infer"
    assert (name in said.err) is bool(code)
    assert memtrain("compare", "b.csv", "a.csv", "--fail-over", "5%", cwd=tmp_path).code == 0


ARRAYS = 10
"""The arrays of `one_cell`, each of which may take the rest of a page."""


def one_cell(meter, before, after, **known):
    """The rows of one cell before and after; of ``known``, a pair is before and after, too."""
    rows = [measured_row(FakeHost(fake(time=[0.1])), cell_of(), Mode.TRAIN) for _ in range(2)]
    known = {"peak_array_count": (ARRAYS, ARRAYS), **known}
    for name, pair in {MEASURED[meter]: (before, after), **known}.items():
        for row, value in zip(rows, pair, strict=True):
            row[name] = value
    return rows


def has_grown(meter, before, after, allowed, **known):
    """Whether the only cell has grown."""
    old, new = one_cell(meter, before, after, **known)
    return bool(compare([old], [new], [meter]).regressions(allowed))


@pytest.mark.parametrize("meter", ["ledger", "heap"])
def test_ledger_and_heap_have_no_noise_and_growth_from_zero_is_growth(meter):
    assert has_grown(meter, 1000, 1051, Fraction(5, 100))
    assert not has_grown(meter, 1000, 1050, Fraction(5, 100))
    assert has_grown(meter, 0, 1, Fraction(5, 100))
    assert not has_grown(meter, 0, 0, Fraction(0))
    old, new = one_cell(meter, 0, 2048)
    (found,) = compare([old], [new], [meter]).regressions(Fraction(1))
    assert found[1] == f"{meter} from 0 B to 2.0 KiB"


@pytest.mark.parametrize(
    ("before", "noise", "spreads"),
    [
        (10 * MIB, MIB + 4096 * ARRAYS, (None, None)),
        (300 * MIB, 3 * MIB, (None, None)),
        (300 * MIB, 3 * MIB, (MIB, MIB)),
        (300 * MIB, 5 * MIB, (4 * MIB, MIB)),
    ],
)
def test_resident_counts_beyond_its_tolerance_and_its_spread_and_the_share(before, noise, spreads):
    def grown_by(more, allowed):
        return has_grown("resident", before, before + more, allowed, resident_spread_bytes=spreads)

    assert not grown_by(noise, Fraction(0))
    assert grown_by(noise + 1, Fraction(0))
    assert not grown_by(noise + 1, Fraction(1, 2))
    assert grown_by(before // 2 + 1, Fraction(1, 2))


def test_a_time_counts_only_beyond_what_five_repetitions_of_both_show():
    def slower(after, counts, spreads):
        known = {"repeat_count": counts, "step_spread_s": spreads}
        return has_grown("time", 1.0, after, Fraction(5, 100), **known)

    assert slower(1.5, (5, 5), (0.25, 0.25 * 1.5 - 1e-9))
    assert not slower(1.5, (5, 5), (0.25, 0.25 * 1.5))  # 25 % and 25 %
    assert not slower(1.04, (5, 5), (0.0, 0.0))
    assert not any(slower(9.0, counts, (0.0, 0.0)) for counts in ((4, 5), (5, 4), (None, 5), (None, None)))


def test_the_most_that_any_time_spreads_stands_for_all():
    before, after = some_rows(), some_rows()
    for row in (*before, *after):
        row["step_s"], row["repeat_count"], row["step_spread_s"] = 1.0, 5, 0.125
    after[4]["step_spread_s"] = 0.5
    after[2]["step_s"] = 1.625  # 62.5 %, as 12.5 % before and 50 % after
    assert compare(before, after, ["time"]).regressions(Fraction(0)) == []
    after[2]["step_s"] = 1.75
    (found,) = compare(before, after, ["time"]).regressions(Fraction(0))
    assert found[1] == "time +75.00 %"


def test_it_is_said_which_meters_were_judged_and_which_were_not():
    single, repeated = some_rows(heap=[0]), some_rows(heap=[0])
    for row in repeated[:2]:
        row["repeat_count"], row["step_spread_s"] = 5, 0.01
    assert judgement_lines(compare(single, single)) == [
        "judged: ledger exactly; heap exactly; resident where it rises by more than "
        "max(1 %, 1.0 MiB + 4.0 KiB per array) and by more than its repetitions differ",
        "not judged: time in 8 of 8 rows; measure both files with --repeat 5 or more, for fewer repetitions "
        "do not show how far it spreads",
    ]
    judged, not_judged = judgement_lines(compare(repeated, repeated, ["time"]))
    assert judged == (
        "judged: time where it rises by more than 20 %, for so far apart are the repetitions in the two files"
    )
    assert not_judged.startswith("not judged: time in 6 of 8 rows; ")
    without = judgement_lines(compare(some_rows_without("heap"), single, ["ledger", "heap"]))
    assert without == ["judged: ledger exactly", "not judged: heap, of which the first file has no figures"]


@pytest.mark.measure
def test_identical_code_is_no_regression_and_a_row_that_grew_by_6_percent_is_named(tmp_path):
    sweep = ("sweep", "--depth", "1,4", "--batch", "64,256", "-q", "--export-csv")
    for name in ("a.csv", "b.csv"):
        assert memtrain(*sweep, name, cwd=tmp_path).code == 0
    for one, other in (("a.csv", "b.csv"), ("b.csv", "a.csv")):
        said = memtrain("compare", one, other, "--fail-over", "5%", cwd=tmp_path)
        assert said.code == 0, said.err
        assert "not judged: time" in said.err
    rows = rows_of((tmp_path / "a.csv").read_text())
    for name, value in rows[5].items():
        if name.endswith("_peak_bytes"):
            rows[5][name] = str(round(1.06 * int(value)))
    lines = [csv_line(rows[0]), *(csv_line(row.values()) for row in rows)]
    (tmp_path / "d.csv").write_text("".join(lines))
    said = memtrain("compare", "a.csv", "d.csv", "--fail-over", "5%", cwd=tmp_path)
    assert said.code == 1
    named = [line for line in said.err.splitlines() if line.startswith("memtrain: ")]
    assert named == [f"memtrain: depth 4, batch 64, infer: {meter} +6.00 %" for meter in ("ledger", "heap")]


def test_files_without_a_common_cell_are_refused_and_the_difference_is_named(tmp_path):
    rows = some_rows()
    others = [replace(row, cell=row.cell.changed(depth=9)) for row in rows[:4]]
    (tmp_path / "a.csv").write_text(rows_csv(rows))
    (tmp_path / "b.csv").write_text(rows_csv(others))
    said = refused("compare", "a.csv", "b.csv", cwd=tmp_path)
    assert "no cell and mode in common (depth: 1, 2 before and 9 after)" in said
    train = [row for row in rows if row.mode is Mode.TRAIN]
    with pytest.raises(SpecError, match="mode: train before and infer after"):
        compare(train, [row for row in rows if row.mode is Mode.INFER])


def test_cells_that_fail_now_or_are_missing_are_regressions_and_new_ones_are_not():
    rows = some_rows()
    failed = grown(rows, 0)
    failed[0]["status"], failed[0]["reason"] = "killed", "by chance"
    found = compare(rows, failed[:-1]).regressions(Fraction(1, 20))
    assert [(pairing.cell["depth"], pairing.mode, what) for pairing, what in found] == [
        (1, Mode.TRAIN, "killed: by chance"),
        (2, Mode.INFER, "is missing"),
    ]
    assert compare(rows[:-1], rows).regressions(Fraction(0)) == []
    assert compare(failed, rows).regressions(Fraction(0)) == []


def test_a_figure_that_is_gone_and_a_new_cell_that_fails_are_regressions():
    rows = some_rows(heap=[1000])
    gone = grown(rows, 0)
    gone[2]["heap_peak_bytes"] = None
    assert [what for _, what in compare(rows, gone, ["heap"]).regressions(Fraction(1))] == ["heap is missing"]
    assert compare(gone, rows, ["heap"]).regressions(Fraction(0)) == []
    new = [*rows, replace(gone[2], cell=cell_of(depth=9), figures={**gone[2].figures, "status": "error"})]
    assert [what for _, what in compare(rows, new).regressions(Fraction(1))] == ["error: "]
    with pytest.raises(SpecError, match="no figures of heap"):
        compare(some_rows_without("heap"), rows, ["heap"])


def some_rows_without(meter):
    rows = grown(some_rows(), 0)
    for row in rows:
        row[f"{meter}_peak_bytes"] = None
    return rows


@pytest.mark.parametrize("tenths", [50, 70, 122, 219, 227, 235, 360])
def test_growth_of_exactly_what_is_allowed_is_allowed(tenths):
    rows = some_rows()
    for row in rows:
        row["heap_peak_bytes"] = 100_000
    more = grown(rows, 0)
    more[1]["heap_peak_bytes"] = 100_000 + 100 * tenths
    allowed = parse_percent(f"{tenths / 10}%", "--fail-over")
    assert compare(rows, more, ["heap"]).regressions(allowed) == []
    more[1]["heap_peak_bytes"] += 1
    assert len(compare(rows, more, ["heap"]).regressions(allowed)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "report a.csv -o a.csv",
        "compare a.csv a.csv --export-csv a.csv",
        "predict m.npz --export-csv m.npz",
        "train --data d.npz --save d.npz --epochs 1",
        "sweep --data d.npz --export-json d.npz --dry-run",
        "sweep --data d.npz --depth 1 --batch 2 --export-csv d.npz",
        "sweep --config s.toml --export-markdown s.toml --dry-run",
    ],
)
def test_what_a_command_reads_is_never_overwritten(line, tmp_path):
    (tmp_path / "a.csv").write_text(rows_csv(some_rows()))
    (tmp_path / "s.toml").write_text("width = 8\n")
    np.savez(tmp_path / "d.npz", x=np.zeros((20, 2)), y=np.arange(20) % 2)
    (tmp_path / "m.npz").write_bytes((tmp_path / "d.npz").read_bytes())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert "what is read" in refused(*line.split(), "--force", cwd=tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_comparison_shows_before_after_and_ratio_in_every_form(tmp_path):
    rows = some_rows(heap=[1000])
    (tmp_path / "a.csv").write_text(rows_csv(rows))
    (tmp_path / "b.csv").write_text(rows_csv(grown(rows, 1.0)))
    text = memtrain("compare", "a.csv", "b.csv", "--meters", "heap", "--export-csv", "-", cwd=tmp_path).out
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [float(line["heap_peak_bytes_ratio"]) for line in lines] == [1, 1, 1, 2, 1, 1, 1, 1]
    document = strict_json(memtrain("compare", "a.csv", "b.csv", "--json", cwd=tmp_path).out)
    assert document["rows"][3]["heap_peak_bytes"]["ratio"] == pytest.approx(2, rel=1e-6)
    for columns in ("80", "160"):
        shown = memtrain("compare", "a.csv", "b.csv", cwd=tmp_path, COLUMNS=columns).out
        assert "2.000" in shown
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= int(columns)


@pytest.mark.parametrize("line", ["a.csv no.csv", "a.csv a.csv --fail-over 5", "a.csv a.csv --meters smell"])
def test_what_cannot_be_compared_is_refused(line, tmp_path):
    (tmp_path / "a.csv").write_text(rows_csv(some_rows()))
    refused("compare", *line.split(), cwd=tmp_path)


@pytest.mark.parametrize("text", ["5", "-1%", "%", "five%", "", "1e3%"])
def test_what_is_no_share_is_refused(text):
    assert parse_percent("0.5 %", "--fail-over") == Fraction(5, 1000)
    with pytest.raises(RangeError, match="5%"):
        parse_percent(text, "--fail-over")


# --- a notebook --------------------------------------------------------------------------------------------


def test_rows_show_themselves_as_a_table_and_give_records():
    rows = Rows(some_rows(heap=[1000]))
    html = rows._repr_html_()
    assert html.count("<tr>") == 1 + len(rows)
    assert "<th>heap peak bytes</th>" in html
    assert "<th>width</th>" not in html  # it does not vary
    assert "reason" not in html
    records = rows.to_records()
    assert [record["depth"] for record in records] == [1] * 4 + [2] * 4
    assert list(records[0]) == COLUMNS
    rows[0]["status"], rows[0]["reason"] = "error", "<script>alert(1)</script>"
    assert "&lt;script&gt;" in rows._repr_html_()
    assert "<script>" not in rows._repr_html_()
    assert Rows()._repr_html_().count("<tr>") == 1
