"""``memtrain plan``: ways to make training fit into a memory."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, command_line, export_options
from memtrain.cli.groups import MEMORY
from memtrain.cli.options import MaybeMemory, Measured, Quiet, Timeout, cell_options


@cell_options()
@export_options
@config_options
def plan(
    columns: dict[str, Any],
    memory: MaybeMemory = None,
    pareto: Annotated[
        bool,
        typer.Option(
            "--pareto",
            help="Show the trade-off: plans from the least memory to no recomputation",
            rich_help_panel=MEMORY,
        ),
    ] = False,
    points: Annotated[
        int,
        typer.Option(
            metavar="<n>",
            min=2,
            max=200,
            help="Largest number of plans that --pareto shows",
            rich_help_panel=MEMORY,
        ),
    ] = 8,
    measure: Measured = True,
    timeout: Timeout = None,
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Find the cheapest way to make training fit into a memory.

    First this command looks for the cheapest plan of recomputation that fits into the memory. If no plan is
    enough, it looks for the cheapest combination of eager updates, micro-batches, optimiser and dtype,
    possibly with a plan in addition. If none of them fits, it names the largest batch for
    which one does.

    Then it runs and measures the answer beside other ways to hold less, and compares the gradients of each
    with those of training without recomputation. The exit code is 1 if nothing fits, or if a measurement
    differs from its prediction.

    Examples:
      memtrain plan --memory 12MiB --depth 16 --batch 512
      memtrain plan --pareto --points 4 --depth 12 --width 64 --batch 256
      memtrain plan --memory 1GiB --depth 100 --batch 65536 --no-measure
    """
    from memtrain.answers.option import Option, Ways
    from memtrain.answers.trial import measure_ways
    from memtrain.answers.ways import find_ways
    from memtrain.cells.cell import SECONDS
    from memtrain.cli.console import messages, progress_bar, say, warn, warn_of_rates
    from memtrain.cli.grid import cell_from
    from memtrain.errors import InputError
    from memtrain.measure.environment import environment
    from memtrain.measure.host import Host
    from memtrain.report.section import Origin
    from memtrain.report.ways_findings import answer_sentences
    from memtrain.report.ways_problems import ways_problems
    from memtrain.run.kept_rates import UNKNOWN, kept_rates
    from memtrain.sweeps.sweep import check_limits
    from memtrain.units import parse_bytes

    if memory is None and not pareto:
        raise InputError("`memtrain plan` needs --memory or --pareto", "add --memory 64MiB, for instance")
    check_limits(None, timeout)
    exports.check(Ways, [columns["data"]])
    memory_bytes = None if memory is None else parse_bytes(memory, "--memory")
    cell = cell_from(columns)
    log, host = messages(quiet), Host()
    rates = None if cell.cost != SECONDS else host.rates if measure else kept_rates()
    ways = find_ways(cell, memory_bytes, points if pareto else 0, rates)
    if measure:
        total = len(ways.options)
        if not log.is_terminal:  # no bar is shown there, and the runs can take minutes
            run = f"Each option is run now ({total}); --no-measure leaves this out."
            say(log, "\n".join([*answer_sentences(ways), run]))
        with host, progress_bar(quiet) as progress:
            bar = progress.add_task("running", total=total, count="")

            def done(option: Option) -> None:
                progress.update(bar, advance=1, description=f"ran {option.name}")

            ways = measure_ways(host, ways, timeout_s=timeout, done=done)
    problems = ways_problems(ways)
    try:
        exports.publish(ways, Origin(command_line(), environment=environment()))
    finally:
        for problem in problems:
            warn(messages(), problem)  # it explains the exit code, so -q does not silence it
        if cell.cost == SECONDS and rates is None:
            warn(log, UNKNOWN)
        warn_of_rates(log, measure and cell.cost == SECONDS)
    if problems:
        raise typer.Exit(1)
