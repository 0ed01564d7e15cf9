"""The computational graph as Dive into Deep Learning 5.3.2 draws it, as SVG and as Graphviz DOT.

Inputs lower left, objective upper right; variables are squares, operators circles, retained variables
filled. The backward part, when asked for, stands below and runs back from right to left; what it reads of
the leaves is repeated beside the reader, small and dashed, so that arrows from above are retained values.

The layout is layered (Sugiyama, Tagawa & Toda 1981) by graphlay: MIT or Apache-2.0, abi3 wheels for Linux
(glibc 2.17 on; x86-64, arm64), macOS and Windows, no dependencies, deterministic. It knows sizes, keeps
heavy arrows straight (the main line) and leads long ones around the marks. It is young (first released in
October 2026), hence the version bound. Tried beside it, fast-sugiyama (MIT, wheels from glibc 2.34 on) has
neither sizes nor weights: the main line zigzagged, and backward took half as much room again.
"""

from __future__ import annotations

import re
from html import escape
from math import hypot

from memtrain.errors import InputError
from memtrain.plan.schedule import Schedule
from memtrain.report.install import install_command
from memtrain.report.picture import Mark, Picture, make_picture

MEANINGS = {"φ": "activation", "l": "loss", "log σ": "log-softmax", "λ/2": "of the regulariser"}
"""What the legend says of symbols that are not plain arithmetic."""

SQUARE, RADIUS, GHOST, BOX_HEIGHT, MARGIN = 46.0, 17.0, 30.0, 64.0, 30.0
FORWARD_INK, BACKWARD_INK, RETAINED_FILL = "#1f2937", "#b4341f", "#ffc94d"
FILLS = {False: ("#ffffff", "#cfe5fb"), True: ("#fdeeea", "#f9d3c8")}
"""Of a square and a circle, forward and backward."""

OPTIONS = {
    "routing": {"style": "diagonal"},
    "effort": "thorough",
    "spacing": {"layer_gap": 38.0, "node_gap": 24.0, "dummy_gap": 20.0},
}
MAIN_WEIGHT = 8.0
"""How much straighter the main line should be than any other arrow."""

Point = tuple[float, float]


def draw_svg(schedule: Schedule, *, backward: bool = False) -> str:
    """The graph of a training schedule as an SVG document, with the backward part if asked for."""
    picture = make_picture(schedule, backward=backward)
    centres, paths = _lay_out(picture)
    body = [_svg_arrow(path, picture.marks[arrow[1]]) for arrow, path in paths.items()]
    body += [_svg_mark(key, mark, centres[key]) for key, mark in picture.marks.items()]
    legend = _legend(picture)
    width = max(x + _size(picture.marks[k])[0] / 2 for k, (x, _) in centres.items()) + MARGIN
    width = max(width, _legend_width(legend) + 2 * MARGIN)
    bottom = max(y + _size(picture.marks[k])[1] / 2 for k, (_, y) in centres.items())
    bottom = max([bottom, *(y for path in paths.values() for _, y in path)])
    body.append(_svg_legend(legend, bottom + 44))
    height = bottom + 44 + MARGIN
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="{ink}"/></marker>'
        for name, ink in (("forward", FORWARD_INK), ("backward", BACKWARD_INK))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" role="img">\n'
        f"<title>Computational graph</title>\n<defs>{heads}</defs>\n"
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def draw_dot(schedule: Schedule, *, backward: bool = False) -> str:
    """The same picture in Graphviz's DOT language; Graphviz lays it out."""
    picture = make_picture(schedule, backward=backward)
    shapes = {"variable": "square", "ghost": "square", "operator": "circle", "fold": "box"}
    lines = [
        "digraph memtrain {",
        '  rankdir=LR; bgcolor="white"; node [fontname="sans-serif", style="filled", margin="0.04"];',
    ]
    for key, mark in picture.marks.items():
        attributes = {
            "label": "\n".join((mark.label, *mark.notes)),
            "tooltip": mark.title,
            "shape": shapes[mark.kind],
            "fillcolor": _fill(mark),
            "color": _ink(mark),
            "fontcolor": _ink(mark),
            "style": "filled,dashed" if mark.kind == "ghost" else "filled",
        }
        written = ", ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())
        lines.append(f"  {_quoted(key)} [{written}];")
    for source, target in picture.arrows:
        ink = _ink(picture.marks[target])
        lines.append(f"  {_quoted(source)} -> {_quoted(target)} [color={_quoted(ink)}];")
    return "\n".join([*lines, "}", ""])


# Layout --------------------------------------------------------------------------------------------


def _lay_out(picture: Picture) -> tuple[dict[str, Point], dict[tuple[str, str], list[Point]]]:
    """The centre of each mark and the points of each arrow, in px from the upper left corner."""
    try:
        import graphlay
    except ImportError as error:
        raise InputError(
            f"an SVG drawing needs the package graphlay ({error})",
            "allowed without it: --dot, for Graphviz to draw",
            install_command("graphlay"),
        ) from error

    marks, side = picture.marks, _side_leaves(picture)
    # Backward arrows are turned for the layout, so that ∂L/∂h stands near h.
    turned = {(s, t) for s, t in picture.arrows if marks[s].backward and marks[s].kind != "ghost"}
    wanted = graphlay.Graph()
    for key, mark in marks.items():
        width, height = _size(mark)
        shape = "ellipse" if mark.kind == "operator" else "box"
        wanted.node(key, width=width, height=height, shape=shape)
    for source, target in picture.arrows:
        main = source not in side and _is_main(marks[source], marks[target])
        ends = (target, source) if (source, target) in turned else (source, target)
        wanted.edge(*ends, weight=MAIN_WEIGHT if main else 1.0)
    drawn = graphlay.layout(wanted, preset="layered", options=OPTIONS)

    centres: dict[str, Point] = drawn.positions()
    lines = [[(p["x"], p["y"]) for p in edge["points"]] for edge in drawn.edges]
    sign = -1.0 if _is_upside_down(picture, side, centres) else 1.0
    corners = [p for line in lines for p in line]
    for key, (x, y) in centres.items():
        width, height = _size(marks[key])
        corners += [(x - width / 2, y - height / 2), (x + width / 2, y + height / 2)]
    left, top = min(x for x, _ in corners), min(sign * y for _, y in corners)

    def placed(point: Point) -> Point:
        return point[0] - left + MARGIN, sign * point[1] - top + MARGIN

    paths = {
        arrow: [placed(p) for p in (reversed(line) if arrow in turned else line)]
        for arrow, line in zip(picture.arrows, lines, strict=True)
    }
    centres = {key: placed(p) for key, p in centres.items()}
    _raise_objective(picture, centres, paths)
    return centres, paths


def _raise_objective(
    picture: Picture, centres: dict[str, Point], paths: dict[tuple[str, str], list[Point]]
) -> None:
    """Put J and its + on the row of s, where the book has them: upper right.

    They are the last of forward, so that nothing stands there.
    """
    keys = {mark.label: key for key, mark in picture.marks.items() if mark.kind == "variable"}
    if not {"J", "s", "L"} <= keys.keys():
        return
    operator = next(source for source, target in paths if target == keys["J"])
    (start, row), (_, low) = centres[keys["s"]], centres[keys["L"]]
    between = [y for x, y in centres.values() if start < x < centres[operator][0]]
    if row > low or any(abs(y - row) < SQUARE for y in between):
        return
    for key in (operator, keys["J"]):
        centres[key] = (centres[key][0], row)
    for arrow in paths:
        if operator in arrow:
            source, target = arrow
            paths[arrow] = [
                _border(picture.marks[source], centres[source], centres[target]),
                _border(picture.marks[target], centres[target], centres[source]),
            ]


def _border(mark: Mark, centre: Point, towards: Point) -> Point:
    """Where a straight arrow from the centre leaves a mark."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    width, height = _size(mark)
    if mark.kind == "operator":
        reach = hypot(dx, dy) / RADIUS
    else:
        reach = max(2 * abs(dx) / width, 2 * abs(dy) / height)
    return centre[0] + dx / reach, centre[1] + dy / reach


def _size(mark: Mark) -> Point:
    """Width and height in px."""
    if mark.kind == "fold":
        longest = max(len(mark.label) * 1.4, *map(len, (*mark.notes, "")))
        return max(90.0, 6.2 * longest + 24), BOX_HEIGHT
    side = {"variable": SQUARE, "operator": 2 * RADIUS, "ghost": GHOST}[mark.kind]
    return side, side


def _is_main(source: Mark, target: Mark) -> bool:
    """Whether an arrow belongs to the forward line from x to J."""
    if source.backward or target.backward or source.label in ("s", "λ/2"):
        return False
    return not any("‖" in mark.label for mark in (source, target))


def _side_leaves(picture: Picture) -> set[str]:
    """The leaves that join the main line from the side: all but x."""
    first: dict[str, str] = {}
    for source, target in picture.arrows:
        first.setdefault(target, source)
    return {
        source for source, target in picture.arrows if picture.marks[source].leaf and first[target] != source
    }


def _is_upside_down(picture: Picture, side: set[str], centres: dict[str, Point]) -> bool:
    """Whether backward would stand above forward or, without it, x above the rest."""
    lower = [key for key, mark in picture.marks.items() if mark.backward]
    lower = lower or [key for key, mark in picture.marks.items() if mark.leaf and key not in side]
    mean = sum(y for _, y in centres.values()) / len(centres)
    return sum(centres[key][1] for key in lower) < mean * len(lower)


# Writing -------------------------------------------------------------------------------------------


def _ink(mark: Mark) -> str:
    return BACKWARD_INK if mark.backward else FORWARD_INK


def _fill(mark: Mark) -> str:
    return RETAINED_FILL if mark.retained else FILLS[mark.backward][mark.kind == "operator"]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _svg_arrow(points: list[Point], target: Mark) -> str:
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    head = "backward" if target.backward else "forward"
    return (
        f'<path d="{path}" fill="none" stroke="{_ink(target)}" stroke-width="1.2" '
        f'stroke-linejoin="round" marker-end="url(#{head})"/>'
    )


def _svg_mark(key: str, mark: Mark, centre: Point) -> str:
    (x, y), (width, height) = centre, _size(mark)
    look = f'fill="{_fill(mark)}" stroke="{_ink(mark)}"'
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
    """The label, a derivative as a fraction and a sum of norms in two lines, in letters that fit."""
    ink, room = _ink(mark), _size(mark)[0] - 6
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


def _legend(picture: Picture) -> list[tuple[Mark, str]]:
    """What a reader needs to be told: samples of the marks that are there, and in words what they are."""
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


def _legend_width(entries: list[tuple[Mark, str]]) -> float:
    return sum(_entry_width(*entry) for entry in entries)


def _svg_legend(entries: list[tuple[Mark, str]], y: float) -> str:
    x, parts = MARGIN, []
    for sample, words in entries:
        look = f'fill="{_fill(sample)}" stroke="{_ink(sample)}"'
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
