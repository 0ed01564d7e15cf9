"""Why each intermediate of a training schedule is kept, and why each other one is not."""

from __future__ import annotations

from dataclasses import dataclass

from memtrain.explain.formulas import Book, bytes_formula
from memtrain.graph.node import Node, Phase, Role
from memtrain.plan.liveness import Life, Liveness


@dataclass(frozen=True)
class Reader:
    """A gradient formula that reads a retained value, and what for."""

    gradient: str
    formula: str
    purpose: str


@dataclass(frozen=True)
class Retained:
    """An intermediate that forward leaves for backward, with the whole reason."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    formula: str
    producer: str
    read_by: tuple[Reader, ...]
    born_step: int
    freed_step: int


@dataclass(frozen=True)
class Dropped:
    """An intermediate that is not kept."""

    name: str
    bytes: int
    reason: str


def retained_reasons(liveness: Liveness, book: Book) -> list[Retained]:
    """One entry per retained storage, in the order of their birth."""
    readers = _readers(liveness)
    found = []
    for life in liveness.lives:
        if life.role is not Role.RETAINED:
            continue
        node = life.node
        found.append(
            Retained(
                name=node.name,
                shape=tuple(map(int, node.shape)),
                dtype=str(node.dtype),
                bytes=node.nbytes,
                formula=bytes_formula(node.shape, node.dtype.itemsize),
                producer=str(book.formula(node)),
                read_by=tuple(_reader(book, reader, read) for reader, read in readers.get(node.id, ())),
                born_step=life.born_step,
                freed_step=life.freed_step,
            )
        )
    return found


def dropped_reasons(liveness: Liveness) -> list[Dropped]:
    """The intermediates with bytes of their own that backward does not find again, and why."""
    schedule = liveness.schedule
    graph = schedule.graph
    read_later = _readers(liveness)
    taken_by = {step.reuse: graph[step.node] for step in schedule.steps if step.reuse is not None}
    consumers: dict[int, list[Node]] = {}
    for step in schedule.steps:
        for index in graph[step.node].inputs:
            if graph[step.node].phase is Phase.FORWARD:
                consumers.setdefault(index, []).append(graph[step.node])
    return [
        Dropped(
            life.node.name,
            life.node.nbytes,
            _why_dropped(life, consumers.get(life.node.id, []), read_later, taken_by),
        )
        for life in liveness.lives
        if life.role is Role.TRANSIENT
        and life.node.phase is Phase.FORWARD
        and life.node.id not in schedule.asked
    ]


def _why_dropped(
    life: Life,
    consumers: list[Node],
    read_later: dict[int, list[tuple[Node, Node]]],
    taken_by: dict[int, Node],
) -> str:
    rules = []
    for consumer in consumers:
        if any(reader.op.name == f"{consumer.op.name}_grad" for reader, _ in read_later.get(consumer.id, ())):
            rules.append(f"{consumer.op.name}'s rule reads its output {consumer.name}")
        else:
            rules.append(f"{consumer.op.name}'s rule does not read it")
    heir = taken_by.get(life.node.id)
    end = f"{heir.name} reuses its buffer" if heir else f"freed at step {life.freed_step}"
    return "; ".join([*dict.fromkeys(rules), end])


def _readers(liveness: Liveness) -> dict[int, list[tuple[Node, Node]]]:
    """By storage: the steps after forward that read it, each with the value (or view) that it reads."""
    graph = liveness.schedule.graph
    found: dict[int, list[tuple[Node, Node]]] = {}
    for step in liveness.schedule.steps:
        node = graph[step.node]
        if node.phase is not Phase.FORWARD:
            for read in map(graph.__getitem__, dict.fromkeys(node.inputs)):
                if read.phase is Phase.FORWARD and read.inputs:
                    found.setdefault(read.storage, []).append((node, read))
    return found


def _reader(book: Book, reader: Node, read: Node) -> Reader:
    whole = book.formula(book.completed(reader))
    return Reader(whole.left, str(whole), book.purpose(reader, read))
