"""The plots of a sweep as plotly takes them: dictionaries of traces and layout.

plotly itself is not needed here; `memtrain.report.html` draws them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from itertools import cycle
from math import log10
from typing import Any

from memtrain.answers.option import Kind, Option, Ways
from memtrain.report.colours import LINE_COLOURS, OUTCOME_COLOURS
from memtrain.report.curves import Curves, Point
from memtrain.report.maps import OUTCOMES, Table
from memtrain.report.ticks import linear_ticks, log_ticks
from memtrain.units import format_bytes

Plot = dict[str, Any]
"""``data`` and ``layout`` of a plotly figure."""

LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}

_SYMBOLS = {Kind.RULE: "diamond", Kind.LEVER: "square", Kind.CHOSEN: "star"}
"""Of options on the page; the others are circles."""

MOST_TEXTS = 10
"""A heat map with more columns has no room for the number in each field."""

_BLUES = [[0, "#dbe8f6"], [0.5, "#6f9fd0"], [1, "#1d4a82"]]


def plot(traces: list[dict[str, Any]], **layout: Any) -> Plot:
    """A plot of ``traces``, with a layout like that of all plots of the page."""
    margin = {"l": 10, "r": 14, "t": 30, "b": 10}
    return {"data": traces, "layout": {"margin": margin, "height": 420, **layout}}


def wrapped(text: str) -> str:
    """``text`` in lines short enough for a phone, as plotly writes them."""
    return "<br>".join(textwrap.wrap(escape(text, quote=False), 38))


def peak_curves(curves: Curves) -> Plot:
    """Peak bytes along an axis, a line per mode and value of the other axis."""
    order = list(dict.fromkeys(line.fixed for line in curves.lines))
    named = {line.fixed: line for line in reversed(curves.lines)}.values()  # one of both modes is enough
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"{curves.other} {line.fixed:,}",
            "legendgroup": str(line.fixed),
            "showlegend": line in named,
            "x": [point.tick for point in line.points],
            "y": [point.peak_bytes for point in line.points],
            "customdata": [_hover(point) for point in line.points],
            "hovertemplate": f"{line.mode.noun}, {curves.axis} %{{x:,}}: %{{customdata}}",
            "line": {
                "color": LINE_COLOURS[order.index(line.fixed) % len(LINE_COLOURS)],
                "dash": "solid" if line.mode == "train" else "dot",
            },
            "marker": {
                "size": [12 if point.failure else 7 for point in line.points],
                "symbol": ["x" if point.failure else "circle" for point in line.points],
            },
        }
        for line in curves.lines
    ]
    x_axis = {"title": {"text": curves.axis}, "automargin": True}
    y_axis = {"title": {"text": "peak bytes"}, "automargin": True}
    return plot(traces, legend=LEGEND, xaxis=x_axis, yaxis=y_axis)


def _hover(point: Point) -> str:
    peak = "" if point.peak_bytes is None else f"{format_bytes(point.peak_bytes)} ({point.peak_bytes:,} B)"
    return f"{peak}<br>{wrapped(point.failure)}" if point.failure else peak


def scales(curves: Curves) -> dict[str, dict[str, Any]]:
    """What changes in the layout from linear to logarithmic axes: both axes, where no tick is 0."""
    peaks = [p.peak_bytes for line in curves.lines for p in line.points if p.peak_bytes] or [1]
    linear, log = linear_ticks(max(peaks)), log_ticks(min(peaks), max(peaks))
    ticks = curves.ticks
    scales: dict[str, dict[str, Any]] = {
        "linear": {
            "xaxis.type": "linear",
            "xaxis.tickmode": "auto",
            "yaxis.range": [0, linear[0][-1]],
        },
        "log": {"yaxis.range": [log10(tick) for tick in (log[0][0], log[0][-1])]},
    }
    if ticks[0] > 0:
        texts = [f"{tick:,}" for tick in ticks]
        scales["log"] |= {"xaxis.type": "log", "xaxis.tickmode": "array"}
        scales["log"] |= {"xaxis.tickvals": ticks, "xaxis.ticktext": texts}
    for name, (peak_ticks, labels) in (("linear", linear), ("log", log)):
        scales[name] |= {"yaxis.type": name, "yaxis.tickvals": peak_ticks, "yaxis.ticktext": labels}
    return scales


def ratio_map(table: Table) -> Plot:
    """Training ÷ inference over depth × batch."""
    texts = [["" if value is None else f"{value:.2f}" for value in row] for row in table.values]
    trace = {
        **_grid(table, texts),
        "colorscale": _BLUES,
        "colorbar": {"title": {"text": "×"}, "thickness": 14},
        "hovertemplate": "depth %{y}, batch %{x}: training needs %{text} × inference<extra></extra>",
    }
    return plot([trace], height=_grid_height(table), **_grid_axes())


def outcome_map(table: Table) -> Plot:
    """What fits into a memory, over depth × batch."""
    short = ("–", "predict", "train")
    texts = [["" if value is None else short[int(value)] for value in row] for row in table.values]
    names = [["" if value is None else OUTCOMES[int(value)] for value in row] for row in table.values]
    colours = OUTCOME_COLOURS
    scale = [[at, colour] for i, colour in enumerate(colours) for at in (i / 3, (i + 1) / 3)]
    grid = {
        **_grid(table, texts),
        "customdata": names,
        "zmin": 0,
        "zmax": 2,
        "colorscale": scale,
        "showscale": False,
        "hovertemplate": "depth %{y}, batch %{x}: %{customdata}<extra></extra>",
    }
    keys = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [None],
            "y": [None],
            "marker": {"color": colour, "symbol": "square", "size": 12},
        }
        for name, colour in reversed([*zip(OUTCOMES, colours, strict=True)])
    ]
    return plot([grid, *keys], height=_grid_height(table), legend=LEGEND, **_grid_axes())


def trade(ways: Ways) -> Plot:
    """Peak against time: what is predicted, and what was measured of it."""
    measured = [option for option in ways.options if option.measured_extra is not None]
    others = [ways.keep_all, *([ways.chosen] if ways.chosen else []), *ways.rules, *ways.levers]
    traces = [
        _trade_trace("plans, predicted", ways.points, LINE_COLOURS[0], predicted=True),
        _trade_trace("plans, measured", [o for o in ways.points if o in measured], LINE_COLOURS[0]),
    ]
    for option, colour in zip(
        {option.name: option for option in others}.values(), cycle(LINE_COLOURS[1:]), strict=False
    ):
        traces.append(_trade_trace(option.name, [option], colour, predicted=option not in measured))
    reading = (
        "To the left faster, lower down with less memory. The line joins the cheapest plans for their "
        "budgets; squares are the other levers, diamonds the rules sqrt and revolve."
    )
    x_axis = {"title": {"text": "extra time"}, "tickformat": "+.0%", "automargin": True}
    ticks, texts = linear_ticks(max(option.predicted_peak_bytes for option in ways.options))
    y_axis = {
        "title": {"text": "peak bytes"},
        "tickvals": ticks,
        "ticktext": texts,
        "rangemode": "tozero",
        "automargin": True,
    }
    drawn = plot([trace for trace in traces if trace["x"]], legend=LEGEND, xaxis=x_axis, yaxis=y_axis)
    return {**drawn, "reading": reading}


def _trade_trace(
    name: str, options: Sequence[Option], colour: str, predicted: bool = False
) -> dict[str, Any]:
    peaks = [
        option.predicted_peak_bytes if predicted else option.ledger_peak_bytes or option.predicted_peak_bytes
        for option in options
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers" if predicted and len(options) > 1 else "markers",
        "name": name,
        "x": [option.predicted_extra if predicted else option.measured_extra for option in options],
        "y": peaks,
        "customdata": [
            f"{escape(option.name)}<br>{format_bytes(peak)} ({peak:,} B)"
            for option, peak in zip(options, peaks, strict=True)
        ],
        "hovertemplate": "%{customdata}, %{x:+.1%} time<extra></extra>",
        "line": {"color": colour, "dash": "dot"},
        "marker": {
            "size": 10,
            "color": colour,
            "symbol": _SYMBOLS.get(options[0].kind if options else Kind.POINT, "circle")
            + ("-open" if predicted else ""),
        },
    }


def _grid(table: Table, texts: list[list[str]]) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "x": [f"{batch:,}" for batch in table.batches],
        "y": [f"{depth:,}" for depth in table.depths],
        "z": table.values,
        "text": texts,
        "texttemplate": "%{text}" if len(table.batches) <= MOST_TEXTS else "",
        "xgap": 2,
        "ygap": 2,
    }


def _grid_axes() -> dict[str, Any]:
    def axis(name: str) -> dict[str, Any]:
        return {"title": {"text": name}, "type": "category", "showgrid": False, "automargin": True}

    return {"xaxis": axis("batch"), "yaxis": axis("depth")}


def _grid_height(table: Table) -> int:
    return min(150 + 44 * len(table.depths), 640)
