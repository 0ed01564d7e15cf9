"""``memtrain explain``: why each intermediate is kept, and the proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from memtrain.cli.config import config_options
from memtrain.cli.exports import Exports, export_options
from memtrain.cli.options import MEASUREMENT, OUTPUT, Measured, Quiet, cell_options

_DEFAULTS = {"depth": 16, "batch": 1024}
"""A cell whose peak is made of what forward keeps. The book's network is ``--depth 1 --batch 64``."""


@cell_options(shown={"depth": "16", "batch": "1024"})
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
    from memtrain.explaining.explanation import explain as explain_cell
    from memtrain.explaining.second import second_order
    from memtrain.report.drawing import draw_dot, draw_svg
    from memtrain.run.kept_rates import kept_rates

    cell = cell_from(_with_defaults(columns))
    if backward and svg is None and dot is None:
        raise InputError(
            "--backward changes a drawing, and none is asked for", "add --svg FILE or --dot FILE"
        )
    exports.check(Explained, [columns["data"]], {"--svg": svg, "--dot": dot})
    log = messages(quiet)
    rates = kept_rates()
    (cell,) = plannable(log, [cell], rates)
    explanation = explain_cell(cell, rates)
    runs = evidence.can_run(explanation)
    if prove and not runs:
        raise InputError(
            "--prove runs the network, and this one is too large for that",
            "reduce --depth, --width or --batch",
        )
    if measure and not runs:
        warn(log, "this network is too large to run here; all figures are predicted")
    measured = measure and runs
    explained = Explained(
        explanation,
        rows=evidence.measured(cell, rates) if measured else {},
        proof=evidence.proved(cell, explanation.train.schedule) if prove else None,
        second=second_order(cell, evidence.rates_of(rates, measured)) if second else None,
        full=full,
    )
    schedule = explanation.train.schedule if explained.second is None else explained.second.second.schedule
    backward = backward or second
    drawings = {
        "--svg": (svg, lambda: draw_svg(schedule, backward=backward)),
        "--dot": (dot, lambda: draw_dot(schedule, backward=backward)),
    }
    exports.publish(explained, others=drawings)
    if not explained.ok:
        raise typer.Exit(1)


def _with_defaults(columns: dict[str, Any]) -> dict[str, Any]:
    """``columns`` with the depth and batch of this command; ``--layers`` gives the depth itself."""
    chosen = {name: value for name, value in _DEFAULTS.items() if columns[name] is None}
    if columns["layers"] is not None:
        chosen.pop("depth", None)
    return columns | chosen
