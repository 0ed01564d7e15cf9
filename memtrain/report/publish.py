"""Every answer in every format: one entry each. A new format is a field here, a new answer an entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from memtrain.answers.capacity import Capacity
from memtrain.answers.comparison import Comparison
from memtrain.answers.option import Ways
from memtrain.answers.swept import Swept
from memtrain.answers.training import Training
from memtrain.explain.evidence import Explained
from memtrain.report.capacity import capacity_csv, capacity_sections
from memtrain.report.comparison import comparison_csv, comparison_sections
from memtrain.report.explained import explained_csv, explained_sections
from memtrain.report.html import PLOTS_NEED, TABLES_NEED, sections_html, swept_html, ways_html
from memtrain.report.json import (
    capacity_document,
    comparison_document,
    explained_document,
    swept_document,
    training_document,
    ways_document,
)
from memtrain.report.markdown import markdown
from memtrain.report.predictions import predictions_csv, predictions_document, predictions_sections
from memtrain.report.section import Origin, Section
from memtrain.report.swept import swept_csv, swept_sections
from memtrain.report.terminal.capacity import capacity_screen
from memtrain.report.terminal.comparison import comparison_screen
from memtrain.report.terminal.explain import explained_screen
from memtrain.report.terminal.section import Part, sections_screen
from memtrain.report.terminal.sweep import swept_screen
from memtrain.report.terminal.ways import ways_screen
from memtrain.report.training import training_csv, training_sections
from memtrain.report.ways import ways_csv, ways_sections
from memtrain.train.prediction import Prediction

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
    """What markdown and a page of tables are made of."""
    screen: Callable[[Answer, int, bool], Iterable[Part]]
    """For a terminal of a width, perhaps one that has only ASCII."""
    page: Callable[[Answer, Origin], str] | None = None
    """A page with plots, in place of the page of tables."""

    @property
    def page_needs(self) -> tuple[str, ...]:
        """The libraries without which there is no page."""
        return TABLES_NEED if self.page is None else PLOTS_NEED

    def markdown(self, answer: Answer, origin: Origin) -> str:
        """The sections as markdown."""
        return markdown(self.sections(answer), origin.command)

    def html(self, answer: Answer, origin: Origin) -> str:
        """One HTML page that needs nothing but itself. Raises ``InputError`` where a library is missing."""
        if self.page is not None:
            return self.page(answer, origin)
        return sections_html(self.title, self.sections(answer), origin)


PUBLICATIONS: dict[type, Publication[Any]] = {
    Swept: Publication(
        "Peak memory of training and inference",
        swept_csv,
        swept_document,
        swept_sections,
        swept_screen,
        swept_html,
    ),
    Explained: Publication(
        "Why each intermediate is kept",
        explained_csv,
        explained_document,
        explained_sections,
        explained_screen,
    ),
    Capacity: Publication(
        "What fits into a memory", capacity_csv, capacity_document, capacity_sections, capacity_screen
    ),
    Ways: Publication(
        "What would make it fit", ways_csv, ways_document, ways_sections, ways_screen, ways_html
    ),
    Comparison: Publication(
        "Before and after", comparison_csv, comparison_document, comparison_sections, comparison_screen
    ),
    Prediction: Publication(
        "What a network predicts",
        predictions_csv,
        predictions_document,
        predictions_sections,
        lambda prediction, width, ascii_only: sections_screen(predictions_sections(prediction)),
    ),
    Training: Publication(
        "A training",
        training_csv,
        training_document,
        training_sections,
        lambda training, width, ascii_only: sections_screen(training_sections(training)),
    ),
}
"""By the type of the answer."""
