"""Answers as plotly figures, for Python and notebooks. Each raises ``InputError`` without plotly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memtrain.answers.capacity import Capacity
from memtrain.answers.option import Ways
from memtrain.answers.training import Training
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import Row
from memtrain.report import plots
from memtrain.report.answer_plots import largest_seconds, losses
from memtrain.report.cell_plots import timeline_plot
from memtrain.report.findings import cell_name
from memtrain.report.html import PLOTS_NEED, check_installed
from memtrain.report.lifelines import of_cell
from memtrain.report.plots import Plot
from memtrain.units import format_bytes

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def timeline_figure(cell: Cell | Row) -> Figure:
    """The live bytes of an iteration of a cell or row, step by step and by role.

    The bytes are predicted, so the cell need not have run.
    """
    row = cell if isinstance(cell, Row) else Row(cell, Mode.TRAIN)
    figure = _figure(timeline_plot(of_cell(row.cell, rates=row.rates)[0]))
    below = {"yref": "container", "y": 0, "yanchor": "bottom"}  # the title needs the room above the plot
    above = figure.layout.margin.t + 40
    return figure.update_layout(title=cell_name(row.cell), margin_t=above, legend=below)


def trade_figure(ways: Ways) -> Figure:
    """The peak of each option against its extra time."""
    return _figure(plots.trade(ways)).update_layout(title=cell_name(ways.cell))


def capacity_figure(capacity: Capacity) -> Figure:
    """The largest second value that fits, against the first: a line for training, one for inference."""
    title = f"The largest {capacity.axes[1]} within {format_bytes(capacity.budget_bytes)}"
    return _figure(largest_seconds(capacity)).update_layout(title=title)


def loss_figure(training: Training) -> Figure:
    """The mean loss of each epoch."""
    return _figure(losses(training)).update_layout(title=cell_name(training.cell))


def _figure(plot: Plot) -> Figure:
    check_installed(*PLOTS_NEED)
    from plotly.graph_objects import Figure

    return Figure(data=plot["data"], layout=plot["layout"]).update_layout(margin_t=60)
