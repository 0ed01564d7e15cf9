"""Measuring processes that fail, and full disks: they give a row with the reason, never a wrong figure."""

from __future__ import annotations

import re
import sys

import pytest
from command_line import called, rows_of
from disks import fill
from paths import TESTS

from memtrain.measure import client

pytestmark = [pytest.mark.measure, pytest.mark.skipif(sys.platform != "linux", reason="meters need Linux")]

FAULTY = TESTS / "faulty_server.py"
SWEEP = ("sweep", "--depth", "1,2,3", "--batch", "64", "--width", "16", "--mode", "train")
METERED = (*SWEEP, "--meters", "ledger,heap,resident")


def with_fault(fault, *arguments, cwd, **environment):
    """Run memtrain with measuring servers that have ``fault``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "SERVER_COMMAND", (sys.executable, str(FAULTY)))
        return called(*arguments, cwd=cwd, FAULT=fault, **environment)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("ledger:sigkill", "killed", "SIGKILL"),
        ("ledger:sigsegv", "killed", "SIGSEGV"),
        ("ledger:memory", "memory_limit", "Unable to allocate"),
        ("ledger:garbage", "error", "no figures"),
        ("ledger:no_object", "error", "no figures"),
        ("resident:sigkill", "killed", "SIGKILL"),
        ("heap:hang", "timeout", "no figures after 2 s"),
    ],
)
def test_a_child_that_fails_gives_a_row_and_the_sweep_continues(fault, status, words, tmp_path):
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
        # It can be below the ledger: small blocks that numpy keeps from the warm-up are not requested again.
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
    said = with_fault(fault, *METERED, "--export-csv", "out.csv", cwd=tmp_path)
    assert said.code == 1, said.err
    good, bad, also_good = rows_of((tmp_path / "out.csv").read_text())
    assert (good["status"], bad["status"], also_good["status"]) == ("ok", "error", "ok")
    assert bad["heap_peak_bytes"] == ""
    assert re.search(words, bad["reason"])
    assert bad["ledger_peak_bytes"] == bad["predicted_peak_bytes"]


@pytest.mark.parametrize(("fault", "said"), [("heap:remarks", ""), ("heap:chats", "memray also wrote")])
def test_a_heap_meter_that_writes_something_else_keeps_its_figure(fault, said, tmp_path):
    """Debian's Python makes memray warn, and PYTHONPROFILEIMPORTTIME makes Python write."""
    found = with_fault(fault, *METERED, "--export-csv", "out.csv", cwd=tmp_path)
    assert found.code == 0, found.err
    for row in rows_of((tmp_path / "out.csv").read_text()):
        assert row["status"] == "ok"
        # It can be below the ledger: small blocks that numpy keeps from the warm-up are not requested again.
        assert abs(int(row["heap_peak_bytes"]) - int(row["ledger_peak_bytes"])) < 16384
    assert ("also wrote" in found.err) == bool(said)
    assert said in found.err


@pytest.mark.parametrize("leave", [0, 8192, 65536])
def test_a_disk_that_is_full_gives_no_heap_figure(leave, small_disk, tmp_path):
    """memray itself would raise no error and give a peak that is too small."""
    fill(small_disk, leave)
    sweep = ("sweep", "--depth", "2", "--batch", "64", "--mode", "train", "--meters", "heap")
    said = with_fault(
        "heap:unguarded", *sweep, "--steps", "30", "--export-csv", "out.csv", cwd=tmp_path, TMPDIR=small_disk
    )
    (row,) = rows_of((tmp_path / "out.csv").read_text())
    ledger = int(row["ledger_peak_bytes"])
    if row["status"] == "ok":  # Python used another folder, or there was enough room
        assert leave != 8192
        # It can be below the ledger: small blocks that numpy keeps from the warm-up are not requested again.
        assert abs(int(row["heap_peak_bytes"]) - ledger) <= max(0.001 * ledger, 16384)
    else:
        assert (said.code, row["status"], row["heap_peak_bytes"]) == (1, "error", "")


def test_a_disk_with_too_little_room_for_memray_is_seen_before(small_disk, tmp_path):
    said = called(*METERED, "--export-csv", "out.csv", cwd=tmp_path, TMPDIR=small_disk)
    assert said.code == 1
    for row in rows_of((tmp_path / "out.csv").read_text()):
        assert (row["status"], row["heap_peak_bytes"]) == ("error", "")
        assert "TMPDIR" in row["reason"]


def test_a_server_that_prints_gives_a_row_with_a_reason(tmp_path):
    """Text that is printed when Python starts comes before our first line."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'memtrain.measure.server' in sys.orig_argv: print('hello')\n"
    )
    said = called(*SWEEP, "--meters", "ledger", cwd=tmp_path, PYTHONPATH=tmp_path)
    assert said.code == 1
    assert "hello" in said.err


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
