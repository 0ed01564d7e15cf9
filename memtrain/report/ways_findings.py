"""What would make a cell fit, in sentences: what was found, what to do, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterable

from memtrain.answers.option import Kind, Option, Ways, command_of, plan_command
from memtrain.cells.cell import SECONDS, Cell
from memtrain.explaining.folding import fold_names
from memtrain.graph.node import Name
from memtrain.report.findings import cell_name
from memtrain.units import format_bytes


def percent(share: float | None) -> str:
    """A share as a signed percentage: ``+12 %``."""
    return "" if share is None else f"{round(100 * share) + 0:+d} %"


def ways_sentences(ways: Ways) -> list[str]:
    """What was found, the answer first."""
    whole = (
        f"{cell_name(ways.cell)}: without recomputation, training needs "
        f"{format_bytes(ways.keep_all.predicted_peak_bytes)}."
    )
    sentences = [
        f"{whole} {_answer(ways)}",
        *(
            f"{name} is left out: it needs {format_bytes(peak)}, {_why(name)}."
            for name, peak in ways.left_out
        ),
    ]
    if any(not option.exact and option.differing is not None for option in ways.options):
        sentences.append(ROUNDED + (KINK if ways.cell["activation"] == "relu" else ""))
    rule = max(ways.rules, key=lambda option: option.abstract_count - option.executed_count, default=None)
    if rule is not None and rule.abstract_count > rule.executed_count:
        sentences.append(
            f"{rule.name}: of the {rule.abstract_count} stages that the abstract plan computes again, only "
            f"{rule.executed_count} are needed: a stage's backward reads its input, so that nobody would "
            "read the output of the others."
        )
    return sentences + [f"{option.name}: {note}" for option in ways.options for note in option.notes]


ROUNDED = (
    "Micro-batches add up the same gradients in another order. So they are compared in float64: there they "
    "are equal to the given share of the largest entry."
)

KINK = " In float32, rounding can also move a unit across the kink of ReLU; then gradients differ by more."


def advice(ways: Ways) -> str | None:
    """The command to run next; ``None`` if nothing has to be done or no memory was given."""
    if ways.chosen is not None:
        return None if ways.chosen.kind is Kind.KEEP_ALL else command_of(ways.chosen.cell)
    if ways.smaller is not None:
        return command_of(ways.smaller.cell)
    return None if ways.least_bytes is None else plan_command(ways.cell, ways.least_bytes)


def ways_problems(ways: Ways) -> list[str]:
    """The problems of an answer: nothing fits, a run failed, bits differ."""
    problems = []
    if ways.memory_bytes is not None and ways.chosen is None:
        problems.append(
            f"nothing fits into {format_bytes(ways.memory_bytes)}: at least {ways.least_bytes:,} B are needed"
        )
    for option in ways.options:
        if option.row is not None and not option.row.ok:
            problems.append(f"{option.name}: {option.row['status']}: {option.row['reason']}")
        elif option.row is not None and option.row.agrees("heap") is False:
            problems.append(
                f"{option.name}: the heap is {option.row.difference_bytes('heap'):,} B off the ledger"
            )
        elif option.failure:
            problems.append(f"{option.name}: its comparison with no recomputation failed: {option.failure}")
        elif option.changed_by_plan:
            changed = _folded(option.cell, option.changed_by_plan)
            problems.append(f"{option.name}: the plan changes bits of {changed}")
        elif not option.ok and option.exact:
            differing = _folded(option.cell, option.differing or ())
            problems.append(f"{option.name}: not the same bits: {differing}")
        elif not option.ok:
            problems.append(
                f"{option.name}: gradients differ by {option.largest_difference:.0e} in float64: "
                "more than rounding"
            )
    return problems


def _answer(ways: Ways) -> str:
    """A sentence on what makes the cell fit; without a memory, on the smallest plan."""
    if ways.memory_bytes is None:
        return f"The smallest plan needs {format_bytes(ways.keep_all.least_bytes)}."
    memory, chosen = format_bytes(ways.memory_bytes), ways.chosen
    if chosen is None:
        return f"Nothing fits into {memory}. {_what_would(ways)}"
    if chosen.kind is Kind.KEEP_ALL:
        return f"It fits into {memory} as it is."
    if chosen.kind is Kind.CHOSEN:
        again = sum(1 for _, times in chosen.values if times)
        return (
            f"A plan fits into {memory}: it keeps {len(chosen.values) - again} of the {len(chosen.values)} "
            f"values that backward reads and recomputes {again}. {_costs(chosen, ways.cell.cost)}"
            f"{_cheaper(ways, chosen)}"
        )
    least = ways.keep_all.least_bytes
    return (
        f"Recomputation alone is not enough for {memory}: its smallest plan needs {format_bytes(least)} "
        f"({least:,} B). It fits with {chosen.name}. {_costs(chosen, ways.cell.cost)}"
    )


def _costs(option: Option, cost: str) -> str:
    """A sentence on the peak and the time of an option, and on whether its gradients are the same."""
    unit = "time" if cost == SECONDS else "FLOPs"
    words = (
        f"It needs {format_bytes(option.predicted_peak_bytes)} at its peak and takes "
        f"{percent(option.predicted_extra)} {unit} (predicted)"
    )
    if option.measured_extra is not None:
        words += f", {percent(option.measured_extra)} time (measured)"
    if option.differing is None:
        return f"{words}."
    if not option.same:
        return f"{words}. Its gradients and parameters are NOT the same."
    if option.exact:
        return f"{words}. Its gradients and parameters are the same bits as those of the unchanged training."
    return (
        f"{words}. Its gradients and parameters are the same up to rounding "
        f"({option.largest_difference:.0e} in float64)."
    )


def _cheaper(ways: Ways, chosen: Option) -> str:
    """A sentence on a lever that also fits, is faster than the plan and trains the same; else empty."""
    found = [
        option
        for option in ways.levers
        if option.predicted_peak_bytes <= (ways.memory_bytes or 0)
        and option.predicted_extra < chosen.predicted_extra
        and (option.cell.optimizer, option.cell["dtype"]) == (ways.cell.optimizer, ways.cell["dtype"])
    ]
    best = min(found, key=lambda option: option.predicted_extra, default=None)
    if best is None or percent(best.predicted_extra) == percent(chosen.predicted_extra):
        return ""
    return f" {best.name} fits, too, and takes {percent(best.predicted_extra)} (predicted)."


def _what_would(ways: Ways) -> str:
    """Sentences for a memory into which nothing fits: what is needed, and the largest batch that fits."""
    words = (
        f"The parameters alone need {format_bytes(ways.parameter_bytes)}; with all levers and the smallest "
        f"plan, training needs {format_bytes(ways.least_bytes)} ({ways.least_bytes:,} B)."
    )
    if ways.most_accumulate is not None:
        words += f" More than {ways.most_accumulate:,} micro-batches were not tried."
    if ways.smaller is None:
        return f"{words} Not even a batch of one example fits."
    batch = ways.smaller.cell.batch
    all_tried = ways.most_accumulate is None or batch < ways.most_accumulate
    said = f"The largest batch that fits is {batch:,}" if all_tried else f"A batch of {batch:,} fits"
    return f"{words} {said} ({ways.smaller.name})."


def _why(name: str) -> str:
    """Why a lever can need more than changing nothing."""
    more = "more than changing nothing"
    if not name.startswith("--accumulate"):
        return more
    return f"{more}, because the gradients of earlier micro-batches stay while later ones are computed"


def _folded(cell: Cell, names: Iterable[str]) -> str:
    """The names of parameters, their gradients (∂W1) and other values, folded."""
    known = {
        f"{prefix}{node.name}": Name(f"{prefix}{node.name}", f"{prefix}{node.label}", node.scope)
        for node in cell.network.build(1).parameters
        for prefix in ("", "∂")
    }
    return fold_names(known.get(name, Name(name, name, ())) for name in names)
