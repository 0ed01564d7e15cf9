"""The reason why each intermediate of a training schedule is kept, or is not kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

from memtrain.explaining.formulas import Book
from memtrain.explaining.polynomial import bytes_formula
from memtrain.graph.node import Node, Phase, Role, Scope
from memtrain.planning.liveness import Life, Liveness
from memtrain.planning.schedule import Schedule


@dataclass(frozen=True)
class Reader:
    """A formula that reads a kept value, and what it needs the value for: ``needs the factor hᵀ``."""

    gradient: str
    formula: str
    purpose: str

    def __str__(self) -> str:
        return f"{self.formula} ({self.purpose})"


@dataclass(frozen=True)
class _Read:
    """An intermediate that backward reads, and why.

    ``shape`` is the shape of the array. In the book an example is a column, so ``book_sizes`` (numbers) and
    ``book_shape`` (symbols) have the axes in the order of the formulas.
    """

    name: str
    label: str
    scope: Scope
    shape: tuple[int, ...]
    book_sizes: tuple[int, ...]
    book_shape: str
    dtype: str
    bytes: int
    formula: str
    producer: str
    read_by: tuple[Reader, ...]


@dataclass(frozen=True)
class Retained(_Read):
    """An intermediate that forward keeps for backward."""

    born_step: int
    freed_step: int


@dataclass(frozen=True)
class Recomputed(_Read):
    """An intermediate that is not kept, but computed again at least once before backward reads it."""

    computed_steps: tuple[int, ...]
    """The steps that compute it: first in forward, then again."""
    freed_step: int
    """The step that frees it for the last time."""


@dataclass(frozen=True)
class Dropped:
    """An intermediate that is not kept."""

    name: str
    label: str
    scope: Scope
    bytes: int
    reason: str


Read = tuple[int, Node, Node]
"""The step, its node, and the value (or view) of a storage that it reads."""


def retained_reasons(liveness: Liveness, book: Book) -> list[Retained]:
    """One entry per retained storage, in the order in which they are computed."""
    reads = _reads(liveness.schedule)
    return [
        Retained(
            **_reason(liveness.schedule, book, life, reads),
            born_step=life.born_step,
            freed_step=life.freed_step,
        )
        for life in liveness.lives
        if life.role is Role.RETAINED
    ]


def recomputed_reasons(liveness: Liveness, book: Book) -> list[Recomputed]:
    """One entry per storage that is recomputed for backward, in the order of their last recomputations."""
    schedule = liveness.schedule
    reads = _reads(schedule)
    computed: dict[int, list[int]] = {}
    for number, step in enumerate(schedule.steps):
        computed.setdefault(step.node, []).append(number)
    return [
        Recomputed(
            **_reason(schedule, book, life, reads),
            computed_steps=tuple(computed[life.node.id]),
            freed_step=life.freed_step,
        )
        for life in liveness.lives
        if life.role is Role.RECOMPUTED and life.born_step == computed[life.node.id][-1]
    ]


def _reason(schedule: Schedule, book: Book, life: Life, reads: _Reads) -> dict[str, Any]:
    """The fields that retained and recomputed values share."""
    node = life.node
    return {
        **node.called._asdict(),
        "shape": tuple(map(int, node.shape)),
        "book_sizes": tuple(map(int, book.oriented(node))),
        "book_shape": book.shape(node),
        "dtype": str(node.dtype),
        "bytes": node.nbytes,
        "formula": bytes_formula(node.shape, node.dtype.itemsize, book.sizes),
        "producer": str(book.formula(node)),
        "read_by": _read_by(schedule, book, life, reads),
    }


def dropped_reasons(liveness: Liveness) -> list[Dropped]:
    """The intermediates with bytes of their own that forward does not keep for backward, and why."""
    schedule = liveness.schedule
    graph = schedule.graph
    read_later = _readers(schedule)
    taken_by = {
        (step.reuse, number - 1): graph[step.node]
        for number, step in enumerate(schedule.steps)
        if step.reuse is not None
    }
    again = {step.node for step in schedule.steps if step.phase is Phase.RECOMPUTE}
    consumers: dict[int, list[Node]] = {}
    for step in schedule.steps:
        for index in graph[step.node].inputs:
            if step.phase is Phase.FORWARD:
                consumers.setdefault(index, []).append(graph[step.node])
    return [
        Dropped(
            *life.node.called,
            life.node.nbytes,
            _why_dropped(
                life.node,
                consumers.get(life.node.id, []),
                read_later,
                taken_by.get((life.node.id, life.freed_step)),
                life.freed_step,
                life.node.id in again,
            ),
        )
        for life in liveness.lives
        if life.role is Role.TRANSIENT
        and schedule.steps[life.born_step].phase is Phase.FORWARD
        and life.node.inputs
        and life.node.id not in schedule.asked
    ]


def _why_dropped(
    value: Node,
    consumers: list[Node],
    read_later: dict[int, list[Node]],
    heir: Node | None,
    freed_step: int,
    again: bool,
) -> str:
    """What the backward rules of its consumers read, and which step frees or reuses its buffer."""
    rules = [
        f"{consumer.op.name}'s backward rule reads its output {consumer.name} instead"
        if consumer.op.reads_output and consumer.id in read_later
        else f"{consumer.op.name}'s backward rule does not read {value.name}"
        for consumer in consumers
    ]
    end = f"{heir.name} takes over {value.name}'s buffer" if heir else f"step {freed_step} frees its buffer"
    if again:
        return f"{end}; {value.name} is computed again for backward"
    return ", and ".join([*dict.fromkeys(rules), end])


def _readers(schedule: Schedule) -> dict[int, list[Node]]:
    """By storage: the nodes outside the forward phase that read it."""
    graph = schedule.graph
    found: dict[int, list[Node]] = {}
    for step in schedule.steps:
        if step.phase is not Phase.FORWARD:
            for index in graph[step.node].inputs:
                found.setdefault(graph[index].storage, []).append(graph[step.node])
    return found


class _Reads(NamedTuple):
    """The reads of a schedule, and the ends of its phases."""

    of: dict[int, list[Read]]
    """By storage: every read of it, in order."""
    phase_end: list[int]
    """By step: the first later step of another phase, or the number of steps."""


def _reads(schedule: Schedule) -> _Reads:
    graph = schedule.graph
    found: dict[int, list[Read]] = {}
    for number, step in enumerate(schedule.steps):
        for index in dict.fromkeys(graph[step.node].inputs):
            found.setdefault(graph[index].storage, []).append((number, graph[step.node], graph[index]))
    phase_end: list[int] = []
    for _, steps in groupby(schedule.steps, key=lambda step: step.phase):
        count = len(list(steps))
        phase_end += [len(phase_end) + count] * count
    return _Reads(found, phase_end)


def _read_by(schedule: Schedule, book: Book, life: Life, reads: _Reads) -> tuple[Reader, ...]:
    """The readers of a value in one of its lives, after the phase that computed it has ended; each once."""
    born, end = life.born_step, life.freed_step + 1  # the step that takes over its buffer reads it, too
    # A reader of the same phase counts only if another phase ran in between: only then the value waited.
    kept_from = min(reads.phase_end[born], end)
    found = Counter(
        _reader(schedule, book, *read)
        for read in reads.of.get(life.node.id, ())
        if kept_from <= read[0] <= end
    )
    return tuple(
        reader if count == 1 else replace(reader, purpose=f"{reader.purpose}, {count} times")
        for reader, count in found.items()
    )


def _reader(schedule: Schedule, book: Book, number: int, reader: Node, read: Node) -> Reader:
    if schedule.steps[number].phase is Phase.RECOMPUTE:
        whole = book.formula(reader)
        return Reader(whole.left, str(whole), f"needs {read.name} to compute {whole.left} again")
    whole = book.formula(book.completed(reader))
    return Reader(whole.left, str(whole), book.purpose(reader, read))
