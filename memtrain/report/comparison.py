"""A comparison as text: its table, its CSV, and lines on the figures that grew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from memtrain.answers.comparison import LEAST_REPEATS, MEASURED, Comparison, Pairing
from memtrain.cells.kinds import csv_line
from memtrain.cells.row import TOLERANCES
from memtrain.report.findings import cell_name, varying_fields
from memtrain.report.section import Section
from memtrain.units import format_bytes, format_percent, format_seconds

Column = tuple[str, Callable[[Pairing], str]]
"""A title, and a function that gives the text of the column for a pairing."""


PARTS = ("before", "after", "ratio")


def comparison_section(comparison: Comparison, parts: Sequence[str] = PARTS) -> Section:
    """A table with a line per cell and mode: the cell, then ``parts`` of `PARTS` for each meter."""
    varying = varying_fields(pairing.cell for pairing in comparison.pairings)
    names = ["depth", "batch", *varying]

    def of_cell(name: str) -> Column:
        return name, lambda pairing: str(pairing.cell.columns()[name])

    keys = [*map(of_cell, names), ("mode", lambda pairing: str(pairing.mode))]
    columns = [*keys, *(_meter_column(meter, part) for meter in comparison.meters for part in parts)]
    return Section(
        "Before and after",
        [title for title, _ in columns],
        [[show(pairing) for _, show in columns] for pairing in comparison.pairings],
        words=frozenset({len(keys) - 1}),
        keys=len(keys),
        failed=frozenset(
            number for number, pairing in enumerate(comparison.pairings) if not _is_whole(pairing)
        ),
        sentences=["ratio: after ÷ before."],
    )


def _is_whole(pairing: Pairing) -> bool:
    """Whether both sets have a row of the cell, and neither failed."""
    return all(row is not None and row.ok for row in (pairing.before, pairing.after))


def comparison_csv(comparison: Comparison) -> str:
    """A row per cell and mode: the cell's columns, and for each meter before, after and ratio."""
    cell_names = list(comparison.pairings[0].cell.columns()) if comparison.pairings else []
    names = [f"{MEASURED[meter]}_{part}" for meter in comparison.meters for part in PARTS]
    lines = [csv_line([*cell_names, "mode", *names])]
    for pairing in comparison.pairings:
        figures = [
            value for meter in comparison.meters for value in (*pairing.figures(meter), pairing.ratio(meter))
        ]
        lines.append(csv_line([*pairing.cell.columns().values(), pairing.mode, *figures]))
    return "".join(lines)


def comparison_sections(comparison: Comparison) -> list[Section]:
    """The table of a comparison."""
    return [comparison_section(comparison)]


def regression_lines(comparison: Comparison, allowed: Fraction) -> list[str]:
    """A line for each figure that grew by more than ``allowed`` or is missing, and for each failed row."""
    varying = varying_fields(pairing.cell for pairing in comparison.pairings)
    return [
        f"{cell_name(pairing.cell, varying)}, {pairing.mode}: {what}"
        for pairing, what in comparison.regressions(allowed)
    ]


def judgement_lines(comparison: Comparison) -> list[str]:
    """A line for each meter: the noise that was allowed beside the percentage, or why it was not judged."""
    rules = {
        "ledger": "it has no noise",
        "heap": "it has no noise",
        "resident": f"its noise is {TOLERANCES['resident']}, or the spread of repetitions if this is more",
        "time": f"its noise is {format_percent(comparison.time_spread)}, the spread of repetitions",
    }
    lines, not_judged = [], []
    for meter in comparison.meters:
        judged, both = comparison.judged(meter)
        if judged:
            lines.append(f"{meter} is judged: {rules[meter]}")
        if judged < both:
            not_judged.append(
                f"{meter} is not judged in {both - judged} of {both} rows: fewer than {LEAST_REPEATS} "
                f"repetitions do not show its spread; measure both files with --repeat {LEAST_REPEATS}"
            )
    not_judged += [
        f"{meter} is not judged: the first file has no figures of it" for meter in comparison.absent
    ]
    return [*lines, *not_judged]


def _meter_column(meter: str, part: str) -> Column:
    shown: Callable[[float | None], str] = format_seconds if meter == "time" else format_bytes

    def show(pairing: Pairing) -> str:
        if part == "ratio":
            ratio = pairing.ratio(meter)
            return "" if ratio is None else f"{ratio:.3f}"
        return shown(pairing.figures(meter)[part == "after"])

    return f"{meter}\n{part}", show
