"""The marks and arrows of a drawing of the computational graph, with repeated layers folded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from memtrain.graph.node import Graph, Node, Phase, Role, Scope, numbered
from memtrain.planning.liveness import analyse
from memtrain.planning.schedule import Schedule

FOLD_LEAST = 3
"""Up to this many equal layers are drawn in full."""


@dataclass(frozen=True)
class Mark:
    """A mark of a drawing. ``kind`` is variable, operator, fold, or ghost (a leaf repeated at its reader)."""

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
        """Add an arrow; an arrow that is there already, or from a mark to itself, changes nothing."""
        if source != target:
            self.arrows[source, target] = None


def make_picture(schedule: Schedule, *, backward: bool = False) -> Picture:
    """The picture of a schedule, with repeated layers folded, and with backward if asked for."""
    graph = schedule.graph
    phases = (Phase.FORWARD, Phase.BACKWARD) if backward else (Phase.FORWARD,)
    wanted = {step.node for step in schedule.steps} | set(schedule.persistent)
    nodes = [n for n in graph if n.id in wanted and n.phase in phases and n.role is not Role.OPTIMIZER]
    retained = {node.id for node in analyse(schedule).retained}
    read = {i for node in nodes for i in node.inputs}
    nodes = [node for node in nodes if not node.role or node.id in read]
    folds = _folds(nodes, repeated_blocks(graph, nodes))
    read_forward = {i for node in nodes if node.phase is Phase.FORWARD for i in node.inputs}

    picture = Picture()
    for node in nodes:
        if node.role and node.id not in read_forward:
            continue  # drawn beside its readers, which are all backward
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
            elif not (node.id in folds and i in folds):  # a box includes the parameters of its layers
                title = f"{graph[i].name}, read again"
                picture.marks[f"{operator}g{i}"] = Mark("ghost", graph[i].name, title, True, leaf=True)
                picture.connect(f"{operator}g{i}", operator)
    return picture


def _add_variable(picture: Picture, node: Node, retained: bool) -> None:
    """Add the square of a value and, unless it is a leaf, the circle of its operator."""
    backward, leaf = node.phase is Phase.BACKWARD, node.role is not None
    if not leaf:
        picture.marks[f"o{node.id}"] = Mark("operator", node.op.drawn, node.op.name, backward)
        picture.connect(f"o{node.id}", f"v{node.id}")
    shape = "×".join(str(int(size)) for size in node.shape) or "a number"
    title = f"{node.name}: {shape}, {node.nbytes:,} B" + ", retained" * retained
    picture.marks[f"v{node.id}"] = Mark("variable", node.name, title, backward, retained, leaf=leaf)


def _folds(nodes: Iterable[Node], runs: Iterable[Run]) -> dict[int, str]:
    """The box of each node in a folded block: one for forward, one for norms, one for backward."""
    at = {block: index for index, run in enumerate(runs) for block in run}
    folds = {}
    for node in nodes:
        block = numbered(node.scope)
        if block in at:
            part = "b" if node.phase is Phase.BACKWARD else "f" if node.shape else "n"
            folds[node.id] = f"fold{at[block]}{part}"
    return folds


def _fold(key: str, members: Sequence[Node], retained: set[int]) -> Mark:
    scopes = sorted({numbered(node.scope) for node in members})
    first, last = scopes[0], scopes[-1]
    in_first = [node for node in members if numbered(node.scope) == first]
    in_last = {node.label: node.name for node in members if numbered(node.scope) == last}

    def range_of(node: Node) -> str:
        return f"{node.name} … {in_last[node.label]}"

    if key.endswith("n"):
        return Mark("fold", "+ …", "the norms of the folded layers", notes=(range_of(in_first[0]),))
    kept = [node for node in in_first if node.id in retained]
    notes = [f"{first[-1].kind}s {first[-1].number} – {last[-1].number}"]
    if kept:
        notes.append(", ".join(map(range_of, kept)))
    title = f"{len(scopes)} equal {first[-1].kind}s: " + ", ".join(node.name for node in in_first)
    return Mark("fold", f"× {len(scopes)}", title, key.endswith("b"), bool(kept), tuple(notes))


Run = tuple[Scope, ...]
"""Equal blocks that follow one another."""


def repeated_blocks(graph: Graph, nodes: Iterable[Node]) -> list[Run]:
    """The runs of blocks to fold: blocks with the same ops, shapes and inputs, except for their numbers.

    Only forward nodes are compared, since backward follows from them. The last block of a run is not folded
    but drawn. So is the first block of the network, which reads x.
    """
    blocks: dict[Scope, list[object]] = {}
    for node in nodes:
        scope = numbered(node.scope)
        if scope and node.phase is Phase.FORWARD:
            inputs = tuple(_relative(graph[i], scope) for i in node.inputs)
            kind = (node.label if node.shape else "", node.op.name, node.shape, node.dtype)
            blocks.setdefault(scope, []).append((kind, inputs))
    runs: list[list[Scope]] = []
    for scope in sorted(blocks):
        if runs and _follows(scope, runs[-1][-1]) and blocks[scope] == blocks[runs[-1][0]]:
            runs[-1].append(scope)
        else:
            runs.append([scope])
    return [tuple(run[:-1]) for run in runs if len(run) > FOLD_LEAST]


def _follows(scope: Scope, before: Scope) -> bool:
    """Whether a block directly follows another of its kind within the same outer block."""
    one, other = scope[-1], before[-1]
    return scope[:-1] == before[:-1] and one.kind == other.kind and one.number == (other.number or 0) + 1


def _relative(read: Node, scope: Scope) -> object:
    """An input relative to a block: how many blocks earlier it is, its shape, type and role."""
    here, block = scope[-1].number or 0, numbered(read.scope)
    offset = (block[-1].number or 0) - here if block else None
    return offset, read.shape, read.dtype, read.role
