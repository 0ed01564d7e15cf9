"""Files that cannot be written or read: the error comes before the work, and no result is lost."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import LEDGER, called, finish, refused, rows_of, start

from memtrain.errors import InputError, StoreError
from memtrain.files import check_outputs, open_regular, write_new
from memtrain.sweeps.journal import journal_path

FRONTIER = ("frontier", "--memory", "1MiB", "--depth", "1", "--no-confirm")
LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from memtrain.__main__ import main
main()
"""


@pytest.fixture
def disk(tmp_path):
    """A new file system. The test is skipped if mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def read_only(disk):
    """A folder in which no user can write, not even root."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return disk


@pytest.fixture
def full(disk):
    """A disk without a free byte."""
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize))
    return disk


# --- outputs are tried before the work -------------------------------------------------------------------


@pytest.mark.parametrize("where", ["read_only", "full"])
def test_a_path_that_cannot_be_written_is_found_by_trying(where, request):
    place = request.getfixturevalue(where)
    before = sorted(place.iterdir())
    words = {"read_only": "Read-only", "full": "No space left.*free some space"}[where]
    with pytest.raises(StoreError, match=words):
        check_outputs({"--save": place / "m.npz"}, False)
    assert sorted(place.iterdir()) == before


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_a_file_system_that_takes_no_files_is_found_by_trying_also_by_root():
    with pytest.raises((StoreError, InputError)):
        check_outputs({"--save": Path("/proc/m.npz")}, False)


def test_trying_leaves_nothing_and_touches_no_file_that_is_there(tmp_path):
    old = tmp_path / "old.csv"
    old.write_text("mine")
    check_outputs({"--export-csv": old, "--html": tmp_path / "new.html"}, True)
    assert [file.name for file in tmp_path.iterdir()] == ["old.csv"]
    assert old.read_text() == "mine"


@pytest.mark.parametrize(
    "line",
    [
        ("train", "--epochs", "100000000", "--width", "8", "--save"),
        ("plan", "--memory", "1MiB", "--depth", "1", "--export-csv"),
        (*FRONTIER[:-1], "--export-csv"),
        ("explain", "--svg"),
        (*LEDGER, "--html"),
        (*LEDGER, "--export-csv"),
        ("predict", "model.npz", "--export-csv"),
    ],
    ids=lambda line: f"{line[0]} {line[-1]}",
)
def test_no_command_works_for_an_output_that_cannot_be_written(line, read_only, tmp_path):
    name = read_only / ("m.npz" if "--save" in line else "out.csv")
    said = refused(*line, name, cwd=tmp_path, code=1)
    assert "Read-only" in said
    assert [file.name for file in tmp_path.iterdir()] == ["disk"]


@pytest.mark.parametrize(
    "line",
    [("explain", "--svg"), (*FRONTIER, "--export-csv"), (*LEDGER, "--export-csv"), (*LEDGER, "--html")],
)
def test_an_output_goes_into_a_folder_that_exists(line, tmp_path):
    said = refused(*line, "no/such folder/a.svg", cwd=tmp_path)
    assert f"the folder {tmp_path}/no/such folder does not exist" in said
    assert f"mkdir -p '{tmp_path}/no/such folder'" in said
    assert list(tmp_path.iterdir()) == []


def test_only_the_folder_of_results_and_that_of_pictures_are_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = Path("results")
    check_outputs({"--export-csv": results / "x.csv"}, False)
    assert list(tmp_path.iterdir()) == []
    write_new(results / "x.csv", "a", False)
    assert (tmp_path / "results" / "x.csv").read_text() == "a\n"
    with pytest.raises(InputError, match="does not exist"):
        check_outputs({"--export-csv": results / "more" / "x.csv"}, False)
    with pytest.raises(StoreError, match="No such file"):
        write_new(tmp_path / "else" / "x.csv", "a", False)


def test_a_path_that_is_no_file_is_refused_with_its_kind(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, words in (("socket", "a socket"), ("", "a directory")):
            with pytest.raises(InputError, match=f"is {words}"):
                check_outputs({"--html": tmp_path / name}, True)
    with pytest.raises((InputError, StoreError)):
        check_outputs({"--html": tmp_path / "loop"}, True)


@pytest.mark.parametrize("letter", ["x", "€"])
def test_a_name_may_be_as_long_as_the_system_allows_in_bytes(letter, tmp_path):
    longest = letter * ((247 - 4) // len(letter.encode())) + ".csv"
    assert called(*LEDGER, "--export-csv", longest, cwd=tmp_path).code == 0
    assert len(rows_of((tmp_path / longest).read_text())) == 2
    too_long = letter * ((255 - 4) // len(letter.encode())) + ".csv"
    assert "File name too long" in refused(*LEDGER, "--export-csv", too_long, cwd=tmp_path)
    assert called(*LEDGER, "--dry-run", "--export-csv", too_long, cwd=tmp_path).code == 0


# --- results are shown before files are written ----------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        (*LEDGER, "--export-csv", "rows.csv", "--export-json", "/dev/full"),
        (*LEDGER, "--dry-run", "--export-json", "/dev/full"),
        (*FRONTIER, "--export-csv", "/dev/full"),
        ("compare", "a.csv", "a.csv", "--export-csv", "/dev/full"),
        ("explain", "--no-measure", "--svg", "/dev/full"),
    ],
    ids=lambda line: line[0],
)
def test_a_file_that_fails_at_its_writing_loses_neither_tables_nor_other_files(line, tmp_path):
    if line[0] == "compare":
        assert called(*LEDGER, "--export-csv", "a.csv", cwd=tmp_path).code == 0
    other = "--dot" if line[0] == "explain" else "--export-markdown"
    said = called(*line, other, "kept.txt", cwd=tmp_path)
    assert (said.code, said.err.count("\n")) == (1, 1), said.err
    assert "/dev/full" in said.err
    assert "No space left" in said.err
    assert len(said.out.splitlines()) > 3
    assert (tmp_path / "kept.txt").read_text()


def test_files_are_written_for_a_reader_who_has_seen_enough(tmp_path):
    process = start(*FRONTIER, "--export-csv", "f.csv", "--export-json", "f.json", cwd=tmp_path)
    process.stdout.close()
    process.stdout = None
    assert finish(process).code == 0
    assert len(rows_of((tmp_path / "f.csv").read_text())) == 2
    assert (tmp_path / "f.json").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="a device is made")
def test_several_files_that_fail_are_all_named(tmp_path):
    os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.stat("/dev/full").st_rdev)
    files = ("--export-csv", "/dev/full", "--export-json", "full", "--export-markdown", "kept.md")
    said = called(*FRONTIER, *files, cwd=tmp_path)
    assert said.code == 1
    assert "cannot write /dev/full: " in said.err
    assert "cannot write full: " in said.err
    assert (tmp_path / "kept.md").exists()


# --- what is read is a regular file ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "sweep --config {} --dry-run",
        "compare {} {}",
        "report {} -o page.html",
        "sweep --resume {}.journal",
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(line, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.journal")
    said = refused(*line.format("pipe", "pipe").split(), cwd=tmp_path)
    assert "pipe" in said


def test_a_journal_that_is_a_pipe_is_refused_and_stays(tmp_path):
    os.mkfifo(tmp_path / "x.csv.journal")
    assert "not a regular file" in refused(*LEDGER, "--export-csv", "x.csv", cwd=tmp_path)
    assert called(*LEDGER, "--export-csv", "x.csv", "--force", cwd=tmp_path).code == 2
    assert (tmp_path / "x.csv.journal").is_fifo()


def test_results_whose_journal_is_a_pipe_are_read_without_it(tmp_path):
    assert called(*LEDGER, "--export-csv", "x.csv", cwd=tmp_path).code == 0
    (tmp_path / "x.csv.journal").unlink()
    os.mkfifo(tmp_path / "x.csv.journal")
    assert called("compare", "x.csv", "x.csv", cwd=tmp_path).code == 0


def test_only_a_regular_file_of_the_size_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, words in (("pipe", "a pipe"), ("socket", "a socket"), ("", "a directory")):
            with pytest.raises(OSError, match=f"it is {words}, not a regular file"):
                open_regular(tmp_path / name)
    with pytest.raises(OSError, match="a character device"):
        open_regular(Path("/dev/zero"))
    with pytest.raises(OSError, match="5 bytes; at most 4"):
        open_regular(tmp_path / "file", 4)
    with open_regular(tmp_path / "file", 5) as file:
        assert file.read() == b"12345"


def test_a_file_of_options_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "s.toml", "wb") as file:
        file.truncate(10**12)
    assert "at most 1,048,576 are read" in refused("sweep", "--config", "s.toml", "--dry-run", cwd=tmp_path)


def test_results_that_are_too_large_are_not_read(tmp_path):
    with open(tmp_path / "x.csv", "wb") as file:
        file.truncate(10**12)
    assert "are read" in refused("compare", "x.csv", "x.csv", cwd=tmp_path)


# --- one file, one sweep ---------------------------------------------------------------------------------


def test_a_link_to_a_file_has_the_journal_of_the_file(tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link.csv"
    link.symlink_to("folder/x.csv")
    assert journal_path(link) == tmp_path / "folder" / "x.csv.journal"
    assert called(*LEDGER, "--export-csv", "link.csv", cwd=tmp_path).code == 0
    assert sorted(file.name for file in (tmp_path / "folder").iterdir()) == ["x.csv", "x.csv.journal"]
    assert "--resume" in refused(*LEDGER, "--export-csv", "link.csv", cwd=tmp_path)
    assert "2 of 2 rows were measured before" in called("sweep", "--resume", "link.csv", cwd=tmp_path).err
    assert link.is_symlink()


@pytest.mark.measure
def test_two_sweeps_cannot_write_the_same_file_through_a_link(tmp_path):
    (tmp_path / "link.csv").symlink_to("out.csv")
    sweep = ("sweep", "--depth", "1:30:+1", "--batch", "64", "--width", "32", "--meters", "ledger")
    process = start(*sweep, "--export-csv", "out.csv", cwd=tmp_path)
    while process.poll() is None and not (tmp_path / "out.csv").exists():
        pass
    said = refused(*LEDGER, "--export-csv", "link.csv", "--force", cwd=tmp_path)
    assert "another sweep is writing" in said
    assert finish(process).code == 0
    assert len(rows_of((tmp_path / "out.csv").read_text())) == 60


# --- a limit on file sizes -------------------------------------------------------------------------------


@pytest.mark.measure
@pytest.mark.parametrize("limit", [1, 4096])
def test_what_is_said_of_going_on_is_true_under_a_limit_on_file_sizes(limit, tmp_path):
    sweep = ("sweep", "--depth", "1:4:+1", "--batch", "4", "--width", "8", "--meters", "ledger")
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *sweep, "--export-csv", "x.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1), ran.stderr
    assert "File too large" in ran.stderr
    if "--resume" in ran.stderr or "all rows so far are in" in ran.stderr:
        resumed = called("sweep", "--resume", "x.csv.journal", cwd=tmp_path)
        assert resumed.code == 0, resumed.err
    else:
        assert "ulimit -f" in ran.stderr
        assert called(*sweep, "--export-csv", "x.csv", cwd=tmp_path).code == 0
    assert len(rows_of((tmp_path / "x.csv").read_text())) == 8


# --- a terminal without columns --------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["0", "39", "abc"])
def test_a_width_that_cannot_be_gives_the_tables_of_80_columns(columns, tmp_path):
    for line in ((*LEDGER, "--dry-run"), FRONTIER):
        usual = called(*line, cwd=tmp_path, COLUMNS="80").out
        assert called(*line, cwd=tmp_path, COLUMNS=columns).out == usual
