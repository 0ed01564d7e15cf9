"""Temporary folders: those of killed processes are removed, and all others stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time

import psutil
import pytest
from command_line import finish, memtrain, start, wait_for_rows

from memtrain.measure.temporary import OWNER, PREFIX, TemporaryFolder, sweep_abandoned

pytestmark = pytest.mark.measure

HOLD = """
import sys
from memtrain.measure.temporary import TemporaryFolder
folder = TemporaryFolder()
open(folder.name + "/left", "w").close()
print(folder.name, flush=True)
sys.stdin.read()
"""
SWEEP = ("sweep", "--depth", "1:60:+1", "--batch", "64", "--width", "32", "--meters", "ledger,heap")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder for the temporary files of one test."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def holder():
    """A process that owns a folder, and the path of the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def end(process):
    process.kill()
    process.communicate()


def test_the_folder_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(place):
    killed, abandoned = holder()
    living, held = holder()
    end(killed)
    assert os.path.exists(abandoned + "/left")
    sweep_abandoned()
    assert not os.path.exists(abandoned)
    assert os.path.exists(held + "/left")
    end(living)
    TemporaryFolder().cleanup()
    assert list(place.iterdir()) == []


def test_a_folder_whose_owner_was_killed_before_it_could_lock_it_is_swept(place):
    (place / f"{PREFIX}empty").mkdir()
    sweep_abandoned()
    assert list(place.iterdir()) == []


def test_folders_without_our_owner_file_or_of_other_users_are_not_touched(place, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / OWNER).touch()
    (place / f"{PREFIX}link").symlink_to(outside)
    (place / f"{PREFIX}no-owner").mkdir()
    (place / f"{PREFIX}no-owner" / "file").touch()
    (place / f"{PREFIX}file").touch()
    (place / "other").mkdir()
    (place / "other" / OWNER).touch()
    if os.geteuid() == 0:
        theirs = place / f"{PREFIX}theirs"
        theirs.mkdir()
        (theirs / OWNER).touch()
        os.chown(theirs, 12345, 12345)
    before = sorted(place.rglob("*"))
    sweep_abandoned()
    assert sorted(place.rglob("*")) == before
    assert (outside / OWNER).exists()


def test_many_who_start_at_once_keep_their_folders(place):
    code = (
        "from pathlib import Path\nfrom memtrain.measure.temporary import TemporaryFolder\n"
        "for _ in range(300):\n"
        "    folder = TemporaryFolder()\n"
        "    Path(folder.name, 'mine').write_text('x')\n"
        "    assert Path(folder.name, 'mine').exists()\n"
        "    folder.cleanup()\n"
    )
    processes = [subprocess.Popen([sys.executable, "-W", "error", "-c", code]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    assert list(place.iterdir()) == []


def test_a_sweep_that_is_killed_leaves_folders_that_the_next_one_removes(place, tmp_path):
    process = start(*SWEEP, "--export-csv", "out.csv", cwd=tmp_path)
    while process.poll() is None and not list(place.glob(f"{PREFIX}*")):
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(children, timeout=20)
    assert list(place.iterdir())
    said = memtrain("sweep", "--depth", "1", "--batch", "4", "--meters", "ledger", cwd=tmp_path)
    assert said.code == 0, said.err
    assert list(place.iterdir()) == []


def test_nothing_stays_in_the_temporary_folder(tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    process = start(*SWEEP, "--export-csv", "out.csv", cwd=tmp_path, TMPDIR=place)
    wait_for_rows(process, tmp_path / "out.csv", 3)
    assert list(place.iterdir())
    os.killpg(process.pid, signal.SIGINT)
    finish(process)
    assert list(place.iterdir()) == []
