"""Results for a terminal, from 80 columns on: rich renderables made from rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from memtrain.answers.swept import Swept
from memtrain.cells.cell import Mode
from memtrain.cells.row import Row
from memtrain.report.columns import (
    Column,
    axis_columns,
    composition_columns,
    difference_columns,
    made_of_column,
    peak_columns,
    shown_mode,
    time_columns,
)
from memtrain.report.findings import Pair, findings, pairs, peak_bytes

_WIDE = 120
"""From this many columns on, what a peak is made of fits into the main table."""

_SHORTEST_BAR, _LONGEST_BAR = 8, 24


def swept_screen(swept: Swept, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    """The tables, and what was found."""
    yield from sweep_tables(swept.rows, width, ascii_only)
    yield Text("\n".join(findings(swept.rows, swept.laws)))


def sweep_tables(rows: Sequence[Row], width: int, ascii_only: bool = False) -> list[Table]:
    """One line per cell, training beside inference; what the peak is made of beside or below it."""
    optional = [*difference_columns(rows), *time_columns(rows)]
    columns = _within([*axis_columns(rows), *peak_columns(rows)], optional, rows, width)
    observed = any(row["ledger_peak_bytes"] is not None for row in rows)
    title = "Peak memory of training and inference, " + (
        "above the baseline; ±% against predicted" if observed else "predicted"
    )
    beside = [made_of_column(rows)] if observed and width >= _WIDE else []
    room = width - _width([*columns, *beside], rows) - len(columns) - 2
    bars = [_bars(rows, min(room, _LONGEST_BAR), ascii_only)] if room >= _SHORTEST_BAR else []
    tables = [_filled(title, [*columns, *bars, *beside], rows, width)]
    if observed and not beside:
        mode = shown_mode(rows)
        below = f"What the peak of {mode.noun} is made of, in percent"
        of_mode = [row for row in rows if row.mode is mode]
        tables.append(_filled(below, [*axis_columns(rows), *composition_columns(rows)], of_mode, width))
    return tables


def _bars(rows: Sequence[Row], length: int, ascii_only: bool) -> Column:
    """Peaks as bars on one scale: inference full, what training needs beyond it lighter."""
    full, light = "#=" if ascii_only else "█░"
    largest = max((peak_bytes(row) or 0 for row in rows if row.ok), default=0) or 1

    def show(pair: Pair) -> str:
        infer, train = (
            ceil(length * (peak_bytes(row) or 0) / largest) if (row := pair.get(mode)) and row.ok else 0
            for mode in (Mode.INFER, Mode.TRAIN)
        )
        return full * infer + light * max(0, train - infer)

    return f"{full} infer\n{light} train", show


def _within(needed: list[Column], optional: list[Column], rows: Sequence[Row], width: int) -> list[Column]:
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


def first_within(tables: Iterable[Table], width: int) -> Table:
    """The first of some tables that is no wider than ``width``; the last where none is."""
    roomy = Console(width=10_000)
    for table in tables:
        if Measurement.get(roomy, roomy.options, table).maximum <= width:
            break
    return table


def plain_table(title: str, gap: int = 2) -> Table:
    """An empty table as all of ours look; its title may be longer than it is wide."""
    return Table(
        title=Text(title, style="italic", no_wrap=True, overflow="ignore"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, gap - 1, 0, 0),
        pad_edge=False,
    )


def _filled(title: str, columns: Sequence[Column], rows: Sequence[Row], width: int) -> Table:
    roomy = _width(columns, rows) + len(columns) <= width
    table = plain_table(title, gap=2 if roomy else 1)
    for heading, _ in columns:
        left = heading.endswith(("made of", "train"))
        table.add_column(heading, justify="left" if left else "right")
    for pair in pairs(rows).values():
        failed = any(not row.ok for row in pair.values())
        table.add_row(*[show(pair) for _, show in columns], style="red" if failed else None)
    return table
