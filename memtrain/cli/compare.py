"""``memtrain compare``: two sets of results side by side."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from memtrain.cli.exports import STDOUT, check_exports, export
from memtrain.cli.options import ExportMarkdown, Force


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
    meters: Annotated[
        str, typer.Option(help="Of ledger, heap, resident, time: what is compared.")
    ] = "ledger,heap,resident,time",
    export_csv: Annotated[Path | None, typer.Option(help="A row per cell and mode; - for stdout.")] = None,
    export_json: Annotated[Path | None, typer.Option(help="The same as JSON; or -.")] = None,
    export_markdown: ExportMarkdown = None,
    json: Annotated[bool, typer.Option("--json", help="That JSON to stdout instead of the table.")] = False,
    force: Force = False,
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
    from memtrain.cli.console import messages, results, say, warn
    from memtrain.report.comparison import (
        comparison_csv,
        comparison_markdown,
        judgement_lines,
        regression_lines,
    )
    from memtrain.report.json import comparison_document
    from memtrain.report.terminal.comparison import comparison_table
    from memtrain.sweeps.comparison import compare as compare_rows
    from memtrain.sweeps.ranges import parse_words
    from memtrain.sweeps.results import read_results
    from memtrain.units import parse_percent

    allowed = None if fail_over is None else parse_percent(fail_over, "--fail-over")
    outputs = {"--export-csv": export_csv, "--export-json": export_json, "--export-markdown": export_markdown}
    check_exports({**outputs, "--json": STDOUT if json else None}, force, [before, after])
    found = compare_rows(read_results(before).rows, read_results(after).rows, parse_words(meters, "--meters"))
    command = shlex.join(["memtrain", *sys.argv[1:]])
    out = results()
    export(
        {
            "--export-csv": (export_csv, lambda: comparison_csv(found)),
            "--export-json": (export_json, lambda: comparison_document(found, command)),
            "--json": (STDOUT if json else None, lambda: comparison_document(found, command)),
            "--export-markdown": (export_markdown, lambda: comparison_markdown(found, command)),
        },
        force,
        lambda: out.print(comparison_table(found, out.width)),
    )
    if allowed is None:
        return
    log, grown = messages(), regression_lines(found, allowed)
    for line in grown:
        warn(log, line)
    for line in judgement_lines(found):
        say(log, line)
    if grown:
        raise typer.Exit(1)
    say(log, f"nothing has grown by more than {fail_over}")
