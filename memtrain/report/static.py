"""The main plots as SVG, PNG or PDF files, drawn with matplotlib; no browser is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from io import BytesIO
from itertools import chain
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from memtrain.cells.cell import Cell, Mode
from memtrain.cells.row import Row
from memtrain.errors import InputError, unknown_choice
from memtrain.files import check_outputs, write_new
from memtrain.report.cell_plots import phase_levels
from memtrain.report.colours import LINE_COLOURS, OUTCOME_COLOURS, PHASE_COLOURS, ROLE_COLOURS
from memtrain.report.curves import Curves, axes_of, curves_of
from memtrain.report.findings import cell_name
from memtrain.report.groups import Group, groups_of, size_name
from memtrain.report.install import install_command
from memtrain.report.lifelines import LifeLines, Timeline, of_cell
from memtrain.report.maps import OUTCOMES, Table, outcomes_of, ratios_of
from memtrain.report.networks import networks_line
from memtrain.report.ticks import linear_ticks, log_ticks
from memtrain.units import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "png", "pdf")
USUAL_FORMATS = ("svg", "png")

_NO_DATE = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata by format. Without a date, the same rows always give the same bytes."""

_LONGEST_TITLE = 90

_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "memtrain",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "font.size": 10,
}

Draw = Callable[["Figure"], None]
"""A function that fills an empty picture."""


def draw_pictures(
    rows: Sequence[Row],
    folder: Path,
    *,
    formats: Sequence[str] = USUAL_FORMATS,
    cells: Sequence[Cell] = (),
    budget_bytes: int | None = None,
    force: bool = False,
) -> list[Path]:
    """Write the plots of the sweep and of ``cells`` into ``folder``; returns the paths of the files.

    Without ``cells``, the cell of each group that shows the most is drawn. Raises ``InputError``, before
    anything is written, without matplotlib, for an unknown format, and for files that exist unless ``force``.
    """
    check_formats(formats)
    if find_spec("matplotlib") is None:
        raise InputError(
            "pictures need matplotlib", f"install it with {install_command('matplotlib', extra='static')}"
        )
    drawings = dict(_drawings(rows, cells, budget_bytes))
    paths = {folder / f"{name}.{ending}": (name, ending) for name in drawings for ending in formats}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--static {folder}: {error.strerror}", "name another folder") from error
    check_outputs({f"--static {path.name}": path for path in paths}, force)
    for path, (name, ending) in paths.items():
        write_new(path, _rendered(drawings[name], ending), force)
    return list(paths)


def check_formats(formats: Sequence[str]) -> None:
    """Raise ``SpecError`` unless all ``formats`` are known."""
    for name in formats:
        if name not in FORMATS:
            raise unknown_choice("--format", name, FORMATS)


def _rendered(draw: Draw, ending: str) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    content = BytesIO()
    with rc_context(_SETTINGS):
        figure = Figure(figsize=(9, 5.4), layout="constrained")
        draw(figure)
        figure.savefig(content, format=ending, dpi=150, metadata=_NO_DATE.get(ending))
    return content.getvalue()


def _drawings(
    rows: Sequence[Row], cells: Sequence[Cell], budget_bytes: int | None
) -> Iterator[tuple[str, Draw]]:
    """Each picture with the name of its file; the names of several groups begin with a number."""
    groups = groups_of(rows)
    for number, group in enumerate(groups, start=1):
        parts = chain(_group_drawings(group, budget_bytes), _cell_drawings(group, cells))
        networks = networks_line(row.cell for row in group.rows)
        for name, draw in parts:
            yield (f"{number}-{name}" if len(groups) > 1 else name), partial(_above, draw, networks)


def _above(draw: Draw, networks: str, figure: Figure) -> None:
    """Fill a picture, and write below it which networks it shows."""
    draw(figure)
    figure.supxlabel(fill(networks, 120), fontsize=8, color="#5f6b7a")


def _cell_drawings(group: Group, cells: Sequence[Cell]) -> Iterator[tuple[str, Draw]]:
    """The timeline and life lines of each of ``cells`` in the group; without ``cells``, of one cell."""
    chosen = [row for row in group.rows if row.cell in cells]
    for row in chosen if cells else [group.rows[group.most_telling]]:
        timeline, lives = of_cell(row.cell, rates=row.rates)
        name = cell_name(row.cell) + (f" ({group.name})" if group.name else "")
        size = f"-{size_name((row.cell['depth'], row.cell.batch))}" if cells else ""
        yield f"timeline{size}", partial(_timeline, timeline, f"Live bytes, step by step: {name}")
        yield f"lives{size}", partial(_lives, lives, f"What forward keeps for backward: {name}")


def _group_drawings(group: Group, budget_bytes: int | None) -> Iterator[tuple[str, Draw]]:
    of = f" ({group.name})" if group.name else ""
    for axis in axes_of(group):
        yield f"peak-by-{axis}", partial(_curves, curves_of(group, axis), of)
    if (ratios := ratios_of(group)) is not None:
        yield "ratio", partial(_ratio, ratios, f"Peak of training ÷ peak of inference{of}")
    if budget_bytes is not None:
        title = f"What fits into {format_bytes(budget_bytes)}{of}"
        yield "fits", partial(_outcomes, outcomes_of(group, budget_bytes), title)


def _curves(curves: Curves, of: str, figure: Figure) -> None:
    _entitle(figure, f"Peak memory against {curves.axis}{of}; solid: training, dotted: inference")
    order = list(dict.fromkeys(line.fixed for line in curves.lines))
    known = [p.peak_bytes for line in curves.lines for p in line.points if p.peak_bytes] or [1]
    for axes, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        for line in curves.lines:
            colour = LINE_COLOURS[order.index(line.fixed) % len(LINE_COLOURS)]
            shown = [point for point in line.points if point.peak_bytes is not None]
            failed = [point for point in shown if point.failure]
            style = "-" if line.mode is Mode.TRAIN else ":"
            across, peaks = [p.tick for p in shown], [p.peak_bytes or 0 for p in shown]
            first = axes.get_legend_handles_labels()[1]
            name = f"{curves.other} {line.fixed:,}"
            label = "" if name in first else name
            axes.plot(across, peaks, style, color=colour, marker="o", markersize=4, label=label)
            axes.plot([p.tick for p in failed], [p.peak_bytes or 0 for p in failed], "x", color=colour, ms=10)
        axes.set_xlabel(curves.axis)
        axes.grid(alpha=0.3)
        if scale == "log":
            axes.set_yscale("log", base=2)
            if curves.ticks[0] > 0:
                axes.set_xscale("log", base=2)
                axes.set_xticks(curves.ticks, [f"{tick:,}" for tick in curves.ticks], minor=False)
        ticks, texts = linear_ticks(max(known)) if scale == "linear" else log_ticks(min(known), max(known))
        axes.set_yticks(ticks, texts, minor=False)
        axes.set_ylim(ticks[0], ticks[-1])
    figure.axes[0].legend(fontsize=8)


def _ratio(table: Table, title: str, figure: Figure) -> None:
    texts = [["" if value is None else f"{value:.2f}" for value in row] for row in table.values]
    axes = _grid(figure, table, title, texts, ("#dbe8f6", "#6f9fd0", "#1d4a82"))
    figure.colorbar(axes.images[0], ax=axes, label="ratio")


def _outcomes(table: Table, title: str, figure: Figure) -> None:
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
            axes.text(x, y, text, ha="center", va="center", bbox={"color": "white", "alpha": 0.6, "pad": 1.5})
    _entitle(figure, title)
    axes.set(xlabel="batch", ylabel="depth")
    axes.set_xticks(range(len(table.batches)), [f"{batch:,}" for batch in table.batches])
    axes.set_yticks(range(len(table.depths)), [f"{depth:,}" for depth in table.depths])
    return axes


def _entitle(figure: Figure, title: str) -> None:
    figure.suptitle(fill(title, _LONGEST_TITLE))


def _timeline(timeline: Timeline, title: str, figure: Figure) -> None:
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


def _lives(found: LifeLines, title: str, figure: Figure) -> None:
    _entitle(figure, title)
    if not found.lives:
        figure.text(0.5, 0.5, fill(found.reading, 80), ha="center", va="center")
        return
    axes = figure.subplots()
    for index, life in enumerate(found.lives):
        before = (life.born_step, found.backward_step - life.born_step)
        after = (found.backward_step, life.freed_step + 1 - found.backward_step)
        axes.broken_barh([before, after], (index - 0.4, 0.8), facecolors=PHASE_COLOURS)
    axes.set(xlabel="step of training (blue: in forward, red: in backward)", xlim=(0, found.step_count))
    apart = max(1, len(found.lives) // 30)
    shown = range(0, len(found.lives), apart)
    axes.set_yticks(list(shown), [found.lives[index].name for index in shown])
    axes.invert_yaxis()
