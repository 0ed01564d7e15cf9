"""``memtrain explain``: why each intermediate is kept, and the proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from memtrain.cli.exports import Exports, export_options
from memtrain.cli.options import Measured, cell_options

_DEFAULTS = {"depth": 16, "batch": 1024}
"""A cell whose peak is made of what forward keeps. The book's network is ``--depth 1 --batch 64``."""


@cell_options(
    without=("allocation", "threads", "steps", "memory_limit_bytes"),
    shown={"depth": "16", "batch": "1024"},
)
@export_options
def explain(
    columns: dict[str, Any],
    prove: Annotated[bool, typer.Option("--prove", help="Prove that all that is kept is needed.")] = False,
    second: Annotated[
        bool, typer.Option("--second", help="The Hessian-vector product, too; drawn, if asked.")
    ] = False,
    svg: Annotated[Path | None, typer.Option(help="Draw the graph into a file; - for stdout.")] = None,
    dot: Annotated[Path | None, typer.Option(help="The same drawing for Graphviz; or -.")] = None,
    backward: Annotated[bool, typer.Option("--backward", help="Backward in the drawing, too.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Show all of it, not one screen; exports always hold all.")
    ] = False,
    measure: Measured = True,
    *,
    exports: Exports,
) -> None:
    """Say of each intermediate why it is kept, what for, and for how long.

    \b
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
        raise InputError("--backward alone", "allowed: with --svg or --dot", "name a file to draw into")
    exports.check(Explained, [columns["data"]], {"--svg": svg, "--dot": dot})
    log = messages()
    rates = kept_rates()
    (cell,) = plannable(log, [cell], rates)
    explanation = explain_cell(cell, rates)
    runs = evidence.can_run(explanation)
    if prove and not runs:
        raise InputError(
            "--prove runs the cell", "allowed: cells that run in seconds", "choose a smaller one"
        )
    if measure and not runs:
        warn(log, "too large to be run here: predicted only")
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
