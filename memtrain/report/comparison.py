"""A comparison as text: columns for tables, CSV, markdown, and the sentences about regressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from memtrain.answers.comparison import LEAST_REPEATS, MEASURED, Comparison, Pairing
from memtrain.cells.kinds import csv_line
from memtrain.cells.row import TOLERANCES
from memtrain.report.findings import cell_name, varying_fields
from memtrain.report.section import Section
from memtrain.units import format_bytes, format_seconds

Column = tuple[str, Callable[[Pairing], str]]
"""A title, and a function that gives the text of the column for a pairing."""


PARTS = ("before", "after", "ratio")


def comparison_columns(comparison: Comparison, parts: Sequence[str] = PARTS) -> list[Column]:
    """The cell, then the parts (before, after, ratio) of each meter."""
    varying = varying_fields(pairing.cell for pairing in comparison.pairings)
    names = ["depth", "batch", *varying]

    def of_cell(name: str) -> Column:
        return name, lambda pairing: str(pairing.cell.columns()[name])

    columns = [*map(of_cell, names), ("mode", lambda pairing: str(pairing.mode))]
    for meter in comparison.meters:
        columns += [_meter_column(meter, part) for part in parts]
    return columns


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
    columns = comparison_columns(comparison)
    lines = [[show(pairing) for _, show in columns] for pairing in comparison.pairings]
    return [Section("", [title for title, _ in columns], lines)]


def regression_lines(comparison: Comparison, allowed: Fraction) -> list[str]:
    """A line for each figure that has grown by more than ``allowed`` or is missing now."""
    varying = varying_fields(pairing.cell for pairing in comparison.pairings)
    return [
        f"{cell_name(pairing.cell, varying)}, {pairing.mode}: {what}"
        for pairing, what in comparison.regressions(allowed)
    ]


def judgement_lines(comparison: Comparison) -> list[str]:
    """A line for each meter: the rule by which it was judged, or why it was not judged."""
    rules = {
        "ledger": "ledger exactly",
        "heap": "heap exactly",
        "resident": f"resident where it rises by more than {TOLERANCES['resident']} and "
        "by more than its repetitions differ",
        "time": f"time where it rises by more than {100 * comparison.time_spread:.0f} %, "
        "for so far apart are the repetitions in the two files",
    }
    used, lines = [], []
    for meter in comparison.meters:
        judged, both = comparison.judged(meter)
        if judged:
            used.append(rules[meter])
        if judged < both:
            lines.append(
                f"not judged: {meter} in {both - judged} of {both} rows; measure both files with --repeat "
                f"{LEAST_REPEATS} or more, for fewer repetitions do not show how far it spreads"
            )
    lines += [f"not judged: {meter}, of which the first file has no figures" for meter in comparison.absent]
    return [f"judged: {'; '.join(used) or 'nothing'}", *lines]


def _meter_column(meter: str, part: str) -> Column:
    shown: Callable[[float | None], str] = format_seconds if meter == "time" else format_bytes

    def show(pairing: Pairing) -> str:
        if part == "ratio":
            ratio = pairing.ratio(meter)
            return "" if ratio is None else f"{ratio:.3f}"
        return shown(pairing.figures(meter)[part == "after"])

    return f"{meter}\n{part}", show
