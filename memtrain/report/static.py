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

from memtrain.cells.cell import Cell
from memtrain.cells.row import Row
from memtrain.errors import InputError, unknown_choice
from memtrain.files import check_outputs, write_new
from memtrain.report.curves import axes_of, curves_of
from memtrain.report.findings import cell_name
from memtrain.report.groups import Group, groups_of, size_name
from memtrain.report.install import install_command
from memtrain.report.lifelines import of_cell
from memtrain.report.maps import outcomes_of, ratios_of
from memtrain.report.networks import networks_line
from memtrain.report.static_engines import draw_engines, engine_pairs
from memtrain.report.static_plots import draw_curves, draw_lives, draw_outcomes, draw_ratio, draw_timeline
from memtrain.units import format_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("svg", "png", "pdf")
USUAL_FORMATS = ("svg", "png")

_NO_DATE = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata by format. Without a date, the same rows always give the same bytes."""

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
    for number, pair in enumerate(pairs := engine_pairs(groups), start=1):
        networks = networks_line(row.cell for group in pair for row in group.rows)
        name = f"engines-{number}" if len(pairs) > 1 else "engines"
        yield name, partial(_above, partial(draw_engines, pair), networks)


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
        yield f"timeline{size}", partial(draw_timeline, timeline, f"Live bytes, step by step: {name}")
        yield f"lives{size}", partial(draw_lives, lives, f"What forward keeps for backward: {name}")


def _group_drawings(group: Group, budget_bytes: int | None) -> Iterator[tuple[str, Draw]]:
    of = f" ({group.name})" if group.name else ""
    for axis in axes_of(group):
        yield f"peak-by-{axis}", partial(draw_curves, curves_of(group, axis), of)
    if (ratios := ratios_of(group)) is not None:
        yield "ratio", partial(draw_ratio, ratios, f"Peak of training ÷ peak of inference{of}")
    if budget_bytes is not None:
        title = f"What fits into {format_bytes(budget_bytes)}{of}"
        yield "fits", partial(draw_outcomes, outcomes_of(group, budget_bytes), title)
