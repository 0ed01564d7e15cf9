"""A sweep as plain data: a table with training beside inference for each cell, and the findings."""

from __future__ import annotations

from memtrain.answers.swept import Swept
from memtrain.report.columns import axis_columns, difference_columns, peak_columns, time_columns
from memtrain.report.findings import findings, pairs
from memtrain.report.section import Section
from memtrain.sweeps.store import rows_csv


def swept_csv(swept: Swept) -> str:
    """A row per cell and mode, with all columns."""
    return rows_csv(swept.rows)


def swept_sections(swept: Swept) -> list[Section]:
    """One line per cell, and the findings."""
    rows = swept.rows
    columns = [*axis_columns(rows), *peak_columns(rows), *difference_columns(rows), *time_columns(rows)]
    lines = [[show(pair) for _, show in columns] for pair in pairs(rows).values()]
    return [Section("", [title for title, _ in columns], lines, sentences=findings(rows, swept.laws))]
