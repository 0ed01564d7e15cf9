"""Sweeps that are killed, interrupted or lose their disk: no finished row is lost, and all can be resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from command_line import called, finish, rows_of, start, still_running, wait_for_rows
from disks import fill

from memtrain.sweeps.journal import journal_path

pytestmark = [pytest.mark.measure, pytest.mark.skipif(sys.platform != "linux", reason="meters need Linux")]

SWEEP = ("sweep", "--depth", "1,2,3", "--batch", "64", "--width", "16", "--mode", "train")
LONG = ("sweep", "--depth", "1:60:+1", "--batch", "64", "--width", "16", "--meters", "ledger")
SLOW = (*LONG[:-1], "ledger,heap")


def test_a_results_disk_that_fills_up_is_one_clear_error_and_what_was_written_is_readable(
    small_disk, tmp_path
):
    fill(small_disk, 24 * 1024)
    sweep = ("sweep", "--depth", "1:40:+1", "--batch", "8", "--width", "8", "--meters", "ledger")
    said = called(*sweep, "--export-csv", small_disk / "out.csv", cwd=tmp_path)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "No space left" in said.err
    stored = rows_of((small_disk / "out.csv").read_text())
    assert 0 < len(stored) < 80
    (small_disk / "filler").unlink()
    resumed = called("sweep", "--resume", small_disk / "out.csv", cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    rows = rows_of((small_disk / "out.csv").read_text())
    assert len(rows) == 80
    assert rows[: len(stored)] != []
    assert all(row["ledger_peak_bytes"] == row["predicted_peak_bytes"] for row in rows)


def test_a_directory_that_is_read_only_is_one_clear_error(small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    said = called(*SWEEP, "--meters", "ledger", "--export-csv", small_disk / "out.csv", cwd=tmp_path)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "Read-only" in said.err


def test_a_file_that_vanishes_is_one_clear_error(tmp_path):
    output = tmp_path / "out.csv"
    process = start(*LONG, "--export-csv", "out.csv", cwd=tmp_path)
    wait_for_rows(process, output, 3)
    journal_path(output).unlink()
    said = finish(process)
    assert said.code == 1
    assert "moved or removed" in said.err
    assert said.err.count("\n") == 1
    assert len(rows_of(output.read_text())) >= 3


def columns_that_stay(text):
    """The columns that are the same in every run: all except resident peak, baseline and time."""
    return [
        {k: v for k, v in row.items() if k not in ("baseline_bytes", "resident_peak_bytes", "step_s")}
        for row in rows_of(text)
    ]


def test_a_sweep_that_is_killed_at_any_moment_loses_no_finished_row_and_goes_on(tmp_path):
    whole = tmp_path / "whole.csv"
    sweep = ("sweep", "--depth", "1:7:+1", "--batch", "64", "--width", "16", "--meters", "ledger,heap")
    assert called(*sweep, "--export-csv", whole, cwd=tmp_path).code == 0

    output = tmp_path / "killed.csv"
    arguments, before = [*sweep, "--export-csv", output], 0
    for delay in (0.3, 0.1):
        process = start(*arguments, cwd=tmp_path)
        while process.poll() is None and not output.exists():
            time.sleep(0.01)
        time.sleep(delay)
        if process.poll() is not None:
            break
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert still_running(children, timeout=5) == []
        rows = rows_of(output.read_text())
        lines = journal_path(output).read_bytes().split(b"\n")
        assert len(lines) - 2 >= len(rows) >= before  # all except the header and an incomplete line
        before = len(rows)
        arguments = ["sweep", "--resume", output]
    resumed = called("sweep", "--resume", output, cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    assert columns_that_stay(output.read_text()) == columns_that_stay(whole.read_text())


def test_an_interrupted_sweep_says_how_to_go_on_and_what_it_says_works(tmp_path):
    output = tmp_path / "out.csv"
    process = start(*LONG, "--export-csv", "out.csv", cwd=tmp_path)
    wait_for_rows(process, output, 3)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)
    assert still_running(children, timeout=2) == []
    assert said.code == 130
    assert "memtrain sweep --resume out.csv" in said.err
    assert "Peak memory" in said.out


def test_two_sweeps_cannot_write_the_same_file(tmp_path):
    output = tmp_path / "out.csv"
    process = start(*SLOW, "--export-csv", "out.csv", cwd=tmp_path)
    wait_for_rows(process, output, 1)
    for second in (("sweep", "--resume", "out.csv"), (*SWEEP, "--export-csv", "out.csv", "--force")):
        said = called(*second, cwd=tmp_path)
        assert said.code == 2
        assert "another sweep is writing" in said.err
    os.killpg(process.pid, signal.SIGINT)
    finish(process)
    rows = rows_of(output.read_text())
    assert {row["width"] for row in rows} == {"16"}
    assert [row["depth"] for row in rows] == sorted((row["depth"] for row in rows), key=int)
