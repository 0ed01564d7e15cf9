"""The plots on the page of an answer, in the format of plotly, each with its title, reading and note."""

from __future__ import annotations

from memtrain.answers.capacity import Capacity
from memtrain.answers.training import Training
from memtrain.cells.cell import BOTH
from memtrain.explaining.evidence import Explained
from memtrain.report.cell_plots import LIVES, TIMELINE, life_plot, timeline_key, timeline_plot
from memtrain.report.colours import LINE_COLOURS
from memtrain.report.lifelines import of_cell
from memtrain.report.plots import LEGEND, MOST_TEXTS, Plot, plot
from memtrain.units import format_bytes


def explained_plots(explained: Explained) -> list[Plot]:
    """The timeline of an explained cell, and the lives of what it keeps."""
    rates = next((row.rates for row in explained.rows.values()), None)
    timeline, lives = of_cell(explained.explanation.cell, rates=rates)
    key = timeline_key(timeline)
    return [
        {**timeline_plot(timeline), **TIMELINE, "reading": timeline.reading, "key": key},
        {**life_plot(lives), **LIVES, "reading": lives.reading},
    ]


def capacity_plots(capacity: Capacity) -> list[Plot]:
    """The largest second value for each first."""
    first, second = capacity.axes
    memory = format_bytes(capacity.budget_bytes)
    return [
        {
            **largest_seconds(capacity),
            "title": f"The largest {second}",
            "reading": f"The largest {second} that fits into {memory}, by {first}.",
            "note": "Solid line: training. Dotted line: inference.",
        }
    ]


def training_plots(training: Training) -> list[Plot]:
    """The loss of each epoch."""
    reading = "The mean loss of the training examples in each epoch."
    return [{**losses(training), "title": "Loss", "reading": reading, "note": ""}]


def largest_seconds(capacity: Capacity) -> Plot:
    """The largest second value that fits, against the first, on logarithmic scales."""
    traces, (first, second) = [], capacity.axes
    for mode, dash in zip(BOTH, ("solid", "dot"), strict=True):
        found = [one for one in capacity.boundaries if one.mode is mode and one.second]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": mode.noun,
                "x": [one.first for one in found],
                "y": [one.second for one in found],
                "line": {"color": LINE_COLOURS[0], "dash": dash},
                "hovertemplate": f"{first} %{{x}}: {second} %{{y:,}}<extra></extra>",
            }
        )
    firsts = sorted({one.first for one in capacity.boundaries})
    x_axis: dict[str, object] = {
        "title": {"text": first},
        "type": "log" if all(firsts) else "linear",
        "automargin": True,
    }
    if len(firsts) <= MOST_TEXTS:
        x_axis |= {"tickvals": firsts, "ticktext": [f"{value:,}" for value in firsts]}
    y_axis = {"title": {"text": f"largest {second}"}, "type": "log", "dtick": "D2", "automargin": True}
    return plot(traces, xaxis=x_axis, yaxis=y_axis, legend=LEGEND)


def losses(training: Training) -> Plot:
    """The mean loss of each epoch."""
    epochs = training.trained.epochs
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": [epoch.number for epoch in epochs],
        "y": [epoch.loss for epoch in epochs],
        "line": {"color": LINE_COLOURS[0]},
        "hovertemplate": "epoch %{x}: %{y:.4f}<extra></extra>",
    }
    x_axis = {"title": {"text": "epoch"}, "automargin": True}
    y_axis = {"title": {"text": "loss"}, "automargin": True}
    return plot([trace], xaxis=x_axis, yaxis=y_axis)
