"""Who lives when: the prediction. Needs shapes only, so that any size can be predicted.

One pass over the schedule. At each step all that is live stands together with the step's output and
workspace; only then does the step free (add first, then take the maximum).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from memtrain.graph.builder import no_collection
from memtrain.graph.node import Node, Phase, Role
from memtrain.graph.ops.base import Workspace
from memtrain.plan.schedule import Schedule, leaf_role


@dataclass(frozen=True, slots=True)
class Life:
    """A value in its storage: from the step that computes it to the last step at which it is there.

    A value that is computed more than once has a life each time.
    """

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

    @property
    def most_retained(self) -> list[Node]:
        """Those that are retained when most bytes are: with micro-batches, those of one micro-batch."""
        having = [life for life in self.lives if life.role is Role.RETAINED]
        change = [0] * (len(self.live_bytes) + 1)
        for life in having:
            change[life.born_step] += life.node.nbytes
            change[life.freed_step + 1] -= life.node.nbytes
        held = list(accumulate(change))
        step = held.index(max(held))
        return [life.node for life in having if life.born_step <= step <= life.freed_step]

    @property
    def peak_array_count(self) -> int:
        """The arrays that stand at the peak, workspace included."""
        standing = sum(life.born_step <= self.peak_step <= life.freed_step for life in self.lives)
        return standing + (len(_workspace(self.schedule, self.peak_step)) if self.schedule.steps else 0)

    def total_bytes(self, role: Role) -> int:
        """All bytes of a role in an iteration, live at the same time or not.

        A buffer that one value of the role hands on to the next counts once.
        """
        steps = self.schedule.steps
        having = [life for life in self.lives if life.role is role]
        heirs = {life.born_step: steps[life.born_step].reuse for life in having if life.node.inputs}
        return sum(life.node.nbytes for life in having if heirs.get(life.freed_step + 1) != life.node.id)


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
    return sum(count * dtype.itemsize for count, dtype in _workspace(schedule, place))


def _workspace(schedule: Schedule, place: int) -> Workspace:
    graph = schedule.graph
    node = graph[schedule.steps[place].node]
    return node.op.workspace(*[graph[i] for i in node.inputs])


def _lives(schedule: Schedule) -> list[Life]:
    graph, steps = schedule.graph, schedule.steps
    last = max(len(steps) - 1, 0)
    gradients = _gradients(schedule)
    asked = {graph[i].storage for i in schedule.asked}
    roles: list[Role | None] = [None] * len(steps)  # by birth
    freed = [last] * len(steps)
    births: dict[int, int] = {}  # by storage: of what lives in it now
    for place, step in enumerate(steps):
        node = graph[step.node]
        for index in node.inputs:
            storage = graph[index].storage
            birth = births.get(storage)
            if birth is not None and roles[birth] is Role.TRANSIENT and storage not in asked:
                roles[birth] = _kept_as(steps[birth].phase, step.phase)
        if step.reuse is not None:
            freed[births.pop(step.reuse)] = place - 1  # from this step on its bytes are the new value's
        if node.owns_storage:
            births[step.node] = place
            roles[place] = Role.GRADIENT if step.node in gradients else Role.TRANSIENT
        for index in step.frees:
            if index in births:  # not a view
                freed[births.pop(index)] = place
    lives = [Life(graph[i], 0, last, role) for i in schedule.persistent if (role := leaf_role(graph[i]))]
    lives += [
        Life(graph[steps[place].node], place, freed[place], role) for place, role in enumerate(roles) if role
    ]
    return lives


def _kept_as(born: Phase, read: Phase) -> Role:
    """What a value computed in one phase is to one who reads it in another."""
    if born is Phase.FORWARD and read is not Phase.FORWARD:
        return Role.RETAINED
    if born is Phase.RECOMPUTE and read is not Phase.RECOMPUTE:
        return Role.RECOMPUTED
    return Role.TRANSIENT


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
