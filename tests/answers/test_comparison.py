"""Comparisons of two results: the figures that grew by more than the allowed share and beyond noise."""

from __future__ import annotations

import csv
import io
from fractions import Fraction

import pytest
from command_line import called, refused, rows_of, strict_json
from fake_host import FakeHost, in_turn
from measured_rows import grown, some_rows, some_rows_without

from memtrain.answers.comparison import MEASURED, compare
from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.kinds import csv_line
from memtrain.errors import RangeError, SpecError
from memtrain.measure.measured import measured_row
from memtrain.report.comparison import judgement_lines
from memtrain.sweeps.store import rows_csv
from memtrain.units import parse_percent

MIB = 1024**2


@pytest.mark.parametrize("meter", ["ledger_peak_bytes", "heap_peak_bytes"])
@pytest.mark.parametrize(("share", "code"), [(0.06, 1), (0.04, 0)])
def test_a_regression_of_6_percent_is_caught_at_5_and_one_of_4_is_not(share, code, meter, tmp_path):
    rows = some_rows(heap=[1000])
    (tmp_path / "a.csv").write_text(rows_csv(rows))
    (tmp_path / "b.csv").write_text(rows_csv(grown(rows, share, meter)))
    said = called("compare", "a.csv", "b.csv", "--fail-over", "5%", cwd=tmp_path)
    assert said.code == code, said.err
    name = "depth 1, batch 64, infer"
    assert (name in said.err) is bool(code)
    assert called("compare", "b.csv", "a.csv", "--fail-over", "5%", cwd=tmp_path).code == 0


ARRAYS = 10
"""The number of arrays of `one_cell`. Each may waste the rest of a page."""


def one_cell(meter, before, after, **known):
    """The rows of one cell before and after. A pair in ``known`` is a value before and after, too."""
    rows = [measured_row(FakeHost(in_turn(time=[0.1])), cell_of(), Mode.TRAIN) for _ in range(2)]
    known = {"peak_array_count": (ARRAYS, ARRAYS), **known}
    for name, pair in {MEASURED[meter]: (before, after), **known}.items():
        for row, value in zip(rows, pair, strict=True):
            row[name] = value
    return rows


def has_grown(meter, before, after, allowed, **known):
    """Whether the figure of the only cell has grown."""
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
    assert found[1] == f"{meter} from 0 B to 2 KiB"


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
        "ledger is judged: it has no noise",
        "heap is judged: it has no noise",
        "resident is judged: its noise is max(1 %, 1 MiB + 4 KiB per array), or the spread of "
        "repetitions if this is more",
        "time is not judged in 8 of 8 rows: fewer than 5 repetitions do not show its spread; measure both "
        "files with --repeat 5",
    ]
    judged, not_judged = judgement_lines(compare(repeated, repeated, ["time"]))
    assert judged == ("time is judged: its noise is 20 %, the spread of repetitions")
    assert not_judged.startswith("time is not judged in 6 of 8 rows: ")
    without = judgement_lines(compare(some_rows_without("heap"), single, ["ledger", "heap"]))
    assert without == [
        "ledger is judged: it has no noise",
        "heap is not judged: the first file has no figures of it",
    ]


@pytest.mark.measure
def test_identical_code_is_no_regression_and_a_row_that_grew_by_6_percent_is_named(tmp_path):
    sweep = ("sweep", "--depth", "1,4", "--batch", "64,256", "-q", "--export-csv")
    for name in ("a.csv", "b.csv"):
        assert called(*sweep, name, cwd=tmp_path).code == 0
    for one, other in (("a.csv", "b.csv"), ("b.csv", "a.csv")):
        said = called("compare", one, other, "--fail-over", "5%", cwd=tmp_path)
        assert said.code == 0, said.err
        assert "time is not judged" in said.err
        assert said.err.endswith("no figure that is judged grew by more than 5% and beyond its noise\n")
    rows = rows_of((tmp_path / "a.csv").read_text())
    for name, value in rows[5].items():
        if name.endswith("_peak_bytes"):
            rows[5][name] = str(round(1.06 * int(value)))
    lines = [csv_line(rows[0]), *(csv_line(row.values()) for row in rows)]
    (tmp_path / "d.csv").write_text("".join(lines))
    said = called("compare", "a.csv", "d.csv", "--fail-over", "5%", cwd=tmp_path)
    assert said.code == 1
    named = [line for line in said.err.splitlines() if line.startswith("memtrain: ")]
    assert named == [f"memtrain: depth 4, batch 64, infer: {meter} +6.00 %" for meter in ("ledger", "heap")]


def test_files_without_a_common_cell_are_refused_and_the_difference_is_named(tmp_path):
    rows = some_rows()
    others = [row.changed(cell=row.cell.changed(depth=9)) for row in rows[:4]]
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
    new = [*rows, gone[2].changed(cell=cell_of(depth=9), figures={**gone[2].figures, "status": "error"})]
    assert [what for _, what in compare(rows, new).regressions(Fraction(1))] == ["error: "]
    with pytest.raises(SpecError, match="no figures of heap"):
        compare(some_rows_without("heap"), rows, ["heap"])


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


def test_a_comparison_shows_before_after_and_ratio_in_every_form(tmp_path):
    rows = some_rows(heap=[1000])
    (tmp_path / "a.csv").write_text(rows_csv(rows))
    (tmp_path / "b.csv").write_text(rows_csv(grown(rows, 1.0)))
    text = called("compare", "a.csv", "b.csv", "--meters", "heap", "--export-csv", "-", cwd=tmp_path).out
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [float(line["heap_peak_bytes_ratio"]) for line in lines] == [1, 1, 1, 2, 1, 1, 1, 1]
    document = strict_json(called("compare", "a.csv", "b.csv", "--json", cwd=tmp_path).out)
    assert document["rows"][3]["heap_peak_bytes"]["ratio"] == pytest.approx(2, rel=1e-6)
    for columns in ("80", "160"):
        shown = called("compare", "a.csv", "b.csv", cwd=tmp_path, COLUMNS=columns).out
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
