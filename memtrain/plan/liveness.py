"""Who lives when: the prediction. Needs shapes only, so that any size can be predicted.

One pass over the schedule. At each step all that is live stands together with the step's output and
workspace; only then does the step free (add first, then take the maximum).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from memtrain.graph.builder import no_collection
from memtrain.graph.node import Node, Phase, Role
from memtrain.plan.schedule import Schedule, leaf_role


@dataclass(frozen=True, slots=True)
class Life:
    """A value in its storage: from the step that computes it to the last step at which it is there."""

    node: Node
    born_step: int
    freed_step: int
    role: Role


@dataclass(frozen=True)
class Liveness:
    """The prediction for one iteration of a schedule."""

    schedule: Schedule
    lives: tuple[Life, ...]
    live_bytes: tuple[int, ...]
    """At each step, while it runs."""
    peak_step: int
    """The first step at which ``live_bytes`` is largest."""
    peak_role_bytes: dict[Role, int]

    @property
    def peak_bytes(self) -> int:
        """The most bytes that are live at any step."""
        return sum(self.peak_role_bytes.values())

    @property
    def peak_node(self) -> Node | None:
        """The node that is computed at the peak; ``None`` for a schedule without steps."""
        steps = self.schedule.steps
        return self.schedule.graph[steps[self.peak_step].node] if steps else None

    @property
    def retained(self) -> list[Node]:
        """The intermediates that forward leaves for backward, in the order of their birth."""
        return [life.node for life in self.lives if life.role is Role.RETAINED]

    def total_bytes(self, role: Role) -> int:
        """All bytes of a role in an iteration, live at the same time or not.

        A buffer that one value of the role hands on to the next counts once.
        """
        having = {life.node.id: life.node.nbytes for life in self.lives if life.role is role}
        handed_on = {step.reuse for step in self.schedule.steps if step.node in having}
        return sum(nbytes for index, nbytes in having.items() if index not in handed_on)


@no_collection()
def analyse(schedule: Schedule) -> Liveness:
    """Liveness of every value over the steps of ``schedule``."""
    lives = _lives(schedule)
    steps = schedule.steps
    workspace = [workspace_bytes(schedule, place) for place in range(len(steps))]
    change = [0] * (max(len(steps), 1) + 1)
    for life in lives:
        change[life.born_step] += life.node.nbytes
        change[life.freed_step + 1] -= life.node.nbytes
    live = [held + extra for held, extra in zip(accumulate(change), workspace, strict=False)]
    peak_step = max(range(len(live)), key=live.__getitem__, default=0)

    at_peak = dict.fromkeys(Role, 0)
    for life in lives:
        if life.born_step <= peak_step <= life.freed_step:
            at_peak[life.role] += life.node.nbytes
    if steps:
        at_peak[Role.WORKSPACE] = workspace[peak_step]
    return Liveness(schedule, tuple(lives), tuple(live), peak_step, at_peak)


def workspace_bytes(schedule: Schedule, place: int) -> int:
    """What the kernel of a step declares that it needs besides its output."""
    graph = schedule.graph
    node = graph[schedule.steps[place].node]
    wanted = node.op.workspace(*[graph[i] for i in node.inputs])
    return sum(count * dtype.itemsize for count, dtype in wanted)


def _lives(schedule: Schedule) -> list[Life]:
    graph, steps = schedule.graph, schedule.steps
    born: dict[int, int] = {}
    freed: dict[int, int] = {}
    for place, step in enumerate(steps):
        if graph[step.node].owns_storage:
            born[step.node] = place
        if step.reuse is not None:
            freed[step.reuse] = place - 1  # from this step on its bytes are the new value's
        for index in step.frees:
            freed[index] = place

    retained = _retained(schedule)
    gradients = _gradients(schedule)
    last = max(len(steps) - 1, 0)
    lives = [Life(graph[i], 0, last, role) for i in schedule.persistent if (role := leaf_role(graph[i]))]
    for index, place in born.items():
        role = Role.TRANSIENT
        if index in gradients:
            role = Role.GRADIENT
        elif index in retained:
            role = Role.RETAINED
        lives.append(Life(graph[index], place, freed.get(index, last), role))
    return lives


def _retained(schedule: Schedule) -> set[int]:
    """Values computed in forward that a step of another phase reads: they live when backward starts."""
    graph = schedule.graph
    computed = {step.node for step in schedule.steps if step.phase is Phase.FORWARD}
    later = [step for step in schedule.steps if step.phase is not Phase.FORWARD]
    read = {graph[i].storage for step in later for i in graph[step.node].inputs}
    return (read & computed) - {graph[i].storage for i in schedule.asked}


def _gradients(schedule: Schedule) -> set[int]:
    """Values that updates read from backward, and the values whose buffers they took over."""
    graph = schedule.graph
    found = {
        read
        for step in schedule.steps
        if step.phase is Phase.UPDATE
        for read in graph[step.node].inputs
        if graph[read].phase is Phase.BACKWARD
    }
    found = {graph[i].storage for i in found}
    for step in reversed(schedule.steps):
        if step.node in found and step.reuse is not None and graph[step.reuse].phase is Phase.BACKWARD:
            found.add(step.reuse)
    return found
