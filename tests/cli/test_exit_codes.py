"""Exit codes under bad conditions: closed pipes, signals, full disks, missing memory, encodings."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from command_line import LEDGER, called, finish, memtrain, refused, rows_of, start, still_running, strict_json

LONG = ("sweep", "--depth", "1:60:+1", "--batch", "64", "--width", "32", "--export-csv", "out.csv")
QUICK_ROWS = ("--meters", "ledger")


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "--version",
        "sweep --help",
        "sweep --depth 1 --batch 4 --dry-run",
        "sweep --depth 1 --batch 4 --dry-run --json",
        "sweep --depth 1:9:+1 --batch 4 --meters ledger --json",
        "train --epochs 1 --width 8",
        "train --epochs 1 --width 8 --json",
    ],
)
def test_a_reader_that_closes_the_pipe_is_no_failure(line, tmp_path):
    process = start(*line.split(), cwd=tmp_path)
    process.stdout.close()
    process.stdout = None
    said = finish(process)
    assert said.code == 0, said.err


# The signal gives the exit code, and the arguments what is shown: no code looks at both.
@pytest.mark.parametrize(
    ("number", "code", "arguments"),
    [(signal.SIGINT, 130, ("--jobs", "3", "--json", *QUICK_ROWS)), (signal.SIGTERM, 143, ())],
)
def test_a_stopped_sweep_ends_its_children_and_shows_the_rows_it_has(number, code, arguments, tmp_path):
    output = tmp_path / "out.csv"
    process = start(*LONG, *arguments, cwd=tmp_path)
    while process.poll() is None and not (output.exists() and output.read_text().count("\n") > 3):
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.killpg(process.pid, number)
    said = finish(process)
    assert said.code == code
    assert still_running(children, timeout=20) == []
    rows = rows_of(output.read_text())
    assert 3 <= len(rows) < 120
    if "--json" in arguments:
        shown = len(strict_json(said.out)["rows"])
        assert abs(shown - len(rows)) <= 1  # the signal may arrive between the two writes
    else:
        assert "Peak memory" in said.out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_says_no_more_than_its_exit_code(number, code, tmp_path):
    process = start("train", "--epochs", "1000000", "--width", "8", cwd=tmp_path)
    while not any("numpy" in mapped.path for mapped in psutil.Process(process.pid).memory_maps()):
        time.sleep(0.01)
    os.killpg(process.pid, number)
    # Python ends itself by the signal, even if the interrupt is handled, where it meets code that C runs with
    # PyRun_String, as while extensions load. A shell then says 130, too.
    assert finish(process).code in ((code, -number) if number == signal.SIGINT else (code,))


@pytest.mark.parametrize("option", ["--export-csv", "--export-json"])
def test_a_disk_that_is_full_is_one_line_and_exit_1(option, tmp_path):
    outputs = {"--export-csv": "out.csv", option: "/dev/full"}
    arguments = [word for output in outputs.items() for word in output]
    said = called(*LEDGER, *arguments, "--force", cwd=tmp_path)
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert "/dev/full" in said.err
    assert "No space left" in said.err


@pytest.mark.parametrize(
    "line", ["--help", "train --epochs 1 --width 8", "train --epochs 1 --width 8 --json"]
)
def test_a_stdout_that_is_full_is_one_line_and_exit_1(line, tmp_path):
    with open("/dev/full", "wb") as full:
        assert "No space left" in refused(*line.split(), cwd=tmp_path, stdout=full, code=1)


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "file").touch()
    said = called(*LEDGER, "--export-csv", "out.csv", "--export-json", "file/out.json", cwd=tmp_path)
    assert said.code in (1, 2)
    assert not (tmp_path / "out.csv").exists() or not rows_of((tmp_path / "out.csv").read_text())


def test_a_batch_beyond_all_memory_fails_at_once(tmp_path):
    said = called(*LEDGER, "--batch", 10**15, "--timeout", "5", "--export-csv", "out.csv", cwd=tmp_path)
    assert said.code == 1
    assert {row["status"] for row in rows_of((tmp_path / "out.csv").read_text())} == {"memory_limit"}


@pytest.mark.parametrize("arguments", [("--width", 10**13), ("--batch", 10**13)])
def test_a_training_beyond_all_memory_is_refused_in_words(arguments, tmp_path):
    said = called("train", "--epochs", 1, *arguments, cwd=tmp_path)
    assert said.code in (1, 2)
    assert "emory" in said.err or "allocate" in said.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("train", "--epochs", 2, "--width", 8, "--lr", 1e9), "diverged"),
        (("plan", "--memory", "9KiB", "--depth", 4, "--width", 32, "--no-measure", "--cost", "flops"), "fit"),
    ],
)
def test_quiet_says_why_a_command_ends_with_1(words, reason, tmp_path):
    said = called(*words, "-q", cwd=tmp_path)
    assert said.code == 1
    assert reason in said.err


def test_a_cell_that_takes_too_long_is_a_row(tmp_path):
    sweep = (
        *LEDGER,
        "--steps",
        "100000000",
        "--timeout",
        "0.5",
        "--ignore-free-memory",
        "--export-csv",
        "out.csv",
    )
    assert called(*sweep, cwd=tmp_path).code == 1
    rows = rows_of((tmp_path / "out.csv").read_text())
    assert [(row["status"], row["ledger_peak_bytes"]) for row in rows] == [("timeout", "")] * 2
    assert all("0.5 s" in row["reason"] for row in rows)


def test_data_with_too_few_examples_to_test_on_are_no_bug_of_ours(tmp_path):
    (tmp_path / "two.csv").write_text("1,2,0\n3,4,1\n")
    said = called("train", "--data", "two.csv", "--epochs", 1, "--width", 4, cwd=tmp_path)
    assert said.code in (0, 2)


@pytest.mark.parametrize(
    ("line", "code"),
    [("train --epochs 1 --width 8 --lr 1e30", 1), ("sweep --depth 1 --batch 4 --l2 1e308", 0)],
)
def test_a_diverging_loss_is_valid_json_and_no_warning_of_numpy(line, code, tmp_path):
    said = called(*line.split(), "--json", cwd=tmp_path)
    assert said.code == code
    assert "Warning" not in said.err
    strict_json(said.out)


@pytest.mark.parametrize("line", [" ".join(LEDGER), "train --epochs 1 --width 8"])
def test_a_terminal_without_unicode_gets_results_too(line, tmp_path):
    said = memtrain(*line.split(), cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert said.code == 0
    assert "memory" in said.out


def test_a_data_file_whose_name_is_no_unicode_is_measured_too(tmp_path):
    name = os.fsdecode(b"\xff.npz")
    np.savez(tmp_path / name, x=np.zeros((20, 2)), y=np.arange(20) % 2)
    assert called(*LEDGER, "--data", name, cwd=tmp_path).code == 0


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_no_color_is_set(no_color, coloured, tmp_path):
    ours, theirs = pty.openpty()
    process = start(
        *LEDGER, cwd=tmp_path, stdout=theirs, stderr=theirs, TERM="xterm-256color", NO_COLOR=no_color
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # so Linux reports that the other side has closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert b"Peak memory" in shown
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-9]", shown)) is coloured


@pytest.mark.parametrize(
    ("number", "code", "arguments"), [(signal.SIGINT, 130, ()), (signal.SIGTERM, 143, ("--json",))]
)
def test_a_stopped_sweep_whose_reader_has_gone_still_says_how_to_go_on(number, code, arguments, tmp_path):
    output = tmp_path / "out.csv"
    process = start(*LONG, *QUICK_ROWS, *arguments, cwd=tmp_path)
    process.stdout.close()
    process.stdout = None
    while process.poll() is None and not (output.exists() and output.read_text().count("\n") > 3):
        time.sleep(0.01)
    os.killpg(process.pid, number)
    said = finish(process)
    assert said.code == code
    assert "memtrain sweep --resume out.csv" in said.err


@pytest.mark.parametrize("name", ["it's ü at a:100: $HOME.csv", "tab\there's ü \udcff.csv"])
def test_the_resume_command_works_as_it_is_printed(name, tmp_path):
    output = tmp_path / name
    process = start(*LONG[:-1], name, *QUICK_ROWS, cwd=tmp_path)
    while process.poll() is None and not (output.exists() and output.read_text().count("\n") > 1):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)
    (command,) = re.findall(r"continue with: memtrain (.*)$", said.err, re.MULTILINE)
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
    ).stdout.split(b"\0")
    assert shown[:-1] == [b"sweep", b"--resume", os.fsencode(name)]


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_closed_stream_is_no_failure_and_no_file_takes_its_place(closed, tmp_path):
    line = f"{sys.executable} -m memtrain {' '.join(LEDGER)} --export-csv out.csv {closed}>&-"
    ran = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert len((tmp_path / "out.csv.journal").read_text().splitlines()) == 3
