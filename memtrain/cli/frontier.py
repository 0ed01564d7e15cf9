"""``memtrain frontier``: what fits into a given memory."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from memtrain.cli.exports import STDOUT, check_exports, export
from memtrain.cli.options import ExportMarkdown, Force, Jobs, Quiet, Timeout, cell_options


@cell_options(
    several=("depth", "batch"),
    without=(
        "layers",
        "policy",
        "cost",
        "accumulate",
        "allocation",
        "threads",
        "steps",
        "memory_limit_bytes",
    ),
    shown={"depth": "1:64:x2", "batch": "64, 256, 1024, …"},
)
def frontier(
    columns: dict[str, Any],
    memory: Annotated[str, typer.Option(help="The memory above the baseline: 256MiB, 1GB, or bytes.")],
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm/--no-confirm",
            help="Run the largest batch, and one that must fail, under a hard limit.",
        ),
    ] = True,
    jobs: Jobs = None,
    timeout: Timeout = None,
    export_csv: Annotated[Path | None, typer.Option(help="A row per depth and mode; - for stdout.")] = None,
    export_json: Annotated[
        Path | None, typer.Option(help="The rows, the largest depths and the environment; or -.")
    ] = None,
    export_markdown: ExportMarkdown = None,
    json: Annotated[bool, typer.Option("--json", help="That JSON to stdout instead of the tables.")] = False,
    quiet: Quiet = False,
    force: Force = False,
) -> None:
    """Find the largest batch for each depth, and the largest depth for each batch, that fit into a memory.

    They are found from predictions. Then each is tried under a hard limit: the largest batch must run, and a
    larger one must fail. Ends with 1 where a trial comes out otherwise.

    \b
    Examples:
      memtrain frontier --memory 256MiB --no-confirm
      memtrain frontier --memory 64MiB --depth 1:16:x2
      memtrain frontier --memory 1GB --activation gelu --bias --no-confirm
    """
    from memtrain.cli.console import messages, progress_bar, results, warn
    from memtrain.cli.grid import cell_from
    from memtrain.measure.environment import environment
    from memtrain.measure.host import Host
    from memtrain.report.json import frontier_document
    from memtrain.report.markdown import frontier_markdown
    from memtrain.report.terminal.frontier import frontier_sections
    from memtrain.sweeps.frontier import confirm as confirm_frontier
    from memtrain.sweeps.frontier import default_batches, find_frontier, frontier_csv, problem_lines
    from memtrain.sweeps.grid import training_examples
    from memtrain.sweeps.ranges import parse_integers
    from memtrain.sweeps.sweep import check_limits, default_jobs
    from memtrain.units import parse_bytes

    check_limits(jobs, timeout)
    outputs = {"--export-csv": export_csv, "--export-json": export_json, "--export-markdown": export_markdown}
    check_exports({**outputs, "--json": STDOUT if json else None}, force, [columns["data"]])
    budget_bytes = parse_bytes(memory, "--memory")
    depth, batch = columns.pop("depth"), columns.pop("batch")
    depths = parse_integers("1:64:x2" if depth is None else depth, "--depth", least=0)
    batches = None if batch is None else parse_integers(batch, "--batch")
    cell = cell_from(columns)
    out, log = results(), messages(quiet)
    wanted = default_batches if batches is None else batches
    found = find_frontier(cell, budget_bytes, depths, wanted, training_examples(cell.data))
    recorded = environment()
    if confirm:
        with Host() as host, progress_bar(quiet) as progress:
            recorded = host.environment(cell)
            total = len(found.boundaries)
            bar = progress.add_task("confirming under the limit", total=total, count="")
            found = confirm_frontier(
                host,
                found,
                jobs=jobs or default_jobs(),
                timeout_s=timeout,
                done=lambda _: progress.advance(bar),
            )
    command = shlex.join(["memtrain", *sys.argv[1:]])

    def tables() -> None:
        for section in frontier_sections(found, out.width, out.options.ascii_only):
            out.print(section)
            out.print()

    export(
        {
            "--export-csv": (export_csv, lambda: frontier_csv(found)),
            "--export-json": (export_json, lambda: frontier_document(found, recorded, command)),
            "--json": (STDOUT if json else None, lambda: frontier_document(found, recorded, command)),
            "--export-markdown": (export_markdown, lambda: frontier_markdown(found, command)),
        },
        force,
        tables,
    )
    for line in problem_lines(found):
        warn(log, line)
    if not all(boundary.ok for boundary in found.boundaries):
        raise typer.Exit(1)
