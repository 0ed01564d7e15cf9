"""``memtrain frontier``: the largest batches and depths that fit into a memory."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from memtrain.cells.usual import FRONTIER_DEPTHS
from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, command_line, export_options
from memtrain.cli.groups import MEASUREMENT
from memtrain.cli.options import Jobs, Memory, Quiet, Timeout, cell_options


@cell_options(
    several=("depth", "batch"),
    shown={"depth": FRONTIER_DEPTHS, "batch": "64, 256, … up to one that fits nowhere"},
)
@export_options
@config_options
def frontier(
    columns: dict[str, Any],
    memory: Memory,
    confirm: Annotated[
        bool,
        typer.Option(
            "--confirm/--no-confirm",
            help="Run the largest batch, and one that must fail, under a hard limit",
            show_default="confirm",
            rich_help_panel=MEASUREMENT,
        ),
    ] = True,
    jobs: Jobs = None,
    timeout: Timeout = None,
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Find the largest batch and depth that fit into a memory.

    This command predicts the largest batch that fits for each depth, and the largest depth for each batch.
    Then it runs each largest batch under a hard limit, and also the smallest batch that must fail under this
    limit. The exit code is 1 if a run contradicts the prediction.

    The largest batch may be any number. --batch only chooses the columns of the map, and the batches for
    which the largest depth is found.

    Examples:
      memtrain frontier --memory 256MiB --no-confirm
      memtrain frontier --memory 64MiB --depth 1:16:x2
      memtrain frontier --memory 1GB --activation gelu --bias --no-confirm
    """
    from memtrain.answers.capacity import Capacity, default_batches, find_capacity
    from memtrain.answers.confirm import confirm as confirm_capacity
    from memtrain.cli.console import messages, progress_bar, warn
    from memtrain.cli.grid import cell_from
    from memtrain.measure.environment import environment
    from memtrain.measure.host import Host
    from memtrain.report.capacity import problem_lines
    from memtrain.report.section import Origin
    from memtrain.sweeps.grid import training_examples
    from memtrain.sweeps.ranges import parse_integers
    from memtrain.sweeps.sweep import check_limits, default_jobs
    from memtrain.units import parse_bytes

    check_limits(jobs, timeout)
    exports.check(Capacity, [columns["data"]])
    budget_bytes = parse_bytes(memory, "--memory")
    depth, batch = columns.pop("depth"), columns.pop("batch")
    depths = parse_integers(FRONTIER_DEPTHS if depth is None else depth, "--depth", least=0)
    batches = None if batch is None else parse_integers(batch, "--batch")
    cell = cell_from(columns)
    wanted = default_batches if batches is None else batches
    found = find_capacity(cell, budget_bytes, depths, wanted, training_examples(cell))
    recorded = environment()
    if confirm:
        with Host() as host, progress_bar(quiet) as progress:
            recorded = host.environment(cell)
            total = len(found.boundaries)
            bar = progress.add_task("confirming under the limit", total=total, count="")
            found = confirm_capacity(
                host,
                found,
                jobs=jobs or default_jobs(),
                timeout_s=timeout,
                done=lambda _: progress.advance(bar),
            )
    exports.publish(found, Origin(command_line(), environment=recorded))
    for line in problem_lines(found):
        warn(messages(), line)  # it explains the exit code, so -q does not silence it
    if not all(boundary.ok for boundary in found.boundaries):
        raise typer.Exit(1)
