"""``memtrain explain``: why each intermediate is kept, and the proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from memtrain.cells.usual import EXPLAINED, as_shown, with_explained
from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, export_options
from memtrain.cli.groups import MEASUREMENT, OUTPUT
from memtrain.cli.options import Measured, Quiet, cell_options


@cell_options(shown=as_shown(EXPLAINED))
@export_options
@config_options
def explain(
    columns: dict[str, Any],
    prove: Annotated[
        bool,
        typer.Option("--prove", help="Prove that each kept value is needed", rich_help_panel=MEASUREMENT),
    ] = False,
    second: Annotated[
        bool,
        typer.Option("--second", help="Explain the Hessian-vector product, too", rich_help_panel=MEASUREMENT),
    ] = False,
    svg: Annotated[
        Path | None,
        typer.Option(metavar="<file>", help="Draw the graph as SVG; - is stdout", rich_help_panel=OUTPUT),
    ] = None,
    dot: Annotated[
        Path | None,
        typer.Option(
            metavar="<file>", help="Draw the graph for Graphviz; - is stdout", rich_help_panel=OUTPUT
        ),
    ] = None,
    backward: Annotated[
        bool, typer.Option("--backward", help="Draw the backward pass, too", rich_help_panel=OUTPUT)
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Show everything, not only one screen", rich_help_panel=OUTPUT)
    ] = False,
    measure: Measured = True,
    *,
    exports: Exports,
    quiet: Quiet = False,
) -> None:
    """Explain why each intermediate is kept, and for how long.

    Examples:
      memtrain explain
      memtrain explain --depth 1 --batch 64 --full
      memtrain explain --activation gelu --bias --prove
      memtrain explain --depth 8 --policy sqrt
      memtrain explain --depth 1000 --width 4096 --batch 1048576
    """
    from memtrain.cli.console import messages, plannable, warn
    from memtrain.cli.grid import cell_from
    from memtrain.errors import InputError
    from memtrain.explaining import evidence
    from memtrain.explaining.evidence import Explained
    from memtrain.report.drawing import draw_dot, draw_svg
    from memtrain.run.kept_rates import kept_rates

    cell = cell_from(with_explained(columns))
    if backward and svg is None and dot is None:
        raise InputError(
            "--backward changes a drawing, and none is asked for", "add --svg FILE or --dot FILE"
        )
    exports.check(Explained, [columns["data"]], {"--svg": svg, "--dot": dot})
    log = messages(quiet)
    rates = kept_rates()
    (cell,) = plannable(log, [cell], rates)
    explained = evidence.explained(cell, rates, proof=prove, second=second, measure=measure, full=full)
    if measure and not explained.rows:
        warn(log, "this network is too large to run here; all figures are predicted")
    schedule = explained.explanation.train.schedule
    if explained.second is not None:
        schedule = explained.second.second.schedule
    backward = backward or second
    drawings = {
        "--svg": (svg, lambda: draw_svg(schedule, backward=backward)),
        "--dot": (dot, lambda: draw_dot(schedule, backward=backward)),
    }
    exports.publish(explained, others=drawings)
    if not explained.ok:
        raise typer.Exit(1)
