"""The columns of a table of cells, training beside inference: for the terminal and for markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from memtrain.cells.cell import Mode
from memtrain.cells.columns import FIGURE_NAMES
from memtrain.cells.row import Row
from memtrain.graph.node import Role
from memtrain.report.findings import Pair, main_row, peak_bytes, ratio, varying_fields
from memtrain.units import binary_unit, format_bytes, format_difference

_SHORT = {
    Role.PARAMETER: "param",
    Role.GRADIENT: "grad",
    Role.OPTIMIZER: "optim",
    Role.RECOMPUTED: "again",
    Role.TRANSIENT: "trans.",
    Role.WORKSPACE: "work",
}


Column = tuple[str, Callable[[Pair], str]]
"""A title, and a function that gives the text of the column for a cell."""


def shown_mode(rows: Sequence[Row]) -> Mode:
    """The mode of columns that show one mode only: training, if any row has it.

    Such columns are empty for a cell of which only the other mode was measured.
    """
    return Mode.TRAIN if any(row.mode is Mode.TRAIN for row in rows) else Mode.INFER


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
    """Training and inference peak, their ratio, and what is retained, in one unit."""
    peaks = [peak_bytes(row) for row in rows if row.ok] or [row["retained_bytes"] for row in rows]
    divisor, unit = binary_unit(max((count or 0 for count in peaks), default=0))

    def in_unit(count: int | None) -> str:
        if count is None or count >= 1000 * divisor:  # of a cell far beyond all that ran
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
        ("\nratio", lambda pair: f"{value:.2f}" if (value := ratio(pair)) is not None else ""),
        (f"retained\n{unit}", lambda pair: in_unit(shown(pair)["retained_bytes"])),
    ]


def difference_columns(rows: Sequence[Row]) -> list[Column]:
    """How far heap and resident are from the prediction, where they were measured."""
    shown = _shown_figures(rows)

    def column(meter: str) -> Column:
        def show(pair: Pair) -> str:
            figures = shown(pair)
            return format_difference(figures[f"{meter}_peak_bytes"], figures["predicted_peak_bytes"])

        return f"{meter}\n±%", show

    meters = ("heap", "resident")
    return [column(meter) for meter in meters if any(row[f"{meter}_peak_bytes"] is not None for row in rows)]


def time_columns(rows: Sequence[Row]) -> list[Column]:
    """The time of an iteration, where it was measured."""
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
    """The largest parts of the peak, in words."""
    shown = _shown_figures(rows)

    def show(pair: Pair) -> str:
        shares = sorted(_shares(shown(pair)).items(), key=lambda item: -item[1])
        return ", ".join(
            f"{_SHORT.get(role, role)} {share:.0%}" for role, share in shares[:4] if share >= 0.005
        )

    return "peak is\nmade of", show


def composition_columns(rows: Sequence[Row]) -> list[Column]:
    """The share of each role in the peak; recomputed values have a column only if there are any."""
    shown = _shown_figures(rows)

    def column(role: Role) -> Column:
        def show(pair: Pair) -> str:
            shares = _shares(shown(pair))
            return f"{100 * shares[role]:.0f}" if shares else ""

        return _SHORT.get(role, role), show

    recomputed = any(row["peak_recomputed_bytes"] for row in rows)
    return [column(role) for role in Role if recomputed or role is not Role.RECOMPUTED]
