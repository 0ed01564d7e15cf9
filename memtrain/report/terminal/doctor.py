"""The findings of `memtrain doctor` for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from memtrain.measure.doctor import Finding, State

_STYLES = {State.FINE: "green", State.NOT_IDEAL: "yellow", State.BROKEN: "bold red"}


def doctor_table(findings: Sequence[Finding]) -> RenderableType:
    """A line for each finding, and under it the remedy, if there is one."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        text = Text(finding.found)
        if finding.remedy:
            text.append(f"\n→ {finding.remedy}")
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), finding.subject, text)
    return table
