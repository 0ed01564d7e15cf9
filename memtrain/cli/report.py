"""``memtrain report``: the results of sweeps as one HTML page, and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, export_options_but_page
from memtrain.cli.options import BYTE_EXAMPLES, MEMORY, OUTPUT, Quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memtrain.sweeps.results import Results


@export_options_but_page
@config_options
def report(
    results: Annotated[
        list[Path], typer.Argument(help="CSV files that `memtrain sweep` wrote; other CSV files are skipped")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="<file>", help="Write the page to this file", rich_help_panel=OUTPUT
        ),
    ] = Path("report.html"),
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="<bytes>",
            help=f"Show what fits into this memory above the baseline: {BYTE_EXAMPLES}",
            rich_help_panel=MEMORY,
        ),
    ] = None,
    static: Annotated[
        Path | None,
        typer.Option(
            metavar="<folder>",
            help="Also draw the main figures as SVG and PNG into this folder",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Make one HTML page of the results of sweeps.

    The page shows peaks, ratios, timelines and the account of the bytes, and opens offline.

    Examples:
      memtrain report sweep.csv
      memtrain report monday.csv tuesday.csv -o report.html --memory 256MiB
      memtrain report sweep.csv --static pictures
      memtrain report monday.csv tuesday.csv --export-csv -
    """
    from memtrain.answers.swept import Swept
    from memtrain.cli.console import messages
    from memtrain.files import write_new
    from memtrain.report.html import check_installed, report_html
    from memtrain.units import parse_bytes

    exports.check(Swept, results, {"--output": output})
    budget_bytes = None if memory is None else parse_bytes(memory, "--memory")
    found = _sweeps(results, quiet)
    check_installed()
    rows = [row for file in found for row in file.rows]
    commands = [file.command for file in found if file.command]
    log = messages(quiet)
    if static is not None:
        from memtrain.report.static import draw_pictures

        for path in draw_pictures(rows, static, budget_bytes=budget_bytes, force=exports.force):
            log.print(f"picture: {path}", markup=False, soft_wrap=True)
    write_new(output, report_html(rows, commands=commands, budget_bytes=budget_bytes), exports.force)
    log.print(f"report: {output}", markup=False, soft_wrap=True)
    exports.publish(Swept(rows), shown=False)


def _sweeps(paths: Sequence[Path], quiet: bool) -> list[Results]:
    """The files that hold rows of a sweep; the others are named and skipped.

    Raises ``DataError`` where a file cannot be read, or none is a sweep's.
    """
    from memtrain.cli.console import messages, warn
    from memtrain.errors import NoRowsError
    from memtrain.sweeps.results import read_results

    found: list[Results] = []
    skipped: list[NoRowsError] = []
    for path in paths:
        try:
            found.append(read_results(path))
        except NoRowsError as error:
            skipped.append(error)
    if not found:
        raise skipped[0]
    for other in skipped:
        warn(messages(quiet), f"skipped: {other.mistake}")
    return found
