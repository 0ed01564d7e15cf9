"""Results as markdown: a table that pastes into an issue and reads well, and what it shows in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memtrain.measure.row import Row
from memtrain.report.columns import axis_columns, difference_columns, peak_columns, time_columns
from memtrain.report.findings import findings, pairs
from memtrain.sweeps.frontier import COLUMNS, Frontier
from memtrain.sweeps.law import Verdict


def sweep_markdown(rows: Sequence[Row], laws: Sequence[Verdict], command: str) -> str:
    """One line per cell, training beside inference, and the findings as a list."""
    columns = [*axis_columns(rows), *peak_columns(rows), *difference_columns(rows), *time_columns(rows)]
    table = markdown_table(
        [title for title, _ in columns],
        ([show(pair) for _, show in columns] for pair in pairs(rows).values()),
    )
    sentences = "".join(f"- {_escaped(sentence)}\n" for sentence in findings(rows, laws))
    return f"`{command}`\n\n{table}\n{sentences}"


def frontier_markdown(frontier: Frontier, command: str) -> str:
    """The rows of a frontier."""
    lines = (
        ["" if value is None else str(value) for value in (getattr(found, name) for name in COLUMNS)]
        for found in frontier.boundaries
    )
    return f"`{command}`\n\n{markdown_table([name.replace('_', ' ') for name in COLUMNS], lines)}"


def markdown_table(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of right-aligned columns, padded so that it reads well as text, too."""
    cells = [[_escaped(text) for text in line] for line in (titles, *lines)]
    widths = [max(3, *(len(line[place]) for line in cells)) for place in range(len(titles))]
    rule = ["-" * (width - 1) + ":" for width in widths]
    padded = (
        " | ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        for line in (cells[0], rule, *cells[1:])
    )
    return "".join(f"| {line} |\n" for line in padded)


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
