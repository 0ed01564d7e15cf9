"""``memtrain plan``: what would make a network fit."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from memtrain.cli.exports import STDOUT, check_exports, export
from memtrain.cli.options import ExportMarkdown, Force, Quiet, Timeout, cell_options


@cell_options(without=("policy", "allocation", "threads", "steps", "memory_limit_bytes"))
def plan(
    columns: dict[str, Any],
    memory: Annotated[
        str | None, typer.Option(help="The memory above the baseline: 64MiB, 1GB, or bytes.")
    ] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Plans from the smallest to the one without recomputation.")
    ] = False,
    points: Annotated[int, typer.Option(min=2, max=200, help="At most so many plans with --pareto.")] = 8,
    measure: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="Run every option and compare it with its prediction."),
    ] = True,
    timeout: Timeout = None,
    export_csv: Annotated[Path | None, typer.Option(help="A row per option; - for stdout.")] = None,
    export_json: Annotated[Path | None, typer.Option(help="The options with their rows; or -.")] = None,
    export_markdown: ExportMarkdown = None,
    html: Annotated[
        Path | None, typer.Option(help="A page: peak against time, and each option step by step.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="That JSON to stdout instead of the tables.")] = False,
    quiet: Quiet = False,
    force: Force = False,
) -> None:
    """Make a network fit into a memory: what to keep, what to recompute, and what that costs.

    Finds the cheapest plan of recomputation that fits into the memory. Where no plan is enough, it looks for
    the cheapest combination of eager updates, micro-batches, optimizer and dtype, with a plan on top. Every
    option is run and measured, and its gradients are compared with those of training without recomputation.
    Where nothing fits, it names the largest batch that does. Ends with 1 where nothing fits, or where a
    measurement differs from its prediction.

    \b
    Examples:
      memtrain plan --memory 12MiB --depth 16 --batch 512
      memtrain plan --pareto --points 4 --depth 12 --width 64 --batch 256
      memtrain plan --memory 1GiB --depth 100 --batch 65536 --no-measure
    """
    from memtrain.cells.cell import SECONDS
    from memtrain.cli.console import messages, progress_bar, results, warn, warn_of_rates
    from memtrain.cli.grid import cell_from
    from memtrain.errors import InputError
    from memtrain.measure.environment import environment
    from memtrain.measure.host import Host
    from memtrain.report.fit import fit_csv, fit_markdown, fit_problems
    from memtrain.report.html import check_installed, fit_html
    from memtrain.report.json import fit_document
    from memtrain.report.terminal.fit import fit_sections
    from memtrain.run.kept_rates import UNKNOWN, kept_rates
    from memtrain.sweeps.fit import find_fit
    from memtrain.sweeps.option import Option
    from memtrain.sweeps.sweep import check_limits
    from memtrain.sweeps.trial import measure_fit
    from memtrain.units import parse_bytes

    if memory is None and not pareto:
        raise InputError(
            "neither --memory nor --pareto is given", "allowed: one of them, or both", "add --memory 64MiB"
        )
    check_limits(None, timeout)
    outputs = {
        "--export-csv": export_csv,
        "--export-json": export_json,
        "--export-markdown": export_markdown,
        "--html": html,
        "--json": STDOUT if json else None,
    }
    if html is not None:
        check_installed()
    check_exports(outputs, force, [columns["data"]])
    memory_bytes = None if memory is None else parse_bytes(memory, "--memory")
    cell = cell_from(columns)
    out, log = results(), messages(quiet)
    host = Host()
    rates = None if cell.cost != SECONDS else host.rates if measure else kept_rates()
    fit = find_fit(cell, memory_bytes, points if pareto else 0, rates)
    if measure:
        with host, progress_bar(quiet) as progress:
            total = len(fit.options)
            bar = progress.add_task("running", total=total, count="")

            def done(option: Option) -> None:
                progress.update(bar, advance=1, description=f"ran {option.name}")

            fit = measure_fit(host, fit, timeout_s=timeout, done=done)
    command = shlex.join(["memtrain", *sys.argv[1:]])
    problems = fit_problems(fit)

    def show() -> None:
        for section in fit_sections(fit, out.width, out.options.ascii_only):
            out.print(section)
            out.print()

    def document() -> str:
        return fit_document(fit, environment(), command)

    texts = {
        "--export-csv": lambda: fit_csv(fit),
        "--export-json": document,
        "--json": document,
        "--export-markdown": lambda: fit_markdown(fit, command),
        "--html": lambda: fit_html(fit, command),
    }
    try:
        export({option: (outputs[option], text) for option, text in texts.items()}, force, show)
    finally:
        for problem in problems:
            warn(log, problem)
        if cell.cost == SECONDS and rates is None:
            warn(log, UNKNOWN)
        warn_of_rates(log, measure and cell.cost == SECONDS)
    if problems:
        raise typer.Exit(1)
