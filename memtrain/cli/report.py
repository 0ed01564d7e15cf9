"""``memtrain report``: the results of sweeps as one HTML page, and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memtrain.cli.options import Force, MaybeMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memtrain.sweeps.results import Results


def report(
    results: Annotated[
        list[Path], typer.Argument(help="CSV files that memtrain sweep wrote; other CSV files are skipped.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML page.")] = Path("report.html"),
    memory: MaybeMemory = None,
    cell: Annotated[
        str | None,
        typer.Option(
            help="Cells whose timelines are drawn, as DEPTHxBATCH: 8x256, or a list. The page opens with the "
            "first.",
            show_default="the cell with the largest ratio",
        ),
    ] = None,
    static: Annotated[
        Path | None, typer.Option(help="A folder for the main figures as pictures, besides the page.")
    ] = None,
    picture_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Formats of the pictures: one or a list of svg, png, pdf.",
            show_default="svg,png",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Make one HTML page of results: findings, timelines, peaks, and the meters compared. It opens offline.

    \b
    Examples:
      memtrain report sweep.csv
      memtrain report monday.csv tuesday.csv -o report.html --memory 256MiB
      memtrain report sweep.csv --cell 8x256 --static pictures --format pdf
    """
    from memtrain.cli.console import messages
    from memtrain.errors import InputError
    from memtrain.files import check_outputs, write_new
    from memtrain.report.groups import cells_of
    from memtrain.report.html import PLOTS_NEED, check_installed, report_html
    from memtrain.report.static import USUAL_FORMATS, check_formats, draw_pictures
    from memtrain.sweeps.ranges import parse_cells, parse_words
    from memtrain.units import parse_bytes

    check_outputs({"--output": output}, force, results)
    budget_bytes = None if memory is None else parse_bytes(memory, "--memory")
    sizes = [] if cell is None else parse_cells(cell, "--cell")
    formats = list(USUAL_FORMATS) if picture_format is None else parse_words(picture_format, "--format")
    if picture_format is not None and static is None:
        raise InputError(
            "--format without --static", "allowed: with a folder for pictures", "add --static FOLDER"
        )
    check_formats(formats)
    found = _sweeps(results)
    check_installed(*PLOTS_NEED)
    rows = [row for file in found for row in file.rows]
    commands = [file.command for file in found if file.command]
    cells = cells_of(rows, sizes, "--cell")
    log = messages()
    if static is not None:
        pictures = draw_pictures(
            rows, static, formats=formats, cells=cells, budget_bytes=budget_bytes, force=force
        )
        for path in pictures:
            log.print(f"picture: {path}", markup=False, soft_wrap=True)
    first = cells[0] if cells else None
    page = report_html(rows, commands=commands, budget_bytes=budget_bytes, opening_cell=first)
    write_new(output, page, force)
    log.print(f"report: {output}", markup=False, soft_wrap=True)


def _sweeps(paths: Sequence[Path]) -> list[Results]:
    """The files that hold rows of a sweep; each other file is named and skipped.

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
        warn(messages(), f"skipped: {other.given}")
    return found
