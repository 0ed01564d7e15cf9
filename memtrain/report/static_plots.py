"""The main plots, drawn into a figure of matplotlib. `memtrain.report.static` writes them to files."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from memtrain.cells.cell import Mode
from memtrain.report.cell_plots import phase_levels
from memtrain.report.colours import LINE_COLOURS, OUTCOME_COLOURS, PHASE_COLOURS, ROLE_COLOURS
from memtrain.report.curves import Curves
from memtrain.report.lifelines import LifeLines, Timeline
from memtrain.report.maps import OUTCOMES, Table
from memtrain.report.ticks import linear_ticks, log_ticks
from memtrain.units import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_TITLE = 90
_LINE_STYLES = {Mode.TRAIN: "-", Mode.INFER: ":", Mode.EVAL_GRAD: "--"}


def draw_curves(curves: Curves, of: str, figure: Figure) -> None:
    """Draw the peaks against one axis: linear at the left, logarithmic at the right."""
    _entitle(figure, f"Peak memory against {curves.axis}{of}")
    order = list(dict.fromkeys(line.fixed for line in curves.lines))
    known = [p.peak_bytes for line in curves.lines for p in line.points if p.peak_bytes] or [1]
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        for line in curves.lines:
            colour = LINE_COLOURS[order.index(line.fixed) % len(LINE_COLOURS)]
            shown = [point for point in line.points if point.peak_bytes is not None]
            failed = [point for point in shown if point.failure]
            style = _LINE_STYLES[line.mode]
            across, peaks = [p.tick for p in shown], [p.peak_bytes or 0 for p in shown]
            first = axes.get_legend_handles_labels()[1]
            name = f"{curves.other} {line.fixed:,}"
            label = "" if name in first else name
            axes.plot(across, peaks, style, color=colour, marker="o", markersize=4, label=label)
            axes.plot([p.tick for p in failed], [p.peak_bytes or 0 for p in failed], "x", color=colour, ms=10)
        axes.set(title="linear", xlabel=curves.axis, ylabel="peak memory")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if scale == "log":
            axes.set_title("logarithmic")
            axes.set_yscale("log", base=2)
            if curves.ticks[0] > 0:
                axes.set_xscale("log", base=2)
                axes.set_xticks(curves.ticks, [f"{tick:,}" for tick in curves.ticks], minor=False)
        ticks, texts = linear_ticks(max(known)) if scale == "linear" else log_ticks(min(known), max(known))
        axes.set_yticks(ticks, texts, minor=False)
        axes.set_ylim(ticks[0], ticks[-1])
    for mode in dict.fromkeys(line.mode for line in curves.lines):
        figure.axes[0].plot([], [], _LINE_STYLES[mode], color="#555b63", label=mode.noun)
    figure.axes[0].legend(fontsize=8)


def draw_ratio(table: Table, title: str, figure: Figure) -> None:
    """Draw the map of ratios of training to inference."""
    texts = [["" if value is None else f"{value:.2f}" for value in row] for row in table.values]
    axes = _grid(figure, table, title, texts, ("#dbe8f6", "#6f9fd0", "#1d4a82"))
    figure.colorbar(axes.images[0], ax=axes, label="ratio")


def draw_outcomes(table: Table, title: str, figure: Figure) -> None:
    """Draw the map of what fits."""
    texts = [["" if value is None else OUTCOMES[int(value)] for value in row] for row in table.values]
    axes = _grid(figure, table, title, texts, OUTCOME_COLOURS)
    axes.images[0].set_clim(0, len(OUTCOMES) - 1)


def _grid(figure: Figure, table: Table, title: str, texts: list[list[str]], colours: Sequence[str]) -> Axes:
    from matplotlib.colors import LinearSegmentedColormap

    axes = figure.subplots()
    numbers = [[float("nan") if value is None else value for value in row] for row in table.values]
    axes.imshow(numbers, LinearSegmentedColormap.from_list("", list(colours)), aspect="auto", origin="lower")
    for y, row in enumerate(texts):
        for x, text in enumerate(row):
            axes.text(
                x, y, text, ha="center", va="center", bbox={"color": "white", "alpha": 0.85, "pad": 1.5}
            )
    _entitle(figure, title)
    axes.set(xlabel="batch", ylabel="depth")
    axes.set_xticks(range(len(table.batches)), [f"{batch:,}" for batch in table.batches])
    axes.set_yticks(range(len(table.depths)), [f"{depth:,}" for depth in table.depths])
    return axes


def _entitle(figure: Figure, title: str) -> None:
    figure.suptitle(fill(title, _LONGEST_TITLE))


def draw_timeline(timeline: Timeline, title: str, figure: Figure) -> None:
    """Draw the live bytes of each step of training and of inference."""
    _entitle(figure, title)
    ticks, texts = linear_ticks(timeline.most_bytes)
    panels = figure.subplots(len(timeline.tracks), 1, squeeze=False)[:, 0]
    for axes, track in zip(panels, timeline.tracks, strict=True):
        edges = [moment.step for moment in track.moments] + [track.step_count]
        below = [0] * len(edges)
        for role in track.roles:
            live = track.live_bytes(role)
            top = [low + count for low, count in zip(below, [*live, live[-1]], strict=True)]
            colour = ROLE_COLOURS[role]
            axes.fill_between(edges, below, top, step="post", color=colour, label=str(role), lw=0)
            below = top
        levels = phase_levels(track)
        highest = ticks[-1] * (1.1 + 0.09 * max(levels.values(), default=0))
        for phase, start in track.starts.items():
            axes.axvline(start, color="#7b8592", lw=0.8, ls="--")
            axes.text(start, highest, "\n" * levels[phase] + f" {phase}", va="top", fontsize=8)
        peak = track.peak
        axes.plot(peak.step + 0.5, peak.total_bytes, "v", color="black", ms=5)
        axes.set_yticks(ticks, texts)
        axes.set(
            xlim=(0, track.step_count),
            ylim=(0, highest),
            ylabel=track.mode.noun,
            xlabel=f"step of {track.mode.noun} (peak: {format_bytes(peak.total_bytes)}, at {peak.node})",
        )
    figure.axes[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def draw_lives(found: LifeLines, title: str, figure: Figure) -> None:
    """Draw from when to when forward's kept values live."""
    _entitle(figure, title)
    if not found.lives:
        figure.text(0.5, 0.5, fill(found.reading, 80), ha="center", va="center")
        return
    axes = figure.subplots()
    for index, life in enumerate(found.lives):
        before = (life.born_step, found.backward_step - life.born_step)
        after = (found.backward_step, life.freed_step + 1 - found.backward_step)
        axes.broken_barh([before, after], (index - 0.4, 0.8), facecolors=PHASE_COLOURS)
    for phase, colour in zip(("in forward", "in backward"), PHASE_COLOURS, strict=True):
        axes.fill_between([], [], color=colour, label=phase)
    axes.legend(fontsize=8, loc="lower right")
    axes.set(xlabel="step of training", xlim=(0, found.step_count))
    apart = max(1, len(found.lives) // 30)
    shown = range(0, len(found.lives), apart)
    axes.set_yticks(list(shown), [found.lives[index].name for index in shown])
    axes.invert_yaxis()
