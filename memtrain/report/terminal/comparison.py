"""Two results side by side, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from memtrain.answers.comparison import Comparison
from memtrain.report.comparison import PARTS, comparison_columns
from memtrain.report.terminal.sweep import first_within, plain_table


def comparison_screen(comparison: Comparison, width: int, ascii_only: bool) -> list[Table]:
    """A line per cell and mode, with as much as fits; what only one has, or what failed, stands out."""
    tables = (_table(comparison, parts) for parts in (PARTS, PARTS[1:], PARTS[2:]))
    return [first_within(tables, width)]


def _table(comparison: Comparison, parts: Sequence[str]) -> Table:
    table = plain_table("Before and after")
    columns = comparison_columns(comparison, parts)
    for title, _ in columns:
        table.add_column(title, justify="left" if title == "mode" else "right", no_wrap=True)
    for pairing in comparison.pairings:
        whole = all(row is not None and row.ok for row in (pairing.before, pairing.after))
        table.add_row(*(show(pairing) for _, show in columns), style=None if whole else "red")
    return table
