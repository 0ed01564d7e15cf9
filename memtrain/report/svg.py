"""The marks, arrows and legend of a drawing as SVG elements, and their colours."""

from __future__ import annotations

import re
from html import escape

from memtrain.report.layout import MARGIN, RADIUS, Point, size_of
from memtrain.report.picture import Mark, Picture

FORWARD_INK, BACKWARD_INK, RETAINED_FILL = "#1f2937", "#b4341f", "#ffc94d"

FILLS = {False: ("#ffffff", "#cfe5fb"), True: ("#fdeeea", "#f9d3c8")}
"""The fill of a square and of a circle, for marks of forward (False) and of backward (True)."""

MEANINGS = {"φ": "activation", "l": "loss", "log σ": "log-softmax", "λ/2": "of the regulariser"}
"""The meaning of symbols that are not plain arithmetic, for the legend."""


def ink_of(mark: Mark) -> str:
    """The colour of the outline and the text of a mark."""
    return BACKWARD_INK if mark.backward else FORWARD_INK


def fill_of(mark: Mark) -> str:
    """The colour inside a mark."""
    return RETAINED_FILL if mark.retained else FILLS[mark.backward][mark.kind == "operator"]


def svg_arrow(points: list[Point], target: Mark) -> str:
    """An arrow through ``points`` in the colour of its ``target``."""
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    head = "backward" if target.backward else "forward"
    return (
        f'<path d="{path}" fill="none" stroke="{ink_of(target)}" stroke-width="1.2" '
        f'stroke-linejoin="round" marker-end="url(#{head})"/>'
    )


def svg_mark(key: str, mark: Mark, centre: Point) -> str:
    """A mark around ``centre`` with its text; its title appears when a pointer rests on it."""
    (x, y), (width, height) = centre, size_of(mark)
    look = f'fill="{fill_of(mark)}" stroke="{ink_of(mark)}"'
    if mark.kind == "operator":
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS:.0f}" {look}/>'
    else:
        dashes = ' stroke-dasharray="3 2"' if mark.kind == "ghost" else ""
        double = ' stroke-width="2.5" rx="6"' if mark.kind == "fold" else ""
        shape = (
            f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" {look}{dashes}{double}/>'
        )
    words = _svg_words(mark, x, y)
    return (
        f'<g class="{mark.kind}{" retained" * mark.retained}{" backward" * mark.backward}" id="{key}">'
        f"<title>{escape(mark.title)}</title>{shape}{words}</g>"
    )


def _svg_words(mark: Mark, x: float, y: float) -> str:
    """The text of a mark, small enough to fit. A derivative is a fraction; a sum of norms has two lines."""
    ink, room = ink_of(mark), size_of(mark)[0] - 6
    if mark.kind == "fold":
        lines = [(mark.label, 16.0), *((note, 11.0) for note in mark.notes)]
        top = y - 8 * (len(lines) - 1)
        return "".join(_text(line, x, top + 16 * i, size, ink) for i, (line, size) in enumerate(lines))
    over, slash, under = mark.label.partition("/")
    if mark.kind == "operator" or not under.startswith("∂"):
        over, slash, under = "", "", mark.label
    lower = [under] if len(under) < 8 else re.split("(?<=…)", under)
    size = min(14.0 if slash or len(lower) > 1 else 16.0, room / (0.6 * max(map(len, (over, *lower)))))
    if not slash:
        top = y - 8 * (len(lower) - 1)
        return "".join(_text(line, x, top + 16 * i, size, ink) for i, line in enumerate(lower))
    if len(lower) > 1:
        size = min(size, 9.0)
    middle = y - 5 * (len(lower) - 1)
    bar = f'<path d="M{x - 15:.1f},{middle:.1f} h30" stroke="{ink}"/>'
    words = [_text(over, x, middle - 10, size, ink), bar]
    step = size + 1
    return "".join(
        words + [_text(line, x, middle + 10 + step * i, size, ink) for i, line in enumerate(lower)]
    )


def _text(words: str, x: float, y: float, size: float, ink: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y + size * 0.35:.1f}" font-size="{size:.1f}" text-anchor="{anchor}" '
        f'fill="{ink}">{escape(words)}</text>'
    )


def legend_of(picture: Picture) -> list[tuple[Mark, str]]:
    """The entries of the legend: a sample of each kind of mark in the picture, and its meaning."""
    marks = list(picture.marks.values())
    samples = [(Mark("variable", "", ""), "variable"), (Mark("operator", "", ""), "operator")]
    if any(mark.retained for mark in marks):
        samples.append((Mark("variable", "", "", retained=True), "retained for backward"))
    if any(mark.backward for mark in marks):
        samples.append((Mark("variable", "", "", backward=True), "backward"))
    if any(mark.kind == "ghost" for mark in marks):
        samples.append((Mark("ghost", "", "", backward=True), "input or parameter, read again"))
    if any(mark.kind == "fold" for mark in marks):
        samples.append((Mark("fold", "", ""), "equal layers, folded"))
    used = {mark.label for mark in marks if mark.kind == "operator"}
    return samples + [(Mark("text", f"{s}", ""), MEANINGS[s]) for s in MEANINGS if s in used]


def _entry_width(sample: Mark, words: str) -> float:
    return 44 + 6.6 * len(words) + (6.0 * len(sample.label) if sample.kind == "text" else 0)


def legend_width(entries: list[tuple[Mark, str]]) -> float:
    """The width of the legend in px, without margins."""
    return sum(_entry_width(*entry) for entry in entries)


def svg_legend(entries: list[tuple[Mark, str]], y: float) -> str:
    """The legend in one line, whose middle is at height ``y``."""
    x, parts = MARGIN, []
    for sample, words in entries:
        look = f'fill="{fill_of(sample)}" stroke="{ink_of(sample)}"'
        if sample.kind == "operator":
            parts.append(f'<circle cx="{x + 8:.1f}" cy="{y:.1f}" r="8" {look}/>')
        elif sample.kind != "text":
            extra = {"ghost": ' stroke-dasharray="3 2"', "fold": ' stroke-width="2.5" rx="3"'}
            look += extra.get(sample.kind, "")
            parts.append(f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="16" height="16" {look}/>')
        shown = f"{sample.label}  {words}" if sample.kind == "text" else words
        start = x if sample.kind == "text" else x + 23
        parts.append(_text(shown, start, y, 12, FORWARD_INK, "start"))
        x += _entry_width(sample, words)
    return '<g class="legend">' + "".join(parts) + "</g>"
