"""The report as one self-contained HTML page, and the timeline as a plotly figure in Python.

The page contains the JavaScript of plotly once, and the plots as data. It loads nothing from the network: its
content security policy forbids it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from memtrain.answers.law import Verdict
from memtrain.answers.option import Ways, command_of
from memtrain.answers.swept import Swept
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import NAMES
from memtrain.cells.kinds import as_text
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import InputError
from memtrain.report import plots
from memtrain.report.account import METERS, account, account_reading, axis_names, environments
from memtrain.report.cell_plots import life_plot, timeline_plot
from memtrain.report.curves import Axis, curves_of
from memtrain.report.findings import cell_name, summary
from memtrain.report.groups import Group, groups_of
from memtrain.report.install import install_command
from memtrain.report.lifelines import MOST_LIVES, MOST_MOMENTS, of_cell
from memtrain.report.maps import outcomes_of, ratios_of
from memtrain.report.plots import Plot
from memtrain.report.section import Origin, Section
from memtrain.report.ways_findings import ways_sentences
from memtrain.units import format_bytes

if TYPE_CHECKING:
    from jinja2 import Template
    from plotly.graph_objects import Figure

PLOTS_NEED, TABLES_NEED = ("plotly", "jinja2"), ("jinja2",)
"""The libraries of a page with plots, and of a page of tables only."""

MOMENTS_OF_ALL, FEWEST_MOMENTS = 4000, 60
LIVES_OF_ALL, FEWEST_LIVES = 750, 20
"""The most steps and lives of all cells of a page, so that it stays small; and the least of each cell."""


def check_installed(*libraries: str) -> None:
    """Raise ``InputError`` where a library of a page is missing; ``libraries`` are those that it needs."""
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise InputError(
            f"an HTML page needs {' and '.join(missing)}",
            f"install with {install_command(*libraries, extra='report')}",
        )


def report_html(
    rows: Sequence[Row],
    *,
    commands: Sequence[str] = (),
    laws: Sequence[Verdict] = (),
    budget_bytes: int | None = None,
    trade: Plot | None = None,
    sentences: Sequence[str] = (),
) -> str:
    """The report on ``rows``, at least one, as the text of an HTML file.

    ``commands`` made the rows, and ``laws`` were fitted to them. With ``budget_bytes`` the report shows what
    fits into that memory. ``trade`` is a plot of peak against time that is shown first. ``sentences`` replace
    the summary of rows and laws. Raises ``InputError`` without plotly.
    """
    check_installed(*PLOTS_NEED)
    from plotly.offline import get_plotlyjs

    groups = groups_of(rows)
    return _template("page.html.j2").render(
        summary=sentences or summary(rows, laws),
        title="Peak memory of training and inference" if trade is None else "What would make it fit",
        has_trade=trade is not None,
        failed_count=sum(not row.ok for row in rows),
        group_names=[group.name for group in groups],
        budget="" if budget_bytes is None else format_bytes(budget_bytes),
        commands=commands,
        meters=METERS,
        axis_names=axis_names(rows),
        account=account(rows),
        account_reading=account_reading(rows),
        environments=environments(rows),
        data=_json({**_page_data(rows, groups, budget_bytes), "trade": trade}),
        plotly=get_plotlyjs(),
    )


def sections_html(title: str, sections: Iterable[Section], origin: Origin) -> str:
    """An answer as a page of tables and sentences. Raises ``InputError`` without jinja2."""
    check_installed(*TABLES_NEED)
    return _template("sections.html.j2").render(title=title, sections=sections, command=origin.command)


def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("memtrain.report", "page")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(name)


def swept_html(swept: Swept, origin: Origin) -> str:
    """The report on a sweep."""
    return report_html(swept.rows, commands=[origin.command], laws=swept.laws)


def ways_html(ways: Ways, origin: Origin) -> str:
    """The report on what would make a cell fit: peak against time, and each option step by step."""
    rows = {option.cell: option.row or predicted_row(option.cell, Mode.TRAIN) for option in ways.options}
    return report_html(
        list(rows.values()),
        commands=[origin.command, *(command_of(cell) for cell in rows)],
        trade=plots.trade(ways),
        sentences=ways_sentences(ways),
    )


def timeline_figure(cell: Cell | Row) -> Figure:
    """The live bytes of an iteration of a cell (or a row's), step by step and by role, as a plotly figure.

    It is predicted, so any cell can be shown. Raises ``InputError`` without plotly.
    """
    check_installed(*PLOTS_NEED)
    from plotly.graph_objects import Figure

    row = cell if isinstance(cell, Row) else Row(cell, Mode.TRAIN)
    figure = Figure(timeline_plot(of_cell(row.cell, rates=row.rates)[0]))
    below = {"yref": "container", "y": 0, "yanchor": "bottom"}  # the title stands where the legend was
    return figure.update_layout(title=cell_name(row.cell), margin_t=70, legend=below)


def _page_data(rows: Sequence[Row], groups: Sequence[Group], budget_bytes: int | None) -> dict[str, Any]:
    """What the page's script draws: the plots by group and cell, and the rows as text."""
    count = sum(len(group.pairs) for group in groups)
    most = (
        max(FEWEST_MOMENTS, min(MOST_MOMENTS, MOMENTS_OF_ALL // count)),
        max(FEWEST_LIVES, min(MOST_LIVES, LIVES_OF_ALL // count)),
    )
    return {
        "groups": [_group_data(group, budget_bytes, most) for group in groups],
        "columns": NAMES,
        "rows": [[str(as_text(value)) for value in row.columns().values()] for row in rows],
    }


def _group_data(group: Group, budget_bytes: int | None, most: tuple[int, int]) -> dict[str, Any]:
    ratios = ratios_of(group)
    outcomes = None if budget_bytes is None else outcomes_of(group, budget_bytes)
    return {
        "depth": _curves_data(group, "depth"),
        "batch": _curves_data(group, "batch"),
        "ratio": ratios and {**plots.ratio_map(ratios), "reading": ratios.reading},
        "fits": outcomes and {**plots.outcome_map(outcomes), "reading": outcomes.reading},
        "cells": [_cell_data(row, most) for row in group.rows],
        "largest": group.largest,
    }


def _curves_data(group: Group, axis: Axis) -> dict[str, Any]:
    curves = curves_of(group, axis)
    return {**plots.peak_curves(curves), "reading": curves.reading, "scales": plots.scales(curves)}


def _cell_data(row: Row, most: tuple[int, int]) -> dict[str, Any]:
    timeline, lives = of_cell(row.cell, *most, row.rates)
    return {
        "name": cell_name(row.cell),
        "timeline": {**timeline_plot(timeline), "reading": timeline.reading},
        "lives": {**life_plot(lives), "reading": lives.reading},
    }


def _json(data: dict[str, Any]) -> str:
    """``data`` as JSON that is safe inside a script element: no text in it can end the element."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
