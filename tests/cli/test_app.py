"""The command line as a user sees it: help, results, files and invalid input."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from command_line import COLUMNS, LEDGER, SMALL, called, memtrain, refused, rows_of, strict_json
from readmes import README, commands, commands_shown
from typer.main import get_command

from memtrain import __version__
from memtrain.cells.cell import BOTH, cell_of
from memtrain.cells.row import predicted_row
from memtrain.cli.app import app
from memtrain.sweeps.store import rows_csv

TRUTHS = ("bias", "foreach", "fused", "inplace", "retain_graph")

COMMANDS = get_command(app).commands
NOT_RUNNABLE = str(10**13)
"""A width whose first parameter needs more than any process can address."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A sweep with all meters, with JSON on stdout and rows in out.csv."""
    folder = tmp_path_factory.mktemp("measured")
    said = called(*SMALL, "--batch", "4,2000", "--json", "--export-csv", "out.csv", cwd=folder)
    return SimpleNamespace(**vars(said), csv=(folder / "out.csv").read_text())


@pytest.fixture(scope="module")
def partly_failed(tmp_path_factory):
    """A sweep in which one cell does not get its memory."""
    folder = tmp_path_factory.mktemp("failed")
    said = called(*LEDGER, "--width", f"{NOT_RUNNABLE},8", "--export-csv", "out.csv", cwd=folder)
    return SimpleNamespace(**vars(said), csv=(folder / "out.csv").read_text())


def examples():
    """The command lines in the examples of the help texts, but those that the test of the README runs."""
    text = README.read_text(encoding="utf-8")
    run = {*commands_shown(text), *(shlex.join(["memtrain", *words]) for words in commands(text))}
    return [
        line
        for command in (get_command(app), *COMMANDS.values())
        for found in re.findall(r"^ *memtrain (.*)$", command.help, re.MULTILINE)
        if f"memtrain {(line := found.partition('  #')[0].strip())}" not in run
    ]


@pytest.fixture(scope="module")
def files_of_examples(tmp_path_factory):
    """A trained network and the results of two sweeps, under the names that the help texts use."""
    folder = tmp_path_factory.mktemp("examples")
    train = ("train", "--epochs", 1, "--width", 8, "--save", "model.npz")
    assert called(*train, cwd=folder).code == 0
    sweep = ("sweep", "--depth", 1, "--batch", 8, "--width", 8, "--meters", "heap")
    assert called(*sweep, "--export-csv", "before.csv", cwd=folder).code == 0
    shutil.copy(folder / "before.csv", folder / "after.csv")
    return folder


@pytest.mark.parametrize("line", sorted(set(examples())))
def test_every_example_of_the_help_works_as_written(line, files_of_examples, tmp_path):
    for file in files_of_examples.glob("*.*"):
        if "--save" not in line:
            shutil.copy(file, tmp_path)
    if line.startswith("report"):
        sizes = [(1, 64), (2, 64), (8, 256)]
        rows = [
            predicted_row(cell_of(depth=depth, batch=batch), mode) for depth, batch in sizes for mode in BOTH
        ]
        for name in re.findall(r"\w+\.csv", line):
            (tmp_path / name).write_text(rows_csv(rows))
    cheaply = ["--meters", "ledger"] if line.startswith("sweep") and "--dry-run" not in line else []
    cheaply += ["--no-confirm", "--batch", "4096"] if line.startswith("frontier") else []
    cheaply += ["--batch", "64", "--width", "16"] if line.startswith("explain --activation") else []
    cheaply += ["--no-measure"] if line.startswith("plan") and "--no-measure" not in line else []
    assert called(*shlex.split(line), *cheaply, cwd=tmp_path).code == 0


def test_help_does_not_wait_for_numpy_and_the_version_is_shown(tmp_path):
    code = (
        "import sys\nfrom memtrain.cli.app import main\nsys.argv[1:] = ['sweep', '--help']\n"
        "try: main()\nfinally: print({'numpy', 'memray', 'psutil'} & set(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "set()\n")
    for option in ("--version", "-V"):
        assert memtrain(option, cwd=tmp_path).out == f"memtrain {__version__}\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sweep --depth ''", "--depth empty"),
        ("sweep --batch 16:1:x2", "--batch backwards 1:16:x2"),
        ("sweep --depth one", "--depth one whole number"),
        ("sweep --depth -1", "--depth -1 ≥ 0"),
        ("sweep --batch 0", "--batch 0 ≥ 1"),
        ("sweep --width -8", "--width -8 ≥ 1"),
        ("sweep --layers 10", "layers 784,512,10"),
        ("sweep --layers 10,5,3 --depth 2", "layers depth"),
        ("sweep --activation rleu", "rleu mean relu?"),
        ("sweep --optimizer adma", "adma mean adam?"),
        ("sweep --l2 nan", "--l2 nan finite"),
        ("sweep --meters heap,heat", "heat mean heap?"),
        ("sweep --mode trian", "trian mean train?"),
        ("sweep --jobs 0", "--jobs 0"),
        ("sweep --jobs two", "--jobs two"),
        ("sweep --timeout 0", "--timeout 0"),
        ("sweep --timeout nan", "--timeout nan"),
        ("sweep --timeout inf", "--timeout inf"),
        ("sweep --timeout 1e30", "--timeout 1e"),
        ("sweep --data missing.csv", "missing.csv not exist"),
        ("sweep --data ''", "--data empty"),
        ("sweep --data empty.csv", "empty.csv is empty"),
        ("sweep --data big.csv", "big.csv 1e+39"),
        ("sweep --export-csv ''", "--export-csv empty"),
        ("sweep --export-csv taken.csv/x.csv", "taken.csv"),
        (f"sweep --export-csv {'x' * 300}", "xxx"),
        ("sweep --export-csv new --export-json ./new", "new --export-csv --export-json"),
        ("sweep --depht 2", "--depht --depth"),
        ("sweep --depth", "--depth lacks its value"),
        ("sweep 5", "5"),
        ("swep", "swep sweep"),
        ("train --depth -1", "--depth -1"),
        ("train --width 0", "--width 0"),
        ("train --batch 1,2", "--batch 1,2"),
        ("train --lr nan", "lr nan > 0"),
        ("train --l2 -1", "l2 -1"),
        ("train --activation reluu", "reluu mean relu?"),
        ("train --data empty.csv", "empty.csv is empty"),
    ],
)
def test_bad_input_is_one_line_with_the_remedy_and_exit_2(line, words, tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "taken.csv").touch()
    (tmp_path / "big.csv").write_text("1e39,0\n1,1\n")
    said = refused(*shlex.split(line), cwd=tmp_path)
    assert all(word in said for word in words.split()), said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("option", ["--export-csv", "--export-json"])
def test_an_output_that_exists_is_refused_untouched_unless_forced(option, tmp_path):
    output = tmp_path / "out"
    output.write_text("mine")
    assert "--force" in refused(*LEDGER, option, "out", cwd=tmp_path)
    assert output.read_text() == "mine"
    assert called(*LEDGER, option, "out", "--force", cwd=tmp_path).code == 0
    assert "mine" not in output.read_text()


def test_json_and_csv_have_the_columns_of_the_contract_in_order(measured):
    assert measured.code == 0
    document = strict_json(measured.out)
    rows = rows_of(measured.csv)
    assert list(rows[0]) == COLUMNS
    assert [(row["batch"], row["mode"]) for row in document["rows"]] == [
        (batch, mode) for batch in (4, 2000) for mode in ("train", "infer")
    ]
    for row, line in zip(document["rows"], rows, strict=True):
        assert list(row)[: len(COLUMNS)] == COLUMNS
        shown = {name: "" if row[name] is None else str(row[name]) for name in COLUMNS}
        assert {**line, **dict.fromkeys(TRUTHS, "False")} == shown
        assert row["status"] == "ok"
        assert row["predicted_peak_bytes"] == row["ledger_peak_bytes"]
        peaks = [name for name in COLUMNS if re.fullmatch(r"peak_.*_bytes", name)]
        assert sum(row[name] for name in peaks) == row["ledger_peak_bytes"]
        assert min(row["heap_peak_bytes"], row["resident_peak_bytes"], row["step_s"]) >= 0
        assert sum(kept["bytes"] for kept in row["retained"]) == row["retained_bytes"]
    assert [kept["name"] for kept in document["rows"][0]["retained"]] == ["h", "logp"]
    assert [kept["bytes"] for kept in document["rows"][0]["retained"]] == [4 * 8 * 4, 4 * 10 * 4]
    assert document["environment"]["memtrain"] == __version__


def test_a_pipe_gets_no_blanks_at_the_ends_of_lines(measured, tmp_path):
    for line in (
        "sweep --depth 1,2 --batch 4 --dry-run",
        "explain --depth 1 --no-measure",
        "frontier --memory 1MiB --no-confirm --depth 1",
    ):
        plain = called(*line.split(), cwd=tmp_path).out
        coloured = called(*line.split(), cwd=tmp_path, FORCE_COLOR="1").out
        assert "\x1b" in coloured
        for text in (plain, coloured):
            assert len(text.splitlines()) > 5
            assert re.findall(r"^.* (?:\x1b\[[\d;]*m)*$", text, re.MULTILINE) == []


def test_batches_larger_than_the_data_are_said_on_stderr_and_pipes_get_no_escape_codes(measured):
    assert "batches larger than the 1,438 training examples of digits" in measured.err
    assert "out.csv" in measured.err
    assert "\x1b" not in measured.out + measured.err + measured.csv


def test_a_cell_that_fails_is_a_row_the_others_go_on_and_the_exit_code_is_1(partly_failed):
    assert partly_failed.code == 1
    rows = rows_of(partly_failed.csv)
    assert [row["status"] for row in rows] == ["memory_limit", "memory_limit", "ok", "ok"]
    assert all(row["reason"] and int(row["predicted_peak_bytes"]) > 10**15 for row in rows[:2])
    assert rows[0]["ledger_peak_bytes"] == rows[0]["peak_phase"] == ""
    assert f"width {NOT_RUNNABLE}" in re.sub(r"\s+", " ", partly_failed.out).replace(",", "")


def test_a_cell_that_fails_takes_no_digits_from_the_figures_of_the_others(partly_failed):
    line = next(line for line in partly_failed.out.splitlines() if re.match(r" +1 +4 +8 ", line))
    assert float(line.split()[3]) > 0
    assert not re.search(r"\d…", partly_failed.out)


def test_meters_that_are_not_asked_for_leave_their_columns_empty(tmp_path):
    assert called(*LEDGER, "--export-csv", "out.csv", cwd=tmp_path).code == 0
    for row in rows_of((tmp_path / "out.csv").read_text()):
        for name in ("heap_peak_bytes", "resident_peak_bytes", "baseline_bytes", "step_s", "reason"):
            assert row[name] == ""
        assert int(row["ledger_peak_bytes"]) > 0


def test_a_dry_run_predicts_and_writes_only_what_it_is_asked_for(tmp_path):
    said = called(*SMALL, "--batch", "4,8", "--dry-run", cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert "Predicted peak memory" in said.out
    assert list(tmp_path.iterdir()) == []
    rows = strict_json(called(*SMALL, "--dry-run", "--json", "--export-csv", "x.csv", cwd=tmp_path).out)[
        "rows"
    ]
    assert all(row["predicted_peak_bytes"] > 0 and row["ledger_peak_bytes"] is None for row in rows)
    written = rows_of((tmp_path / "x.csv").read_text())
    assert [row["ledger_peak_bytes"] for row in written] == [""] * len(rows)


def test_rows_go_to_a_new_file_under_results_unless_said_otherwise(tmp_path):
    for count in (1, 2):
        said = called(*LEDGER, cwd=tmp_path)
        files = sorted((tmp_path / "results").glob("*.csv"))
        assert len(files) == count
        assert any(str(file.relative_to(tmp_path)) in said.err for file in files)


@pytest.mark.parametrize(
    "line",
    [
        "sweep --depth 1,2 --batch 1,1024 --meters ledger,heap",
        "sweep --depth 1 --batch 4 --activation relu,gelu_tanh --optimizer sgd,momentum --meters ledger",
        "sweep --layers 10,200,300,400,500,600,700,800,900,10 --batch 16 --meters ledger",
        "train --epochs 1 --depth 1 --width 8",
    ],
)
def test_results_fit_into_80_columns_without_cutting_words(line, tmp_path):
    said = called(*line.split(), cwd=tmp_path)
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    assert not re.search(r"[a-z]…", said.out)


def test_training_learns_and_its_json_says_what_it_took(tmp_path):
    said = called("train", "--epochs", "3", "--width", "32", "--json", cwd=tmp_path)
    result = strict_json(said.out)
    assert (said.code, len(result["epoch_losses"])) == (0, 3)
    assert result["epoch_losses"][-1] < result["epoch_losses"][0]
    assert result["test_accuracy"] > 0.5
    assert result["training_peak_bytes"] > result["inference_peak_bytes"] > 0
