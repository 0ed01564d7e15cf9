"""A sweep as plain data: a table with training beside inference for each cell, and the findings."""

from __future__ import annotations

from dataclasses import replace

from memtrain.answers.swept import Swept
from memtrain.report.columns import (
    axis_columns,
    columns_section,
    difference_columns,
    head_sentences,
    peak_columns,
    sweep_title,
    time_columns,
)
from memtrain.report.findings import findings
from memtrain.report.section import Section
from memtrain.sweeps.store import rows_csv


def swept_csv(swept: Swept) -> str:
    """A row per cell and mode, with all columns."""
    return rows_csv(swept.rows)


def swept_sections(swept: Swept) -> list[Section]:
    """One line per cell, and the findings."""
    rows = swept.rows
    axes = axis_columns(rows)
    columns = [*axes, *peak_columns(rows), *difference_columns(rows), *time_columns(rows)]
    table = columns_section(columns, rows, sweep_title(rows), len(axes))
    sentences = [*head_sentences(rows), *findings(rows, swept.laws)]
    return [replace(table, sentences=sentences)]
