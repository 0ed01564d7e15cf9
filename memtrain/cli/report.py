"""``memtrain report``: the results of sweeps as one HTML page, and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memtrain.cli.options import Force


def report(
    results: Annotated[list[Path], typer.Argument(help="CSV files that memtrain sweep wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    memory: Annotated[
        str | None, typer.Option(help="Show what fits into it: 256MiB, 1GB, or bytes.", show_default="none")
    ] = None,
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
    from memtrain.report.html import check_installed, report_html
    from memtrain.sweeps.files import check_outputs, write_new
    from memtrain.sweeps.results import read_results
    from memtrain.units import parse_bytes

    check_installed()
    check_outputs({"--output": output}, force, results)
    budget_bytes = None if memory is None else parse_bytes(memory, "--memory")
    found = [read_results(path) for path in results]
    rows = [row for file in found for row in file.rows]
    commands = [file.command for file in found if file.command]
    log = messages()
    if static is not None:
        from memtrain.report.static import draw_pictures

        for path in draw_pictures(rows, static, budget_bytes=budget_bytes, force=force):
            log.print(f"picture: {path}", markup=False, soft_wrap=True)
    write_new(output, report_html(rows, commands=commands, budget_bytes=budget_bytes), force)
    log.print(f"report: {output}", markup=False, soft_wrap=True)
