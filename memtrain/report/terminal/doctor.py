"""The findings of `memtrain doctor` for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from memtrain.measure.doctor import Finding, State

_STYLES = {State.FINE: "green", State.NOT_IDEAL: "yellow", State.BROKEN: "bold red"}

_ROOMY = 70
"""Narrower terminals show each finding below its subject."""


def doctor_table(findings: Sequence[Finding]) -> RenderableType:
    """The state and the text of each finding, and below it the remedy, if there is one."""
    return _Findings(findings)


@dataclass(frozen=True)
class _Findings:
    findings: Sequence[Finding]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The findings as a table, or as a list in a narrow terminal."""
        yield self._table() if options.max_width >= _ROOMY else self._list(options.max_width)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in self.findings:
            state = Text(finding.state, style=_STYLES[finding.state])
            table.add_row(state, finding.subject, Text("\n".join(_texts(finding))))
        return table

    def _list(self, width: int) -> Text:
        text = Text()
        for finding in self.findings:
            text.append(f"{finding.state} ", _STYLES[finding.state])
            text.append(f"{finding.subject}\n")
            for words in _texts(finding):
                for line in wrap(words, width - 2, break_on_hyphens=False):
                    text.append(f"  {line}\n")
        text.rstrip()
        return text


def _texts(finding: Finding) -> Iterator[str]:
    yield finding.found
    if finding.remedy:
        yield f"→ {finding.remedy}"
