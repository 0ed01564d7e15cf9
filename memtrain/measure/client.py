"""The client of a warm server process, which also interprets its replies."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
from contextlib import suppress
from time import monotonic
from typing import IO, Any

from memtrain.cells.engine import NUMPY
from memtrain.errors import ChildFailed, MeterUnavailable
from memtrain.files import reason
from memtrain.measure.blas_kernel import choose_kernel
from memtrain.measure.launch import command_of
from memtrain.measure.temporary import TemporaryFolder
from memtrain.run.blas import blas_environment

MEMORY_SETTINGS = {
    "NUMPY_MADVISE_HUGEPAGE": "0",
    "MALLOC_MMAP_THRESHOLD_": "49152",
    "PYTHONHASHSEED": "0",
}
"""Environment variables of processes that measure memory.

With them a page counts only once it is written, arrays of 12 pages or more go back to the kernel when they
are freed, and every process lays out its dictionaries in the same way.

With a lower threshold, more arrays are mapped separately, and each wastes the rest of a page. With a higher
threshold, freed arrays leave holes in the heap. This threshold was chosen on 70 random cells: all stayed
within 1 MiB or 1 % of the ledger. At 128 KiB some were off by 20 %. `scripts/meters` checks other cells.
"""

_MEMRAY_FAILURE = re.compile(r"^(?:.*deactivating tracking.*|Memray ERROR.*)$", re.MULTILINE)
"""The message of memray when it cannot continue, for example on a full disk. It raises no error then."""

_HARMLESS = re.compile(r"^Memray WARNING: Correcting symbol for .*\n?", re.MULTILINE)
"""The message of memray for an interpreter whose executable has its own entry for malloc, as on Debian.
memray then counts at the corrected address and misses nothing."""

MOST_START_S = 60
"""The most seconds that a server may take to load its modules and data."""

SERVER_COMMAND = command_of("memtrain.measure.server")


class Server:
    """A warm server process."""

    def __init__(self, timing: bool, threads: int, kernel: str | None = None, engine: str = NUMPY) -> None:
        """Start the process, with the given BLAS kernel if any. Raises ``ChildFailed`` if it cannot start."""
        if kernel is None:
            choose_kernel()
        settings = blas_environment(threads, os.environ, kernel) | ({} if timing else MEMORY_SETTINGS)
        try:
            # This process owns the folder and removes it, since a killed child removes nothing.
            self._folder = TemporaryFolder()
            self._process = subprocess.Popen(
                [*SERVER_COMMAND, engine, *([] if timing else ["heap"])],
                env={**os.environ, **settings, "TMPDIR": self._folder.name},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # the sweep handles Ctrl-C, and kill() also ends the child
                text=True,
            )
        except OSError as error:
            raise ChildFailed("error", f"no measuring process can be started: {reason(error)}") from error
        self._ready = False
        self._unread = b""

    @property
    def pid(self) -> int:
        """The process id of the server, which is also the id of the process group of server and child."""
        return self._process.pid

    def ask(self, request: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
        """The reply to a request. Raises ``ChildFailed`` if the server ends or the time is over."""
        try:
            _stream(self._process.stdin).write(json.dumps(request) + "\n")
            _stream(self._process.stdin).flush()
        except (OSError, ValueError) as error:
            raise ChildFailed("error", "the measuring server has ended") from error
        if not self._ready:
            self._read_line(MOST_START_S)
            self._ready = True
        return self._read_line(timeout_s)

    def _read_line(self, timeout_s: float | None) -> dict[str, Any]:
        # Read the descriptor, not the stream: a selector does not see what a stream has buffered.
        stdout = _stream(self._process.stdout).fileno()
        ends = None if timeout_s is None else monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(None if ends is None else max(0.0, ends - monotonic())):
                    raise ChildFailed("timeout", f"no figures after {timeout_s:g} s")
                part = os.read(stdout, 65536)
                if not part:
                    raise ChildFailed("error", "the measuring server has ended")
                self._unread += part
        text, _, self._unread = self._unread.partition(b"\n")
        line = text.decode(errors="replace")
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            raise ChildFailed("error", f"the measuring server answered {line.strip()[:60]!r}")
        return reply

    def kill(self) -> None:
        """End the server and its child at once. A caller that waits for a reply then gets an error."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the server and release its files. No caller may be waiting for a reply."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError, ValueError):
                _stream(stream).close()
        self._process.wait()
        self._folder.cleanup()


def figures_of(meter: str, reply: dict[str, Any]) -> dict[str, Any]:
    """The figures in a server's reply. Raises ``ChildFailed`` or ``MeterUnavailable`` if it has none."""
    status, messages = reply["status"], _HARMLESS.sub("", reply["messages"]).strip()
    said = f" ({messages.splitlines()[-1]})" if messages else ""
    if "OpenBLAS" in messages and "malloc failed" in messages:
        raise ChildFailed("memory_limit", f"the {meter} meter's process: {messages.splitlines()[-1]}")
    if status < 0:
        raise ChildFailed("killed", f"{signal_name(-status)} ended the {meter} meter's process{said}")
    try:
        answer = json.loads(reply["output"])
        if not isinstance(answer, dict) or not answer:
            raise ValueError
    except ValueError:
        raise ChildFailed("error", f"the {meter} meter's process gave no figures{said}") from None
    if "unavailable" in answer:
        raise MeterUnavailable(answer["unavailable"])
    if "memory_error" in answer:
        raise ChildFailed("memory_limit", answer["memory_error"], answer.get("node", ""))
    if "error" in answer:
        raise ChildFailed("error", f"{meter} meter: {answer['error']}")
    figures = answer.get("figures")
    if not isinstance(figures, dict):
        raise ChildFailed("error", f"the {meter} meter's process gave no figures{said}")
    if meter == "heap" and messages:
        failure = _MEMRAY_FAILURE.search(messages)
        if failure is not None:
            raise ChildFailed("error", f"heap meter: {failure[0]}")
        first, *others = messages.splitlines()
        more = f" (and {len(others)} more lines)" if others else ""
        figures["notes"] = [f"memray also wrote {first[:200]!r}{more}; the heap meter's controls were right"]
    return figures


def signal_name(number: int) -> str:
    """The name of a signal: SIGKILL for 9. A signal without a name is given by its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _stream(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("the server was started with pipes")
    return stream
