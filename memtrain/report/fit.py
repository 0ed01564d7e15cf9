"""What would make a cell fit, in words and as plain tables."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from memtrain.measure.cell import SECONDS
from memtrain.report.findings import cell_name, fold_names
from memtrain.report.markdown import markdown_code, markdown_list, markdown_table
from memtrain.sweeps.files import csv_line
from memtrain.sweeps.fit import Fit, Kind, Option, command_of
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
    return f"{markdown_code(command)}\n\n{table}\n{markdown_list(fit_sentences(fit))}"


TITLES = (
    "option",
    "predicted MiB",
    "ledger ±B",
    "heap ±B",
    "extra predicted",
    "extra measured",
    "bits",
    "stages again",
    "smallest plan MiB",
)
"""The last two matter for plans, and for what has none."""


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
        bits(option),
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


def bits(option: Option) -> str:
    """How the gradients compare with those of an iteration that keeps all."""
    if option.differing is None:
        return ""
    return "same" if not option.differing else f"≤ {option.largest_difference:.0e}"


def fit_sentences(fit: Fit) -> list[str]:
    """What was found, the answer first."""
    keep_all, name = fit.keep_all, cell_name(fit.cell)
    whole = f"{name}: keeping all that backward reads needs {format_bytes(keep_all.predicted_peak_bytes)}"
    least = format_bytes(keep_all.least_bytes)
    if fit.memory_bytes is None:
        sentences = [f"{whole}; the smallest plan needs {least}."]
    elif fit.chosen is None:
        sentences = [
            f"{whole}. No plan fits into {format_bytes(fit.memory_bytes)}: the smallest needs {least} "
            f"({keep_all.least_bytes:,} B). {_smaller_levers(fit)}"
        ]
    elif fit.chosen.kind is Kind.KEEP_ALL:
        sentences = [f"{whole} and fits into {format_bytes(fit.memory_bytes)} as it is."]
    else:
        sentences = [f"{whole}. {_plan_sentence(fit.memory_bytes, fit.chosen, fit.cell.cost)}"]
    rule = max(fit.rules, key=lambda option: option.abstract_count - option.executed_count, default=None)
    if rule is not None and rule.abstract_count > rule.executed_count:
        sentences.append(
            f"{rule.name}: the abstract plan computes {rule.abstract_count} stages anew, of which "
            f"{rule.executed_count} are needed here: a stage's backward reads its input, and what would "
            "only be its output is not computed."
        )
    return sentences + [f"{option.name}: {note}" for option in fit.options for note in option.notes]


def fit_problems(fit: Fit) -> list[str]:
    """What did not come out as it should: nothing fits, a run failed, bits differ."""
    problems = []
    if fit.memory_bytes is not None and fit.chosen is None:
        least = fit.keep_all.least_bytes
        problems.append(f"no plan fits into {format_bytes(fit.memory_bytes)}; the smallest needs {least:,} B")
    for option in fit.options:
        if option.row is not None and not option.row.ok:
            problems.append(f"{option.name}: {option.row.figures.status}: {option.row.figures.reason}")
        elif option.row is not None and option.row.agrees("heap") is False:
            problems.append(
                f"{option.name}: the heap is {option.row.difference_bytes('heap'):,} B off the ledger"
            )
        elif not option.ok:
            problems.append(f"{option.name}: not the same bits: {fold_names(option.differing or ())}")
    return problems


def _plan_sentence(memory_bytes: int, chosen: Option, cost: str) -> str:
    unit = "time" if cost == SECONDS else "FLOPs"
    again = [node.name for node, times in chosen.values if times]
    words = (
        f"A plan fits into {format_bytes(memory_bytes)}: it keeps {len(chosen.values) - len(again)} of the "
        f"{len(chosen.values)} values and computes {len(again)} again, holds "
        f"{format_bytes(chosen.predicted_peak_bytes)} at its peak and takes "
        f"{percent(chosen.predicted_extra)} {unit}"
    )
    if chosen.measured_extra is not None:
        words += f" as predicted, {percent(chosen.measured_extra)} time as measured"
    if chosen.differing is not None:
        words += "; gradients and parameters " + (
            f"DIFFER in {fold_names(chosen.differing)}" if chosen.differing else "are the same bits"
        )
    return f"{words}."


def _smaller_levers(fit: Fit) -> str:
    inside = [option for option in fit.levers if option.predicted_peak_bytes <= (fit.memory_bytes or 0)]
    if not inside:
        return "None of the levers below is enough."
    return f"It does with {' or with '.join(option.name for option in inside)}."


def fates(option: Option) -> list[tuple[str, str, int]]:
    """What becomes of the values that backward reads: the fate, their names folded, and their bytes.

    Kept ones come first, then those that are computed again once, twice, …
    """
    by_times = sorted(option.values, key=lambda value: value[1])
    found = []
    for times, group in groupby(by_times, key=lambda value: value[1]):
        nodes = [node for node, _ in group]
        fate = "kept" if not times else f"again × {times}"
        found.append((fate, fold_names([node.name for node in nodes]), sum(node.nbytes for node in nodes)))
    return found
