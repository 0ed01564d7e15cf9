"""The columns of a table of cells, training beside inference, for every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from memtrain.cells.cell import Mode
from memtrain.cells.columns import FIGURE_NAMES
from memtrain.cells.engine import JAX
from memtrain.cells.row import Row
from memtrain.graph.node import Role
from memtrain.report.colours import ROLE_WORDS
from memtrain.report.findings import Pair, main_row, pairs, peak_bytes, ratio, varying_fields
from memtrain.report.section import Section
from memtrain.units import binary_unit, format_bytes, format_difference, format_percent

Column = tuple[str, Callable[[Pair], str]]
"""A title, and a function that gives the text of the column for a cell."""


def columns_section(columns: Sequence[Column], rows: Sequence[Row], title: str, keys: int) -> Section:
    """A table with a line per cell. The first ``keys`` columns name the cell."""
    found = list(pairs(rows).values())
    lines = [[show(pair) for _, show in columns] for pair in found]
    failed = [number for number, pair in enumerate(found) if any(not row.ok for row in pair.values())]
    return Section(title, [head for head, _ in columns], lines, keys=keys, failed=frozenset(failed))


def shown_mode(rows: Sequence[Row]) -> Mode:
    """The mode of columns that show only one mode: training if any row has it, else inference.

    Such a column is empty for a cell that was measured only in another mode.
    """
    return next((mode for mode in Mode if any(row.mode is mode for row in rows)), Mode.INFER)


def _shown_figures(rows: Sequence[Row]) -> Callable[[Pair], Mapping[str, Any]]:
    """A function that gives a cell's figures in the shown mode; all are missing if it lacks that mode."""
    mode = shown_mode(rows)
    return lambda pair: pair[mode].figures if mode in pair else dict.fromkeys(FIGURE_NAMES)


def axis_columns(rows: Sequence[Row]) -> list[Column]:
    """Depth, batch, and whatever else varies over the cells."""

    def column(name: str) -> Column:
        return name, lambda pair: str(main_row(pair).cell.columns()[name])

    shown = ["depth", "batch", *varying_fields(row.cell for row in rows)]
    return [column(name) for name in dict.fromkeys(shown)]


def peak_columns(rows: Sequence[Row]) -> list[Column]:
    """The peaks of training and inference, their ratio, and the retained bytes, in one unit."""
    peaks = [peak_bytes(row) for row in rows if row.ok] or [row["retained_bytes"] for row in rows]
    divisor, unit = binary_unit(max((count or 0 for count in peaks), default=0))

    def in_unit(count: int | None) -> str:
        if count is None or count >= 1000 * divisor:  # the cell is far larger than all that ran
            return format_bytes(count)
        return f"{count / divisor:.{0 if divisor == 1 else 2}f}"

    def peak(mode: Mode) -> Column:
        def show(pair: Pair) -> str:
            row = pair.get(mode)
            if row is None:
                return ""
            if not row.ok and row["ledger_peak_bytes"] is None:
                return "limit" if row["status"] == "memory_limit" else "failed"
            return in_unit(peak_bytes(row))

        return f"{mode}\n{unit}", show

    shown = _shown_figures(rows)
    return [
        peak(Mode.TRAIN),
        peak(Mode.INFER),
        *([peak(Mode.EVAL_GRAD)] if any(row.mode is Mode.EVAL_GRAD for row in rows) else []),
        ("\nratio", lambda pair: f"{value:.2f}" if (value := ratio(pair)) is not None else ""),
        (f"retained\n{unit}", lambda pair: in_unit(shown(pair)["retained_bytes"])),
    ]


def sweep_title(rows: Sequence[Row]) -> str:
    """The title of a table of peaks, which are measured, or predicted if nothing ran."""
    if observed(rows):
        return "Peak memory of training and inference above the baseline"
    return "Predicted peak memory of training and inference"


def observed(rows: Sequence[Row]) -> bool:
    """Whether any row was measured."""
    return any(row[f"{meter}_peak_bytes"] is not None for row in rows for meter in ("ledger", "heap"))


def head_sentences(rows: Sequence[Row]) -> list[str]:
    """Sentences on the meaning of the heads of `difference_columns` and `time_columns`."""
    noun, sentences = shown_mode(rows).noun, []
    if difference_columns(rows):
        sentences.append(f"±%: how far the measured peak of {noun} is from the predicted one.")
    if time_columns(rows):
        sentences.append(f"step: the time of one iteration of {noun}.")
    if any(row.cell.engine == JAX for row in rows):
        sentences.append("jax is only measured: its compiler decides what is kept. Its peak is the heap's.")
    return [" ".join(sentences)] if sentences else []


def difference_columns(rows: Sequence[Row]) -> list[Column]:
    """How far heap and resident are from the prediction; no column for a meter without figures."""
    shown = _shown_figures(rows)

    def column(meter: str) -> Column:
        def show(pair: Pair) -> str:
            figures = shown(pair)
            return format_difference(figures[f"{meter}_peak_bytes"], figures["predicted_peak_bytes"])

        return f"{meter}\n±%", show

    predicted = [row for row in rows if row["predicted_peak_bytes"] is not None]
    meters = ("heap", "resident")
    return [
        column(meter) for meter in meters if any(row[f"{meter}_peak_bytes"] is not None for row in predicted)
    ]


def time_columns(rows: Sequence[Row]) -> list[Column]:
    """The time of an iteration; no column if it was not measured."""
    shown = _shown_figures(rows)

    def show(pair: Pair) -> str:
        seconds = shown(pair)["step_s"]
        return "" if seconds is None else f"{1000 * seconds:.2f}"

    return [("step\nms", show)] if any(row["step_s"] is not None for row in rows) else []


def _shares(figures: Mapping[str, Any]) -> dict[Role, float]:
    """The share of each role in the peak; empty if the peak was not measured."""
    total = figures["ledger_peak_bytes"]
    if not total:
        return {}
    return {role: (figures[f"peak_{role}_bytes"] or 0) / total for role in Role}


def made_of_column(rows: Sequence[Row]) -> Column:
    """The four largest roles at the peak with their shares."""
    shown = _shown_figures(rows)

    def show(pair: Pair) -> str:
        shares = sorted(_shares(shown(pair)).items(), key=lambda item: -item[1])
        return ", ".join(f"{role} {format_percent(share)}" for role, share in shares[:4] if share >= 0.005)

    return "shares of\nthe peak", show


def composition_columns(rows: Sequence[Row]) -> list[Column]:
    """The share of each role in the peak. A role that is 0 in all rows of the mode has no column."""
    shown, mode = _shown_figures(rows), shown_mode(rows)

    def column(role: Role) -> Column:
        def show(pair: Pair) -> str:
            shares = _shares(shown(pair))
            return f"{100 * shares[role]:.0f}" if shares else ""

        return role, show

    of_mode = [row for row in rows if row.mode is mode]
    return [column(role) for role in Role if any(row[f"peak_{role}_bytes"] for row in of_mode)]


def role_sentences(rows: Sequence[Row]) -> list[str]:
    """A sentence on the meaning of each role in the table of the parts of the peak that needs one."""
    named = (Role.RETAINED, Role.RECOMPUTED, Role.TRANSIENT, Role.WORKSPACE)
    found = [role for role, _ in composition_columns(rows)]
    return [f"{role}: {ROLE_WORDS[role]}." for role in named if role in found]
