"""A warm server: a process that has the settings of a measurement, and forks a fresh child for each one.

A child starts in 15 ms instead of 300. It has imported all modules, and has computed nothing. Requests and
replies are lines of JSON on stdin and stdout. When stdin closes, the server and its child end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

import numpy as np

from memtrain.cells.cell import Mode, cell_of
from memtrain.cells.engine import TORCH
from memtrain.errors import MemtrainError, MeterUnavailable
from memtrain.measure.meters import METERS, limit_meter
from memtrain.measure.pairs import PAIR_METERS
from memtrain.measure.workload import Bench
from memtrain.planning.cost import Rates

OUTPUT_LIMIT = 65536
"""The most bytes of a child's output that are kept."""

READY = {"ready": True}
"""The first line that a server writes, once it is loaded. No time-out of a measurement includes loading."""

ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    **METERS,
    **PAIR_METERS,
    "limit": limit_meter,
    "environment": lambda bench, cell, mode: bench.environment,
}
"""The measurements that a child can make."""


def main() -> None:
    """Load the modules and data that children share, then serve."""
    if "heap" in sys.argv[1:]:
        with suppress(ImportError):
            importlib.import_module("memray")  # so that children need not load it
    if TORCH in sys.argv[1:]:
        with suppress(ImportError):
            importlib.import_module("memtrain.engines.torch_run")
    serve(loaded_bench())


def loaded_bench() -> Bench:
    """The bench that all children share."""
    bench = Bench()
    bench.examples(cell_of())  # the usual data, which take longer to load than a small cell to run
    return bench


def serve(bench: Bench) -> None:
    """Answer requests until stdin closes or the client stops reading."""
    try:
        _serve(bench)
    except BrokenPipeError:  # the client has ended, and nobody reads the buffered rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _serve(bench: Bench) -> None:
    gc.freeze()
    print(json.dumps(READY), flush=True)
    while (line := sys.stdin.readline()).endswith("\n"):  # incomplete if the client was killed
        try:
            reply = _measure_in_child(bench, json.loads(line))
        except OSError as error:
            reply = _refused(f"no measuring process can be started: {error.strerror}")
        if reply is None:
            return
        print(json.dumps(reply), flush=True)


def _refused(reason: str) -> dict[str, Any]:
    """The reply for a measurement that could not begin."""
    return {"status": 1, "output": json.dumps({"error": reason}), "messages": ""}


def _measure_in_child(bench: Bench, request: dict[str, Any]) -> dict[str, Any] | None:
    """The exit status and the output of the child; ``None`` if the client has ended.

    Raises ``OSError`` if the system has no process or file left.
    """
    with _messages_file() as messages:
        read_end, write_end = os.pipe()
        try:
            child = os.fork()
        except OSError:
            os.close(read_end)
            os.close(write_end)
            raise
        if child == 0:
            os.close(read_end)
            os.dup2(messages.fileno(), 1)
            os.dup2(messages.fileno(), 2)
            _child(bench, request, write_end)
        os.close(write_end)
        output = _read_all(read_end)
        os.close(read_end)
        if output is None:
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if output is None:
            return None
        messages.seek(0)
        text = messages.read(OUTPUT_LIMIT).decode(errors="replace")
    return {"status": status, "output": output.decode(errors="replace"), "messages": text}


def _messages_file() -> IO[bytes]:
    """A file for the output of a child. It is in memory if possible, since the disk may be full."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("messages"), "w+b")
    return tempfile.TemporaryFile()


def _read_all(pipe: int) -> bytes | None:
    """All bytes up to the end of the pipe; ``None`` as soon as stdin closes."""
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if pipe not in ready:
                return None  # no request comes while a child runs, so stdin has closed
            part = os.read(pipe, 65536)
            if not part:
                return b"".join(parts)
            parts.append(part)


def _child(bench: Bench, request: dict[str, Any], write_end: int) -> None:
    """Measure, write the figures or the error, and end without any exit handlers. Does not return."""
    code = 1
    try:
        gc.disable()
        with np.errstate(all="ignore"):  # a loss that diverges is no error of a meter
            answer_of = ANSWERS[request["meter"]]
            others = [cell_of(**request["other"])] if "other" in request else []
            if "rates" in request:
                bench.rates = Rates.of(request["rates"])  # of this child only, which ends after its answer
            figures = answer_of(bench, cell_of(**request["cell"]), Mode(request["mode"]), *others)
        answer: dict[str, Any] = {"figures": figures}
        code = 0
    except MemoryError as error:
        answer = {"memory_error": str(error) or "out of memory", "node": getattr(error, "node", "")}
    except MeterUnavailable as error:
        answer = {"unavailable": str(error)}
    except MemtrainError as error:
        answer = {"error": str(error)}
    except BaseException as error:  # every error must reach the client as a reason
        answer = {"error": f"{type(error).__name__}: {error}"}
    try:
        with os.fdopen(write_end, "w", encoding="utf-8") as pipe:
            json.dump(answer, pipe)
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
