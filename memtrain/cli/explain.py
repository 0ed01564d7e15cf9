"""``memtrain explain``: why each intermediate is kept, and the proof."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from memtrain.cli.exports import STDOUT, check_exports, export
from memtrain.cli.options import Force, cell_options


@cell_options(without=("allocation", "threads", "steps", "memory_limit_bytes"))
def explain(
    columns: dict[str, Any],
    prove: Annotated[bool, typer.Option("--prove", help="Prove that all that is kept is needed.")] = False,
    second: Annotated[bool, typer.Option("--second", help="The Hessian-vector product, too.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Draw the graph into a file; - for stdout.")] = None,
    dot: Annotated[Path | None, typer.Option(help="The same drawing for Graphviz; or -.")] = None,
    backward: Annotated[bool, typer.Option("--backward", help="Backward in the drawing, too.")] = False,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Hold ledger and heap against the prediction.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    force: Force = False,
) -> None:
    """Say of each intermediate why it is kept, what for, and for how long.

    \b
    Examples:
      memtrain explain
      memtrain explain --activation gelu --bias --prove
      memtrain explain --depth 8 --policy sqrt
      memtrain explain --depth 1000 --width 4096 --batch 1048576
    """
    from memtrain.cli.console import messages, plannable, results, warn
    from memtrain.cli.grid import cell_from
    from memtrain.errors import InputError
    from memtrain.explain import evidence
    from memtrain.explain.explanation import explain as explain_cell
    from memtrain.explain.second import second_order
    from memtrain.report.drawing import draw_dot, draw_svg
    from memtrain.report.json import explain_document
    from memtrain.report.terminal.explain import proof_section, second_section, sections
    from memtrain.run.kept_rates import kept_rates

    cell = cell_from(columns)
    if backward and svg is None and dot is None:
        raise InputError("--backward alone", "allowed: with --svg or --dot", "name a file to draw into")
    check_exports({"--svg": svg, "--dot": dot, "--json": STDOUT if json else None}, force, [columns["data"]])
    out, log = results(), messages()

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
    rows = evidence.measured(cell, rates) if measure and runs else {}
    proof = evidence.proved(cell, explanation.train.schedule) if prove else None
    product = second_order(cell) if second else None

    def tables() -> None:
        for section in sections(explanation, rows, out.width, out.options.ascii_only):
            out.print(section)
            out.print()
        if proof is not None:
            out.print(proof_section(proof))
            out.print()
        if product is not None:
            out.print(second_section(product))

    command = shlex.join(["memtrain", *sys.argv[1:]])
    schedule = explanation.train.schedule
    export(
        {
            "--json": (
                STDOUT if json else None,
                lambda: explain_document(explanation, rows, proof, product, command),
            ),
            "--svg": (svg, lambda: draw_svg(schedule, backward=backward)),
            "--dot": (dot, lambda: draw_dot(schedule, backward=backward)),
        },
        force,
        tables,
    )
    checks = [row.ok for row in rows.values()] + [found.ok for found in (proof, product) if found is not None]
    if not all(checks):
        raise typer.Exit(1)
