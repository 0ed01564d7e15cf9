"""Results for a terminal, from 80 columns on: rich renderables made from rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table

from memtrain.graph.node import Role
from memtrain.measure.cell import Cell, Mode
from memtrain.measure.row import Row
from memtrain.report.findings import Pair, main_row, pairs, peak_bytes, ratio, varying_fields
from memtrain.train.loop import Trained
from memtrain.units import binary_unit, format_bytes, format_difference, format_seconds

_WIDE = 120
"""From this many columns on, what a peak is made of fits into the main table."""

_SHORT = {
    Role.PARAMETER: "param",
    Role.GRADIENT: "grad",
    Role.OPTIMIZER: "optim",
    Role.TRANSIENT: "trans.",
    Role.WORKSPACE: "work",
}

Column = tuple[str, Callable[[Pair], str]]
"""A title and what stands under it for a cell."""


def sweep_tables(rows: Sequence[Row], width: int) -> list[Table]:
    """One line per cell, training beside inference; what the peak is made of beside or below it."""
    columns = _fitting([*_axes(rows), *_peaks(rows)], [*_differences(rows), *_times(rows)], rows, width)
    title = "Peak memory of training and inference, above the baseline; ±% against predicted"
    observed = any(row.figures.ledger_peak_bytes is not None for row in rows)
    if not observed:
        return [_filled("Peak memory of training and inference, predicted", columns, rows, width)]
    if width >= _WIDE:
        return [_filled(title, [*columns, ("peak is\nmade of", _made_of)], rows, width)]
    mode = Mode.TRAIN if any(row.mode is Mode.TRAIN for row in rows) else Mode.INFER
    below = f"What the peak of {mode.noun} is made of, in percent"
    composition = [*_axes(rows), *_composition()]
    return [_filled(title, columns, rows, width), _filled(below, composition, rows, width)]


def training_table(cell: Cell, trained: Trained) -> Table:
    """What a training gave and took."""
    table = plain_table(f"Trained on {cell.data}: depth {cell.depth}, width {cell.columns()['width']}")
    table.show_header = False
    table.add_column()
    table.add_column(justify="right")
    table.add_row("test accuracy", f"{trained.test_accuracy:.2%}")
    table.add_row(
        "loss, first and last epoch", f"{trained.epochs[0].loss:.4f} → {trained.epochs[-1].loss:.4f}"
    )
    table.add_row("time", format_seconds(trained.train_s))
    table.add_row("peak memory of training", format_bytes(trained.peak_bytes))
    table.add_row(f"peak memory of predicting {cell.batch}", format_bytes(trained.inference_peak_bytes))
    return table


def _fitting(needed: list[Column], optional: list[Column], rows: Sequence[Row], width: int) -> list[Column]:
    """The columns, without the last optional ones where they would not fit into ``width``."""
    while optional and _width([*needed, *optional], rows) > width:
        optional = optional[:-1]
    return [*needed, *optional]


def _width(columns: Sequence[Column], rows: Sequence[Row]) -> int:
    """Characters that a table of these columns takes at least, with one between columns."""
    return sum(
        1 + max(map(len, [*title.splitlines(), *(show(pair) for pair in pairs(rows).values())]))
        for title, show in columns
    )


def plain_table(title: str, gap: int = 2) -> Table:
    """An empty table as all of ours look."""
    return Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, gap - 1, 0, 0),
        pad_edge=False,
    )


def _filled(title: str, columns: Sequence[Column], rows: Sequence[Row], width: int) -> Table:
    roomy = _width(columns, rows) + len(columns) <= width
    table = plain_table(title, gap=2 if roomy else 1)
    for heading, show in columns:
        table.add_column(heading, justify="left" if show is _made_of else "right")
    for pair in pairs(rows).values():
        failed = any(not row.ok for row in pair.values())
        table.add_row(*[show(pair) for _, show in columns], style="red" if failed else None)
    return table


def _axes(rows: Sequence[Row]) -> list[Column]:
    """Depth, batch, and whatever else varies over the cells."""

    def column(name: str) -> Column:
        return name, lambda pair: str(main_row(pair).cell.columns()[name])

    shown = ["depth", "batch", *varying_fields(row.cell for row in rows)]
    return [column(name) for name in dict.fromkeys(shown)]


def _peaks(rows: Sequence[Row]) -> list[Column]:
    divisor, unit = binary_unit(max((peak_bytes(row) or 0 for row in rows if row.ok), default=0))

    def in_unit(count: int | None) -> str:
        return "" if count is None else f"{count / divisor:.2f}"

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


def _differences(rows: Sequence[Row]) -> list[Column]:
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


def _times(rows: Sequence[Row]) -> list[Column]:
    def show(pair: Pair) -> str:
        seconds = main_row(pair).figures.step_s
        return "" if seconds is None else f"{1000 * seconds:.2f}"

    return [("step\nms", show)] if any(row.figures.step_s is not None for row in rows) else []


def _shares(row: Row) -> dict[Role, float]:
    """The share of each role in what stands at the peak; empty where the peak was not observed."""
    total = row.figures.ledger_peak_bytes
    if not total:
        return {}
    return {role: getattr(row.figures, f"peak_{role}_bytes") / total for role in Role}


def _made_of(pair: Pair) -> str:
    shares = sorted(_shares(main_row(pair)).items(), key=lambda item: -item[1])
    return ", ".join(f"{_SHORT.get(role, role)} {share:.0%}" for role, share in shares[:4] if share >= 0.005)


def _composition() -> list[Column]:
    def column(role: Role) -> Column:
        def show(pair: Pair) -> str:
            shares = _shares(main_row(pair))
            return f"{100 * shares[role]:.0f}" if shares else ""

        return _SHORT.get(role, role), show

    return [column(role) for role in Role]
