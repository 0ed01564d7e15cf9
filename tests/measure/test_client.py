"""Faults in real processes and on real disks: each ends in the promised way, never in a wrong number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from command_line import finish, memtrain, rows_of, start

from memtrain.measure import client
from memtrain.sweeps.journal import journal_path

pytestmark = [pytest.mark.measure, pytest.mark.skipif(sys.platform != "linux", reason="meters need Linux")]

FAULTY = Path(__file__).with_name("faulty_server.py")
SWEEP = ("sweep", "--depth", "1,2,3", "--batch", "64", "--width", "16", "--mode", "train")
METERED = (*SWEEP, "--meters", "ledger,heap,resident")


def with_fault(fault, *arguments, cwd, **environment):
    """Run memtrain with measuring servers that have a fault."""
    code = (
        "import sys, memtrain.measure.client as client\n"
        f"client.SERVER_COMMAND = (sys.executable, {str(FAULTY)!r})\n"
        "from memtrain.__main__ import main\nmain()"
    )
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "COLUMNS": "80", "FAULT": fault, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    return finish(process)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB of its own; skips where mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk, leave):
    """Fill a disk but for some bytes."""
    room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with open(disk / "filler", "wb") as file:
        file.write(bytes(max(0, room - leave)))


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("ledger:sigkill", "killed", "SIGKILL"),
        ("ledger:sigsegv", "killed", "SIGSEGV"),
        ("ledger:memory", "memory_limit", "Unable to allocate"),
        ("ledger:garbage", "error", "no figures"),
        ("ledger:no_object", "error", "no figures"),
        ("ledger:hang", "timeout", "no figures after 2 s"),
        ("resident:sigkill", "killed", "SIGKILL"),
        ("heap:hang", "timeout", "no figures after 2 s"),
    ],
)
def test_a_child_that_comes_to_grief_is_a_row_and_the_sweep_goes_on(fault, status, words, tmp_path):
    said = with_fault(fault, *METERED, "--timeout", "2", "--export-csv", "out.csv", cwd=tmp_path)
    assert said.code == 1, said.err
    good, bad, also_good = rows_of((tmp_path / "out.csv").read_text())
    assert (good["status"], bad["status"], also_good["status"]) == ("ok", status, "ok")
    assert words in bad["reason"]
    meter = fault.partition(":")[0]
    assert bad[f"{meter}_peak_bytes"] == ""
    assert bad["predicted_peak_bytes"] != ""
    for row in (good, also_good):
        assert row["ledger_peak_bytes"] == row["predicted_peak_bytes"]
        assert abs(int(row["heap_peak_bytes"]) - int(row["ledger_peak_bytes"])) <= 16384


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("heap:small_files", ""),
        ("heap:fails", "deactivating tracking"),
        ("heap:stops_early", "closing control"),
        ("heap:no_control", "control allocation|were alive"),
    ],
)
def test_a_heap_meter_that_cannot_be_trusted_leaves_its_column_empty(fault, words, tmp_path):
    import re

    said = with_fault(fault, *METERED, "--export-csv", "out.csv", cwd=tmp_path)
    assert said.code == 1, said.err
    good, bad, also_good = rows_of((tmp_path / "out.csv").read_text())
    assert (good["status"], bad["status"], also_good["status"]) == ("ok", "error", "ok")
    assert bad["heap_peak_bytes"] == ""
    assert re.search(words, bad["reason"])
    assert bad["ledger_peak_bytes"] == bad["predicted_peak_bytes"]


@pytest.mark.parametrize(
    ("fault", "said"), [("heap:remarks", ""), ("heap:chats", "the heap meter also said")]
)
def test_a_heap_meter_that_writes_something_else_keeps_its_figure(fault, said, tmp_path):
    """Debian's Python makes memray warn, and PYTHONPROFILEIMPORTTIME makes Python write."""
    found = with_fault(fault, *METERED, "--export-csv", "out.csv", cwd=tmp_path)
    assert found.code == 0, found.err
    for row in rows_of((tmp_path / "out.csv").read_text()):
        assert row["status"] == "ok"
        assert 0 < int(row["heap_peak_bytes"]) - int(row["ledger_peak_bytes"]) < 16384
    assert ("also said" in found.err) == bool(said)
    assert said in found.err


@pytest.mark.parametrize("leave", [0, 8192, 65536])
def test_a_disk_that_is_full_gives_no_heap_figure(leave, small_disk, tmp_path):
    """memray by itself would say nothing in Python and give a peak that is too small."""
    fill(small_disk, leave)
    sweep = ("sweep", "--depth", "2", "--batch", "64", "--mode", "train", "--meters", "heap")
    said = with_fault(
        "heap:unguarded", *sweep, "--steps", "30", "--export-csv", "out.csv", cwd=tmp_path, TMPDIR=small_disk
    )
    (row,) = rows_of((tmp_path / "out.csv").read_text())
    ledger = int(row["ledger_peak_bytes"])
    if row["status"] == "ok":  # without any room Python takes another folder; or there was enough
        assert leave != 8192
        assert abs(int(row["heap_peak_bytes"]) - ledger) <= max(0.001 * ledger, 16384)
    else:
        assert (said.code, row["status"], row["heap_peak_bytes"]) == (1, "error", "")


def test_a_disk_with_too_little_room_for_memray_is_seen_before(small_disk, tmp_path):
    said = memtrain(*METERED, "--export-csv", "out.csv", cwd=tmp_path, TMPDIR=small_disk)
    assert said.code == 1
    for row in rows_of((tmp_path / "out.csv").read_text()):
        assert (row["status"], row["heap_peak_bytes"]) == ("error", "")
        assert "TMPDIR" in row["reason"]


def test_a_results_disk_that_fills_up_is_one_clear_error_and_what_was_written_is_readable(
    small_disk, tmp_path
):
    fill(small_disk, 24 * 1024)
    sweep = ("sweep", "--depth", "1:40:+1", "--batch", "8", "--width", "8", "--meters", "ledger")
    said = memtrain(*sweep, "--export-csv", small_disk / "out.csv", cwd=tmp_path)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "No space left" in said.err
    stored = rows_of((small_disk / "out.csv").read_text())
    assert 0 < len(stored) < 80
    (small_disk / "filler").unlink()
    resumed = memtrain("sweep", "--resume", small_disk / "out.csv", cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    rows = rows_of((small_disk / "out.csv").read_text())
    assert len(rows) == 80
    assert rows[: len(stored)] != []
    assert all(row["ledger_peak_bytes"] == row["predicted_peak_bytes"] for row in rows)


def test_a_directory_that_is_read_only_is_one_clear_error(small_disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    said = memtrain(*SWEEP, "--meters", "ledger", "--export-csv", small_disk / "out.csv", cwd=tmp_path)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "Read-only" in said.err


def test_a_file_that_vanishes_is_one_clear_error(tmp_path):
    output = tmp_path / "out.csv"
    process = start(*LONG, "--export-csv", "out.csv", cwd=tmp_path)
    wait_for_rows(process, output, 3)
    journal_path(output).unlink()
    said = finish(process)
    assert said.code == 1
    assert "taken away" in said.err
    assert said.err.count("\n") == 1
    assert len(rows_of(output.read_text())) >= 3


LONG = ("sweep", "--depth", "1:40:+1", "--batch", "64", "--width", "16", "--meters", "ledger,heap")


def wait_for_rows(process, output, count):
    while process.poll() is None and not (output.exists() and output.read_text().count("\n") > count):
        time.sleep(0.01)
    assert process.poll() is None


def columns_that_stay(text):
    """What a row has in every run: not the resident peak, the baseline or the time."""
    return [
        {k: v for k, v in row.items() if k not in ("baseline_bytes", "resident_peak_bytes", "step_s")}
        for row in rows_of(text)
    ]


def test_a_sweep_that_is_killed_at_any_moment_loses_no_finished_row_and_goes_on(tmp_path):
    whole = tmp_path / "whole.csv"
    sweep = ("sweep", "--depth", "1:12:+1", "--batch", "64", "--width", "16", "--meters", "ledger,heap")
    assert memtrain(*sweep, "--export-csv", whole, cwd=tmp_path).code == 0

    output = tmp_path / "killed.csv"
    arguments, before = [*sweep, "--export-csv", output], 0
    for delay in (0.3, 0.0, 0.1, 0.2):
        process = start(*arguments, cwd=tmp_path)
        while process.poll() is None and not output.exists():
            time.sleep(0.01)
        time.sleep(delay)
        if process.poll() is not None:
            break
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
        rows = rows_of(output.read_text())
        lines = journal_path(output).read_bytes().split(b"\n")
        assert len(lines) - 2 >= len(rows) >= before  # all but the header and what is torn
        before = len(rows)
        arguments = ["sweep", "--resume", output]
    resumed = memtrain("sweep", "--resume", output, cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    assert columns_that_stay(output.read_text()) == columns_that_stay(whole.read_text())


def test_an_interrupted_sweep_says_how_to_go_on_and_what_it_says_works(tmp_path):
    output = tmp_path / "out.csv"
    process = start(*LONG, "--export-csv", "out.csv", cwd=tmp_path)
    wait_for_rows(process, output, 3)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, alive = psutil.wait_procs(children, timeout=2)
    said = finish(process)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    assert said.code == 130
    assert "memtrain sweep --resume out.csv" in said.err
    assert "Peak memory" in said.out


def test_two_sweeps_cannot_write_the_same_file(tmp_path):
    output = tmp_path / "out.csv"
    process = start(*LONG, "--export-csv", "out.csv", cwd=tmp_path)
    wait_for_rows(process, output, 1)
    for second in (("sweep", "--resume", "out.csv"), (*SWEEP, "--export-csv", "out.csv", "--force")):
        said = memtrain(*second, cwd=tmp_path)
        assert said.code == 2
        assert "being written by another sweep" in said.err
    os.killpg(process.pid, signal.SIGINT)
    finish(process)
    rows = rows_of(output.read_text())
    assert {row["width"] for row in rows} == {"16"}
    assert [row["depth"] for row in rows] == sorted((row["depth"] for row in rows), key=int)


def test_a_server_that_talks_is_a_row_with_a_reason(tmp_path):
    """Whatever prints when Python starts comes before our first line."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'memtrain.measure.server' in sys.orig_argv: print('hello')\n"
    )
    said = memtrain(*SWEEP, "--meters", "ledger", cwd=tmp_path, PYTHONPATH=tmp_path)
    assert said.code == 1
    assert "hello" in said.err


def test_nothing_stays_in_the_temporary_folder(tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    process = start(*LONG, "--export-csv", "out.csv", cwd=tmp_path, TMPDIR=place)
    wait_for_rows(process, tmp_path / "out.csv", 3)
    assert list(place.iterdir())
    os.killpg(process.pid, signal.SIGINT)
    finish(process)
    assert list(place.iterdir()) == []


def test_a_probe_for_the_law_that_hangs_is_given_up(tmp_path):
    sweep = ("sweep", "--depth", "4,8", "--batch", "64", "--width", "16", "--mode", "train")
    said = with_fault("heap:hang_elsewhere", *sweep, "--meters", "heap", "--timeout", "1", cwd=tmp_path)
    assert said.code == 0, said.err
    assert "Peak memory" in said.out


def test_a_reply_that_comes_together_with_the_greeting_is_read(monkeypatch):
    lines = '{"ready": true}\n{"status": 0, "output": "x", "messages": ""}\n'
    code = f"import sys, time; sys.stdout.write({lines!r}); sys.stdout.flush(); time.sleep(60)"
    monkeypatch.setattr(client, "SERVER_COMMAND", (sys.executable, "-c", code))
    server = client.Server(timing=False, threads=1)
    try:
        assert server.ask({"meter": "ledger"}, 10)["output"] == "x"
    finally:
        server.close()
