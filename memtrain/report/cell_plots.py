"""The plots of one cell in the format of plotly: its timeline, and the lives of its retained values."""

from __future__ import annotations

from typing import Any

from memtrain.report.colours import PHASE_COLOURS, ROLE_COLOURS, ROLE_WORDS
from memtrain.report.lifelines import LifeLines, Timeline, Track
from memtrain.report.plots import LEGEND, MARGIN, Plot, plot, wrapped
from memtrain.report.ticks import linear_ticks
from memtrain.units import format_bytes

TIMELINE = {
    "title": "Live bytes, step by step",
    "note": "Live bytes are the bytes of all arrays that exist at a step; they are predicted from the graph. "
    "Point at a step to see the value that it computes, and why forward keeps that value.",
}
LIVES = {
    "title": "What forward keeps for backward",
    "note": "Each bar is a retained intermediate. It begins at the step that computes the value and ends "
    "at the step that frees it.",
}
"""The texts of the two plots of a cell on a page."""

_GREY = "#7b8592"

_RIGHT = 0.8
"""From this share of the steps on, a name of a phase has no room to the right of its line on a phone."""

_LINE, _LETTER = 15, 0.03
"""The height of a line of text in px, and the width of a letter as a share of the plot on a phone."""


def timeline_plot(timeline: Timeline) -> Plot:
    """Training above inference, on one scale of bytes; inference alone where training has no plan."""
    axes: dict[str, dict[str, Any]] = {}
    traces: list[dict[str, Any]] = []
    marks: list[tuple[dict[str, Any] | None, dict[str, Any]]] = []
    named: set[str] = set()
    ticks, texts = linear_ticks(timeline.most_bytes)
    scale = {"tickvals": ticks, "ticktext": texts, "range": [0, ticks[-1] * 1.12], "automargin": True}
    domains = [[0.59, 1], [0, 0.41]] if len(timeline.tracks) > 1 else [[0, 1]]
    for track, domain, suffix in zip(timeline.tracks, domains, ("", "2"), strict=False):
        axes[f"xaxis{suffix}"] = {**_steps(track), "anchor": f"y{suffix}"}
        axes[f"yaxis{suffix}"] = {**scale, "domain": domain, "title": {"text": track.mode.noun}}
        marks += _marks(track, suffix)
        for trace in _areas(track, suffix):
            traces.append({**trace, "showlegend": trace["name"] not in named})
            named.add(trace["name"])
    above = 30 + _LINE * max(phase_levels(timeline.tracks[0]).values(), default=0)
    return plot(
        traces,
        margin={**MARGIN, "t": above},
        height=680 if len(timeline.tracks) > 1 else 420,
        legend={**LEGEND, "y": 1.05, "traceorder": "normal"},
        hovermode="x unified",
        **axes,
        shapes=[shape for shape, _ in marks if shape],
        annotations=[note for _, note in marks],
    )


def timeline_key(timeline: Timeline) -> list[tuple[str, str, str]]:
    """The name, the colour and the meaning of each role of a timeline, from the bottom of the stack."""
    roles = [role for role in ROLE_COLOURS if any(role in track.roles for track in timeline.tracks)]
    return [(str(role), ROLE_COLOURS[role], ROLE_WORDS[role]) for role in roles]


def _steps(track: Track) -> dict[str, Any]:
    return {
        "title": {"text": f"step of {track.mode.noun}", "standoff": 8},
        "range": [-0.5, track.step_count - 0.5],
        "hoverformat": "d",
        "unifiedhovertitle": {"text": "step %{x}"},
        "showgrid": False,
        "automargin": True,
    }


def _areas(track: Track, suffix: str) -> list[dict[str, Any]]:
    """A stack of areas, one per role, and a line on top; its hover text names the value of the step."""
    moments = track.moments

    def to_the_ends(values: list[Any]) -> list[Any]:
        """The first and the last value twice, so that these steps are as wide as the others."""
        return [values[0], *values, values[-1]]

    common = {
        "type": "scatter",
        "mode": "lines",
        "x": [moments[0].step - 0.49, *(moment.step for moment in moments), moments[-1].step + 0.49],
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
    }
    areas = [
        {
            **common,
            "name": str(role),
            "legendgroup": str(role),
            "y": to_the_ends(track.live_bytes(role)),
            "stackgroup": str(track.mode),
            "line": {"shape": "hvh", "width": 0.5, "color": ROLE_COLOURS[role]},
            "fillcolor": ROLE_COLOURS[role],
            "hovertemplate": "%{y:,} B",
        }
        for role in track.roles
    ]
    total = {
        **common,
        "name": "total",
        "legendgroup": "total",
        "y": to_the_ends([moment.total_bytes for moment in moments]),
        "customdata": to_the_ends([f"{m.phase}: {m.node}{_reason(track, m.step)}" for m in moments]),
        "line": {"shape": "hvh", "width": 1.5, "color": _GREY},
        "hovertemplate": "%{y:,} B<br>%{customdata}",
    }
    return [*areas, total]


def _reason(track: Track, step: int) -> str:
    return f"<br>{wrapped(track.reasons[step])}" if step in track.reasons else ""


def _marks(track: Track, suffix: str) -> list[tuple[dict[str, Any] | None, dict[str, Any]]]:
    """A dashed line and a name where each phase starts for the first time, and an arrow at the peak."""
    anchor = {"xref": f"x{suffix}", "showarrow": False, "xanchor": "left", "yanchor": "bottom"}
    line = {"type": "line", "xref": f"x{suffix}", "yref": f"y{suffix} domain", "y0": 0, "y1": 1}
    marks: list[tuple[dict[str, Any] | None, dict[str, Any]]] = []
    levels = phase_levels(track)
    for phase, start in track.starts.items():
        at = start - 0.5
        shape = {**line, "x0": at, "x1": at, "line": {"width": 1, "dash": "dash", "color": _GREY}}
        note = {**anchor, "x": at, "y": 1, "yref": f"y{suffix} domain", "text": phase}
        if levels[phase]:
            note["yshift"] = _LINE * levels[phase]
        if start > _RIGHT * track.step_count:
            note |= {"x": track.step_count - 0.5, "xanchor": "right"}
        marks.append((shape if start else None, note))
    peak = {
        "xref": f"x{suffix}",
        "yref": f"y{suffix}",
        "x": track.peak.step,
        "y": track.peak.total_bytes,
        "text": f"peak {format_bytes(track.peak.total_bytes)}",
        "ay": -22,
        **_towards_middle(track),
    }
    return [*marks, (None, peak)]


def phase_levels(track: Track) -> dict[str, int]:
    """The line of text for the name of each phase, counted from the plot, so that no names overlap."""
    ends: list[float] = []
    levels = {}
    for phase, start in track.starts.items():
        width, left = _LETTER * (len(phase) + 1), start / track.step_count
        if left > _RIGHT:
            left = 1 - width
        level = next((level for level, end in enumerate(ends) if end <= left), len(ends))
        ends[level:] = [left + width, *ends[level + 1 :]]
        levels[phase] = level
    return levels


def _towards_middle(track: Track) -> dict[str, Any]:
    """The alignment that keeps the text at the peak inside the plot."""
    share = track.peak.step / track.step_count
    if share < 0.2:
        return {"ax": 12, "xanchor": "left"}
    return {"ax": -12, "xanchor": "right"} if share > 0.8 else {"ax": 0, "xanchor": "center"}


def life_plot(found: LifeLines) -> Plot:
    """A bar for each retained intermediate: its life in forward, then its life in backward."""
    if not found.lives:
        return plot([], height=150, xaxis={"visible": False}, yaxis={"visible": False})
    before = {
        "name": "in forward",
        "base": [life.born_step for life in found.lives],
        "x": [found.backward_step - life.born_step for life in found.lives],
        "marker": {"color": PHASE_COLOURS[0]},
    }
    after = {
        "name": "in backward",
        "base": [found.backward_step] * len(found.lives),
        "x": [life.freed_step + 1 - found.backward_step for life in found.lives],
        "marker": {"color": PHASE_COLOURS[1]},
    }
    texts = [
        f"{life.name}, {life.bytes:,} B, steps {life.born_step}–{life.freed_step}<br>{wrapped(life.reason)}"
        for life in found.lives
    ]
    common = {
        "type": "bar",
        "orientation": "h",
        "y": [life.name for life in found.lives],
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    return plot(
        [{**common, **part} for part in (before, after)],
        height=min(150 + 20 * len(found.lives), 760),
        barmode="overlay",
        bargap=0.25,
        legend=LEGEND,
        xaxis={"title": {"text": "step of training"}, "range": [0, found.step_count], "automargin": True},
        yaxis={"type": "category", "autorange": "reversed", "automargin": True, "showgrid": False},
    )
