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
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    memory: MaybeMemory = None,
    static: Annotated[
        Path | None, typer.Option(help="A folder for the main figures as SVG and PNG, too.")
    ] = None,
    force: Force = False,
) -> None:
    """Make one HTML page of results: peaks, ratio, timelines, and the account. It opens offline.

    \b
    Examples:
      memtrain report sweep.csv
      memtrain report monday.csv tuesday.csv -o report.html --memory 256MiB
      memtrain report sweep.csv --static pictures
    """
    from memtrain.cli.console import messages
    from memtrain.files import check_outputs, write_new
    from memtrain.report.html import check_installed, report_html
    from memtrain.units import parse_bytes

    check_outputs({"--output": output}, force, results)
    budget_bytes = None if memory is None else parse_bytes(memory, "--memory")
    found = _sweeps(results)
    check_installed()
    rows = [row for file in found for row in file.rows]
    commands = [file.command for file in found if file.command]
    log = messages()
    if static is not None:
        from memtrain.report.static import draw_pictures

        for path in draw_pictures(rows, static, budget_bytes=budget_bytes, force=force):
            log.print(f"picture: {path}", markup=False, soft_wrap=True)
    write_new(output, report_html(rows, commands=commands, budget_bytes=budget_bytes), force)
    log.print(f"report: {output}", markup=False, soft_wrap=True)


def _sweeps(paths: Sequence[Path]) -> list[Results]:
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
        warn(messages(), f"skipped: {other.mistake}")
    return found
