"""The computational graph as Dive into Deep Learning 5.3.2 draws it, as SVG and as Graphviz DOT.

Inputs stand lower left, the objective upper right. Variables are squares, operators circles; retained
variables are filled. The backward part, if asked for, stands below and runs from right to left. A leaf that
it reads is repeated beside the reader, small and dashed. So every arrow from above is a retained value. In a
schedule of the second order, the product belongs to the backward part.
"""

from __future__ import annotations

from memtrain.planning.schedule import Schedule
from memtrain.report.layout import MARGIN, lay_out, size_of
from memtrain.report.picture import make_picture
from memtrain.report.svg import (
    BACKWARD_INK,
    FORWARD_INK,
    fill_of,
    ink_of,
    legend_of,
    legend_width,
    svg_arrow,
    svg_legend,
    svg_mark,
)


def draw_svg(schedule: Schedule, *, backward: bool = False) -> str:
    """The graph of a training schedule as an SVG document, with the backward part if asked for."""
    picture = make_picture(schedule, backward=backward)
    centres, paths = lay_out(picture)
    body = [svg_arrow(path, picture.marks[arrow[1]]) for arrow, path in paths.items()]
    body += [svg_mark(key, mark, centres[key]) for key, mark in picture.marks.items()]
    legend = legend_of(picture)
    width = max(x + size_of(picture.marks[k])[0] / 2 for k, (x, _) in centres.items()) + MARGIN
    width = max(width, legend_width(legend) + 2 * MARGIN)
    bottom = max(y + size_of(picture.marks[k])[1] / 2 for k, (_, y) in centres.items())
    bottom = max([bottom, *(y for path in paths.values() for _, y in path)])
    body.append(svg_legend(legend, bottom + 44))
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
    """The graph of a training schedule in Graphviz's DOT language; Graphviz computes the layout."""
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
            "fillcolor": fill_of(mark),
            "color": ink_of(mark),
            "fontcolor": ink_of(mark),
            "style": "filled,dashed" if mark.kind == "ghost" else "filled",
        }
        written = ", ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())
        lines.append(f"  {_quoted(key)} [{written}];")
    for source, target in picture.arrows:
        ink = ink_of(picture.marks[target])
        lines.append(f"  {_quoted(source)} -> {_quoted(target)} [color={_quoted(ink)}];")
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
