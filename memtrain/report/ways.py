"""Ways to make a cell fit into a memory, as tables and as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from memtrain.answers.option import Kind, Option, Ways, command_of
from memtrain.cells.cell import FLOPS
from memtrain.cells.engine import NUMPY
from memtrain.cells.kinds import csv_line
from memtrain.explaining.folding import fold_names
from memtrain.report.section import Section
from memtrain.report.ways_findings import advice, percent, ways_sentences

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
"""The columns of the CSV, each with a function that reads its value from an option."""


def ways_records(ways: Ways) -> list[dict[str, Value]]:
    """Every option as a dictionary of its columns."""
    return [{name: read(option) for name, read in COLUMNS.items()} for option in ways.options]


def ways_csv(ways: Ways) -> str:
    """The options as CSV."""
    return "".join(map(csv_line, [COLUMNS, *(record.values() for record in ways_records(ways))]))


def ways_sections(ways: Ways) -> list[Section]:
    """The options as a table, the findings, and the command to run next."""
    todo = advice(ways)
    sentences = [*ways_sentences(ways), *([f"Do this: {todo}"] if todo else [])]
    return [replace(options_section("", ways.options, range(len(HEADS))), sentences=sentences)]


HEADS = (
    "option",
    "peak\nMiB",
    "ledger\n±B",
    "heap\n±B",
    "time,\npredicted",
    "time,\nmeasured",
    "gradients\nequal?",
    "stages\nrecomputed",
    "smallest\nplan MiB",
)
"""Ledger and heap are compared with the predicted peak. The last two columns are about plans."""

OF_PLANS, OF_LEVERS = (0, 1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3, 4, 5, 6, 8)
"""The columns of a table of plans, and of a table of levers."""

_OF_PLANS = {7, 8}
"""The columns that are only about plans."""

MEASURED = {2, 3, 5, 6}
"""The columns that are empty if nothing was run."""


def options_section(title: str, options: Sequence[Option], columns: Iterable[int]) -> Section:
    """A table of options with these columns of `HEADS`; those that are empty in every line are left out.

    The predicted extra is of FLOPs if the cost of the options is FLOPs. For PyTorch there are no plans.
    """
    cells = [shown(option) for option in options]
    plans = any(option.cell.engine == NUMPY for option in options)
    columns = [
        index
        for index in columns
        if (index not in MEASURED or any(line[index] for line in cells)) and (plans or index not in _OF_PLANS)
    ]
    return Section(
        title,
        [_head(index, options) for index in columns],
        [[line[index] for index in columns] for line in cells],
        words=frozenset({0}),
        names=0,
        failed=frozenset(number for number, option in enumerate(options) if not option.ok),
    )


def _head(index: int, options: Sequence[Option]) -> str:
    head = HEADS[index]
    return head.replace("time", "FLOPs") if index == 4 and options[0].cell.cost == FLOPS else head


def shown(option: Option) -> list[str]:
    """The texts of an option's line in a table."""
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


def equality(option: Option) -> str:
    """Whether the gradients equal those of keep-all, or the difference that rounding makes."""
    if option.differing is None:
        return ""
    if not option.same:
        return "NO"
    return "yes" if option.exact else f"to {option.largest_difference:.0e}"


TIMES = {1: "once", 2: "twice"}


def fates(option: Option) -> list[tuple[str, str, int]]:
    """The values that backward reads, grouped by fate: the fate, the folded names, and the bytes.

    Kept values come first, then those that are recomputed once, twice, …
    """
    by_times = sorted(option.values, key=lambda value: value[1])
    found = []
    for times, group in groupby(by_times, key=lambda value: value[1]):
        nodes = [node for node, _ in group]
        fate = "kept" if not times else f"recomputed {TIMES.get(times, f'{times} times')}"
        found.append((fate, fold_names(nodes), sum(node.nbytes for node in nodes)))
    return found
