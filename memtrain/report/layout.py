"""The layout of a drawing: the positions of its marks and arrows, in px.

The layout is layered (Sugiyama, Tagawa & Toda 1981) by graphlay: MIT or Apache-2.0, abi3 wheels for Linux
(glibc 2.17 on; x86-64, arm64), macOS and Windows, no dependencies, deterministic. It takes the sizes of
marks, keeps heavy arrows straight (the main line) and leads long arrows around the marks. It is young (first
released in October 2026), so its version is bounded. The alternative, fast-sugiyama (MIT, wheels from glibc
2.34 on), takes neither sizes nor weights: its main line zigzagged, and backward took 50 % more room.
"""

from __future__ import annotations

from math import hypot

from memtrain.errors import InputError
from memtrain.report.install import install_command
from memtrain.report.picture import Mark, Picture

SQUARE, RADIUS, GHOST, BOX_HEIGHT, MARGIN = 46.0, 17.0, 30.0, 64.0, 30.0

OPTIONS = {
    "routing": {"style": "diagonal"},
    "effort": "thorough",
    "spacing": {"layer_gap": 38.0, "node_gap": 24.0, "dummy_gap": 20.0},
}

MAIN_WEIGHT = 8.0
"""The weight of the arrows of the main line; the layout keeps heavy arrows straight. Others have weight 1."""

Point = tuple[float, float]


def lay_out(picture: Picture) -> tuple[dict[str, Point], dict[tuple[str, str], list[Point]]]:
    """The centre of each mark and the points of each arrow, in px from the upper left corner."""
    try:
        import graphlay
    except ImportError as error:
        raise InputError(
            f"an SVG drawing needs the package graphlay ({error})",
            f"install it with {install_command('graphlay')}, or use --dot and Graphviz",
        ) from error

    marks, side = picture.marks, side_leaves(picture)
    # Backward arrows are turned for the layout, so that ∂L/∂h stands near h.
    turned = {(s, t) for s, t in picture.arrows if marks[s].backward and marks[s].kind != "ghost"}
    wanted = graphlay.Graph()
    for key, mark in marks.items():
        width, height = size_of(mark)
        shape = "ellipse" if mark.kind == "operator" else "box"
        wanted.node(key, width=width, height=height, shape=shape)
    for source, target in picture.arrows:
        main = source not in side and _is_main(marks[source], marks[target])
        ends = (target, source) if (source, target) in turned else (source, target)
        wanted.edge(*ends, weight=MAIN_WEIGHT if main else 1.0)
    drawn = graphlay.layout(wanted, preset="layered", options=OPTIONS)

    centres: dict[str, Point] = drawn.positions()
    lines = [[(p["x"], p["y"]) for p in edge["points"]] for edge in drawn.edges]
    sign = -1.0 if is_upside_down(picture, side, centres) else 1.0
    corners = [p for line in lines for p in line]
    for key, (x, y) in centres.items():
        width, height = size_of(marks[key])
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
    """Move J and its + up to the row of s, where the book has them: upper right.

    They are the last marks of forward, so the space there is free.
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
    """The point at which a straight arrow from the centre of a mark crosses its outline."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    width, height = size_of(mark)
    if mark.kind == "operator":
        reach = hypot(dx, dy) / RADIUS
    else:
        reach = max(2 * abs(dx) / width, 2 * abs(dy) / height)
    return centre[0] + dx / reach, centre[1] + dy / reach


def size_of(mark: Mark) -> Point:
    """Width and height in px."""
    if mark.kind == "fold":
        longest = max(len(mark.label) * 1.4, *map(len, (*mark.notes, "")))
        return max(90.0, 6.2 * longest + 24), BOX_HEIGHT
    side = {"variable": SQUARE, "operator": 2 * RADIUS, "ghost": GHOST}[mark.kind]
    return side, side


def _is_main(source: Mark, target: Mark) -> bool:
    """Whether an arrow belongs to the main line: forward, from x to J."""
    if source.backward or target.backward or source.label in ("s", "λ/2"):
        return False
    return not any("‖" in mark.label for mark in (source, target))


def side_leaves(picture: Picture) -> set[str]:
    """The keys of the leaves that join the main line from the side: all but x."""
    first: dict[str, str] = {}
    for source, target in picture.arrows:
        first.setdefault(target, source)
    return {
        source for source, target in picture.arrows if picture.marks[source].leaf and first[target] != source
    }


def is_upside_down(picture: Picture, side: set[str], centres: dict[str, Point]) -> bool:
    """Whether the layout has backward above forward or, in a drawing without backward, x above the rest."""
    lower = [key for key, mark in picture.marks.items() if mark.backward]
    lower = lower or [key for key, mark in picture.marks.items() if mark.leaf and key not in side]
    mean = sum(y for _, y in centres.values()) / len(centres)
    return sum(centres[key][1] for key in lower) < mean * len(lower)
