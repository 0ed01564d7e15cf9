"""``memtrain compare``: two sets of results side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, export_options
from memtrain.cli.groups import MEASUREMENT
from memtrain.cli.options import Meters, Quiet


@export_options
@config_options
def compare(
    before: Annotated[Path, typer.Argument(help="The CSV of a sweep")],
    after: Annotated[Path, typer.Argument(help="The CSV of another sweep")],
    fail_over: Annotated[
        str | None,
        typer.Option(
            metavar="<percent>",
            help="Exit with 1 if a figure grew by more than this, such as 5%, and beyond its noise",
            show_default="never",
            rich_help_panel=MEASUREMENT,
        ),
    ] = None,
    meters: Meters = "ledger,heap,resident,time",
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Compare the peaks and times of two sweeps, cell by cell.

    With --fail-over 5% the command is a check for CI. It names each cell that failed, is missing, or has a
    figure that grew by more than 5 %. If there is such a cell, the exit code is 1. Ledger and heap give the
    same bytes each time, so all growth beyond 5 % counts. Resident must also grow by more than its tolerance
    and its spread. Time counts only if both files have at least 5 repetitions (`memtrain sweep --repeat 5`),
    and must also grow by more than the spread of the repetitions.

    Examples:
      memtrain compare before.csv after.csv
      memtrain compare before.csv after.csv --fail-over 5%
      memtrain compare before.csv after.csv --meters heap --export-markdown -
    """
    from memtrain.answers.comparison import Comparison
    from memtrain.answers.comparison import compare as compare_rows
    from memtrain.cli.console import messages, say, warn
    from memtrain.report.comparison import judgement_lines, regression_lines
    from memtrain.sweeps.ranges import parse_words
    from memtrain.sweeps.results import read_results
    from memtrain.units import parse_percent

    allowed = None if fail_over is None else parse_percent(fail_over, "--fail-over")
    exports.check(Comparison, [before, after])
    found = compare_rows(read_results(before).rows, read_results(after).rows, parse_words(meters, "--meters"))
    exports.publish(found)
    if allowed is None:
        return
    log, grown = messages(quiet), regression_lines(found, allowed)
    for line in grown:
        warn(messages(), line)
    for line in judgement_lines(found):
        say(log, line)
    if grown:
        raise typer.Exit(1)
    say(log, f"no figure that is judged grew by more than {fail_over} and beyond its noise")
