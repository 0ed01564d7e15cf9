"""``memtrain compare``: two sets of results side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memtrain.cli.exports import Exports, export_options
from memtrain.cli.options import Meters


@export_options
def compare(
    before: Annotated[Path, typer.Argument(help="The CSV of a sweep.")],
    after: Annotated[Path, typer.Argument(help="The CSV of another.")],
    fail_over: Annotated[
        str | None,
        typer.Option(
            help="End with 1 where a figure has grown by more than this, and beyond noise: 5%.",
            show_default="never",
        ),
    ] = None,
    meters: Meters = "ledger,heap,resident,time",
    *,
    exports: Exports,
) -> None:
    """Join two results by cell; show peaks and times side by side, with the ratio.

    With --fail-over it is a check for your CI: cells that grew by more, that fail or that are missing are
    named, and the exit code is 1. Ledger and heap are the same bytes every time, so any growth beyond the
    share counts. Resident must also rise by more than its tolerance. Time counts where both files have 5
    repetitions or more (--repeat 5), and where it rises by more than the repetitions differ.

    \b
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
    log, grown = messages(), regression_lines(found, allowed)
    for line in grown:
        warn(log, line)
    for line in judgement_lines(found):
        say(log, line)
    if grown:
        raise typer.Exit(1)
    say(log, f"nothing grew by more than {fail_over}")
