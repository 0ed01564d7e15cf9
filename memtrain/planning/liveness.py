"""The prediction: the values that are live at each step, their roles, and the step with the most live bytes.

The prediction needs shapes only, so networks of any size can be predicted. The live bytes of a step include
its output, its workspace and the values that it frees: add first, then take the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from memtrain.graph.builder import no_collection
from memtrain.graph.node import Node, Phase, Role
from memtrain.graph.ops.base import Workspace
from memtrain.planning.occupancy import Occupancy, Stay, bytes_by_step, occupancy_of
from memtrain.planning.schedule import Schedule


class Life(NamedTuple):
    """The time that a value is in its storage: from the step that computes it to its last step there.

    A value that is computed more than once has one life per computation. Leaves live from step 0 to the last
    step.
    """

    node: Node
    born_step: int
    freed_step: int
    role: Role
    heir_step: int | None = None
    """The step whose value takes over the buffer; ``None`` if the buffer is freed or lives until the end."""


@dataclass(frozen=True)
class Liveness:
    """The prediction for one iteration of a schedule."""

    occupancy: Occupancy
    lives: tuple[Life, ...]
    live_bytes: tuple[int, ...]
    """The live bytes while each step runs."""
    peak_step: int
    """The first step at which ``live_bytes`` is largest."""
    peak_role_bytes: dict[Role, int]

    @property
    def schedule(self) -> Schedule:
        """The schedule that was analysed."""
        return self.occupancy.schedule

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
        """The retained intermediates, in the order in which they are computed."""
        return [life.node for life in self.lives if life.role is Role.RETAINED]

    @property
    def most_retained(self) -> list[Node]:
        """The intermediates retained at the step with the most retained bytes.

        With micro-batches, these belong to one micro-batch.
        """
        held = self.role_bytes(Role.RETAINED)
        step = held.index(max(held))
        return [life.node for life in self.standing(step) if life.role is Role.RETAINED]

    @property
    def peak_workspace(self) -> Workspace:
        """The workspace of the step at the peak; empty for a schedule without steps."""
        workspaces = self.occupancy.workspaces
        return workspaces[self.peak_step] if workspaces else ()

    @property
    def peak_array_count(self) -> int:
        """The number of arrays that are live at the peak, workspace included."""
        return len(self.standing(self.peak_step)) + len(self.peak_workspace)

    def standing(self, step: int) -> list[Life]:
        """The lives that include ``step``: all values that are live while it runs. Workspace is left out."""
        return _standing(self.lives, step)

    def role_bytes(self, role: Role) -> list[int]:
        """The bytes of a role at each step."""
        if role is Role.WORKSPACE:
            return list(self.occupancy.workspace_bytes)
        having = [life for life in self.lives if life.role is role]
        spans = ((life.node.nbytes, life.born_step, life.freed_step) for life in having)
        return bytes_by_step(spans, max(len(self.live_bytes), 1))

    def total_bytes(self, role: Role) -> int:
        """All bytes that have a role in an iteration, also if they are not live at the same time.

        A buffer counts once if one value of the role takes it over from another.
        """
        having = [life for life in self.lives if life.role is role]
        born = {life.born_step for life in having}
        return sum(life.node.nbytes for life in having if life.heir_step not in born)


@no_collection()
def analyse(schedule: Schedule) -> Liveness:
    """Liveness of every value over the steps of ``schedule``."""
    occupancy = occupancy_of(schedule)
    lives = (*_leaf_lives(schedule), *_computed_lives(occupancy))
    leaf_bytes = occupancy.leaf_bytes
    live = tuple([leaf_bytes + held for held in occupancy.live_bytes()])
    peak_step = live.index(max(live)) if live else 0

    at_peak = dict.fromkeys(Role, 0)
    for life in _standing(lives, peak_step):
        at_peak[life.role] += life.node.nbytes
    if live:
        at_peak[Role.WORKSPACE] = occupancy.workspace_bytes[peak_step]
    return Liveness(occupancy, lives, live, peak_step, at_peak)


def _standing(lives: tuple[Life, ...], step: int) -> list[Life]:
    return [life for life in lives if life.born_step <= step <= life.freed_step]


def _leaf_lives(schedule: Schedule) -> list[Life]:
    last = max(len(schedule.steps) - 1, 0)
    leaves = [schedule.graph[i] for i in schedule.persistent]
    return [Life(leaf, 0, last, role) for leaf in leaves if (role := leaf.role)]


def _computed_lives(occupancy: Occupancy) -> list[Life]:
    schedule = occupancy.schedule
    phases = [step.phase for step in schedule.steps]
    gradients = _gradients(occupancy)
    asked = {schedule.graph[i].storage for i in schedule.asked}
    held = {schedule.graph[i].storage for i in schedule.held}
    lives = []
    for stay in occupancy.stays:
        role = Role.TRANSIENT
        if stay.node.op.lasts_as:
            role = stay.node.op.lasts_as
        elif stay.node.id in gradients:
            role = Role.GRADIENT
        elif stay.node.id not in asked:
            role = _kept_as(stay, phases, stay.node.id in held)
        lives.append(Life(stay.node, stay.first_step, stay.last_step, role, stay.heir_step))
    return lives


_KEPT_AS = {Phase.FORWARD: Role.RETAINED, Phase.RECOMPUTE: Role.RECOMPUTED}
"""By the phase that computes a value: the role of the value if a step of another phase reads it, or if it is
held until the end."""


def _kept_as(stay: Stay, phases: list[Phase], held: bool) -> Role:
    """The role of a value that is computed in one phase and may be read in others, or held until the end."""
    born = phases[stay.first_step]
    if born in _KEPT_AS:
        if held and stay.last_step == len(phases) - 1:
            return _KEPT_AS[born]
        for reader in stay.reader_steps:
            if phases[reader] is not born:
                return _KEPT_AS[born]
    return Role.TRANSIENT


def _gradients(occupancy: Occupancy) -> set[int]:
    """Ids of the gradients: backward values that updates read, and backward values that had their buffers."""
    graph, steps = occupancy.schedule.graph, occupancy.schedule.steps
    found = {
        graph[read].storage
        for step in steps
        if step.phase is Phase.UPDATE
        for read in graph[step.node].inputs
        if graph[read].phase is Phase.BACKWARD
    }
    for stay in reversed(occupancy.stays):
        heir = stay.heir_step
        if heir is not None and steps[heir].node in found and stay.node.phase is Phase.BACKWARD:
            found.add(stay.node.id)
    return found
