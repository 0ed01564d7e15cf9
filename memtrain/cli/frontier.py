"""``memtrain frontier``: the largest batches and depths that fit, or the largest values of other axes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from memtrain.cells.usual import FRONTIER_AXES, FRONTIER_DEPTHS
from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, command_line, export_options
from memtrain.cli.groups import MEASUREMENT
from memtrain.cli.options import Jobs, Memory, Quiet, Timeout, cell_options


@cell_options(
    several=FRONTIER_AXES,
    shown={
        "depth": f"{FRONTIER_DEPTHS} for mlp, else by family",
        "batch": "64, 256, … up to one that fits nowhere",
    },
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

    The axes may also be --sequence, --width, --image or --vocabulary: an axis is an option that has several
    values. A single one is paired with --batch.

    Examples:
      memtrain frontier --memory 256MiB --no-confirm
      memtrain frontier --memory 64MiB --depth 1:16:x2
      memtrain frontier --memory 64MiB --model transformer --sequence 64:512:x2
      memtrain frontier --memory 1GB --activation gelu --bias --no-confirm
    """
    from memtrain.answers.axes import axes_of
    from memtrain.answers.capacity import Capacity, capacity_of
    from memtrain.answers.confirm import confirm as confirm_capacity
    from memtrain.cells.columns import BY_NAME
    from memtrain.cli.console import messages, progress_bar, warn
    from memtrain.cli.grid import cell_from
    from memtrain.measure.environment import environment
    from memtrain.measure.host import Host
    from memtrain.report.capacity import problem_lines
    from memtrain.report.section import Origin
    from memtrain.sweeps.sweep import check_limits, default_jobs
    from memtrain.units import parse_bytes

    check_limits(jobs, timeout)
    exports.check(Capacity, [columns["data"]])
    budget_bytes = parse_bytes(memory, "--memory")
    axes = axes_of(columns, lambda name: BY_NAME[name].option)
    others = {name: value for name, value in columns.items() if name not in FRONTIER_AXES}
    found = capacity_of(axes, lambda **chosen: cell_from(others, **chosen), budget_bytes)
    recorded = environment()
    if confirm:
        with Host() as host, progress_bar(quiet) as progress:
            recorded = host.environment(found.cell)
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
