"""The report as one HTML page.

The page contains the JavaScript of plotly and the data of the plots. It loads nothing from the network; its
content security policy forbids that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from memtrain.answers.axis_law import AnyVerdict
from memtrain.answers.option import Ways, command_of
from memtrain.answers.swept import Swept
from memtrain.cells.cell import Cell, Mode
from memtrain.cells.columns import BY_NAME
from memtrain.cells.kinds import as_text
from memtrain.cells.row import Row, predicted_row
from memtrain.errors import InputError
from memtrain.report import plots
from memtrain.report.account import METERS, account, account_reading, axis_names, environments
from memtrain.report.cell_plots import LIVES, TIMELINE, life_plot, timeline_key, timeline_plot
from memtrain.report.curves import Axis, axes_of, curves_of
from memtrain.report.findings import cell_name, summary
from memtrain.report.groups import Group, groups_of, opening
from memtrain.report.install import install_command
from memtrain.report.lifelines import KEPT_HEADS, MOST_LIVES, MOST_MOMENTS, of_cell
from memtrain.report.maps import outcomes_of, ratios_of
from memtrain.report.networks import networks_line
from memtrain.report.plots import Plot
from memtrain.report.section import Origin, Section
from memtrain.report.ways import ways_sections
from memtrain.units import format_bytes

if TYPE_CHECKING:
    from jinja2 import Template

PLOTS_NEED, TABLES_NEED = ("plotly", "jinja2"), ("jinja2",)
"""The libraries that a page with plots needs, and those that a page of tables needs."""

MOMENTS_OF_ALL, FEWEST_MOMENTS = 4000, 60
LIVES_OF_ALL, FEWEST_LIVES = 750, 20
"""The most steps and lives of all cells of a page, which keep it small, and the fewest of each cell."""


def check_installed(*libraries: str) -> None:
    """Raise ``InputError`` if one of the ``libraries`` that a page needs is missing."""
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
    laws: Sequence[AnyVerdict] = (),
    budget_bytes: int | None = None,
    opening_cell: Cell | None = None,
    networks: str = "",
    trade: Plot | None = None,
    options: Section | None = None,
) -> str:
    """The report on ``rows``, at least one, as the text of an HTML file.

    ``commands`` made the rows, and ``laws`` were fitted to them. With ``budget_bytes`` the report shows what
    fits into that memory. The page opens with the timeline of ``opening_cell``; without it, with the cell
    that shows the most. ``networks`` stands below the title, in place of a line about all rows. For ``plan``,
    ``trade`` is the plot of peak against time, and ``options`` has the answer and a table. Raises
    ``InputError`` without plotly.
    """
    check_installed(*PLOTS_NEED)
    groups = groups_of(rows)
    return _template("page.html.j2").render(
        summary=summary(rows, laws) if options is None else options.sentences,
        title="Peak memory of training and inference" if trade is None else "Ways to make training fit",
        networks=networks or networks_line(row.cell for row in rows),
        options=options,
        timeline=TIMELINE,
        lives=LIVES,
        kept_heads=KEPT_HEADS,
        failed_count=sum(not row.ok for row in rows),
        group_names=[group.name for group in groups],
        budget="" if budget_bytes is None else format_bytes(budget_bytes),
        commands=commands,
        meters={meter: BY_NAME[f"{meter}_peak_bytes"].about for meter in METERS},
        axis_names=axis_names(rows),
        account=account(rows),
        account_reading=account_reading(rows),
        environments=_told_once(environments(rows)),
        data=_json({**_page_data(rows, groups, budget_bytes, opening_cell), "trade": trade}),
        plotly=_plotly(),
    )


def sections_html(
    title: str,
    sections: Iterable[Section],
    origin: Origin,
    *,
    networks: str = "",
    lead: Sequence[str] = (),
    plots: Sequence[Plot] = (),
) -> str:
    """An answer as a page of sentences, plots and tables. Raises ``InputError`` if a library is missing.

    ``networks`` is a line below the title; ``lead`` are the sentences before the sections. The ``plots`` come
    after the lead, or else after the first section.
    """
    check_installed(*(PLOTS_NEED if plots else TABLES_NEED))
    return _template("sections.html.j2").render(
        title=title,
        sections=sections,
        command=origin.command,
        networks=networks,
        lead=lead,
        plots=plots,
        data=_json({"plots": plots}),
        plotly=_plotly() if plots else "",
    )


def _plotly() -> str:
    """The JavaScript of plotly."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("memtrain.report", "page")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(name)


def swept_html(swept: Swept, origin: Origin) -> str:
    """The report on a sweep."""
    return report_html(swept.rows, commands=[origin.command], laws=swept.laws)


def ways_html(ways: Ways, origin: Origin) -> str:
    """The report on ways to make a cell fit; it opens with the timeline of the way that was chosen."""
    rows = {option.cell: option.row or predicted_row(option.cell, Mode.TRAIN) for option in ways.options}
    return report_html(
        list(rows.values()),
        commands=[origin.command, *(command_of(cell) for cell in rows)],
        opening_cell=(ways.chosen or ways.smaller or ways.keep_all).cell,
        networks=networks_line([ways.cell]),
        trade=plots.trade(ways),
        options=replace(ways_sections(ways)[0], words=frozenset({0})),
    )


def _told_once(environments: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The first environment, and of each other one the entries that differ from the first."""
    first = environments[0] if environments else {}
    others = [{name: text for name, text in one.items() if first.get(name) != text} for one in environments]
    return [first, *filter(None, others[1:])]


def _page_data(
    rows: Sequence[Row], groups: Sequence[Group], budget_bytes: int | None, opening_cell: Cell | None
) -> dict[str, Any]:
    """The data of the page's script: the plots by group and cell, and the rows as text."""
    count = sum(len(group.pairs) for group in groups)
    most = (
        max(FEWEST_MOMENTS, min(MOST_MOMENTS, MOMENTS_OF_ALL // count)),
        max(FEWEST_LIVES, min(MOST_LIVES, LIVES_OF_ALL // count)),
    )
    return {
        "groups": [_group_data(group, budget_bytes, most) for group in groups],
        "opening": opening(groups, opening_cell),
        "columns": [(column.name, column.about) for column in BY_NAME.values()],
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
        "opening": group.most_telling,
    }


def _curves_data(group: Group, axis: Axis) -> dict[str, Any] | None:
    """The plot of peaks along an axis; ``None`` if the cells have only one value of it."""
    if axis not in axes_of(group):
        return None
    curves = curves_of(group, axis)
    return {**plots.peak_curves(curves), "reading": curves.reading, "scales": plots.scales(curves)}


def _cell_data(row: Row, most: tuple[int, int]) -> dict[str, Any]:
    timeline, lives = of_cell(row.cell, *most, row.rates)
    return {
        "name": cell_name(row.cell),
        "timeline": {
            **timeline_plot(timeline),
            "reading": timeline.reading,
            "key": timeline_key(timeline),
        },
        "lives": {**life_plot(lives), "reading": lives.reading, "kept": lives.kept},
    }


def _json(data: dict[str, Any]) -> str:
    """``data`` as JSON for a script element; no text in it can end the element."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
