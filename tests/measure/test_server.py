"""The measuring server alone: its end when the client has ended, and its reply if it cannot fork."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest

from memtrain.cells.cell import cell_of

pytestmark = [pytest.mark.measure, pytest.mark.skipif(sys.platform != "linux", reason="meters need Linux")]

ASK = (
    json.dumps({"meter": "ledger", "cell": cell_of(depth=1, width=8, batch=4).values(), "mode": "infer"})
    + "\n"
)
WITHOUT_PROCESSES = """
import os, resource
from memtrain.measure import server
bench = server.loaded_bench()
if os.getuid() == 0:  # no limit holds root
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
server.serve(bench)
"""


def serve(*command):
    """A server that the test starts itself."""
    return subprocess.Popen(
        [sys.executable, *(command or ("-m", "memtrain.measure.server"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """The stderr and the exit code of a process."""
    said = process.stderr.read()
    code = process.wait(timeout=30)
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(BrokenPipeError):
            stream.close()
    return said, code


def test_an_asker_that_goes_before_the_greeting_is_no_failure():
    process = serve()
    process.stdout.close()
    assert ended(process) == ("", 0)


def test_an_asker_that_goes_before_the_reply_is_no_failure():
    process = serve()
    assert json.loads(process.stdout.readline()) == {"ready": True}
    process.stdin.write(ASK)
    process.stdin.flush()
    process.stdout.close()
    assert ended(process) == ("", 0)


@pytest.mark.parametrize("torn", ["", ASK[:20], ASK[:-1]])
def test_an_asker_that_is_killed_while_it_asks_is_no_failure(torn):
    process = serve()
    process.stdin.write(torn)
    process.stdin.close()
    assert json.loads(process.stdout.readline()) == {"ready": True}
    assert process.stdout.read() == ""
    assert ended(process) == ("", 0)


def test_a_server_that_cannot_fork_says_so_in_its_reply_and_goes_on():
    process = serve("-c", WITHOUT_PROCESSES)
    process.stdout.readline()
    for _ in range(2):
        process.stdin.write(ASK)
        process.stdin.flush()
        reply = json.loads(process.stdout.readline())
        assert "no measuring process can be started" in json.loads(reply["output"])["error"]
    process.stdin.close()
    assert ended(process) == ("", 0)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
@pytest.mark.parametrize("processes", [1, 2, 3, 4, 5])
def test_a_limit_on_processes_is_said_in_words_wherever_it_is_met(processes, tmp_path):
    line = ["sweep", "--depth", "1", "--batch", "4", "--width", "8", "--meters", "ledger"]
    command = [sys.executable, "-m", "memtrain", *line, "--export-csv", "x.csv"]
    limit = ["prlimit", f"--nproc={processes}"]
    if os.getuid() == 0:  # limits do not bind root, or a user who may exceed limits
        limit = ["setpriv", "--ruid", "65534", "--bounding-set", "-sys_resource,-sys_admin", *limit]
    ran = subprocess.run([*limit, *command], cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in ran.stderr
    if "--ruid" in limit:  # no other process runs under this user
        assert ran.returncode == 1
        written = (tmp_path / "x.csv").read_text() if (tmp_path / "x.csv").exists() else ""
        assert "Resource temporarily unavailable" in ran.stderr + written or "ulimit -u" in ran.stderr
