"""How one answer is written in each format: a new format is a field here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from memtrain.report.section import Origin, Section

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from memtrain.report.plots import Plot
    from memtrain.report.terminal.table import Part

Answer = TypeVar("Answer")
Text = str | Iterable[str]
"""A document, whole or in pieces that are made one by one."""


@dataclass(frozen=True)
class Publication(Generic[Answer]):
    """How an answer is written in each format."""

    title: str
    csv: Callable[[Answer], Text]
    json: Callable[[Answer, Origin], Text]
    sections: Callable[[Answer], Iterable[Section]]
    """The sections of which markdown and a page of tables are made."""
    screen: Callable[[Answer, int, bool], Iterable[Part]]
    """The parts for a terminal, given its width, and whether it has only ASCII."""
    page: Callable[[Answer, Origin], str] | None = None
    """A page with plots, in place of the page of tables."""
    networks: Callable[[Answer], str] | None = None
    """The networks of the answer in one line, for the page of tables."""
    lead: Callable[[Answer], list[str]] | None = None
    """The sentences at the beginning of the page of tables."""
    plots: Callable[[Answer], list[Plot]] | None = None
    """The plots of the page of tables."""
    figure: Callable[[Answer], Figure] | None = None
    """A plotly figure of the answer."""

    def check_page(self) -> None:
        """Raise ``InputError`` if a library that the page needs is missing."""
        from memtrain.report.html import PLOTS_NEED, TABLES_NEED, check_installed

        check_installed(*(TABLES_NEED if self.page is None and self.plots is None else PLOTS_NEED))

    def markdown(self, answer: Answer, origin: Origin) -> str:
        """The sections as markdown."""
        from memtrain.report.markdown import markdown

        return markdown(self.sections(answer), origin.command)

    def html(self, answer: Answer, origin: Origin) -> str:
        """One HTML page that loads no other file. Raises ``InputError`` if a library is missing."""
        from memtrain.report.html import sections_html

        if self.page is not None:
            return self.page(answer, origin)
        return sections_html(
            self.title,
            self.sections(answer),
            origin,
            networks="" if self.networks is None else self.networks(answer),
            lead=[] if self.lead is None else self.lead(answer),
            plots=[] if self.plots is None else self.plots(answer),
        )
