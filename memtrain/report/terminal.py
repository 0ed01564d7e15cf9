"""Results for a terminal, of any width: rich renderables made from rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

from rich.table import Table

from memtrain.graph.node import Role
from memtrain.measure.cell import Cell, Mode
from memtrain.measure.row import Row
from memtrain.report.findings import pairs, peak_bytes, ratio
from memtrain.train.loop import Trained
from memtrain.units import format_bytes, format_percent, format_seconds

_WIDE = 120
"""From this many columns on, what a peak is made of fits into the main table."""

_SHORT = {
    Role.PARAMETER: "param",
    Role.GRADIENT: "grad",
    Role.OPTIMIZER: "optim",
    Role.INPUT: "input",
    Role.RETAINED: "retained",
    Role.TRANSIENT: "transient",
    Role.WORKSPACE: "workspace",
}

Pair = dict[Mode, Row]


def sweep_tables(rows: Sequence[Row], width: int) -> list[Table]:
    """One line per cell, training beside inference; what the peak is made of beside or below it."""
    table = Table(title="Peak memory of training and inference, above the baseline", title_justify="left")
    columns = _columns(rows)
    if width >= _WIDE and any(row.figures.ledger_peak_bytes is not None for row in rows):
        columns.append(("peak is made of", _made_of))
    for title, _ in columns:
        table.add_column(title, justify="left" if title == "peak is made of" else "right")
    for pair in pairs(rows).values():
        table.add_row(*[show(pair) for _, show in columns], style=None if _all_ok(pair) else "red")
    observed = any(row.figures.ledger_peak_bytes is not None for row in rows)
    return [table] if width >= _WIDE or not observed else [table, _composition(rows)]


def training_table(cell: Cell, trained: Trained) -> Table:
    """What a training gave and took."""
    table = Table(
        title=f"Trained on {cell.data}: {cell.spec().depth} × {cell.columns()['width']}",
        title_justify="left",
        show_header=False,
    )
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


def _axes(rows: Sequence[Row]) -> list[str]:
    """Depth, batch and whatever else of the cells varies."""
    names = [field.name for field in fields(Cell)]
    return [
        name
        for name in names
        if name in ("depth", "batch") or len({getattr(row.cell, name) for row in rows}) > 1
    ]


def _columns(rows: Sequence[Row]) -> list[tuple[str, Callable[[Pair], str]]]:
    columns: list[tuple[str, Callable[[Pair], str]]] = [(name, _axis(name)) for name in _axes(rows)]
    columns += [
        ("training", lambda pair: _peak(pair, Mode.TRAIN)),
        ("inference", lambda pair: _peak(pair, Mode.INFER)),
        ("ratio", lambda pair: f"{value:.2f}" if (value := ratio(pair)) is not None else ""),
        ("retained", lambda pair: format_bytes(_main(pair).figures.retained_bytes)),
    ]
    for meter in ("heap", "resident"):
        if any(getattr(row.figures, f"{meter}_peak_bytes") is not None for row in rows):
            columns.append((meter, _against_prediction(f"{meter}_peak_bytes")))
    if any(row.figures.step_s is not None for row in rows):
        columns.append(("step", lambda pair: format_seconds(_main(pair).figures.step_s)))
    return columns


def _axis(name: str) -> Callable[[Pair], str]:
    return lambda pair: str(_main(pair).cell.columns()[name])


def _main(pair: Pair) -> Row:
    return pair.get(Mode.TRAIN) or pair[Mode.INFER]


def _all_ok(pair: Pair) -> bool:
    return all(row.ok for row in pair.values())


def _peak(pair: Pair, mode: Mode) -> str:
    row = pair.get(mode)
    if row is None:
        return ""
    return format_bytes(peak_bytes(row)) if row.figures.ledger_peak_bytes or row.ok else row.figures.status


def _against_prediction(column: str) -> Callable[[Pair], str]:
    def show(pair: Pair) -> str:
        figures = _main(pair).figures
        return format_percent(getattr(figures, column), figures.predicted_peak_bytes)

    return show


def _shares(row: Row) -> dict[Role, float]:
    """The share of each role in what stands at the peak; empty where the peak was not observed."""
    total = row.figures.ledger_peak_bytes
    if not total:
        return {}
    return {role: getattr(row.figures, f"peak_{role}_bytes") / total for role in Role}


def _made_of(pair: Pair) -> str:
    shares = sorted(_shares(_main(pair)).items(), key=lambda item: -item[1])
    return ", ".join(f"{_SHORT[role]} {share:.0%}" for role, share in shares[:4] if share >= 0.005)


def _composition(rows: Sequence[Row]) -> Table:
    mode = "training" if any(row.mode is Mode.TRAIN for row in rows) else "inference"
    table = Table(title=f"What the peak of {mode} is made of, in percent", title_justify="left")
    axes = _axes(rows)
    for title in (*axes, *_SHORT.values()):
        table.add_column(title, justify="right")
    for pair in pairs(rows).values():
        row = _main(pair)
        shares, cell = _shares(row), row.cell.columns()
        percents = [f"{100 * shares[role]:.0f}" if role in shares else "" for role in _SHORT]
        table.add_row(*[str(cell[name]) for name in axes], *percents)
    return table
