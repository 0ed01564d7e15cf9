"""How every answer is written in every format: a new answer is an entry here.

An entry imports its modules when it is called, so that a command does not load the modules of other answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from memtrain.report.publication import Publication
from memtrain.report.section import Origin

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from memtrain.answers.capacity import Capacity
    from memtrain.answers.comparison import Comparison
    from memtrain.answers.option import Ways
    from memtrain.answers.swept import Swept
    from memtrain.answers.training import Training
    from memtrain.explaining.evidence import Explained
    from memtrain.measure.doctor import Examination
    from memtrain.report.plots import Plot
    from memtrain.training.prediction import Prediction


def publication_of(answer: type) -> Publication[Any]:
    """How answers of the type ``answer`` are written."""
    return PUBLICATIONS[answer.__name__]()


def _swept() -> Publication[Swept]:
    from memtrain.report.json import swept_document
    from memtrain.report.swept import swept_csv, swept_sections
    from memtrain.report.terminal.sweep import swept_screen

    def page(swept: Swept, origin: Origin) -> str:
        from memtrain.report.html import swept_html

        return swept_html(swept, origin)

    title = "Peak memory of training and inference"
    return Publication(title, swept_csv, swept_document, swept_sections, swept_screen, page)


def _explained() -> Publication[Explained]:
    from memtrain.report.explained import explained_csv, explained_sections
    from memtrain.report.json import explained_document
    from memtrain.report.networks import networks_line
    from memtrain.report.terminal.explain import explained_screen

    def plots(explained: Explained) -> list[Plot]:
        from memtrain.report.answer_plots import explained_plots

        return explained_plots(explained)

    def figure(explained: Explained) -> Figure:
        from memtrain.report.figures import timeline_figure

        return timeline_figure(explained.explanation.cell)

    return Publication(
        "Why each intermediate is kept",
        explained_csv,
        explained_document,
        explained_sections,
        explained_screen,
        networks=lambda explained: networks_line([explained.explanation.cell]),
        plots=plots,
        figure=figure,
    )


def _capacity() -> Publication[Capacity]:
    from memtrain.report.capacity import capacity_csv, capacity_sections
    from memtrain.report.json import capacity_document
    from memtrain.report.leads import capacity_lead
    from memtrain.report.networks import networks_line
    from memtrain.report.terminal.capacity import capacity_screen

    def networks(capacity: Capacity) -> str:
        return networks_line(capacity.cells(), without=capacity.axes[1])

    def plots(capacity: Capacity) -> list[Plot]:
        from memtrain.report.answer_plots import capacity_plots

        return capacity_plots(capacity)

    def figure(capacity: Capacity) -> Figure:
        from memtrain.report.figures import capacity_figure

        return capacity_figure(capacity)

    return Publication(
        "What fits into a memory",
        capacity_csv,
        capacity_document,
        capacity_sections,
        capacity_screen,
        networks=networks,
        lead=capacity_lead,
        plots=plots,
        figure=figure,
    )


def _ways() -> Publication[Ways]:
    from memtrain.report.json import ways_document
    from memtrain.report.terminal.ways import ways_screen
    from memtrain.report.ways import ways_csv, ways_sections

    def page(ways: Ways, origin: Origin) -> str:
        from memtrain.report.html import ways_html

        return ways_html(ways, origin)

    def figure(ways: Ways) -> Figure:
        from memtrain.report.figures import trade_figure

        return trade_figure(ways)

    title = "Ways to make training fit"
    return Publication(title, ways_csv, ways_document, ways_sections, ways_screen, page, figure=figure)


def _comparison() -> Publication[Comparison]:
    from memtrain.report.comparison import comparison_csv, comparison_sections
    from memtrain.report.json import comparison_document
    from memtrain.report.leads import comparison_lead
    from memtrain.report.networks import networks_line
    from memtrain.report.terminal.comparison import comparison_screen

    return Publication(
        "Before and after",
        comparison_csv,
        comparison_document,
        comparison_sections,
        comparison_screen,
        networks=lambda comparison: networks_line(pairing.cell for pairing in comparison.pairings),
        lead=comparison_lead,
    )


def _prediction() -> Publication[Prediction]:
    from memtrain.report.predictions import predictions_csv, predictions_document, predictions_sections
    from memtrain.report.terminal.table import screen

    title = "What a network predicts"
    return Publication(
        title,
        predictions_csv,
        predictions_document,
        predictions_sections,
        lambda prediction, width, ascii_only: screen(predictions_sections(prediction), width),
    )


def _training() -> Publication[Training]:
    from memtrain.report.json import training_document
    from memtrain.report.networks import networks_line
    from memtrain.report.terminal.table import screen
    from memtrain.report.training import training_csv, training_sections

    def plots(training: Training) -> list[Plot]:
        from memtrain.report.answer_plots import training_plots

        return training_plots(training)

    def figure(training: Training) -> Figure:
        from memtrain.report.figures import loss_figure

        return loss_figure(training)

    return Publication(
        "A training",
        training_csv,
        training_document,
        training_sections,
        lambda training, width, ascii_only: screen(training_sections(training), width),
        networks=lambda training: networks_line([training.cell]),
        plots=plots,
        figure=figure,
    )


def _examination() -> Publication[Examination]:
    from memtrain.report.doctor import examination_csv, examination_document, examination_sections
    from memtrain.report.terminal.doctor import doctor_table

    return Publication(
        "Is this machine fit for measuring?",
        examination_csv,
        examination_document,
        examination_sections,
        lambda examination, width, ascii_only: [doctor_table(examination.findings)],
    )


PUBLICATIONS: dict[str, Callable[[], Publication[Any]]] = {
    "Swept": _swept,
    "Explained": _explained,
    "Capacity": _capacity,
    "Ways": _ways,
    "Comparison": _comparison,
    "Prediction": _prediction,
    "Training": _training,
    "Examination": _examination,
}
"""By the name of the answer's type."""
