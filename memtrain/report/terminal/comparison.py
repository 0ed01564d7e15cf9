"""Two results side by side, for a terminal."""

from __future__ import annotations

from rich.console import RenderableType

from memtrain.answers.comparison import Comparison
from memtrain.report.comparison import PARTS, comparison_section
from memtrain.report.terminal.table import fits, fitted


def comparison_screen(comparison: Comparison, width: int, ascii_only: bool) -> list[RenderableType]:
    """A line per cell and mode: before, after and ratio of each meter, or as many of these columns as fit."""
    sections = [comparison_section(comparison, parts) for parts in (PARTS, PARTS[1:], PARTS[2:])]
    roomy = (section for section in sections if fits(section, width))
    return [fitted(next(roomy, sections[-1]), width)]
