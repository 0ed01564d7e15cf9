"""Where commands write: results to stdout, progress and messages to stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, NoReturn, TextIO, cast

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from memtrain.cli.streams import close_stdout

if TYPE_CHECKING:
    from memtrain.cells.cell import Cell
    from memtrain.planning.cost import Rates

NARROWEST, USUAL = 40, 80
"""Widths in characters. Below the first, as with ``COLUMNS=0``, figures would be cut; the second is used."""


class _Pipe:
    """A stream that is no terminal. It drops the spaces at the ends of lines, with which rich pads tables."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text``, which is whole lines."""
        return self._stream.write(re.sub(r" +((?:\x1b\[[\d;]*m)*)$", r"\1", text, flags=re.MULTILINE))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Console(RichConsole):
    """A rich console that ends the command without an error when the reader closes the pipe."""

    def on_broken_pipe(self) -> NoReturn:
        """End the command with exit code 0."""
        close_stdout()
        raise SystemExit(0)


def results() -> Console:
    """The console for results, on stdout."""
    stream = None if sys.stdout.isatty() else cast(IO[str], _Pipe(sys.stdout))
    return _readable(Console(file=stream, highlight=False))


def messages(quiet: bool = False) -> Console:
    """The console for progress and messages, on stderr."""
    return _readable(Console(stderr=True, highlight=False, quiet=quiet))


def _readable(console: Console) -> Console:
    """The console, wide enough for tables; a terminal that is narrower wraps their lines."""
    if console.width < NARROWEST:
        console.width = USUAL
    return console


def progress_bar(quiet: bool = False) -> Progress:
    """A bar on stderr with description, count (a field of the task), and times; silent without a terminal."""
    console = messages(quiet)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line unchanged: paths and commands must not be wrapped, or read as markup or emoji."""
    console.out(text, style=style, highlight=False)


def warn(console: Console, text: str) -> None:
    """Print a warning in one line."""
    say(console, f"memtrain: {text}", style="yellow")


def warn_of_rates(console: Console, planned_by_time: bool) -> None:
    """Warn if plans by time can differ from run to run, since the rates of this machine are not stored."""
    from memtrain.run.kept_rates import unkept_rates

    unkept = unkept_rates() if planned_by_time else None
    if unkept is not None:
        warn(console, unkept)


def plannable(console: Console, cells: Sequence[Cell], rates: Rates | None) -> list[Cell]:
    """``cells`` as they can be planned without measuring the machine.

    Without ``rates``, a cell that minimises seconds minimises FLOPs instead, and a warning says so.
    """
    from memtrain.run.kept_rates import UNKNOWN

    if rates is not None or not any(cell.plans_by_time for cell in cells):
        return list(cells)
    warn(console, UNKNOWN)
    return [cell.changed(cost="flops") if cell.plans_by_time else cell for cell in cells]
