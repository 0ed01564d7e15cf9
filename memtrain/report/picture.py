"""What a drawing of the computational graph shows: marks and arrows, with repeated layers folded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from memtrain.graph.node import Graph, Node, Phase, Role
from memtrain.plan.liveness import analyse
from memtrain.plan.schedule import Schedule

FOLD_LEAST = 3
"""Fewer equal layers than this are drawn out."""


@dataclass(frozen=True)
class Mark:
    """Something drawn. ``kind`` is variable, operator, fold, or ghost (a leaf repeated beside its reader)."""

    kind: str
    label: str
    title: str
    backward: bool = False
    retained: bool = False
    notes: tuple[str, ...] = ()
    leaf: bool = False


@dataclass
class Picture:
    """Marks by their key, and arrows between keys."""

    marks: dict[str, Mark] = field(default_factory=dict)
    arrows: dict[tuple[str, str], None] = field(default_factory=dict)  # a set that keeps its order

    def connect(self, source: str, target: str) -> None:
        """An arrow, once, and not from a mark to itself."""
        if source != target:
            self.arrows[source, target] = None


def make_picture(schedule: Schedule, *, backward: bool = False) -> Picture:
    """What is drawn of a schedule: marks and arrows, with repeated layers folded."""
    graph = schedule.graph
    phases = (Phase.FORWARD, Phase.BACKWARD) if backward else (Phase.FORWARD,)
    wanted = {step.node for step in schedule.steps} | set(schedule.persistent)
    nodes = [n for n in graph if n.id in wanted and n.phase in phases and n.role is not Role.OPTIMIZER]
    retained = {node.id for node in analyse(schedule).retained}
    read = {i for node in nodes for i in node.inputs}
    nodes = [node for node in nodes if not node.role or node.id in read]
    folds = _folds(nodes, repeated_layers(graph, nodes))

    picture = Picture()
    for node in nodes:
        own = folds.get(node.id, f"v{node.id}")
        operator = folds.get(node.id, f"o{node.id}")
        if node.id not in folds:
            _add_variable(picture, node, node.id in retained)
        elif own not in picture.marks:
            members = [n for n in nodes if folds.get(n.id) == own]
            picture.marks[own] = _fold(own, members, retained)
        for i in dict.fromkeys(node.inputs):
            if node.phase is Phase.FORWARD or not graph[i].role:
                picture.connect(folds.get(i, f"v{i}"), operator)
            elif not (node.id in folds and i in folds):  # a box has the parameters of its own layers
                title = f"{graph[i].name}, read again"
                picture.marks[f"{operator}g{i}"] = Mark("ghost", graph[i].name, title, True, leaf=True)
                picture.connect(f"{operator}g{i}", operator)
    return picture


def _add_variable(picture: Picture, node: Node, retained: bool) -> None:
    """The square of a value and, but for a leaf, the circle that it comes from."""
    backward, leaf = node.phase is Phase.BACKWARD, node.role is not None
    if not leaf:
        picture.marks[f"o{node.id}"] = Mark("operator", node.op.drawn, node.op.name, backward)
        picture.connect(f"o{node.id}", f"v{node.id}")
    shape = "×".join(str(int(size)) for size in node.shape) or "a number"
    title = f"{node.name}: {shape}, {node.nbytes:,} B" + ", retained" * retained
    picture.marks[f"v{node.id}"] = Mark("variable", node.name, title, backward, retained, leaf=leaf)


def _folds(nodes: Iterable[Node], runs: Iterable[range]) -> dict[int, str]:
    """The box of each node of a folded layer: forward, norms and backward have one each per run."""
    places = {layer: place for place, run in enumerate(runs) for layer in run}
    folds = {}
    for node in nodes:
        layer = layer_of(node.name)
        if layer in places:
            part = "b" if node.phase is Phase.BACKWARD else "n" if "‖" in node.name else "f"
            folds[node.id] = f"fold{places[layer]}{part}"
    return folds


def _fold(key: str, members: Sequence[Node], retained: set[int]) -> Mark:
    layers = sorted({layer for n in members if (layer := layer_of(n.name)) is not None})
    first, last = layers[0], layers[-1]
    if key.endswith("n"):
        return Mark("fold", "+ …", "the norms of the folded layers", notes=(f"‖W{first}‖² … ‖W{last}‖²",))
    kept = [n.name for n in members if n.id in retained and layer_of(n.name) == first]
    notes = [f"layers {first} – {last}"]
    if kept:
        notes.append(", ".join(f"{name} … {name.replace(str(first), str(last))}" for name in kept))
    title = f"{len(layers)} equal layers: " + ", ".join(n.name for n in members if layer_of(n.name) == first)
    return Mark("fold", f"× {len(layers)}", title, key.endswith("b"), bool(kept), tuple(notes))


def layer_of(name: str) -> int | None:
    """The layer that a name of the textbook belongs to: 3 for z3, W3 h2, ‖W1…W3‖², ∂L/∂h3; else ``None``.

    The gradient of the sum of all norms belongs to no layer: every layer reads it.
    """
    of = name.rsplit("/∂", 1)[-1]
    if of != name and "…" in of:
        return None
    numbers = re.findall(r"(?<=[A-Za-z])\d+", of.split(" ")[0])
    return int(numbers[-1]) if numbers else None


def repeated_layers(graph: Graph, nodes: Iterable[Node]) -> list[range]:
    """The runs of layers to fold: the same ops, shapes and readings but for the number of the layer.

    Only forward nodes are compared, since backward follows from them. The last layer of a run stays
    outside, to be drawn, as does the first of the network, which reads x.
    """
    layers: dict[int, list[object]] = {}
    for node in nodes:
        layer = layer_of(node.name)
        if layer is not None and node.phase is Phase.FORWARD:
            inputs = tuple(_relative(graph[i].name, layer, as_input=True) for i in node.inputs)
            layers.setdefault(layer, []).append(
                (_relative(node.name, layer), node.op.name, node.shape, node.dtype, inputs)
            )
    runs: list[range] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1].stop and layers[layer] == layers[runs[-1].start]:
            runs[-1] = range(runs[-1].start, layer + 1)
        else:
            runs.append(range(layer, layer + 1))
    return [run[:-1] for run in runs if len(run) > FOLD_LEAST]


def _relative(name: str, layer: int, as_input: bool = False) -> str:
    """``name`` with layers counted from ``layer``; ‖W1‖² handed on to layer 2 is the sum so far."""
    if as_input and layer == 2 and name == "‖W1‖²":
        name = "‖W1…W1‖²"
    return re.sub(r"(?<=[A-Za-z])\d+", lambda m: f"{int(m[0]) - layer:+d}", name.replace("W1…", "W…"))
