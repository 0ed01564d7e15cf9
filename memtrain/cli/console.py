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
"""Columns: with fewer than the first (``COLUMNS=0``) figures would be cut, so the second is used instead."""


class _Pipe:
    """A stream that is no terminal: lines lose the blanks at their ends, with which tables are padded."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write whole lines."""
        return self._stream.write(re.sub(r" +((?:\x1b\[[\d;]*m)*)$", r"\1", text, flags=re.MULTILINE))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Console(RichConsole):
    """A rich console for which a reader that closes the pipe is no failure."""

    def on_broken_pipe(self) -> NoReturn:
        """End quietly: whoever read has read enough."""
        close_stdout()
        raise SystemExit(0)


def results() -> Console:
    """For results."""
    stream = None if sys.stdout.isatty() else cast(IO[str], _Pipe(sys.stdout))
    return _readable(Console(file=stream, highlight=False))


def messages(quiet: bool = False) -> Console:
    """For progress and messages."""
    return _readable(Console(stderr=True, highlight=False, quiet=quiet))


def _readable(console: Console) -> Console:
    """The console, wide enough for tables; a terminal that is narrower wraps their lines."""
    if console.width < NARROWEST:
        console.width = USUAL
    return console


def progress_bar(quiet: bool = False) -> Progress:
    """A bar on stderr: description, count (a field of the task), time taken and left; silent in a pipe."""
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
    """A line as it is: paths and commands must not be wrapped, or read as markup or emoji."""
    console.out(text, style=style, highlight=False)


def warn(console: Console, text: str) -> None:
    """One line that the user should see."""
    say(console, f"memtrain: {text}", style="yellow")


def warn_of_rates(console: Console, planned_by_time: bool) -> None:
    """Say when plans that spare time can differ from run to run: the rates of this machine are not kept."""
    from memtrain.run.kept_rates import unkept_rates

    unkept = unkept_rates() if planned_by_time else None
    if unkept is not None:
        warn(console, unkept)


def plannable(console: Console, cells: Sequence[Cell], rates: Rates | None) -> list[Cell]:
    """``cells``; where no rates of this machine are kept, those that spare seconds spare FLOPs instead.

    What only predicts does not measure the machine.
    """
    from memtrain.run.kept_rates import UNKNOWN

    if rates is not None or not any(cell.plans_by_time for cell in cells):
        return list(cells)
    warn(console, UNKNOWN)
    return [cell.changed(cost="flops") if cell.plans_by_time else cell for cell in cells]
