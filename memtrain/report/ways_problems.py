"""What is wrong with ways to make a cell fit into a memory, in sentences."""

from __future__ import annotations

from collections.abc import Iterable

from memtrain.answers.option import Ways
from memtrain.cells.cell import Cell
from memtrain.explaining.folding import fold_names
from memtrain.graph.node import Name
from memtrain.units import format_bytes


def ways_problems(ways: Ways) -> list[str]:
    """The problems of an answer: nothing fits, a run failed, gradients differ."""
    problems = []
    if ways.memory_bytes is not None and ways.chosen is None:
        problems.append(
            f"nothing fits into {format_bytes(ways.memory_bytes)}: at least {ways.least_bytes:,} B are needed"
        )
    for option in ways.options:
        if option.row is not None and not option.row.ok:
            problems.append(f"{option.name}: {option.row['status']}: {option.row['reason']}")
        elif option.row is not None and option.row.agrees("heap") is False:
            off = option.row.difference_bytes("heap")
            problems.append(f"{option.name}: the heap peak is {off:+,} B off the ledger peak")
        elif option.failure:
            problems.append(f"{option.name}: the comparison with no recomputation failed: {option.failure}")
        elif option.changed_by_plan:
            changed = _folded(option.cell, option.changed_by_plan)
            problems.append(f"{option.name}: the plan changes bits of {changed}")
        elif not option.ok and option.exact:
            differing = _folded(option.cell, option.differing or ())
            problems.append(f"{option.name}: these differ from no recomputation in some bit: {differing}")
        elif not option.ok:
            problems.append(
                f"{option.name}: gradients differ by {option.largest_difference:.0e} in float64: "
                "more than rounding"
            )
    return problems


def _folded(cell: Cell, names: Iterable[str]) -> str:
    """The folded names of parameters, their gradients (∂W1) and other values."""
    known = {
        f"{prefix}{node.name}": Name(f"{prefix}{node.name}", f"{prefix}{node.label}", node.scope)
        for node in cell.network.build(1).parameters
        for prefix in ("", "∂")
    }
    return fold_names(known.get(name, Name(name, name, ())) for name in names)
