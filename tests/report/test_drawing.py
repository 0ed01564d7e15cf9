"""The drawing of the graph: its content, its folding, and valid SVG and DOT."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from memtrain.cells.cell import Mode, cell_of
from memtrain.graph.node import Graph, Phase
from memtrain.models.mlp import ACTIVATIONS
from memtrain.planning.liveness import analyse
from memtrain.report.drawing import draw_dot, draw_svg
from memtrain.report.layout import is_upside_down, lay_out, side_leaves, size_of
from memtrain.report.picture import make_picture, repeated_blocks

pytestmark = pytest.mark.no_cover

SVG = "{http://www.w3.org/2000/svg}"
QUOTED = r'"(?:[^"\\]|\\.)*"'

CASES = [
    {"depth": 0},
    {"depth": 0, "l2": 0.0},
    {"depth": 1},
    {"depth": 1, "l2": 0.0},
    {"depth": 2, "bias": True},
    {"depth": 3, "optimizer": "adam"},
    {"depth": 64},
    {"depth": 9, "width": (32, 32, 32, 32, 16, 16, 16, 16, 16)},
    *({"depth": 2, "activation": name} for name in ACTIVATIONS),
]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
both_ways = pytest.mark.parametrize("backward", [False, True])


def training(**cell):
    return cell_of(**cell).schedule(Mode.TRAIN)


@cache
def laid_out(backward, cell):
    """The picture of a training, and where its marks and arrows are."""
    picture = make_picture(training(**dict(cell)), backward=backward)
    return picture, *lay_out(picture)


def marks(svg):
    """The marks of an SVG, each with its label, its classes, its shape and the fill of the shape."""
    found = []
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        classes = group.get("class").split()
        if classes != ["legend"]:
            shape = next(e for e in group if e.tag in (f"{SVG}rect", f"{SVG}circle"))
            label = " ".join("".join(text.itertext()) for text in group.iter(f"{SVG}text"))
            title = group.find(f"{SVG}title").text
            found.append((label, title, classes, shape.tag.removeprefix(SVG), shape.get("fill")))
    return found


def variables(svg):
    return {title.split(":")[0]: rest for _, title, *rest in marks(svg) if rest[0][0] == "variable"}


def test_depth_1_shows_every_variable_of_the_book_as_a_square_and_every_operator_as_a_circle():
    found = marks(draw_svg(training(depth=1)))
    squares = [title.split(":")[0] for _, title, kinds, shape, _ in found if shape == "rect"]
    names = "x y W1 W2 z h o logp L ‖W1‖² ‖W2‖² ‖W1…W2‖² s J"
    assert sorted(squares) == sorted(names.split())
    circles = [label for label, _, kinds, shape, _ in found if shape == "circle"]
    assert sorted(circles) == sorted(["×", "φ", "×", "log σ", "l", "‖·‖²", "‖·‖²", "+", "λ/2", "+"])


@pytest.mark.parametrize("case", [case for case in CASES if case["depth"] < 5], ids=str)  # none is folded
@both_ways
def test_exactly_the_retained_variables_are_filled(case, backward):
    schedule = training(**case)
    found = variables(draw_svg(schedule, backward=backward))
    filled = {name for name, (kinds, _, fill) in found.items() if fill == "#ffc94d"}
    assert filled == {node.name for node in analyse(schedule).retained}
    assert filled == {name for name, (kinds, *_) in found.items() if "retained" in kinds}


@every_case
@both_ways
def test_svg_is_well_formed_has_a_view_box_and_refers_to_nothing_outside(case, backward):
    svg = draw_svg(training(**case), backward=backward)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert re.fullmatch(r"0 0 \d+ \d+", root.get("viewBox"))
    assert root.find(f"{SVG}rect").get("fill") == "#ffffff"
    assert "script" not in svg
    assert "href" not in svg
    assert svg.count("http") == 1


@every_case
@both_ways
def test_dot_declares_both_ends_of_every_arrow_and_nothing_is_left_open(case, backward):
    dot = draw_dot(training(**case), backward=backward)
    first, _, *lines, last, end = dot.split("\n")
    assert (first, last, end) == ("digraph memtrain {", "}", "")
    attributes = rf"\[\w+={QUOTED}(?:, \w+={QUOTED})*\];"
    declared = set()
    for line in lines:
        arrow = re.fullmatch(rf"  ({QUOTED}) -> ({QUOTED}) {attributes}", line)
        if arrow:
            assert {arrow[1], arrow[2]} <= declared
        else:
            declared.add(re.fullmatch(rf"  ({QUOTED}) {attributes}", line)[1])


@every_case
@both_ways
def test_marks_do_not_overlap(case, backward):
    picture, centres, paths = laid_out(backward, tuple(case.items()))
    boxes = [(*centres[key], *size_of(mark)) for key, mark in picture.marks.items()]
    for i, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:i]:
            apart_x = abs(x - other_x) >= (width + other_width) / 2
            assert apart_x or abs(y - other_y) >= (height + other_height) / 2
    assert paths.keys() == picture.arrows.keys()


@every_case
@both_ways
def test_arrows_run_through_no_mark(case, backward):
    picture, centres, paths = laid_out(backward, tuple(case.items()))
    for ends, path in paths.items():
        parts = [np.linspace(a, b, 200) for a, b in pairwise(path)]
        along = np.concatenate(parts)
        for key in picture.marks.keys() - set(ends):
            size = np.array(size_of(picture.marks[key])) / 2 - 1  # px
            off = np.abs(along - centres[key]) / size
            if picture.marks[key].kind == "operator":
                assert np.hypot(*off.T).min() >= 1
            else:
                assert off.max(axis=1).min() >= 1


@pytest.mark.parametrize("case", [c for c in CASES if c["depth"] and c.get("l2", 1)], ids=str)
@both_ways
def test_x_stands_lower_left_and_j_to_the_right_and_above(case, backward):
    picture, centres, _ = laid_out(backward, tuple(case.items()))
    at = {m.label: centres[k] for k, m in picture.marks.items() if m.kind == "variable"}
    forward = [centres[k] for k, m in picture.marks.items() if not m.backward]
    assert at["x"][0] <= min(x for x, _ in forward) + 1
    assert at["J"][0] == max(x for x, _ in forward)
    assert at["J"][1] < at["x"][1]


def test_without_backward_nothing_of_it_is_drawn_and_with_it_everything_in_another_colour():
    schedule = training(depth=2)
    forward, both = draw_svg(schedule), draw_svg(schedule, backward=True)
    assert not any("backward" in kinds for _, _, kinds, *_ in marks(forward))
    assert "∂" not in forward
    found = variables(both)
    gradients = {n.name for n in schedule.graph if n.phase is Phase.BACKWARD}
    assert gradients == {name for name, (kinds, *_) in found.items() if "backward" in kinds}
    assert variables(forward).keys() == found.keys() - gradients
    fills = {fill for _, _, kinds, _, fill in marks(both) if "backward" in kinds}
    assert fills.isdisjoint(fill for _, _, kinds, _, fill in marks(forward))


@both_ways
def test_updates_and_the_state_of_the_optimizer_are_never_drawn(backward):
    schedule = training(depth=1, optimizer="adam")
    found = variables(draw_svg(schedule, backward=backward))
    update = {n.name for n in schedule.graph if n.phase is Phase.UPDATE}
    state = {n.name for n in schedule.leaves("optimizer")}
    assert update
    assert state
    assert found.keys().isdisjoint(update | state)


@pytest.mark.parametrize("bias", [False, True])
@both_ways
def test_depth_64_folds_into_a_drawing_hardly_larger_than_that_of_depth_5(bias, backward):
    deep, shallow = (draw_svg(training(depth=d, bias=bias), backward=backward) for d in (64, 5))
    boxes = [label for label, _, kinds, *_ in marks(deep) if "fold" in kinds and label.startswith("×")]
    assert len(boxes) == 1 + backward
    assert all(label.startswith("× 62 layers 2 – 63") for label in boxes)
    assert len(deep) < 1.1 * len(shallow) < 70_000
    assert {"W1", "z1", "h1", "W64", "z64", "h64", "W65", "o", "L", "s", "J"} <= variables(deep).keys()


@pytest.mark.parametrize(
    ("case", "runs"),
    [
        ({"depth": 1}, []),
        ({"depth": 4}, []),  # 2 … 3 would save nothing
        ({"depth": 5}, [range(2, 5)]),
        ({"depth": 64}, [range(2, 64)]),
        ({"depth": 64, "bias": True, "l2": 0.0}, [range(2, 64)]),
        ({"depth": 10, "width": (8, 8, 8, 8, 8, 4, 4, 4, 4, 4)}, [range(2, 5), range(7, 10)]),
        ({"depth": 4, "width": (8, 7, 6, 5)}, []),
    ],
    ids=str,
)
def test_layers_that_differ_only_in_their_number_are_folded_but_for_the_last_of_a_run(case, runs):
    graph = training(**case).graph
    found = [[block.number for (block,) in run] for run in repeated_blocks(graph, graph)]
    assert found == [list(run) for run in runs]


def test_names_are_escaped():
    schedule = training(depth=1)
    hostile = 'a<b>&"c"\\'
    nodes = tuple(replace(n, name=hostile) if n.name == "h" else n for n in schedule.graph)
    schedule = replace(schedule, graph=Graph(nodes))
    assert hostile in variables(draw_svg(schedule))
    assert r'label="a<b>&\"c\"\\"' in draw_dot(schedule)


def test_the_same_schedule_gives_the_same_drawing():
    assert draw_svg(training(depth=3), backward=True) == draw_svg(training(depth=3), backward=True)


def test_the_layout_library_is_loaded_only_for_svg():
    code = (
        "import sys, memtrain.report.drawing as d; from memtrain.cells.cell import Mode, cell_of;"
        "d.draw_dot(cell_of().schedule(Mode.TRAIN)); print('graphlay' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_x_is_told_from_the_leaves_at_the_side_whichever_way_up_the_layout_came():
    picture = make_picture(training(depth=1))
    side = side_leaves(picture)
    assert {picture.marks[key].label for key in side} == {"W1", "W2", "y"}
    centres = {key: (0.0, 1.0 if mark.label == "x" else 0.0) for key, mark in picture.marks.items()}
    assert not is_upside_down(picture, side, centres)
    assert is_upside_down(picture, side, {key: (x, -y) for key, (x, y) in centres.items()})
