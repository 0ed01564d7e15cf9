"""The columns of a table of cells, training beside inference: for the terminal and for markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memtrain.graph.node import Role
from memtrain.measure.cell import Mode
from memtrain.measure.row import Row
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
"""A title and what stands under it for a cell."""


def axis_columns(rows: Sequence[Row]) -> list[Column]:
    """Depth, batch, and whatever else varies over the cells."""

    def column(name: str) -> Column:
        return name, lambda pair: str(main_row(pair).cell.columns()[name])

    shown = ["depth", "batch", *varying_fields(row.cell for row in rows)]
    return [column(name) for name in dict.fromkeys(shown)]


def peak_columns(rows: Sequence[Row]) -> list[Column]:
    """Training and inference peak, their ratio, and what is retained, in one unit."""
    peaks = [peak_bytes(row) for row in rows if row.ok] or [row.figures.retained_bytes for row in rows]
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
            if not row.ok and row.figures.ledger_peak_bytes is None:
                return "limit" if row.figures.status == "memory_limit" else "failed"
            return in_unit(peak_bytes(row))

        return f"{mode}\n{unit}", show

    return [
        peak(Mode.TRAIN),
        peak(Mode.INFER),
        ("\nratio", lambda pair: f"{value:.2f}" if (value := ratio(pair)) is not None else ""),
        (f"retained\n{unit}", lambda pair: in_unit(main_row(pair).figures.retained_bytes)),
    ]


def difference_columns(rows: Sequence[Row]) -> list[Column]:
    """How far heap and resident are from the prediction, where they were measured."""

    def column(meter: str) -> Column:
        def show(pair: Pair) -> str:
            figures = main_row(pair).figures
            measured = getattr(figures, f"{meter}_peak_bytes")
            return format_difference(measured, figures.predicted_peak_bytes)

        return f"{meter}\n±%", show

    meters = ("heap", "resident")
    return [
        column(meter)
        for meter in meters
        if any(getattr(row.figures, f"{meter}_peak_bytes") is not None for row in rows)
    ]


def time_columns(rows: Sequence[Row]) -> list[Column]:
    """The time of an iteration, where it was measured."""

    def show(pair: Pair) -> str:
        seconds = main_row(pair).figures.step_s
        return "" if seconds is None else f"{1000 * seconds:.2f}"

    return [("step\nms", show)] if any(row.figures.step_s is not None for row in rows) else []


def _shares(row: Row) -> dict[Role, float]:
    """The share of each role in what stands at the peak; empty where the peak was not observed."""
    total = row.figures.ledger_peak_bytes
    if not total:
        return {}
    return {role: (getattr(row.figures, f"peak_{role}_bytes") or 0) / total for role in Role}


def made_of(pair: Pair) -> str:
    """The largest parts of what stands at the peak."""
    shares = sorted(_shares(main_row(pair)).items(), key=lambda item: -item[1])
    return ", ".join(f"{_SHORT.get(role, role)} {share:.0%}" for role, share in shares[:4] if share >= 0.005)


def composition_columns(rows: Sequence[Row]) -> list[Column]:
    """Each role's share of what stands at the peak; of recomputed values only where there are any."""

    def column(role: Role) -> Column:
        def show(pair: Pair) -> str:
            shares = _shares(main_row(pair))
            return f"{100 * shares[role]:.0f}" if shares else ""

        return _SHORT.get(role, role), show

    recomputed = any(row.figures.peak_recomputed_bytes for row in rows)
    return [column(role) for role in Role if recomputed or role is not Role.RECOMPUTED]
