"""Runs of memtrain as a user starts it: in a new process, with its streams, files and exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from memtrain.run.blas import CORETYPE, KERNELS
from memtrain.run.cpu import has_avx512

COLUMNS = """
model depth width batch activation bias optimizer l2 dtype data input_size output_size policy update
allocation threads steps seed memory_limit_bytes mode status reason parameter_bytes gradient_bytes
optimizer_bytes input_bytes retained_bytes baseline_bytes predicted_peak_bytes ledger_peak_bytes
heap_peak_bytes resident_peak_bytes peak_parameter_bytes peak_gradient_bytes peak_optimizer_bytes
peak_input_bytes peak_retained_bytes peak_transient_bytes peak_workspace_bytes peak_phase peak_step
step_s loss_first loss_last blas cpu python numpy memtrain repeat_count ledger_spread_bytes
heap_spread_bytes resident_spread_bytes step_spread_s peak_recomputed_bytes accumulate cost
peak_array_count image channels kernel pool norm heads sequence vocabulary dropout attention tied unit
freeze engine foreach fused inplace gradients retain_graph
""".split()  # noqa: SIM905
"""The columns of a row. They are a contract: new columns are appended, and none is renamed."""

GIVEN_KERNEL = {CORETYPE: KERNELS[1]} if has_avx512() else {}
"""An environment in which no process compares the BLAS kernels, as one does if the cache is new."""

SMALL = ("sweep", "--depth", "1", "--batch", "4", "--width", "8")
LEDGER = (*SMALL, "--meters", "ledger")


def start(*arguments, cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **environment):
    """A new process of memtrain, in its own process group."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    return subprocess.Popen(
        [sys.executable, "-m", "memtrain", *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", **environment},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=_interruptible,
    )


def _interruptible():
    """Undo what a shell does to commands in the background, whose processes all ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process):
    """The exit code and the output of a process. A traceback fails the test."""
    try:
        streams = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    out, err = ((stream or b"").decode() for stream in streams)
    assert "Traceback" not in err, err[-600:]
    return SimpleNamespace(code=process.returncode, out=out, err=err)


def memtrain(*arguments, cwd, **options):
    """Run memtrain to its end; returns its exit code and output."""
    return finish(start(*arguments, cwd=cwd, **options))


def called(*arguments, cwd, **environment):
    """Run memtrain in this process. This saves the imports, which take most of the time of a small command.

    Streams, directory, environment and signals are restored. Processes that measure are new ones here, too.
    A test of streams, encodings, signals or imports needs `memtrain`.
    """
    from memtrain.cli.app import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before, on_end = os.environ.copy(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(tempfile, "tempdir", None)  # it is found again, from the environment
        patch.setattr(sys, "argv", ["memtrain", *map(str, arguments)])
        patch.setitem(sys.modules, "__main__", ModuleType("__main__"))  # so the program's name is argv[0]
        for stream, name in ((out, "stdout"), (err, "stderr")):
            patch.setattr(sys, name, stream)
        for name in ("NO_COLOR", "FORCE_COLOR"):
            patch.delenv(name, raising=False)
        for name, value in {"COLUMNS": "80", **environment}.items():
            patch.setenv(name, str(value))
        try:
            with pytest.raises(SystemExit) as ending:
                main()
        finally:
            signal.signal(signal.SIGTERM, on_end)
    os.environ.clear()
    os.environ.update(before)
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
    assert "Traceback" not in texts[1], texts[1][-600:]
    return SimpleNamespace(code=ending.value.code or 0, out=texts[0], err=texts[1])


def refused(*arguments, cwd, code=2, **options):
    """The message of a command that is refused: one line on stderr, and nothing on stdout.

    The command runs in this process, unless ``options`` say how a new process is started.
    """
    said = (memtrain if options else called)(*arguments, cwd=cwd, **options)
    assert (said.code, said.out) == (code, ""), said.err
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("memtrain: ")
    return said.err


def rows_of(text):
    """The rows of a CSV. Each must be complete."""
    rows = list(csv.DictReader(io.StringIO(text)))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


def strict_json(text):
    """The values of a JSON text. NaN and Infinity, which the standard lacks, fail the test."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def wait_for_rows(process, output, count):
    """Wait until a running sweep has written more than ``count`` rows."""
    while process.poll() is None and not (output.exists() and output.read_text().count("\n") > count):
        time.sleep(0.01)
    assert process.poll() is None


def still_running(processes, timeout):
    """Those of ``processes`` that have not ended after ``timeout`` seconds."""

    def runs(process):
        try:
            return process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:  # it ended just now
            return False

    _, alive = psutil.wait_procs(processes, timeout=timeout)
    return [process for process in alive if runs(process)]
