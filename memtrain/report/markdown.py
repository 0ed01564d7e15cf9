"""Results as markdown: a table that pastes into an issue and reads well, and what it shows in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from memtrain.cells.row import Row
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
    return f"{markdown_code(command)}\n\n{table}\n{markdown_list(findings(rows, laws))}"


def frontier_markdown(frontier: Frontier, command: str) -> str:
    """The rows of a frontier."""
    lines = (
        ["" if value is None else str(value) for value in (getattr(found, name) for name in COLUMNS)]
        for found in frontier.boundaries
    )
    table = markdown_table([name.replace("_", " ") for name in COLUMNS], lines)
    return f"{markdown_code(command)}\n\n{table}"


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


def markdown_list(sentences: Iterable[str]) -> str:
    """A point for each sentence."""
    return "".join(f"- {_escaped(sentence)}\n" for sentence in sentences)


def markdown_code(text: str) -> str:
    """``text`` as code, whatever backticks it holds: the fence has one more than its longest run of them."""
    text = re.sub(r"[\r\n]+", " ", text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"


_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])|^=")
"""What markdown does not show as it is. An underscore within a word is harmless, and so is a later ``=``."""


def _escaped(text: str) -> str:
    """``text`` in one line, so that markdown shows each of its characters."""
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", " ".join(text.split()))
