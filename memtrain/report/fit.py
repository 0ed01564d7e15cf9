"""What would make a cell fit, in words and as plain tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby

from memtrain.cells.cell import SECONDS, Cell
from memtrain.explain.folding import fold_names
from memtrain.graph.node import Name
from memtrain.report.findings import cell_name
from memtrain.report.markdown import markdown_code, markdown_list, markdown_table
from memtrain.sweeps.files import csv_line
from memtrain.sweeps.option import Fit, Kind, Option, command_of, plan_command
from memtrain.units import format_bytes

Value = str | int | float | None

COLUMNS: dict[str, Callable[[Option], Value]] = {
    "kind": lambda option: str(option.kind),
    "name": lambda option: option.name,
    "policy": lambda option: option.cell.policy,
    "update": lambda option: option.cell.update,
    "optimizer": lambda option: option.cell.optimizer,
    "accumulate": lambda option: option.cell.accumulate,
    "predicted_peak_bytes": lambda option: option.predicted_peak_bytes,
    "ledger_peak_bytes": lambda option: option.ledger_peak_bytes,
    "heap_peak_bytes": lambda option: option.heap_peak_bytes,
    "predicted_extra": lambda option: option.predicted_extra,
    "measured_extra": lambda option: option.measured_extra,
    "step_s": lambda option: option.step_s,
    "abstract_count": lambda option: option.abstract_count,
    "executed_count": lambda option: option.executed_count,
    "differing_count": lambda option: None if option.differing is None else len(option.differing),
    "largest_difference": lambda option: option.largest_difference,
    "least_bytes": lambda option: option.least_bytes,
    "command": lambda option: command_of(option.cell),
}
"""A row per option: what it is, its peak and its time beyond keep-all's as predicted and as measured."""


def fit_records(fit: Fit) -> list[dict[str, Value]]:
    """Every option as a dictionary of its columns."""
    return [{name: read(option) for name, read in COLUMNS.items()} for option in fit.options]


def fit_csv(fit: Fit) -> str:
    """The options as CSV."""
    return "".join(map(csv_line, [COLUMNS, *(record.values() for record in fit_records(fit))]))


def fit_markdown(fit: Fit, command: str) -> str:
    """The options as a table, and what was found as a list."""
    table = markdown_table(TITLES, (shown(option) for option in fit.options))
    todo = advice(fit)
    sentences = [*fit_sentences(fit), *([f"Do this: {todo}"] if todo else [])]
    return f"{markdown_code(command)}\n\n{table}\n{markdown_list(sentences)}"


TITLES = (
    "option",
    "peak MiB",
    "ledger ±B",
    "heap ±B",
    "time, predicted",
    "time, measured",
    "gradients equal?",
    "stages recomputed",
    "smallest plan MiB",
)
"""Ledger and heap against the predicted peak. The last two matter for plans, and for what has none."""


def shown(option: Option) -> list[str]:
    """The cells of an option's line in a table."""
    ledger, heap, predicted = option.ledger_peak_bytes, option.heap_peak_bytes, option.predicted_peak_bytes
    return [
        option.name,
        mebibytes(predicted),
        "" if ledger is None else f"{ledger - predicted:+,}" if ledger != predicted else "0",
        "" if heap is None else f"{heap - predicted:+,}",
        percent(option.predicted_extra),
        percent(option.measured_extra),
        equality(option),
        f"{option.executed_count} of {option.abstract_count}"
        if option.kind is Kind.RULE
        else f"{option.executed_count}",
        mebibytes(option.least_bytes),
    ]


def mebibytes(count: int) -> str:
    """Bytes as a number of MiB."""
    return f"{count / 2**20:,.2f}" if count >= 2**17 else f"{count / 2**20:.4f}"


def percent(share: float | None) -> str:
    """A share as a signed percentage: ``+12 %``."""
    return "" if share is None else f"{round(100 * share) + 0:+d} %"


def equality(option: Option) -> str:
    """Whether the gradients equal those of an iteration that keeps all: in every bit, or to how much."""
    if option.differing is None:
        return ""
    if not option.same:
        return "NO"
    return "yes" if option.exact else f"to {option.largest_difference:.0e}"


def fit_sentences(fit: Fit) -> list[str]:
    """What was found, the answer first."""
    whole = (
        f"{cell_name(fit.cell)}: without recomputation, training needs "
        f"{format_bytes(fit.keep_all.predicted_peak_bytes)}."
    )
    sentences = [
        f"{whole} {_answer(fit)}",
        *(f"{name} is left out: it needs {format_bytes(peak)}, {_why(name)}." for name, peak in fit.left_out),
    ]
    if any(not option.exact and option.differing is not None for option in fit.options):
        sentences.append(ROUNDED + (KINK if fit.cell["activation"] == "relu" else ""))
    rule = max(fit.rules, key=lambda option: option.abstract_count - option.executed_count, default=None)
    if rule is not None and rule.abstract_count > rule.executed_count:
        sentences.append(
            f"{rule.name}: of the {rule.abstract_count} stages that the abstract plan computes again, only "
            f"{rule.executed_count} are needed: a stage's backward reads its input, so that nobody would "
            "read the output of the others."
        )
    return sentences + [f"{option.name}: {note}" for option in fit.options for note in option.notes]


ROUNDED = (
    "Micro-batches add up the same gradients in another order. So they are compared in float64: there they "
    "are equal to the given share of the largest entry."
)
KINK = " In float32, rounding can also move a unit across the kink of ReLU; then gradients differ by more."


def advice(fit: Fit) -> str | None:
    """The command to run next; ``None`` where nothing has to be done, or no memory was given."""
    if fit.chosen is not None:
        return None if fit.chosen.kind is Kind.KEEP_ALL else command_of(fit.chosen.cell)
    if fit.smaller is not None:
        return command_of(fit.smaller.cell)
    return None if fit.least_bytes is None else plan_command(fit.cell, fit.least_bytes)


def fit_problems(fit: Fit) -> list[str]:
    """What did not come out as it should: nothing fits, a run failed, bits differ."""
    problems = []
    if fit.memory_bytes is not None and fit.chosen is None:
        problems.append(
            f"nothing fits into {format_bytes(fit.memory_bytes)}: at least {fit.least_bytes:,} B are needed"
        )
    for option in fit.options:
        if option.row is not None and not option.row.ok:
            problems.append(f"{option.name}: {option.row['status']}: {option.row['reason']}")
        elif option.row is not None and option.row.agrees("heap") is False:
            problems.append(
                f"{option.name}: the heap is {option.row.difference_bytes('heap'):,} B off the ledger"
            )
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


def _answer(fit: Fit) -> str:
    """What makes it fit; the least that a plan needs where no memory was given."""
    if fit.memory_bytes is None:
        return f"The smallest plan needs {format_bytes(fit.keep_all.least_bytes)}."
    memory, chosen = format_bytes(fit.memory_bytes), fit.chosen
    if chosen is None:
        return f"Nothing fits into {memory}. {_what_would(fit)}"
    if chosen.kind is Kind.KEEP_ALL:
        return f"It fits into {memory} as it is."
    if chosen.kind is Kind.CHOSEN:
        again = sum(1 for _, times in chosen.values if times)
        return (
            f"A plan fits into {memory}: it keeps {len(chosen.values) - again} of the {len(chosen.values)} "
            f"values that backward reads and recomputes {again}. {_costs(chosen, fit.cell.cost)}"
            f"{_cheaper(fit, chosen)}"
        )
    least = fit.keep_all.least_bytes
    return (
        f"Recomputation alone is not enough for {memory}: its smallest plan needs {format_bytes(least)} "
        f"({least:,} B). It fits with {chosen.name}. {_costs(chosen, fit.cell.cost)}"
    )


def _costs(option: Option, cost: str) -> str:
    """What an option needs and takes, and whether its gradients are the same."""
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


def _cheaper(fit: Fit, chosen: Option) -> str:
    """The lever that fits, too, takes less time than the plan, and trains the same; empty without."""
    found = [
        option
        for option in fit.levers
        if option.predicted_peak_bytes <= (fit.memory_bytes or 0)
        and option.predicted_extra < chosen.predicted_extra
        and (option.cell.optimizer, option.cell["dtype"]) == (fit.cell.optimizer, fit.cell["dtype"])
    ]
    best = min(found, key=lambda option: option.predicted_extra, default=None)
    if best is None or percent(best.predicted_extra) == percent(chosen.predicted_extra):
        return ""
    return f" {best.name} fits, too, and takes {percent(best.predicted_extra)} (predicted)."


def _what_would(fit: Fit) -> str:
    """Where nothing fits: what is lacking, and the largest batch that fits."""
    words = (
        f"The parameters alone need {format_bytes(fit.parameter_bytes)}; with all levers and the smallest "
        f"plan, training needs {format_bytes(fit.least_bytes)} ({fit.least_bytes:,} B)."
    )
    if fit.most_accumulate is not None:
        words += f" More than {fit.most_accumulate:,} micro-batches were not tried."
    if fit.smaller is None:
        return f"{words} Not even a batch of one example fits."
    batch = fit.smaller.cell.batch
    all_tried = fit.most_accumulate is None or batch < fit.most_accumulate
    said = f"The largest batch that fits is {batch:,}" if all_tried else f"A batch of {batch:,} fits"
    return f"{words} {said} ({fit.smaller.name})."


def _why(name: str) -> str:
    """Why a lever can need more than changing nothing."""
    more = "more than changing nothing"
    if not name.startswith("--accumulate"):
        return more
    return f"{more}, because the gradients of earlier micro-batches stay while later ones are computed"


TIMES = {1: "once", 2: "twice"}


def _folded(cell: Cell, names: Iterable[str]) -> str:
    """The names of parameters, their gradients (∂W1) and other values, folded."""
    known = {
        f"{prefix}{node.name}": Name(f"{prefix}{node.name}", f"{prefix}{node.label}", node.scope)
        for node in cell.network.build(1).parameters
        for prefix in ("", "∂")
    }
    return fold_names(known.get(name, Name(name, name, ())) for name in names)


def fates(option: Option) -> list[tuple[str, str, int]]:
    """What becomes of the values that backward reads: the fate, their names folded, and their bytes.

    Kept ones come first, then those that are recomputed once, twice, …
    """
    by_times = sorted(option.values, key=lambda value: value[1])
    found = []
    for times, group in groupby(by_times, key=lambda value: value[1]):
        nodes = [node for node, _ in group]
        fate = "kept" if not times else f"recomputed {TIMES.get(times, f'{times} times')}"
        found.append((fate, fold_names(nodes), sum(node.nbytes for node in nodes)))
    return found
