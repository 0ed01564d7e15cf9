"""A sweep for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from rich.console import RenderableType

from memtrain.answers.swept import Swept
from memtrain.cells.cell import Mode
from memtrain.cells.row import Row
from memtrain.report.columns import (
    Column,
    axis_columns,
    columns_section,
    composition_columns,
    difference_columns,
    head_sentences,
    made_of_column,
    peak_columns,
    role_sentences,
    shown_mode,
    sweep_title,
    time_columns,
)
from memtrain.report.findings import Pair, findings, peak_bytes
from memtrain.report.section import Section
from memtrain.report.terminal.table import fits, fitted, prose, room_left

_SHORTEST_BAR, _LONGEST_BAR = 8, 24


def swept_screen(swept: Swept, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    """The tables, and the findings."""
    for table in sweep_tables(swept.rows, width, ascii_only):
        yield fitted(table, width)
    yield prose(findings(swept.rows, swept.laws), width)


def sweep_tables(rows: Sequence[Row], width: int, ascii_only: bool = False) -> list[Section]:
    """One line per cell, training beside inference; the parts of the peak beside it or in a second table."""
    axes = axis_columns(rows)
    columns = [*axes, *peak_columns(rows), *difference_columns(rows), *time_columns(rows)]

    def table(*more: Column) -> Section:
        words = frozenset(range(len(columns), len(columns) + len(more)))
        section = columns_section([*columns, *more], rows, sweep_title(rows), len(axes))
        return replace(section, words=words)

    parts = [made_of_column(rows)] if composition_columns(rows) else []
    beside = parts if fits(table(*parts), width) else []
    room = room_left(table(*beside), width)
    bars = [_bars(rows, min(room, _LONGEST_BAR), ascii_only)] if room >= _SHORTEST_BAR else []
    sentences = [*head_sentences(rows), *(role_sentences(rows) if beside else [])]
    tables = [replace(table(*bars, *beside), sentences=sentences)]
    return tables if beside or not parts else [*tables, _composition(rows)]


def _composition(rows: Sequence[Row]) -> Section:
    """The parts of the peak, in percent."""
    mode, axes = shown_mode(rows), axis_columns(rows)
    section = columns_section(
        [*axes, *composition_columns(rows)],
        [row for row in rows if row.mode is mode],
        f"Parts of the peak of {mode.noun}, in percent",
        len(axes),
    )
    return replace(section, sentences=role_sentences(rows))


def _bars(rows: Sequence[Row], length: int, ascii_only: bool) -> Column:
    """Peaks as bars on one scale: full for inference, lighter for the rest of training."""
    full, light = "#=" if ascii_only else "█░"
    longer = Mode.EVAL_GRAD if shown_mode(rows) is Mode.EVAL_GRAD else Mode.TRAIN
    largest = max((peak_bytes(row) or 0 for row in rows if row.ok), default=0) or 1

    def show(pair: Pair) -> str:
        infer, train = (
            ceil(length * (peak_bytes(row) or 0) / largest) if (row := pair.get(mode)) and row.ok else 0
            for mode in (Mode.INFER, longer)
        )
        return full * infer + light * max(0, train - infer)

    return f"{full} infer\n{light} {longer}", show
