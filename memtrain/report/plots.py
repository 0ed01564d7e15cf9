"""The plots of a sweep in the format of plotly: dictionaries of traces and layout.

This module does not import plotly. The page of `memtrain.report.html` draws the plots.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from itertools import cycle
from math import log10
from typing import Any

from memtrain.answers.option import Kind, Option, Ways
from memtrain.cells.cell import SECONDS, Mode
from memtrain.report.colours import LINE_COLOURS, OUTCOME_COLOURS
from memtrain.report.curves import Curves, Point
from memtrain.report.maps import OUTCOMES, Table
from memtrain.report.ticks import linear_ticks, log_ticks
from memtrain.units import format_bytes

Plot = dict[str, Any]
"""``data`` and ``layout`` of a plotly figure."""

LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}

MARGIN = {"l": 10, "r": 14, "t": 30, "b": 10}
"""The space around a plot, in px."""

_SYMBOLS = {Kind.RULE: "diamond", Kind.LEVER: "square"}
"""The symbols of options; the others are circles, and the answer is a star."""

_DASHES = {Mode.TRAIN: "solid", Mode.INFER: "dot", Mode.EVAL_GRAD: "dash"}

_MEANINGS = {
    "circle": "Circles, joined by a line, are the cheapest plans for their memory.",
    "diamond": "Diamonds are the rules sqrt and revolve.",
    "square": "Squares are other settings, perhaps with a plan.",
    "star": "The star is the answer.",
}

MOST_TEXTS = 10
"""The most columns of a heat map with a text in each field; more columns leave no room for texts."""

_BLUES = [[0, "#dbe8f6"], [0.5, "#6f9fd0"], [1, "#1d4a82"]]


def plot(traces: list[dict[str, Any]], **layout: Any) -> Plot:
    """A plot of ``traces`` with the layout that all plots of the page share."""
    return {"data": traces, "layout": {"margin": MARGIN, "height": 420, **layout}}


def wrapped(text: str) -> str:
    """``text`` as HTML for plotly, in lines that are short enough for a phone."""
    return "<br>".join(textwrap.wrap(escape(text, quote=False), 38))


def peak_curves(curves: Curves) -> Plot:
    """Peaks along an axis, with a line for each mode and value of the other axis."""
    order = list(dict.fromkeys(line.fixed for line in curves.lines))
    named = {line.fixed: line for line in reversed(curves.lines)}.values()  # the legend needs one mode only
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
                "dash": _DASHES[line.mode],
            },
            "marker": {
                "size": [12 if point.failure else 7 for point in line.points],
                "symbol": ["x" if point.failure else "circle" for point in line.points],
            },
        }
        for line in curves.lines
    ]
    x_axis = {"title": {"text": curves.axis}, "tickformat": ",d", "automargin": True}
    y_axis = {"title": {"text": "peak memory"}, "automargin": True}
    return plot(traces, legend=LEGEND, xaxis=x_axis, yaxis=y_axis)


def _hover(point: Point) -> str:
    peak = "" if point.peak_bytes is None else f"{format_bytes(point.peak_bytes)} ({point.peak_bytes:,} B)"
    return f"{peak}<br>{wrapped(point.failure)}" if point.failure else peak


def scales(curves: Curves) -> dict[str, dict[str, Any]]:
    """The layout of linear and of logarithmic axes. A depth of 0 keeps the x axis linear."""
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
    """The ratio of training to inference over depth × batch."""
    texts = [["" if value is None else f"{value:.2f}" for value in row] for row in table.values]
    trace = {
        **_grid(table, texts),
        "colorscale": _BLUES,
        "colorbar": {"title": {"text": "ratio"}, "thickness": 14},
        "hovertemplate": "depth %{y}, batch %{x}:<br>training needs %{text} × the memory of inference"
        "<extra></extra>",
    }
    return plot([trace], height=_grid_height(table), **_grid_axes())


def outcome_map(table: Table) -> Plot:
    """What fits into a given memory, over depth × batch."""
    short = ("–", "inference", "training")
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
    """The peak of each option against its extra time: predicted, and measured where it ran."""
    measured = [option for option in ways.options if option.measured_extra is not None]
    others = [ways.keep_all, *([ways.chosen] if ways.chosen else []), *ways.rules, *ways.levers]
    traces = [
        _trade_trace("plans, predicted", ways.points, LINE_COLOURS[0], predicted=True),
        _trade_trace("plans, measured", [o for o in ways.points if o in measured], LINE_COLOURS[0]),
    ]
    for option, colour in zip(
        {option.name: option for option in others}.values(), cycle(LINE_COLOURS[1:]), strict=False
    ):
        name = f"{option.name} (no recomputation)" if option.kind is Kind.KEEP_ALL else option.name
        trace = _trade_trace(name, [option], colour, predicted=option not in measured)
        if option is ways.chosen:
            symbol = trace["marker"]["symbol"].replace(_symbol(option), "star")
            trace["marker"] |= {"symbol": symbol, "size": 16}
        traces.append(trace)
    traces = [trace for trace in traces if trace["x"]]
    symbols = {trace["marker"]["symbol"].removesuffix("-open") for trace in traces}
    if not ways.points:
        symbols.discard("circle")
    reading = " ".join(
        ["Options further left take less time; options further down need less memory."]
        + [meaning for symbol, meaning in _MEANINGS.items() if symbol in symbols]
    )
    extra = "extra time" if ways.cell.cost == SECONDS else "extra FLOPs (time, if measured)"
    x_axis = {"title": {"text": extra}, "tickformat": "+.0%", "automargin": True}
    ticks, texts = linear_ticks(max(option.predicted_peak_bytes for option in ways.options))
    y_axis = {
        "title": {"text": "peak memory"},
        "tickvals": ticks,
        "ticktext": texts,
        "rangemode": "tozero",
        "automargin": True,
    }
    height = 420 + 18 * max(len(traces) - 4, 0)  # on a narrow screen, the legend has a line for each trace
    legend = {**LEGEND, "maxheight": 1}
    return {**plot(traces, legend=legend, xaxis=x_axis, yaxis=y_axis, height=height), "reading": reading}


def _symbol(option: Option) -> str:
    return _SYMBOLS.get(option.kind, "circle")


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
        "hovertemplate": "%{customdata}, %{x:+.1%}<extra></extra>",
        "line": {"color": colour, "dash": "dot"},
        "marker": {
            "size": 10,
            "color": colour,
            "symbol": (_symbol(options[0]) if options else "circle") + ("-open" if predicted else ""),
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
