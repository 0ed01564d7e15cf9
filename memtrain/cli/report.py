"""``memtrain report``: the results of sweeps as one HTML page, and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, export_options_but_page
from memtrain.cli.groups import MEMORY, OUTPUT
from memtrain.cli.options import BYTE_EXAMPLES, Quiet

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
    cell: Annotated[
        str | None,
        typer.Option(
            metavar="<cell,...>",
            help="Draw the timelines of these cells, depth × batch: 8x256. The page opens with the first",
            show_default="the cell with the largest ratio",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    static: Annotated[
        Path | None,
        typer.Option(
            metavar="<folder>",
            help="Also write the main figures as pictures into this folder",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    picture_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="[svg|png|pdf],...",
            help="Formats of the pictures",
            show_default="svg,png",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Make one HTML page of the results of sweeps.

    The page shows findings, timelines, peaks, and a comparison of the meters. It opens offline.

    Examples:
      memtrain report sweep.csv
      memtrain report monday.csv tuesday.csv -o report.html --memory 256MiB
      memtrain report monday.csv tuesday.csv --export-csv -
      memtrain report sweep.csv --cell 8x256 --static pictures --format pdf
    """
    from memtrain.answers.swept import Swept
    from memtrain.cli.console import messages
    from memtrain.errors import InputError
    from memtrain.files import write_new
    from memtrain.report.groups import cells_of
    from memtrain.report.html import PLOTS_NEED, check_installed, report_html
    from memtrain.report.static import USUAL_FORMATS, check_formats, draw_pictures
    from memtrain.sweeps.ranges import parse_cells, parse_words
    from memtrain.units import parse_bytes

    exports.check(Swept, results, {"--output": output})
    budget_bytes = None if memory is None else parse_bytes(memory, "--memory")
    sizes = [] if cell is None else parse_cells(cell, "--cell")
    formats = list(USUAL_FORMATS) if picture_format is None else parse_words(picture_format, "--format")
    if picture_format is not None and static is None:
        raise InputError("--format is for pictures, and --static is not given", "add --static <folder>")
    check_formats(formats)
    found = _sweeps(results, quiet)
    check_installed(*PLOTS_NEED)
    rows = [row for file in found for row in file.rows]
    commands = [file.command for file in found if file.command]
    cells = cells_of(rows, sizes, "--cell")
    log = messages(quiet)
    if static is not None:
        pictures = draw_pictures(
            rows, static, formats=formats, cells=cells, budget_bytes=budget_bytes, force=exports.force
        )
        for path in pictures:
            log.print(f"picture: {path}", markup=False, soft_wrap=True)
    first = cells[0] if cells else None
    page = report_html(rows, commands=commands, budget_bytes=budget_bytes, opening_cell=first)
    write_new(output, page, exports.force)
    log.print(f"report: {output}", markup=False, soft_wrap=True)
    exports.publish(Swept(rows), shown=False)


def _sweeps(paths: Sequence[Path], quiet: bool) -> list[Results]:
    """The results of the files that hold rows of a sweep. Each other file is skipped, with a warning.

    Raises ``DataError`` if a file cannot be read, or if none holds rows of a sweep.
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
