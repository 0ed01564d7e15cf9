"""A picture of both engines: the peaks of training of memtrain and of PyTorch, beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from memtrain.cells.cell import Mode
from memtrain.cells.engine import NUMPY, TORCH
from memtrain.report.colours import LINE_COLOURS
from memtrain.report.findings import peak_bytes
from memtrain.report.groups import Group
from memtrain.report.ticks import linear_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORDS = {NUMPY: "memtrain", TORCH: "PyTorch"}
_STYLES: dict[str, dict[str, Any]] = {
    NUMPY: {"edgecolor": "white"},
    TORCH: {"edgecolor": "white", "alpha": 0.5, "hatch": "//"},
}


def engine_pairs(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """The groups whose cells differ in the engine only: memtrain's, and PyTorch's beside it."""
    ours = {_in_numpy(group): group for group in groups if _engine(group) == NUMPY}
    return [
        (ours[_in_numpy(group)], group)
        for group in groups
        if _engine(group) == TORCH and _in_numpy(group) in ours
    ]


def draw_engines(pair: tuple[Group, Group], figure: Figure) -> None:
    """Draw the peak of training of both engines as two bars for each cell, with a block for each batch."""
    from matplotlib.patches import Patch

    figure.suptitle("Peak memory of training: memtrain and PyTorch", fontsize=12)
    axes = figure.subplots()
    sizes = sorted({size for group in pair for size in group.pairs}, key=lambda size: (size[1], size[0]))
    batches = sorted({batch for _, batch in sizes})
    places = [at + 0.8 * batches.index(size[1]) for at, size in enumerate(sizes)]
    largest = 1
    for side, group in enumerate(pair):
        peaks = [peak_bytes(group.pairs.get(size, {}).get(Mode.TRAIN)) or 0 for size in sizes]
        largest = max(largest, *peaks)
        axes.bar(
            [place + 0.4 * (side - 0.5) for place in places],
            peaks,
            width=0.38,
            color=[LINE_COLOURS[batches.index(batch) % len(LINE_COLOURS)] for _, batch in sizes],
            **_STYLES[_engine(group)],
        )
    axes.set_xticks(places, [str(depth) for depth, _ in sizes])
    ticks, texts = linear_ticks(largest)
    axes.set_yticks(ticks, texts)
    axes.set(xlabel="depth", ylabel="peak memory", ylim=(0, ticks[-1]))
    for batch in batches:
        middle = [place for place, size in zip(places, sizes, strict=True) if size[1] == batch]
        axes.text(sum(middle) / len(middle), 0.98 * ticks[-1], f"batch {batch:,}", ha="center", va="top")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    keys = [Patch(facecolor="#555b63", **style) for style in _STYLES.values()]
    axes.legend(keys, list(_WORDS.values()), loc="center left", fontsize=9)


def _engine(group: Group) -> str:
    return group.rows[0].cell.engine


def _in_numpy(group: Group) -> object:
    """What the cells of a group have in common with those in memtrain's own engine."""
    return group.rows[0].cell.in_numpy().besides("depth", "batch")
